//! Whether the right to act was judged where the nodes are now.
//!
//! The gateway asks the policy, then proposes; a `move` may be committed in between. So an action on nodes says in which vCluster
//! each of them was when the right was judged, and is refused when that is no longer so.

use pact_schemas::convert::WireError;
use pact_schemas::judged::{self, Places};
use pact_schemas::v1::{self, JudgedScope, action};
use pact_schemas::{NodeId, NodeSet};

use super::nodes::state_of;
use super::refusal::Refusal;
use super::working::{Working, vcluster_of};

/// Where the targets are, which all exist and are not revoked.
///
/// # Errors
/// Also when one of them is in another vCluster than the one where the right was judged.
pub(crate) fn placed(
    work: &Working<'_>,
    targets: &NodeSet,
    judged: &[JudgedScope],
) -> Result<Places, Refusal> {
    let mut places = Places::new();
    for node in targets.iter() {
        let record = work.node(node).ok_or_else(|| Refusal::UnknownNode { node: node.clone() })?;
        if state_of(&record) == v1::NodeState::Revoked {
            return Err(Refusal::Revoked { node: node.clone() });
        }
        places.insert(node.clone(), vcluster_of(&record));
    }
    still_there(&places, judged)?;
    Ok(places)
}

/// Refuses an action of which a target is in another vCluster than the one where the right was judged.
fn still_there(places: &Places, judged: &[JudgedScope]) -> Result<(), Refusal> {
    let judged = judged::read(judged, &places.keys().cloned().collect());
    for (node, then) in judged.map_err(WireError::from)? {
        let now = places.get(&node).cloned().flatten();
        if now != then {
            return Err(Refusal::Moved { node, then, now });
        }
    }
    Ok(())
}

/// As [`still_there`], of one node and its record.
pub(crate) fn node_still_there(
    node: &NodeId,
    record: &v1::NodeRecord,
    judged: &[JudgedScope],
) -> Result<(), Refusal> {
    still_there(&Places::from([(node.clone(), vcluster_of(record))]), judged)
}

/// An action on a vCluster is judged there: it names no nodes.
pub(crate) fn nothing_judged(judged: &[JudgedScope]) -> Result<(), Refusal> {
    if judged.is_empty() {
        return Ok(());
    }
    let (field, rule) = ("Action.judged", "is for the scope of a node only");
    Err(Refusal::Wire(WireError::Bounds { field, rule }))
}

/// The action without what was judged: a retry asks for the same thing, though a node may have been moved in between.
pub(crate) fn without_judgement(action: &v1::Action) -> Option<v1::Action> {
    use action::Action as A;
    let mut asked = match action.action.as_ref()? {
        of_nodes @ (A::ExecRequest(_)
        | A::AssignNode(_)
        | A::Rollback(_)
        | A::ExtendWindow(_)
        | A::ChangeBlacklist(_)) => of_nodes.clone(),
        _ => return None,
    };
    judged_of(&mut asked)?.clear();
    Some(v1::Action { action: Some(asked) })
}

/// Where an action says what was judged; `None`: it is not about nodes, or names its vCluster otherwise.
pub(crate) fn judged_of(action: &mut action::Action) -> Option<&mut Vec<JudgedScope>> {
    use action::Action as A;
    match action {
        A::ExecRequest(exec) => Some(&mut exec.judged),
        A::AssignNode(assign) => Some(&mut assign.judged),
        A::Rollback(rollback) => Some(&mut rollback.judged),
        A::ExtendWindow(extend) => Some(&mut extend.judged),
        A::ChangeBlacklist(change) => Some(&mut change.judged),
        _ => None,
    }
}

//! Rights that the journal itself asks about, whoever was asked before.
//!
//! - Policies and members of the journal are a platform admin's.
//! - Where two persons decide, one does not suffice.
//! - The right to act on nodes was judged where they are now. The gateway asks the policy, then
//!   proposes; a `move` may be committed in between. So an action on nodes says in which vCluster
//!   each of them was when the right was judged, and is refused when that is no longer so.

use pact_schemas::convert::{WireError, vcluster_of};
use pact_schemas::judged::{self, Places};
use pact_schemas::v1::{Command, JudgedScope, NodeRecord, Principal, PrincipalKind};
use pact_schemas::{NodeId, NodeSet, VclusterId};

use crate::refusal::Refusal;
use crate::working::Working;

/// Whether a command may make vClusters and set policies. Services speak for themselves and have no
/// role.
pub(crate) fn is_platform_admin(command: &Command) -> bool {
    let kind = command.author.as_ref().map(Principal::kind);
    command.acting_role == "pact-platform-admin" || kind == Some(PrincipalKind::Service)
}

/// Refuses what needs a second person, for as long as nobody can be asked.
pub(crate) fn one_person_suffices(
    work: &Working<'_>,
    vcluster: &VclusterId,
) -> Result<(), Refusal> {
    let policy = work.vcluster(vcluster).and_then(|record| record.policy).unwrap_or_default();
    if policy.regulated == Some(true) || policy.two_person_approval == Some(true) {
        return Err(Refusal::NeedsApproval { vcluster: vcluster.clone() });
    }
    Ok(())
}

/// Refuses what was decided about an older state of the node (compare and set).
pub(crate) fn based_on(node: &NodeId, record: &NodeRecord, expected: u64) -> Result<(), Refusal> {
    if record.state_seq == expected {
        return Ok(());
    }
    Err(Refusal::Stale { node: node.clone(), expected, actual: record.state_seq })
}

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
        places.insert(node.clone(), vcluster_of(&work.live(node)?)?);
    }
    still_there(&places, judged)?;
    Ok(places)
}

/// Refuses an action of which a target is in another vCluster than the one where the right was
/// judged.
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
    record: &NodeRecord,
    judged: &[JudgedScope],
) -> Result<(), Refusal> {
    still_there(&Places::from([(node.clone(), vcluster_of(record)?)]), judged)
}

/// An action on a vCluster is judged there, one on a node that is not there nowhere.
pub(crate) fn nothing_judged(judged: &[JudgedScope]) -> Result<(), Refusal> {
    if judged.is_empty() {
        return Ok(());
    }
    let (field, rule) = ("Action.judged", "is for nodes that exist only");
    Err(Refusal::Wire(WireError::Bounds { field, rule }))
}

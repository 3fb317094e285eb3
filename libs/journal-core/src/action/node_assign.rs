//! `node.assign`, `node.unassign`, `node.move`: into a vCluster, out of one, or from one to
//! another; all nodes or none.

use pact_schemas::convert::{Scope, enumeration, id, vcluster_of};
use pact_schemas::v1::action::Action;
use pact_schemas::v1::{self, AssignMode, AssignNode, EntryKind, JudgedScope, NodeRecord, entry};
use pact_schemas::{NodeId, NodeSet, VclusterId};

use super::{Asked, Origin, Rules, Terms};
use crate::placement;
use crate::refusal::Refusal;
use crate::rights::{self, one_person_suffices};
use crate::working::{Draft, Working};

/// Nodes that one assignment may name: one entry is made for each, and a Raft entry has a bound.
const MAX_ASSIGNED: usize = 1_024;

impl Rules for AssignNode {
    fn origin(&self) -> Origin {
        Origin::Gateway(match AssignMode::try_from(self.mode) {
            Ok(AssignMode::Assign) => &["node.assign"],
            Ok(AssignMode::Unassign) => &["node.unassign"],
            Ok(AssignMode::Move) => &["node.move"],
            Ok(AssignMode::Unspecified) | Err(_) => &[],
        })
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        assign(work, self, asked.time_nanos)?;
        Ok(Terms::NONE)
    }

    fn judged_in(&self, judged: Vec<JudgedScope>) -> Option<Action> {
        Some(Action::AssignNode(Self { judged, ..self.clone() }))
    }
}

fn assign(work: &mut Working<'_>, assign: &AssignNode, time_nanos: i64) -> Result<(), Refusal> {
    let mode: AssignMode = enumeration(assign.mode, "AssignNode.mode")?;
    let targets = NodeSet::parse(&assign.targets)?;
    if targets.len() > MAX_ASSIGNED {
        return Err(Refusal::Argument { field: "targets", rule: "may name 1,024 nodes at once" });
    }
    let to = match (&assign.vcluster, mode) {
        (Some(vcluster), AssignMode::Assign | AssignMode::Move) => {
            let vcluster: VclusterId = id(vcluster, "AssignNode.vcluster")?;
            if work.vcluster(&vcluster).is_none() {
                return Err(Refusal::UnknownVcluster { vcluster });
            }
            Some(vcluster)
        }
        (None, AssignMode::Unassign) => None,
        _ => {
            return Err(Refusal::Argument {
                field: "vcluster",
                rule: "must be named to assign or move, and only then",
            });
        }
    };
    rights::placed(work, &targets, &assign.judged)?;
    if let Some(to) = &to {
        one_person_suffices(work, to)?;
    }
    for node in targets.iter() {
        assign_one(work, node, mode, to.as_ref(), time_nanos)?;
    }
    Ok(())
}

fn assign_one(
    work: &mut Working<'_>,
    node: &NodeId,
    mode: AssignMode,
    to: Option<&VclusterId>,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let record = work.known(node)?;
    let from = vcluster_of(&record)?;
    if let Some(from) = &from {
        one_person_suffices(work, from)?;
    }
    let (kind, what) = match (mode, &from) {
        (AssignMode::Assign, Some(vcluster)) => {
            return Err(Refusal::AssignedAlready {
                node: node.clone(),
                vcluster: vcluster.to_string(),
            });
        }
        (AssignMode::Unassign | AssignMode::Move, None) => {
            return Err(Refusal::NotAssigned { node: node.clone() });
        }
        (AssignMode::Move, Some(vcluster)) if Some(vcluster) == to => {
            return Err(Refusal::AssignedAlready {
                node: node.clone(),
                vcluster: vcluster.to_string(),
            });
        }
        (AssignMode::Unassign, Some(vcluster)) => {
            (EntryKind::NodeUnassigned, format!("taken out of {vcluster}"))
        }
        (AssignMode::Move, Some(vcluster)) => (
            EntryKind::NodeMoved,
            format!("moved from {vcluster} to {}", to.map_or("", VclusterId::as_str)),
        ),
        (AssignMode::Assign | AssignMode::Unspecified, _) => {
            (EntryKind::NodeAssigned, format!("assigned to {}", to.map_or("", VclusterId::as_str)))
        }
    };
    move_count(work, from.as_ref(), to);
    let vcluster = to.map(VclusterId::to_string);
    let seq = work.next_seq();
    let delta_seq = work.arrive(node, to, seq);
    let record = NodeRecord { delta_seq, ..placement::moved(record, to, seq, time_nanos) };
    work.staged.nodes.insert(node.clone(), record);
    let mut draft = Draft::new(
        kind,
        Scope::Node(node.clone()),
        format!("node {node} {what}"),
        entry::Payload::NodeAssigned(v1::NodeAssigned {
            node: node.to_string(),
            from_vcluster: from.as_ref().map(VclusterId::to_string),
            to_vcluster: vcluster,
        }),
    );
    // Both sides see it, whichever the node belongs to when somebody looks.
    draft.vclusters = from.into_iter().chain(to.cloned()).collect();
    work.draft(draft);
    Ok(())
}

/// One node less in one vCluster, one more in another.
pub(super) fn move_count(
    work: &mut Working<'_>,
    from: Option<&VclusterId>,
    to: Option<&VclusterId>,
) {
    if let Some((vcluster, mut record)) = from.and_then(|v| Some((v, work.vcluster(v)?))) {
        record.node_count = record.node_count.saturating_sub(1);
        work.staged.vclusters.insert(vcluster.clone(), record);
    }
    if let Some((vcluster, mut record)) = to.and_then(|v| Some((v, work.vcluster(v)?))) {
        record.node_count = record.node_count.saturating_add(1);
        work.staged.vclusters.insert(vcluster.clone(), record);
    }
}

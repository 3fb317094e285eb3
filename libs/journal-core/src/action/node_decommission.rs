//! `node.decommission`: out for good, until it is registered again. Its hardware ids are free, its
//! vCluster has it no longer.

use pact_schemas::NodeId;
use pact_schemas::convert::{self, Scope, id};
use pact_schemas::v1::action::Action;
use pact_schemas::v1::{self, EntryKind, JudgedScope, NodeRecord, NodeState, RevokeNode, entry};

use super::node_assign::move_count;
use super::{Asked, Origin, Rules, Terms};
use crate::node::{state_of, vcluster_of};
use crate::refusal::Refusal;
use crate::working::{Draft, Working};
use crate::{bus_users, hardware, rights};

impl Rules for RevokeNode {
    fn origin(&self) -> Origin {
        Origin::Gateway(&["node.decommission"])
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        revoke(work, self, asked.time_nanos)?;
        Ok(Terms::NONE)
    }

    fn judged_in(&self, judged: Vec<JudgedScope>) -> Option<Action> {
        Some(Action::RevokeNode(Self { judged, ..self.clone() }))
    }
}

fn revoke(work: &mut Working<'_>, revoke: &RevokeNode, time_nanos: i64) -> Result<(), Refusal> {
    let node: NodeId = id(&revoke.node, "RevokeNode.node")?;
    let record = work.known(&node)?;
    rights::node_still_there(&node, &record, &revoke.judged)?;
    if state_of(&record) == NodeState::Revoked {
        return Ok(());
    }
    let from = vcluster_of(&record);
    hardware::release(work, &record.identity.clone().unwrap_or_default())?;
    move_count(work, from.as_ref(), None);
    let seq = work.next_seq();
    let mut live_bus_users = record.live_bus_users.clone();
    bus_users::revoked(&mut live_bus_users, time_nanos);
    let record = NodeRecord {
        live_bus_users,
        state: NodeState::Revoked.into(),
        state_seq: seq,
        state_since: Some(convert::timestamp(time_nanos)),
        vcluster: None,
        delta_seq: work.arrive(&node, None, seq),
        ..record
    };
    work.staged.nodes.insert(node.clone(), record);
    let mut draft = Draft::new(
        EntryKind::NodeRevoked,
        Scope::Node(node.clone()),
        format!("node {node} revoked"),
        entry::Payload::NodeRevoked(v1::NodeRevoked { node: node.to_string() }),
    );
    draft.vclusters = from.into_iter().collect();
    work.draft(draft);
    Ok(())
}

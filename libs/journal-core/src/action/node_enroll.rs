//! `node.enroll`, `node.import`: a node is registered, gets other ids, or comes back after its
//! revocation.

use pact_schemas::NodeId;
use pact_schemas::convert::{self, Scope, id, required};
use pact_schemas::v1::action::Action;
use pact_schemas::v1::{self, EntryKind, JudgedScope, NodeRecord, NodeState, RegisterNode, entry};

use super::{Asked, Origin, Rules, Terms};
use crate::hardware;
use crate::node::state_of;
use crate::refusal::Refusal;
use crate::rights;
use crate::working::{Draft, Working};

impl Rules for RegisterNode {
    fn origin(&self) -> Origin {
        Origin::Gateway(&["node.enroll", "node.import"])
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        register(work, self, asked.time_nanos)?;
        Ok(Terms::NONE)
    }

    fn judged_in(&self, judged: Vec<JudgedScope>) -> Option<Action> {
        Some(Action::RegisterNode(Self { judged, ..self.clone() }))
    }
}

/// Registers a node, replaces the ids of one, or brings a revoked one back.
fn register(
    work: &mut Working<'_>,
    register: &RegisterNode,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let node: NodeId = id(&register.node, "RegisterNode.node")?;
    let given = required(register.identity.as_ref(), "RegisterNode.identity")?;
    let existing = work.node(&node);
    let present = existing.clone().unwrap_or_default();
    rights::node_still_there(&node, &present, &register.judged)?;
    let revoked = existing.as_ref().is_some_and(|r| state_of(r) == NodeState::Revoked);
    if existing.is_some() && !register.replace && !revoked {
        return Err(Refusal::Exists { node });
    }
    let before = existing.as_ref().and_then(|r| r.identity.clone()).unwrap_or_default();
    let identity = hardware::merged(&before, given)?;
    let keys = identity.keys();
    let identity = v1::HardwareIdentity::from(&identity);
    for key in keys.clone() {
        match work.holder(&key) {
            Some(holder) if holder != node => {
                return Err(Refusal::HardwareTaken { node, hardware: key, holder });
            }
            _ => {}
        }
    }
    hardware::release(work, &before)?;
    for key in keys {
        work.staged.hardware.insert(key, Some(node.clone()));
    }
    let seq = work.next_seq();
    let time = Some(convert::timestamp(time_nanos));
    let record = match existing {
        Some(record) if !revoked => NodeRecord { identity: Some(identity.clone()), ..record },
        existing => NodeRecord {
            node: node.to_string(),
            state: NodeState::Registered.into(),
            identity: Some(identity.clone()),
            registered: time,
            state_since: time,
            registered_seq: seq,
            state_seq: seq,
            // What was handed out before the revocation stays refused until it expires.
            live_bus_users: existing.map(|record| record.live_bus_users).unwrap_or_default(),
            ..NodeRecord::default()
        },
    };
    work.staged.nodes.insert(node.clone(), record);
    work.draft(Draft::new(
        EntryKind::NodeRegistered,
        Scope::Node(node.clone()),
        format!("node {node} registered"),
        entry::Payload::NodeRegistered(v1::NodeRegistered {
            node: node.to_string(),
            identity: Some(identity),
        }),
    ));
    Ok(())
}

//! A node is heard of no longer, or again: Active ⇄ Inactive.

use pact_schemas::convert::{self, Scope, id};
use pact_schemas::v1::{self, EntryKind, NodeRecord, SetLiveness, entry};
use pact_schemas::{NodeId, NodeState};

use super::{Asked, Origin, Rules, Terms};
use crate::refusal::Refusal;
use crate::rights::based_on;
use crate::working::{Draft, Working};

impl Rules for SetLiveness {
    fn origin(&self) -> Origin {
        Origin::Enroll
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        set_liveness(work, self, asked.time_nanos)?;
        Ok(Terms::NONE)
    }
}

fn set_liveness(
    work: &mut Working<'_>,
    liveness: &SetLiveness,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let node: NodeId = id(&liveness.node, "SetLiveness.node")?;
    let wanted = NodeState::from_wire(liveness.state, "SetLiveness.state")?;
    let record = work.live(&node)?;
    based_on(&node, &record, liveness.expected_state_seq)?;
    let kind = match (NodeState::of(&record)?, wanted) {
        (NodeState::Active, NodeState::Inactive) => EntryKind::NodeInactive,
        (NodeState::Inactive, NodeState::Active) => EntryKind::NodeActive,
        (before, after) if before == after => return Ok(()),
        (state, _) => return Err(Refusal::WrongState { node, state: state.as_str() }),
    };
    let seq = work.next_seq();
    let record = NodeRecord {
        state: wanted.into(),
        state_seq: seq,
        state_since: Some(convert::timestamp(time_nanos)),
        ..record
    };
    work.staged.nodes.insert(node.clone(), record);
    work.draft(Draft::new(
        kind,
        Scope::Node(node.clone()),
        format!("node {node} is {}", wanted.as_str()),
        entry::Payload::NodeLiveness(v1::NodeLiveness {
            node: node.to_string(),
            state: wanted.into(),
        }),
    ));
    Ok(())
}

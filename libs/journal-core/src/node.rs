//! What the record of a node says. What was stored was checked before.

use pact_schemas::VclusterId;
use pact_schemas::v1::{NodeRecord, NodeState};

/// The state in a record.
pub(crate) fn state_of(record: &NodeRecord) -> NodeState {
    NodeState::try_from(record.state).unwrap_or(NodeState::Unspecified)
}

/// The vCluster in a record.
pub(crate) fn vcluster_of(record: &NodeRecord) -> Option<VclusterId> {
    record.vcluster.as_deref().and_then(|v| VclusterId::new(v).ok())
}

/// A state, as a sentence has it.
pub(crate) fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Unspecified => "in an unknown state",
        NodeState::Registered => "registered",
        NodeState::Active => "active",
        NodeState::Inactive => "inactive",
        NodeState::Revoked => "revoked",
    }
}

//! Why a command changes nothing, and how that is said on the wire.

use pact_schemas::convert::WireError;
use pact_schemas::nodeset::NodeSetError;
use pact_schemas::{ErrorCode, NodeId, RequestId, VclusterId, v1};

/// A command that was refused. Refusals change nothing and are not remembered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Wire(WireError),
    #[error("{0}")]
    Targets(NodeSetError),
    #[error("{field} {rule}")]
    Argument { field: &'static str, rule: &'static str },
    #[error("node {node} is not registered")]
    UnknownNode { node: NodeId },
    #[error("vCluster {vcluster} does not exist")]
    UnknownVcluster { vcluster: VclusterId },
    #[error("node {node} is revoked")]
    Revoked { node: NodeId },
    #[error("node {node} is registered already")]
    Exists { node: NodeId },
    #[error("{hardware} belongs to node {holder}")]
    HardwareTaken { node: NodeId, hardware: String, holder: NodeId },
    #[error(
        "node {node} changed with entry {actual}, after entry {expected} that this was based on"
    )]
    Stale { node: NodeId, expected: u64, actual: u64 },
    #[error("node {node} is {state}")]
    WrongState { node: NodeId, state: &'static str },
    #[error("node {node} is in vCluster {vcluster} already")]
    AssignedAlready { node: NodeId, vcluster: String },
    #[error("node {node} is in no vCluster")]
    NotAssigned { node: NodeId },
    #[error("event {received} of node {node} came, {expected} is next")]
    SpoolGap { node: NodeId, expected: u64, received: u64 },
    #[error("request id {id} was made {behind_seconds} s ago, longer than ids are remembered")]
    RequestIdOld { id: RequestId, behind_seconds: u64 },
    #[error("request id {id} was made {ahead_seconds} s in the future")]
    RequestIdAhead { id: RequestId, ahead_seconds: u64 },
    #[error("request id {id} was used for another request")]
    RequestIdReused { id: RequestId },
    #[error("the command needs a request id")]
    RequestIdMissing,
    #[error("the bytes of the blob do not have the hash or size that they are said to have")]
    BlobMismatch,
    #[error("node {node} has sent more recordings than it has named in its events")]
    TooMuchUnnamed { node: NodeId },
    #[error("vCluster {vcluster} is regulated, which implies two_person_approval = true")]
    RegulatedNeedsTwo { vcluster: VclusterId },
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<NodeSetError> for Refusal {
    fn from(error: NodeSetError) -> Self {
        Self::Targets(error)
    }
}

impl Refusal {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Wire(_) => ErrorCode::Malformed,
            Self::Targets(_) | Self::Argument { .. } | Self::RequestIdMissing => {
                ErrorCode::InvalidArgument
            }
            Self::UnknownNode { .. } | Self::UnknownVcluster { .. } => ErrorCode::NotFound,
            Self::Revoked { .. } => ErrorCode::NodeRevoked,
            Self::HardwareTaken { .. }
            | Self::Exists { .. }
            | Self::Stale { .. }
            | Self::WrongState { .. }
            | Self::AssignedAlready { .. }
            | Self::RequestIdReused { .. }
            | Self::NotAssigned { .. } => ErrorCode::Conflict,
            Self::SpoolGap { .. } => ErrorCode::SpoolGap,
            Self::RequestIdOld { .. } | Self::RequestIdAhead { .. } => ErrorCode::RequestIdRefused,
            Self::BlobMismatch => ErrorCode::BadSignature,
            Self::TooMuchUnnamed { .. } => ErrorCode::RateLimited,
            Self::RegulatedNeedsTwo { .. } => ErrorCode::InvalidSpec,
        }
    }

    fn next_step(&self) -> &'static str {
        match self {
            Self::UnknownNode { .. } => {
                "register it with `pact node enroll`, or look at `pact node list`"
            }
            Self::UnknownVcluster { .. } => {
                "apply a specification that names it, or look at `pact group list`"
            }
            Self::Revoked { .. } => "bring it back with `pact node enroll`",
            Self::Exists { .. } => "`pact enroll` replaces its hardware identity",
            Self::HardwareTaken { .. } => "decommission that node first, or correct the id",
            Self::Stale { .. } | Self::WrongState { .. } => {
                "look at its present state and try again"
            }
            Self::AssignedAlready { .. } => "use `pact node move`",
            Self::NotAssigned { .. } => "use `pact node assign`",
            Self::RequestIdOld { .. } | Self::RequestIdAhead { .. } => {
                "correct the clock of the machine that made the request, then try again"
            }
            Self::TooMuchUnnamed { .. } => {
                "the agent keeps them and tries again for a day; look at the node if its agent is not pact's"
            }
            Self::RequestIdReused { .. } => "use a new request id for a new request",
            _ => "",
        }
    }

    fn node(&self) -> Option<&NodeId> {
        match self {
            Self::UnknownNode { node }
            | Self::Revoked { node }
            | Self::Exists { node }
            | Self::HardwareTaken { node, .. }
            | Self::Stale { node, .. }
            | Self::WrongState { node, .. }
            | Self::AssignedAlready { node, .. }
            | Self::NotAssigned { node }
            | Self::TooMuchUnnamed { node }
            | Self::SpoolGap { node, .. } => Some(node),
            _ => None,
        }
    }
}

impl From<Refusal> for v1::Error {
    fn from(refusal: Refusal) -> Self {
        let mut error = refusal.code().error(refusal.to_string()).next(refusal.next_step());
        if let Some(node) = refusal.node() {
            error = error.on(node);
        }
        if let Refusal::SpoolGap { expected, .. } = refusal {
            error.expected_number = Some(expected);
        }
        error
    }
}

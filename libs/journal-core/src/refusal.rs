//! Why a command changes nothing, and how that is said on the wire.

mod members;

use pact_schemas::convert::{Scope, WireError};
use pact_schemas::nodeset::NodeSetError;
use pact_schemas::resource::PatternError;
use pact_schemas::resource::change_set::ChangeSetError;
use pact_schemas::{ErrorCode, NodeId, RequestId, VclusterId, v1};

pub(crate) use members::MembersRefusal;

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
    #[error(
        "vCluster {vcluster} would have {bytes} bytes, {list_bytes} of them in its {list}; 256 KiB are accepted for all of its lists"
    )]
    VclusterTooLarge { vcluster: VclusterId, bytes: usize, list: &'static str, list_bytes: usize },
    #[error("{0}")]
    Changes(ChangeSetError),
    #[error("{0}")]
    Pattern(PatternError),
    #[error("{0}")]
    Members(MembersRefusal),
    #[error("there is no entry {seq}")]
    UnknownEntry { seq: u64 },
    #[error("changes in vCluster {vcluster} need the approval of a second person")]
    NeedsApproval { vcluster: VclusterId },
    #[error("policies are set by a platform admin")]
    NotPlatformAdmin,
    #[error("{} a platform admin's to declare: {keys}", if *count == 1 { "a key is" } else { "keys are" })]
    GivesRoot { count: usize, keys: String },
    #[error("node {node} moved from {} to {} meanwhile", place(then.as_ref()), place(now.as_ref()))]
    Moved { node: NodeId, then: Option<VclusterId>, now: Option<VclusterId> },
    #[error("node {node} is in vCluster {vcluster}, not in {seen}")]
    OtherVcluster { node: NodeId, seen: VclusterId, vcluster: VclusterId },
    #[error("what is declared of node {node} changed after entry {base_seq}: {keys}")]
    KeysChanged { node: NodeId, base_seq: u64, keys: String },
    #[error(
        "{scope} was changed last by entry {newest}, not by entry {seen} that this was based on"
    )]
    ScopeChanged { scope: Scope, seen: u64, newest: u64 },
    #[error("{count} deltas of {nodes} differ from the specification: {deltas}")]
    DeltasDiffer { count: usize, nodes: String, deltas: String },
    #[error("the specification meets more than {limit} deltas of nodes")]
    TooManyDeltas { limit: usize },
    #[error("the contents of {key} are not in the journal")]
    ContentMissing { key: String, sha256: [u8; 32] },
    #[error(
        "{scope} would declare {keys} keys of {size_bytes} bytes; 20,000 keys and 7 MiB are accepted"
    )]
    ScopeTooLarge { scope: Scope, keys: u32, size_bytes: u64 },
}

fn place(vcluster: Option<&VclusterId>) -> String {
    vcluster.map_or_else(|| "no vCluster".to_owned(), |vcluster| format!("vCluster {vcluster}"))
}

impl From<ChangeSetError> for Refusal {
    fn from(error: ChangeSetError) -> Self {
        Self::Changes(error)
    }
}

impl From<PatternError> for Refusal {
    fn from(error: PatternError) -> Self {
        Self::Pattern(error)
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl Refusal {
    /// What a person may have given wrongly, and not another version of pact.
    pub(crate) fn argument(error: WireError) -> Self {
        match error {
            WireError::Bounds { field, rule } => Self::Argument { field, rule },
            other => Self::Wire(other),
        }
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
            Self::Targets(_)
            | Self::Argument { .. }
            | Self::RequestIdMissing
            | Self::Pattern(_) => ErrorCode::InvalidArgument,
            Self::UnknownNode { .. } | Self::UnknownVcluster { .. } | Self::UnknownEntry { .. } => {
                ErrorCode::NotFound
            }
            Self::Changes(error) => match error {
                ChangeSetError::TooMany { .. } | ChangeSetError::TooLarge { .. } => {
                    ErrorCode::TooLarge
                }
                ChangeSetError::ChunkMissing { .. } => ErrorCode::Conflict,
                ChangeSetError::ChunkWrong { .. } => ErrorCode::BadSignature,
                ChangeSetError::Form
                | ChangeSetError::Order { .. }
                | ChangeSetError::Malformed(_) => ErrorCode::Malformed,
            },
            Self::Members(refusal) => refusal.code(),
            Self::NeedsApproval { .. } => ErrorCode::Unimplemented,
            Self::NotPlatformAdmin | Self::GivesRoot { .. } => ErrorCode::NotAuthorised,
            Self::TooManyDeltas { .. }
            | Self::ScopeTooLarge { .. }
            | Self::VclusterTooLarge { .. } => ErrorCode::TooLarge,
            Self::Revoked { .. } => ErrorCode::NodeRevoked,
            Self::HardwareTaken { .. }
            | Self::Exists { .. }
            | Self::Stale { .. }
            | Self::WrongState { .. }
            | Self::AssignedAlready { .. }
            | Self::RequestIdReused { .. }
            | Self::Moved { .. }
            | Self::OtherVcluster { .. }
            | Self::KeysChanged { .. }
            | Self::ScopeChanged { .. }
            | Self::DeltasDiffer { .. }
            | Self::ContentMissing { .. }
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
            Self::UnknownEntry { .. } => "look at `pact log`",
            Self::NeedsApproval { .. } => "see \"What is not built yet\" in the README",
            Self::NotPlatformAdmin => {
                "ask a platform admin, or take the policy tables out of the specification"
            }
            Self::GivesRoot { .. } => {
                "ask a platform admin; without these keys, what is left is yours: `--key` names it for commit and rollback"
            }
            Self::Moved { .. } => "run it again: your right is judged where the node is now",
            Self::OtherVcluster { .. } => "name the vCluster that the node is in, or none",
            Self::KeysChanged { .. } | Self::ScopeChanged { .. } => "look again and try again",
            Self::DeltasDiffer { .. } => {
                "decide with `--on-conflict overwrite` or `--on-conflict keep`"
            }
            Self::ContentMissing { .. } | Self::Changes(ChangeSetError::ChunkMissing { .. }) => {
                "store the contents first, then try again"
            }
            Self::TooManyDeltas { .. } => "apply it in parts",
            Self::Members(refusal) => refusal.next_step(),
            Self::VclusterTooLarge { .. } => {
                "shorten that list: patterns and prefixes say more than single names"
            }
            Self::ScopeTooLarge { .. } => "declare less, or move nodes to a vCluster of their own",
            _ => "",
        }
    }

    fn cause(&self) -> &'static str {
        match self {
            Self::Moved { .. } => {
                "the right to act was judged in the vCluster that the node has left"
            }
            Self::NeedsApproval { .. } => "approvals are not built yet, so nothing was done",
            Self::GivesRoot { .. } => {
                "whoever decides what such a key is decides what runs as root; nothing was done"
            }
            Self::UnknownVcluster { .. } => {
                "a vCluster exists once a specification that names it has been applied by a platform admin"
            }
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
            | Self::Moved { node, .. }
            | Self::OtherVcluster { node, .. }
            | Self::KeysChanged { node, .. }
            | Self::SpoolGap { node, .. } => Some(node),
            _ => None,
        }
    }
}

impl From<Refusal> for v1::Error {
    fn from(refusal: Refusal) -> Self {
        let mut error = refusal.code().error(refusal.to_string());
        error = error.because(refusal.cause()).next(refusal.next_step());
        if let Some(node) = refusal.node() {
            error = error.on(node);
        }
        if let Refusal::SpoolGap { expected, .. } = refusal {
            error.expected_number = Some(expected);
        }
        error
    }
}

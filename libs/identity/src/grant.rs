//! Grants: proof that exactly this action by this principal is committed in the journal (decisions §3).
//!
//! A [`Grant`] exists only after [`Grant::verify`]: signed by a journal member under the site root, for this node, within its 60
//! seconds, issued after this boot learnt the time. What it cannot see is whether the same grant ran already: the caller keeps
//! [`Grant::seq`] in a store that survives restarts, before it acts.
//!
//! Absences: no unsigned field is read by anyone, no unknown action or missing field becomes a default, nothing here reads a
//! clock.

mod issuer;

use std::time::Duration;

use pact_runtime::Timestamp;
use pact_schemas::convert::{self, WireError};
use pact_schemas::nodeset::NodeSetError;
use pact_schemas::operation::Operation;
use pact_schemas::{
    Argv, ArgvError, Digest, ErrorCode, Minutes, NodeId, NodeSet, RequestId, Seq, v1,
};
use prost::Message;

use crate::principal::{Principal, PrincipalFault, PrincipalKind};
use crate::role::Role;
use crate::signing::{SignatureError, Verifier, domain};
use crate::uri::{SignerName, SignerRole};

pub use issuer::{GrantIssuer, IssueError};

/// The version of the payload that this build reads and writes.
const VERSION: u32 = 1;

/// Longest life of a grant: what is not started by then needs a new request (decisions §3).
pub const MAX_LIFETIME: Duration = Duration::from_secs(60);

/// Tolerance between plane time on the node and the leader's time in the grant.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// How much older than this boot's first time fix a grant may be: the command of somebody who was quicker than the agent's
/// first answers. Far less than any machine takes to boot, so nothing that an earlier boot ran is let in.
pub const FIRST_FIX_LEEWAY: Duration = Duration::from_secs(2);

/// Whether a gateway's grants count, which it signs while the journal is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DegradedGrants {
    /// Only the journal's word counts.
    Refuse,
    /// The node's cached vCluster policy has `degraded_exec = true`.
    Accept,
}

/// Why a grant is not acted on.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// Not signed by who may.
    #[error("the grant's signature is refused")]
    Signature(#[from] SignatureError),
    /// The payload is not whole.
    #[error("the grant is malformed")]
    Malformed(#[from] WireError),
    /// The payload's principal is not whole.
    #[error("the grant's principal is malformed")]
    Principal(#[from] PrincipalFault),
    /// The payload's target list is none.
    #[error("the grant's targets are malformed")]
    Targets(#[from] NodeSetError),
    /// Another version of the payload.
    #[error("the grant has version {found}; this build reads {VERSION}")]
    Version {
        /// As found.
        found: u32,
    },
    /// Signed for another site.
    #[error("the grant is for the site {found:?}")]
    Site {
        /// As found.
        found: String,
    },
    /// The node is not among the targets.
    #[error("the grant is for {targets}, not for {node}")]
    OtherNode {
        /// This node.
        node: NodeId,
        /// Folded node set.
        targets: String,
    },
    /// An operation that this build does not know.
    #[error("the grant is for the unknown operation {operation:?}")]
    Operation {
        /// As found.
        operation: String,
    },
    /// The principal does not hold the role it acts under.
    #[error("the grant's principal does not hold the role {role:?}")]
    ActingRole {
        /// As found; empty when there is none.
        role: String,
    },
    /// A degraded grant where none is accepted, or one that a member signed, or the reverse.
    #[error("a degraded grant is not accepted here")]
    Degraded,
    /// Lives longer than [`MAX_LIFETIME`], or not at all.
    #[error("the grant lives from {issued} to {expires}: more than 60 s or not at all")]
    Lifetime {
        /// Start.
        issued: Timestamp,
        /// End.
        expires: Timestamp,
    },
    /// Too late.
    #[error("the grant expired {expires}, it is {now}")]
    Expired {
        /// Its end.
        expires: Timestamp,
        /// Plane time.
        now: Timestamp,
    },
    /// From the future: one of the clocks is wrong.
    #[error("the grant is issued {issued}, it is only {now}")]
    NotYet {
        /// Its start.
        issued: Timestamp,
        /// Plane time.
        now: Timestamp,
    },
    /// Issued before this boot knew the time; it may have run before.
    #[error("the grant is issued {issued}, before this boot's first time fix {first_fix}")]
    BeforeFirstFix {
        /// Its start.
        issued: Timestamp,
        /// Plane time of the first fix of this boot.
        first_fix: Timestamp,
    },
}

impl GrantError {
    /// The code under which an agent answers.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Signature(_) | Self::Degraded | Self::ActingRole { .. } => {
                ErrorCode::BadSignature
            }
            Self::Malformed(_)
            | Self::Principal(_)
            | Self::Targets(_)
            | Self::Version { .. }
            | Self::Operation { .. } => ErrorCode::Malformed,
            Self::Site { .. } | Self::OtherNode { .. } => ErrorCode::GrantForOther,
            Self::Lifetime { .. } | Self::Expired { .. } | Self::NotYet { .. } => {
                ErrorCode::GrantExpired
            }
            Self::BeforeFirstFix { .. } => ErrorCode::GrantReplayed,
        }
    }
}

/// What a node is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantedAction {
    /// Run a command.
    Exec(GrantedExec),
    /// Carry out the plan with this SHA-256, which travels beside the grant.
    Plan {
        /// SHA-256 of the encoded plan.
        sha256: Digest,
    },
    /// More time before the commit window of each target ends.
    Extend {
        /// How much more.
        minutes: Minutes,
    },
}

/// A command that may run, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedExec {
    /// Program and arguments.
    pub argv: Argv,
    /// Standard input is forwarded.
    pub stdin: bool,
    /// Wall time after which the process group is killed; never zero.
    pub timeout: Duration,
    /// Bytes of output that are streamed and recorded; never zero.
    pub output_limit_bytes: u64,
    /// The vCluster's additions to the built-in command list at commit time.
    pub exec_whitelist: Vec<String>,
    /// A target's vCluster is regulated: only the list decides, whatever the agent's mode.
    pub require_strict: bool,
}

/// A verified grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    content: Content,
    signer: SignerName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    site: String,
    seq: Seq,
    request_id: RequestId,
    principal: Principal,
    acting_role: Option<Role>,
    operation: &'static Operation,
    targets: NodeSet,
    policy_ref: String,
    approval: Option<String>,
    emergency: Option<String>,
    issued: Timestamp,
    expires: Timestamp,
    degraded: bool,
    action: GrantedAction,
}

impl Grant {
    /// Checks everything that a grant can be checked for without memory, at `plane_now`.
    ///
    /// `first_fix` is the plane time at which this boot first learnt it. An agent without a fix of the last 24 hours has no
    /// `plane_now` and answers `CLOCK_UNKNOWN` instead of calling this.
    ///
    /// # Errors
    /// [`GrantError`] saying what is wrong; [`GrantError::code`] is what to answer.
    pub fn verify(
        signed: &v1::SignedGrant,
        verifier: &Verifier,
        node: &NodeId,
        plane_now: Timestamp,
        first_fix: Timestamp,
        degraded: DegradedGrants,
    ) -> Result<Self, GrantError> {
        let roles: &[SignerRole] = match degraded {
            DegradedGrants::Refuse => &[SignerRole::Grant],
            DegradedGrants::Accept => &[SignerRole::Grant, SignerRole::Gateway],
        };
        let signer = verifier.verify(
            roles,
            domain::GRANT,
            &signed.payload,
            &signed.signature,
            &signed.certificate,
            plane_now,
        )?;
        let payload = v1::GrantPayload::decode(signed.payload.as_slice())
            .map_err(|_| WireError::Decode { what: "GrantPayload" })?;
        let content = Content::try_from(payload)?;
        if content.site != verifier.site().as_str() {
            return Err(GrantError::Site { found: content.site });
        }
        if !content.targets.contains(node) {
            return Err(GrantError::OtherNode {
                node: node.clone(),
                targets: content.targets.fold(),
            });
        }
        if content.degraded != (signer.role() == SignerRole::Gateway) {
            return Err(GrantError::Degraded);
        }
        content.check_times(plane_now, first_fix)?;
        Ok(Self { content, signer })
    }

    /// The committed entry; with it the caller refuses a second run.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.content.seq
    }

    /// The client's request.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.content.request_id
    }

    /// Who acts.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.content.principal
    }

    /// Under which role; `None` for pact's own services.
    #[must_use]
    pub fn acting_role(&self) -> Option<&Role> {
        self.content.acting_role.as_ref()
    }

    /// The row of the operations table.
    #[must_use]
    pub fn operation(&self) -> &'static Operation {
        self.content.operation
    }

    /// What to do.
    #[must_use]
    pub fn action(&self) -> &GrantedAction {
        &self.content.action
    }

    /// Every node that the grant is for.
    #[must_use]
    pub fn targets(&self) -> &NodeSet {
        &self.content.targets
    }

    /// Reference of the policy decision.
    #[must_use]
    pub fn policy_ref(&self) -> &str {
        &self.content.policy_ref
    }

    /// The approval that it needed.
    #[must_use]
    pub fn approval(&self) -> Option<&str> {
        self.content.approval.as_deref()
    }

    /// The emergency that it belongs to.
    #[must_use]
    pub fn emergency(&self) -> Option<&str> {
        self.content.emergency.as_deref()
    }

    /// Committed leader time.
    #[must_use]
    pub fn issued(&self) -> Timestamp {
        self.content.issued
    }

    /// Its end: after this (and [`LEEWAY`]) nothing may be started on it.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.content.expires
    }

    /// Whether a gateway signed it while the journal was out of reach.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.content.degraded
    }

    /// Who signed.
    #[must_use]
    pub fn signer(&self) -> &SignerName {
        &self.signer
    }
}

impl Content {
    fn check_times(&self, plane_now: Timestamp, first_fix: Timestamp) -> Result<(), GrantError> {
        let (issued, expires, now) = (self.issued, self.expires, plane_now);
        if after(now, expires, LEEWAY) {
            return Err(GrantError::Expired { expires, now });
        }
        if after(issued, now, LEEWAY) {
            return Err(GrantError::NotYet { issued, now });
        }
        if after(first_fix, issued, FIRST_FIX_LEEWAY) {
            return Err(GrantError::BeforeFirstFix { issued, first_fix });
        }
        Ok(())
    }
}

/// Whether `later` is more than `leeway` after `earlier`.
fn after(later: Timestamp, earlier: Timestamp, leeway: Duration) -> bool {
    later.duration_since(earlier).is_some_and(|gap| gap > leeway)
}

impl TryFrom<v1::GrantPayload> for Content {
    type Error = GrantError;

    fn try_from(wire: v1::GrantPayload) -> Result<Self, GrantError> {
        if wire.version != VERSION {
            return Err(GrantError::Version { found: wire.version });
        }
        let at = |time: &Option<_>, field| {
            convert::unix_nanos(time.as_ref(), field).map(Timestamp::from_unix_nanos)
        };
        let issued = at(&wire.issued, "GrantPayload.issued")?;
        let expires = at(&wire.expires, "GrantPayload.expires")?;
        if expires.duration_since(issued).is_none_or(|life| life.is_zero() || life > MAX_LIFETIME) {
            return Err(GrantError::Lifetime { issued, expires });
        }
        let principal = Principal::from_signed(wire.principal)?;
        let acting_role = acting_role(&wire.acting_role, &principal)?;
        let operation = Operation::find(&wire.operation)
            .ok_or(GrantError::Operation { operation: wire.operation })?;
        Ok(Self {
            site: wire.site,
            seq: Seq::new(wire.seq)
                .map_err(|source| WireError::Id { field: "GrantPayload.seq", source })?,
            request_id: convert::id(&wire.request_id, "GrantPayload.request_id")?,
            principal,
            acting_role,
            operation,
            targets: NodeSet::parse(&wire.targets)?,
            policy_ref: wire.policy_ref,
            approval: not_empty(wire.approval, "GrantPayload.approval")?,
            emergency: not_empty(wire.emergency, "GrantPayload.emergency")?,
            issued,
            expires,
            degraded: wire.degraded,
            action: convert::required(wire.action, "GrantPayload.action")?.try_into()?,
        })
    }
}

/// A person or machine acts under a role that it holds; pact's own services under none. A node is granted nothing.
fn acting_role(text: &str, principal: &Principal) -> Result<Option<Role>, GrantError> {
    let refused = || GrantError::ActingRole { role: text.chars().take(100).collect() };
    match principal.kind() {
        PrincipalKind::Service if text.is_empty() => Ok(None),
        PrincipalKind::Service | PrincipalKind::Node => Err(refused()),
        PrincipalKind::Human | PrincipalKind::ServiceAgent | PrincipalKind::ServiceAi => {
            let role: Role = text.parse().map_err(|_| refused())?;
            if principal.roles().contains(&role) { Ok(Some(role)) } else { Err(refused()) }
        }
    }
}

fn not_empty(value: Option<String>, field: &'static str) -> Result<Option<String>, WireError> {
    match value {
        Some(text) if text.is_empty() => Err(WireError::Missing { field }),
        other => Ok(other),
    }
}

impl TryFrom<v1::grant_payload::Action> for GrantedAction {
    type Error = WireError;

    fn try_from(wire: v1::grant_payload::Action) -> Result<Self, WireError> {
        match wire {
            v1::grant_payload::Action::Exec(exec) => exec.try_into().map(Self::Exec),
            v1::grant_payload::Action::Plan(plan) => {
                Digest::from_wire(&plan.sha256, "PlanAction.sha256")
                    .map(|sha256| Self::Plan { sha256 })
            }
            v1::grant_payload::Action::Extend(extend) => {
                Ok(Self::Extend { minutes: extend.minutes.try_into()? })
            }
        }
    }
}

impl TryFrom<v1::ExecAction> for GrantedExec {
    type Error = WireError;

    fn try_from(wire: v1::ExecAction) -> Result<Self, WireError> {
        let argv = Argv::new(wire.argv).map_err(|error| match error {
            ArgvError::NoProgram => WireError::Missing { field: "ExecAction.argv" },
            error => WireError::Bounds { field: "ExecAction.argv", rule: error.rule() },
        })?;
        if wire.timeout_seconds == 0 {
            return Err(WireError::Missing { field: "ExecAction.timeout_seconds" });
        }
        if wire.output_limit_bytes == 0 {
            return Err(WireError::Missing { field: "ExecAction.output_limit_bytes" });
        }
        Ok(Self {
            argv,
            stdin: wire.stdin,
            timeout: Duration::from_secs(u64::from(wire.timeout_seconds)),
            output_limit_bytes: wire.output_limit_bytes,
            exec_whitelist: wire.exec_whitelist,
            require_strict: wire.require_strict,
        })
    }
}

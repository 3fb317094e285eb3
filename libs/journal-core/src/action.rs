//! The actions: everything of one action is in its own file.
//!
//! A file has the name of the operation that asks for its action: `action/exec.rs` for `exec`.
//! Where several operations ask for it, the file has the name of the first of them, or the
//! beginning that all of them share; where none does, that of the message. A new action is a file
//! that implements [`Rules`], its `mod` and its line in [`rules`]: without the line it does not
//! compile.
//!
//! Absences: no rule of a single action is anywhere else; nothing here takes an action that is not
//! in the list.

mod announce_members;
mod apply;
mod blacklist;
mod cluster;
mod commit;
mod enrol_node;
mod exec;
mod extend;
mod group_set_policy;
mod node_assign;
mod node_decommission;
mod node_enroll;
mod node_event;
mod put_blob;
mod record_access;
mod record_denied;
mod reject_enrolment;
mod rollback;
mod set_liveness;
mod tick;

use pact_schemas::v1::action::Action;
use pact_schemas::v1::entry::Payload;
use pact_schemas::v1::{Command, JudgedScope, grant_payload};

use crate::planned::Planned;
use crate::record::RequestMemory;
use crate::refusal::Refusal;
use crate::working::Working;

pub use put_blob::check_blob;
#[cfg(test)]
pub(crate) use tick::EXPIRED_PER_TICK;

/// Who brings an action into the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A gateway, for somebody who asked for one of these operations.
    Gateway(&'static [&'static str]),
    /// A gateway, whatever it was asked for.
    AnyOfGateway,
    /// The enrolment service, by itself.
    Enroll,
    /// Nobody proposes it: a node reports it, or the leader of the journal makes it.
    Unproposed,
}

impl Origin {
    /// Whether a gateway may propose the action for somebody who asked for this operation.
    #[must_use]
    pub fn is_gateway_for(self, operation: &str) -> bool {
        match self {
            Self::Gateway(operations) => operations.contains(&operation),
            Self::AnyOfGateway => true,
            Self::Enroll | Self::Unproposed => false,
        }
    }
}

/// What nodes may do by a grant, which nodes, and as which operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    /// The name in the operations table.
    pub operation: &'static str,
    /// Folded node set.
    pub targets: String,
    /// What they do.
    pub action: grant_payload::Action,
}

/// What a grant says beside the entry, as of its commit.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// Additions to the built-in command list that hold on every target.
    pub(crate) exec_whitelist: Vec<String>,
    /// A target is in a regulated vCluster.
    pub(crate) require_strict: bool,
}

impl Terms {
    /// Nothing is said beside the entry.
    pub(crate) const NONE: Self = Self { exec_whitelist: Vec::new(), require_strict: false };
}

/// The command of an action, and the time at which it is applied.
pub(crate) struct Asked<'c> {
    pub(crate) command: &'c Command,
    pub(crate) time_nanos: i64,
}

impl Asked<'_> {
    /// Refuses what could be carried out twice.
    pub(crate) fn once(&self) -> Result<(), Refusal> {
        self.command.request_id.as_ref().map(drop).ok_or(Refusal::RequestIdMissing)
    }
}

/// When, and by whose right, an action is tried.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// Unix nanoseconds.
    pub time_nanos: i64,
    /// A platform admin would ask for it.
    pub by_platform_admin: bool,
}

/// The rules of one action.
pub(crate) trait Rules {
    /// Who brings it into the journal.
    fn origin(&self) -> Origin;

    /// Stages what it does. Returns the terms of the grant that nodes act by.
    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal>;

    /// The same action, for which the right was judged in these scopes. `None`: it is not about
    /// nodes, or names its vCluster otherwise.
    fn judged_in(&self, _scopes: Vec<JudgedScope>) -> Option<Action> {
        None
    }

    /// Plans what it would do to each scope, and does that to a state that is thrown away.
    fn try_out(
        &self,
        _work: &mut Working<'_>,
        _trial: Trial,
        _scopes: &mut Vec<Planned>,
    ) -> Result<(), Refusal> {
        Err(Refusal::Argument {
            field: "PlanRequest.action",
            rule: "must be ApplySpec, CommitDelta, Rollback or ChangeBlacklist",
        })
    }

    /// Whether nodes carry it out, by a grant.
    fn is_granted(&self) -> bool {
        false
    }

    /// What nodes may do, since the journal has this entry of it.
    fn granted(&self, _done: Payload, _terms: Terms) -> Option<Granted> {
        None
    }
}

/// The list of the actions.
pub(crate) fn rules(action: &Action) -> &dyn Rules {
    match action {
        Action::ExecRequest(exec) => exec,
        Action::RegisterNode(register) => register,
        Action::EnrolNode(enrol) => enrol,
        Action::SetLiveness(liveness) => liveness,
        Action::AssignNode(assign) => assign,
        Action::RevokeNode(revoke) => revoke,
        Action::NodeEvent(event) => event,
        Action::PutBlob(blob) => blob,
        Action::RecordDenied(record) => record,
        Action::RecordAccess(record) => record,
        Action::SetPolicy(set) => set,
        Action::RejectEnrolment(reject) => reject,
        Action::AnnounceMembers(announce) => announce,
        Action::Tick(tick) => tick,
        Action::ApplySpec(spec) => spec,
        Action::CommitDelta(commit) => commit,
        Action::Rollback(rollback) => rollback,
        Action::ExtendWindow(extend) => extend,
        Action::ChangeBlacklist(change) => change,
        Action::ChangeMembers(change) => change,
    }
}

/// Who brings an action into the journal.
#[must_use]
pub fn origin(action: &Action) -> Origin {
    rules(action).origin()
}

/// Whether nodes carry an action out, by a grant.
#[must_use]
pub fn is_granted(action: &Action) -> bool {
    rules(action).is_granted()
}

/// What nodes may do by the grant of an action: what its entry holds, on the terms that were
/// remembered with its request id.
#[must_use]
pub fn granted(action: &Action, done: Payload, memory: RequestMemory) -> Option<Granted> {
    let RequestMemory { exec_whitelist, require_strict, .. } = memory;
    rules(action).granted(done, Terms { exec_whitelist, require_strict })
}

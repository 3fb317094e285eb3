//! One Raft entry: commands in, outcomes and changes out.

use pact_schemas::v1::{self, Action, Command, Committed, Outcome, action, outcome};
use pact_schemas::{RequestId, convert};

use super::exec::Terms;
use super::records::{Head, RequestMemory};
use super::refusal::Refusal;
use super::requests::{self, Admission};
use super::tree::Tree;
use super::view::{Changes, StateView};
use super::working::Working;
use super::{declared, events, exec, members, nodes, policy};

/// Version of commands that this binary understands.
pub const COMMAND_VERSION: u32 = 1;

/// A committed command that this binary cannot apply. Skipping it would make this member differ from the others, so the
/// caller stops the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Made by a newer pact.
    #[error(
        "a committed command has version {version}; this member understands version {COMMAND_VERSION}: upgrade it"
    )]
    Version {
        /// As found.
        version: u32,
    },
    /// Made by a newer pact, or damaged.
    #[error("a committed command has an action that this member does not know: upgrade it")]
    Action,
}

/// What became of a batch.
pub struct Applied {
    /// One for each command, in order.
    pub outcomes: Vec<Outcome>,
    /// What to store.
    pub changes: Changes,
    /// Where the journal stands now.
    pub head: Head,
    /// The tree over all entries.
    pub tree: Tree,
}

/// Applies the commands of one Raft entry, in order.
///
/// # Errors
/// For a command that this binary cannot apply. A command that is refused is no error: its outcome says so.
pub fn apply_batch(view: &dyn StateView, commands: &[Command]) -> Result<Applied, Unreadable> {
    let mut work = Working::new(view);
    let mut outcomes = Vec::with_capacity(commands.len());
    for command in commands {
        outcomes.push(apply_command(&mut work, command)?);
    }
    let (changes, head, tree) = work.finish();
    Ok(Applied { outcomes, changes, head, tree })
}

fn apply_command(work: &mut Working<'_>, command: &Command) -> Result<Outcome, Unreadable> {
    if command.version != COMMAND_VERSION {
        return Err(Unreadable::Version { version: command.version });
    }
    let Some(Action { action: Some(action) }) = &command.action else {
        return Err(Unreadable::Action);
    };
    let result = execute(work, command, action);
    if result.is_err() {
        work.discard();
    }
    let outcome = match result {
        Ok(committed) => outcome::Outcome::Committed(committed),
        Err(refusal) => outcome::Outcome::Rejected(v1::Error::from(refusal)),
    };
    Ok(Outcome { outcome: Some(outcome) })
}

fn execute(
    work: &mut Working<'_>,
    command: &Command,
    action: &action::Action,
) -> Result<Committed, Refusal> {
    let proposed = convert::unix_nanos(command.time.as_ref(), "Command.time")?;
    let time_nanos = proposed.max(work.head().time_nanos);
    let admission = requests::admit(work, command, time_nanos)?;
    if let Some(Admission::Repeated(committed)) = admission {
        return Ok(committed);
    }
    convert::required(command.author.as_ref(), "Command.author")?;
    let Terms { exec_whitelist, require_strict } = dispatch(work, command, action, time_nanos)?;
    let (first_seq, last_seq) = work.keep(command, time_nanos);
    if let Some(Admission::New { id, digest }) = admission {
        let memory = RequestMemory {
            digest: digest.to_vec(),
            first_seq,
            last_seq,
            time_nanos,
            exec_whitelist,
            require_strict,
        };
        remember(work, id, memory, command, time_nanos);
    }
    Ok(Committed {
        first_seq,
        last_seq,
        time: Some(convert::timestamp(time_nanos)),
        repeated_request: false,
    })
}

fn remember(
    work: &mut Working<'_>,
    id: RequestId,
    memory: RequestMemory,
    command: &Command,
    time_nanos: i64,
) {
    requests::remember(work, id, memory);
    work.keep(command, time_nanos);
}

/// Stages what the action does. Returns the terms that a grant for it carries.
fn dispatch(
    work: &mut Working<'_>,
    command: &Command,
    action: &action::Action,
    time_nanos: i64,
) -> Result<Terms, Refusal> {
    use action::Action as A;
    match action {
        A::ExecRequest(request) => return exec::request(work, command, request),
        A::RegisterNode(register) => nodes::register(work, register, time_nanos)?,
        A::EnrolNode(enrol) => nodes::enrol(work, enrol, time_nanos)?,
        A::SetLiveness(liveness) => nodes::set_liveness(work, liveness, time_nanos)?,
        A::AssignNode(assign) => nodes::assign(work, assign)?,
        A::RevokeNode(revoke) => nodes::revoke(work, revoke, time_nanos)?,
        A::NodeEvent(event) => events::event(work, event, time_nanos)?,
        A::PutBlob(blob) => events::put_blob(work, command, blob, time_nanos)?,
        A::RecordDenied(record) => policy::denied(work, record)?,
        A::RecordAccess(record) => policy::accessed(work, record)?,
        A::SetPolicy(set) => {
            policy::set_policy_alone(work, set, declared::is_platform_admin(command))?
        }
        A::RejectEnrolment(reject) => policy::enrolment_rejected(work, reject)?,
        A::AnnounceMembers(announce) => members::announce(work, announce)?,
        A::Tick(_) => {
            requests::tick(work, time_nanos);
            declared::expire::tick(work, time_nanos)?;
        }
        A::ApplySpec(spec) => declared::apply_spec::apply(
            work,
            spec,
            declared::is_platform_admin(command),
            time_nanos,
        )?,
        A::CommitDelta(commit) => declared::commit::apply(work, commit, time_nanos)?,
        A::Rollback(rollback) => declared::rollback::apply(work, command, rollback, time_nanos)?,
        A::ExtendWindow(extend) => declared::extend::apply(work, command, extend)?,
        A::ChangeBlacklist(change) => declared::blacklist::apply(work, change)?,
        A::ChangeMembers(change) => members::change(work, command, change)?,
    }
    Ok(Terms::default())
}

//! One Raft entry: commands in, outcomes and changes out.

use pact_schemas::v1::action::Action;
use pact_schemas::v1::{self, Command, Committed, Outcome, outcome};
use pact_schemas::{RequestId, convert};

use crate::action::{Asked, Terms, rules};
use crate::record::{Head, RequestMemory};
use crate::refusal::Refusal;
use crate::requests::{self, Admission};
use crate::tree::Tree;
use crate::view::{Changes, StateView};
use crate::working::Working;

/// Version of commands that this binary understands.
pub const COMMAND_VERSION: u32 = 1;

/// A committed command that this binary cannot apply. Skipping it would make this member differ
/// from the others, so the caller stops the process.
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
/// For a command that this binary cannot apply. A command that is refused is no error: its outcome
/// says so.
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
    let Some(v1::Action { action: Some(action), .. }) = &command.action else {
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
    action: &Action,
) -> Result<Committed, Refusal> {
    let proposed = convert::unix_nanos(command.time.as_ref(), "Command.time")?;
    let time_nanos = proposed.max(work.head().time_nanos);
    let admission = admit(work, command, time_nanos)?;
    if let Some(Admission::Repeated(committed)) = admission {
        return Ok(committed);
    }
    convert::required(command.author.as_ref(), "Command.author")?;
    let asked = Asked { command, time_nanos };
    let Terms { exec_whitelist, require_strict } = rules(action).apply(work, &asked)?;
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

/// Whether a command was carried out before; `None` for commands without a request id, for which
/// nobody can say.
fn admit(
    work: &Working<'_>,
    command: &Command,
    time_nanos: i64,
) -> Result<Option<Admission>, Refusal> {
    let Some(id) = &command.request_id else { return Ok(None) };
    requests::admit(work, id, command, time_nanos).map(Some)
}

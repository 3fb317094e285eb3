//! Which of root's privileges the agent has: a container or a unit may have taken some away.
//!
//! An agent that is root acts on the node, and one that lacks a privilege would do so by halves: a file with the wrong owner, a
//! command that it cannot end. It refuses to start instead. An agent that is not root observes and changes nothing, so nothing
//! is required of it.

use std::fmt;
use std::io;

use crate::provider::{self, abilities::Need};

/// Where the kernel says what this process may do.
const STATUS_FILE: &str = "/proc/self/status";

/// The line of the effective set: hexadecimal, bit n for capability n.
const EFFECTIVE: &str = "CapEff:";

/// Number of CAP_SETUID.
const SETUID: u32 = 7;

/// What ending commands takes. Programs that whitelisted commands start may want more (`mount` CAP_SYS_ADMIN, `dmesg`
/// CAP_SYSLOG); they say so themselves.
static COMMANDS: [Need; 1] = [
    // Without CAP_SETUID nothing that a command starts becomes another user's.
    Need {
        only_with: Some(SETUID),
        ..Need::new(5, "CAP_KILL", "ends what a command started as another user")
    },
];

/// What acting takes: changing what providers observe, and ending commands.
fn needs() -> impl Iterator<Item = &'static Need> {
    provider::built().flat_map(|kind| kind.needs).chain(&COMMANDS)
}

/// Why an agent that is root does not start.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// `/proc` is not mounted, or not Linux's.
    #[error("cannot read from {STATUS_FILE} which privileges the agent has")]
    Unknown(#[source] io::Error),
    /// Some are missing.
    #[error(
        "the agent runs as root without {}; grant what is missing (`cap_add` of a container, CapabilityBoundingSet of a unit), or \
         run the agent as another user, which only observes",
        Listed(missing)
    )]
    Missing {
        /// Name and reason of each.
        missing: Vec<(&'static str, &'static str)>,
    },
}

/// Names with reasons: `CAP_KILL (why), CAP_CHOWN (why)`.
struct Listed<'a>(&'a [(&'static str, &'static str)]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, reason)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name} ({reason})")?;
        }
        Ok(())
    }
}

/// Refuses an agent that is root and cannot act as root.
///
/// # Errors
/// [`PrivilegeError`]; nothing has been touched then.
pub(crate) fn check() -> Result<(), PrivilegeError> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let status = std::fs::read_to_string(STATUS_FILE).map_err(PrivilegeError::Unknown)?;
    let effective = effective(&status)
        .ok_or_else(|| PrivilegeError::Unknown(io::Error::from(io::ErrorKind::InvalidData)))?;
    judge(effective)
}

/// The effective set in the text of `/proc/<pid>/status`.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(EFFECTIVE))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn judge(effective: u64) -> Result<(), PrivilegeError> {
    let has = |bit: u32| effective & (1 << bit) != 0;
    let lacks = |need: &&'static Need| !has(need.bit) && need.only_with.is_none_or(has);
    let missing: Vec<_> = needs().filter(lacks).map(|need| (need.name, need.reason)).collect();
    if missing.is_empty() { Ok(()) } else { Err(PrivilegeError::Missing { missing }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a container with `cap_drop: [ALL]` and `cap_add` of what is needed.
    const ENOUGH: u64 = 0x8001b;
    const KILL: u64 = 1 << 5;

    fn missing(effective: u64) -> String {
        judge(effective).unwrap_err().to_string()
    }

    #[test]
    fn the_needed_ones_are_enough_and_each_of_them_is_missed_by_name() {
        judge(ENOUGH).unwrap();
        judge(u64::MAX).unwrap();
        for need in needs() {
            let error = missing(!(1 << need.bit));
            assert!(error.contains(need.name) && error.contains(need.reason), "{error}");
            let mut others = needs().filter(|other| *other != need);
            assert!(others.all(|other| !error.contains(other.name)), "{error}");
        }
    }

    #[test]
    fn killing_is_needed_only_where_a_command_can_become_another_user() {
        let with_setuid = ENOUGH | 1 << SETUID;
        assert!(missing(with_setuid).contains("CAP_KILL"));
        judge(with_setuid | KILL).unwrap();
    }

    #[test]
    fn all_that_is_missing_is_named_at_once_with_what_to_do() {
        let error = missing(0);
        let unconditional = needs().filter(|need| need.only_with.is_none());
        assert!(unconditional.into_iter().all(|need| error.contains(need.name)), "{error}");
        assert!(error.contains("cap_add"), "{error}");
    }

    #[test]
    fn the_effective_set_is_read_and_nothing_is_guessed() {
        let status = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\tffffffffffffffff\n\
                      CapEff:\t000000000008001b\nCapBnd:\tffffffffffffffff\n";
        assert_eq!(effective(status), Some(ENOUGH));
        for text in ["", "Name:\tx\n", "CapEff:\t\n", "CapEff:\tall\n"] {
            assert_eq!(effective(text), None, "{text:?}");
        }
        // What the kernel of this machine writes is understood.
        assert!(effective(&std::fs::read_to_string(STATUS_FILE).unwrap()).is_some());
    }
}

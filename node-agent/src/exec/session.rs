//! Everything that a command started, and how it is found without its warden.
//!
//! The warden (`crate::warden`) ends everything below it by itself. This is for the case that it was killed: what is left then
//! is found by the marker in the environment ([`MARKER`]), and by the session, as long as the session is surely the
//! command's. What has left the session *and* cleared its environment *and* lost its warden is not found.

use std::collections::BTreeSet;
use std::time::Duration;

use super::running::Record;
use crate::processes::{self, Identity, Process};

/// The environment variable that marks everything a command starts: `<spool id>.<grant seq>`.
pub(crate) const MARKER: &str = "PACT_EXEC";

/// A sweep finds what forked while the one before it looked; more rounds than that is a fork bomb, which the next
/// start of the agent meets again.
const SWEEP_ROUNDS: usize = 20;

/// Longest environment that is looked at for the marker.
const MAX_ENVIRONMENT_BYTES: u64 = 256 * 1024;

/// How often it is looked whether a warden that was left alone is done, and how often at most: 3 s, far above what killing takes.
const WARDEN_INTERVAL: Duration = Duration::from_millis(50);
const WARDEN_ROUNDS: usize = 60;

/// Everything that a command started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// The command's own process; its number is that of its session and process group.
    pub(crate) leader: Option<Identity>,
    pub(crate) warden: Option<Identity>,
    pub(crate) marker: String,
}

impl Session {
    /// What an earlier run of the agent had started, in this boot.
    pub(crate) fn left_behind(record: &Record) -> Self {
        Self { leader: record.leader, warden: record.warden, marker: record.marker.clone() }
    }

    /// Waits until a warden that lost its agent is done: it ends what is below it by itself. Blocks.
    pub(crate) fn wait_for_warden(&self) {
        let Some(warden) = self.warden else { return };
        for _round in 0..WARDEN_ROUNDS {
            let process = processes::find(warden.pid);
            if process.is_none_or(|found| found.identity != warden || found.is_zombie) {
                return;
            }
            std::thread::sleep(WARDEN_INTERVAL);
        }
    }

    /// Kills what is surely the command's, wherever it moved to. Blocks: looks at every process of the machine.
    /// Returns how many were killed.
    pub(crate) fn sweep(&self) -> usize {
        // One that was killed may be seen again before it is gone; it is one all the same.
        let mut killed = BTreeSet::new();
        for _round in 0..SWEEP_ROUNDS {
            let found = self.survivors(&processes::all());
            if found.is_empty() {
                break;
            }
            killed.extend(found.into_iter().filter(|identity| processes::end(*identity)));
        }
        killed.len()
    }

    fn survivors(&self, all: &[Process]) -> BTreeSet<Identity> {
        let wanted = format!("{MARKER}={}", self.marker);
        let mut found: BTreeSet<Identity> = all
            .iter()
            .filter(|process| !process.is_zombie)
            .map(|process| process.identity)
            .filter(|identity| has_variable(identity.pid, wanted.as_bytes()))
            .collect();
        let is_there = |wanted: Identity| all.iter().any(|process| process.identity == wanted);
        if let Some(warden) = self.warden.filter(|warden| is_there(*warden)) {
            found.extend(processes::descendants(all, warden.pid));
            found.insert(warden);
        }
        if let Some(leader) = self.leader {
            let members: Vec<&Process> =
                all.iter().filter(|process| process.session == leader.pid).collect();
            // A session's number is free for others once it is empty. It is still this one's while its leader is there, or
            // one of its members is known to be the command's.
            let is_ours =
                is_there(leader) || members.iter().any(|member| found.contains(&member.identity));
            if is_ours {
                found.extend(members.iter().filter(|m| !m.is_zombie).map(|m| m.identity));
            }
        }
        found
    }
}

/// Whether a process has this variable; processes that have ended, or are not ours to read, have not.
fn has_variable(pid: i32, wanted: &[u8]) -> bool {
    use std::io::Read as _;
    let mut environment = Vec::new();
    let read = std::fs::File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| file.take(MAX_ENVIRONMENT_BYTES).read_to_end(&mut environment));
    read.is_ok() && environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// A leader of a session of its own, without the marker.
    fn leader() -> (Child, Identity) {
        let child = Command::new("setsid").args(["sleep", "1000"]).env_clear().spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        loop {
            // `setsid` has made the session when the process is its own leader.
            match processes::find(pid) {
                Some(process) if process.session == pid => return (child, process.identity),
                _ => std::thread::yield_now(),
            }
        }
    }

    fn session(leader: Identity) -> Session {
        // No process carries it.
        let marker = format!("test-{}-{}", leader.pid, leader.started_ticks);
        Session { leader: Some(leader), warden: None, marker }
    }

    #[test]
    fn the_session_is_swept_without_a_marker() {
        let (mut child, leader) = leader();
        assert_eq!(session(leader).sweep(), 1);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_session_whose_number_was_taken_by_others_is_left_alone() {
        let (mut child, leader) = leader();
        let earlier = Identity { started_ticks: leader.started_ticks - 1, ..leader };
        assert_eq!(session(earlier).sweep(), 0);
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn members_are_the_commands_while_one_of_them_is_known_to_be() {
        let process = |pid, session| Process {
            identity: Identity { pid, started_ticks: 7 },
            parent: 1,
            session,
            is_zombie: false,
        };
        let gone = Identity { pid: -7, started_ticks: 5 };
        let warden = Identity { pid: -8, started_ticks: 7 };
        let with_warden = Session { warden: Some(warden), ..session(gone) };
        let child = Process { parent: -8, ..process(-9, -7) };
        // The leader has gone; its session's member -9 is the warden's child, -10 is in the same session.
        let all = [process(-8, -8), child, process(-10, -7), process(-11, -11)];
        let pids: Vec<i32> = with_warden.survivors(&all).iter().map(|i| i.pid).collect();
        assert_eq!(pids, [-10, -9, -8]);
        assert_eq!(session(gone).survivors(&all), BTreeSet::new());
    }
}

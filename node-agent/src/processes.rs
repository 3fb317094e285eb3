//! The processes of this machine, as `/proc` shows them: who came from whom, and which process a number means.
//!
//! A number alone means nothing for long: it is another process's once the first one is reaped. [`Identity`] adds the moment of
//! its start, which no later process of this boot shares.

use std::collections::{BTreeMap, BTreeSet};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest line of `/proc/<pid>/stat`: a name of 16 bytes and some fifty numbers.
const MAX_STAT_BYTES: u64 = 4096;

/// Fields of `/proc/<pid>/stat` behind the name (proc(5) counts from 1, with the state as field 3).
const PARENT: usize = 4 - 3;
const SESSION: usize = 6 - 3;
const STARTED: usize = 22 - 3;

/// One process and no other, for as long as the machine is up.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Clock ticks between the boot and its start.
    pub(crate) started_ticks: u64,
}

/// A process at the moment of looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) identity: Identity,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// Has ended and is not reaped: it holds its number and does nothing more.
    pub(crate) is_zombie: bool,
}

/// The process with this number now.
pub(crate) fn find(pid: i32) -> Option<Process> {
    use std::io::Read as _;
    let file = std::fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let mut line = Vec::new();
    file.take(MAX_STAT_BYTES).read_to_end(&mut line).ok()?;
    parse(pid, &String::from_utf8_lossy(&line))
}

/// Every process, by number. Blocks for some milliseconds on a busy node.
pub(crate) fn all() -> Vec<Process> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    folder
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(find)
        .collect()
}

/// Children of `ancestor`, their children and so on.
pub(crate) fn descendants(all: &[Process], ancestor: i32) -> BTreeSet<Identity> {
    let mut children: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = BTreeSet::new();
    let mut next = vec![ancestor];
    while let Some(parent) = next.pop() {
        // Taken out: a table that changed while it was read cannot lead round in a circle.
        for child in children.remove(&parent).unwrap_or_default() {
            next.push(child.identity.pid);
            if !child.is_zombie {
                found.insert(child.identity);
            }
        }
    }
    found
}

/// Kills this process and no other that has taken its number since. Says whether it was there.
pub(crate) fn end(identity: Identity) -> bool {
    let is_there = find(identity.pid)
        .is_some_and(|process| process.identity == identity && !process.is_zombie);
    is_there && kill(Pid::from_raw(identity.pid), Signal::SIGKILL).is_ok()
}

/// The name may hold anything, so the fields are counted from its last bracket.
fn parse(pid: i32, line: &str) -> Option<Process> {
    let (_, fields) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    Some(Process {
        identity: Identity { pid, started_ticks: fields.get(STARTED)?.parse().ok()? },
        parent: fields.get(PARENT)?.parse().ok()?,
        session: fields.get(SESSION)?.parse().ok()?,
        is_zombie: matches!(fields.first(), Some(&("Z" | "X"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_the_fields() {
        let line = "7 (a) Z 1 (b) S 5 6 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99887 1 2\n";
        let process = parse(7, line).unwrap();
        assert_eq!(process.identity, Identity { pid: 7, started_ticks: 99_887 });
        assert_eq!((process.parent, process.session, process.is_zombie), (5, 3, false));
        assert_eq!(parse(7, "7 (a) S 5"), None);
    }

    #[test]
    fn descendants_are_all_of_them_and_nobody_else() {
        let process = |pid, parent, is_zombie| Process {
            identity: Identity { pid, started_ticks: 1 },
            parent,
            session: 1,
            is_zombie,
        };
        // 5 is a zombie whose child lives on; 8 and 9 name each other, as a table read half-way may.
        let all = [(2, 1), (3, 2), (5, 3), (6, 5), (7, 1), (8, 9), (9, 8)];
        let all = all.map(|(pid, parent)| process(pid, parent, pid == 5));
        let pids = |of| descendants(&all, of).iter().map(|i| i.pid).collect::<Vec<_>>();
        assert_eq!(pids(2), [3, 6]);
        assert_eq!(pids(7), [0; 0]);
        assert_eq!(pids(8), [8, 9]);
    }

    #[test]
    fn a_number_that_belongs_to_somebody_else_now_is_left_alone() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let found = find(i32::try_from(child.id()).unwrap()).unwrap().identity;
        assert!(!end(Identity { started_ticks: found.started_ticks + 1, ..found }));
        assert_eq!(child.try_wait().unwrap(), None);
        assert!(end(found));
        child.wait().unwrap();
        assert!(!end(found));
    }
}

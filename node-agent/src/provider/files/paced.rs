//! Files that take long to read: one that changes all the time must not keep everybody else waiting.
//!
//! A file whose reading took long is told of again only after many times as long; what is written to it meanwhile is told
//! once then. So one file takes a small part of the time, however often it is written to. What can be told without reading
//! it does not wait: that it is gone, or something else, and whose it is and with which mode.

use std::collections::BTreeMap;
use std::time::Duration;

use pact_schemas::resource::FileKind;

use super::look::Seen;
use super::order::PathBytes;
use super::record::Print;

/// Reading that takes no longer disturbs nobody: some ten megabytes.
const SLOW: Duration = Duration::from_millis(20);
/// How many times as long as it took it is not read again: a twentieth of the time goes into it.
const PAUSE: u32 = 20;
/// However long it took, a change is looked at this soon.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// A file that is no larger than this now takes little time, whatever it took before.
const QUICK_BYTES: u64 = 8 * 1024 * 1024;
/// The type of a regular file in its mode.
const REGULAR: u32 = 0o100_000;
/// Files that are remembered; of more, the rest is read whenever it changes.
const MAX_FILES: usize = 256;

/// What was known of a file when it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// Without an inode where it changed while it was read.
    print: Print,
    sha256: [u8; 32],
}

impl Known {
    /// Of what was seen; `None`: it has no contents that could take long.
    pub(super) fn of(seen: &Seen) -> Option<Self> {
        let record = &seen.record;
        let mode = REGULAR | record.mode;
        let (uid, gid) = (record.uid, record.gid);
        let print = Print { mode, uid, gid, ..seen.found };
        (record.kind == FileKind::Regular).then_some(Self { print, sha256: seen.sha256 })
    }

    /// Whether type, mode and owner are these.
    fn has_facts_of(&self, now: &Print) -> bool {
        (self.print.mode, self.print.uid, self.print.gid) == (now.mode, now.uid, now.gid)
    }

    /// Whether nothing says that the contents are others.
    fn has_contents_of(&self, now: &Print) -> bool {
        let of = |print: &Print| (print.inode, print.size, print.modified_ns);
        self.print.inode != 0 && of(&self.print) == of(now)
    }
}

#[derive(Debug, Clone, Copy)]
struct Slow {
    /// Not before.
    until: Duration,
    /// It may have changed.
    is_waiting: bool,
    /// It was read again before its time already: contents wait now, whatever else is new.
    is_spent: bool,
    known: Known,
}

/// Files whose reading took long.
#[derive(Debug, Default)]
pub(super) struct Paced {
    files: BTreeMap<PathBytes, Slow>,
}

impl Paced {
    /// A file was read; it took this long, until `now`. `known`: what it was, if it can take long at all.
    pub(super) fn took(
        &mut self,
        path: &[u8],
        took: Duration,
        now: Duration,
        known: Option<Known>,
    ) {
        let path = PathBytes(path.into());
        let before = self.files.remove(&path).filter(|slow| slow.until > now);
        let Some(known) = known else { return };
        if took <= SLOW {
            // It was quick because its contents were not read.
            let waiting = before.filter(|slow| slow.known.has_contents_of(&known.print));
            self.files.extend(waiting.map(|slow| (path, Slow { known, ..slow })));
            return;
        }
        if self.files.len() >= MAX_FILES {
            self.files.retain(|_, slow| slow.is_waiting || slow.until > now);
        }
        if self.files.len() < MAX_FILES {
            let until = now + took.saturating_mul(PAUSE).min(MAX_PAUSE);
            let slow = Slow { until, is_waiting: false, is_spent: before.is_some(), known };
            self.files.insert(path, slow);
        }
    }

    /// Whether a change of this file is told later; if so, it is remembered. `print`: what it is now, if it is there.
    pub(super) fn puts_off(
        &mut self,
        path: &[u8],
        now: Duration,
        print: impl FnOnce() -> Option<Print>,
    ) -> bool {
        if self.files.is_empty() {
            return false;
        }
        let slow = self.files.get_mut(&PathBytes(path.into()));
        let Some(slow) = slow.filter(|slow| slow.until > now) else { return false };
        slow.is_waiting = true;
        let Some(print) = print() else { return false };
        let is_quick = print.size <= QUICK_BYTES || slow.known.has_contents_of(&print);
        let is_told = !slow.known.has_facts_of(&print) && (is_quick || !slow.is_spent);
        !is_told && print.size > QUICK_BYTES
    }

    /// The digest of the contents that a file with this print has, if they are not to be read before their time.
    pub(super) fn contents(&self, path: &[u8], now: Duration, print: &Print) -> Option<[u8; 32]> {
        let slow = self.files.get(&PathBytes(path.into())).filter(|slow| slow.until > now)?;
        slow.known.has_contents_of(print).then_some(slow.known.sha256)
    }

    /// Files that changed and whose time has come.
    pub(super) fn due(&mut self, now: Duration) -> Vec<PathBytes> {
        let is_due = |slow: &Slow| slow.is_waiting && slow.until <= now;
        let due = self.files.iter().filter(|(_, slow)| is_due(slow));
        let due: Vec<PathBytes> = due.map(|(path, _)| path.clone()).collect();
        for path in &due {
            self.files.remove(path);
        }
        due
    }

    /// When the next of them is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.files.values().filter(|slow| slow.is_waiting).map(|slow| slow.until).min()
    }

    /// A scan has seen everything.
    pub(super) fn scanned(&mut self) {
        self.files.values_mut().for_each(|slow| slow.is_waiting = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    const PRINT: Print = Print {
        inode: 7,
        size: 900 * 1024 * 1024,
        modified_ns: 1,
        changed_ns: 1,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
    };

    const KNOWN: Option<Known> = Some(Known { print: PRINT, sha256: [1; 32] });

    /// Whether a change after which it is this is told later.
    fn waits(paced: &mut Paced, now: Duration, print: Option<Print>) -> bool {
        paced.puts_off(b"/slow", now, || print)
    }

    #[test]
    fn a_slow_file_is_told_once_after_a_pause_and_a_quick_one_at_once() {
        let mut paced = Paced::default();
        let now = 1_000 * MS;
        paced.took(b"/quick", SLOW, now, KNOWN);
        paced.took(b"/slow", 100 * MS, now, KNOWN);
        assert!(!paced.puts_off(b"/quick", now, || Some(PRINT)));
        assert!(!paced.puts_off(b"/other", now, || Some(PRINT)));
        assert_eq!(paced.next(), None);
        let written = Print { modified_ns: 2, ..PRINT };
        for _ in 0..3 {
            assert!(waits(&mut paced, now + MS, Some(written)));
        }
        assert_eq!(paced.next(), Some(now + 2_000 * MS));
        assert!(paced.due(now + 1_999 * MS).is_empty());
        assert_eq!(paced.due(now + 2_000 * MS), [PathBytes(b"/slow"[..].into())]);
        assert_eq!(paced.next(), None);
        assert!(!waits(&mut paced, now + 2_000 * MS, Some(written)), "it is read now");
    }

    #[test]
    fn a_change_after_the_pause_is_told_at_once_and_no_pause_is_too_long() {
        let mut paced = Paced::default();
        paced.took(b"/slow", 100 * MS, Duration::ZERO, KNOWN);
        assert!(!waits(&mut paced, 2_000 * MS, Some(PRINT)));
        paced.took(b"/slow", Duration::from_secs(100), Duration::ZERO, KNOWN);
        assert!(waits(&mut paced, MS, Some(PRINT)));
        assert_eq!(paced.next(), Some(MAX_PAUSE));
        paced.scanned();
        assert_eq!(paced.next(), None);
    }

    #[test]
    fn what_stat_tells_is_told_at_once_and_contents_wait_all_the_same() {
        let mut paced = Paced::default();
        paced.took(b"/slow", 100 * MS, Duration::ZERO, KNOWN);
        assert!(!waits(&mut paced, MS, None), "it is gone");
        let other = Print { mode: 0o120_777, size: 5, ..PRINT };
        assert!(!waits(&mut paced, MS, Some(other)), "it is something else");
        let small = Print { size: 10, ..PRINT };
        assert!(!waits(&mut paced, MS, Some(small)));
        let shut = Print { mode: 0o100_600, changed_ns: 2, ..PRINT };
        assert!(!waits(&mut paced, MS, Some(shut)));
        // It is not read for that, and is still to be read when its time has come.
        assert_eq!(paced.contents(b"/slow", MS, &shut), Some([1; 32]));
        paced.took(b"/slow", MS, 2 * MS, Some(Known { print: shut, sha256: [1; 32] }));
        assert!(waits(&mut paced, 2 * MS, Some(shut)), "told once");
        assert_eq!(paced.next(), Some(2_000 * MS));
        assert_eq!(paced.due(2_000 * MS).len(), 1);
        assert_eq!(paced.contents(b"/slow", 2_000 * MS, &shut), None, "it is read now");
    }

    #[test]
    fn who_writes_and_changes_the_mode_all_the_time_is_read_twice_a_pause_at_most() {
        let mut paced = Paced::default();
        let both = |n: i64| {
            let mode = if n % 2 == 0 { 0o100_644 } else { 0o100_600 };
            Print { mode, modified_ns: n, ..PRINT }
        };
        paced.took(b"/slow", 100 * MS, Duration::ZERO, KNOWN);
        assert!(!waits(&mut paced, MS, Some(both(3))));
        assert_eq!(paced.contents(b"/slow", MS, &both(3)), None);
        paced.took(b"/slow", 100 * MS, MS, Some(Known { print: both(3), sha256: [2; 32] }));
        assert!(waits(&mut paced, 2 * MS, Some(both(4))));
        assert!(waits(&mut paced, 2 * MS, Some(both(6))));
    }
}

//! Files that take long to read: one that changes all the time must not keep everybody else waiting.
//!
//! A file whose reading took long is told of again only after many times as long; what happens to it meanwhile is told
//! once then. So one file takes a small part of the time, however often it is written to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::order::PathBytes;

/// Reading that takes no longer disturbs nobody: some ten megabytes.
const SLOW: Duration = Duration::from_millis(20);
/// How many times as long as it took it is not read again: a twentieth of the time goes into it.
const PAUSE: u32 = 20;
/// However long it took, a change is looked at this soon.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Files that are remembered; of more, the rest is read whenever it changes.
const MAX_FILES: usize = 256;

#[derive(Debug, Clone, Copy)]
struct Slow {
    /// Not before.
    until: Duration,
    /// It may have changed.
    is_waiting: bool,
}

/// Files whose reading took long.
#[derive(Debug, Default)]
pub(super) struct Paced {
    files: BTreeMap<PathBytes, Slow>,
}

impl Paced {
    /// A file was read; it took this long, until `now`.
    pub(super) fn took(&mut self, path: &[u8], took: Duration, now: Duration) {
        let path = PathBytes(path.into());
        self.files.remove(&path);
        if took <= SLOW {
            return;
        }
        if self.files.len() >= MAX_FILES {
            self.files.retain(|_, slow| slow.is_waiting || slow.until > now);
        }
        if self.files.len() < MAX_FILES {
            let until = now + took.saturating_mul(PAUSE).min(MAX_PAUSE);
            self.files.insert(path, Slow { until, is_waiting: false });
        }
    }

    /// Whether a change of this file is told later; if so, it is remembered.
    pub(super) fn puts_off(&mut self, path: &[u8], now: Duration) -> bool {
        if self.files.is_empty() {
            return false;
        }
        let slow = self.files.get_mut(&PathBytes(path.into()));
        slow.is_some_and(|slow| {
            slow.is_waiting = slow.until > now;
            slow.is_waiting
        })
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

    #[test]
    fn a_slow_file_is_told_once_after_a_pause_and_a_quick_one_at_once() {
        let mut paced = Paced::default();
        let now = 1_000 * MS;
        paced.took(b"/quick", SLOW, now);
        paced.took(b"/slow", 100 * MS, now);
        assert!(!paced.puts_off(b"/quick", now));
        assert!(!paced.puts_off(b"/other", now));
        assert_eq!(paced.next(), None);
        for _ in 0..3 {
            assert!(paced.puts_off(b"/slow", now + MS));
        }
        assert_eq!(paced.next(), Some(now + 2_000 * MS));
        assert!(paced.due(now + 1_999 * MS).is_empty());
        assert_eq!(paced.due(now + 2_000 * MS), [PathBytes(b"/slow"[..].into())]);
        assert_eq!(paced.next(), None);
        assert!(!paced.puts_off(b"/slow", now + 2_000 * MS), "it is read now");
    }

    #[test]
    fn a_change_after_the_pause_is_told_at_once_and_no_pause_is_too_long() {
        let mut paced = Paced::default();
        paced.took(b"/slow", 100 * MS, Duration::ZERO);
        assert!(!paced.puts_off(b"/slow", 2_000 * MS));
        paced.took(b"/slower", Duration::from_secs(100), Duration::ZERO);
        assert!(paced.puts_off(b"/slower", MS));
        assert_eq!(paced.next(), Some(MAX_PAUSE));
        paced.scanned();
        assert_eq!(paced.next(), None);
    }
}

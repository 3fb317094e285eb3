//! Going through all parameters a few at a time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pact_schemas::resource::ResourceKey;

use super::sysctl;

/// Parameters of one slice: about a millisecond.
pub(super) const SLICE_KEYS: usize = 64;
/// A slice ends after this, however few it looked at: some parameters are slow to read.
pub(super) const SLICE_TIME: Duration = Duration::from_millis(2);
/// Parameters of one sweep: a node with a few hundred interfaces. The others are not seen.
const MAX_KEYS: usize = 50_000;

/// Where a sweep is.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Still to be listed; empty with `settings`: none is under way.
    folders: Vec<PathBuf>,
    settings: Vec<PathBuf>,
    left: usize,
    /// When the next slice, or the next sweep, is due.
    due: Duration,
    is_begun: bool,
}

impl Sweep {
    /// None is under way; the next begins then.
    pub(super) const fn idle(due: Duration) -> Self {
        Self { folders: Vec::new(), settings: Vec::new(), left: MAX_KEYS, due, is_begun: false }
    }

    /// One that begins now.
    pub(super) fn begun() -> Self {
        Self { folders: vec![PathBuf::new()], is_begun: true, ..Self::idle(Duration::ZERO) }
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.due
    }

    pub(super) fn due_in(&self, now: Duration) -> Duration {
        self.due.saturating_sub(now)
    }

    /// The next slice of this sweep comes then; a sweep that has not begun keeps its time.
    pub(super) fn pause_until(&mut self, due: Duration) {
        if self.is_begun {
            self.due = due;
        }
    }

    /// The next parameter; `None`: that was all.
    pub(super) fn next(&mut self, root: &Path) -> Option<ResourceKey> {
        if !self.is_begun {
            self.is_begun = true;
            self.folders.push(PathBuf::new());
        }
        loop {
            if let Some(below) = self.settings.pop() {
                self.left = self.left.checked_sub(1)?;
                match sysctl::key_of(&below) {
                    Some(key) => return Some(key),
                    None => continue,
                }
            }
            let folder = self.folders.pop()?;
            let listing = sysctl::list(root, &folder);
            self.settings = listing.settings;
            self.folders.extend(listing.folders);
        }
    }
}

//! Going through all keys a few at a time.

use std::time::Duration;

use pact_schemas::resource::ResourceKey;

use super::Keys;

/// Keys of one slice: about a millisecond.
pub(crate) const SLICE_KEYS: usize = 64;
/// A slice ends after this, however few it looked at: some rows are slow to read.
pub(super) const SLICE_TIME: Duration = Duration::from_millis(2);
/// Keys of one sweep: the parameters of a node with a few hundred interfaces. The others are not seen.
pub(super) const MAX_KEYS: usize = 50_000;
/// Between the ends of two sweeps.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(300);
/// Between two slices of a sweep.
const SLICE_PAUSE: Duration = Duration::from_millis(500);

/// Where a sweep is.
pub(super) struct Sweep {
    /// Still to be looked at; `None`: no sweep is under way.
    keys: Option<Keys>,
    /// When the next slice, or the next sweep, is due.
    due: Duration,
}

impl Sweep {
    /// None is under way at this time; the next begins after the interval.
    pub(super) fn idle(now: Duration) -> Self {
        Self { keys: None, due: now + SWEEP_INTERVAL }
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.due
    }

    pub(super) fn due_in(&self, now: Duration) -> Duration {
        self.due.saturating_sub(now)
    }

    /// Whether one is under way.
    pub(super) const fn is_begun(&self) -> bool {
        self.keys.is_some()
    }

    /// Goes through these keys from now on.
    pub(super) fn begin(&mut self, keys: Keys) {
        self.keys = Some(Box::new(keys.take(MAX_KEYS)));
    }

    /// The next key; `None`: that was all.
    pub(super) fn next(&mut self) -> Option<ResourceKey> {
        self.keys.as_mut()?.next()
    }

    /// The slice that was due at this time is over: the next one comes after a pause.
    pub(super) fn pause(&mut self, now: Duration) {
        self.due = now + SLICE_PAUSE;
    }
}

//! What happens to drift whose time is over: categories that are undone at once, the end of a window, and another try for what is
//! held or failed.

use std::collections::BTreeSet;
use std::time::Duration;

use pact_runtime::Pause;
use pact_schemas::ErrorCode;
use pact_schemas::resource::{ResourceKey, Value};
use pact_schemas::v1;

use super::act::{Outcome, Problem};
use super::engine::{Engine, RETRY_INTERVAL};
use super::store::Why;

/// A key that differs again so soon after it was undone at once is somebody's who insists: it gets a window.
const CATEGORY_PAUSE: Duration = Duration::from_secs(10);

/// Waits after a failure that passes by itself: a spool that is full until the journal is back, a disk that fails now and then. The
/// longest is short beside a window, and long beside what a failing disk can bear.
pub(super) const PAUSE: Pause = Pause::new(Duration::from_secs(5), Duration::from_secs(300));

/// What failed for a reason that passes by itself: nothing is wrong with the key, and nobody holds it.
pub(super) fn passing(outcome: &Outcome) -> impl Iterator<Item = &Problem> {
    let passes = |problem: &&Problem| {
        !problem.is_deferred && matches!(problem.code, ErrorCode::SpoolFull | ErrorCode::Internal)
    };
    outcome.problems.iter().filter(passes)
}

impl Engine {
    /// Drift of the categories that are undone at once.
    pub(super) fn undo_categories(&mut self) {
        if self.is_reserved() {
            return;
        }
        let now = self.now().boot;
        self.undone_at.retain(|_, at| now < at.later(CATEGORY_PAUSE));
        let (mut due, mut insists) = (Vec::new(), false);
        for item in self.set.items().filter(|item| self.settings.undoes_at_once(&item.key)) {
            if self.conflicts.contains_key(&item.key) {
                continue;
            }
            if self.undone_at.contains_key(&item.key) {
                insists = true;
            } else {
                due.push((item.key.clone(), item.wanted()));
            }
        }
        let keys: Vec<ResourceKey> = due.iter().map(|(key, _)| key.clone()).collect();
        let outcome = self.carry_out(Why::Category, due);
        if let Some(wait) = self.delay(&outcome) {
            self.retry_in(wait);
        }
        self.undone_at.extend(keys.into_iter().map(|key| (key, now)));
        if insists {
            self.retry_in(CATEGORY_PAUSE);
        }
    }

    /// Nobody decided in time.
    pub(super) fn window_ended(&mut self) {
        tracing::warn!(keys = self.set.counted(), mode = %self.settings.mode, "the commit window has ended");
        let undecided = std::mem::take(&mut self.conflicts);
        let keys: BTreeSet<ResourceKey> = undecided.keys().cloned().collect();
        let ended = v1::ConflictDecision::GraceEnded;
        self.decided.extend(undecided.into_iter().map(|(key, conflict)| (ended, key, conflict)));
        self.tell_decided();
        let of_conflicts = self.undoable(|key| keys.contains(key));
        // What is held of them is held for the next line too.
        self.carry_out(Why::Conflict, of_conflicts);
        self.undo(|_| true);
    }

    /// Drift that may be undone by itself now, of these keys.
    fn undoable(&self, is_meant: impl Fn(&ResourceKey) -> bool) -> Vec<(ResourceKey, Value)> {
        let meant = self.set.items().filter(|item| {
            is_meant(&item.key)
                && self.settings.undoes(&item.key)
                && !self.conflicts.contains_key(&item.key)
        });
        meant.map(|item| (item.key.clone(), item.wanted())).collect()
    }

    /// Undoes drift of these keys whose time is over, and says where that leaves the window.
    pub(super) fn undo(&mut self, is_meant: impl Fn(&ResourceKey) -> bool) {
        let due = self.undoable(is_meant);
        let outcome = self.carry_out(Why::WindowEnded, due);
        let delay = self.delay(&outcome);
        if self.set.counted() == 0 {
            return; // `finish` closes the window
        }
        let left = self.set.keys().into_iter().collect();
        match delay {
            Some(wait) if !outcome.is_held() => self.put_off_for(wait, Vec::new(), left),
            _ if outcome.is_held() => self.put_off(outcome.held, left),
            _ => {
                self.window.expire();
                self.left = left;
            }
        }
    }

    /// What is left waits for its holders; in enforce mode it is tried again.
    pub(super) fn put_off(&mut self, holders: Vec<v1::Holder>, left: BTreeSet<ResourceKey>) {
        self.put_off_for(RETRY_INTERVAL, holders, left);
    }

    fn put_off_for(
        &mut self,
        wait: Duration,
        holders: Vec<v1::Holder>,
        left: BTreeSet<ResourceKey>,
    ) {
        let now = self.now();
        self.window.defer(now, holders);
        self.left = left;
        self.retry_in(wait);
    }

    /// In which time to try again what failed for reasons that pass; `None`: nothing did. Says so in the log, and in `diff`.
    pub(super) fn delay(&mut self, outcome: &Outcome) -> Option<Duration> {
        let Some(first) = passing(outcome).next() else {
            if !outcome.done.is_empty() {
                self.pause = PAUSE;
                self.delayed = None;
            }
            return None;
        };
        let wait = self.pause.next(&self.clock);
        tracing::warn!(
            keys = passing(outcome).count(),
            retry_seconds = wait.as_secs(),
            reason = first.reason,
            "the node is not made what it should be yet; it is tried again"
        );
        self.delayed = Some(format!("not undone yet: {}; it is tried again", first.reason));
        Some(wait)
    }

    /// Why a key is not undone although its time is over, and will be.
    pub(super) fn delayed(&self, key: &ResourceKey) -> Option<String> {
        let is_left = self.left.contains(key) && self.settings.undoes(key);
        self.delayed.clone().filter(|_| is_left && self.window.is_deferred())
    }

    /// Comes again after a failure that passes.
    pub(super) fn come_again(&mut self) {
        let wait = self.pause.next(&self.clock);
        self.retry_in(wait);
    }

    /// Tries again what waits, in this time at the latest.
    pub(super) fn retry_in(&mut self, wait: Duration) {
        let again = self.now().boot.later(wait);
        self.retry_at = Some(self.retry_at.map_or(again, |at| at.min(again)));
    }
}

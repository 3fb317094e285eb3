//! The owner of everything about drift: one thread, all blocking work in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pact_runtime::{Clock, Pause, Timestamp, causes};
use pact_schemas::resource::ResourceKey;
use pact_schemas::{Mode, v1};

use super::act::{Problem, Unfinished};
use super::core::conflict::{Conflict, Conflicts};
use super::core::magnitude::magnitude;
use super::core::set::DriftSet;
use super::core::snapshots::Snapshots;
use super::core::window::{Boot, Now, Saved, Tick, Window};
use super::look::RESCAN_INTERVAL;
use super::providers::Providers;
use super::report::{Ledger, Reports};
use super::sessions::Sessions;
use super::settings::{FileSettings, Settings};
use super::store::{Adopting, Base, MAX_REMEMBERED, Remembered, SavedState, Store, StoreError};
use super::{bases, ending};
use crate::boot::BootId;
use crate::declared::{ContentsFolder, Declared, Known, Wanted};
use crate::memory;
use crate::provider::Poll;
use crate::provider::abilities::Powers;
use crate::time::PlaneClock;

/// What was held is tried again this often, and a set that was too large is looked at again.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Before anything can have ended.
const NEVER: Timestamp = Timestamp::from_unix_nanos(i64::MIN);

/// How often a running window is written down, so that little of it is forgotten by a reboot.
const KEEP_INTERVAL: Duration = Duration::from_secs(60);

/// What an engine is made of.
pub(crate) struct EngineParts {
    pub(crate) providers: Providers,
    pub(crate) file: FileSettings,
    pub(crate) declared: Arc<Declared>,
    pub(crate) contents: ContentsFolder,
    pub(crate) folder: std::path::PathBuf,
    pub(crate) reports: Box<dyn Reports>,
    pub(crate) sessions: Sessions,
    pub(crate) clock: Clock,
    pub(crate) plane: PlaneClock,
    pub(crate) boot: BootId,
    /// What the agent may change on this node.
    pub(crate) powers: Powers,
}

/// The state of drift on this node.
pub(crate) struct Engine {
    pub(super) providers: Providers,
    pub(super) file: FileSettings,
    pub(super) settings: Settings,
    pub(super) declared: Arc<Declared>,
    /// What is declared and in force, as far as it was adopted.
    pub(super) wanted: Wanted,
    /// The least that plane time was when that was judged.
    judged_at: Option<Timestamp>,
    pub(super) contents: ContentsFolder,
    pub(super) set: DriftSet,
    pub(super) window: Window,
    pub(super) conflicts: Conflicts,
    pub(super) decided: Vec<(v1::ConflictDecision, ResourceKey, Conflict)>,
    pub(super) snapshots: Snapshots,
    pub(super) bases: BTreeMap<ResourceKey, Base>,
    /// They are others than on disk.
    pub(super) bases_changed: bool,
    /// Keys that are being adopted, with what was declared before.
    pub(super) adopting: Adopting,
    /// All of that is on disk, as far as it has to be.
    pub(super) is_adopted: bool,
    /// Declared keys that could not be brought about.
    pub(super) problems: BTreeMap<ResourceKey, Problem>,
    /// Keys that were let go last and stay as they are.
    pub(super) orphaned: Vec<Problem>,
    pub(super) store: Store,
    pub(super) reports: Box<dyn Reports>,
    pub(super) ledger: Ledger,
    pub(super) unfinished: Option<Unfinished>,
    pub(super) deferred_told: Option<v1::Deferred>,
    pub(super) reserved: Option<([u8; 32], Boot)>,
    /// Node and journal have not agreed on what is declared since they parted.
    is_away: bool,
    /// How often they had parted when that was looked at.
    losses: u64,
    pub(super) powers: Powers,
    /// Conflicts that the journal was told of.
    pub(super) told_conflicts: BTreeSet<ResourceKey>,
    /// What was left when the window ended: only other keys are news.
    pub(super) left: BTreeSet<ResourceKey>,
    pub(super) undone_at: BTreeMap<ResourceKey, Boot>,
    pub(super) retry_at: Option<Boot>,
    /// The next wait after a failure that passes, and what failed.
    pub(super) pause: Pause,
    pub(super) delayed: Option<String>,
    pub(super) rescan_at: Boot,
    kept_window: Option<Saved>,
    pub(super) looked_at: Duration,
    pub(super) sessions: Sessions,
    pub(super) clock: Clock,
    pub(super) plane: PlaneClock,
    boot: BootId,
}

impl Engine {
    /// Reads what an earlier run left. Blocks; looks at nothing yet.
    pub(crate) fn open(parts: EngineParts) -> Result<Self, StoreError> {
        let store = Store::open(&parts.folder)?;
        let (bases, adopting) = (store.bases()?, store.adopting()?);
        let settings = Settings::new(&parts.file, &parts.declared);
        let in_force = parts.declared.in_force(parts.plane.at_least());
        // Without declarations on disk, what was adopted last is all that is known of them.
        let is_lost = parts.declared.head().is_none();
        let is_declared = |key: &ResourceKey| is_lost || in_force.contains_key(key);
        let wanted = bases::adopted(&bases, &adopting, is_declared);
        let boot = Boot::new(parts.clock.boot_time());
        Ok(Self {
            providers: parts.providers,
            file: parts.file,
            settings,
            declared: parts.declared,
            wanted,
            judged_at: None,
            contents: parts.contents,
            set: DriftSet::default(),
            window: Window::default(),
            conflicts: Conflicts::new(),
            decided: Vec::new(),
            snapshots: Snapshots::default(),
            bases,
            bases_changed: false,
            adopting,
            is_adopted: true,
            problems: BTreeMap::new(),
            orphaned: Vec::new(),
            store,
            reports: parts.reports,
            ledger: Ledger::default(),
            unfinished: None,
            deferred_told: None,
            reserved: None,
            is_away: true,
            losses: 0,
            powers: parts.powers,
            told_conflicts: BTreeSet::new(),
            left: BTreeSet::new(),
            undone_at: BTreeMap::new(),
            retry_at: None,
            pause: ending::PAUSE,
            delayed: None,
            rescan_at: boot.later(RESCAN_INTERVAL),
            kept_window: None,
            looked_at: parts.clock.boot_time(),
            sessions: parts.sessions,
            clock: parts.clock,
            plane: parts.plane,
            boot: parts.boot,
        })
    }

    /// The first look: finds drift, finishes what a crash interrupted, applies declarations after a boot.
    pub(crate) fn start(&mut self) -> Result<(), StoreError> {
        let saved = self.store.state()?;
        self.providers.ignore(&self.settings.blacklist);
        self.watch_declared();
        self.recover()?;
        self.scan();
        let is_same_boot =
            saved.as_ref().is_some_and(|saved| saved.boot_id == self.boot.to_string());
        let remembered: BTreeSet<ResourceKey> = saved
            .iter()
            .flat_map(|saved| saved.items.iter().map(|item| item.key.clone()))
            .collect();
        if let Some(saved) = saved {
            self.window = Window::restore(&saved.window, self.now(), &self.boot.to_string());
            self.ledger.told = saved.told;
            self.remember(&saved.items);
            if self.window.is_over() {
                self.left = remembered.clone();
            }
            if self.window.is_deferred() {
                self.retry_at = Some(self.now().boot.later(RETRY_INTERVAL));
            }
        }
        self.finish_adoption();
        if !is_same_boot {
            let all = self.wanted.keys();
            let mut untouched: BTreeSet<ResourceKey> =
                all.filter(|key| !remembered.contains(key)).cloned().collect();
            self.put_silent_aside(&mut untouched);
            if !self.keep_adoption() {
                self.come_again();
            }
            self.bring_about(untouched);
        }
        self.finish();
        Ok(())
    }

    fn remember(&mut self, items: &[Remembered]) {
        for item in items {
            let since = Timestamp::from_unix_nanos(item.since);
            let session = item.session.and_then(|seq| pact_schemas::Seq::new(seq).ok());
            self.set.remember(&item.key, since, session);
            let (known, journal) = (self.set.get(&item.key), self.wanted.get(&item.key));
            if let (true, Some(known), Some(journal)) = (item.conflict, known, journal) {
                let conflict = Conflict { journal: journal.value(), local: known.actual() };
                self.conflicts.insert(item.key.clone(), conflict);
                self.told_conflicts.insert(item.key.clone());
            }
        }
    }

    /// Descriptors that become readable when something changed.
    pub(crate) fn readiness(&self) -> Vec<std::os::fd::OwnedFd> {
        self.providers.readiness()
    }

    /// Looks at what changed and does what time brings. Returns in which time to come again at the latest.
    pub(crate) fn wake(&mut self) -> Duration {
        self.look_around();
        self.undo_categories();
        self.pass_time();
        self.finish();
        self.next_wake()
    }

    /// Takes in what changed on the node since the last look.
    pub(crate) fn look_around(&mut self) {
        self.welcome_back();
        let now = self.now();
        if now.boot >= self.rescan_at {
            self.scan();
        } else {
            match self.providers.poll() {
                Poll::Changed(keys) => keys.iter().for_each(|key| self.look(key)),
                Poll::Rescan => self.scan(),
            }
        }
        self.looked_at = self.clock.boot_time();
    }

    pub(super) fn now(&self) -> Now {
        Now { boot: Boot::new(self.clock.boot_time()), time: self.plane.best() }
    }

    pub(super) fn watch_declared(&mut self) {
        let keys: BTreeSet<ResourceKey> =
            self.wanted.keys().chain(self.bases.keys()).cloned().collect();
        self.providers.declare(&keys);
    }

    /// Another file of the agent: its blacklist and windows hold from now on.
    pub(crate) fn reload(&mut self, file: FileSettings) {
        self.file = file;
        self.settings_changed();
        // What was let go may be this node's to undo now.
        let released = self.unsettled();
        self.settle_keys(released);
        self.finish();
    }

    pub(super) fn settings_changed(&mut self) {
        let before =
            std::mem::replace(&mut self.settings, Settings::new(&self.file, &self.declared));
        if before.mode != self.settings.mode {
            tracing::info!(from = %before.mode, to = %self.settings.mode, "enforcement mode");
        }
        if before.blacklist != self.settings.blacklist {
            self.providers.ignore(&self.settings.blacklist);
            self.scan();
        }
    }

    /// The mode that is in force.
    pub(crate) fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// What the clock brings: ends of deltas, warnings, the end of the window, another try.
    fn pass_time(&mut self) {
        let now = self.now();
        if let Some(plane) = self.plane.now().map(|time| time.now) {
            self.window.settle(now, plane, self.settings.limits);
        }
        if self.may_have_ended(self.plane.at_least()) {
            let in_force = self.in_force();
            if in_force != self.wanted {
                self.adopt_state(in_force);
            }
        }
        match self.window.tick(now) {
            Tick::Nothing => {}
            Tick::Warning { minutes } => {
                tracing::warn!(
                    minutes, keys = self.set.counted(), mode = %self.settings.mode,
                    "the commit window ends soon: commit, roll back or extend"
                );
            }
            // A plan that is reserved for the next seconds must find what it was made for.
            Tick::Ended if self.is_reserved() => {}
            Tick::Ended => self.window_ended(),
        }
        if self.retry_at.is_some_and(|at| now.boot >= at) && !self.is_reserved() {
            self.retry_at = None;
            self.resume_adoption();
            if self.window.is_deferred() && self.settings.mode == Mode::Enforce {
                let left = self.left.clone();
                self.undo(|key| left.contains(key));
            }
        }
    }

    /// Whether another state may be in force than when that was judged.
    fn may_have_ended(&self, passed: Option<Timestamp>) -> bool {
        let Some(passed) = passed else { return false };
        let before = self.judged_at.unwrap_or(NEVER);
        passed < before || self.declared.next_expiry(before).is_some_and(|at| at <= passed)
    }

    /// What is declared and in force now. What has ended is noted on disk first: it never comes back to life.
    pub(super) fn in_force(&mut self) -> Wanted {
        if self.declared.head().is_none() {
            return self.wanted.clone(); // nothing is known that could be over
        }
        let passed = self.plane.at_least();
        if self.may_have_ended(passed)
            && let Err(error) = self.plane.keep_at_least()
        {
            tracing::error!(%error, "what has ended may count again after a reboot, until the plane's time is known");
        }
        self.judged_at = passed;
        self.declared.in_force(passed)
    }

    /// Brings window, reports and files to what the set is now.
    pub(super) fn finish(&mut self) {
        let now = self.now();
        let magnitude = magnitude(&self.set);
        self.reopen_for_news(now, magnitude);
        self.window.drift(now, self.set.counted(), magnitude, self.settings.limits);
        if self.window.is_idle() {
            self.deferred_told = None;
            self.delayed = None;
        }
        self.retry_unfinished();
        self.tell_pending();
        self.tell_decided();
        let due = self.ledger.due(&self.set, &self.window, &self.conflicts, now.time);
        if let Some((event, told)) = due {
            // The window is on disk before anybody hears of it: the next run must not begin another one.
            self.keep(now);
            match self.reports.report(v1::node_event::Body::DriftChanged(event)) {
                Ok(()) => self.ledger.told(told),
                Err(error) => super::report::not_told(&error),
            }
        }
        self.keep(now);
    }

    /// In enforce mode, drift that came after a window ended is not undone without a window of its own.
    fn reopen_for_news(&mut self, now: Now, magnitude: f64) {
        if self.settings.mode != Mode::Enforce || !self.window.is_over() {
            return;
        }
        let is_news = |key: &ResourceKey| self.settings.undoes(key) && !self.left.contains(key);
        if self.set.items().any(|item| is_news(&item.key)) {
            self.window.reopen(now, self.settings.limits.length(magnitude));
        }
    }

    fn keep(&mut self, now: Now) {
        let items = self.set.items().take(MAX_REMEMBERED).map(|item| Remembered {
            key: item.key.clone(),
            since: item.since.unix_nanos(),
            session: item.session.map(pact_schemas::Seq::get),
            conflict: self.conflicts.contains_key(&item.key),
        });
        let boot_id = self.boot.to_string();
        let plane = self.plane.now().map(|time| time.now);
        let mut window = self.window.save(now, &boot_id, plane);
        // The same window is not written again with every look, but now and then for a reboot's sake.
        if let Some(kept) =
            self.kept_window.take().filter(|kept| window.repeats(kept, KEEP_INTERVAL))
        {
            window = kept;
        }
        self.kept_window = Some(window.clone());
        let state =
            SavedState { window, items: items.collect(), told: self.ledger.told.clone(), boot_id };
        let kept = self.store.keep_state(&state).and_then(|()| self.keep_bases());
        // What was adopted is forgotten last: windows and conflicts that came of it are on disk now.
        let kept = kept.and_then(|()| match self.adopting.is_empty() {
            true => self.store.keep_adopting(&self.adopting),
            false => Ok(()),
        });
        if let Err(error) = kept {
            tracing::error!(cause = causes(&error), "drift state is not kept: {error}");
        }
    }

    pub(super) fn is_reserved(&self) -> bool {
        let now = self.now().boot;
        self.reserved.is_some_and(|(_, until)| now < until)
    }

    fn next_wake(&self) -> Duration {
        let now = self.now();
        let mut moments = vec![self.rescan_at];
        moments.extend(self.window.next_tick());
        moments.extend(self.retry_at);
        moments.extend(self.reserved.map(|(_, until)| until));
        if self.unfinished.is_some() {
            moments.push(now.boot.later(RETRY_INTERVAL));
        }
        let soonest = moments.into_iter().filter(|at| *at > now.boot).min();
        let mut wait = soonest.map_or(RETRY_INTERVAL, |at| now.boot.until(at));
        wait = self.providers.next_poll().map_or(wait, |poll| wait.min(poll));
        if let Some(passed) = self.plane.at_least()
            && let Some(expiry) = self.declared.next_expiry(passed)
        {
            wait = wait.min(expiry.duration_since(passed).unwrap_or_default());
        }
        // Never a busy loop, whatever a provider says.
        wait.max(Duration::from_millis(20))
    }

    /// Takes what the journal declares now, and whether it is in reach.
    pub(crate) fn adopt(&mut self, known: &Known) {
        if known.declared.head() < self.declared.head() {
            return; // somebody was faster
        }
        if !Arc::ptr_eq(&self.declared, &known.declared) {
            self.declared = Arc::clone(&known.declared);
            self.judged_at = None;
            self.settings_changed();
            let in_force = self.in_force();
            // They may have parted and met again between two looks at this.
            let was_away = self.is_away || known.losses != self.losses;
            if was_away {
                self.find_conflicts(&in_force);
            }
            self.adopt_state(in_force);
            memory::give_back();
        }
        (self.is_away, self.losses) = (!known.is_confirmed, known.losses);
        self.finish();
    }
}

#[cfg(test)]
mod tests;

//! What may have changed: events made into keys, with what must be looked at besides.
//!
//! Besides: everything in a folder that came or went, the other names of a file with several (`linked`), files that were
//! read too shortly after a change to trust their print, and declared files outside the roots, which no event tells of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::resource::ResourceKey;

use super::baseline::Baseline;
use super::linked::Linked;
use super::look::{RACY_NS, Seen};
use super::order::{self, PathBytes};
use super::paced::{Known, Paced};
use super::record::Print;
use super::scan::Outcome;
use super::scope::{Scope, key_of, path_of};
use super::temps::Temps;
use super::walk::{Entry, Visitor};
use super::watch::{Event, Watch};
use super::{MAX_DIFFERING, print_of};
use crate::provider::{Poll, ProviderError};

/// Keys of one poll; with more, one scan is cheaper than reading them one by one.
const MAX_KEYS: usize = 10_000;
/// Files that wait for their second look; with more, the next scan looks.
const MAX_RECHECKS: usize = 1_024;
/// After that a file's print can be trusted.
const RECHECK_AFTER: Duration = Duration::from_nanos(RACY_NS.unsigned_abs());
/// How often declared files outside the roots are looked at.
const FAR_INTERVAL: Duration = Duration::from_secs(10);
/// How often everything is scanned while the kernel does not watch everything.
const PARTIAL_INTERVAL: Duration = Duration::from_secs(60);

/// Events of one poll.
pub(super) struct Collector<'a> {
    scope: &'a Scope,
    temps: &'a Temps,
    keys: BTreeSet<ResourceKey>,
    /// Folders that came or went, and folders whose mode changed.
    trees: BTreeSet<PathBytes>,
    modes: BTreeSet<PathBytes>,
    /// Files that are watched themselves.
    inodes: BTreeSet<u64>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(scope: &'a Scope, temps: &'a Temps) -> Self {
        Self {
            scope,
            temps,
            keys: BTreeSet::new(),
            trees: BTreeSet::new(),
            modes: BTreeSet::new(),
            inodes: BTreeSet::new(),
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        if self.is_full() {
            return;
        }
        let (path, is_tree, is_folder_mode) = match event {
            Event::Name { path, is_tree, is_folder_mode } => (path, is_tree, is_folder_mode),
            Event::Inode(inode) => {
                self.inodes.insert(inode);
                return;
            }
        };
        if self.is_ours(&path) {
            return;
        }
        self.add(&path);
        if is_tree {
            self.trees.insert(PathBytes(path.into()));
        } else if is_folder_mode {
            self.modes.insert(PathBytes(path.into()));
        }
    }

    fn is_ours(&self, path: &[u8]) -> bool {
        order::split(path).is_some_and(|(folder, name)| self.temps.is_ours(folder, name))
    }

    fn add(&mut self, path: &[u8]) {
        if self.is_ours(path) {
            return;
        }
        if let Some(key) = key_of(path).filter(|key| self.scope.watches(path, key)) {
            self.keys.insert(key);
        }
    }

    fn is_full(&self) -> bool {
        self.keys.len() >= MAX_KEYS || self.trees.len() >= MAX_KEYS
    }
}

/// Goes through a folder that appeared.
struct Arrival<'c, 'a> {
    collector: &'c mut Collector<'a>,
    watch: &'c mut Watch,
}

impl Visitor for Arrival<'_, '_> {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<bool, ProviderError> {
        self.collector.add(entry.path);
        let scope = self.collector.scope;
        let goes_in = key_of(entry.path).is_some_and(|key| scope.enters(entry.path, &key));
        Ok(goes_in && !self.collector.is_full())
    }
    fn entering(&mut self, path: &[u8], folder: BorrowedFd<'_>) {
        self.watch.add(path, folder);
    }
    fn unreadable(&mut self, path: &[u8], why: io::Error) {
        tracing::warn!(path = ?order::shown(path), error = %why, "cannot be read: nothing is known of it");
    }
    fn crosses(&mut self, path: &[u8]) -> bool {
        self.collector.scope.is_root(path)
    }
}

/// What is known beside the events.
#[derive(Debug)]
pub(super) struct Changed {
    clock: Clock,
    differing: BTreeSet<PathBytes>,
    linked: Linked,
    /// With the time of the second look; the earliest first.
    rechecks: VecDeque<(Duration, PathBytes)>,
    far: BTreeMap<Vec<u8>, (ResourceKey, Option<Print>)>,
    far_at: Duration,
    /// When to scan because not everything is watched.
    scan_at: Option<Duration>,
    paced: Paced,
}

impl Changed {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            differing: BTreeSet::new(),
            linked: Linked::default(),
            rechecks: VecDeque::new(),
            far: BTreeMap::new(),
            far_at: Duration::ZERO,
            scan_at: None,
            paced: Paced::default(),
        }
    }

    /// What a scan that is about to begin knows of files that are watched themselves.
    pub(super) fn linked_anew(&self) -> Linked {
        self.linked.fresh()
    }

    /// A scan has seen everything.
    pub(super) fn scanned(&mut self, outcome: Outcome, watch: &mut Watch) {
        let differing = outcome.differing.into_iter().take(MAX_DIFFERING);
        self.differing = differing.map(|path| PathBytes(path.into())).collect();
        self.linked = outcome.linked;
        watch.keep_files(|inode| self.linked.has(inode));
        self.rechecks.clear();
        self.paced.scanned();
        self.scan_at = watch.is_partial().then(|| self.clock.monotonic() + PARTIAL_INTERVAL);
    }

    /// A file was read: remembers whether it differs, and whether to look again.
    pub(super) fn looked_at(&mut self, path: &[u8], differs: bool, is_racy: bool) {
        let path = PathBytes(path.into());
        if is_racy && self.rechecks.len() < MAX_RECHECKS {
            self.rechecks.push_back((self.clock.monotonic() + RECHECK_AFTER, path.clone()));
        }
        if differs {
            self.differing.insert(path);
        } else {
            self.differing.remove(&path);
        }
    }

    /// The time that readings are measured by.
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// When names that are not known are looked for.
    #[cfg(test)]
    pub(super) fn next_search(&self) -> Option<Duration> {
        self.linked.next()
    }

    /// A file was read, and it took this long.
    #[cfg(test)]
    pub(super) fn took_for_tests(&mut self, path: &[u8], took: Duration, seen: &Seen) {
        self.paced.took(path, took, self.clock.monotonic(), Known::of(seen));
    }

    /// A file was read, from `started` until now.
    pub(super) fn took(&mut self, path: &[u8], started: Duration, seen: Option<&Seen>) {
        let now = self.clock.monotonic();
        self.paced.took(path, now.saturating_sub(started), now, seen.and_then(Known::of));
    }

    /// The digest of a file's contents, if they are not to be read before their time.
    pub(super) fn contents(&self, path: &[u8], print: &Print) -> Option<[u8; 32]> {
        self.paced.contents(path, self.clock.monotonic(), print)
    }

    /// What is declared: files that are watched themselves, and files that no event tells of.
    pub(super) fn declare(
        &mut self,
        near: BTreeSet<PathBytes>,
        far: BTreeMap<Vec<u8>, ResourceKey>,
        watch: &mut Watch,
    ) {
        self.linked.declare(near, watch);
        let mut known = std::mem::take(&mut self.far);
        for (path, key) in far {
            let print = known.remove(&path).map_or_else(|| print_of(&path), |(_, print)| print);
            self.far.insert(path, (key, print));
        }
        self.far_at = self.clock.monotonic() + FAR_INTERVAL;
    }

    /// When to be asked again, whatever the kernel says.
    pub(super) fn next_poll(&self) -> Option<Duration> {
        let recheck = self.rechecks.front().map(|(at, _)| *at);
        let far = (!self.far.is_empty()).then_some(self.far_at);
        let others = [self.scan_at, self.paced.next(), self.linked.next()];
        let next = [recheck, far].into_iter().chain(others).flatten().min()?;
        Some(next.saturating_sub(self.clock.monotonic()))
    }

    /// Turns events into keys.
    pub(super) fn collect(
        &mut self,
        mut events: Collector<'_>,
        watch: &mut Watch,
        baseline: &Baseline,
    ) -> Result<Poll, ProviderError> {
        let now = self.clock.monotonic();
        if self.scan_at.is_some_and(|at| at <= now) || self.differing.len() >= MAX_DIFFERING {
            let is_worth_it = self.scan_at.is_some() || !events.trees.is_empty();
            if is_worth_it {
                return Ok(Poll::Rescan);
            }
        }
        for path in std::mem::take(&mut events.trees) {
            self.tree(&path.0, &mut events, watch, baseline)?;
            if events.is_full() {
                return Ok(Poll::Rescan);
            }
        }
        for folder in std::mem::take(&mut events.modes) {
            self.within(&folder.0, &mut events);
        }
        while self.rechecks.front().is_some_and(|(at, _)| *at <= now) {
            self.rechecks.pop_front().iter().for_each(|(_, path)| events.add(&path.0));
        }
        self.names_beside(&mut events, watch, baseline)?;
        self.far(now, &mut events.keys);
        let paced = &mut self.paced;
        let mut waits = |path: &[u8]| paced.puts_off(path, now, || print_of(path));
        events.keys.retain(|key| !path_of(key).is_some_and(|path| waits(&path)));
        self.paced.due(now).iter().for_each(|path| events.add(&path.0));
        if events.is_full() {
            return Ok(Poll::Rescan);
        }
        Ok(Poll::Changed(events.keys.into_iter().collect()))
    }

    /// A folder came or went: what is in it now, what was in it, and what differed there.
    fn tree(
        &mut self,
        path: &[u8],
        events: &mut Collector<'_>,
        watch: &mut Watch,
        baseline: &Baseline,
    ) -> Result<(), ProviderError> {
        let mut arrival = Arrival { collector: events, watch };
        super::walk::walk(path, &mut arrival)?;
        if watch.is_partial() {
            self.scan_at.get_or_insert(self.clock.monotonic() + PARTIAL_INTERVAL);
        }
        self.within(path, events);
        let mut stream = baseline.stream(Some(path));
        while let Some((at, _)) = stream.next()? {
            if !order::is_within(&at, path) || events.is_full() {
                break;
            }
            events.add(&at);
        }
        Ok(())
    }

    fn within(&self, folder: &[u8], events: &mut Collector<'_>) {
        let from = PathBytes(folder.into());
        for path in self.differing.range(from..) {
            if !order::is_within(&path.0, folder) {
                break;
            }
            events.add(&path.0);
        }
    }

    /// A write through one name of a file shows under its other names.
    fn names_beside(
        &mut self,
        events: &mut Collector<'_>,
        watch: &mut Watch,
        baseline: &Baseline,
    ) -> Result<(), ProviderError> {
        let mut inodes = std::mem::take(&mut events.inodes);
        let paths = events.keys.iter().filter_map(path_of);
        inodes.extend(paths.filter_map(|path| self.linked.saw(&path, watch)));
        inodes.extend(self.linked.search(&self.differing, baseline, watch, &self.clock)?);
        for inode in inodes {
            self.linked.names(inode).for_each(|name| events.add(name));
        }
        Ok(())
    }

    fn far(&mut self, now: Duration, keys: &mut BTreeSet<ResourceKey>) {
        if now < self.far_at {
            return;
        }
        self.far_at = now + FAR_INTERVAL;
        for (path, (key, print)) in &mut self.far {
            let found = print_of(path);
            if found != *print {
                *print = found;
                keys.insert(key.clone());
            }
        }
    }
}

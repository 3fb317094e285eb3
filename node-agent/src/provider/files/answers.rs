//! The files provider as others see it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use pact_schemas::resource::{FileKind, FileValue, KeyPatterns, Kind, ResourceKey, Value};

use super::holders::{self, Target};
use super::order::PathBytes;
use super::restore::Restorer;
use super::{Files, changed, keep, order, path_of, scan, wanted};
use crate::provider::{Contents, Found, Holders, Poll, Provider, ProviderError, Wish};

/// While a root is not there, or another file system is, it is looked for this often.
const AWAY_INTERVAL: Duration = Duration::from_secs(10);

impl Files {
    /// What a search for holders of this key looks for; `None`: nothing is there.
    fn target(&mut self, key: &ResourceKey) -> Result<Option<Target>, ProviderError> {
        let path = self.path(key)?;
        let Some(place) = self.place(key, &path)? else { return Ok(None) };
        let stat = place.stat().map_err(|error| {
            ProviderError::io("find the holders of", order::shown(&path), error)
        })?;
        Ok(stat.map(|stat| Target::new(path, &stat)))
    }

    /// Whether what is kept under this digest is of a kind that is made again.
    fn is_made(&self, digest: &[u8; 32], is_withheld: bool) -> bool {
        let is_special = || {
            let payload = self.keep.get(digest);
            let record = payload.as_deref().and_then(wanted::unpack).map(|(record, _)| record);
            record.is_none_or(|record| record.kind == FileKind::Special)
        };
        !is_withheld || !is_special()
    }
}

impl Provider for Files {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::File]
    }

    fn scan(&mut self, found: &mut dyn FnMut(Found)) -> Result<(), ProviderError> {
        let failed = |error| ProviderError::io("watch", Path::new("/"), error);
        self.names.forget();
        self.watch.retry();
        self.watch.discard().map_err(failed)?;
        self.standing.find_roots(&self.scope);
        self.standing.read_again(&self.scope, &self.baseline)?;
        self.settle();
        self.quarantine.prune();
        self.tidy()?;
        let outcome = self.scan_with(found)?;
        tracing::debug!(
            files = outcome.count,
            differing = outcome.differing.len(),
            kept_bytes = self.keep.length(),
            "scanned"
        );
        self.changed.scanned(outcome, &mut self.watch);
        Ok(())
    }

    fn read(&mut self, key: &ResourceKey) -> Result<Value, ProviderError> {
        let path = self.path(key)?;
        let started = self.changed.now();
        let seen = self.look_again(key, &path)?;
        self.changed.took(&path, started, seen.as_ref());
        let record = seen.as_ref().map(|seen| &seen.record);
        if self.scope.watches(&path, key) {
            let before = self.baseline.get(&path)?;
            let is_racy = seen.as_ref().is_some_and(|seen| seen.is_racy);
            let differs = !self.is_as_before(before.as_ref(), record);
            self.changed.looked_at(&path, differs, is_racy);
        }
        Ok(self.value(record))
    }

    fn satisfies(&mut self, key: &ResourceKey, want: &Value, actual: &Value) -> bool {
        wanted::is_same(&self.looker, key, want, actual)
    }

    fn baseline(&mut self, key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        let path = self.path(key)?;
        if self.baseline.scope().is_none() || !self.scope.watches(&path, key) {
            return Ok(None);
        }
        let record = self.baseline.get(&path)?;
        Ok(Some(self.value(record.as_ref())))
    }

    fn rebase(&mut self, key: &ResourceKey, value: &Value) -> Result<(), ProviderError> {
        let path = self.path(key)?;
        if !self.scope.covers(&path) {
            return Err(ProviderError::OutsideRoots { key: key.clone() });
        }
        let seen = self.look(key, &path, true)?;
        let now = self.value(seen.as_ref().map(|seen| &seen.record));
        let record = if now == *value {
            if let Some(seen) = &seen {
                scan::keep_seen(&mut self.keep, seen)
                    .map_err(|error| ProviderError::io("keep", order::shown(&path), error))?;
            }
            seen.as_ref().map(|seen| seen.record.clone())
        } else {
            self.record_of(key, value)?
        };
        let differs = !self.is_as_before(record.as_ref(), seen.as_ref().map(|seen| &seen.record));
        self.sync_kept()?;
        self.baseline.set(&path, record)?;
        self.changed.looked_at(&path, differs, false);
        Ok(())
    }

    fn apply(
        &mut self,
        key: &ResourceKey,
        observed: &Value,
        want: &Value,
        contents: &dyn Contents,
    ) -> Result<(), ProviderError> {
        let wish = Wish { key, observed, want };
        let nothing = || Err(ProviderError::Changed { key: key.clone() });
        self.apply_first(&[wish], contents).pop().unwrap_or_else(nothing)
    }

    fn apply_first(
        &mut self,
        wishes: &[Wish<'_>],
        contents: &dyn Contents,
    ) -> Vec<Result<(), ProviderError>> {
        if let Err(error) = self.standing.refresh(&self.scope, &self.baseline) {
            return vec![Err(error)];
        }
        let mut restorer = Restorer {
            scope: &self.scope,
            standing: &self.standing,
            baseline: &mut self.baseline,
            keep: &mut self.keep,
            looker: &mut self.looker,
            names: &mut self.names,
            quarantine: &mut self.quarantine,
            temps: &self.temps,
            renames: self.renames,
            contents,
        };
        restorer.apply_first(wishes)
    }

    fn clean_up(&mut self, keys: &BTreeSet<ResourceKey>) {
        self.remove_leftovers(keys);
    }

    fn holders(&mut self, keys: &BTreeSet<ResourceKey>) -> Holders {
        let mut all = Holders::new();
        let (mut asked, mut targets) = (Vec::new(), Vec::new());
        for key in keys {
            match self.target(key) {
                Ok(Some(target)) => {
                    asked.push(key.clone());
                    targets.push(target);
                }
                // What is not there is used by nobody.
                Ok(None) => drop(all.insert(key.clone(), Ok(Vec::new()))),
                Err(error) => drop(all.insert(key.clone(), Err(error))),
            }
        }
        if asked.is_empty() {
            return all;
        }
        match self.search.find(targets, self.standing.table()) {
            Ok(found) => all.extend(asked.into_iter().zip(found.into_iter().map(Ok))),
            Err(error) => {
                tracing::debug!(%error, "no search for holders");
                let within = holders::MAX_SEARCH;
                let unknown = |key: ResourceKey| {
                    (key.clone(), Err(ProviderError::HoldersUnknown { key, within }))
                };
                all.extend(asked.into_iter().map(unknown));
            }
        }
        all
    }

    fn contents(
        &mut self,
        key: &ResourceKey,
        sha256: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, ProviderError> {
        let path = self.path(key)?;
        let seen = self.look(key, &path, true)?;
        let Some(seen) = seen.filter(|seen| !seen.record.withheld && seen.sha256 == *sha256) else {
            return Ok(None);
        };
        Ok(seen.contents)
    }

    fn keep(&mut self, key: &ResourceKey, value: &Value) -> Result<bool, ProviderError> {
        let (digest, is_withheld) = match value {
            Value::Withheld(digest) => (digest, true),
            Value::File(FileValue { kind: FileKind::Regular, sha256: Some(digest), .. }) => {
                (digest, false)
            }
            Value::File(file) => return Ok(file.kind != FileKind::Special),
            Value::Absent => return Ok(true),
            _ => return Err(ProviderError::WrongValue { key: key.clone() }),
        };
        if self.has_kept(digest, is_withheld) {
            return Ok(self.is_made(digest, is_withheld));
        }
        let path = self.path(key)?;
        let Some(seen) = self.look(key, &path, true)? else { return Ok(false) };
        if self.value(Some(&seen.record)) != *value {
            return Ok(false);
        }
        scan::keep_seen(&mut self.keep, &seen)
            .map_err(|error| ProviderError::io("keep", order::shown(&path), error))?;
        Ok(self.keep.has(digest) && self.is_made(digest, is_withheld))
    }

    fn sync_kept(&mut self) -> Result<(), ProviderError> {
        self.keep
            .sync()
            .map_err(|error| ProviderError::io("sync the kept contents in", &self.folder, error))
    }

    fn need(&mut self, digests: &BTreeSet<[u8; 32]>) {
        self.needed = digests.iter().map(keep::short).collect();
    }

    fn declare(&mut self, keys: &BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        let (mut near, mut far) = (BTreeSet::new(), BTreeMap::new());
        for (path, key) in keys.iter().filter_map(|key| Some((path_of(key)?, key))) {
            // What is in the roots is watched anyway.
            if !self.scope.covers(&path) {
                far.insert(path, key.clone());
            } else if self.scope.watches(&path, key) {
                near.insert(PathBytes(path.into()));
            }
        }
        self.changed.declare(near, far, &mut self.watch);
        Ok(())
    }

    fn ignore(&mut self, patterns: &KeyPatterns) {
        self.scope.ignore(patterns.clone());
    }

    fn poll(&mut self) -> Result<Poll, ProviderError> {
        let has_moved = self.standing.refresh(&self.scope, &self.baseline)?;
        if self.standing.find_roots(&self.scope) || has_moved {
            return Ok(Poll::Rescan);
        }
        let mut collector = changed::Collector::new(&self.scope, &self.temps);
        let changed = &mut self.changed;
        let is_whole = self
            .watch
            .drain(&mut |event| collector.event(event))
            .map_err(|error| ProviderError::io("read changes below", Path::new("/"), error))?;
        if !is_whole {
            return Ok(Poll::Rescan);
        }
        changed.collect(collector, &mut self.watch, &self.baseline)
    }

    fn readiness(&self) -> io::Result<Option<OwnedFd>> {
        self.watch.readiness().map(Some)
    }

    fn next_poll(&self) -> Option<Duration> {
        // Nothing tells when a file system is back.
        let away = (!self.standing.unknown().is_empty()).then_some(AWAY_INTERVAL);
        [self.changed.next_poll(), away].into_iter().flatten().min()
    }
}

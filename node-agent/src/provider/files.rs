//! The `files` dimension: files, folders and links under the roots of `[agent.observer]`.
//!
//! Parts
//! - `scope`: what is under watch. `order`: paths and the order of a walk. `place`: the way to a file that nobody can bend.
//! - `look`: what a file is; digests, what is withheld. `record`, `names`: that as numbers, and as a value.
//! - `baseline`, `frame`, `bytes`: what every file should be, on disk. `keep`: contents, on disk.
//! - `walk`, `scan`: everything against the baseline. `watch`, `changed`: what changed since.
//! - `restore`, `temps`, `quarantine`: making it so. `holders`: who uses a file.
//!
//! The folder of the provider (0700), all files 0600:
//! ```text
//! key            32 bytes: the secret of keyed digests and of temporary names
//! baseline       what every file should be; baseline.log: the changes since; baseline.new: being written
//! kept           contents of files up to 256 KiB, packed, by digest
//! quarantine/    what an undo removed: <number>.json and <number>.data
//! ```
//!
//! Invariants, as absences: memory does not grow with the number of files; no link is followed; no file is removed but
//! into the quarantine; nothing half-written is ever seen under a file's name.
//!
//! Limits: a write through a shared mapping, or through a name outside the roots, shows in the next scan; file
//! capabilities and access lists are no part of a value; files over 1 GiB are not hashed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::resource::{KeyPatterns, Kind, ResourceKey, Value};

use super::secret::NodeKey;
use super::{Contents, Found, Holder, Poll, Provider, ProviderError};
use crate::durable;
use baseline::Baseline;
use changed::Changed;
use keep::Keep;
use look::{Looker, Seen, Where};
use names::Names;
use place::{Place, Unreached};
use quarantine::Quarantine;
use record::{Print, Record};
use restore::Restorer;
use scope::{Scope, path_of};
use temps::Temps;
use watch::Watch;

mod baseline;
mod bytes;
mod changed;
mod frame;
mod holders;
mod keep;
mod look;
mod names;
mod order;
mod place;
mod quarantine;
mod record;
mod restore;
mod scan;
mod scope;
mod temps;
mod walk;
mod watch;

/// What the files provider needs to know.
#[derive(Debug)]
pub(crate) struct Options {
    /// Absolute folders under watch; each on its own file system, which is not left unless another root says so.
    pub(crate) roots: Vec<PathBuf>,
    /// Whose contents never leave the node, whatever their mode.
    pub(crate) secret: KeyPatterns,
    /// What is not under watch.
    pub(crate) ignored: KeyPatterns,
    /// The provider's own folder (`<state>/files`, made 0700): baseline, kept contents, quarantine, key.
    pub(crate) folder: PathBuf,
    /// Other files and folders of the agent, which are neither watched nor ever written.
    pub(crate) own: Vec<PathBuf>,
    /// Time and randomness.
    pub(crate) clock: Clock,
}

/// Files that differ and are remembered; with more, changes of whole folders ask for a scan.
const MAX_DIFFERING: usize = 20_000;

/// The provider of files.
pub(crate) struct Files {
    scope: Scope,
    folder: PathBuf,
    baseline: Baseline,
    keep: Keep,
    quarantine: Quarantine,
    looker: Looker,
    names: Names,
    temps: Temps,
    watch: Watch,
    changed: Changed,
    clock: Clock,
}

impl Files {
    /// Opens what is in the folder. Nothing is watched before the first scan.
    pub(crate) fn open(options: Options) -> Result<Self, ProviderError> {
        let Options { roots, secret, ignored, folder, own, clock } = options;
        let failed = |what| {
            let folder = folder.clone();
            move |error: io::Error| ProviderError::io(what, folder, error)
        };
        durable::private_folder(&folder).map_err(failed("make"))?;
        let key = NodeKey::open(&folder.join("key"), &clock)?;
        Ok(Self {
            scope: own.iter().fold(Scope::new(&roots, ignored).without(&folder), |scope, own| {
                scope.without(own)
            }),
            baseline: Baseline::open(&folder)?,
            keep: Keep::open(&folder).map_err(failed("open the kept contents in"))?,
            quarantine: Quarantine::open(&folder.join("quarantine"), &clock)
                .map_err(failed("open the quarantine in"))?,
            looker: Looker::new(key.clone(), secret, clock.clone()),
            names: Names::default(),
            temps: Temps::new(key, clock.clone()),
            watch: Watch::new().map_err(failed("watch files for"))?,
            changed: Changed::new(clock.clone()),
            clock,
            folder,
        })
    }

    fn path(&self, key: &ResourceKey) -> Result<Vec<u8>, ProviderError> {
        path_of(key).ok_or_else(|| ProviderError::WrongKey { key: key.clone() })
    }

    fn look(
        &mut self,
        key: &ResourceKey,
        path: &[u8],
        with_contents: bool,
    ) -> Result<Option<Seen>, ProviderError> {
        let failed = |error| ProviderError::io("read", order::shown(path), error);
        let place = match Place::find(path) {
            Ok(place) => place,
            Err(Unreached::Missing(_)) => return Ok(None),
            Err(Unreached::NotFolder(at)) if is_link(&at) => {
                let (key, at) = (key.clone(), order::shown(&at));
                return Err(ProviderError::NotBeneath { key, at });
            }
            // A file where the folder was: what was in it is not there.
            Err(Unreached::NotFolder(_)) => return Ok(None),
            Err(Unreached::Failed(error)) => return Err(failed(error)),
        };
        let (folder, name) = (place.folder.as_fd(), place.name.as_c_str());
        let at = Where { folder, name, is_open: place.is_open, key };
        self.looker.look(&at, with_contents).map_err(failed)
    }

    fn value(&mut self, record: Option<&Record>) -> Value {
        record.map_or(Value::Absent, |record| record.value(&mut self.names))
    }

    /// Whether what is there is what the baseline says; both may be nothing.
    fn is_as_before(&self, before: Option<&Record>, now: Option<&Record>) -> bool {
        match (before, now) {
            (None, None) => true,
            (Some(before), Some(now)) => self.looker.is_same(before, now),
            _ => false,
        }
    }

    fn scan_with(&mut self, found: &mut dyn FnMut(Found)) -> Result<scan::Outcome, ProviderError> {
        let writer = if self.baseline.wants_rewrite(&self.scope) {
            Some(self.baseline.writer(&self.scope)?)
        } else {
            None
        };
        let mut scan = scan::Scan {
            scope: &self.scope,
            before: self.baseline.scope().cloned(),
            keep: &mut self.keep,
            looker: &mut self.looker,
            names: &mut self.names,
            watch: &mut self.watch,
            temps: &self.temps,
            stream: scan::Lookahead::new(&self.baseline)?,
            writer,
            found,
            outcome: scan::Outcome::default(),
        };
        scan.run()?;
        let (writer, mut outcome) = (scan.writer.take(), scan.outcome);
        match writer {
            Some(writer) => self.baseline.replace(writer)?,
            None => {
                for (path, record) in std::mem::take(&mut outcome.refreshed) {
                    self.baseline.refresh(&path, record);
                }
            }
        }
        Ok(outcome)
    }

    /// Makes room among the kept contents when they are full: what the baseline needs stays.
    fn tidy(&mut self) -> Result<(), ProviderError> {
        if !self.keep.is_full() {
            return Ok(());
        }
        let mut needed = BTreeSet::new();
        let mut stream = self.baseline.stream(None);
        while let Some((_, record)) = stream.next()? {
            needed.insert(keep::short(&record.digest));
        }
        self.keep
            .shrink(&needed)
            .map_err(|error| ProviderError::io("make room in", &self.folder, error))
    }

    /// The record that a value stands for, where the file is not (or not any more) what the value says.
    fn record_of(
        &mut self,
        key: &ResourceKey,
        value: &Value,
    ) -> Result<Option<Record>, ProviderError> {
        match value {
            Value::Absent => Ok(None),
            Value::File(file) => restore::record_of(key, file).map(Some),
            Value::Withheld(digest) => {
                let payload = self.keep.get(digest);
                let known = payload.as_deref().and_then(restore::unpack).map(|(record, _)| record);
                let lost = || ProviderError::NotRestorable {
                    key: key.clone(),
                    why: "what its keyed digest stands for is not kept on this node",
                };
                let record = known.ok_or_else(lost)?;
                Ok(Some(Record { withheld: true, digest: *digest, ..record }))
            }
            _ => Err(ProviderError::WrongValue { key: key.clone() }),
        }
    }
}

fn is_link(path: &[u8]) -> bool {
    order::shown(path).symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
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
        self.tidy()?;
        let outcome = self.scan_with(found)?;
        tracing::debug!(
            files = outcome.count,
            differing = outcome.differing.len(),
            kept_bytes = self.keep.length(),
            "scanned"
        );
        self.changed.scanned(outcome, self.watch.is_partial());
        Ok(())
    }

    fn read(&mut self, key: &ResourceKey) -> Result<Value, ProviderError> {
        let path = self.path(key)?;
        let seen = self.look(key, &path, false)?;
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
        if want == actual {
            return true;
        }
        let keyed = |looker: &Looker, value: &Value| match value {
            Value::Withheld(digest) => Some(*digest),
            Value::File(file) => {
                restore::record_of(key, file).ok().map(|mut record| {
                    if record.kind == pact_schemas::resource::FileKind::Symlink {
                        // Links have no mode of their own.
                        record.mode = 0o777;
                    }
                    looker.keyed(&record, &record.digest)
                })
            }
            _ => None,
        };
        let (want, actual) = (keyed(&self.looker, want), keyed(&self.looker, actual));
        want.is_some() && want == actual
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
        self.baseline.set(&path, record)?;
        self.changed.looked_at(&path, differs, false);
        Ok(())
    }

    fn apply(
        &mut self,
        key: &ResourceKey,
        want: &Value,
        contents: &dyn Contents,
    ) -> Result<(), ProviderError> {
        let path = self.path(key)?;
        let mut restorer = Restorer {
            scope: &self.scope,
            baseline: &mut self.baseline,
            keep: &mut self.keep,
            looker: &mut self.looker,
            quarantine: &mut self.quarantine,
            temps: &self.temps,
            contents,
        };
        restorer.apply(key, &path, want)
    }

    fn holders(&mut self, key: &ResourceKey) -> Result<Vec<Holder>, ProviderError> {
        let path = self.path(key)?;
        let failed = |error| ProviderError::io("find the holders of", order::shown(&path), error);
        let stat = match Place::find(&path) {
            Ok(place) => place.stat().map_err(failed)?,
            Err(Unreached::Missing(_) | Unreached::NotFolder(_)) => None,
            Err(Unreached::Failed(error)) => return Err(failed(error)),
        };
        let Some(stat) = stat else { return Ok(Vec::new()) };
        holders::find(Path::new("/proc"), &path, &stat, &self.clock).map_err(failed)
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

    fn keep(&mut self, key: &ResourceKey) -> Result<(), ProviderError> {
        let path = self.path(key)?;
        let Some(seen) = self.look(key, &path, true)? else { return Ok(()) };
        scan::keep_seen(&mut self.keep, &seen)
            .map_err(|error| ProviderError::io("keep", order::shown(&path), error))
    }

    fn declare(&mut self, keys: &BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        let scope = &self.scope;
        let far = keys.iter().filter_map(|key| Some((path_of(key)?, key.clone())));
        // What is in the roots is watched anyway.
        let far: BTreeMap<_, _> = far.filter(|(path, _)| !scope.covers(path)).collect();
        self.changed.declare(far);
        Ok(())
    }

    fn ignore(&mut self, patterns: &KeyPatterns) {
        self.scope.ignore(patterns.clone());
    }

    fn poll(&mut self) -> Result<Poll, ProviderError> {
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
        self.changed.next_poll()
    }
}

/// The print of a file outside the roots, links not followed; `None`: nothing there.
fn print_of(path: &[u8]) -> Option<Print> {
    let stat = Place::find(path).ok()?.stat().ok()??;
    Some(Print::of(&stat))
}

#[cfg(test)]
mod tests;

//! The `files` dimension: files, folders and links under the roots of `[agent.observer]`.
//!
//! Parts
//! - `scope`: what is under watch. `order`: paths and the order of a walk. `place`: the way to a file that nobody can bend.
//! - `look`: what a file is; digests, what is withheld. `record`, `names`: that as numbers, and as a value.
//! - `mounts`, `standing`: which file system a path is on, and whether it is the one that the baseline is of.
//! - `baseline`, `frame`, `bytes`: what every file should be, on disk. `keep`: contents, on disk.
//! - `walk`, `scan`: everything against the baseline. `watch`, `changed`: what changed since.
//! - `wanted`, `restore`, `together`, `install`, `made`, `syncing`, `temps`, `leftovers`, `quarantine`, `lease`: making it so.
//! - `holders`: who uses files.
//! - `answers`: all of it as a provider.
//!
//! The folder of the provider (0700), all files 0600:
//! ```text
//! key            32 bytes: the secret of keyed digests and of temporary names
//! baseline       what every file should be; baseline.log: the changes since; baseline.new: being written
//! kept           contents of files up to 256 KiB, packed, by digest
//! quarantine/    what an undo replaced or removed: <number>.json and <sha256>.data
//! ```
//!
//! Invariants, as absences: memory does not grow with the number of files; no link is followed; no file is replaced or
//! removed but into the quarantine, nor while it is not what was observed; nothing half-written is ever seen under a
//! file's name; nothing is judged or written on a file system that is not the baseline's.
//!
//! Limits: a write through a shared mapping, or through a name outside the roots, shows in the next scan; file
//! capabilities and access lists are no part of a value; files over 1 GiB are not hashed.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pact_runtime::{Clock, Timestamp};
use pact_schemas::resource::{FileKind, KeyPatterns, Kind, ResourceKey, Value};

use super::abilities::{Abilities, Need, Notice, Stage};
use super::secret::NodeKey;
use super::{Found, MAX_CONTENTS_BYTES, ProviderError};
use crate::durable;
use baseline::Baseline;
use changed::Changed;
use holders::Search;
use keep::Keep;
use look::{Looker, Seen, Where};
use names::Names;
use place::{Place, Unreached};
use quarantine::Quarantine;
use record::{Print, Record};
use renames::Renames;
use scope::{Scope, path_of};
use standing::{Standing, elsewhere, rootless};
use temps::Temps;
use wanted::Wanted;
use watch::Watch;

mod answers;
mod baseline;
mod bytes;
mod changed;
mod frame;
mod holders;
mod install;
mod keep;
mod lease;
mod leftovers;
mod look;
mod made;
mod mounts;
mod names;
mod order;
mod paced;
mod place;
mod quarantine;
mod record;
mod renames;
mod restore;
mod scan;
mod scope;
mod standing;
mod syncing;
mod temps;
mod together;
mod walk;
mod wanted;
mod watch;

/// What files can.
pub(crate) static FILE: Abilities = Abilities {
    kind: Kind::File,
    stage: Stage::Files,
    notice: Notice::AtOnce,
    tree: None,
    needs: &[
        Need::new(0, "CAP_CHOWN", "gives files their owners"),
        Need::new(1, "CAP_DAC_OVERRIDE", "reads and writes what belongs to others"),
        Need::new(3, "CAP_FOWNER", "gives modes to what belongs to others"),
        Need::new(4, "CAP_FSETID", "keeps the set-group-id bit of files"),
        Need::new(19, "CAP_SYS_PTRACE", "sees who holds a file open"),
    ],
    refusal,
};

fn refusal(want: &Value) -> Option<&'static str> {
    let Value::File(file) = want else { return None };
    match file.kind {
        FileKind::Special => Some("devices, sockets and pipes are never made"),
        FileKind::Regular if file.size_bytes > MAX_CONTENTS_BYTES => {
            Some("only the digest of its contents is known")
        }
        _ => None,
    }
}

/// Plane time; `None`: it is not known.
pub(crate) type PlaneNow = Arc<dyn Fn() -> Option<Timestamp> + Send + Sync>;

/// What the files provider needs to know.
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
    /// The time that the quarantine's week is of.
    pub(crate) plane_now: PlaneNow,
}

/// Files that differ and are remembered; with more, changes of whole folders ask for a scan.
const MAX_DIFFERING: usize = 20_000;

/// The provider of files.
pub(crate) struct Files {
    scope: Scope,
    folder: PathBuf,
    baseline: Baseline,
    standing: Standing,
    keep: Keep,
    /// Kept contents that somebody else than the baseline needs.
    needed: BTreeSet<keep::Short>,
    quarantine: Quarantine,
    looker: Looker,
    names: Names,
    temps: Temps,
    renames: Renames,
    watch: Watch,
    changed: Changed,
    search: Search,
}

impl Files {
    /// Opens what is in the folder. Nothing is watched before the first scan.
    pub(crate) fn open(options: Options) -> Result<Self, ProviderError> {
        let Options { roots, secret, ignored, folder, own, clock, plane_now } = options;
        let failed = |what| {
            let folder = folder.clone();
            move |error: io::Error| ProviderError::io(what, folder, error)
        };
        durable::private_folder(&folder).map_err(failed("make"))?;
        let key = NodeKey::open(&folder.join("key"), &clock)?;
        let mut files = Self {
            scope: own.iter().fold(Scope::new(&roots, ignored).without(&folder), |scope, own| {
                scope.without(own)
            }),
            baseline: Baseline::open(&folder)?,
            standing: Standing::open().map_err(failed("look up the mounts for"))?,
            keep: Keep::open(&folder).map_err(failed("open the kept contents in"))?,
            needed: BTreeSet::new(),
            quarantine: Quarantine::open(&folder.join("quarantine"), plane_now)
                .map_err(failed("open the quarantine in"))?,
            looker: Looker::new(key.clone(), secret, clock.clone()),
            names: Names::default(),
            temps: Temps::new(key, clock.clone()),
            renames: Renames::ALL,
            watch: Watch::new().map_err(failed("watch files for"))?,
            changed: Changed::new(clock),
            search: Search::new(Path::new("/proc"), holders::MAX_SEARCH),
            folder,
        };
        files.standing.find_roots(&files.scope);
        files.standing.judge(&files.scope, &files.baseline)?;
        files.settle();
        Ok(files)
    }

    /// Finishes what an interrupted undo left aside, where that can be told.
    fn settle(&mut self) {
        let Self { scope, standing, baseline, quarantine, looker, .. } = self;
        let known = baseline.known();
        quarantine.settle(looker, &mut |key, path| {
            scope.covers(path) && standing.check(key, path, known).is_ok()
        });
    }

    fn path(&self, key: &ResourceKey) -> Result<Vec<u8>, ProviderError> {
        path_of(key).ok_or_else(|| ProviderError::WrongKey { key: key.clone() })
    }

    /// Whether what is at this path may be judged: it is where the baseline is of.
    fn may_judge(&mut self, key: &ResourceKey, path: &[u8]) -> Result<(), ProviderError> {
        if !self.scope.covers(path) {
            return Ok(());
        }
        self.standing.refresh(&self.scope, &self.baseline)?;
        self.standing.check(key, path, self.baseline.known())
    }

    /// The place of a path, on the file system that the baseline is of; `None`: a folder on the way is not there.
    fn place(&mut self, key: &ResourceKey, path: &[u8]) -> Result<Option<Place>, ProviderError> {
        let failed = |error| ProviderError::io("read", order::shown(path), error);
        self.may_judge(key, path)?;
        let mut found = Place::find(path);
        if let (Ok(place), true) = (&found, self.scope.covers(path)) {
            let folder = order::split(path).map_or(&b"/"[..], |(folder, _)| folder);
            if !self.standing.has(&place.folder, folder).map_err(failed)? {
                // An automounter, or somebody who was faster than the kernel's news of it.
                self.standing.read_again(&self.scope, &self.baseline)?;
                self.may_judge(key, path)?;
                found = Place::find(path);
                if let Ok(place) = &found
                    && !self.standing.has(&place.folder, folder).map_err(failed)?
                {
                    return Err(elsewhere(key, folder, "is being mounted or unmounted".to_owned()));
                }
            }
        }
        let gone = match found {
            Ok(place) => return Ok(Some(place)),
            Err(Unreached::Missing(gone)) => gone,
            Err(Unreached::NotFolder(at)) if is_link(&at) => {
                let (key, at) = (key.clone(), order::shown(&at));
                return Err(ProviderError::NotBeneath { key, at });
            }
            // A file where the folder was: what was in it is not there.
            Err(Unreached::NotFolder(at)) => at,
            Err(Unreached::Failed(error)) => return Err(failed(error)),
        };
        match self.scope.root_below(path, &gone) {
            Some(root) => Err(rootless(key, root)),
            None => Ok(None),
        }
    }

    fn look(
        &mut self,
        key: &ResourceKey,
        path: &[u8],
        with_contents: bool,
    ) -> Result<Option<Seen>, ProviderError> {
        let Some(place) = self.place(key, path)? else { return Ok(None) };
        let (folder, name) = (place.folder.as_fd(), place.name.as_c_str());
        let at = Where { folder, name, is_open: place.is_open, key };
        let seen = self.looker.look(&at, with_contents);
        let seen = seen.map_err(|error| ProviderError::io("read", order::shown(path), error))?;
        if seen.is_none() && self.scope.is_root(path) {
            return Err(rootless(key, path));
        }
        Ok(seen)
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
        let known = self.standing.next_known(&self.scope, &self.baseline)?;
        let scope = self.scope.after(self.baseline.scope());
        let writer = if self.baseline.wants_rewrite(&scope, &known) {
            Some(self.baseline.writer(&scope, known.clone())?)
        } else {
            None
        };
        let mut scan = scan::Scan {
            scope: &self.scope,
            before: self.baseline.scope().cloned(),
            known: self.baseline.known(),
            unknown: self.standing.unknown(),
            keep: &mut self.keep,
            looker: &mut self.looker,
            names: &mut self.names,
            watch: &mut self.watch,
            temps: &self.temps,
            quarantine: &self.quarantine,
            stream: scan::Lookahead::new(&self.baseline)?,
            writer,
            found,
            outcome: scan::Outcome::default(),
        };
        scan.run()?;
        let (writer, mut outcome) = (scan.writer.take(), scan.outcome);
        match writer {
            Some(writer) => self.take_baseline(writer, &known)?,
            None => {
                for (path, record) in std::mem::take(&mut outcome.refreshed) {
                    self.baseline.refresh(&path, record);
                }
            }
        }
        Ok(outcome)
    }

    /// Puts a new baseline in place, unless something was mounted or unmounted while it was written: it may have records
    /// of what it is not of. The next scan writes it then.
    fn take_baseline(
        &mut self,
        writer: baseline::Writer,
        known: &standing::Known,
    ) -> Result<(), ProviderError> {
        self.standing.refresh(&self.scope, &self.baseline)?;
        if self.standing.next_known(&self.scope, &self.baseline)? != *known {
            tracing::warn!("mounts changed during the scan: the baseline is not written yet");
            return Ok(());
        }
        // What it says can be restored is kept before it says so.
        self.keep
            .sync()
            .map_err(|error| ProviderError::io("sync the kept contents in", &self.folder, error))?;
        self.baseline.replace(writer)?;
        self.standing.judge(&self.scope, &self.baseline).map(drop)
    }

    /// Makes room among the kept contents when they are full: what the baseline and others need stays.
    fn tidy(&mut self) -> Result<(), ProviderError> {
        if !self.keep.is_full() {
            return Ok(());
        }
        let mut needed = self.needed.clone();
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
            Value::File(file) => wanted::record_of(key, file).map(Some),
            Value::Withheld(digest) => {
                let payload = self.keep.get(digest);
                let known = payload.as_deref().and_then(wanted::unpack).map(|(record, _)| record);
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

    /// Whether what is kept under this digest is what it says; what is not is forgotten, to be kept anew.
    fn has_kept(&mut self, digest: &[u8; 32], is_withheld: bool) -> bool {
        let Some(payload) = self.keep.get(digest) else {
            self.keep.forget(digest);
            return false;
        };
        let is_whole = if is_withheld {
            Wanted::kept(&payload, digest, &self.looker).is_some()
        } else {
            look::sha256(&payload) == *digest
        };
        if !is_whole {
            self.keep.forget(digest);
        }
        is_whole
    }
}

fn is_link(path: &[u8]) -> bool {
    order::shown(path).symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
}

/// The print of a file outside the roots, links not followed; `None`: nothing there.
fn print_of(path: &[u8]) -> Option<Print> {
    let stat = Place::find(path).ok()?.stat().ok()??;
    Some(Print::of(&stat))
}

#[cfg(test)]
mod tests;

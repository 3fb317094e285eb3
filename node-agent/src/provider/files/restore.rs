//! Making a file what it should be: written aside in its folder, with owner and mode, synced, put in place. Regular files
//! go through these steps together (`together`), folders, links and what takes their place alone (`install`).
//!
//! Every step goes through the open folder ([`Place`]), so that no link that somebody puts there leads it elsewhere, and
//! the folder is on the file system that the baseline is of. What is replaced or removed has to be what was observed
//! when that was decided, and goes to the quarantine, never away.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use pact_schemas::resource::{FileKind, ResourceKey, Value};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::baseline::Baseline;
use super::install::{At, Made};
use super::keep::Keep;
use super::look::{Looker, Seen, Where, sha256};
use super::made;
use super::names::Names;
use super::order;
use super::place::{Place, Unreached};
use super::quarantine::{Quarantine, Successor};
use super::record::Record;
use super::renames::Renames;
use super::scope::{Scope, key_of};
use super::standing::{Standing, elsewhere, rootless};
use super::temps::Temps;
use super::wanted::{Wanted, blank, is_same};
use crate::provider::{Contents, ProviderError, Wish};

/// Mode of a folder that is made because a file needs it and nothing says how it was.
const NEW_FOLDER_MODE: u32 = 0o755;

/// What there is to do with one key.
pub(super) enum Step {
    /// It is as it should be.
    Nothing,
    /// What was seen goes.
    Remove { place: Place, seen: Seen },
    /// What is wanted takes the place of what was seen, or of nothing.
    Make { place: Place, wanted: Wanted, seen: Option<Seen> },
}

impl Step {
    /// What is there.
    pub(super) const fn seen(&self) -> Option<&Seen> {
        match self {
            Self::Nothing => None,
            Self::Remove { seen, .. } => Some(seen),
            Self::Make { seen, .. } => seen.as_ref(),
        }
    }

    /// Where it is done.
    pub(super) const fn place(&self) -> Option<&Place> {
        match self {
            Self::Nothing => None,
            Self::Remove { place, .. } | Self::Make { place, .. } => Some(place),
        }
    }

    /// Contents that go and that come.
    pub(super) fn bytes(&self) -> u64 {
        let goes = self.seen().map_or(0, |seen| seen.record.size);
        let comes = match self {
            Self::Make { wanted, .. } => wanted.record.size,
            Self::Nothing | Self::Remove { .. } => 0,
        };
        goes.saturating_add(comes)
    }
}

/// What restoring works with.
pub(super) struct Restorer<'a> {
    pub(super) scope: &'a Scope,
    pub(super) standing: &'a Standing,
    pub(super) baseline: &'a mut Baseline,
    pub(super) keep: &'a mut Keep,
    pub(super) looker: &'a mut Looker,
    pub(super) names: &'a mut Names,
    pub(super) quarantine: &'a mut Quarantine,
    pub(super) temps: &'a Temps,
    pub(super) renames: Renames,
    pub(super) contents: &'a dyn Contents,
}

impl Restorer<'_> {
    /// What there is to do, if the key still is what was observed. Folders on the way that are missing are made.
    pub(super) fn decide(&mut self, wish: &Wish<'_>, path: &[u8]) -> Result<Step, ProviderError> {
        let key = wish.key;
        if !self.scope.may_write(path) {
            return Err(ProviderError::OutsideRoots { key: key.clone() });
        }
        self.standing.check(key, path, self.baseline.known())?;
        let wanted = match wish.want {
            Value::Absent => return self.decide_removal(wish, path),
            Value::File(file) => Wanted::of(key, file)?,
            Value::Withheld(digest) => self.kept(key, digest)?,
            _ => return Err(ProviderError::WrongValue { key: key.clone() }),
        };
        let place = self.reach(key, path)?;
        let seen = self.look(key, path, &place)?;
        let actual = self.value(seen.as_ref());
        if !is_same(self.looker, key, wish.want, &actual)
            && !is_same(self.looker, key, wish.observed, &actual)
        {
            return Err(ProviderError::Changed { key: key.clone() });
        }
        Ok(Step::Make { place, wanted, seen })
    }

    /// Makes what needs more than a file, or replaces more than one.
    pub(super) fn make_alone(
        &mut self,
        at: &At<'_>,
        mut wanted: Wanted,
        seen: Option<&Seen>,
    ) -> Result<(), ProviderError> {
        match wanted.record.kind {
            FileKind::Regular => {
                let (made, file) = self.write_aside(at, &mut wanted, None)?;
                let synced = file.sync_all();
                synced.map_err(|error| self.unwritten(at, &made, error))?;
                self.install(at, &made, seen)
            }
            FileKind::Directory => self.make_folder(at, &wanted.record, seen),
            FileKind::Symlink => self.make_link(at, &wanted.record, seen),
            FileKind::Special => {
                Err(not_restorable(at.key, "devices, pipes and sockets are not made"))
            }
        }
    }

    /// Writes a file aside, with owner and mode; it is not synced. `old`: whose attributes it gets.
    pub(super) fn write_aside(
        &mut self,
        at: &At<'_>,
        wanted: &mut Wanted,
        old: Option<&OwnedFd>,
    ) -> Result<(Made, File), ProviderError> {
        let bytes = self.fetch(at.key, wanted)?;
        let name = self.temps.beside(at.path);
        let file = made::file(at.place, &name, &bytes, &wanted.record, old)
            .map_err(|error| io_error("write", at.path, error))?;
        let successor = Successor::of(&wanted.record, &wanted.sha256);
        Ok((Made { name, kind: FileKind::Regular, successor }, file))
    }

    /// What was made aside is not on disk: it goes.
    pub(super) fn unwritten(&self, at: &At<'_>, made: &Made, error: io::Error) -> ProviderError {
        made::forget(at.place, &made.name, made.kind);
        io_error("write", at.path, error)
    }

    fn look(
        &mut self,
        key: &ResourceKey,
        path: &[u8],
        place: &Place,
    ) -> Result<Option<Seen>, ProviderError> {
        let (folder, name) = (place.folder.as_fd(), place.name.as_c_str());
        let at = Where { folder, name, is_open: place.is_open, key };
        self.looker.look(&at, false).map_err(|error| io_error("read", path, error))
    }

    fn value(&mut self, seen: Option<&Seen>) -> Value {
        seen.map_or(Value::Absent, |seen| seen.record.value(self.names))
    }

    /// What a keyed digest stands for.
    fn kept(&self, key: &ResourceKey, digest: &[u8; 32]) -> Result<Wanted, ProviderError> {
        let payload = self.keep.get(digest);
        let wanted = payload.and_then(|payload| Wanted::kept(&payload, digest, self.looker));
        wanted.ok_or_else(|| not_restorable(key, "its contents are not kept on this node"))
    }

    /// The contents of a regular file, from wherever they are.
    fn fetch(&mut self, key: &ResourceKey, wanted: &mut Wanted) -> Result<Vec<u8>, ProviderError> {
        if let Some(contents) = wanted.contents.take() {
            return Ok(contents);
        }
        let is_whole = |bytes: &Vec<u8>| sha256(bytes) == wanted.sha256;
        let given = self.contents.get(&wanted.sha256).filter(is_whole);
        if let Some(bytes) = &given {
            // A hint: it may be wanted again when nobody is there to give it.
            let _kept = self.keep.put(&wanted.sha256, &[bytes]);
        }
        given
            .or_else(|| self.keep.get(&wanted.sha256).filter(is_whole))
            .ok_or_else(|| not_restorable(key, "its contents are not at hand"))
    }

    /// The place of the path, on the file system that it should be on.
    fn find(
        &self,
        key: &ResourceKey,
        path: &[u8],
    ) -> Result<Result<Place, Unreached>, ProviderError> {
        let found = Place::find(path);
        match &found {
            Ok(place) => {
                let folder = order::split(path).map_or(&b"/"[..], |(folder, _)| folder);
                let is_right = self.standing.has(&place.folder, folder);
                if !is_right.map_err(|error| io_error("look up the mount of", folder, error))? {
                    let why = "is being mounted or unmounted".to_owned();
                    return Err(elsewhere(key, folder, why));
                }
            }
            Err(Unreached::Missing(gone)) => is_there(key, self.scope.root_below(path, gone))?,
            Err(Unreached::NotFolder(at)) => is_there(key, self.scope.root_under(path, at))?,
            Err(Unreached::Failed(_)) => {}
        }
        Ok(found)
    }

    /// The place of the path; folders on the way that are missing are made.
    fn reach(&mut self, key: &ResourceKey, path: &[u8]) -> Result<Place, ProviderError> {
        // Each round makes one folder.
        for _ in path {
            match self.find(key, path)? {
                Ok(place) => return Ok(place),
                Err(Unreached::Missing(folder)) => self.make_way(key, &folder)?,
                Err(Unreached::NotFolder(at)) => {
                    return Err(ProviderError::NotBeneath {
                        key: key.clone(),
                        at: order::shown(&at),
                    });
                }
                Err(Unreached::Failed(error)) => return Err(io_error("open", path, error)),
            }
        }
        Err(io_error("open", path, io::Error::from(io::ErrorKind::NotFound)))
    }

    /// Makes a folder that a file needs: as it was, or as an ordinary one that becomes part of the baseline.
    fn make_way(&mut self, key: &ResourceKey, folder: &[u8]) -> Result<(), ProviderError> {
        if !self.scope.may_write(folder) {
            return Err(ProviderError::OutsideRoots { key: key.clone() });
        }
        let known = self.baseline.get(folder)?.filter(|record| record.kind == FileKind::Directory);
        let ours = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let (mode, (uid, gid)) = known
            .as_ref()
            .map_or((NEW_FOLDER_MODE, ours), |record| (record.mode, (record.uid, record.gid)));
        let record = Record { mode, uid, gid, ..blank(FileKind::Directory) };
        let place = self
            .find(key, folder)?
            .map_err(|_| io_error("make", folder, io::Error::from(io::ErrorKind::NotFound)))?;
        self.put_folder(&At { key, path: folder, place: &place }, &record)?;
        let folder_key = key_of(folder);
        if let (None, Some(folder_key)) = (known, folder_key)
            && let Some(seen) = self.look(&folder_key, folder, &place)?
        {
            self.baseline.set(folder, Some(seen.record))?;
        }
        Ok(())
    }

    fn make_folder(
        &mut self,
        at: &At<'_>,
        record: &Record,
        seen: Option<&Seen>,
    ) -> Result<(), ProviderError> {
        match seen {
            Some(seen) if seen.record.kind == FileKind::Directory => {
                let synced = adjust(at, seen, record)?.sync_all();
                synced.map_err(|error| io_error("change", at.path, error))
            }
            None => self.put_folder(at, record),
            Some(_) => {
                let name = self.temps.beside(at.path);
                made::folder(at.place, &name, record)
                    .map_err(|error| io_error("make", at.path, error))?;
                let successor = Successor::Folder;
                self.install(at, &Made { name, kind: FileKind::Directory, successor }, seen)
            }
        }
    }

    /// Makes a folder aside and puts it where nothing is.
    fn put_folder(&mut self, at: &At<'_>, record: &Record) -> Result<(), ProviderError> {
        let name = self.temps.beside(at.path);
        made::folder(at.place, &name, record).map_err(|error| io_error("make", at.path, error))?;
        let successor = Successor::Folder;
        self.install(at, &Made { name, kind: FileKind::Directory, successor }, None)
    }

    fn make_link(
        &mut self,
        at: &At<'_>,
        record: &Record,
        seen: Option<&Seen>,
    ) -> Result<(), ProviderError> {
        let is_right = seen
            .is_some_and(|seen| seen.record.kind == record.kind && seen.record.link == record.link);
        if is_right {
            return made::own_link(at.place, &at.place.name, record)
                .map_err(|error| io_error("change", at.path, error));
        }
        if record.link.contains(&0) {
            return Err(ProviderError::WrongValue { key: at.key.clone() });
        }
        let name = self.temps.beside(at.path);
        made::link(at.place, &name, record).map_err(|error| io_error("make", at.path, error))?;
        let successor = Successor::of(record, &[0; 32]);
        self.install(at, &Made { name, kind: FileKind::Symlink, successor }, seen)
    }

    fn decide_removal(&mut self, wish: &Wish<'_>, path: &[u8]) -> Result<Step, ProviderError> {
        let key = wish.key;
        let place = match self.find(key, path)? {
            Ok(place) => place,
            Err(Unreached::Missing(_) | Unreached::NotFolder(_)) => return Ok(Step::Nothing),
            Err(Unreached::Failed(error)) => return Err(io_error("open", path, error)),
        };
        let Some(seen) = self.look(key, path, &place)? else { return Ok(Step::Nothing) };
        let actual = self.value(Some(&seen));
        if !is_same(self.looker, key, wish.observed, &actual) {
            return Err(ProviderError::Changed { key: key.clone() });
        }
        Ok(Step::Remove { place, seen })
    }

    /// Removes what is no regular file.
    pub(super) fn remove_alone(&mut self, at: &At<'_>, seen: &Seen) -> Result<(), ProviderError> {
        match seen.record.kind {
            FileKind::Directory => remove_folder(at),
            _ => self.take_away(at, seen),
        }
    }
}

/// Changes owner and mode alone; synced by who has the open file.
pub(super) fn adjust(at: &At<'_>, seen: &Seen, record: &Record) -> Result<File, ProviderError> {
    made::adjust(at.place, &seen.found, record).map_err(|error| {
        if error.kind() == io::ErrorKind::ResourceBusy {
            ProviderError::Changed { key: at.key.clone() }
        } else {
            io_error("change", at.path, error)
        }
    })
}

/// Removes a folder that is empty.
pub(super) fn remove_folder(at: &At<'_>) -> Result<(), ProviderError> {
    let place = at.place;
    match rustix::fs::unlinkat(&place.folder, &*place.name, AtFlags::REMOVEDIR) {
        Ok(()) => {
            made::sync(place.folder.as_fd()).map_err(|error| io_error("remove", at.path, error))
        }
        Err(Errno::NOTEMPTY | Errno::EXIST) => Err(ProviderError::NotEmpty { key: at.key.clone() }),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(io_error("remove", at.path, errno.into())),
    }
}

/// Refuses what lies in a root that is not there.
fn is_there(key: &ResourceKey, missing: Option<&[u8]>) -> Result<(), ProviderError> {
    missing.map_or(Ok(()), |root| Err(rootless(key, root)))
}

pub(super) fn not_restorable(key: &ResourceKey, why: &'static str) -> ProviderError {
    ProviderError::NotRestorable { key: key.clone(), why }
}

pub(super) fn io_error(what: &'static str, path: &[u8], error: io::Error) -> ProviderError {
    ProviderError::io(what, order::shown(path), error)
}

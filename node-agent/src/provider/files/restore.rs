//! Making a file what it should be: written aside in its folder, with owner and mode, synced, renamed into place.
//!
//! Every step goes through the open folder ([`Place`]), so that no link that somebody puts there leads it elsewhere.
//! What is in the way and has contents of its own goes to the quarantine, never away.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use pact_schemas::resource::{FileKind, FileValue, ResourceKey, Value, unescape};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::baseline::Baseline;
use super::bytes::Reader;
use super::keep::Keep;
use super::look::{Looker, Seen, Where, sha256};
use super::names;
use super::order;
use super::place::{Place, Unreached};
use super::quarantine::{self, Quarantine};
use super::record::{Print, Record};
use super::scope::{Scope, key_of};
use super::temps::Temps;
use crate::provider::{Contents, ProviderError};

/// Mode of a folder that is made because a file needs it and nothing says how it was.
const NEW_FOLDER_MODE: u32 = 0o755;
/// Mode of a file while it is written.
const UNFINISHED: Mode = Mode::RUSR.union(Mode::WUSR);
/// Extended attributes of one file that are carried over, names and each value: the kernel's own bound.
const MAX_XATTR_BYTES: usize = 64 * 1024;

/// What restoring works with.
pub(super) struct Restorer<'a> {
    pub(super) scope: &'a Scope,
    pub(super) baseline: &'a mut Baseline,
    pub(super) keep: &'a mut Keep,
    pub(super) looker: &'a mut Looker,
    pub(super) quarantine: &'a mut Quarantine,
    pub(super) temps: &'a Temps,
    pub(super) contents: &'a dyn Contents,
}

/// What a file shall become.
struct Wanted {
    record: Record,
    /// Of a regular file.
    sha256: [u8; 32],
    /// Where they are at hand already.
    contents: Option<Vec<u8>>,
}

impl Restorer<'_> {
    /// Makes it so.
    pub(super) fn apply(
        &mut self,
        key: &ResourceKey,
        path: &[u8],
        want: &Value,
    ) -> Result<(), ProviderError> {
        if !self.scope.may_write(path) {
            return Err(ProviderError::OutsideRoots { key: key.clone() });
        }
        let wanted = match want {
            Value::Absent => return self.remove(key, path),
            Value::File(file) => wanted_of(key, file)?,
            Value::Withheld(digest) => self.kept(key, digest)?,
            _ => return Err(ProviderError::WrongValue { key: key.clone() }),
        };
        let place = self.reach(key, path)?;
        let seen = self.look(key, path, &place)?;
        match wanted.record.kind {
            FileKind::Regular => self.make_file(key, path, &place, wanted, seen),
            FileKind::Directory => self.make_folder(key, path, &place, &wanted.record, seen),
            FileKind::Symlink => self.make_link(key, path, &place, &wanted.record, seen),
            FileKind::Special => {
                Err(not_restorable(key, "devices, pipes and sockets are not made"))
            }
        }
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

    /// What a keyed digest stands for.
    fn kept(&self, key: &ResourceKey, digest: &[u8; 32]) -> Result<Wanted, ProviderError> {
        let payload = self.keep.get(digest);
        let lost = || not_restorable(key, "its contents are not kept on this node");
        let payload = payload.ok_or_else(lost)?;
        let (record, contents) = unpack(&payload).ok_or_else(lost)?;
        let is_regular = record.kind == FileKind::Regular;
        let sha256 = if is_regular { sha256(contents) } else { [0; 32] };
        if self.looker.keyed(&record, &sha256) != *digest {
            return Err(lost());
        }
        let contents = is_regular.then(|| contents.to_vec());
        Ok(Wanted { record, sha256, contents })
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

    /// The place of the path; folders on the way that are missing are made.
    fn reach(&mut self, key: &ResourceKey, path: &[u8]) -> Result<Place, ProviderError> {
        // Each round makes one folder.
        for _ in path {
            match Place::find(path) {
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
        let place = Place::find(folder)
            .map_err(|_| io_error("make", folder, io::Error::from(io::ErrorKind::NotFound)))?;
        self.put_folder(folder, &place, &record)?;
        let folder_key = key_of(folder);
        if let (None, Some(folder_key)) = (known, folder_key)
            && let Some(seen) = self.look(&folder_key, folder, &place)?
        {
            self.baseline.set(folder, Some(seen.record))?;
        }
        Ok(())
    }

    fn make_file(
        &mut self,
        key: &ResourceKey,
        path: &[u8],
        place: &Place,
        mut wanted: Wanted,
        seen: Option<Seen>,
    ) -> Result<(), ProviderError> {
        let found = seen.as_ref().map(|seen| seen.record.kind);
        let has_contents =
            found == Some(FileKind::Regular) && seen.is_some_and(|s| s.sha256 == wanted.sha256);
        if has_contents {
            return adjust(path, place, &wanted.record);
        }
        let bytes = self.fetch(key, &mut wanted)?;
        let old =
            if found == Some(FileKind::Regular) { open(place, OFlags::RDONLY).ok() } else { None };
        let name = self.temporary(path);
        let written = write_file(place, &name, &bytes, &wanted.record, old.as_ref())
            .map_err(|error| io_error("write", path, error))
            .and_then(|()| self.put(key, path, place, &name, found));
        if written.is_err() {
            let _best = rustix::fs::unlinkat(&place.folder, &*name, AtFlags::empty());
        }
        written
    }

    fn make_folder(
        &mut self,
        key: &ResourceKey,
        path: &[u8],
        place: &Place,
        record: &Record,
        seen: Option<Seen>,
    ) -> Result<(), ProviderError> {
        if seen.as_ref().is_some_and(|seen| seen.record.kind == FileKind::Directory) {
            return adjust(path, place, record);
        }
        if seen.is_some() {
            self.quarantine.take(key, place)?;
        }
        self.put_folder(path, place, record)
    }

    /// Makes a folder aside and puts it where nothing is.
    fn put_folder(&self, path: &[u8], place: &Place, record: &Record) -> Result<(), ProviderError> {
        let name = self.temporary(path);
        let folder = &place.folder;
        let made = rustix::fs::mkdirat(folder, &*name, Mode::RWXU).map_err(io::Error::from);
        let made = made.and_then(|()| {
            let aside =
                Place { folder: folder.try_clone()?, name: name.clone(), is_open: place.is_open };
            own(open(&aside, OFlags::RDONLY | OFlags::DIRECTORY)?.as_fd(), record)?;
            let keep = RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(folder, &*name, folder, &*place.name, keep)?;
            quarantine::sync(folder.as_fd())
        });
        made.map_err(|error| {
            let _best = rustix::fs::unlinkat(folder, &*name, AtFlags::REMOVEDIR);
            io_error("make", path, error)
        })
    }

    fn make_link(
        &mut self,
        key: &ResourceKey,
        path: &[u8],
        place: &Place,
        record: &Record,
        seen: Option<Seen>,
    ) -> Result<(), ProviderError> {
        let found = seen.as_ref().map(|seen| seen.record.kind);
        let folder = &place.folder;
        let chown = |name: &CString| {
            let (uid, gid) = owner(record);
            rustix::fs::chownat(folder, &**name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        };
        if seen
            .is_some_and(|seen| seen.record.kind == record.kind && seen.record.link == record.link)
        {
            return chown(&place.name).map_err(|error| io_error("change", path, error.into()));
        }
        if found == Some(FileKind::Regular) {
            self.quarantine.take(key, place)?;
        }
        let name = self.temporary(path);
        let target = CString::new(record.link.clone())
            .map_err(|_| ProviderError::WrongValue { key: key.clone() })?;
        let made = rustix::fs::symlinkat(&*target, folder, &*name)
            .and_then(|()| chown(&name))
            .map_err(|error| io_error("make", path, error.into()))
            .and_then(|()| self.put(key, path, place, &name, found));
        if made.is_err() {
            let _best = rustix::fs::unlinkat(folder, &*name, AtFlags::empty());
        }
        made
    }

    /// Renames what was made aside to its place.
    fn put(
        &self,
        key: &ResourceKey,
        path: &[u8],
        place: &Place,
        name: &CString,
        found: Option<FileKind>,
    ) -> Result<(), ProviderError> {
        let folder = &place.folder;
        if found == Some(FileKind::Directory) {
            remove_folder(key, path, place)?;
        }
        rustix::fs::renameat(folder, &**name, folder, &*place.name)
            .map_err(io::Error::from)
            .and_then(|()| quarantine::sync(folder.as_fd()))
            .map_err(|error| io_error("rename", path, error))
    }

    fn remove(&mut self, key: &ResourceKey, path: &[u8]) -> Result<(), ProviderError> {
        let place = match Place::find(path) {
            Ok(place) => place,
            Err(Unreached::Missing(_) | Unreached::NotFolder(_)) => return Ok(()),
            Err(Unreached::Failed(error)) => return Err(io_error("open", path, error)),
        };
        let stat = place.stat().map_err(|error| io_error("read", path, error))?;
        match stat {
            None => Ok(()),
            Some(stat) if is_folder(&stat) => remove_folder(key, path, &place),
            Some(_) => self.quarantine.take(key, &place),
        }
    }

    fn temporary(&self, path: &[u8]) -> CString {
        self.temps.name(order::split(path).map_or(b"/", |(folder, _)| folder))
    }
}

/// What is kept of a withheld file: the record, then the contents.
pub(super) fn pack(record: &Record) -> Vec<u8> {
    let mut meta = Vec::new();
    let record = Record { print: Print::UNKNOWN, digest: [0; 32], ..record.clone() };
    record.encode(&mut meta);
    meta
}

/// The record and the contents of a withheld file.
pub(super) fn unpack(payload: &[u8]) -> Option<(Record, &[u8])> {
    let mut from = Reader::new(payload);
    let record = Record::decode(&mut from)?;
    Some((record, from.rest()))
}

/// A file as it is wanted, in numbers.
pub(super) fn record_of(key: &ResourceKey, file: &FileValue) -> Result<Record, ProviderError> {
    let unknown =
        |name: &str| ProviderError::UnknownOwner { key: key.clone(), name: name.to_owned() };
    let link = file.link_target.as_deref().map_or(Some(Vec::new()), unescape);
    Ok(Record {
        mode: file.mode,
        uid: names::uid(&file.owner).ok_or_else(|| unknown(&file.owner))?,
        gid: names::gid(&file.group).ok_or_else(|| unknown(&file.group))?,
        size: file.size_bytes,
        digest: file.sha256.unwrap_or_default(),
        link: link.ok_or_else(|| ProviderError::WrongValue { key: key.clone() })?,
        ..blank(file.kind)
    })
}

fn wanted_of(key: &ResourceKey, file: &FileValue) -> Result<Wanted, ProviderError> {
    let record = record_of(key, file)?;
    Ok(Wanted { sha256: record.digest, record, contents: None })
}

const fn blank(kind: FileKind) -> Record {
    Record {
        kind,
        withheld: false,
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        digest: [0; 32],
        link: Vec::new(),
        print: Print::UNKNOWN,
    }
}

fn not_restorable(key: &ResourceKey, why: &'static str) -> ProviderError {
    ProviderError::NotRestorable { key: key.clone(), why }
}

fn io_error(what: &'static str, path: &[u8], error: io::Error) -> ProviderError {
    ProviderError::io(what, order::shown(path), error)
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn open(place: &Place, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&place.folder, &*place.name, flags, Mode::empty())?)
}

/// Changes owner and mode of a file or folder that is otherwise right.
fn adjust(path: &[u8], place: &Place, record: &Record) -> Result<(), ProviderError> {
    let changed = open(place, OFlags::RDONLY).and_then(|fd| {
        let stat = rustix::fs::fstat(&fd)?;
        if super::record::kind_of_stat(&stat) != record.kind {
            // It became something else since it was looked at.
            return Err(io::Error::from(io::ErrorKind::ResourceBusy));
        }
        own(fd.as_fd(), record)?;
        Ok(rustix::fs::fsync(&fd)?)
    });
    changed.map_err(|error| io_error("change", path, error))
}

/// Owner first: changing it takes away set-user-id.
fn own(fd: std::os::fd::BorrowedFd<'_>, record: &Record) -> io::Result<()> {
    let (uid, gid) = owner(record);
    rustix::fs::fchown(fd, uid, gid)?;
    Ok(rustix::fs::fchmod(fd, Mode::from_raw_mode(record.mode))?)
}

/// The largest number means "unchanged" to the kernel and is nobody's.
fn owner(record: &Record) -> (Option<Uid>, Option<Gid>) {
    let known = |number: u32| (number != u32::MAX).then_some(number);
    (known(record.uid).map(Uid::from_raw), known(record.gid).map(Gid::from_raw))
}

fn write_file(
    place: &Place,
    name: &CString,
    bytes: &[u8],
    record: &Record,
    old: Option<&OwnedFd>,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(&place.folder, &**name, flags, UNFINISHED)?);
    file.write_all(bytes)?;
    if let Some(old) = old {
        carry_attributes(old, &file)?;
    }
    own(file.as_fd(), record)?;
    file.sync_all()
}

/// Security label, access list and users' attributes stay. Capabilities do not: they were given to other contents.
fn carry_attributes(old: &OwnedFd, new: &File) -> io::Result<()> {
    let mut names = vec![0; MAX_XATTR_BYTES];
    let Ok(length) = rustix::fs::flistxattr(old, &mut names) else {
        // The file system has none.
        return Ok(());
    };
    let mut value = vec![0; MAX_XATTR_BYTES];
    for name in names.get(..length).unwrap_or_default().split(|byte| *byte == 0) {
        let stays = name == b"security.selinux"
            || name == b"system.posix_acl_access"
            || name.starts_with(b"user.");
        if !stays {
            continue;
        }
        let Ok(length) = rustix::fs::fgetxattr(old, name, &mut value) else { continue };
        let value = value.get(..length).unwrap_or_default();
        match rustix::fs::fsetxattr(new, name, value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn remove_folder(key: &ResourceKey, path: &[u8], place: &Place) -> Result<(), ProviderError> {
    match rustix::fs::unlinkat(&place.folder, &*place.name, AtFlags::REMOVEDIR) {
        Ok(()) => {
            quarantine::sync(place.folder.as_fd()).map_err(|error| io_error("remove", path, error))
        }
        Err(Errno::NOTEMPTY | Errno::EXIST) => Err(ProviderError::NotEmpty { key: key.clone() }),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(io_error("remove", path, errno.into())),
    }
}

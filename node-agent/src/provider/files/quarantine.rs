//! Where files go that an undo removes: nothing that somebody made is deleted before a week has passed.
//!
//! Layout of the folder (0700): `<number>.json` says what it was, `<number>.data` is the file. The manifest is written
//! first; one without data is what a crash left, or the memory of something without data (a link, a pipe).
//! Bounded by size, number and age; without room nothing is removed.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pact_runtime::{Clock, Timestamp};
use pact_schemas::resource::{FileKind, ResourceKey, escape};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::place::Place;
use super::record::{PERMISSIONS, Print, kind_of_stat};
use crate::durable;
use crate::provider::ProviderError;

/// All files together.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Each takes two inodes.
const MAX_FILES: usize = 10_000;
/// Time to notice that something is missing.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// A manifest holds little more than a path and the target of a link.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024;

/// What a file was, for who wants it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    key: String,
    kind: String,
    mode: String,
    uid: u32,
    gid: u32,
    size_bytes: u64,
    modified_unix_ns: i64,
    removed_unix_ns: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link_target: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    size: u64,
    removed: Timestamp,
}

/// The quarantine.
#[derive(Debug)]
pub(super) struct Quarantine {
    folder: PathBuf,
    opened: OwnedFd,
    items: BTreeMap<u64, Item>,
    clock: Clock,
    limit: u64,
}

impl Quarantine {
    pub(super) fn open(folder: &Path, clock: &Clock) -> io::Result<Self> {
        Self::with_limit(folder, clock, MAX_BYTES)
    }

    fn with_limit(folder: &Path, clock: &Clock, limit: u64) -> io::Result<Self> {
        durable::private_folder(folder)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(folder, flags, Mode::empty())?;
        let (folder, clock) = (folder.to_owned(), clock.clone());
        let mut quarantine = Self { folder, opened, items: BTreeMap::new(), clock, limit };
        quarantine.load()?;
        quarantine.prune();
        Ok(quarantine)
    }

    fn load(&mut self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            let is_manifest = path.extension().is_some_and(|end| end == "json");
            let (Some(number), true) = (number, is_manifest) else { continue };
            let bytes = durable::read_bounded(&path, MAX_MANIFEST_BYTES)?.unwrap_or_default();
            let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else {
                tracing::warn!(?path, "a manifest of the quarantine cannot be read");
                continue;
            };
            let has_data = self.path(number, "data").exists();
            if !has_data && manifest.kind == "regular" {
                // The crash came before the file was moved: it is where it was.
                std::fs::remove_file(&path)?;
                continue;
            }
            let removed = Timestamp::from_unix_nanos(manifest.removed_unix_ns);
            let size = if has_data { manifest.size_bytes } else { 0 };
            self.items.insert(number, Item { size, removed });
        }
        Ok(())
    }

    /// Removes what is older than its time.
    fn prune(&mut self) {
        let now = self.clock.now();
        let is_over = |item: &Item| item.removed.checked_add(KEPT_FOR).is_some_and(|end| end < now);
        let over: Vec<u64> =
            self.items.iter().filter(|(_, item)| is_over(item)).map(|(n, _)| *n).collect();
        for number in over {
            // The data first: a manifest alone is never taken for a file.
            for end in ["data", "json"] {
                let _best = std::fs::remove_file(self.path(number, end));
            }
            self.items.remove(&number);
        }
    }

    /// Takes what is at the place out of the tree. A folder is not taken.
    pub(super) fn take(&mut self, key: &ResourceKey, place: &Place) -> Result<(), ProviderError> {
        let at = key.file_path().unwrap_or_default();
        let failed = |error| ProviderError::io("move away", &at, error);
        let Some(stat) = place.stat().map_err(failed)? else { return Ok(()) };
        let kind = kind_of_stat(&stat);
        let size = if kind == FileKind::Regular { Print::of(&stat).size } else { 0 };
        self.prune();
        let used: u64 = self.items.values().map(|item| item.size).sum();
        if used + size > self.limit || self.items.len() >= MAX_FILES {
            return Err(ProviderError::NoRoom { key: key.clone(), size_bytes: size });
        }
        let number = self.items.last_key_value().map_or(1, |(number, _)| number + 1);
        let removed = self.clock.now();
        let manifest = manifest_of(key, place, &stat, removed).map_err(failed)?;
        let manifest_path = self.path(number, "json");
        let written = serde_json::to_vec_pretty(&manifest)
            .map_err(io::Error::from)
            .and_then(|bytes| durable::replace(&manifest_path, &bytes, durable::PRIVATE));
        written.map_err(|error| ProviderError::io("write", &manifest_path, error))?;
        let moved = match kind {
            FileKind::Regular => self.move_file(number, place, &stat),
            FileKind::Directory => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            FileKind::Symlink | FileKind::Special => remove(place),
        };
        if let Err(error) = moved {
            let _best = std::fs::remove_file(&manifest_path);
            return Err(failed(error));
        }
        self.items.insert(number, Item { size, removed });
        Ok(())
    }

    fn move_file(&self, number: u64, place: &Place, stat: &Stat) -> io::Result<()> {
        let name = CString::new(format!("{number}.data")).map_err(io::Error::other)?;
        let from = place.folder.as_fd();
        let keep = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(from, &*place.name, &self.opened, &*name, keep) {
            Ok(()) => {
                let moved = super::place::stat(&self.opened, &name)?;
                if moved.is_some_and(|moved| kind_of_stat(&moved) == FileKind::Regular) {
                    rustix::fs::fsync(&self.opened)?;
                    return sync(from);
                }
                // Somebody put a folder there in between: back with it.
                rustix::fs::renameat_with(&self.opened, &*name, from, &*place.name, keep)?;
                Err(io::Error::from(io::ErrorKind::ResourceBusy))
            }
            Err(Errno::XDEV) => {
                let copied = self.copy_file(number, place, stat);
                if copied.is_err() {
                    let _best = std::fs::remove_file(self.path(number, "data"));
                }
                copied
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Copies the file to the quarantine's file system, and removes the name if it is still this file, unchanged.
    fn copy_file(&self, number: u64, place: &Place, stat: &Stat) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&place.folder, &*place.name, flags, Mode::empty())?;
        let mut from = File::from(fd);
        let path = self.path(number, "data");
        let mut to =
            OpenOptions::new().write(true).create_new(true).mode(durable::PRIVATE).open(&path)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        rustix::fs::fsync(&self.opened)?;
        // Move it aside first: what is looked at then is what is removed.
        let aside = CString::new(format!(".pact-removed-{number}")).map_err(io::Error::other)?;
        let (folder, keep) = (place.folder.as_fd(), RenameFlags::NOREPLACE);
        rustix::fs::renameat_with(folder, &*place.name, folder, &*aside, keep)?;
        // Renaming changes the time of change alone.
        let unmoved = |stat: &Stat| Print { changed_ns: 0, ..Print::of(stat) };
        let found = super::place::stat(folder, &aside)?;
        if found.is_some_and(|found| unmoved(&found) == unmoved(stat)) {
            rustix::fs::unlinkat(folder, &*aside, AtFlags::empty())?;
            return sync(folder);
        }
        rustix::fs::renameat_with(folder, &*aside, folder, &*place.name, keep)?;
        Err(io::Error::from(io::ErrorKind::ResourceBusy))
    }

    fn path(&self, number: u64, end: &str) -> PathBuf {
        self.folder.join(format!("{number}.{end}"))
    }
}

fn manifest_of(
    key: &ResourceKey,
    place: &Place,
    stat: &Stat,
    removed: Timestamp,
) -> io::Result<Manifest> {
    let (kind, link_target) = match kind_of_stat(stat) {
        FileKind::Regular => ("regular", None),
        FileKind::Directory => ("directory", None),
        FileKind::Symlink => {
            let target = rustix::fs::readlinkat(&place.folder, &*place.name, Vec::new())?;
            ("symlink", Some(escape(target.as_bytes())))
        }
        FileKind::Special => ("special", None),
    };
    let print = Print::of(stat);
    Ok(Manifest {
        format: 1,
        key: key.to_string(),
        kind: kind.to_owned(),
        mode: format!("{:04o}", stat.st_mode & PERMISSIONS),
        uid: stat.st_uid,
        gid: stat.st_gid,
        size_bytes: print.size,
        modified_unix_ns: print.modified_ns,
        removed_unix_ns: removed.unix_nanos(),
        link_target,
    })
}

fn remove(place: &Place) -> io::Result<()> {
    rustix::fs::unlinkat(&place.folder, &*place.name, AtFlags::empty())?;
    sync(place.folder.as_fd())
}

/// Makes changed names in a folder last. The folder was opened to go on from; syncing wants it opened to read.
pub(super) fn sync(folder: BorrowedFd<'_>) -> io::Result<()> {
    let here: &CStr = c".";
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(folder, here, flags, Mode::empty())?;
    Ok(rustix::fs::fsync(folder)?)
}

#[cfg(test)]
mod tests;

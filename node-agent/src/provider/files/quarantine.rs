//! Where files go that an undo replaces or removes: nothing that somebody made is deleted before a week has passed.
//!
//! Layout of the folder (0700): `<number>.json` says what a file was ([`Manifest`]), `<sha256>.data` has its contents,
//! once, however many files had them. What is removed again as it was is the same removal with a later time.
//!
//! Order: the manifest, with the name aside that the file is about to get, is on disk before the file gets it; the file
//! is moved here from there, or copied and synced before that name goes. So a crash leaves the file under its name, or
//! aside with a manifest that knows it ([`Quarantine::settle`]), or here. Several files go through each of these steps
//! together (`taking`), none of them before the step before it is on disk for all.
//!
//! Bounded by size and number, what is on its way here among it; without room nothing is replaced or removed. The week is
//! one of plane time: while that is not known, nothing ends, and nothing is thrown out early to make room.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pact_runtime::Timestamp;
use pact_schemas::resource::{FileKind, ResourceKey, escape};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::PlaneNow;
use super::look::Seen;
use super::order;
use super::place::Place;
use crate::durable;
use crate::provider::ProviderError;
pub(super) use manifest::Successor;
use manifest::{Essence, Manifest};
pub(super) use taking::{Examined, Held};

mod manifest;
mod settle;
mod shelf;
mod taking;

/// All contents together.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Each takes up to two inodes.
const MAX_FILES: usize = 10_000;
/// Time to notice that something is missing.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// A manifest holds little more than a path and the target of a link.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024;

/// What is in the quarantine, or about to be.
#[derive(Debug, Clone)]
struct Item {
    essence: Essence,
    /// Name of the file with the contents.
    data: Option<Box<str>>,
    removed: Option<Timestamp>,
    /// Where it may still be, because a crash or an error came in between.
    aside: Option<Vec<u8>>,
}

/// The quarantine.
pub(super) struct Quarantine {
    folder: PathBuf,
    opened: OwnedFd,
    items: BTreeMap<u64, Item>,
    /// Files with contents: their size.
    data: BTreeMap<Box<str>, u64>,
    /// Those that are on their way here together.
    promised: BTreeMap<Box<str>, u64>,
    now: PlaneNow,
    limit: u64,
}

/// A removal that has begun. It is finished with [`Quarantine::take`], or given up.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    /// An earlier removal of the same.
    before: Option<Item>,
}

/// What became of a file that was to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is here.
    Kept,
    /// It is not what was looked at; it is where it was.
    Differs,
    /// Somebody has it open; it is where it was.
    InUse,
}

impl Quarantine {
    pub(super) fn open(folder: &Path, now: PlaneNow) -> io::Result<Self> {
        Self::with_limit(folder, now, MAX_BYTES)
    }

    fn with_limit(folder: &Path, now: PlaneNow, limit: u64) -> io::Result<Self> {
        durable::private_folder(folder)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(folder, flags, Mode::empty())?;
        let mut quarantine = Self {
            folder: folder.to_owned(),
            opened,
            items: BTreeMap::new(),
            data: BTreeMap::new(),
            promised: BTreeMap::new(),
            now,
            limit,
        };
        quarantine.load()?;
        quarantine.prune();
        Ok(quarantine)
    }

    /// Makes a place for what is about to be replaced or removed, and writes down that it gets the name `aside`, in the
    /// same folder. On disk when it returns. A folder has no place here.
    pub(super) fn begin(
        &mut self,
        key: &ResourceKey,
        seen: &Seen,
        aside: &[u8],
        successor: Option<Successor>,
    ) -> Result<Ticket, ProviderError> {
        self.prune();
        let (ticket, manifest) = self.reserve(key, seen, aside, successor)?;
        match self.write(ticket.number, &manifest) {
            Ok(()) => Ok(ticket),
            Err(error) => {
                self.give_up(ticket);
                Err(error)
            }
        }
    }

    /// The same with others: what is written down is on disk once the open file is synced, [`Quarantine::write_down`] is
    /// through, and so is [`Quarantine::sync`]. Ends with [`Quarantine::end_together`].
    pub(super) fn begin_with_others(
        &mut self,
        key: &ResourceKey,
        seen: &Seen,
        aside: &[u8],
        successor: Option<Successor>,
    ) -> Result<(Ticket, File), ProviderError> {
        let (ticket, manifest) = self.reserve(key, seen, aside, successor)?;
        let path = self.unfinished_manifest(ticket.number);
        let written = serde_json::to_vec_pretty(&manifest)
            .map_err(io::Error::from)
            .and_then(|bytes| durable::write_new(&path, &bytes, durable::PRIVATE));
        match written {
            Ok(file) => {
                let data =
                    manifest.data(ticket.number).filter(|data| !self.data.contains_key(&**data));
                self.promised.extend(data.map(|data| (data.into(), manifest.size_bytes)));
                Ok((ticket, file))
            }
            Err(error) => {
                self.give_up(ticket);
                Err(ProviderError::io("write", &path, error))
            }
        }
    }

    /// Gives a manifest its name.
    pub(super) fn write_down(&self, ticket: &Ticket) -> Result<(), ProviderError> {
        let path = self.manifest_path(ticket.number);
        std::fs::rename(self.unfinished_manifest(ticket.number), &path)
            .map_err(|error| ProviderError::io("write", &path, error))
    }

    /// Makes names that came and went here last.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.opened)?)
    }

    /// Nothing is on its way here any more.
    pub(super) fn end_together(&mut self) {
        self.promised.clear();
    }

    /// A place for what is about to be replaced or removed, and what is to be written of it.
    fn reserve(
        &mut self,
        key: &ResourceKey,
        seen: &Seen,
        aside: &[u8],
        successor: Option<Successor>,
    ) -> Result<(Ticket, Manifest), ProviderError> {
        let manifest = Manifest::of(key, seen, (self.now)());
        let manifest = Manifest { aside: Some(escape(aside)), successor, ..manifest };
        let essence = manifest.essence();
        let is_same = |item: &Item| item.essence == essence && item.aside.is_none();
        let same = self.items.iter().find(|(_, item)| is_same(item)).map(|(number, _)| *number);
        if !self.has_room(&manifest, same) {
            // Somebody may have made room by hand.
            self.reload();
            if !self.has_room(&manifest, same) {
                let (folder, size_bytes) = (self.folder.clone(), manifest.size_bytes);
                return Err(ProviderError::NoRoom { key: key.clone(), size_bytes, folder });
            }
        }
        let next = || self.items.last_key_value().map_or(1, |(number, _)| number + 1);
        let number = same.filter(|number| self.items.contains_key(number)).unwrap_or_else(next);
        let item = Item {
            essence,
            data: manifest.data(number).map(Into::into),
            removed: manifest.removed(),
            aside: Some(aside.to_vec()),
        };
        let before = self.items.insert(number, item);
        Ok((Ticket { number, before }, manifest))
    }

    /// Takes what is aside, in the folder of the place, if it is what was looked at.
    pub(super) fn take(
        &mut self,
        ticket: &Ticket,
        place: &Place,
        aside: &CStr,
        seen: &Seen,
    ) -> io::Result<Taken> {
        let taken = match seen.record.kind {
            FileKind::Regular => self.take_file(ticket, place, aside, seen)?,
            FileKind::Symlink => {
                let target = rustix::fs::readlinkat(&place.folder, aside, Vec::new());
                let is_same = target.is_ok_and(|target| target.as_bytes() == seen.record.link);
                remove_if(is_same, place, aside)?
            }
            FileKind::Special => {
                let found = super::place::stat(&place.folder, aside)?;
                let is_same = found.is_some_and(|stat| seen.found.is_unmoved(&stat));
                remove_if(is_same, place, aside)?
            }
            FileKind::Directory => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
        };
        if taken == Taken::Kept {
            self.nothing_left(ticket);
        }
        Ok(taken)
    }

    /// Nothing of it is aside any more.
    fn nothing_left(&mut self, ticket: &Ticket) {
        if let Some(item) = self.items.get_mut(&ticket.number) {
            item.aside = None;
        }
    }

    /// Nothing was taken, and nothing of it is aside any more.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        let _none = std::fs::remove_file(self.unfinished_manifest(ticket.number));
        match ticket.before {
            Some(before) => drop(self.items.insert(ticket.number, before)),
            None => {
                // Contents that are here are never given up with it.
                self.items.remove(&ticket.number);
                let _best = std::fs::remove_file(self.manifest_path(ticket.number));
            }
        }
    }

    /// Whether a file with this path belongs to what is being taken: nobody else may remove it.
    pub(super) fn is_pending(&self, path: &[u8]) -> bool {
        self.items.values().any(|item| item.aside.as_deref() == Some(path))
    }

    fn write(&self, number: u64, manifest: &Manifest) -> Result<(), ProviderError> {
        let path = self.manifest_path(number);
        let written = serde_json::to_vec_pretty(manifest)
            .map_err(io::Error::from)
            .and_then(|bytes| durable::replace(&path, &bytes, durable::PRIVATE));
        written.map_err(|error| ProviderError::io("write", &path, error))
    }

    fn manifest_path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number}.json"))
    }

    /// Where a manifest is that is written with others.
    fn unfinished_manifest(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number}.together.new"))
    }
}

fn remove_if(is_same: bool, place: &Place, name: &CStr) -> io::Result<Taken> {
    if !is_same {
        return Ok(Taken::Differs);
    }
    rustix::fs::unlinkat(&place.folder, name, AtFlags::empty())?;
    Ok(Taken::Kept)
}

/// The path of a name beside a file.
pub(super) fn beside(path: &[u8], name: &CStr) -> Vec<u8> {
    let folder = order::split(path).map_or(&b"/"[..], |(folder, _)| folder);
    order::join(folder, name.to_bytes())
}

#[cfg(test)]
mod tests;

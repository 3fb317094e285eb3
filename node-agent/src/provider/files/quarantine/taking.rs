//! Taking what is aside, in steps that several files go through together: each is looked at ([`Quarantine::examine`]),
//! all are synced, each gets its name here ([`Quarantine::store`]), the folder is synced, and what is left of the names
//! aside goes ([`Quarantine::release`]).

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use super::super::lease;
use super::super::look::{Seen, content_digest, links_of};
use super::super::made;
use super::super::place::{self, Place};
use super::{Quarantine, Taken, Ticket};
use crate::durable::{self, hex};

/// What is aside, is what was looked at, and is about to be kept.
#[derive(Debug)]
pub(in crate::provider::files) struct Held {
    file: File,
    /// Of its contents here.
    name: String,
    way: Way,
}

/// How its contents come here.
#[derive(Debug)]
enum Way {
    /// They are here, in this file.
    Here(File),
    /// It gets a name here instead of the one aside.
    Move,
    /// A copy gets the name: it is on another file system, or has other names.
    Copy { unfinished: PathBuf, to: File },
}

/// What was found aside.
#[derive(Debug)]
pub(in crate::provider::files) enum Examined {
    /// What was looked at.
    Held(Held),
    /// Something else, or in use: it is where it was.
    Not(Taken),
}

impl Held {
    /// What has to be synced before it is stored.
    pub(in crate::provider::files) const fn unsynced(&self) -> &File {
        match &self.way {
            Way::Here(file) | Way::Copy { to: file, .. } => file,
            Way::Move => &self.file,
        }
    }

    /// Whether the file aside is not the only one until the folder is synced: it must not go before that.
    pub(in crate::provider::files) const fn is_copy(&self) -> bool {
        matches!(self.way, Way::Copy { .. })
    }

    /// It is not kept: no half of it stays here.
    pub(in crate::provider::files) fn discard(self) {
        if let Way::Copy { unfinished, .. } = self.way {
            let _best = std::fs::remove_file(unfinished);
        }
    }
}

impl Quarantine {
    /// All steps with one file.
    pub(super) fn take_file(
        &mut self,
        ticket: &Ticket,
        place: &Place,
        aside: &CStr,
        seen: &Seen,
    ) -> io::Result<Taken> {
        let mut held = match self.examine(ticket, place, aside, seen)? {
            Examined::Held(held) => held,
            Examined::Not(taken) => return Ok(taken),
        };
        let synced = held.unsynced().sync_all();
        let taken = synced.and_then(|()| self.store(ticket, place, aside, &mut held, seen));
        if !matches!(taken, Ok(Taken::Kept)) {
            held.discard();
            return taken;
        }
        match self.sync() {
            Err(error) if held.is_copy() => return Err(error),
            // A crash may find it aside again, written down.
            Err(error) => {
                tracing::warn!(folder = ?self.folder, %error, "the quarantine is not synced");
            }
            Ok(()) => {}
        }
        self.release(ticket, place, aside, &held)?;
        Ok(Taken::Kept)
    }

    /// Looks whether a regular file aside is what was looked at, to its end, and decides how it comes here. A copy is
    /// made, and not synced.
    pub(in crate::provider::files) fn examine(
        &self,
        ticket: &Ticket,
        place: &Place,
        aside: &CStr,
        seen: &Seen,
    ) -> io::Result<Examined> {
        // Looked at by name first: what is no file any more is not opened.
        let found = place::stat(&place.folder, aside)?;
        if !found.is_some_and(|stat| seen.found.is_unmoved(&stat)) {
            return Ok(Examined::Not(Taken::Differs));
        }
        let file = File::from(made::open(place, aside, OFlags::RDONLY)?);
        let stat = rustix::fs::fstat(&file)?;
        if lease::is_open_elsewhere(&file) == Some(true) {
            return Ok(Examined::Not(Taken::InUse));
        }
        let name = format!("{}.data", hex(&seen.sha256));
        let is_sole = links_of(&stat) == 1 && self.folder.metadata()?.dev() == stat.st_dev;
        let here = is_whole(&self.folder.join(&name), &seen.sha256);
        let (taken, way) = match here {
            // Read all the same: it is about to be the one that goes.
            Some(here) => (read(&file, None, seen)?, Way::Here(here)),
            None if is_sole => (read(&file, None, seen)?, Way::Move),
            None => match self.copy(ticket, &file, &name, seen)? {
                Ok(way) => (Taken::Kept, way),
                Err(taken) => return Ok(Examined::Not(taken)),
            },
        };
        Ok(match taken {
            Taken::Kept => Examined::Held(Held { file, name, way }),
            other => Examined::Not(other),
        })
    }

    /// Gives it its name here, once it is synced, if it still is what was looked at and nobody has opened it since.
    pub(in crate::provider::files) fn store(
        &mut self,
        ticket: &Ticket,
        place: &Place,
        aside: &CStr,
        held: &mut Held,
        seen: &Seen,
    ) -> io::Result<Taken> {
        match judge(&held.file, seen)? {
            Taken::Kept => {}
            other => return Ok(other),
        }
        if let Way::Move = held.way {
            let name = CString::new(&*held.name).map_err(io::Error::other)?;
            match rustix::fs::renameat(&place.folder, aside, &self.opened, &*name) {
                // Mounted otherwise, although the file system is the same.
                Err(Errno::XDEV) => match self.copy(ticket, &held.file, &held.name, seen)? {
                    Ok(way) => {
                        held.way = way;
                        held.unsynced().sync_all()?;
                    }
                    Err(taken) => return Ok(taken),
                },
                other => other?,
            }
        }
        if let Way::Copy { unfinished, .. } = &held.way {
            std::fs::rename(unfinished, self.folder.join(&held.name))?;
        }
        if !matches!(held.way, Way::Here(_)) {
            self.data.insert(held.name.as_str().into(), seen.found.size);
        }
        Ok(Taken::Kept)
    }

    /// Takes the name aside away, if it is left: what is here is on disk.
    pub(in crate::provider::files) fn release(
        &mut self,
        ticket: &Ticket,
        place: &Place,
        aside: &CStr,
        held: &Held,
    ) -> io::Result<()> {
        if !matches!(held.way, Way::Move) {
            rustix::fs::unlinkat(&place.folder, aside, AtFlags::empty())?;
        }
        self.nothing_left(ticket);
        Ok(())
    }

    /// Copies the file beside where it is to be.
    fn copy(
        &self,
        ticket: &Ticket,
        file: &File,
        name: &str,
        seen: &Seen,
    ) -> io::Result<Result<Way, Taken>> {
        // Another removal of the same contents may be at this point.
        let unfinished = self.folder.join(format!("{name}.{}.new", ticket.number));
        let _leftover = std::fs::remove_file(&unfinished);
        let to = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(durable::PRIVATE)
            .open(&unfinished)?;
        let taken = read(file, Some(&to), seen);
        if !matches!(taken, Ok(Taken::Kept)) {
            let _best = std::fs::remove_file(&unfinished);
        }
        Ok(match taken? {
            Taken::Kept => Ok(Way::Copy { unfinished, to }),
            other => Err(other),
        })
    }
}

/// Reads the file to its end, and writes it on where it is to be copied: whether it is what was seen, and whether nobody
/// has it open who could write to it where nobody looks.
fn read(file: &File, to: Option<&File>, seen: &Seen) -> io::Result<Taken> {
    if content_digest(file, to)? != seen.sha256 {
        return Ok(Taken::Differs);
    }
    judge(file, seen)
}

/// Whether nobody has changed the file, nor has it open.
fn judge(file: &File, seen: &Seen) -> io::Result<Taken> {
    let now = rustix::fs::fstat(file)?;
    Ok(if !seen.found.is_unmoved(&now) {
        Taken::Differs
    } else if lease::is_open_elsewhere(file) == Some(true) {
        Taken::InUse
    } else {
        Taken::Kept
    })
}

/// The contents if they are here, and still what their name says: once synced, they are about to be the only ones.
fn is_whole(path: &Path, sha256: &[u8; 32]) -> Option<File> {
    let file = File::open(path).ok()?;
    content_digest(&file, None).is_ok_and(|digest| digest == *sha256).then_some(file)
}

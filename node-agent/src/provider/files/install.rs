//! Putting in place what was made aside, and taking away what was there: in one step where the file system can, and so
//! that at no point the only copy of anything has no name.
//!
//! Where nothing was, a name is put where nothing is. Where something was, both names are exchanged: then what was there
//! is in our hand, is compared with what was observed, and goes to the quarantine; what is not that goes back in another
//! exchange. A file system that cannot exchange gets the old file moved aside, then the new one put where nothing is.
//! What neither goes back nor into the quarantine stays aside, written down, until it can ([`Quarantine::settle`]).
//!
//! [`Quarantine::settle`]: super::quarantine::Quarantine::settle

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsFd as _;

use pact_schemas::resource::{FileKind, ResourceKey};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::lease;
use super::look::Seen;
use super::made;
use super::place::{self, Place};
use super::quarantine::{Successor, Taken, Ticket, beside};
use super::restore::{Restorer, io_error, not_restorable, remove_folder};
use crate::provider::ProviderError;

/// Where something is to be made so.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) key: &'a ResourceKey,
    pub(super) path: &'a [u8],
    pub(super) place: &'a Place,
}

/// What was made aside.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) name: CString,
    pub(super) kind: FileKind,
    pub(super) successor: Successor,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchanged {
    /// In one step: it can be undone in one, too.
    AtOnce,
    /// In steps: what was there is aside, what was made is in place.
    InSteps,
    /// In steps, and somebody put something there meanwhile: what was made is gone.
    Overtaken,
    /// In steps, and it could neither be finished nor undone: what was there is aside, what was made is gone.
    Stranded,
}

impl Restorer<'_> {
    /// Puts what was made aside in place. Whatever comes of it, nothing that is ours stays aside.
    pub(super) fn install(
        &mut self,
        at: &At<'_>,
        made: &Made,
        seen: Option<&Seen>,
    ) -> Result<(), ProviderError> {
        let Some(seen) = seen else { return self.put_new(at, made) };
        if seen.record.kind == FileKind::Directory {
            return remove_folder(at)
                .inspect_err(|_| made::forget(at.place, &made.name, made.kind))
                .and_then(|()| self.put_new(at, made));
        }
        let successor = Some(made.successor.clone());
        let begun = self.begin(at, seen, &made.name, successor).and_then(|ticket| {
            match self.exchange(at, made, seen) {
                Ok(exchanged) => Ok((ticket, exchanged)),
                Err(error) => {
                    self.quarantine.give_up(ticket);
                    Err(error)
                }
            }
        });
        // Up to here what is aside is ours.
        let (ticket, exchanged) =
            begun.inspect_err(|_| made::forget(at.place, &made.name, made.kind))?;
        self.finish_exchange(at, made, seen, ticket, exchanged)
    }

    /// Takes what an exchange has left aside into the quarantine.
    pub(super) fn finish_exchange(
        &mut self,
        at: &At<'_>,
        made: &Made,
        seen: &Seen,
        ticket: Ticket,
        exchanged: Exchanged,
    ) -> Result<(), ProviderError> {
        if exchanged == Exchanged::Stranded {
            return Err(io_error("put back", at.path, io::ErrorKind::Unsupported.into()));
        }
        let taken = self.quarantine.take(&ticket, at.place, &made.name, seen);
        let ended = match (&taken, exchanged) {
            (Ok(Taken::Kept), Exchanged::AtOnce | Exchanged::InSteps) => Ok(()),
            (_, Exchanged::AtOnce) => {
                self.put_back(at, made, ticket);
                Err(refusal(at, taken))
            }
            // It looked the same and is not: it stays aside until it can be kept.
            (_, Exchanged::InSteps) => Err(refusal(at, taken)),
            (_, Exchanged::Overtaken | Exchanged::Stranded) => {
                Err(ProviderError::Changed { key: at.key.clone() })
            }
        };
        let synced = made::sync(at.place.folder.as_fd());
        ended.and_then(|()| synced.map_err(|error| io_error("sync", at.path, error)))
    }

    /// Takes away what is there, into the quarantine.
    pub(super) fn take_away(&mut self, at: &At<'_>, seen: &Seen) -> Result<(), ProviderError> {
        let place = at.place;
        let aside = self.temps.beside(at.path);
        let ticket = self.begin(at, seen, &aside, None)?;
        // Nobody else knows this name.
        let moved = rustix::fs::renameat(&place.folder, &*place.name, &place.folder, &*aside);
        if let Err(errno) = moved {
            self.quarantine.give_up(ticket);
            return if errno == Errno::NOENT {
                Ok(())
            } else {
                Err(io_error("move away", at.path, errno.into()))
            };
        }
        let taken = self.quarantine.take(&ticket, place, &aside, seen);
        if matches!(taken, Ok(Taken::Kept)) {
            return made::sync(place.folder.as_fd())
                .map_err(|error| io_error("sync", at.path, error));
        }
        self.move_back(at, &aside, ticket);
        Err(refusal(at, taken))
    }

    /// Gives what was moved aside its name back, if nothing has it by now.
    pub(super) fn move_back(&mut self, at: &At<'_>, aside: &CStr, ticket: Ticket) {
        if self.renames.put_where_nothing_is(at.place, aside, &at.place.name).is_ok() {
            self.give_up_after(at, ticket);
        }
    }

    /// Forgets what was written down of a file that has its name back, once that is on disk: else a power failure could leave
    /// it aside with nobody to know whose it is.
    fn give_up_after(&mut self, at: &At<'_>, ticket: Ticket) {
        match made::sync(at.place.folder.as_fd()) {
            Ok(()) => self.quarantine.give_up(ticket),
            Err(error) => {
                tracing::warn!(key = %at.key, %error, "it stays written down until the next start");
            }
        }
    }

    /// Makes sure of a place in the quarantine, and that nobody has opened the file since it was asked who does.
    fn begin(
        &mut self,
        at: &At<'_>,
        seen: &Seen,
        aside: &CStr,
        successor: Option<Successor>,
    ) -> Result<Ticket, ProviderError> {
        is_free(at, seen)?;
        self.quarantine.begin(at.key, seen, &beside(at.path, aside), successor)
    }

    /// Exchanges what was made with what is there. On error both are where they were.
    pub(super) fn exchange(
        &self,
        at: &At<'_>,
        made: &Made,
        seen: &Seen,
    ) -> Result<Exchanged, ProviderError> {
        match self.renames.exchange(at.place, &made.name, &at.place.name) {
            Ok(true) => Ok(Exchanged::AtOnce),
            Ok(false) => self.exchange_in_steps(at, made, seen),
            Err(Errno::NOENT) => Err(ProviderError::Changed { key: at.key.clone() }),
            Err(errno) => Err(io_error("replace", at.path, errno.into())),
        }
    }

    fn exchange_in_steps(
        &self,
        at: &At<'_>,
        made: &Made,
        seen: &Seen,
    ) -> Result<Exchanged, ProviderError> {
        let place = at.place;
        let spare = self.temps.beside(at.path);
        // Done with our own file first: a file system that cannot do it has changed nothing then.
        self.renames
            .put_where_nothing_is(place, &made.name, &spare)
            .map_err(|error| refused(at, error))?;
        let moved = rustix::fs::renameat(&place.folder, &*place.name, &place.folder, &*made.name);
        if let Err(errno) = moved {
            made::forget(place, &spare, made.kind);
            return Err(if errno == Errno::NOENT {
                ProviderError::Changed { key: at.key.clone() }
            } else {
                io_error("move aside", at.path, errno.into())
            });
        }
        // It cannot go back in one step later, so it is looked at before anything takes its place.
        let is_it = place::stat(&place.folder, &made.name)
            .is_ok_and(|found| found.is_some_and(|stat| seen.found.is_unmoved(&stat)));
        let put = if is_it {
            self.renames.put_where_nothing_is(place, &spare, &place.name)
        } else {
            Err(io::ErrorKind::ResourceBusy.into())
        };
        let Err(error) = put else { return Ok(Exchanged::InSteps) };
        made::forget(place, &spare, made.kind);
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Ok(Exchanged::Overtaken);
        }
        // What was there goes back; if it cannot, it stays aside, written down.
        match self.renames.put_where_nothing_is(place, &made.name, &place.name) {
            Ok(()) => Err(refused(at, error)),
            Err(back) => {
                tracing::error!(key = %at.key, error = %back, "what was there is aside for now");
                Ok(Exchanged::Stranded)
            }
        }
    }

    /// Puts what was made where nothing is.
    fn put_new(&self, at: &At<'_>, made: &Made) -> Result<(), ProviderError> {
        let put = self.renames.put_where_nothing_is(at.place, &made.name, &at.place.name);
        put.map_err(|error| {
            made::forget(at.place, &made.name, made.kind);
            refused(at, error)
        })?;
        made::sync(at.place.folder.as_fd()).map_err(|error| io_error("sync", at.path, error))
    }

    /// Undoes an exchange. What is ours goes; what somebody put in its place meanwhile stays there, and what was there
    /// before stays aside, written down.
    pub(super) fn put_back(&mut self, at: &At<'_>, made: &Made, ticket: Ticket) {
        let place = at.place;
        let (name, aside) = (&*place.name, &*made.name);
        let renames = self.renames;
        let exchange = || match renames.exchange(place, aside, name) {
            Ok(false) => Err(Errno::INVAL),
            other => other.map(drop),
        };
        match exchange() {
            // Who has opened what is ours is about to write to it.
            Ok(())
                if made.successor.is_at(place, aside).unwrap_or(false)
                    && !is_used(place, aside) =>
            {
                made::forget(place, aside, made.kind);
                self.give_up_after(at, ticket);
            }
            Ok(()) => {
                let again = exchange();
                tracing::warn!(key = %at.key, done = again.is_ok(),
                    "replaced or opened by somebody else while it was being put back; what was there is aside");
            }
            Err(Errno::NOENT) => {
                let is_there = place::stat(&place.folder, aside).is_ok_and(|found| found.is_some());
                if !is_there || self.renames.put_where_nothing_is(place, aside, name).is_ok() {
                    self.give_up_after(at, ticket);
                }
            }
            Err(errno) => {
                tracing::warn!(key = %at.key, error = %errno, "what was replaced stays aside for now");
            }
        }
    }
}

/// Whether nobody has opened the file since it was asked who does.
pub(super) fn is_free(at: &At<'_>, seen: &Seen) -> Result<(), ProviderError> {
    if seen.record.kind == FileKind::Regular && is_used(at.place, &at.place.name) {
        return Err(ProviderError::InUse { key: at.key.clone() });
    }
    Ok(())
}

/// Whether the kernel says that somebody has it open.
fn is_used(place: &Place, name: &CStr) -> bool {
    made::open(place, name, OFlags::RDONLY)
        .is_ok_and(|file| lease::is_open_elsewhere(&file) == Some(true))
}

pub(super) fn refused(at: &At<'_>, error: io::Error) -> ProviderError {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::ResourceBusy => {
            ProviderError::Changed { key: at.key.clone() }
        }
        io::ErrorKind::Unsupported => {
            not_restorable(at.key, "its file system can neither exchange nor link names")
        }
        _ => io_error("rename", at.path, error),
    }
}

/// Why something was not taken.
pub(super) fn refusal(at: &At<'_>, taken: io::Result<Taken>) -> ProviderError {
    match taken {
        Ok(Taken::InUse) => ProviderError::InUse { key: at.key.clone() },
        Ok(Taken::Differs | Taken::Kept) => ProviderError::Changed { key: at.key.clone() },
        Err(error) => io_error("keep", at.path, error),
    }
}

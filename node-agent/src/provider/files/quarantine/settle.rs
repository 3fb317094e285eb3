//! Finishing what a crash, or an error in the middle, left aside.
//!
//! Under the name aside is what was to come, if the crash came before the exchange: it is removed. Or it is what was
//! there: it goes back where it was if nothing is there, and to the quarantine if its successor is.

use std::ffi::CString;
use std::io;

use pact_schemas::resource::ResourceKey;
use rustix::fs::AtFlags;

use super::super::look::{Looker, Where};
use super::super::made::{self, is_folder};
use super::super::place::{self, Place, Unreached};
use super::super::renames::Renames;
use super::shelf::read;
use super::{Quarantine, Taken, Ticket};
use crate::provider::ProviderError;

impl Quarantine {
    /// Finishes what can be finished; `may_judge`: whether what is at a path is what was there when it began.
    pub(in crate::provider::files) fn settle(
        &mut self,
        looker: &mut Looker,
        may_judge: &mut dyn FnMut(&ResourceKey, &[u8]) -> bool,
    ) {
        let pending: Vec<_> = self
            .items
            .iter()
            .filter_map(|(number, item)| Some((*number, item.aside.clone()?)))
            .collect();
        for (number, aside) in pending {
            let Ok(Some(manifest)) = read(&self.manifest_path(number)) else { continue };
            let Ok(key) = manifest.key.parse::<ResourceKey>() else { continue };
            if !may_judge(&key, &aside) {
                continue;
            }
            if let Err(error) = self.settle_one(number, &key, &aside, looker) {
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(%key, cause, "what an interrupted undo left is not settled yet: {error}");
            }
        }
    }

    fn settle_one(
        &mut self,
        number: u64,
        key: &ResourceKey,
        aside: &[u8],
        looker: &mut Looker,
    ) -> Result<(), ProviderError> {
        let failed =
            |error: io::Error| ProviderError::io("settle", super::order::shown(aside), error);
        let manifest = read(&self.manifest_path(number)).map_err(failed)?;
        let successor = manifest.and_then(|manifest| manifest.successor);
        let place = match Place::find(aside) {
            Ok(place) => place,
            Err(Unreached::Missing(_) | Unreached::NotFolder(_)) => {
                self.nothing_aside(number);
                return Ok(());
            }
            Err(Unreached::Failed(error)) => return Err(failed(error)),
        };
        let name = place.name.clone();
        let Some(stat) = place.stat().map_err(failed)? else {
            self.nothing_aside(number);
            return Ok(());
        };
        let flags = if is_folder(&stat) { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let remove = || {
            rustix::fs::unlinkat(&place.folder, &*name, flags).map_err(|errno| failed(errno.into()))
        };
        if successor.is_some_and(|new| new.is_at(&place, &name).unwrap_or(false)) {
            remove()?;
            self.nothing_aside(number);
            return Ok(());
        }
        let Some(path) = key.file_path() else { return Ok(()) };
        let own = path.file_name().map(std::os::unix::ffi::OsStrExt::as_bytes);
        let own = CString::new(own.unwrap_or_default()).map_err(|e| failed(io::Error::other(e)))?;
        if place::stat(&place.folder, &own).map_err(failed)?.is_none() {
            Renames::ALL.put_where_nothing_is(&place, &name, &own).map_err(failed)?;
            made::sync(std::os::fd::AsFd::as_fd(&place.folder)).map_err(failed)?;
            tracing::warn!(%key, "an interrupted undo had moved it aside: it is back");
            self.nothing_aside(number);
            return Ok(());
        }
        if is_folder(&stat) {
            remove()?;
            self.nothing_aside(number);
            return Ok(());
        }
        // It may have been written to since the manifest was: what it is now is what is kept.
        let at = Where {
            folder: std::os::fd::AsFd::as_fd(&place.folder),
            name: &name,
            is_open: true,
            key,
        };
        let Some(seen) = looker.look(&at, false).map_err(failed)? else { return Ok(()) };
        let before = self.items.remove(&number);
        let begun = self.begin(key, &seen, aside, None);
        let ticket: Ticket = match begun {
            Ok(ticket) => ticket,
            Err(error) => {
                self.items.extend(before.map(|before| (number, before)));
                return Err(error);
            }
        };
        if ticket.number != number {
            let _best = std::fs::remove_file(self.manifest_path(number));
        }
        match self.take(&ticket, &place, &name, &seen).map_err(failed)? {
            Taken::Kept => {
                tracing::info!(%key, "what an interrupted undo replaced is in the quarantine")
            }
            Taken::Differs | Taken::InUse => {
                tracing::info!(%key, "what an interrupted undo replaced is in use; it stays aside");
            }
        }
        Ok(())
    }

    /// Nothing is aside: the file is here, or where it always was.
    fn nothing_aside(&mut self, number: u64) {
        let has_data = self
            .items
            .get(&number)
            .is_some_and(|item| item.data.as_ref().is_none_or(|data| self.data.contains_key(data)));
        if !has_data {
            self.forget(number);
        } else if let Some(item) = self.items.get_mut(&number) {
            item.aside = None;
        }
    }
}

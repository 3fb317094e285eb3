//! What an interrupted undo left aside where no scan goes: in folders that are not under watch any more, or were changed
//! only because an admin said so. A scan removes what it meets itself.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;

use pact_schemas::resource::ResourceKey;
use rustix::fs::AtFlags;

use super::made::{self, is_folder};
use super::order::{self, shown};
use super::place::{self, Place};
use super::scope::{key_of, path_of};
use super::{Files, walk};
use crate::provider::ProviderError;

impl Files {
    /// Removes files of the agent's own that were being made beside these keys, or beside folders on their way. What was
    /// replaced and is not in the quarantine yet stays: it is written down.
    pub(super) fn remove_leftovers(&mut self, keys: &BTreeSet<ResourceKey>) {
        let mut folders = BTreeSet::new();
        for path in keys.iter().filter_map(path_of) {
            let mut at = &*path;
            while let Some((folder, _)) = order::split(at) {
                if !self.scope.may_write(folder) || !folders.insert(folder.to_vec()) {
                    break;
                }
                at = folder;
            }
        }
        for folder in folders {
            if let Err(error) = self.clean(&folder) {
                tracing::warn!(folder = ?shown(&folder), "what was left there stays: {error}");
            }
        }
    }

    fn clean(&mut self, folder: &[u8]) -> Result<(), ProviderError> {
        let failed = |error| ProviderError::io("clean up", shown(folder), error);
        let Some(key) = key_of(folder) else { return Ok(()) };
        self.may_judge(&key, folder)?;
        // Any name in it: the place is its folder.
        let Ok(place) = Place::find(&order::join(folder, b"any")) else { return Ok(()) };
        if !self.standing.has(&place.folder, folder).map_err(failed)? {
            return Ok(());
        }
        let opened = made::reopened(place.folder.as_fd()).map_err(failed)?;
        let names = walk::list(opened.as_fd()).map_err(|errno| failed(errno.into()))?;
        let mut index = 0;
        while let Some(name) = names.get(index) {
            index += 1;
            let path = order::join(folder, name.to_bytes());
            if !self.temps.is_ours(folder, name.to_bytes()) || self.quarantine.is_pending(&path) {
                continue;
            }
            let Some(stat) = place::stat(&place.folder, name).map_err(failed)? else { continue };
            let flags = if is_folder(&stat) { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            rustix::fs::unlinkat(&place.folder, name, flags)
                .map_err(|errno| failed(errno.into()))?;
        }
        Ok(())
    }
}

//! What lies in the quarantine's folder: reading it, ending what is over, counting what is there.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::manifest::{FORMAT, Manifest};
use super::{Item, KEPT_FOR, MAX_FILES, MAX_MANIFEST_BYTES, Quarantine};
use crate::durable;

impl Quarantine {
    /// Reads what is there. What was written half is removed; contents that no manifest names are counted, and stay.
    pub(super) fn load(&mut self) -> io::Result<()> {
        let mut manifests = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.rsplit_once('.') {
                Some((number, "json")) => manifests.extend(number.parse::<u64>().ok()),
                Some((_, "data")) => {
                    self.data.insert(name.into(), entry.metadata()?.len());
                }
                Some((_, "new")) => std::fs::remove_file(entry.path())?,
                _ => {}
            }
        }
        for number in manifests {
            let path = self.manifest_path(number);
            let Some(manifest) = read(&path)? else {
                tracing::warn!(?path, "a manifest of the quarantine cannot be read");
                continue;
            };
            let data = manifest.data(number);
            let aside = manifest.aside();
            let has_data = data.as_deref().is_none_or(|data| self.data.contains_key(data));
            if !has_data && aside.is_none() {
                // Nothing of it is left.
                std::fs::remove_file(&path)?;
                continue;
            }
            let (essence, removed) = (manifest.essence(), manifest.removed());
            let item = Item { essence, data: data.map(Into::into), removed, aside };
            self.items.insert(number, item);
        }
        Ok(())
    }

    /// Ends what is older than its time, as far as the time is known.
    pub(in crate::provider::files) fn prune(&mut self) {
        let Some(now) = (self.now)() else { return };
        let mut over = Vec::new();
        let mut begins = Vec::new();
        for (number, item) in &self.items {
            match item.removed {
                _ if self.is_only_aside(item) => {}
                Some(removed) if removed <= now => {
                    if removed.checked_add(KEPT_FOR).is_some_and(|end| end < now) {
                        over.push(*number);
                    }
                }
                // Not known then, or the plane's time was corrected since: its week begins now.
                _ => begins.push(*number),
            }
        }
        over.into_iter().for_each(|number| self.forget(number));
        for number in begins {
            let path = self.manifest_path(number);
            let Ok(Some(manifest)) = read(&path) else { continue };
            let manifest = Manifest {
                format: FORMAT,
                // A file of before has the name of its number.
                sha256: manifest.sha256,
                removed_unix_ns: Some(now.unix_nanos()),
                ..manifest
            };
            if let Err(error) = self.write(number, &manifest) {
                tracing::warn!(?path, "{error}");
                continue;
            }
            if let Some(item) = self.items.get_mut(&number) {
                item.removed = Some(now);
            }
        }
    }

    /// Whether its contents are nowhere but under the name aside.
    fn is_only_aside(&self, item: &Item) -> bool {
        let is_here = item.data.as_ref().is_none_or(|data| self.data.contains_key(data));
        item.aside.is_some() && !is_here
    }

    /// Removes a manifest, and its contents when no other has the same.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(item) = self.items.remove(&number) else { return };
        if let Some(data) = item.data
            && !self.items.values().any(|other| other.data.as_ref() == Some(&data))
        {
            // The data first: a manifest alone is never taken for a file.
            if self.data.remove(&data).is_some() {
                let _best = std::fs::remove_file(self.folder.join(&*data));
            }
        }
        let _best = std::fs::remove_file(self.manifest_path(number));
    }

    /// Whether one more fits; `same`: it takes the place of this one.
    pub(super) fn has_room(&self, manifest: &Manifest, same: Option<u64>) -> bool {
        let is_here = manifest.data(0).is_none_or(|data| {
            self.data.contains_key(&*data) || self.promised.contains_key(&*data)
        });
        let more = if is_here { 0 } else { manifest.size_bytes };
        let used: u64 = self.data.values().chain(self.promised.values()).sum();
        let has_number = same.is_some() || self.items.len() < MAX_FILES;
        has_number && used.saturating_add(more) <= self.limit
    }

    /// Finds out what somebody removed by hand.
    pub(super) fn reload(&mut self) {
        let folder = &self.folder;
        self.data.retain(|name, _| folder.join(&**name).exists());
        let data: BTreeSet<_> = self.data.keys().cloned().collect();
        let is_gone = |item: &Item| {
            item.aside.is_none() && item.data.as_ref().is_some_and(|name| !data.contains(name))
        };
        let gone: Vec<u64> =
            self.items.iter().filter(|(_, item)| is_gone(item)).map(|(n, _)| *n).collect();
        gone.into_iter().for_each(|number| self.forget(number));
    }
}

/// A manifest; `None`: it cannot be read as one.
pub(super) fn read(path: &Path) -> io::Result<Option<Manifest>> {
    let bytes = durable::read_bounded(path, MAX_MANIFEST_BYTES)?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).ok())
}

//! What may be judged: what is on the file system that the baseline was taken of.
//!
//! The baseline knows for each root, and for each mount point below one, which file system was there ([`Known`]). Where
//! it is another one now, or a root is not there, nothing is known of what should be: its keys are no drift, nothing is
//! written there, and everything is as before once the file system is back. A root that was not there when the baseline
//! was taken becomes part of it when it first is. A mount that goes or comes is followed with the next poll or use of a
//! key: each use asks the kernel first whether anything was mounted or unmounted.
//!
//! Known file systems are forgotten with their folder: when it is not under watch while a baseline is written, which is
//! how an admin says that another one is there to stay.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use pact_schemas::resource::ResourceKey;

use super::baseline::Baseline;
use super::mounts::{Identity, Table};
use super::order::{self, PathBytes};
use super::scope::{Scope, key_of};
use crate::boot::BootId;
use crate::provider::ProviderError;

/// Mount points that a baseline knows. Of more, the rest is left alone whenever something is mounted there.
pub(super) const MAX_KNOWN: usize = 4_096;

/// The file systems of a baseline, by where they were mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Known {
    pub(super) points: BTreeMap<PathBytes, Identity>,
}

impl Known {
    /// What was at a path; `None`: its root was not there.
    fn at(&self, path: &[u8]) -> Option<Identity> {
        let mut folder = Some(path);
        while let Some(here) = folder {
            if let Some(found) = self.points.get(&PathBytes(here.into())) {
                return Some(found.below(path.get(here.len()..).unwrap_or_default()));
            }
            folder = order::split(here).map(|(folder, _)| folder);
        }
        None
    }
}

/// The table of mounts, held against what the baseline knows.
#[derive(Debug)]
pub(super) struct Standing {
    table: Arc<Table>,
    boot: Vec<u8>,
    /// Folders that are on another file system than the baseline says, with what is to be told of it.
    elsewhere: BTreeMap<PathBytes, String>,
    /// Roots that are not there.
    missing: BTreeSet<PathBytes>,
}

impl Standing {
    /// Reads the table. Nothing is elsewhere before [`Standing::judge`].
    pub(super) fn open() -> io::Result<Self> {
        let boot = BootId::read().map_err(io::Error::other)?.to_string().into_bytes();
        let table = Arc::new(Table::read(&boot)?);
        let (elsewhere, missing) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { table, boot, elsewhere, missing })
    }

    /// As if the machine had been started again.
    #[cfg(test)]
    pub(super) fn restarted(&mut self) {
        self.boot = b"another boot".to_vec();
    }

    /// The table, as it was last read.
    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table)
    }

    /// Folders of which nothing is known, whatever is there.
    pub(super) fn unknown(&self) -> Vec<Vec<u8>> {
        self.elsewhere.keys().chain(&self.missing).map(|path| path.0.to_vec()).collect()
    }

    /// Reads the table again if something was mounted or unmounted. Whether something under watch has become another
    /// file system, or is what it was again.
    pub(super) fn refresh(
        &mut self,
        scope: &Scope,
        baseline: &Baseline,
    ) -> Result<bool, ProviderError> {
        if !self.table.is_outdated() {
            return Ok(false);
        }
        self.read_again(scope, baseline)
    }

    /// Reads the table again, whatever the kernel says of it.
    pub(super) fn read_again(
        &mut self,
        scope: &Scope,
        baseline: &Baseline,
    ) -> Result<bool, ProviderError> {
        let path = "/proc/self/mountinfo";
        let table = Table::read(&self.boot);
        self.table =
            Arc::new(table.map_err(|error| ProviderError::io("read the mounts in", path, error))?);
        self.judge(scope, baseline)
    }

    /// Holds the table against the baseline.
    pub(super) fn judge(
        &mut self,
        scope: &Scope,
        baseline: &Baseline,
    ) -> Result<bool, ProviderError> {
        let Some((known, before)) = baseline.known().zip(baseline.scope()) else {
            return Ok(false);
        };
        let mut elsewhere = BTreeMap::new();
        let mut is_news = false;
        for path in points(scope, known, &self.table) {
            let was = known.at(&path.0).filter(|_| before.covers(&path.0));
            let (Some(was), Some(is)) = (was, self.table.at(&path.0)) else { continue };
            if was.is_same(&is) {
                continue;
            }
            let why = format!(
                "is on another file system ({}) than when the baseline was taken ({})",
                is.shown(),
                was.shown()
            );
            let is_told = self.elsewhere.get(&path).is_some_and(|told| *told == why);
            if !is_told && matters(&path.0, scope, baseline)? {
                let folder = order::shown(&path.0);
                tracing::warn!(
                    ?folder,
                    "{why}: nothing in it is judged or changed until that one is back"
                );
                is_news = true;
            }
            elsewhere.insert(path, why);
        }
        for path in self.elsewhere.keys().filter(|path| !elsewhere.contains_key(*path)) {
            if matters(&path.0, scope, baseline)? {
                let folder = order::shown(&path.0);
                tracing::info!(?folder, "is on the file system of the baseline again");
                is_news = true;
            }
        }
        self.elsewhere = elsewhere;
        Ok(is_news)
    }

    /// Looks which roots are there. Whether one came since the last time.
    pub(super) fn find_roots(&mut self, scope: &Scope) -> bool {
        let mut came = false;
        for root in scope.roots() {
            let root = PathBytes(root.clone());
            let folder = order::shown(&root.0);
            if folder.symlink_metadata().is_ok() {
                came |= self.missing.remove(&root);
            } else if self.missing.insert(root) {
                tracing::warn!(
                    ?folder,
                    "a root is not there: nothing in it is judged or changed until it is"
                );
            }
        }
        came
    }

    /// Whether a path may be judged; [`ProviderError::Elsewhere`] if not.
    pub(super) fn check(
        &self,
        key: &ResourceKey,
        path: &[u8],
        known: Option<&Known>,
    ) -> Result<(), ProviderError> {
        if Self::is_new(path, known) {
            let why = "is in a root that is not part of the baseline yet".to_owned();
            return Err(elsewhere(key, path, why));
        }
        let mut folder = Some(path);
        while let Some(here) = folder {
            let at = PathBytes(here.into());
            if let Some(why) = self.elsewhere.get(&at) {
                return Err(elsewhere(key, here, why.clone()));
            }
            folder = order::split(here).map(|(folder, _)| folder);
        }
        Ok(())
    }

    /// What the next baseline is to know.
    pub(super) fn next_known(
        &self,
        scope: &Scope,
        baseline: &Baseline,
    ) -> Result<Known, ProviderError> {
        let none = Known::default();
        let (known, before) = (baseline.known(), baseline.scope());
        let mut next = Known::default();
        for path in points(scope, known.unwrap_or(&none), &self.table) {
            let is_root = scope.is_root(&path.0);
            let is_ignored = !key_of(&path.0).is_some_and(|key| scope.watches(&path.0, &key));
            let was = known.filter(|_| before.is_some_and(|before| before.covers(&path.0)));
            let was = was.and_then(|known| known.at(&path.0));
            let is = self.table.at(&path.0).filter(|_| !self.missing.contains(&path));
            let identity = match (was, is) {
                (Some(was), Some(is)) if is_ignored || was.is_same(&is) => Some(is),
                (Some(was), _) => Some(was),
                (None, is) => is,
            };
            let Some(identity) = identity else { continue };
            let says_nothing = next.at(&path.0).is_some_and(|above| above == identity);
            if (is_root || !says_nothing) && next.points.len() < MAX_KNOWN {
                next.points.insert(path, identity);
            }
        }
        Ok(next)
    }

    /// Whether a path is new to the baseline, because its root was not there when it was taken.
    pub(super) fn is_new(path: &[u8], known: Option<&Known>) -> bool {
        known.is_some_and(|known| known.at(path).is_none())
    }

    /// Whether an open folder is where the table has this path.
    pub(super) fn has(&self, folder: impl AsFd, path: &[u8]) -> io::Result<bool> {
        self.table.has(folder, path)
    }
}

/// Says that nothing is known of a key.
pub(super) fn elsewhere(key: &ResourceKey, at: &[u8], why: String) -> ProviderError {
    ProviderError::Elsewhere { key: key.clone(), at: order::shown(at), why }
}

/// Says that a key's root is not there.
pub(super) fn rootless(key: &ResourceKey, root: &[u8]) -> ProviderError {
    elsewhere(key, root, "is not there".to_owned())
}

/// Every path at which the file system may be another than above it, a folder before what is in it.
fn points(scope: &Scope, known: &Known, table: &Table) -> BTreeSet<PathBytes> {
    let of_table = scope.outermost().flat_map(|root| table.points_within(root));
    let of_known = known.points.keys().map(|path| &*path.0);
    let all = scope.roots().iter().map(|root| &**root).chain(of_table).chain(of_known);
    all.filter(|path| scope.covers(path)).map(|path| PathBytes(path.into())).collect()
}

/// Whether anybody would miss it: a root, or a folder with something of the baseline in it.
fn matters(path: &[u8], scope: &Scope, baseline: &Baseline) -> Result<bool, ProviderError> {
    if scope.is_root(path) {
        return Ok(true);
    }
    let first = baseline.stream(Some(path)).next()?;
    Ok(first.is_some_and(|(at, _)| order::is_within(&at, path)))
}

#[cfg(test)]
mod tests;

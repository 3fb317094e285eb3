//! Files that may be written by another name than the one that is looked at: those with several names, and those that are
//! declared. Each is watched itself, so that it does not matter where the other name is; what happens to it is told for
//! every name that is under watch.
//!
//! A name that is made while the agent runs tells that the file has several, not which they are: files of this inode are
//! looked for in the baseline, and among what differs from it. What remains for the next scan: a file that is not declared
//! and gets its second name outside the roots.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use pact_schemas::resource::FileKind;
use rustix::fs::Stat;

use super::baseline::Baseline;
use super::look::links_of;
use super::order::PathBytes;
use super::place::Place;
use super::record::{Print, kind_of_stat};
use super::watch::Watch;
use crate::provider::ProviderError;

/// Files that are watched themselves; changes of others by another name show in the next scan.
const MAX_FILES: usize = 10_000;
/// Names of one inode that are remembered.
const MAX_NAMES: usize = 64;
/// A search takes this part of the time: how many times as long as it took there is none after it.
const PAUSE: u32 = 20;
/// However long a search took, the next one comes this soon.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Names of one inode.
#[derive(Debug, Default)]
struct Names {
    paths: Vec<Vec<u8>>,
    /// How many it had when all of them were looked for.
    searched: u64,
}

/// A name with what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) path: &'a [u8],
    pub(super) folder: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
    pub(super) stat: &'a Stat,
}

/// Files that are watched themselves.
#[derive(Debug, Default)]
pub(super) struct Linked {
    files: BTreeMap<u64, Names>,
    /// Declared files under watch.
    declared: BTreeSet<PathBytes>,
    /// Inodes of which names may be unknown.
    unknown: BTreeSet<u64>,
    /// No search before.
    search_at: Duration,
}

impl Linked {
    /// Nothing but what is declared: a scan is about to see the rest.
    pub(super) fn fresh(&self) -> Self {
        Self { declared: self.declared.clone(), ..Self::default() }
    }

    /// Whether a file of this inode is watched itself.
    pub(super) fn has(&self, inode: u64) -> bool {
        self.files.contains_key(&inode)
    }

    /// Every name of the inode that is known.
    pub(super) fn names(&self, inode: u64) -> impl Iterator<Item = &[u8]> {
        let names = self.files.get(&inode).into_iter().flat_map(|names| &names.paths);
        names.map(Vec::as_slice)
    }

    /// What a scan has met: it meets all names.
    pub(super) fn met(&mut self, named: &Named<'_>, watch: &mut Watch) {
        if let Some(names) = self.note(named, watch) {
            names.searched = links_of(named.stat);
        }
    }

    /// What may have changed; the answer is the inode, if it is watched itself.
    pub(super) fn saw(&mut self, path: &[u8], watch: &mut Watch) -> Option<u64> {
        let place = Place::find(path).ok()?;
        let stat = place.stat().ok()??;
        let (folder, name) = (place.folder.as_fd(), place.name.as_c_str());
        let (inode, links) = (stat.st_ino, links_of(&stat));
        let names = self.note(&Named { path, folder, name, stat: &stat }, watch)?;
        // A name that is another file's by now hides that one is not known.
        names.paths.retain(|path| inode_of(path) == Some(inode));
        if names.searched < links && (names.paths.len() as u64) < links {
            self.unknown.insert(inode);
        }
        Some(inode)
    }

    /// These files are declared.
    pub(super) fn declare(&mut self, declared: BTreeSet<PathBytes>, watch: &mut Watch) {
        let before = std::mem::replace(&mut self.declared, declared);
        let new: Vec<PathBytes> = self.declared.difference(&before).cloned().collect();
        for path in new {
            self.saw(&path.0, watch);
        }
    }

    fn note(&mut self, named: &Named<'_>, watch: &mut Watch) -> Option<&mut Names> {
        let Named { path, folder, name, stat } = *named;
        let is_regular = kind_of_stat(stat) == FileKind::Regular;
        let is_meant = links_of(stat) > 1 || self.declared.contains(&PathBytes(path.into()));
        let inode = stat.st_ino;
        let has_room = self.files.len() < MAX_FILES || self.has(inode);
        if !is_regular || !is_meant || !has_room {
            return None;
        }
        watch.add_file(folder, name, inode);
        let names = self.files.entry(inode).or_default();
        if names.paths.len() < MAX_NAMES && !names.paths.iter().any(|known| known == path) {
            names.paths.push(path.to_vec());
        }
        Some(names)
    }

    /// When names are looked for next.
    pub(super) fn next(&self) -> Option<Duration> {
        (!self.unknown.is_empty()).then_some(self.search_at)
    }

    /// Looks for names that are not known, if it is time for that; the answer is whose names were looked for.
    pub(super) fn search(
        &mut self,
        differing: &BTreeSet<PathBytes>,
        baseline: &Baseline,
        watch: &mut Watch,
        clock: &pact_runtime::Clock,
    ) -> Result<BTreeSet<u64>, ProviderError> {
        let started = clock.monotonic();
        if self.unknown.is_empty() || started < self.search_at {
            return Ok(BTreeSet::new());
        }
        let unknown = std::mem::take(&mut self.unknown);
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut stream = baseline.stream(None);
        while let Some((path, record)) = stream.next()? {
            let may_be = record.print == Print::UNKNOWN || unknown.contains(&record.print.inode);
            if may_be && record.kind == FileKind::Regular {
                found.push(path);
            }
        }
        found.extend(differing.iter().map(|path| path.0.to_vec()));
        found.retain(|path| inode_of(path).is_some_and(|inode| unknown.contains(&inode)));
        for path in found {
            self.saw(&path, watch);
        }
        self.unknown.clear();
        for inode in &unknown {
            let Some(names) = self.files.get_mut(inode) else { continue };
            names.searched = names.paths.first().map_or(0, |path| links_at(path));
        }
        let now = clock.monotonic();
        self.search_at = now + now.saturating_sub(started).saturating_mul(PAUSE).min(MAX_PAUSE);
        Ok(unknown)
    }
}

fn inode_of(path: &[u8]) -> Option<u64> {
    super::print_of(path).map(|print| print.inode)
}

fn links_at(path: &[u8]) -> u64 {
    let stat = Place::find(path).ok().and_then(|place| place.stat().ok()).flatten();
    stat.map_or(0, |stat| links_of(&stat))
}

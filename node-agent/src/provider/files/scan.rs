//! A full scan: a walk of the roots beside the stream of the baseline, both in the same order, so that neither has to be
//! in memory. Files whose print is the baseline's are not read.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use pact_schemas::resource::{FileKind, ResourceKey, Value};
use rustix::fs::AtFlags;

use super::baseline::{Baseline, Stream, Writer};
use super::keep::Keep;
use super::look::{Looker, Seen, Where};
use super::names::Names;
use super::order;
use super::quarantine::Quarantine;
use super::record::{Print, Record};
use super::scope::{Scope, key_of};
use super::standing::{Known, Standing};
use super::temps::Temps;
use super::walk::{Entry, Visitor};
use super::watch::Watch;
use crate::provider::{Found, ProviderError};

/// New prints of unchanged files that one scan remembers; the next scan reads the rest again.
const MAX_REFRESHED: usize = 4_096;

/// What a scan works with.
pub(super) struct Scan<'a> {
    pub(super) scope: &'a Scope,
    /// Under what the baseline was taken; `None`: there is none, this scan takes it.
    pub(super) before: Option<Scope>,
    /// Of which file systems; `None`: the baseline does not say.
    pub(super) known: Option<&'a Known>,
    /// Folders of which nothing is known, whatever is there.
    pub(super) unknown: Vec<Vec<u8>>,
    pub(super) keep: &'a mut Keep,
    pub(super) looker: &'a mut Looker,
    pub(super) names: &'a mut Names,
    pub(super) watch: &'a mut Watch,
    pub(super) temps: &'a Temps,
    pub(super) quarantine: &'a Quarantine,
    pub(super) stream: Lookahead<'a>,
    /// A new baseline is written on the way.
    pub(super) writer: Option<Writer>,
    pub(super) found: &'a mut dyn FnMut(Found),
    pub(super) outcome: Outcome,
}

/// What a scan leaves behind.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What differs from the baseline.
    pub(super) differing: Vec<Vec<u8>>,
    /// Unchanged files with new prints.
    pub(super) refreshed: Vec<(Vec<u8>, Record)>,
    /// Names of inodes with several.
    pub(super) linked: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Folders of which nothing is known.
    pub(super) unreadable: Vec<Vec<u8>>,
    /// Files that were looked at.
    pub(super) count: u64,
}

/// The baseline's stream with its next record in hand.
pub(super) struct Lookahead<'a> {
    stream: Stream<'a>,
    next: Option<(Vec<u8>, Record)>,
}

impl<'a> Lookahead<'a> {
    pub(super) fn new(baseline: &'a Baseline) -> Result<Self, ProviderError> {
        let mut stream = baseline.stream(None);
        let next = stream.next()?;
        Ok(Self { stream, next })
    }

    fn take_if(
        &mut self,
        is_wanted: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Option<(Vec<u8>, Record)>, ProviderError> {
        if !self.next.as_ref().is_some_and(|(path, _)| is_wanted(path)) {
            return Ok(None);
        }
        Ok(std::mem::replace(&mut self.next, self.stream.next()?))
    }
}

impl Scan<'_> {
    /// Walks all roots.
    pub(super) fn run(&mut self) -> Result<(), ProviderError> {
        let scope = self.scope;
        self.outcome.unreadable.clone_from(&self.unknown);
        for root in scope.outermost() {
            if self.unknown.iter().any(|folder| order::is_within(root, folder)) {
                continue;
            }
            if !super::walk::walk(root, self)? {
                // A file system that is not mounted is no deletion of everything on it.
                self.unreadable(root, io::Error::from(io::ErrorKind::NotFound));
            }
        }
        self.pass(None)
    }

    /// Takes the baseline's records before this path: those files are not there.
    fn pass(&mut self, before: Option<&[u8]>) -> Result<(), ProviderError> {
        let is_before = |at: &[u8]| before.is_none_or(|path| order::compare(at, path).is_lt());
        while let Some((path, record)) = self.stream.take_if(is_before)? {
            let Some(key) = key_of(&path) else { continue };
            if !self.scope.may_write(&path) {
                continue;
            }
            // Of what is ignored too: it is compared with that when it is not any more.
            self.write(&path, &record)?;
            if !self.scope.watches(&path, &key) {
                continue;
            }
            let is_unknown =
                self.outcome.unreadable.iter().any(|folder| order::is_within(&path, folder));
            if !is_unknown {
                let old = record.value(self.names);
                self.differs(path, Found { key, old, new: Value::Absent });
            }
        }
        Ok(())
    }

    fn differs(&mut self, path: Vec<u8>, found: Found) {
        self.outcome.differing.push(path);
        (self.found)(found);
    }

    fn write(&mut self, path: &[u8], record: &Record) -> Result<(), ProviderError> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.push(path, record))
    }

    fn entry_with(&mut self, entry: &Entry<'_>, key: ResourceKey) -> Result<(), ProviderError> {
        self.outcome.count += 1;
        let known = self.stream.take_if(|at| at == entry.path)?.map(|(_, record)| record);
        let at =
            Where { folder: entry.folder, name: entry.name, is_open: entry.is_open, key: &key };
        if let Some(record) = &known
            && record.print == Print::of(entry.stat)
            && record.withheld == self.looker.withholds(&at, entry.stat)
        {
            return self.write(entry.path, record);
        }
        let is_new_here = known.is_none()
            && (self.before.as_ref().is_none_or(|before| !before.watches(entry.path, &key))
                || Standing::is_new(entry.path, self.known));
        let seen = match self.looker.look(&at, is_new_here) {
            Ok(Some(seen)) => seen,
            Ok(None) => return known.map_or(Ok(()), |record| self.write(entry.path, &record)),
            Err(why) => {
                self.unreadable(entry.path, why);
                return known.map_or(Ok(()), |record| self.write(entry.path, &record));
            }
        };
        match known {
            Some(record) if self.looker.is_same(&record, &seen.record) => {
                let record = Record { print: seen.record.print, ..record };
                self.write(entry.path, &record)?;
                if self.outcome.refreshed.len() < MAX_REFRESHED {
                    self.outcome.refreshed.push((entry.path.to_vec(), record));
                }
            }
            Some(record) => {
                self.write(entry.path, &record)?;
                let (old, new) = (record.value(self.names), seen.record.value(self.names));
                self.differs(entry.path.to_vec(), Found { key, old, new });
            }
            None if is_new_here => {
                keep_seen(self.keep, &seen)
                    .map_err(|error| ProviderError::io("keep", order::shown(entry.path), error))?;
                self.write(entry.path, &seen.record)?;
            }
            None => {
                let new = seen.record.value(self.names);
                self.differs(entry.path.to_vec(), Found { key, old: Value::Absent, new });
            }
        }
        Ok(())
    }
}

impl Visitor for Scan<'_> {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<bool, ProviderError> {
        if let Some((folder, name)) = order::split(entry.path)
            && self.temps.is_ours(folder, name)
        {
            // What a crash left behind: nothing but this thread makes such files. What was replaced and is not kept
            // yet is none of it.
            if self.quarantine.is_pending(entry.path) {
                return Ok(false);
            }
            let flags = if Print::of(entry.stat).mode & 0o170_000 == 0o040_000 {
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            let _best = rustix::fs::unlinkat(entry.folder, entry.name, flags);
            return Ok(false);
        }
        self.pass(Some(entry.path))?;
        if self.unknown.iter().any(|folder| *folder == entry.path) {
            return Ok(false);
        }
        let Some(key) = key_of(entry.path) else {
            tracing::debug!(path = ?order::shown(entry.path), "no key can name this file");
            return Ok(false);
        };
        let goes_in = self.scope.enters(entry.path, &key);
        if self.scope.watches(entry.path, &key) {
            remember_links(&mut self.outcome.linked, entry);
            self.entry_with(entry, key)?;
        }
        Ok(goes_in)
    }

    fn entering(&mut self, path: &[u8], folder: BorrowedFd<'_>) {
        self.watch.add(path, folder);
    }

    fn unreadable(&mut self, path: &[u8], why: io::Error) {
        tracing::warn!(path = ?order::shown(path), error = %why, "cannot be read: nothing is known of it");
        self.outcome.unreadable.push(path.to_vec());
    }

    fn crosses(&mut self, path: &[u8]) -> bool {
        let is_root = self.scope.is_root(path);
        if !is_root {
            self.outcome.unreadable.push(path.to_vec());
        }
        is_root
    }
}

/// Inodes with several names whose names are remembered; changes of others show in the next scan.
const MAX_LINKED: usize = 10_000;

/// Names of one inode that are remembered.
const MAX_NAMES: usize = 64;

/// Remembers the names of an inode that has several: a write through one changes all.
pub(super) fn remember_links(linked: &mut BTreeMap<u64, Vec<Vec<u8>>>, entry: &Entry<'_>) {
    let is_file = super::record::kind_of_stat(entry.stat) == FileKind::Regular;
    if is_file && entry.stat.st_nlink > 1 && linked.len() < MAX_LINKED {
        let names = linked.entry(entry.stat.st_ino).or_default();
        if names.len() < MAX_NAMES && !names.iter().any(|name| name == entry.path) {
            names.push(entry.path.to_vec());
        }
    }
}

/// Keeps what was seen, if it fits.
pub(super) fn keep_seen(keep: &mut Keep, seen: &Seen) -> io::Result<()> {
    let record = &seen.record;
    let is_regular = record.kind == FileKind::Regular;
    let contents = seen.contents.as_deref();
    let _fits = match (record.withheld, contents) {
        (false, Some(contents)) if is_regular => keep.put(&record.digest, &[contents])?,
        (true, Some(contents)) => {
            keep.put(&record.digest, &[&super::wanted::pack(record), contents])?
        }
        (true, None) if !is_regular => keep.put(&record.digest, &[&super::wanted::pack(record)])?,
        _ => false,
    };
    Ok(())
}

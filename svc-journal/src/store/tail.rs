//! The newest entries of the log in memory: replication and apply read them here, not from disk.

use std::collections::BTreeMap;

use crate::consensus::types::{Entry, EntryPayload};

/// Bytes of entries that are kept, unless more than that is not yet synced.
pub(crate) const MAX_TAIL_BYTES: usize = 64 * 1024 * 1024;

/// What an entry costs beside its commands.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// See the module. Its entries are contiguous and end with the log's last.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
}

fn size(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(batch) => ENTRY_OVERHEAD_BYTES + batch.bytes().len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => ENTRY_OVERHEAD_BYTES,
    }
}

impl Tail {
    /// Adds the log's new last entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += size(&entry);
        self.entries.insert(entry.log_id.index, entry);
    }

    /// Lets the oldest go that are on disk, until the bound holds.
    pub(crate) fn shrink(&mut self, synced: u64, limit: usize) {
        while self.bytes > limit {
            match self.entries.first_entry() {
                Some(oldest) if *oldest.key() <= synced => self.bytes -= size(&oldest.remove()),
                _ => return,
            }
        }
    }

    /// Forgets `since` and everything after it.
    pub(crate) fn truncate(&mut self, since: u64) {
        let gone = self.entries.split_off(&since);
        self.bytes -= gone.values().map(size).sum::<usize>();
    }

    /// Forgets everything up to `upto`.
    pub(crate) fn purge(&mut self, upto: u64) {
        let kept = self.entries.split_off(&upto.saturating_add(1));
        let gone = std::mem::replace(&mut self.entries, kept);
        self.bytes -= gone.values().map(size).sum::<usize>();
    }

    /// Index of the first entry that is here.
    pub(crate) fn first_index(&self) -> Option<u64> {
        self.entries.first_key_value().map(|(index, _)| *index)
    }

    /// Clones of the entries in `[start, end)`, stopping after `limit` bytes but not before the first.
    pub(crate) fn range(&self, start: u64, end: u64, limit: usize) -> Vec<Entry> {
        let mut taken = 0;
        let mut entries = Vec::new();
        if start >= end {
            return entries;
        }
        for entry in self.entries.range(start..end).map(|(_, entry)| entry) {
            if taken >= limit && !entries.is_empty() {
                break;
            }
            taken += size(entry);
            entries.push(entry.clone());
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use openraft::entry::RaftEntry as _;
    use openraft::testing::log_id;

    use super::*;

    fn tail(count: u64) -> Tail {
        let mut tail = Tail::default();
        (0..count).for_each(|index| tail.push(Entry::new_blank(log_id(1, 1, index))));
        tail
    }

    #[test]
    fn what_is_not_synced_is_never_let_go() {
        let mut tail = tail(10);
        tail.shrink(3, 0);
        assert_eq!(tail.first_index(), Some(4));
        tail.shrink(9, 2 * ENTRY_OVERHEAD_BYTES);
        assert_eq!(tail.first_index(), Some(8));
        tail.truncate(9);
        tail.purge(8);
        assert_eq!((tail.first_index(), tail.bytes), (None, 0));
    }

    #[test]
    fn a_limit_never_hides_the_first_entry() {
        assert_eq!(tail(5).range(2, 5, 0).len(), 1);
        assert_eq!(tail(5).range(2, 5, usize::MAX).len(), 3);
        assert!(tail(5).range(3, 3, 1).is_empty());
    }
}

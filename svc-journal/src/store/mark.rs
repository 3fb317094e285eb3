//! The mark: the last acknowledged index and vote, written beside the log and synced every 100 ms.
//!
//! A log that is shorter than its mark has lost what this member promised to keep: a restored old copy, a disk that lied about
//! a sync, a damaged WAL. Taking part again would let a majority forget committed entries, so such a member does not start.
//! Two slots are written in turn, each within one sector, so that a torn write leaves the other.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message as _;

use super::crc::{sealed, unsealed};
use crate::consensus::types::Vote;
use crate::consensus::wire;

/// Longest time by which the mark may be behind what was acknowledged.
pub(crate) const MARK_INTERVAL: Duration = Duration::from_millis(100);

const FILE: &str = "MARK";
const SLOT_BYTES: usize = 512;

#[derive(Clone, PartialEq, prost::Message)]
struct MarkRow {
    #[prost(uint64, tag = "1")]
    counter: u64,
    #[prost(uint64, optional, tag = "2")]
    last_index: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "3")]
    vote: Option<Vec<u8>>,
}

/// What the mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marked {
    /// Index of the last acknowledged entry.
    pub(crate) last_index: Option<u64>,
    /// The last acknowledged vote.
    pub(crate) vote: Option<Vote>,
}

/// The mark file of a log.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    counter: u64,
    written: Marked,
    current: Marked,
}

impl Mark {
    /// The file's path below the log's folder.
    pub(crate) fn path(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// A mark for a log that has nothing yet.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let file = super::private::file()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(Self::path(folder))?;
        let mut mark =
            Self { file, counter: 0, written: Marked::default(), current: Marked::default() };
        mark.write()?;
        super::identity::sync_folder(folder)?;
        Ok(mark)
    }

    /// The mark of an existing log; `None` when neither slot can be read.
    pub(crate) fn open(folder: &Path) -> io::Result<Option<Self>> {
        let file = File::options().read(true).write(true).open(Self::path(folder))?;
        let newest = [read_slot(&file, 0), read_slot(&file, 1)]
            .into_iter()
            .flatten()
            .max_by_key(|row| row.counter);
        let Some(row) = newest else { return Ok(None) };
        let vote = match row.vote.as_deref().map(wire::decode_vote).transpose() {
            Ok(vote) => vote,
            Err(_) => return Ok(None),
        };
        let marked = Marked { last_index: row.last_index, vote };
        Ok(Some(Self { file, counter: row.counter, written: marked, current: marked }))
    }

    /// What is acknowledged.
    pub(crate) fn current(&self) -> Marked {
        self.current
    }

    /// Takes note; [`Mark::write`] makes it durable.
    pub(crate) fn set(&mut self, marked: Marked) {
        self.current = marked;
    }

    /// Whether something is noted that is not written.
    pub(crate) fn is_behind(&self) -> bool {
        self.current != self.written
    }

    /// Writes and syncs what is noted.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        self.counter += 1;
        let row = MarkRow {
            counter: self.counter,
            last_index: self.current.last_index,
            vote: self.current.vote.as_ref().map(wire::encode_vote),
        };
        let row = sealed(&row.encode_to_vec());
        let mut slot = [0_u8; SLOT_BYTES];
        let length = u16::try_from(row.len()).map_err(io::Error::other)?;
        let bytes = length.to_be_bytes().into_iter().chain(row);
        for (place, byte) in slot.iter_mut().zip(bytes) {
            *place = byte;
        }
        self.file.write_all_at(&slot, (self.counter % 2) * SLOT_BYTES as u64)?;
        self.file.sync_data()?;
        self.written = self.current;
        Ok(())
    }
}

fn read_slot(file: &File, index: u64) -> Option<MarkRow> {
    let mut slot = [0_u8; SLOT_BYTES];
    file.read_exact_at(&mut slot, index * SLOT_BYTES as u64).ok()?;
    let (length, rest) = slot.split_first_chunk::<2>()?;
    let row = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    MarkRow::decode(unsealed(row)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut mark = Mark::create(folder.path()).unwrap();
        for index in [7, 8] {
            mark.set(Marked { last_index: Some(index), vote: Some(Vote::new(3, 1)) });
            assert!(mark.is_behind());
            mark.write().unwrap();
        }
        let newest = Mark::open(folder.path()).unwrap().unwrap();
        assert_eq!(newest.current(), mark.current());
        mark.file.write_all_at(&[0xff; 9], (mark.counter % 2) * SLOT_BYTES as u64).unwrap();
        let older = Mark::open(folder.path()).unwrap().unwrap();
        assert_eq!(older.current().last_index, Some(7));
        mark.file.set_len(0).unwrap();
        assert!(Mark::open(folder.path()).unwrap().is_none());
    }
}

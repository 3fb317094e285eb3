//! The spool's files, without tasks, clocks or network.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pact_runtime::Timestamp;
use pact_schemas::{NodeId, SpoolId, convert, v1};
use prost::Message;

use super::{Recovered, SpoolError, chunks};
use crate::durable::{self, PRIVATE, crc32};
use crate::records::{HEADER_BYTES, Records, RecordsError};

/// A segment is closed beyond this, so that what is committed can be removed in steps.
const SEGMENT_BYTES: u64 = 1024 * 1024;

/// Part of the limit that only outcomes of what already runs may use: 1/8 holds all that can run at once.
const RESERVED_PART: u64 = 8;

const ID_FILE: &str = "id";
const MARK_FILE: &str = "acked";
const SEGMENT_SUFFIX: &str = "seg";
const MARK_BYTES: usize = 12;

/// The spool on disk; one owner at a time.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    node: NodeId,
    id: SpoolId,
    limit_bytes: u64,
    /// Closed segments, oldest first, then the one that is written.
    segments: VecDeque<Segment>,
    mark: File,
    head: u64,
    committed: u64,
    recovered: Recovered,
    /// Where the event after `number` begins, as an index into `segments` and an offset.
    cursor: Option<Cursor>,
    /// A write or sync failed: what the disk holds is unknown.
    broken: bool,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    records: Records,
}

#[derive(Debug, Clone, Copy)]
struct Cursor {
    number: u64,
    segment: u64,
    offset: u64,
}

impl Store {
    /// Opens the folder, or begins a spool there with the id `fresh`.
    pub(crate) fn open(
        folder: &Path,
        node: &NodeId,
        limit_bytes: u64,
        fresh: SpoolId,
    ) -> Result<Self, SpoolError> {
        let io = |source| RecordsError::Io { path: folder.to_owned(), source };
        durable::private_folder(folder).map_err(io)?;
        let firsts = segment_numbers(folder)?;
        let id = open_id(folder, fresh, firsts.is_empty())?;
        let mark_path = folder.join(MARK_FILE);
        let mark = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE)
            .open(&mark_path)
            .map_err(|source| RecordsError::Io { path: mark_path, source })?;
        let mut store = Self {
            folder: folder.to_owned(),
            node: node.clone(),
            id,
            limit_bytes,
            segments: VecDeque::new(),
            mark,
            head: firsts.first().map_or(0, |first| first - 1),
            committed: 0,
            recovered: Recovered::default(),
            cursor: None,
            broken: false,
        };
        for (index, first) in firsts.iter().enumerate() {
            store.open_segment(*first, index + 1 < firsts.len())?;
        }
        if store.segments.is_empty() {
            store.begin_segment()?;
        }
        // Segments before the first one were removed because everything in them was committed.
        let oldest = store.segments.front().map_or(0, |segment| segment.first - 1);
        store.committed = read_mark(&store.mark).unwrap_or(0).clamp(oldest, store.head.max(oldest));
        Ok(store)
    }

    pub(crate) fn id(&self) -> &SpoolId {
        &self.id
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn node(&self) -> &NodeId {
        &self.node
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// What was in the segments found on opening.
    pub(crate) fn take_recovered(&mut self) -> Recovered {
        std::mem::take(&mut self.recovered)
    }

    /// Whether new work may be taken on.
    pub(crate) fn check_room(&self) -> Result<(), SpoolError> {
        self.fits(0, self.limit_bytes - self.limit_bytes / RESERVED_PART)
    }

    /// Writes and syncs an event; returns its number.
    pub(crate) fn append(
        &mut self,
        recorded: Timestamp,
        body: v1::node_event::Body,
    ) -> Result<u64, SpoolError> {
        if self.broken {
            return Err(SpoolError::Broken);
        }
        let number = self.head + 1;
        let event = v1::NodeEvent {
            node: self.node.to_string(),
            spool_id: self.id.to_string(),
            number,
            recorded: Some(convert::timestamp(recorded.unix_nanos())),
            body: Some(body),
        };
        let bytes = event.encode_to_vec();
        self.fits(bytes.len() as u64 + HEADER_BYTES, self.limit_bytes)?;
        match self.write(&bytes) {
            Ok(()) => {
                self.head = number;
                Ok(number)
            }
            // The file is as it was: room may come back.
            Err(error) if error.is_out_of_space() => {
                Err(SpoolError::Full { bytes: self.used_bytes(), limit: self.limit_bytes })
            }
            Err(error @ RecordsError::Size { .. }) => Err(error.into()),
            Err(error) => {
                self.broken = true;
                Err(error.into())
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RecordsError> {
        if self.segments.back().is_none_or(|active| active.records.bytes() >= SEGMENT_BYTES) {
            self.begin_segment()?;
        }
        // There is one: it was just begun.
        match self.segments.back_mut() {
            Some(active) => active.records.append(bytes).map(drop),
            None => Ok(()),
        }
    }

    /// The encoded event that follows number `number`; `None` when there is none yet, or it is gone because it is committed.
    pub(crate) fn after(&mut self, number: u64) -> Result<Option<Vec<u8>>, SpoolError> {
        if number >= self.head {
            return Ok(None);
        }
        let wanted = number + 1;
        let Some(index) = self.segments.iter().rposition(|segment| segment.first <= wanted) else {
            return Ok(None);
        };
        let Some(segment) = self.segments.get(index) else { return Ok(None) };
        let (mut at, mut offset) = match self.cursor {
            Some(cursor) if cursor.segment == segment.first && cursor.number <= wanted => {
                (cursor.number, cursor.offset)
            }
            _ => (segment.first, 0),
        };
        while let Some((body, next)) = segment.records.read(offset)? {
            if at == wanted {
                self.cursor = Some(Cursor { number: at + 1, segment: segment.first, offset: next });
                return Ok(Some(body));
            }
            (at, offset) = (at + 1, next);
        }
        Ok(None)
    }

    /// Notes that everything up to `number` is committed and removes segments that are not needed any more.
    pub(crate) fn confirm(&mut self, number: u64) -> Result<(), SpoolError> {
        let number = number.min(self.head);
        if number <= self.committed {
            return Ok(());
        }
        self.committed = number;
        let mut mark = [0; MARK_BYTES];
        let (left, right) = mark.split_at_mut(8);
        left.copy_from_slice(&number.to_be_bytes());
        right.copy_from_slice(&crc32(&[&number.to_be_bytes()]).to_be_bytes());
        let io = |path: &Path, source| RecordsError::Io { path: path.to_owned(), source };
        // Only saves repetitions after a restart, which the journal answers as done: not worth a sync.
        self.mark.write_all_at(&mark, 0).map_err(|e| io(&self.folder.join(MARK_FILE), e))?;
        while self.segments.get(1).is_some_and(|second| second.first <= number + 1) {
            if let Some(oldest) = self.segments.pop_front() {
                let path = oldest.records.path();
                std::fs::remove_file(path).map_err(|source| io(path, source))?;
            }
        }
        Ok(())
    }

    fn fits(&self, more: u64, limit: u64) -> Result<(), SpoolError> {
        let bytes = self.used_bytes();
        if bytes + more > limit { Err(SpoolError::Full { bytes, limit }) } else { Ok(()) }
    }

    /// Bytes of all segments; the newest counts only when it holds something that is not committed.
    fn used_bytes(&self) -> u64 {
        if self.committed >= self.head {
            return 0;
        }
        self.segments.iter().map(|segment| segment.records.bytes()).sum()
    }

    fn begin_segment(&mut self) -> Result<(), RecordsError> {
        let first = self.head + 1;
        let records = Records::open(&self.segment_path(first), false, |_, _| false)?;
        durable::sync_folder(&self.folder)
            .map_err(|source| RecordsError::Io { path: self.folder.clone(), source })?;
        self.segments.push_back(Segment { first, records });
        Ok(())
    }

    fn open_segment(&mut self, first: u64, whole: bool) -> Result<(), SpoolError> {
        let path = self.segment_path(first);
        if first != self.head + 1 {
            return Err(foreign(&path, "a segment before it is missing"));
        }
        let (mut head, id) = (self.head, self.id.as_str());
        let recovered = &mut self.recovered;
        let records = Records::open(&path, whole, |_, body| {
            let Ok(event) = v1::NodeEvent::decode(body) else { return false };
            head += 1;
            if let Some(v1::node_event::Body::ExecEnded(ended)) = &event.body {
                recovered.ended.insert(ended.grant_seq);
            }
            recovered.chunks.extend(chunks(&event).into_iter().map(|chunk| chunk.sha256.clone()));
            event.number == head && event.spool_id == id
        })?;
        self.head = head;
        self.segments.push_back(Segment { first, records });
        Ok(())
    }

    fn segment_path(&self, first: u64) -> PathBuf {
        self.folder.join(format!("{first:020}.{SEGMENT_SUFFIX}"))
    }
}

fn open_id(folder: &Path, fresh: SpoolId, is_new: bool) -> Result<SpoolId, SpoolError> {
    let path = folder.join(ID_FILE);
    let io = |source: io::Error| RecordsError::Io { path: path.clone(), source };
    match durable::read_bounded(&path, 64).map_err(io)? {
        Some(bytes) => {
            let text = String::from_utf8(bytes).unwrap_or_default();
            text.trim().parse().map_err(|_| foreign(&path, "32 hex digits are expected"))
        }
        None if is_new => {
            durable::replace(&path, format!("{fresh}\n").as_bytes(), PRIVATE).map_err(io)?;
            Ok(fresh)
        }
        None => Err(foreign(&path, "it is missing beside segments")),
    }
}

/// First numbers of the segments, ascending.
fn segment_numbers(folder: &Path) -> Result<Vec<u64>, SpoolError> {
    let io = |source| RecordsError::Io { path: folder.to_owned(), source };
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_none_or(|suffix| suffix != SEGMENT_SUFFIX) {
            continue;
        }
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        match number {
            Some(number) if number > 0 => numbers.push(number),
            _ => return Err(foreign(&path, "a segment is named by its first number")),
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The mark, or `None` when it was never whole.
fn read_mark(mark: &File) -> Option<u64> {
    let mut bytes = [0; MARK_BYTES];
    mark.read_exact_at(&mut bytes, 0).ok()?;
    let (number, crc) = bytes.split_first_chunk::<8>()?;
    let crc = u32::from_be_bytes(crc.try_into().ok()?);
    (crc32(&[number]) == crc).then(|| u64::from_be_bytes(*number))
}

fn foreign(path: &Path, fault: &'static str) -> SpoolError {
    SpoolError::Foreign { path: path.display().to_string(), fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
    const LIMIT: u64 = 64 * 1024 * 1024;

    fn id(digit: char) -> SpoolId {
        SpoolId::new(&digit.to_string().repeat(32)).unwrap()
    }

    fn open(folder: &Path, limit: u64) -> Result<Store, SpoolError> {
        Store::open(folder, &NodeId::new("n1").unwrap(), limit, id('a'))
    }

    fn ended(grant_seq: u64, reason: &str) -> v1::node_event::Body {
        let finished = v1::ExecFinished { reason: reason.to_owned(), ..Default::default() };
        v1::node_event::Body::ExecEnded(v1::ExecEnded { grant_seq, finished: Some(finished) })
    }

    fn numbers(store: &mut Store, mut after: u64) -> Vec<u64> {
        let mut found = Vec::new();
        while let Some(bytes) = store.after(after).unwrap() {
            after = v1::NodeEvent::decode(bytes.as_slice()).unwrap().number;
            found.push(after);
        }
        found
    }

    fn only_segment(folder: &Path) -> PathBuf {
        folder.join(format!("{:020}.seg", 1))
    }

    #[test]
    fn cut_at_any_byte_the_longest_prefix_stays_and_numbers_go_on_without_gap() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut store = open(folder, LIMIT).unwrap();
        let mut ends = vec![0];
        for seq in 1..=4 {
            assert_eq!(store.append(START, ended(seq, "x")).unwrap(), seq);
            ends.push(store.segments[0].records.bytes());
        }
        drop(store);
        let whole = std::fs::read(only_segment(folder)).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(only_segment(folder), &whole[..cut]).unwrap();
            let kept = ends.iter().filter(|end| **end > 0 && **end <= cut as u64).count() as u64;
            let mut store = open(folder, LIMIT).unwrap();
            assert_eq!(store.id(), &id('a'));
            assert_eq!(store.take_recovered().ended, (1..=kept).collect());
            assert_eq!(store.append(START, ended(9, "after the crash")).unwrap(), kept + 1);
            drop(store);
            let mut store = open(folder, LIMIT).unwrap();
            assert_eq!(numbers(&mut store, 0), (1..=kept + 1).collect::<Vec<_>>(), "cut {cut}");
        }
    }

    #[test]
    fn what_is_confirmed_is_not_sent_again_and_leaves_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut store = open(folder, LIMIT).unwrap();
        let long = "y".repeat(100_000);
        for seq in 1..=40 {
            store.append(START, ended(seq, &long)).unwrap();
        }
        assert!(store.segments.len() >= 3);
        store.confirm(25).unwrap();
        assert_eq!(numbers(&mut store, 25), (26..=40).collect::<Vec<_>>());
        // The journal may ask for what it said it had only within what is left; from 26 on all is there.
        drop(store);
        let mut store = open(folder, LIMIT).unwrap();
        assert_eq!(store.committed(), 25);
        store.confirm(40).unwrap();
        assert_eq!((store.segments.len(), store.used_bytes()), (1, 0));
        assert_eq!(store.append(START, ended(41, "")).unwrap(), 41);
        // A mark that was never written whole costs only repetitions.
        drop(store);
        std::fs::write(folder.join(MARK_FILE), b"half").unwrap();
        let mut store = open(folder, LIMIT).unwrap();
        let oldest = store.segments[0].first;
        assert_eq!(store.committed(), oldest - 1);
        assert_eq!(numbers(&mut store, oldest - 1).last(), Some(&41));
    }

    #[test]
    fn a_full_spool_refuses_new_work_before_it_refuses_outcomes() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path(), 80_000).unwrap();
        let filler = "z".repeat(1_000);
        let mut refused_work_at = None;
        let refused_at = loop {
            if refused_work_at.is_none() && store.check_room().is_err() {
                refused_work_at = Some(store.head());
            }
            match store.append(START, ended(1, &filler)) {
                Ok(_) => {}
                Err(SpoolError::Full { .. }) => break store.head(),
                Err(other) => panic!("{other}"),
            }
        };
        assert!(refused_work_at.unwrap() < refused_at);
        assert_eq!(numbers(&mut store, 0).len() as u64, refused_at);
        store.confirm(refused_at).unwrap();
        store.check_room().unwrap();
        store.append(START, ended(1, &filler)).unwrap();
    }

    #[test]
    fn damage_missing_segments_and_a_missing_id_stop_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut store = open(folder, LIMIT).unwrap();
        for seq in 1..=3 {
            store.append(START, ended(seq, "x")).unwrap();
        }
        drop(store);
        let whole = std::fs::read(only_segment(folder)).unwrap();
        let mut damaged = whole.clone();
        damaged[12] ^= 1;
        std::fs::write(only_segment(folder), &damaged).unwrap();
        assert!(matches!(
            open(folder, LIMIT),
            Err(SpoolError::Records(RecordsError::Damaged { .. }))
        ));
        std::fs::write(only_segment(folder), &whole).unwrap();
        std::fs::write(folder.join(format!("{:020}.seg", 9)), b"").unwrap();
        assert!(matches!(open(folder, LIMIT), Err(SpoolError::Foreign { .. })));
        std::fs::remove_file(folder.join(format!("{:020}.seg", 9))).unwrap();
        std::fs::remove_file(folder.join(ID_FILE)).unwrap();
        assert!(matches!(open(folder, LIMIT), Err(SpoolError::Foreign { .. })));
    }
}

//! The baseline: what every file under watch was when it was first seen, or when a change of it was last accepted.
//!
//! On disk, because a hundred thousand records do not belong into the memory of a node's agent:
//! - `baseline`: frames (`frame.rs`): a header, blocks of records sorted by path, an end with the number of records.
//!   Replaced as a whole, by a file written aside. In memory: the first path of each block.
//! - `baseline.log`: the changes since, each synced before it counts. In memory as well, and merged into the next whole
//!   file. A log of another generation than the file is what a crash during the merge left behind.
//!
//! The header says which roots and which ignored patterns it was taken under: what comes under watch later is not drift
//! but becomes part of the baseline when it is first seen. After it come the file systems that the roots were on, and
//! what was mounted below them (`standing.rs`). A header of before that was recorded says nothing of them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::bytes::Reader;
use super::frame::{self, Found};
use super::order::{self, PathBytes};
use super::record::Record;
use super::scope::Scope;
use super::standing::Known;
use crate::durable;
use crate::provider::ProviderError;

mod header;
mod stream;
mod writer;

pub(super) use stream::Stream;
pub(super) use writer::Writer;

/// Types of frames.
const HEADER: u8 = 1;
const RECORDS: u8 = 2;
const END: u8 = 3;
const LOG_HEADER: u8 = 4;
const CHANGE: u8 = 5;
const MOUNT: u8 = 6;

/// Changes in the log that make the next scan write a new file: about a megabyte in memory.
const MERGE_CHANGES: usize = 4_096;

/// A block of the file.
#[derive(Debug)]
struct Block {
    first: Box<[u8]>,
    offset: u64,
    /// Of the whole frame.
    length: usize,
}

/// The whole file, opened.
#[derive(Debug)]
struct Whole {
    file: File,
    scope: Scope,
    /// `None`: the file does not say.
    known: Option<Known>,
    generation: u64,
    blocks: Vec<Block>,
}

/// What every file under watch should be.
#[derive(Debug)]
pub(super) struct Baseline {
    folder: PathBuf,
    whole: Option<Whole>,
    /// Since the whole file was written; `None`: no longer in it.
    changes: BTreeMap<PathBytes, Option<Record>>,
    log: Option<File>,
}

impl Baseline {
    /// Opens what is in the folder; an empty folder has no baseline yet.
    pub(super) fn open(folder: &Path) -> Result<Self, ProviderError> {
        let mut baseline =
            Self { folder: folder.to_owned(), whole: None, changes: BTreeMap::new(), log: None };
        let path = baseline.path();
        match File::open(&path) {
            Ok(file) => baseline.whole = Some(Whole::read(file, &path)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(baseline),
            Err(error) => return Err(ProviderError::io("open", path, error)),
        }
        baseline.read_log()?;
        Ok(baseline)
    }

    /// Under what it was taken; `None`: there is none yet.
    pub(super) fn scope(&self) -> Option<&Scope> {
        self.whole.as_ref().map(|whole| &whole.scope)
    }

    /// Of which file systems it was taken; `None`: there is none yet, or it does not say.
    pub(super) fn known(&self) -> Option<&Known> {
        self.whole.as_ref()?.known.as_ref()
    }

    /// What the file at the path should be; `None`: nothing.
    pub(super) fn get(&self, path: &[u8]) -> Result<Option<Record>, ProviderError> {
        let key = PathBytes(path.into());
        if let Some(changed) = self.changes.get(&key) {
            return Ok(changed.clone());
        }
        let Some(whole) = &self.whole else { return Ok(None) };
        let Some(index) = whole.block_of(path) else { return Ok(None) };
        let records = self.records(whole, index)?;
        Ok(records.into_iter().find(|(at, _)| at == path).map(|(_, record)| record))
    }

    /// From now on the file at this path should be this. On disk when it returns.
    pub(super) fn set(&mut self, path: &[u8], record: Option<Record>) -> Result<(), ProviderError> {
        let mut payload = Vec::new();
        put_path(path, &mut payload);
        payload.push(u8::from(record.is_some()));
        if let Some(record) = &record {
            record.encode(&mut payload);
        }
        let mut bytes = Vec::new();
        frame::write(CHANGE, &payload, &mut bytes);
        let failed = |path: PathBuf| move |error| ProviderError::io("write", path, error);
        let log_path = self.log_path();
        let log = self.log()?;
        let before = log.stream_position().map_err(failed(log_path.clone()))?;
        if let Err(error) = log.write_all(&bytes).and_then(|()| log.sync_data()) {
            // What does not count must not be read after a restart.
            let _best = log.set_len(before).and_then(|()| log.seek(SeekFrom::Start(before)));
            return Err(failed(log_path)(error));
        }
        self.changes.insert(PathBytes(path.into()), record);
        Ok(())
    }

    /// Remembers that an unchanged file has another print, until the next restart at least.
    pub(super) fn refresh(&mut self, path: &[u8], record: Record) {
        if self.changes.len() < MERGE_CHANGES {
            self.changes.insert(PathBytes(path.into()), Some(record));
        }
    }

    /// Whether a scan should write a new file on its way.
    pub(super) fn wants_rewrite(&self, scope: &Scope, known: &Known) -> bool {
        !self.scope().is_some_and(|taken| taken.is_same(scope))
            || self.known() != Some(known)
            || self.changes.len() >= MERGE_CHANGES / 2
    }

    /// All records from this path on, in order.
    pub(super) fn stream(&self, from: Option<&[u8]>) -> Stream<'_> {
        Stream::new(self, from)
    }

    /// A new file, to take the place of this one.
    pub(super) fn writer(&self, scope: &Scope, known: Known) -> Result<Writer, ProviderError> {
        let generation = self.whole.as_ref().map_or(0, |whole| whole.generation);
        Writer::new(&self.folder, scope, known, generation + 1)
    }

    /// Puts the new file in place.
    pub(super) fn replace(&mut self, writer: Writer) -> Result<(), ProviderError> {
        let whole = writer.finish(&self.path())?;
        self.whole = Some(whole);
        self.changes.clear();
        self.log = None;
        // If this fails, the generation tells that the log is an old one.
        let _best = std::fs::remove_file(self.log_path());
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.join("baseline")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("baseline.log")
    }

    fn records(
        &self,
        whole: &Whole,
        index: usize,
    ) -> Result<Vec<(Vec<u8>, Record)>, ProviderError> {
        let damaged = || ProviderError::Damaged { path: self.path() };
        let block = whole.blocks.get(index).ok_or_else(damaged)?;
        let mut bytes = vec![0; block.length];
        whole
            .file
            .read_exact_at(&mut bytes, block.offset)
            .map_err(|error| ProviderError::io("read", self.path(), error))?;
        match frame::read(&mut &*bytes) {
            Ok(Found::Frame(RECORDS, payload)) => parse_records(&payload).ok_or_else(damaged),
            _ => Err(damaged()),
        }
    }

    /// The log to append to, begun when there is none.
    fn log(&mut self) -> Result<&mut File, ProviderError> {
        let path = self.log_path();
        let generation = self.whole.as_ref().map_or(0, |whole| whole.generation);
        let log = match self.log.take() {
            Some(log) => log,
            None => begin_log(&path, generation)
                .map_err(|error| ProviderError::io("write", &path, error))?,
        };
        Ok(self.log.insert(log))
    }

    fn read_log(&mut self) -> Result<(), ProviderError> {
        let path = self.log_path();
        let failed = |error| ProviderError::io("read", &path, error);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        let mut from = BufReader::new(&file);
        let mut good = 0;
        let mut is_current = false;
        loop {
            match frame::read(&mut from).map_err(failed)? {
                Found::Frame(LOG_HEADER, payload) if good == 0 => {
                    let generation = Reader::new(&payload).u64();
                    is_current = generation == self.whole.as_ref().map(|whole| whole.generation);
                }
                Found::Frame(CHANGE, payload) if good > 0 => {
                    let damaged = || ProviderError::Damaged { path: path.clone() };
                    let (at, record) = parse_change(&payload).ok_or_else(damaged)?;
                    self.changes.insert(PathBytes(at.into()), record);
                }
                Found::End => break,
                Found::Torn => {
                    file.set_len(good).map_err(failed)?;
                    break;
                }
                Found::Frame(..) | Found::Damaged => return Err(ProviderError::Damaged { path }),
            }
            good = from.stream_position().map_err(failed)?;
        }
        drop(from);
        if is_current {
            let mut file = file;
            file.seek(SeekFrom::Start(good)).map_err(failed)?;
            self.log = Some(file);
        } else {
            self.changes.clear();
        }
        Ok(())
    }
}

fn begin_log(path: &Path, generation: u64) -> io::Result<File> {
    let mut bytes = Vec::new();
    frame::write(LOG_HEADER, &generation.to_be_bytes(), &mut bytes);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(durable::PRIVATE)
        .open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), durable::sync_folder)?;
    Ok(file)
}

fn put_path(path: &[u8], out: &mut Vec<u8>) {
    // Paths that a key can name are far shorter.
    let length = u16::try_from(path.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(path.get(..usize::from(length)).unwrap_or(path));
}

fn take_path<'a>(from: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = usize::from(from.u16()?);
    from.take(length)
}

fn parse_records(payload: &[u8]) -> Option<Vec<(Vec<u8>, Record)>> {
    let mut from = Reader::new(payload);
    let mut records = Vec::new();
    while !from.is_empty() {
        let path = take_path(&mut from)?.to_vec();
        records.push((path, Record::decode(&mut from)?));
    }
    Some(records)
}

fn parse_change(payload: &[u8]) -> Option<(Vec<u8>, Option<Record>)> {
    let mut from = Reader::new(payload);
    let path = take_path(&mut from)?.to_vec();
    let record = match from.byte()? {
        0 => None,
        1 => Some(Record::decode(&mut from)?),
        _ => return None,
    };
    from.is_empty().then_some((path, record))
}

impl Whole {
    fn read(file: File, path: &Path) -> Result<Self, ProviderError> {
        let failed = |error| ProviderError::io("read", path, error);
        let damaged = || ProviderError::Damaged { path: path.to_owned() };
        let mut from = BufReader::new(&file);
        let Found::Frame(HEADER, payload) = frame::read(&mut from).map_err(failed)? else {
            return Err(damaged());
        };
        let header = header::decode(&payload).ok_or_else(damaged)?;
        let mut blocks = Vec::new();
        let mut count = 0;
        let mut offset = (frame::FRAME_HEAD_BYTES + 1 + payload.len()) as u64;
        let mut points = BTreeMap::new();
        for _ in 0..header.mounts.unwrap_or(0) {
            let Found::Frame(MOUNT, payload) = frame::read(&mut from).map_err(failed)? else {
                return Err(damaged());
            };
            let (path, identity) = header::decode_mount(&payload).ok_or_else(damaged)?;
            points.insert(PathBytes(path.into()), identity);
            offset += (frame::FRAME_HEAD_BYTES + 1 + payload.len()) as u64;
        }
        let known = header.mounts.map(|_| Known { points });
        loop {
            match frame::read(&mut from).map_err(failed)? {
                Found::Frame(RECORDS, payload) => {
                    let records = parse_records(&payload).ok_or_else(damaged)?;
                    count += records.len() as u64;
                    let first = records.into_iter().next().ok_or_else(damaged)?.0.into();
                    let length = frame::FRAME_HEAD_BYTES + 1 + payload.len();
                    blocks.push(Block { first, offset, length });
                    offset += length as u64;
                }
                Found::Frame(END, payload) if Reader::new(&payload).u64() == Some(count) => break,
                _ => return Err(damaged()),
            }
        }
        drop(from);
        let (scope, generation) = (header.scope, header.generation);
        Ok(Self { file, scope, known, generation, blocks })
    }

    /// The only block that can hold the path.
    fn block_of(&self, path: &[u8]) -> Option<usize> {
        let after = self.blocks.partition_point(|block| order::compare(&block.first, path).is_le());
        after.checked_sub(1)
    }
}

#[cfg(test)]
mod tests;

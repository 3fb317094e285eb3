//! openraft's log on `raft/`: reads from memory or disk, writes through the one thread.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use pact_runtime::Clock;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode,
    Direction, IteratorMode, Options,
};
use tokio::sync::oneshot;

use super::crc::{sealed, unsealed};
use super::fatal::OrFatal;
use super::mark::Mark;
use super::private;
use super::rows::{COMMITTED, LOG, META, OpenError, PURGED, VOTE, log_entry, log_index, log_key};
use super::state::StateCell;
use super::tail::Tail;
use super::writer::{Write, Writer};
use crate::consensus::types::{Entry, LogId, StorageError, TypeConfig, Vote};
use crate::consensus::wire;

/// Bytes of entries that one replication call carries: far below the 32 MiB of a message, quick enough for its 200 ms.
const MAX_REPLICATED_BYTES: usize = 4 * 1024 * 1024;
/// The log is read from memory; its cache only helps members that catch up.
const BLOCK_CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Bytes in memory before a flush; two of them exist at most.
const WRITE_BUFFER_BYTES: usize = 16 * 1024 * 1024;

/// The log of a member. Clones are one log.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    writer: Writer,
    /// The state that must be durable before the log is purged; none in the conformance suite, which applies nothing.
    state: Option<Arc<StateCell>>,
}

struct Shared {
    db: Arc<DB>,
    path: PathBuf,
    tail: Arc<Mutex<Tail>>,
    ends: Mutex<Ends>,
}

#[derive(Debug, Clone, Default)]
struct Ends {
    last: Option<LogId>,
    purged: Option<LogId>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogStore {
    /// Opens the log in this folder, or makes an empty one.
    ///
    /// # Errors
    /// [`OpenError`] when it is damaged or shorter than its mark says.
    pub(crate) fn open(
        path: &Path,
        state: Option<Arc<StateCell>>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let exists = path.join("CURRENT").exists();
        if exists && !Mark::path(path).exists() {
            return Err(OpenError::Missing { path: Mark::path(path) });
        }
        private::make_folder(path).map_err(io)?;
        let db = open_database(path)?;
        let mark = if exists {
            let damaged =
                || OpenError::Damaged { path: Mark::path(path), what: "the mark".to_owned() };
            Mark::open(path).map_err(io)?.ok_or_else(damaged)?
        } else {
            Mark::create(path).map_err(io)?
        };
        let ends = read_ends(&db, path)?;
        check_mark(&db, path, &ends, &mark)?;
        let db = Arc::new(db);
        let tail = Arc::new(Mutex::new(Tail::default()));
        let writer = Writer::start(Arc::clone(&db), Arc::clone(&tail), mark, clock).map_err(io)?;
        let shared = Shared { db, path: path.to_owned(), tail, ends: Mutex::new(ends) };
        Ok(Self { shared: Arc::new(shared), writer, state })
    }

    /// Whether this member has ever voted or followed a leader.
    pub(crate) fn is_pristine(&self) -> Result<bool, OpenError> {
        read_meta(&self.shared.db, &self.shared.path, VOTE).map(|row| row.is_none())
    }

    /// Index of its last entry.
    pub(crate) fn last_index(&self) -> Option<u64> {
        lock(&self.shared.ends).last.map(|last| last.index)
    }

    /// Bytes of the log on disk, about.
    pub(crate) fn size_bytes(&self) -> u64 {
        let sizes = ["rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables"];
        let log = self.shared.db.cf_handle(LOG).or_fatal("raft/ has no column family for its log");
        sizes
            .iter()
            .filter_map(|name| self.shared.db.property_int_value_cf(log, *name).ok().flatten())
            .sum()
    }

    /// Damages a row, as a failing disk would.
    #[cfg(test)]
    pub(super) fn overwrite_for_test(&self, index: u64, row: &[u8]) {
        let log = self.shared.db.cf_handle(LOG).unwrap();
        self.shared.db.put_cf(log, log_key(index), row).unwrap();
    }

    /// Loses a row, as a failing disk would.
    #[cfg(test)]
    pub(super) fn delete_for_test(&self, index: u64) {
        let log = self.shared.db.cf_handle(LOG).unwrap();
        self.shared.db.delete_cf(log, log_key(index)).unwrap();
    }

    /// Entries in `[start, end)`, from memory where they are there, else from disk.
    fn read(&self, start: u64, end: u64, limit: usize) -> Vec<Entry> {
        let end =
            end.min(lock(&self.shared.ends).last.map_or(0, |last| last.index.saturating_add(1)));
        if start >= end {
            return Vec::new();
        }
        let (in_memory, mut newer) = {
            let tail = lock(&self.shared.tail);
            let first = tail.first_index().unwrap_or(u64::MAX).min(end);
            (first, tail.range(first.max(start), end, limit))
        };
        if start >= in_memory {
            return newer;
        }
        let mut entries = self.read_disk(start, in_memory, limit);
        // Nothing on disk before it: the log begins in memory. Cut at the limit: what follows must not be glued on.
        if entries.last().is_none_or(|last| last.log_id.index + 1 == in_memory) {
            entries.append(&mut newer);
        }
        entries
    }

    fn read_disk(&self, start: u64, end: u64, limit: usize) -> Vec<Entry> {
        let log = self.shared.db.cf_handle(LOG).or_fatal("raft/ has no column family for its log");
        let mode = IteratorMode::From(&log_key(start), Direction::Forward);
        let mut entries = Vec::new();
        let mut bytes = 0;
        for row in self.shared.db.iterator_cf(log, mode) {
            let (key, row) = row.or_fatal("the log cannot be read");
            if log_index(&key).is_none_or(|index| index >= end)
                || (bytes >= limit && !entries.is_empty())
            {
                break;
            }
            bytes += row.len();
            entries.push(log_entry(&key, &row).or_fatal("a row of the log"));
        }
        entries
    }
}

fn open_database(path: &Path) -> Result<DB, OpenError> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // The tail may end in rows that were never acknowledged; damage before it is an error, and a cut is seen by the mark.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_keep_log_file_num(2);
    options.set_max_background_jobs(2);
    options.set_stats_dump_period_sec(0);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE_BYTES));
    let mut family = Options::default();
    family.set_write_buffer_size(WRITE_BUFFER_BYTES);
    family.set_block_based_table_factory(&table);
    family.set_compression_type(DBCompressionType::Lz4);
    let families = [LOG, META].map(|name| ColumnFamilyDescriptor::new(name, family.clone()));
    DB::open_cf_descriptors(&options, path, families)
        .map_err(|source| OpenError::Database { path: path.to_owned(), source })
}

fn read_meta(db: &DB, path: &Path, key: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
    let damaged = || OpenError::Damaged {
        path: path.to_owned(),
        what: String::from_utf8_lossy(key).into_owned(),
    };
    let meta = db.cf_handle(META).ok_or_else(damaged)?;
    let row = db
        .get_cf(meta, key)
        .map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
    row.map(|row| unsealed(&row).map(<[u8]>::to_vec).ok_or_else(damaged)).transpose()
}

/// Checks every row of the log, and that there is no hole: at most what one snapshot interval keeps.
fn read_ends(db: &DB, path: &Path) -> Result<Ends, OpenError> {
    let damaged = |what: String| OpenError::Damaged { path: path.to_owned(), what };
    let purged = match read_meta(db, path, PURGED)? {
        Some(row) => Some(wire::decode_log_id(&row).map_err(|e| damaged(e.to_string()))?),
        None => None,
    };
    let log = db.cf_handle(LOG).ok_or_else(|| damaged(LOG.to_owned()))?;
    let mut last: Option<LogId> = None;
    for row in db.iterator_cf(log, IteratorMode::Start) {
        let (key, row) =
            row.map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
        let name = || format!("log entry {}", log_index(&key).unwrap_or(0));
        let entry = log_entry(&key, &row).ok_or_else(|| damaged(name()))?;
        // The first row follows what was purged, in the same write; every other one its neighbour.
        let before = last.or(purged).map(|before| before.index);
        if entry.log_id.index != before.map_or(0, |before| before + 1) {
            return Err(damaged(format!("what is before {}", name())));
        }
        last = Some(entry.log_id);
    }
    Ok(Ends { last: last.max(purged), purged })
}

fn check_mark(db: &DB, path: &Path, ends: &Ends, mark: &Mark) -> Result<(), OpenError> {
    let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
    let marked = mark.current();
    if ends.last.map(|last| last.index) < marked.last_index {
        return Err(OpenError::ShorterThanMark {
            path: path.to_owned(),
            found: shown(ends.last.map(|last| format!("index {}", last.index))),
            marked: shown(marked.last_index.map(|index| format!("index {index}"))),
        });
    }
    let damaged = |_| OpenError::Damaged { path: path.to_owned(), what: "the vote".to_owned() };
    let vote = read_meta(db, path, VOTE)?
        .map(|row| wire::decode_vote(&row))
        .transpose()
        .map_err(damaged)?;
    if marked.vote.is_some() && vote < marked.vote {
        return Err(OpenError::ShorterThanMark {
            path: path.to_owned(),
            found: shown(vote.map(|vote| format!("vote {vote}"))),
            marked: shown(marked.vote.map(|vote| format!("vote {vote}"))),
        });
    }
    Ok(())
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let (start, end) = bounds(&range);
        Ok(self.read(start, end, usize::MAX))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        Ok(self.read(start, end, MAX_REPLICATED_BYTES))
    }
}

/// The answer of the writer's thread.
async fn answered(done: oneshot::Receiver<()>) {
    done.await.or_fatal("the log's writer is gone");
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let ends = lock(&self.shared.ends).clone();
        Ok(LogState { last_purged_log_id: ends.purged, last_log_id: ends.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let (done, wait) = oneshot::channel();
        self.writer.send(Write::Vote { vote: *vote, row: sealed(&wire::encode_vote(vote)), done });
        answered(wait).await;
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let row =
            read_meta(&self.shared.db, &self.shared.path, VOTE).or_fatal("the vote cannot be read");
        Ok(row.map(|row| wire::decode_vote(&row).or_fatal("the vote")))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        if let Some(committed) = committed {
            self.writer.send(Write::Committed { row: sealed(&wire::encode_log_id(&committed)) });
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let row = read_meta(&self.shared.db, &self.shared.path, COMMITTED)
            .or_fatal("the commit mark cannot be read");
        let committed = row.map(|row| wire::decode_log_id(&row).or_fatal("the commit mark"));
        // The hint is not synced with the log: it may name entries that a truncation or a crash took away.
        let last = lock(&self.shared.ends).last;
        Ok(committed.filter(|committed| Some(*committed) <= last))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        done: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut rows = Vec::new();
        let mut last = None;
        {
            let mut tail = lock(&self.shared.tail);
            for entry in entries {
                rows.push((entry.log_id.index, sealed(&wire::encode_entry(&entry))));
                last = Some(entry.log_id);
                tail.push(entry);
            }
        }
        let Some(last) = last else {
            done.log_io_completed(Ok::<(), io::Error>(()));
            return Ok(());
        };
        lock(&self.shared.ends).last = Some(last);
        self.writer.send(Write::Append { rows, last_index: last.index, done });
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        let before = match since.index.checked_sub(1) {
            Some(index) => {
                self.read(index, since.index, usize::MAX).first().map(|entry| entry.log_id)
            }
            None => None,
        };
        {
            let mut ends = lock(&self.shared.ends);
            ends.last = before.max(ends.purged);
        }
        lock(&self.shared.tail).truncate(since.index);
        let (done, wait) = oneshot::channel();
        self.writer.send(Write::Truncate { since: since.index, done });
        answered(wait).await;
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        if let Some(state) = &self.state {
            state.applied_durably(upto.index).await;
        }
        {
            let mut ends = lock(&self.shared.ends);
            ends.purged = ends.purged.max(Some(upto));
            ends.last = ends.last.max(Some(upto));
        }
        lock(&self.shared.tail).purge(upto.index);
        let (done, wait) = oneshot::channel();
        self.writer.send(Write::Purge {
            upto: upto.index,
            row: sealed(&wire::encode_log_id(&upto)),
            done,
        });
        answered(wait).await;
        Ok(())
    }
}

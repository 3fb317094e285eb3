//! The one thread that writes the log.
//!
//! Votes, appends, truncations and purges come through one queue. The thread takes what is there, writes it as one batch with
//! one sync, and answers in the order in which it was asked. While it syncs, the next batch gathers.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::storage::LogFlushed;
use pact_runtime::Clock;
use rocksdb::{DB, WriteBatch, WriteOptions};
use tokio::sync::oneshot;

use super::fatal::{OrFatal, fatal};
use super::mark::{MARK_INTERVAL, Mark, Marked};
use super::rows::{COMMITTED, LOG, META, PURGED, VOTE, log_key};
use super::tail::{MAX_TAIL_BYTES, Tail};
use crate::consensus::types::{TypeConfig, Vote};

/// Requests that wait. openraft has one append and one vote under way at a time; the rest are unsynced commit marks.
const QUEUE: usize = 256;
/// Requests of one batch, so that no caller waits for an endless one.
const MAX_DRAINED: usize = 128;

/// One request to the thread. Rows are sealed.
pub(crate) enum Write {
    /// Durable before it is answered.
    Vote { vote: Vote, row: Vec<u8>, done: oneshot::Sender<()> },
    /// Durable before the callback.
    Append { rows: Vec<(u64, Vec<u8>)>, last_index: u64, done: LogFlushed<TypeConfig> },
    /// Removes this index and everything after it.
    Truncate { since: u64, done: oneshot::Sender<()> },
    /// Removes everything up to this index.
    Purge { upto: u64, row: Vec<u8>, done: oneshot::Sender<()> },
    /// A hint for the next start: not synced, not answered.
    Committed { row: Vec<u8> },
}

enum Done {
    Flushed(LogFlushed<TypeConfig>),
    Answered(oneshot::Sender<()>),
}

/// The queue's end for callers. The thread ends, with its mark written, when the last clone is gone.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: Arc<Queue>,
}

struct Queue {
    sender: Option<SyncSender<Write>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Queue {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // The database is closed when this returns, so that the folder can be opened again.
            thread.join().map_err(|_| "it panicked").or_fatal("the log's writer ended badly");
        }
    }
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        db: Arc<DB>,
        tail: Arc<Mutex<Tail>>,
        mark: Mark,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let marked_at = clock.monotonic();
        let thread = Thread { db, tail, mark, clock, marked_at };
        let thread = std::thread::Builder::new()
            .name("journal-log".to_owned())
            .spawn(move || thread.run(&receiver))?;
        Ok(Self { queue: Arc::new(Queue { sender: Some(sender), thread: Some(thread) }) })
    }

    /// Hands a request over. Blocks only when [`QUEUE`] requests wait, which openraft's own discipline excludes.
    pub(crate) fn send(&self, write: Write) {
        let sent = self.queue.sender.as_ref().map(|sender| sender.send(write).is_ok());
        if sent != Some(true) {
            fatal("the log's writer is gone", &"its queue is closed");
        }
    }
}

struct Thread {
    db: Arc<DB>,
    tail: Arc<Mutex<Tail>>,
    mark: Mark,
    clock: Clock,
    marked_at: Duration,
}

impl Thread {
    fn run(mut self, queue: &Receiver<Write>) {
        while let Some(first) = self.next(queue) {
            let mut writes = vec![first];
            while writes.len() < MAX_DRAINED {
                match queue.try_recv() {
                    Ok(write) => writes.push(write),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.write(writes);
        }
        self.write_mark();
    }

    /// The next request; writes the mark when none comes for a while. `None` at the end.
    fn next(&mut self, queue: &Receiver<Write>) -> Option<Write> {
        if !self.mark.is_behind() {
            return queue.recv().ok();
        }
        match queue.recv_timeout(MARK_INTERVAL) {
            Ok(write) => Some(write),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                self.write_mark();
                queue.recv().ok()
            }
        }
    }

    fn write(&mut self, writes: Vec<Write>) {
        let log = self.db.cf_handle(LOG).or_fatal("raft/ has no column family for its log");
        let meta = self.db.cf_handle(META).or_fatal("raft/ has no column family for its meta rows");
        let mut batch = WriteBatch::default();
        let mut done = Vec::new();
        let mut marked = self.mark.current();
        let mut lowest = marked.last_index;
        for write in writes {
            match write {
                Write::Vote { vote, row, done: caller } => {
                    batch.put_cf(meta, VOTE, row);
                    marked.vote = Some(vote);
                    done.push(Done::Answered(caller));
                }
                Write::Append { rows, last_index, done: caller } => {
                    rows.iter().for_each(|(index, row)| batch.put_cf(log, log_key(*index), row));
                    marked.last_index = Some(last_index);
                    done.push(Done::Flushed(caller));
                }
                Write::Truncate { since, done: caller } => {
                    batch.delete_range_cf(log, log_key(since), log_key(u64::MAX));
                    marked.last_index = since.checked_sub(1);
                    lowest = lowest.min(marked.last_index);
                    done.push(Done::Answered(caller));
                }
                Write::Purge { upto, row, done: caller } => {
                    batch.delete_range_cf(log, log_key(0), log_key(upto.saturating_add(1)));
                    batch.put_cf(meta, PURGED, row);
                    marked.last_index = marked.last_index.max(Some(upto));
                    done.push(Done::Answered(caller));
                }
                Write::Committed { row } => batch.put_cf(meta, COMMITTED, row),
            }
        }
        self.lower_mark(lowest);
        let mut options = WriteOptions::default();
        options.set_sync(!done.is_empty());
        self.db.write_opt(batch, &options).or_fatal("the log cannot be written");
        self.acknowledge(done, marked);
    }

    /// Before entries go, the mark must not claim them any more: a crash in between would look like a loss.
    fn lower_mark(&mut self, lowest: Option<u64>) {
        let current = self.mark.current();
        if lowest < current.last_index {
            self.mark.set(Marked { last_index: lowest, ..current });
            self.write_mark();
        }
    }

    fn acknowledge(&mut self, done: Vec<Done>, marked: Marked) {
        self.mark.set(marked);
        for done in done {
            match done {
                Done::Flushed(caller) => caller.log_io_completed(Ok(())),
                // A caller that is gone asked for it to be done, not to be told.
                Done::Answered(caller) => drop(caller.send(())),
            }
        }
        if let Some(synced) = marked.last_index {
            self.tail.lock().unwrap_or_else(PoisonError::into_inner).shrink(synced, MAX_TAIL_BYTES);
        }
        if self.clock.monotonic().saturating_sub(self.marked_at) >= MARK_INTERVAL {
            self.write_mark();
        }
    }

    fn write_mark(&mut self) {
        self.marked_at = self.clock.monotonic();
        if self.mark.is_behind() {
            self.mark.write().or_fatal("the log's mark cannot be written");
        }
    }
}

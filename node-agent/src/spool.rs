//! Numbered events that are kept on disk until the journal says that they are committed.
//!
//! ```text
//! spool/id          32 hex digits, random, for as long as this folder lives
//! spool/<n>.seg     records (records.rs), body = encoded NodeEvent; n = number of the first, 20 digits
//! spool/acked       number | CRC-32: everything up to it is committed; only a hint, never synced
//! ```
//!
//! Numbers start at 1 and have no gap. An event counts as spooled when it is synced. The newest segment is never removed,
//! so that what was spooled shortly before a crash can still be recognised ([`Recovered`]).
//! A full spool refuses; it never drops an event that the journal does not have.

mod anew;
mod sender;
mod store;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pact_runtime::{CancellationToken, Clock, Timestamp};
use pact_schemas::{NodeId, SpoolId, v1};
use tokio::sync::watch;

use crate::durable::hex;
use crate::owner::{Owner, OwnerGone};
use crate::records::RecordsError;

pub(crate) use sender::run as send;
pub(crate) use store::Store;

/// Bytes that the segments may take before new work is refused.
pub(crate) const DEFAULT_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// Why an event is not spooled, or the spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// No room until the journal confirms what is there.
    #[error(
        "the spool holds {bytes} bytes that the journal has not confirmed yet; its limit is {limit}"
    )]
    Full {
        /// Bytes in use.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A file of the spool cannot be used.
    #[error("the spool cannot be used")]
    Records(#[from] RecordsError),
    /// A file's name or contents are none of the spool's.
    #[error("{path} is no file of this spool: {fault}")]
    Foreign {
        /// The file.
        path: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// An earlier write or sync failed; what the disk holds is unknown and nothing more is written.
    #[error("the spool failed earlier and takes nothing more until the agent is started again")]
    Broken,
    /// The thread that writes has ended.
    #[error("the spool's thread has ended")]
    Gone,
}

impl From<OwnerGone> for SpoolError {
    fn from(OwnerGone: OwnerGone) -> Self {
        Self::Gone
    }
}

/// The chunks that an event names.
pub(crate) fn chunks(event: &v1::NodeEvent) -> Vec<&v1::BlobRef> {
    use v1::node_event::Body;
    match &event.body {
        Some(Body::ExecEnded(ended)) => ended
            .finished
            .iter()
            .flat_map(|finished| &finished.output)
            .filter_map(|segment| segment.blob.as_ref())
            .collect(),
        Some(Body::CapabilityChange(change)) => change.report.iter().collect(),
        // Contents never travel with an event: what drifted is told by digest.
        Some(
            Body::DriftChanged(_)
            | Body::Converged(_)
            | Body::Deferred(_)
            | Body::ConflictChanged(_),
        )
        | None => Vec::new(),
    }
}

/// How far the spool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Number of the newest event; 0 before the first.
    pub(crate) head: u64,
    /// Every event up to this one is committed in the journal.
    pub(crate) committed: u64,
    /// Chunks that the journal has taken, since the start.
    pub(crate) chunks: u64,
}

impl Progress {
    /// Whether the journal has taken something since then, or has everything.
    const fn has_moved(&self, since: &Self) -> bool {
        self.committed != since.committed
            || self.chunks != since.chunks
            || self.head == self.committed
    }
}

/// The handle of the spool; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Spool {
    id: Arc<watch::Sender<SpoolId>>,
    store: Owner<Store>,
    progress: Arc<watch::Sender<Progress>>,
    broken: CancellationToken,
}

impl Spool {
    /// Opens the spool in a folder, or begins a new one there.
    pub(crate) fn open(
        folder: &Path,
        node: &NodeId,
        limit_bytes: u64,
        clock: &Clock,
    ) -> Result<(Self, Recovered), SpoolError> {
        let mut store = Store::open(folder, node, limit_bytes, fresh_id(clock)?)?;
        let id = Arc::new(watch::Sender::new(store.id().clone()));
        let progress = Progress { head: store.head(), committed: store.committed(), chunks: 0 };
        let recovered = store.take_recovered();
        let store = Owner::spawn("spool", store)
            .map_err(|source| RecordsError::Io { path: folder.to_owned(), source })?;
        let progress = Arc::new(watch::Sender::new(progress));
        Ok((Self { id, store, progress, broken: CancellationToken::new() }, recovered))
    }

    /// The spool's id: another folder, another id.
    pub(crate) fn id(&self) -> SpoolId {
        self.id.borrow().clone()
    }

    /// How far it is now.
    pub(crate) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Spools an event and returns its number once it is synced. `recorded` is the time that the event carries.
    pub(crate) async fn append(
        &self,
        recorded: Timestamp,
        body: v1::node_event::Body,
    ) -> Result<u64, SpoolError> {
        let number = self.store.call(move |store| store.append(recorded, body)).await?;
        let number = self.noticed(number)?;
        // Two appends may come back here in the other order.
        self.progress.send_modify(|progress| progress.head = progress.head.max(number));
        Ok(number)
    }

    /// Whether new work may be taken on: its outcome will find room.
    pub(crate) async fn check_room(&self) -> Result<(), SpoolError> {
        self.store.call(|store| store.check_room()).await?
    }

    /// Waits until the journal has this event. Cancel-safe.
    pub(crate) async fn committed(&self, number: u64) {
        let mut progress = self.progress.subscribe();
        // Cannot fail: `self` holds the sender.
        let _held = progress.wait_for(|progress| progress.committed >= number).await;
    }

    /// Waits until the journal has taken nothing for this long though there is something for it; answers how far it was then.
    /// Cancel-safe: begins anew.
    pub(crate) async fn stalled(&self, limit: Duration, clock: &Clock) -> Progress {
        let mut progress = self.progress.subscribe();
        loop {
            // Neither fails: `self` holds the sender.
            let waiting = progress.wait_for(|now| now.committed < now.head).await.map(|now| *now);
            let Ok(found) = waiting else { return std::future::pending().await };
            let moves = progress.wait_for(|now| now.has_moved(&found));
            if clock.timeout(limit, moves).await.is_err() {
                return found;
            }
        }
    }

    /// Waits until the journal has taken something since then. Cancel-safe.
    pub(crate) async fn moved(&self, since: &Progress) {
        let mut progress = self.progress.subscribe();
        // Cannot fail: `self` holds the sender.
        let _held = progress.wait_for(|now| now.has_moved(since)).await;
    }

    /// Waits until there is an event after this one. Cancel-safe.
    async fn beyond(&self, number: u64) {
        let mut progress = self.progress.subscribe();
        // Cannot fail: `self` holds the sender.
        let _held = progress.wait_for(|progress| progress.head > number).await;
    }

    /// The encoded event after this one, if there is one.
    async fn after(&self, number: u64) -> Result<Option<Vec<u8>>, SpoolError> {
        self.noticed(self.store.call(move |store| store.after(number)).await?)
    }

    /// Bodies of the events after this one that are still on disk.
    pub(crate) async fn since(
        &self,
        mut number: u64,
    ) -> Result<Vec<v1::node_event::Body>, SpoolError> {
        let mut bodies = Vec::new();
        while let Some(bytes) = self.after(number).await? {
            let event = <v1::NodeEvent as prost::Message>::decode(bytes.as_slice());
            bodies.extend(event.ok().and_then(|event| event.body));
            number += 1;
        }
        Ok(bodies)
    }

    /// Notes that the journal has taken a chunk of the next event.
    fn chunk_taken(&self) {
        self.progress.send_modify(|progress| progress.chunks += 1);
    }

    /// Notes that the journal has every event up to this one.
    async fn confirm(&self, number: u64) -> Result<(), SpoolError> {
        self.noticed(self.store.call(move |store| store.confirm(number)).await?)?;
        self.progress.send_modify(|progress| progress.committed = progress.committed.max(number));
        Ok(())
    }

    /// Whether the event with this number is still here, or is the next one.
    async fn can_go_on_from(&self, number: u64) -> Result<bool, SpoolError> {
        let head = self.progress().head;
        Ok(number == head + 1 || (number <= head && self.after(number - 1).await?.is_some()))
    }

    /// Moves what is not confirmed into a spool with a new id (see `anew`).
    async fn begin_anew(&self, clock: &Clock) -> Result<(), SpoolError> {
        let fresh = fresh_id(clock)?;
        let begun = self.store.call(move |store| {
            store.begin_anew(fresh)?;
            Ok((store.id().clone(), store.head()))
        });
        let begun = begun.await?;
        let (id, head) = self.noticed(begun)?;
        self.id.send_replace(id);
        self.progress.send_modify(|progress| (progress.head, progress.committed) = (head, 0));
        Ok(())
    }

    /// Resolves when the spool can take nothing more until the agent is started again. Cancel-safe.
    pub(crate) async fn failed(&self) -> SpoolError {
        tokio::select! {
            () = self.broken.cancelled() => SpoolError::Broken, // cancel-safe
            () = self.store.gone() => SpoolError::Gone, // cancel-safe
        }
    }

    /// Tells of an error after which nothing more may be written.
    fn noticed<T>(&self, result: Result<T, SpoolError>) -> Result<T, SpoolError> {
        if let Err(SpoolError::Records(_) | SpoolError::Broken) = &result {
            self.broken.cancel();
        }
        result
    }
}

fn fresh_id(clock: &Clock) -> Result<SpoolId, SpoolError> {
    let id = SpoolId::new(&hex(&clock.random_bytes::<16>()));
    id.map_err(|error| SpoolError::Foreign { path: error.text, fault: "no spool id could be made" })
}

/// What was found when the spool was opened.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Grants whose outcome is in a segment that is still there, committed or not.
    pub(crate) ended: BTreeSet<u64>,
    /// SHA-256 of the chunks that those events name.
    pub(crate) chunks: BTreeSet<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> v1::node_event::Body {
        v1::node_event::Body::DriftChanged(v1::DriftChanged::default())
    }

    #[tokio::test]
    async fn a_journal_that_takes_nothing_for_a_while_is_noticed() {
        const LIMIT: Duration = Duration::from_secs(3);
        let start = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
        let (clock, hand) = Clock::manual(start);
        let folder = tempfile::tempdir().unwrap();
        let node = NodeId::new("n1").unwrap();
        let (spool, _) = Spool::open(folder.path(), &node, DEFAULT_LIMIT_BYTES, &clock).unwrap();
        let watched = (spool.clone(), clock.clone());
        let stalled = tokio::spawn(async move { watched.0.stalled(LIMIT, &watched.1).await });

        // Each time there is something, it is taken just before the limit.
        for number in 1..=2 {
            assert_eq!(spool.append(start, event()).await.unwrap(), number);
            hand.wait_for_sleepers(1).await;
            hand.advance(LIMIT - Duration::from_millis(1));
            spool.confirm(number).await.unwrap();
        }
        assert!(!stalled.is_finished());

        spool.append(start, event()).await.unwrap();
        hand.wait_for_sleepers(1).await;
        // So is a chunk of an event that is longer than one message.
        hand.advance(LIMIT - Duration::from_millis(1));
        spool.chunk_taken();
        tokio::task::yield_now().await;
        hand.wait_for_sleepers(1).await;
        hand.advance(LIMIT - Duration::from_millis(1));
        tokio::task::yield_now().await;
        assert!(!stalled.is_finished());
        hand.advance(Duration::from_millis(1));
        let found = stalled.await.unwrap();
        assert_eq!((found.head, found.committed, found.chunks), (3, 2, 1));

        let waiting = tokio::spawn({
            let spool = spool.clone();
            async move { spool.moved(&found).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        spool.confirm(3).await.unwrap();
        waiting.await.unwrap();
    }
}

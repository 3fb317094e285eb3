//! openraft's state machine on `state/N`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::RaftStateMachine;
use openraft::{ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use pact_journal_core::apply::apply_batch;
use pact_journal_core::record::{Head, RequestHorizon, TreeRow};
use pact_journal_core::tree::{TILE_LEAVES, Tree};
use pact_schemas::convert::Scope;
use rocksdb::WriteBatch;

use super::commit::put_changes;
use super::fatal::{Chain, OrFatal};
use super::query;
use super::query::{read_head, read_horizon};
use super::rows::OpenError;
use super::snapshot::{self, SnapshotError, incoming};
use super::state::{Family, StateCell, StateDb, meta};
use super::view::RocksView;
use crate::consensus::folder::SnapshotFolder;
use crate::consensus::types::{
    CommandBatch, Entry, EntryPayload, LogId, Outcomes, Snapshot, SnapshotMeta, StorageError,
    StoredMembership, TypeConfig,
};
use crate::consensus::wire;

/// What is applied. Clones are one state machine.
#[derive(Clone)]
pub(crate) struct StateMachine {
    inner: Arc<Inner>,
}

struct Inner {
    cell: Arc<StateCell>,
    snapshots: PathBuf,
    counter: AtomicU64,
    position: Mutex<Position>,
    snapshot: Mutex<Option<(SnapshotMeta, SnapshotFolder)>>,
}

/// What is kept in memory of the state, for the next apply.
struct Position {
    applied: Option<LogId>,
    head: Head,
    tree: Tree,
    horizon: RequestHorizon,
    /// Whose configuration the entry that is being applied changed.
    configured: BTreeMap<Scope, u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic inside apply ends the process before anybody else takes the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last applied log id of a state.
pub(crate) fn read_applied(state: &StateDb) -> Option<LogId> {
    let row = state.get(Family::Meta, meta::APPLIED);
    row.map(|row| wire::decode_log_id(&row).or_fatal("the applied index"))
}

/// The membership of a state.
pub(crate) fn read_membership(state: &StateDb) -> StoredMembership {
    let row = state.get(Family::Meta, meta::MEMBERSHIP);
    row.map(|row| wire::decode_membership(&row).or_fatal("the membership")).unwrap_or_default()
}

fn read_position(state: &StateDb) -> Result<Position, OpenError> {
    let damaged =
        |what: &str| OpenError::Damaged { path: state.path().to_owned(), what: what.to_owned() };
    let head = read_head(state);
    let row = state.get(Family::Meta, meta::TREE);
    let row: TreeRow = row.map(|row| super::key::decoded(&row, "the tree")).unwrap_or_default();
    let tiled = head.seq - head.seq % TILE_LEAVES as u64;
    let leaves =
        query::entries_after(state, tiled).map(|(_, entry)| entry.hash.as_ref().try_into());
    let leaves = leaves
        .collect::<Result<Vec<[u8; 32]>, _>>()
        .map_err(|_| damaged("the hash of an entry"))?;
    let tree = Tree::from_row(&row, leaves).filter(|tree| tree.size() == head.seq);
    let tree = tree.ok_or_else(|| damaged("the tree over the entries"))?;
    let (applied, horizon) = (read_applied(state), read_horizon(state));
    Ok(Position { applied, head, tree, horizon, configured: BTreeMap::new() })
}

impl StateMachine {
    /// A state machine on the state in use, with its newest snapshot.
    pub(crate) fn open(cell: Arc<StateCell>, snapshots: &Path) -> Result<Self, OpenError> {
        let position = read_position(&cell.load())?;
        cell.announce(position.applied.map(|id| id.index), position.head.seq);
        let snapshot = snapshot::newest(snapshots)?;
        let newest = snapshot
            .as_ref()
            .and_then(|(meta, _)| meta.snapshot_id.rsplit('-').next()?.parse().ok());
        let inner = Inner {
            cell,
            snapshots: snapshots.to_owned(),
            counter: AtomicU64::new(newest.unwrap_or(0) + 1),
            position: Mutex::new(position),
            snapshot: Mutex::new(snapshot),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    fn apply(&self, entries: Vec<Entry>) -> Vec<Outcomes> {
        let mut position = lock(&self.position);
        let state = self.cell.load();
        entries.into_iter().map(|entry| self.apply_one(&state, &mut position, entry)).collect()
    }

    fn apply_one(&self, state: &StateDb, position: &mut Position, entry: Entry) -> Outcomes {
        let mut batch = WriteBatch::default();
        let family = state.family(Family::Meta);
        batch.put_cf(family, meta::APPLIED, wire::encode_log_id(&entry.log_id));
        let outcomes = match entry.payload {
            EntryPayload::Blank => Outcomes::default(),
            EntryPayload::Membership(membership) => {
                let stored = StoredMembership::new(Some(entry.log_id), membership);
                batch.put_cf(family, meta::MEMBERSHIP, wire::encode_membership(&stored));
                Outcomes::default()
            }
            EntryPayload::Normal(commands) => {
                apply_commands(state, position, &commands, &mut batch)
            }
        };
        state.db().write(batch).or_fatal("the state cannot be written");
        position.applied = Some(entry.log_id);
        self.cell.announce(Some(entry.log_id.index), position.head.seq);
        self.cell.announce_configured(std::mem::take(&mut position.configured));
        outcomes
    }

    fn build(&self) -> Result<Snapshot, SnapshotError> {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let (meta, folder) = snapshot::build(&self.cell.load(), &self.snapshots, None, counter)?;
        self.keep(meta.clone(), folder.clone());
        Ok(Snapshot { meta, snapshot: Box::new(folder) })
    }

    fn keep(&self, meta: SnapshotMeta, folder: SnapshotFolder) {
        if let Some((_, older)) = lock(&self.snapshot).replace((meta, folder)) {
            older.doom();
        }
    }

    fn install(&self, meta: &SnapshotMeta, arrived: &SnapshotFolder) -> Result<(), SnapshotError> {
        let mut position = lock(&self.position);
        if meta.last_log_id < position.applied {
            // Late: what came meanwhile was applied, and answered for.
            tracing::warn!(id = meta.snapshot_id, "an older snapshot than the state is left alone");
            return Ok(());
        }
        let next = snapshot::install(meta, arrived, self.cell.folder(), self.cell.number() + 1)?;
        *position = read_position(&next).map_err(SnapshotError::Open)?;
        self.cell.swap(next);
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let (built, folder) =
            snapshot::build(&self.cell.load(), &self.snapshots, Some(&meta.snapshot_id), counter)?;
        self.keep(built, folder);
        self.cell.announce(position.applied.map(|id| id.index), position.head.seq);
        Ok(())
    }
}

fn apply_commands(
    state: &StateDb,
    position: &mut Position,
    commands: &CommandBatch,
    batch: &mut WriteBatch,
) -> Outcomes {
    let commands =
        commands.decode().or_fatal("a committed batch of commands does not decode").commands;
    let view =
        RocksView { state, head: position.head, tree: &position.tree, horizon: position.horizon };
    let applied = apply_batch(&view, &commands).or_fatal("a committed command cannot be applied");
    put_changes(state, batch, &applied);
    position.head = applied.head;
    position.horizon = applied.changes.horizon.unwrap_or(position.horizon);
    position.tree = applied.tree;
    position.configured = applied.changes.configured;
    Outcomes(applied.outcomes)
}

/// Runs blocking work; a panic in it ends the process, because the state may be half changed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.or_fatal("work on the state ended badly")
}

fn failed(verb: ErrorVerb, error: SnapshotError) -> StorageError {
    let error = io::Error::from(error);
    StorageIOError::new(ErrorSubject::Snapshot(None), verb, openraft::AnyError::new(&error)).into()
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let state = self.inner.cell.load();
        Ok((read_applied(&state), read_membership(&state)))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcomes>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let inner = Arc::clone(&self.inner);
        Ok(blocking(move || inner.apply(entries)).await)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFolder>, StorageError> {
        let path = self.inner.cell.folder().join(format!("{}.tmp", self.inner.cell.number() + 1));
        let opened = incoming(path.clone()).map_err(|source| SnapshotError::Io { path, source });
        opened.map(Box::new).map_err(|error| failed(ErrorVerb::Write, error))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotFolder>,
    ) -> Result<(), StorageError> {
        let (inner, meta) = (Arc::clone(&self.inner), meta.clone());
        // openraft would stop applying and leave the member standing there; after a restart it asks for the snapshot again.
        let installed = blocking(move || inner.install(&meta, &snapshot)).await;
        installed.map_err(Chain).or_fatal("a snapshot of the leader cannot be installed");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let current = lock(&self.inner.snapshot).clone();
        Ok(current.map(|(meta, folder)| Snapshot { meta, snapshot: Box::new(folder) }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.build()).await.map_err(|error| failed(ErrorVerb::Read, error))
    }
}

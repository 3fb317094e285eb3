//! `state/N`: everything that is applied.
//!
//! ```text
//! column family   key                                        → value
//! entries         first sequence (8, big endian)             → StoredBatch: the entries of one Raft entry
//! postings        'n' node 00 first sequence (8)             → sequences as u32 offsets from the first
//!                 'v' vCluster 00 first sequence (8)         → the same
//!                 'g' first sequence (8)                     → the same
//!                 'o' parent sequence (8) sequence (8)       → (empty): an outcome of the parent
//!                 'f' parent sequence (8) node               → sequence (8): the outcome of this node
//! requests        request id (16 bytes, in time order)       → RequestMemory
//! declared        see `declared.rs`: scope / key / sequence and their indexes
//! blobs           sha256 (32)                                → size (4, big endian) ‖ zstd
//!                 sha256 (32) 'n' node                       → (empty): this node has sent it
//!                 sha256 (32) 'g'                            → (empty): a gateway has
//! nodes           'r' node                                   → NodeRecord
//!                 'h' hardware id                            → node
//!                 's' node 00 spool id                       → last committed number (8)
//!                 'u' node                                   → Unnamed: its chunks that no event names yet
//! vclusters       vCluster                                   → VclusterRecord with its policy
//! approvals       (no writer yet)
//! emergencies     (no writer yet)
//! certificates    serial                                     → CertificateRow
//! tiles           level (1) index (8)                        → 256 hashes
//! meta            "applied" | "membership" | "head" | "tree" | "horizon" | "members"
//! ```
//!
//! One Raft entry is one write batch, with the applied index in it: a restart applies nothing twice. The WAL is on but not
//! synced; after a power loss the state goes back to some earlier entry and Raft's log brings it forward again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use pact_schemas::convert::Scope;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, Options,
};
use tokio::sync::{broadcast, watch};

use super::fatal::OrFatal;
use super::identity::write_synced;
use super::private;
use super::rows::OpenError;
use crate::consensus::folder::Folder;

/// Blocks of all column families that are cached.
const BLOCK_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Rows in memory over all column families before a flush.
const ALL_WRITE_BUFFERS_BYTES: usize = 48 * 1024 * 1024;
/// Rows in memory of one column family before a flush.
const WRITE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// The WAL that a restart reads; far more than the write buffers hold.
const MAX_WAL_BYTES: u64 = 128 * 1024 * 1024;

/// Raft entries whose changed configurations wait to be announced; what is more is not announced.
const ANNOUNCED_ENTRIES: usize = 256;

/// Whose configuration one Raft entry changed, and with which entry.
pub(crate) type Configured = Arc<BTreeMap<Scope, u64>>;

/// File that names the state in use.
const CURRENT: &str = "CURRENT";

/// A column family of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Entries,
    Postings,
    Requests,
    Declared,
    Blobs,
    Nodes,
    Vclusters,
    Approvals,
    Emergencies,
    Certificates,
    Tiles,
    Meta,
}

impl Family {
    const ALL: [Self; 12] = [
        Self::Entries,
        Self::Postings,
        Self::Requests,
        Self::Declared,
        Self::Blobs,
        Self::Nodes,
        Self::Vclusters,
        Self::Approvals,
        Self::Emergencies,
        Self::Certificates,
        Self::Tiles,
        Self::Meta,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Postings => "postings",
            Self::Requests => "requests",
            Self::Declared => "declared",
            Self::Blobs => "blobs",
            Self::Nodes => "nodes",
            Self::Vclusters => "vclusters",
            Self::Approvals => "approvals",
            Self::Emergencies => "emergencies",
            Self::Certificates => "certificates",
            Self::Tiles => "tiles",
            Self::Meta => "meta",
        }
    }
}

/// Row names of the meta family.
pub(crate) mod meta {
    /// Log id of the last applied entry.
    pub(crate) const APPLIED: &[u8] = b"applied";
    /// Membership and where it was decided.
    pub(crate) const MEMBERSHIP: &[u8] = b"membership";
    /// Sequence, hash and time of the last entry.
    pub(crate) const HEAD: &[u8] = b"head";
    /// The Merkle tree above its lowest level.
    pub(crate) const TREE: &[u8] = b"tree";
    /// How far back request ids are remembered.
    pub(crate) const HORIZON: &[u8] = b"horizon";
    /// The members announced last.
    pub(crate) const MEMBERS: &[u8] = b"members";
}

/// One open state.
pub(crate) struct StateDb {
    // Closed before its folder goes: fields are dropped in this order.
    db: DB,
    folder: Folder,
}

impl StateDb {
    /// Opens a state, or makes an empty one.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let database = |source| OpenError::Database { path: path.to_owned(), source };
        let db = DB::open_cf_descriptors(&options(), path, families()).map_err(database)?;
        Ok(Self { db, folder: Folder::new(path.to_owned()) })
    }

    /// Opens a checkpoint without changing it.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        let database = |source| OpenError::Database { path: path.to_owned(), source };
        let db = DB::open_cf_descriptors_read_only(&options(), path, families(), false);
        Ok(Self { db: db.map_err(database)?, folder: Folder::new(path.to_owned()) })
    }

    pub(crate) fn db(&self) -> &DB {
        &self.db
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn family(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).or_fatal("state/ lacks a column family")
    }

    /// A row. The process ends when it cannot be read.
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Option<Vec<u8>> {
        self.db.get_cf(self.family(family), key).or_fatal("the state cannot be read")
    }

    /// Removes the folder once the last user of this state is done.
    pub(crate) fn doom(&self) {
        self.folder.doom();
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Not synced: after a power loss the WAL ends anywhere, and Raft's log has the rest. All
    // families go back together.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_atomic_flush(true);
    options.set_db_write_buffer_size(ALL_WRITE_BUFFERS_BYTES);
    options.set_max_total_wal_size(MAX_WAL_BYTES);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options.set_stats_dump_period_sec(0);
    options
}

fn families() -> [ColumnFamilyDescriptor; 12] {
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), family_options(&cache)))
}

fn family_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

/// The state in use, and how far it is. Cloned as an `Arc`: one per member.
pub(crate) struct StateCell {
    folder: PathBuf,
    current: ArcSwap<StateDb>,
    applied: watch::Sender<Option<u64>>,
    head_seq: watch::Sender<u64>,
    configured: broadcast::Sender<Configured>,
}

impl StateCell {
    /// Opens the state that `state/CURRENT` names, or makes `state/1`. Removes what an interrupted start left.
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: folder.to_owned(), source };
        private::make_folder(folder).map_err(io)?;
        let number = match read_current(folder)? {
            Some(number) => number,
            None if numbers(folder).map_err(io)?.is_empty() => {
                private::make_folder(&folder.join("1.tmp")).map_err(io)?;
                StateDb::open(&folder.join("1.tmp"))?;
                fs::rename(folder.join("1.tmp"), folder.join("1")).map_err(io)?;
                write_current(folder, 1).map_err(io)?;
                1
            }
            // The first start ended between making the state and naming it; nothing was applied.
            None if numbers(folder).map_err(io)? == [1] => {
                write_current(folder, 1).map_err(io)?;
                1
            }
            None => return Err(OpenError::Missing { path: folder.join(CURRENT) }),
        };
        let path = folder.join(number.to_string());
        if !path.is_dir() {
            return Err(OpenError::Missing { path });
        }
        let db = StateDb::open(&path)?;
        remove_others(folder, number).map_err(io)?;
        Ok(Self {
            folder: folder.to_owned(),
            current: ArcSwap::from_pointee(db),
            applied: watch::Sender::new(None),
            head_seq: watch::Sender::new(0),
            configured: broadcast::Sender::new(ANNOUNCED_ENTRIES),
        })
    }

    /// `state/`
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The state as it is now; stays readable while it is held.
    pub(crate) fn load(&self) -> Arc<StateDb> {
        self.current.load_full()
    }

    /// The number of the state in use.
    pub(crate) fn number(&self) -> u64 {
        let name = self.load().path().file_name().and_then(|name| name.to_str()?.parse().ok());
        name.or_fatal("the folder of the state has no number")
    }

    /// Takes another state into use; the old one's folder goes with its last reader.
    pub(crate) fn swap(&self, next: StateDb) {
        self.current.swap(Arc::new(next)).doom();
    }

    /// Tells everybody who waits how far the state is.
    pub(crate) fn announce(&self, applied: Option<u64>, head_seq: u64) {
        self.applied.send_if_modified(|old| std::mem::replace(old, applied) != applied);
        self.head_seq.send_if_modified(|old| std::mem::replace(old, head_seq) != head_seq);
    }

    /// Tells whose configuration is another now.
    pub(crate) fn announce_configured(&self, configured: BTreeMap<Scope, u64>) {
        if !configured.is_empty() {
            // Nobody listens before the bus is there, and nobody needs to.
            let _listeners = self.configured.send(Arc::new(configured));
        }
    }

    /// Whose configuration changes, from now on.
    pub(crate) fn configured(&self) -> broadcast::Receiver<Configured> {
        self.configured.subscribe()
    }

    /// Index of the last applied entry, as it moves.
    pub(crate) fn applied(&self) -> watch::Receiver<Option<u64>> {
        self.applied.subscribe()
    }

    /// Sequence of the last entry, as it moves.
    pub(crate) fn head_seq(&self) -> watch::Receiver<u64> {
        self.head_seq.subscribe()
    }

    /// Waits until this index is applied and synced: the log may let it go then.
    pub(crate) async fn applied_durably(&self, index: u64) {
        let mut applied = self.applied();
        // Cannot fail: `self` holds the sender.
        drop(applied.wait_for(|applied| *applied >= Some(index)).await);
        let state = self.load();
        let synced = tokio::task::spawn_blocking(move || state.db().flush_wal(true)).await;
        synced.or_fatal("the sync of the state ended badly").or_fatal("the state cannot be synced");
    }
}

fn read_current(folder: &Path) -> Result<Option<u64>, OpenError> {
    let path = folder.join(CURRENT);
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(OpenError::Damaged { path, what: "the number of the state".to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

/// Makes `state/<number>` the one in use, durably.
pub(crate) fn write_current(folder: &Path, number: u64) -> io::Result<()> {
    write_synced(folder, CURRENT, format!("{number}\n").as_bytes())
}

fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let names = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    Ok(names.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

fn remove_others(folder: &Path, number: u64) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_current =
            entry.file_name() == CURRENT || entry.file_name().to_str() == Some(&number.to_string());
        if !is_current && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

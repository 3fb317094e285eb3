//! Two RocksDBs and a few small files.
//!
//! ```text
//! <data_dir>/IDENTITY      whose folder this is: site and its roots, cluster, member, format version
//! <data_dir>/LOCK          held by the running process
//! <data_dir>/raft/         log and vote; every acknowledged write is synced
//! <data_dir>/raft/MARK     last acknowledged index and vote, synced every 100 ms
//! <data_dir>/state/CURRENT the number N of the state in use
//! <data_dir>/state/N/      everything applied; WAL on, unsynced
//! <data_dir>/state/N.tmp/  a snapshot on its way in
//! <data_dir>/snapshot/I-T-K/  the newest snapshot: META and a checkpoint of the state
//! ```
//!
//! - [`log`], [`writer`], [`tail`], [`rows`], [`mark`]: Raft's log; one thread writes.
//! - [`state`], [`key`]: what is applied; [`view`], [`commit`]: how `apply` reads and changes it;
//!   [`query`]: how handlers read it; [`declared`]: the same for declared state.
//! - [`machine`], [`snapshot`]: openraft's state machine; checkpoints out and in.
//! - [`identity`], [`private`], [`space`], [`fatal`]: whose folder it is, and nobody else's; whether there is room; how it ends
//!   when storage fails.
//!
//! Absences: a failed write or an unreadable row is never retried, skipped or repaired, it ends the process; nothing is
//! acknowledged before it is synced in `raft/`; the log is never purged beyond what is synced in `state/`.

pub(crate) mod commit;
pub(crate) mod crc;
pub(crate) mod declared;
pub(crate) mod fatal;
pub(crate) mod identity;
mod key;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod mark;
pub(crate) mod private;
pub(crate) mod query;
pub(crate) mod rows;
pub(crate) mod snapshot;
pub(crate) mod space;
pub(crate) mod state;
pub(crate) mod tail;
pub(crate) mod view;
pub(crate) mod writer;

#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;

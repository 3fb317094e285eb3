//! Keys and rows of `raft/`.
//!
//! ```text
//! column family log    index (8 bytes, big endian)   → crc32c (4) ‖ log entry
//! column family meta   "vote"                        → crc32c (4) ‖ vote
//!                      "committed"                   → crc32c (4) ‖ log id   (unsynced)
//!                      "purged"                      → crc32c (4) ‖ log id
//! ```

use std::path::PathBuf;

use bytes::Bytes;

use super::crc::unsealed;
use crate::consensus::types::Entry;
use crate::consensus::wire;

/// The log's column family.
pub(crate) const LOG: &str = "log";
/// The column family of everything else.
pub(crate) const META: &str = "meta";
/// Row of [`META`].
pub(crate) const VOTE: &[u8] = b"vote";
/// Row of [`META`].
pub(crate) const COMMITTED: &[u8] = b"committed";
/// Row of [`META`].
pub(crate) const PURGED: &[u8] = b"purged";

/// Why the stores do not open. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder cannot be used.
    #[error("{path} cannot be used")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// RocksDB refuses.
    #[error("the database {path} does not open")]
    Database {
        /// Which.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// A row that is not what was written.
    #[error(
        "{path}: {what} is damaged; remove this member from the cluster, wipe its data and add it again under a new id"
    )]
    Damaged {
        /// Database or file.
        path: PathBuf,
        /// Which row.
        what: String,
    },
    /// What the member promised is gone.
    #[error(
        "{path} ends at {found}, but this member acknowledged {marked}: the log has lost entries (an old copy was restored, or \
         the disk did not keep what it had synced); remove this member, wipe its data and add it again under a new id"
    )]
    ShorterThanMark {
        /// The log.
        path: PathBuf,
        /// Last index or vote that is there.
        found: String,
        /// Last index or vote that was acknowledged.
        marked: String,
    },
    /// Some of the parts are missing.
    #[error(
        "{path} is missing although this member has run before; restore the whole data folder or none of it"
    )]
    Missing {
        /// What is missing.
        path: PathBuf,
    },
}

/// Key of a log entry.
pub(crate) fn log_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// Index of a log key.
pub(crate) fn log_index(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// The entry of a log row; `None` when checksum, encoding or index do not hold.
pub(crate) fn log_entry(key: &[u8], row: &[u8]) -> Option<Entry> {
    let entry = wire::decode_entry(Bytes::copy_from_slice(unsealed(row)?)).ok()?;
    (Some(entry.log_id.index) == log_index(key)).then_some(entry)
}

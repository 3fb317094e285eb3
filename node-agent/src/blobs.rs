//! Recorded bytes that the journal does not have yet: content-addressed chunks, compressed, on disk.
//!
//! ```text
//! blobs/<sha256>.zst    zstd of at most 256 KiB; named by the hash of the uncompressed bytes
//! ```
//!
//! A chunk is synced before an event names it, and removed when the journal has it. The sender of the spool uploads the
//! chunks of an event before the event (spool/sender.rs). Beyond the limit nothing new is taken on.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pact_schemas::v1;

use crate::durable::{self, PRIVATE};

/// Uncompressed bytes of a chunk at most (docs/formats.md §1).
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// Compressed bytes that may wait for the journal.
const LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// Part of the limit that only commands that already run may use.
const RESERVED_PART: u64 = 4;

/// zstd's default: about a millisecond for a chunk of text.
const ZSTD_LEVEL: i32 = 3;

const SUFFIX: &str = "zst";

/// Why a chunk cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The system refuses.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// No room until the journal has taken what is there.
    #[error("{bytes} bytes of recordings wait for the journal; the limit is {limit}")]
    Full {
        /// Bytes waiting.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The process is ending.
    #[error("the chunk was not written because the agent is ending")]
    Interrupted,
    /// More than a chunk.
    #[error("a chunk of {bytes} bytes is over the limit of {CHUNK_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// The folder of chunks; cheap to clone. Its calls block on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    folder: Arc<Path>,
    waiting_bytes: Arc<AtomicU64>,
    /// One chunk is written at a time: commands may end with the same one, under the same name.
    writing: Arc<Mutex<()>>,
}

impl Blobs {
    /// Opens or makes the folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, BlobError> {
        let io = |source| BlobError::Io { path: folder.to_owned(), source };
        durable::private_folder(folder).map_err(io)?;
        let mut bytes = 0;
        for entry in std::fs::read_dir(folder).map_err(io)? {
            bytes += entry.and_then(|entry| entry.metadata()).map_err(io)?.len();
        }
        Ok(Self {
            folder: folder.into(),
            waiting_bytes: Arc::new(AtomicU64::new(bytes)),
            writing: Arc::default(),
        })
    }

    /// Removes the chunks that no event names: a crash came between a chunk and its event.
    pub(crate) fn retain(&self, named: &BTreeSet<Vec<u8>>) -> Result<usize, BlobError> {
        let io = |path: &Path, source| BlobError::Io { path: path.to_owned(), source };
        let named: BTreeSet<PathBuf> = named.iter().map(|sha256| self.path(sha256)).collect();
        let mut removed = 0;
        for entry in std::fs::read_dir(&self.folder).map_err(|e| io(&self.folder, e))? {
            let path = entry.map_err(|e| io(&self.folder, e))?.path();
            if !named.contains(&path) {
                let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                std::fs::remove_file(&path).map_err(|e| io(&path, e))?;
                self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Whether a new command may be taken on: its output will find room.
    pub(crate) fn check_room(&self) -> Result<(), BlobError> {
        self.fits(0, LIMIT_BYTES - LIMIT_BYTES / RESERVED_PART)
    }

    /// Compresses, writes and syncs one chunk.
    pub(crate) fn keep(&self, bytes: &[u8]) -> Result<v1::BlobRef, BlobError> {
        let size_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if bytes.len() > CHUNK_BYTES {
            return Err(BlobError::TooLarge { bytes: bytes.len() });
        }
        let sha256 = ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec();
        let path = self.path(&sha256);
        let io = |source| BlobError::Io { path: path.clone(), source };
        // Held while one chunk is compressed and synced, by a blocking thread.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.exists() {
            let compressed = zstd::bulk::compress(bytes, ZSTD_LEVEL).map_err(io)?;
            self.fits(compressed.len() as u64, LIMIT_BYTES)?;
            durable::replace(&path, &compressed, PRIVATE).map_err(io)?;
            self.waiting_bytes.fetch_add(compressed.len() as u64, Ordering::Relaxed);
        }
        Ok(v1::BlobRef { sha256, size_bytes })
    }

    /// The upload of a chunk; `None` when it is not here, because the journal has it.
    pub(crate) fn upload(&self, blob: &v1::BlobRef) -> Result<Option<v1::PutBlob>, BlobError> {
        let path = self.path(&blob.sha256);
        // zstd never makes a chunk much larger than it was.
        let limit = 2 * CHUNK_BYTES as u64;
        let found = durable::read_bounded(&path, limit);
        let compressed = found.map_err(|source| BlobError::Io { path, source })?;
        Ok(compressed.map(|compressed| v1::PutBlob {
            sha256: blob.sha256.clone(),
            compressed,
            size_bytes: blob.size_bytes,
        }))
    }

    /// Removes a chunk that the journal has.
    pub(crate) fn release(&self, blob: &v1::BlobRef) -> Result<(), BlobError> {
        let path = self.path(&blob.sha256);
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        match std::fs::remove_file(&path) {
            Ok(()) => {
                // Saturates: a file that somebody else changed must not wrap it around.
                let less = |now: u64| Some(now.saturating_sub(bytes));
                let _always_some =
                    self.waiting_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(BlobError::Io { path, source }),
        }
    }

    fn fits(&self, more: u64, limit: u64) -> Result<(), BlobError> {
        let bytes = self.waiting_bytes.load(Ordering::Relaxed);
        if bytes + more > limit { Err(BlobError::Full { bytes, limit }) } else { Ok(()) }
    }

    fn path(&self, sha256: &[u8]) -> PathBuf {
        self.folder.join(format!("{}.{SUFFIX}", durable::hex(sha256)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_end_with_the_same_chunk_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let chunk = |round: u8| vec![round; 4096];
        for round in 0..20 {
            std::thread::scope(|threads| {
                let keepers: Vec<_> =
                    (0..8).map(|_| threads.spawn(|| blobs.keep(&chunk(round)).unwrap())).collect();
                let kept: Vec<_> = keepers.into_iter().map(|k| k.join().unwrap()).collect();
                let upload = blobs.upload(&kept[0]).unwrap().unwrap();
                let bytes = zstd::bulk::decompress(&upload.compressed, 1 << 16).unwrap();
                assert_eq!(bytes, chunk(round));
            });
        }
    }

    #[test]
    fn a_chunk_survives_a_restart_until_the_journal_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let blob = blobs.keep(b"hello hello hello").unwrap();
        assert_eq!(blobs.keep(b"hello hello hello").unwrap(), blob);
        let blobs = Blobs::open(folder.path()).unwrap();
        assert!(blobs.waiting_bytes.load(Ordering::Relaxed) > 0);
        let upload = blobs.upload(&blob).unwrap().unwrap();
        assert_eq!(zstd::bulk::decompress(&upload.compressed, 100).unwrap(), b"hello hello hello");
        assert_eq!((upload.sha256, upload.size_bytes), (blob.sha256.clone(), 17));
        blobs.release(&blob).unwrap();
        blobs.release(&blob).unwrap();
        assert_eq!(blobs.waiting_bytes.load(Ordering::Relaxed), 0);
        assert!(blobs.upload(&blob).unwrap().is_none());
        assert!(blobs.keep(&vec![0; CHUNK_BYTES + 1]).is_err());
    }
}

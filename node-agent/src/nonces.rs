//! Which grants were used: the memory that makes a second run impossible, also after a restart.
//!
//! One append-only file of records (see `records.rs`), body = `seq (u64) | expires (i64, Unix nanoseconds)`, big-endian.
//! A nonce is on disk, synced, before anything starts. Nonces are dropped when their grant has been expired for
//! [`KEPT_AFTER_EXPIRY`]; the latest expiry among those dropped stays as a floor (`seq` 0), and a grant that expires at or
//! before the floor is refused, whatever the clock says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pact_runtime::Timestamp;
use pact_schemas::Seq;

use crate::durable;
use crate::records::{self, Records, RecordsError};

/// Grants live 60 s and clocks are trusted to 5 s; ten minutes leave no doubt.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(600);

/// The file is written anew after this many grants.
const TAKEN_BETWEEN_COMPACTIONS: usize = 4096;

/// Bytes of one body.
const BODY_BYTES: usize = 16;

/// Why a grant cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NonceError {
    /// It was used, or is too old to know.
    #[error("the grant of entry {seq} was used before")]
    Used {
        /// The grant's entry.
        seq: Seq,
    },
    /// Its use cannot be recorded; nothing may start.
    #[error("the use of the grant of entry {seq} cannot be recorded")]
    Store {
        /// The grant's entry.
        seq: Seq,
        /// Why.
        #[source]
        source: RecordsError,
    },
}

/// The used grants of this node.
#[derive(Debug)]
pub(crate) struct Nonces {
    records: Records,
    /// Expiry by sequence.
    used: BTreeMap<u64, i64>,
    /// No grant that expires at or before this can be judged any more.
    floor: i64,
    /// Records in the file.
    written: usize,
    /// Records in it after the last compaction.
    kept: usize,
}

impl Nonces {
    /// Opens or makes the file.
    pub(crate) fn open(path: &Path) -> Result<Self, RecordsError> {
        let (mut used, mut floor, mut written) = (BTreeMap::new(), i64::MIN, 0);
        let records = Records::open(path, false, |_, body| match decode(body) {
            Some((seq, expires)) => {
                written += 1;
                if seq == 0 {
                    floor = floor.max(expires);
                } else {
                    used.insert(seq, expires);
                }
                true
            }
            None => false,
        })?;
        if let Some(folder) = path.parent() {
            let io = |source| RecordsError::Io { path: path.to_owned(), source };
            durable::sync_folder(folder).map_err(io)?;
        }
        Ok(Self { records, used, floor, written, kept: 0 })
    }

    /// Whether a grant could be taken now.
    pub(crate) fn check(&self, seq: Seq, expires: Timestamp) -> Result<(), NonceError> {
        if expires.unix_nanos() <= self.floor || self.used.contains_key(&seq.get()) {
            return Err(NonceError::Used { seq });
        }
        Ok(())
    }

    /// Takes a grant; on `Ok` its use is on disk and nobody else will get it.
    pub(crate) fn take(
        &mut self,
        seq: Seq,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<(), NonceError> {
        self.check(seq, expires)?;
        let expires = expires.unix_nanos();
        let store = |source| NonceError::Store { seq, source };
        self.compact(now).map_err(store)?;
        self.records.append(&encode(seq.get(), expires)).map_err(store)?;
        self.written += 1;
        self.used.insert(seq.get(), expires);
        Ok(())
    }

    /// Now and then writes the file anew, without what is not needed any more.
    fn compact(&mut self, now: Timestamp) -> Result<(), RecordsError> {
        if self.written < self.kept + TAKEN_BETWEEN_COMPACTIONS {
            return Ok(());
        }
        let Some(limit) = now.checked_sub(KEPT_AFTER_EXPIRY).map(Timestamp::unix_nanos) else {
            return Ok(());
        };
        let old = self.used.values().filter(|expires| **expires <= limit).max();
        let floor = old.map_or(self.floor, |old| self.floor.max(*old));
        self.used.retain(|_, expires| *expires > floor);
        let mut bytes = records::encode(&encode(0, floor))?;
        for (seq, expires) in &self.used {
            bytes.extend(records::encode(&encode(*seq, *expires))?);
        }
        let path: PathBuf = self.records.path().to_owned();
        durable::replace(&path, &bytes, durable::PRIVATE)
            .map_err(|source| RecordsError::Io { path: path.clone(), source })?;
        self.records = Records::open(&path, true, |_, _| true)?;
        self.written = self.used.len() + 1;
        self.kept = self.written;
        self.floor = floor;
        Ok(())
    }
}

fn encode(seq: u64, expires: i64) -> [u8; BODY_BYTES] {
    let mut body = [0; BODY_BYTES];
    let (first, second) = body.split_at_mut(8);
    first.copy_from_slice(&seq.to_be_bytes());
    second.copy_from_slice(&expires.to_be_bytes());
    body
}

fn decode(body: &[u8]) -> Option<(u64, i64)> {
    let (seq, expires) = body.split_first_chunk()?;
    Some((u64::from_be_bytes(*seq), i64::from_be_bytes(expires.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn seq(number: u64) -> Seq {
        Seq::new(number).unwrap()
    }

    fn is_used(result: Result<(), NonceError>) -> bool {
        matches!(result, Err(NonceError::Used { .. }))
    }

    #[test]
    fn a_grant_is_taken_once_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nonces");
        let expires = START.checked_add(MINUTE).unwrap();
        let mut nonces = Nonces::open(&path).unwrap();
        nonces.take(seq(7), expires, START).unwrap();
        assert!(is_used(nonces.take(seq(7), expires, START)));
        drop(nonces);
        let mut nonces = Nonces::open(&path).unwrap();
        assert!(is_used(nonces.take(seq(7), expires, START)));
        nonces.take(seq(8), expires, START).unwrap();
    }

    #[test]
    fn compaction_forgets_no_grant_that_could_run_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nonces");
        let mut nonces = Nonces::open(&path).unwrap();
        let mut now = START;
        let mut largest = 0;
        // One grant a second: compaction must run and must keep the last ten minutes.
        for number in 1..=(TAKEN_BETWEEN_COMPACTIONS as u64 + 2_000) {
            now = now.checked_add(Duration::from_secs(1)).unwrap();
            nonces.take(seq(number), now.checked_add(MINUTE).unwrap(), now).unwrap();
            largest = largest.max(nonces.written);
        }
        assert!(largest <= TAKEN_BETWEEN_COMPACTIONS, "{largest} records");
        assert!(nonces.used.len() < 3_000, "{} kept", nonces.used.len());
        drop(nonces);
        let mut nonces = Nonces::open(&path).unwrap();
        // Even on a clock that went back, the first grant is not run again.
        let expires = START.checked_add(MINUTE).unwrap();
        assert!(is_used(nonces.take(seq(1), expires, START)));
        assert!(is_used(nonces.take(seq(99_999), expires, START)));
        assert!(is_used(nonces.take(seq(TAKEN_BETWEEN_COMPACTIONS as u64), now, now)));
    }
}

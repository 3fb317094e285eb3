//! Which grants were used and which commands run: the two stores that make "at most once" true, under one owner.

use std::path::Path;

use pact_runtime::Timestamp;
use pact_schemas::Seq;

use super::running::{Record, Running, RunningError};
use crate::nonces::{NonceError, Nonces};
use crate::records::RecordsError;

/// Why a command may not start, or the stores cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The grant was used, or its use cannot be recorded.
    #[error(transparent)]
    Nonce(#[from] NonceError),
    /// What runs cannot be recorded.
    #[error("what is running cannot be recorded")]
    Running(#[from] RunningError),
    /// The file of used grants cannot be opened.
    #[error("the used grants cannot be read")]
    Nonces(#[source] RecordsError),
}

/// The stores of one node.
#[derive(Debug)]
pub(crate) struct Ledger {
    nonces: Nonces,
    running: Running,
}

impl Ledger {
    /// Opens both; returns what was running when the agent or the node died.
    pub(crate) fn open(nonces: &Path, running: &Path) -> Result<(Self, Vec<Record>), LedgerError> {
        let mut nonces = Nonces::open(nonces).map_err(LedgerError::Nonces)?;
        let (running, left) = Running::open(running)?;
        // The crash may have come between the two: what was about to run is used all the same.
        for record in &left {
            let seq = Seq::new(record.seq);
            let expires = Timestamp::from_unix_nanos(record.expires);
            let admitted = Timestamp::from_unix_nanos(record.admitted);
            match seq.map(|seq| nonces.take(seq, expires, admitted)) {
                Ok(Ok(()) | Err(NonceError::Used { .. })) | Err(_) => {}
                Ok(Err(error)) => return Err(error.into()),
            }
        }
        Ok((Self { nonces, running }, left))
    }

    /// Takes the grant and records that its command is about to start. On `Ok` both are on disk; on `Err` nothing may
    /// start.
    pub(crate) fn admit(
        &mut self,
        seq: Seq,
        expires: Timestamp,
        now: Timestamp,
        record: &Record,
    ) -> Result<(), LedgerError> {
        self.nonces.check(seq, expires)?;
        self.running.begin(record)?;
        if let Err(error) = self.nonces.take(seq, expires, now) {
            self.running.end(seq)?;
            return Err(error.into());
        }
        Ok(())
    }

    /// Takes a grant that starts no command. On `Ok` its use is on disk.
    pub(crate) fn take(
        &mut self,
        seq: Seq,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        Ok(self.nonces.take(seq, expires, now)?)
    }

    /// Notes the processes of a command that was admitted.
    pub(crate) fn started(&mut self, record: &Record) -> Result<(), LedgerError> {
        Ok(self.running.started(record)?)
    }

    /// Forgets a command whose outcome is spooled.
    pub(crate) fn end(&mut self, seq: Seq) -> Result<(), LedgerError> {
        Ok(self.running.end(seq)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::BootId;

    #[test]
    fn a_crash_between_record_and_nonce_uses_the_grant_up() {
        let folder = tempfile::tempdir().unwrap();
        let (nonces, running) = (folder.path().join("nonces"), folder.path().join("running"));
        let (seq, now) = (Seq::new(5).unwrap(), Timestamp::from_unix_nanos(1_000));
        let expires = Timestamp::from_unix_nanos(2_000);
        let spool = pact_schemas::SpoolId::new(&"a".repeat(32)).unwrap();
        let record = Record::new(seq, expires, &["true".to_owned()], BootId::other(), now, &spool);
        let (mut ledger, _) = Ledger::open(&nonces, &running).unwrap();
        ledger.running.begin(&record).unwrap();
        drop(ledger);
        let (mut ledger, left) = Ledger::open(&nonces, &running).unwrap();
        assert_eq!(left, std::slice::from_ref(&record));
        ledger.end(seq).unwrap();
        let refused = ledger.admit(seq, expires, now, &record);
        assert!(matches!(refused, Err(LedgerError::Nonce(NonceError::Used { .. }))));
        drop(ledger);
        assert_eq!(Ledger::open(&nonces, &running).unwrap().1, []);
    }
}

//! What was started and has no spooled outcome yet: one file for each command, written and synced *before* it starts.
//!
//! ```text
//! running/<seq>.json    {"seq", "expires", "argv_sha256", "boot_id", "admitted", "marker",
//!                       "leader": {"pid", "started_ticks"}, "warden": {"pid", "started_ticks"}}
//! ```
//!
//! After a crash each file becomes one outcome UNKNOWN, and whatever the command left behind is killed. Nothing is ever
//! started because of such a file.

use std::io;
use std::path::{Path, PathBuf};

use pact_runtime::Timestamp;
use pact_schemas::{Seq, SpoolId};

use crate::boot::BootId;
use crate::durable::{self, PRIVATE};
use crate::processes::Identity;

/// Far above what such a file holds.
const MAX_FILE_BYTES: u64 = 4096;

/// Why the records of running commands cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum RunningError {
    /// The system refuses.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file that this agent did not write.
    #[error(
        "{} is no record of a command that was started; keep it for inspection, move it away and start the agent again",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// One command that was started, or was about to be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The grant.
    pub(crate) seq: u64,
    /// When the grant expires, Unix nanoseconds.
    pub(crate) expires: i64,
    /// Of the arguments, each with a NUL behind it.
    pub(crate) argv_sha256: String,
    /// The boot in which it was started.
    pub(crate) boot_id: BootId,
    /// Plane time of the admission, Unix nanoseconds.
    pub(crate) admitted: i64,
    /// By which everything that it starts is found (`session`).
    pub(crate) marker: String,
    /// The command's process, whose number is its session's, once started.
    #[serde(default)]
    pub(crate) leader: Option<Identity>,
    /// The process that watches over it, once started.
    #[serde(default)]
    pub(crate) warden: Option<Identity>,
    /// A number that earlier versions noted, which may be another process's since. Read and not used.
    #[serde(default, skip_serializing)]
    pub(crate) session: Option<i32>,
}

/// The folder of the records.
#[derive(Debug)]
pub(crate) struct Running {
    folder: PathBuf,
}

impl Running {
    /// Opens the folder and reads what a crash left there.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Vec<Record>), RunningError> {
        let running = Self { folder: folder.to_owned() };
        let io = |source| RunningError::Io { path: folder.to_owned(), source };
        durable::private_folder(folder).map_err(io)?;
        let mut left = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            // Written aside by `durable::replace` and never renamed: nothing was started.
            if path.extension().is_some_and(|suffix| suffix == "new") {
                std::fs::remove_file(&path).map_err(io)?;
                continue;
            }
            left.push(running.read(&path)?);
        }
        left.sort_by_key(|record| record.seq);
        Ok((running, left))
    }

    /// Writes and syncs a record.
    pub(crate) fn begin(&mut self, record: &Record) -> Result<(), RunningError> {
        let path = self.path(record.seq);
        let io = |source| RunningError::Io { path: path.clone(), source };
        let text = serde_json::to_vec(record).map_err(|error| io(error.into()))?;
        durable::replace(&path, &text, PRIVATE).map_err(io)
    }

    /// Notes the processes of a record that was begun. Not synced: processes do not outlive the machine.
    pub(crate) fn started(&mut self, record: &Record) -> Result<(), RunningError> {
        let path = self.path(record.seq);
        let io = |source| RunningError::Io { path: path.clone(), source };
        let text = serde_json::to_vec(record).map_err(|error| io(error.into()))?;
        let aside = path.with_extension("new");
        std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, &path)).map_err(io)
    }

    /// Removes the record of a command whose outcome is spooled.
    pub(crate) fn end(&mut self, seq: Seq) -> Result<(), RunningError> {
        let path = self.path(seq.get());
        let io = |source| RunningError::Io { path: path.clone(), source };
        std::fs::remove_file(&path).map_err(io)?;
        durable::sync_folder(&self.folder).map_err(io)
    }

    fn path(&self, seq: u64) -> PathBuf {
        self.folder.join(format!("{seq}.json"))
    }

    fn read(&self, path: &Path) -> Result<Record, RunningError> {
        let io = |source| RunningError::Io { path: path.to_owned(), source };
        let foreign = || RunningError::Foreign { path: path.to_owned() };
        let bytes = durable::read_bounded(path, MAX_FILE_BYTES).map_err(io)?.ok_or_else(foreign)?;
        let record: Record = serde_json::from_slice(&bytes).map_err(|_| foreign())?;
        if self.path(record.seq) == path && record.seq > 0 { Ok(record) } else { Err(foreign()) }
    }
}

impl Record {
    /// A record of a command that is about to start.
    pub(crate) fn new(
        seq: Seq,
        expires: Timestamp,
        argv: &[String],
        boot_id: BootId,
        admitted: Timestamp,
        spool: &SpoolId,
    ) -> Self {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        for argument in argv {
            digest.update(argument.as_bytes());
            digest.update(&[0]);
        }
        Self {
            seq: seq.get(),
            expires: expires.unix_nanos(),
            argv_sha256: durable::hex(digest.finish().as_ref()),
            boot_id,
            admitted: admitted.unix_nanos(),
            // No other agent, on this machine or another, has this spool and this grant.
            marker: format!("{spool}.{seq}"),
            leader: None,
            warden: None,
            session: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_and_not_ended_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut running, left) = Running::open(folder.path()).unwrap();
        assert_eq!(left, []);
        let at = Timestamp::from_unix_nanos(1);
        let record = |seq| {
            let seq = Seq::new(seq).unwrap();
            let spool = SpoolId::new(&"a".repeat(32)).unwrap();
            Record::new(seq, at, &["true".to_owned()], BootId::other(), at, &spool)
        };
        for seq in [3, 1, 2] {
            running.begin(&record(seq)).unwrap();
        }
        running.end(Seq::new(2).unwrap()).unwrap();
        let leader = Some(Identity { pid: 77, started_ticks: 5 });
        let started = Record { leader, ..record(3) };
        running.started(&started).unwrap();
        std::fs::write(folder.path().join("9.json.new"), "torn").unwrap();
        let (_, left) = Running::open(folder.path()).unwrap();
        assert_eq!(left, [record(1), started]);
        std::fs::write(folder.path().join("9.json"), "torn").unwrap();
        assert!(matches!(Running::open(folder.path()), Err(RunningError::Foreign { .. })));
    }
}

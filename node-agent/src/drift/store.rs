//! What of drift outlives the agent.
//!
//! ```text
//! drift/state.json   window, conflicts, since when and by whom keys differ, what was told last
//! drift/bases        encoded ChangeSet: for each declared key `old` = its base, `new` = pact's value
//! drift/intent       one line of JSON, then the encoded ChangeSet of what is being changed: `old` is, `new` is to be
//! ```
//!
//! Every file is replaced in one step (`durable`), 0600. An intent that is there when the agent starts was interrupted.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use pact_schemas::resource::{Change, MAX_KEY_BYTES, ResourceKey, Value, change_set};
use pact_schemas::v1;
use prost::Message;

use super::core::window::Saved;
use crate::durable::{self, PRIVATE};

/// Items whose beginning is remembered; of others it is the time of the restart.
pub(crate) const MAX_REMEMBERED: usize = 1_000;

/// The largest state: remembered items with the longest keys.
const MAX_STATE_BYTES: u64 = (MAX_REMEMBERED as u64) * (MAX_KEY_BYTES as u64 + 256);

/// The largest set of changes, and its first line.
const MAX_SET_BYTES: u64 = 4 * change_set::MAX_ENCODED_BYTES as u64;

/// Why drift state cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
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
        "{} is no drift state of this agent; keep it for inspection, move it away and start the agent again",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// Why the node is being changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Why {
    /// New declarations.
    Declared,
    /// A window ended.
    WindowEnded,
    /// A category that is undone at once.
    Category,
    /// A conflict that nobody decided.
    Conflict,
    /// An admin's rollback, by the sequence of its entry.
    Rollback {
        /// The grant.
        seq: u64,
    },
}

/// What is being changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Intent {
    pub(crate) why: Why,
    /// The spool before it: an event about it has a greater number.
    pub(crate) spool_head: u64,
    /// `old` is, `new` is to be; neither is `None`.
    pub(crate) changes: Vec<Change>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct IntentLine {
    why: Why,
    spool_head: u64,
}

/// What a key was restored from and to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Base {
    /// Before anything was declared for it.
    pub(crate) observed: Value,
    /// What pact declared last.
    pub(crate) ours: Value,
}

/// Since when and by whom a key differs.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remembered {
    pub(crate) key: ResourceKey,
    /// Unix nanoseconds.
    pub(crate) since: i64,
    pub(crate) session: Option<u64>,
    pub(crate) conflict: bool,
}

/// Everything in `state.json`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedState {
    pub(crate) window: Saved,
    pub(crate) items: Vec<Remembered>,
    /// Digest of the report that was spooled last.
    pub(crate) told: Option<String>,
    /// The boot that it was written in.
    pub(crate) boot_id: String,
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// What `state.json` holds: it is not written again for nothing.
    written: Vec<u8>,
}

impl Store {
    /// Opens or makes the folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { path: folder.to_owned(), source };
        durable::private_folder(folder).map_err(io)?;
        Ok(Self { folder: folder.to_owned(), written: Vec::new() })
    }

    /// The state of before. One that does not parse counts as none: windows begin anew, nothing is undone early.
    pub(crate) fn state(&mut self) -> Result<Option<SavedState>, StoreError> {
        let Some(bytes) = self.read("state.json", MAX_STATE_BYTES)? else { return Ok(None) };
        let state = serde_json::from_slice(&bytes);
        if let Err(error) = &state {
            tracing::error!(%error, "the drift state on disk is not used; windows begin anew");
        }
        self.written = bytes;
        Ok(state.ok())
    }

    /// Writes the state, if it is another.
    pub(crate) fn keep_state(&mut self, state: &SavedState) -> Result<(), StoreError> {
        let path = self.folder.join("state.json");
        let io = |source| StoreError::Io { path: path.clone(), source };
        let bytes = serde_json::to_vec(state).map_err(|error| io(error.into()))?;
        if bytes != self.written {
            durable::replace(&path, &bytes, PRIVATE).map_err(io)?;
            self.written = bytes;
        }
        Ok(())
    }

    /// The bases of declared keys.
    pub(crate) fn bases(&self) -> Result<BTreeMap<ResourceKey, Base>, StoreError> {
        let Some(bytes) = self.read("bases", MAX_SET_BYTES)? else { return Ok(BTreeMap::new()) };
        let changes = self.changes("bases", &bytes)?;
        let base =
            |change: Change| Some((change.key, Base { observed: change.old?, ours: change.new? }));
        changes.into_iter().map(base).collect::<Option<_>>().ok_or_else(|| self.foreign("bases"))
    }

    /// Writes the bases.
    pub(crate) fn keep_bases(&self, bases: &BTreeMap<ResourceKey, Base>) -> Result<(), StoreError> {
        let changes = bases.iter().map(|(key, base)| v1::Change {
            key: key.to_string(),
            old: Some((&base.observed).into()),
            new: Some((&base.ours).into()),
        });
        let set = v1::ChangeSet { changes: changes.collect(), chunks: Vec::new() };
        self.write("bases", &set.encode_to_vec())
    }

    /// What was interrupted.
    pub(crate) fn intent(&self) -> Result<Option<Intent>, StoreError> {
        let Some(bytes) = self.read("intent", MAX_SET_BYTES)? else { return Ok(None) };
        let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
        let (Some(line), Some(set)) = (parts.next(), parts.next()) else {
            return Err(self.foreign("intent"));
        };
        let line: IntentLine = serde_json::from_slice(line).map_err(|_| self.foreign("intent"))?;
        let changes = self.changes("intent", set)?;
        if changes.iter().any(|change| change.old.is_none() || change.new.is_none()) {
            return Err(self.foreign("intent"));
        }
        Ok(Some(Intent { why: line.why, spool_head: line.spool_head, changes }))
    }

    /// Writes what is about to be changed. On `Ok` it is on disk.
    pub(crate) fn begin(&self, intent: &Intent) -> Result<(), StoreError> {
        let line = IntentLine { why: intent.why, spool_head: intent.spool_head };
        let io = |source| StoreError::Io { path: self.folder.join("intent"), source };
        let mut bytes = serde_json::to_vec(&line).map_err(|error| io(error.into()))?;
        bytes.push(b'\n');
        let changes = intent.changes.iter().map(Into::into).collect();
        bytes.extend(v1::ChangeSet { changes, chunks: Vec::new() }.encode_to_vec());
        self.write("intent", &bytes)
    }

    /// It is done, and told.
    pub(crate) fn end(&self) -> Result<(), StoreError> {
        let path = self.folder.join("intent");
        let io = |source| StoreError::Io { path: path.clone(), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io(error)),
            _ => durable::sync_folder(&self.folder).map_err(io),
        }
    }

    fn changes(&self, name: &str, bytes: &[u8]) -> Result<Vec<Change>, StoreError> {
        let set = v1::ChangeSet::decode(bytes).map_err(|_| self.foreign(name))?;
        let changes = set.changes.into_iter().map(Change::try_from);
        changes.collect::<Result<_, _>>().map_err(|_| self.foreign(name))
    }

    fn foreign(&self, name: &str) -> StoreError {
        StoreError::Foreign { path: self.folder.join(name) }
    }

    fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.folder.join(name);
        durable::read_bounded(&path, limit).map_err(|source| StoreError::Io { path, source })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        durable::replace(&path, bytes, PRIVATE).map_err(|source| StoreError::Io { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intents_and_bases_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!((store.intent().unwrap(), store.bases().unwrap()), (None, BTreeMap::new()));
        let key: ResourceKey = "file//etc/motd".parse().unwrap();
        let change = Change {
            key: key.clone(),
            old: Some(Value::Absent),
            new: Some(Value::Text("a\nb".to_owned())),
        };
        let why = Why::Rollback { seq: 9 };
        let intent = Intent { why, spool_head: 7, changes: vec![change] };
        store.begin(&intent).unwrap();
        assert_eq!(store.intent().unwrap(), Some(intent));
        store.end().unwrap();
        store.end().unwrap();
        assert_eq!(store.intent().unwrap(), None);
        let base = Base { observed: Value::Absent, ours: Value::Integer(3) };
        let bases = BTreeMap::from([(key, base)]);
        store.keep_bases(&bases).unwrap();
        assert_eq!(store.bases().unwrap(), bases);
        std::fs::write(folder.path().join("intent"), "torn").unwrap();
        assert!(matches!(store.intent(), Err(StoreError::Foreign { .. })));
    }
}

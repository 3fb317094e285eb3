//! What of drift outlives the agent.
//!
//! ```text
//! drift/state.json   window, conflicts, since when and by whom keys differ, what was told last
//! drift/bases        encoded ChangeSet: for each key that was adopted `old` = its base, `new` = pact's value;
//!                    no `old`: what it was before is not known. A key stays until it is what it was
//! drift/adopting     encoded ChangeSet of what is being adopted: `old` = what was declared before, if anything was
//! drift/intent       one line of JSON, then the encoded ChangeSet of what is being changed: `old` is, `new` is to be
//! ```
//!
//! Every file is replaced in one step (`durable`), 0600. An intent that is there when the agent starts was interrupted, and so was
//! an adoption. `adopting` is written before `bases`, both before anything is changed, and is removed after that.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use pact_schemas::resource::{Change, MAX_KEY_BYTES, ResourceKey, Value, change_set};
use pact_schemas::v1;
use prost::Message;

use super::core::window::Saved;
use crate::durable::{self, PRIVATE};
use crate::held::Held;

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

/// What a key was, and what pact made of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Base {
    /// Before anything was declared for it; `None`: that could not be read.
    pub(crate) observed: Option<Held>,
    /// What pact declared last.
    pub(crate) ours: Held,
}

impl Base {
    /// Holds these values.
    pub(crate) fn new(observed: Option<Value>, ours: Held) -> Self {
        Self { observed: observed.map(|observed| Held::new(observed, Some(&ours))), ours }
    }
}

/// Keys whose declaration is being adopted, with what was declared before.
pub(crate) type Adopting = BTreeMap<ResourceKey, Option<Held>>;

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
    /// There may be a file of what is being adopted.
    has_adopting: bool,
    /// Where the agent dies.
    #[cfg(test)]
    pub(super) steps: super::fake::Steps,
}

impl Store {
    /// Opens or makes the folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { path: folder.to_owned(), source };
        durable::private_folder(folder).map_err(io)?;
        let has_adopting = folder.join("adopting").exists();
        Ok(Self {
            folder: folder.to_owned(),
            written: Vec::new(),
            has_adopting,
            #[cfg(test)]
            steps: super::fake::Steps::default(),
        })
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
            self.step();
        }
        Ok(())
    }

    /// The bases of declared keys.
    pub(crate) fn bases(&self) -> Result<BTreeMap<ResourceKey, Base>, StoreError> {
        let Some(bytes) = self.read("bases", MAX_SET_BYTES)? else { return Ok(BTreeMap::new()) };
        let changes = self.changes("bases", &bytes)?;
        let base = |change: Change| {
            let ours = Held::new(change.new?, None);
            Some((change.key, Base::new(change.old, ours)))
        };
        changes.into_iter().map(base).collect::<Option<_>>().ok_or_else(|| self.foreign("bases"))
    }

    /// Writes the bases.
    pub(crate) fn keep_bases(&self, bases: &BTreeMap<ResourceKey, Base>) -> Result<(), StoreError> {
        let changes = bases.iter().map(|(key, base)| v1::Change {
            key: key.to_string(),
            old: wire(base.observed.as_ref()),
            new: wire(Some(&base.ours)),
        });
        self.write("bases", &encoded(changes))
    }

    /// What was being adopted when the agent ended.
    pub(crate) fn adopting(&self) -> Result<Adopting, StoreError> {
        let Some(bytes) = self.read("adopting", MAX_SET_BYTES)? else { return Ok(Adopting::new()) };
        let changes = self.changes("adopting", &bytes)?;
        let before = |old: Option<Value>| old.map(|old| Held::new(old, None));
        Ok(changes.into_iter().map(|change| (change.key, before(change.old))).collect())
    }

    /// Writes what is being adopted; nothing: it is done.
    pub(crate) fn keep_adopting(&mut self, adopting: &Adopting) -> Result<(), StoreError> {
        if adopting.is_empty() {
            if std::mem::take(&mut self.has_adopting) {
                self.remove("adopting").inspect_err(|_| self.has_adopting = true)?;
            }
            return Ok(());
        }
        let changes = adopting.iter().map(|(key, old)| v1::Change {
            key: key.to_string(),
            old: wire(old.as_ref()),
            new: None,
        });
        self.has_adopting = true;
        self.write("adopting", &encoded(changes))
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
        bytes.extend(encoded(intent.changes.iter().map(Into::into)));
        self.write("intent", &bytes)
    }

    /// It is done, and told.
    pub(crate) fn end(&self) -> Result<(), StoreError> {
        self.remove("intent")
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let io = |source| StoreError::Io { path: path.clone(), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => durable::sync_folder(&self.folder).map_err(io)?,
        }
        self.step();
        Ok(())
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
        durable::replace(&path, bytes, PRIVATE)
            .map_err(|source| StoreError::Io { path, source })?;
        self.step();
        Ok(())
    }

    #[cfg(test)]
    fn step(&self) {
        self.steps.step();
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "tests count steps")]
    const fn step(&self) {}
}

fn wire(held: Option<&Held>) -> Option<v1::Value> {
    held.map(|held| (&held.value()).into())
}

/// An encoded ChangeSet, of changes that come one by one: tens of thousands of them are not in memory at once.
fn encoded(changes: impl Iterator<Item = v1::Change>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for change in changes {
        // The messages of a repeated field stand one after the other: a set of one is the encoding of its one change.
        let one = v1::ChangeSet { changes: vec![change], chunks: Vec::new() };
        bytes.extend(one.encode_to_vec());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intents_and_bases_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
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
        let other: ResourceKey = "sysctl/a".parse().unwrap();
        let held = |number| Held::new(Value::Integer(number), None);
        let base = |observed| Base::new(observed, held(3));
        let bases =
            BTreeMap::from([(key.clone(), base(Some(Value::Absent))), (other.clone(), base(None))]);
        store.keep_bases(&bases).unwrap();
        assert_eq!(store.bases().unwrap(), bases);
        let adopting = Adopting::from([(key, None), (other, Some(held(2)))]);
        assert_eq!(store.adopting().unwrap(), Adopting::new());
        store.keep_adopting(&adopting).unwrap();
        assert_eq!(store.adopting().unwrap(), adopting);
        store.keep_adopting(&Adopting::new()).unwrap();
        assert_eq!(store.adopting().unwrap(), Adopting::new());
        std::fs::write(folder.path().join("intent"), "torn").unwrap();
        assert!(matches!(store.intent(), Err(StoreError::Foreign { .. })));
    }
}

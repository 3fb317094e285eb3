//! The types that openraft is parametrised with.

use std::fmt;

use bytes::Bytes;
use pact_schemas::v1::{self, Outcome};
use prost::Message as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::folder::SnapshotFolder;

openraft::declare_raft_types!(
    /// Raft as the journal uses it.
    pub(crate) TypeConfig:
        D = CommandBatch,
        R = Outcomes,
        NodeId = u64,
        Node = openraft::BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotFolder,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type LogId = openraft::LogId<u64>;
pub(crate) type Vote = openraft::Vote<u64>;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type EntryPayload = openraft::EntryPayload<TypeConfig>;
pub(crate) type StorageError = openraft::StorageError<u64>;
pub(crate) type StoredMembership = openraft::StoredMembership<u64, openraft::BasicNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<u64, openraft::BasicNode>;
pub(crate) type Snapshot = openraft::Snapshot<TypeConfig>;

/// Encoded `CommandBatch`: encoded once by the leader, decoded once by each member's `apply`, copied in between.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct CommandBatch(Bytes);

impl CommandBatch {
    /// Encodes a batch.
    pub(crate) fn encode(batch: &v1::CommandBatch) -> Self {
        Self(batch.encode_to_vec().into())
    }

    /// A batch as it was read.
    pub(crate) fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The commands.
    pub(crate) fn decode(&self) -> Result<v1::CommandBatch, prost::DecodeError> {
        v1::CommandBatch::decode(self.0.clone())
    }
}

impl fmt::Debug for CommandBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandBatch({} bytes)", self.0.len())
    }
}

/// One outcome for each command of a batch; none for entries that are Raft's own.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Outcomes(pub(crate) Vec<Outcome>);

// openraft's feature `serde`, which the project builds with, asks for these. Nothing of the journal is stored or sent through
// them: `wire` and `rows` are the encodings.
impl Serialize for CommandBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for CommandBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|bytes| Self(bytes.into()))
    }
}

impl Serialize for Outcomes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Outcome::encode_to_vec))
    }
}

impl<'de> Deserialize<'de> for Outcomes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let encoded = Vec::<Vec<u8>>::deserialize(deserializer)?;
        let outcomes =
            encoded.iter().map(|bytes| Outcome::decode(bytes.as_slice())).collect::<Result<_, _>>();
        outcomes.map(Self).map_err(serde::de::Error::custom)
    }
}

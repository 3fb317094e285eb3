//! What `apply` makes, in the shape in which the store keeps it.

use pact_schemas::v1::JudgedScope;
use pact_schemas::{NodeId, VclusterId};
use ring::digest;

/// Where the journal stands: the last entry. `seq` 0 and zero bytes before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Sequence of the last entry.
    pub seq: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// Its time, Unix nanoseconds; no entry is older than the one before it.
    pub time_nanos: i64,
}

/// One entry as it is stored: its bytes, never encoded again, and what filters need.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredEntry {
    /// Encoded `Entry`.
    #[prost(bytes = "bytes", tag = "1")]
    pub entry: bytes::Bytes,
    /// [`leaf_hash`] of those bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub hash: bytes::Bytes,
    /// vClusters whose members may see it, as of its time.
    #[prost(string, repeated, tag = "3")]
    pub vclusters: Vec<String>,
    /// Everybody who may read the journal may see it.
    #[prost(bool, tag = "4")]
    pub global: bool,
    /// Where its nodes were, when they were not all in one vCluster: who sees which outcome.
    #[prost(message, repeated, tag = "5")]
    pub places: Vec<JudgedScope>,
}

/// The entries of one Raft entry: one row.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StoredBatch {
    /// With consecutive sequences.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<StoredEntry>,
}

/// What is remembered of a principal's command.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RequestMemory {
    /// SHA-256 over author and action: a retry must be the same request.
    #[prost(bytes = "vec", tag = "1")]
    pub digest: Vec<u8>,
    /// First entry it made; 0 for none.
    #[prost(uint64, tag = "2")]
    pub first_seq: u64,
    /// Last entry it made; 0 for none.
    #[prost(uint64, tag = "3")]
    pub last_seq: u64,
    /// Committed leader time, Unix nanoseconds.
    #[prost(int64, tag = "4")]
    pub time_nanos: i64,
    /// For exec: the additions to the built-in command list at commit time, so that signing again
    /// gives the same grant.
    #[prost(string, repeated, tag = "5")]
    pub exec_whitelist: Vec<String>,
    /// For exec: a target is in a regulated vCluster, so the node must be in strict mode.
    #[prost(bool, tag = "6")]
    pub require_strict: bool,
}

/// A certificate that a node was given.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CertificateRow {
    /// To which node.
    #[prost(string, tag = "1")]
    pub node: String,
    /// Its end, Unix nanoseconds.
    #[prost(int64, tag = "2")]
    pub not_after_nanos: i64,
    /// The entry that recorded it.
    #[prost(uint64, tag = "3")]
    pub seq: u64,
}

/// Chunks of one node that no event of it has named yet.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Unnamed {
    /// Compressed.
    #[prost(uint64, tag = "1")]
    pub bytes: u64,
    /// Time of the first of them, Unix nanoseconds.
    #[prost(int64, tag = "2")]
    pub since_nanos: i64,
}

/// The Merkle tree above its lowest level, which is read back from the entries.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TreeRow {
    /// Leaves under full tiles.
    #[prost(uint64, tag = "1")]
    pub tiled_leaves: u64,
    /// Level 1 and up: concatenated hashes of the incomplete tile.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub levels: Vec<Vec<u8>>,
}

/// How far back request ids are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestHorizon {
    /// Ids made before this Unix millisecond are refused.
    pub unix_milliseconds: u64,
    /// Ids that are remembered.
    pub remembered: u64,
}

/// Largest chunk before compression.
pub(crate) const MAX_CHUNK_BYTES: u32 = 256 * 1024;

/// A stored chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// zstd
    pub compressed: Vec<u8>,
    /// Size when uncompressed.
    pub size_bytes: u32,
}

/// Who has sent the bytes of a chunk. Its digest is in logs and answers; only who knows the bytes
/// may have them shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Uploader {
    /// A node: for its reports and its deltas.
    Node(NodeId),
    /// The gateways, which take contents from specifications as their callers wrote them.
    Gateways,
}

/// A key of the scope index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Posting {
    /// Entries that concern this node.
    Node(NodeId),
    /// Entries that concern this vCluster or, at their time, one of its nodes.
    Vcluster(VclusterId),
    /// Entries about the whole site.
    Global,
}

/// RFC 6962 leaf hash: SHA-256 over a zero byte and the entry's bytes.
pub(crate) fn leaf_hash(entry: &[u8]) -> [u8; 32] {
    sha256(&[&[0], entry])
}

/// SHA-256 over the concatenation of these parts.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

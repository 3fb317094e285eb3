//! What `apply` reads and what it changes.

use std::collections::{BTreeMap, BTreeSet};

use pact_schemas::convert::Scope;
use pact_schemas::resource::ResourceKey;
use pact_schemas::v1::{self, MembershipChanged, NodeRecord, VclusterRecord};
use pact_schemas::{NodeId, RequestId, SpoolId, VclusterId};
use prost::Message as _;

use crate::declared::{Declared, DeclaredScope, Expiry, Held, ScopeMark};
use crate::record::{
    Blob, CertificateRow, Head, Posting, RequestHorizon, RequestMemory, StoredEntry, Unnamed,
    Uploader,
};
use crate::tree::{FullTile, Tree};

/// The state before a Raft entry. An implementation that cannot read does not return.
pub trait StateView {
    /// The last entry.
    fn head(&self) -> Head;
    /// The Merkle tree over all entries.
    fn tree(&self) -> Tree;
    /// The members that were announced last, and what becomes of them.
    fn membership(&self) -> MembershipChanged;
    /// How far back request ids are remembered.
    fn horizon(&self) -> RequestHorizon;
    /// A node.
    fn node(&self, node: &NodeId) -> Option<NodeRecord>;
    /// Whose MAC address, serial or hardware id this is.
    fn holder(&self, hardware: &str) -> Option<NodeId>;
    /// Last committed event of a node's spool.
    fn spool_mark(&self, node: &NodeId, spool: &SpoolId) -> Option<u64>;
    /// A vCluster.
    fn vcluster(&self, vcluster: &VclusterId) -> Option<VclusterRecord>;
    /// What is remembered of a request.
    fn request(&self, id: &RequestId) -> Option<RequestMemory>;
    /// The oldest remembered requests, oldest first.
    fn oldest_requests(&self, limit: usize) -> Vec<RequestId>;
    /// An entry, as it is stored.
    fn stored(&self, seq: u64) -> Option<StoredEntry>;
    /// An entry.
    fn entry(&self, seq: u64) -> Option<v1::Entry> {
        v1::Entry::decode(self.stored(seq)?.entry).ok()
    }
    /// The entry that holds this node's outcome of another.
    fn outcome(&self, parent: u64, node: &NodeId) -> Option<u64>;
    /// Chunks of a node that no event has named; `None`: there are none.
    fn unnamed(&self, node: &NodeId) -> Option<Unnamed>;
    /// Whether a chunk is stored.
    fn has_blob(&self, sha256: &[u8; 32]) -> bool;
    /// Whether this uploader has sent the chunk with this digest.
    fn has_uploaded(&self, sha256: &[u8; 32], by: &Uploader) -> bool;
    /// A chunk.
    fn blob(&self, sha256: &[u8; 32]) -> Option<Blob>;
    /// The newest row of a key in a scope, at or before a sequence, with its own.
    fn declared(
        &self,
        scope: &DeclaredScope,
        key: &ResourceKey,
        at_seq: u64,
    ) -> Option<(u64, Declared)>;
    /// What a scope declared right after a sequence: at most `limit` keys after this one, in order.
    fn declared_after(
        &self,
        scope: &DeclaredScope,
        at_seq: u64,
        after: Option<&ResourceKey>,
        limit: usize,
    ) -> Vec<(ResourceKey, Held)>;
    /// The newest change of a scope, at or before a sequence; `None`: nothing was ever declared.
    fn scope_mark(&self, scope: &DeclaredScope, at_seq: u64) -> Option<ScopeMark>;
    /// Nodes whose deltas in a vCluster declare this key now.
    fn delta_nodes(&self, vcluster: &VclusterId, key: &ResourceKey) -> Vec<NodeId>;
    /// Declared keys that end at or before this time, earliest first.
    fn expiring(&self, until_nanos: i64, limit: usize) -> Vec<Expiry>;
}

/// What the commands of one Raft entry change.
#[derive(Debug, Default)]
pub struct Changes {
    /// New entries, with consecutive sequences.
    pub entries: Vec<StoredEntry>,
    /// Sequences to add to the scope index.
    pub postings: BTreeMap<Posting, Vec<u64>>,
    /// (parent, node) → entry with the outcome.
    pub outcomes: BTreeMap<(u64, NodeId), u64>,
    /// Nodes as they are now.
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// Whose hardware ids are now; `None`: nobody's.
    pub hardware: BTreeMap<String, Option<NodeId>>,
    /// Last committed events.
    pub spools: BTreeMap<(NodeId, SpoolId), u64>,
    /// vClusters as they are now.
    pub vclusters: BTreeMap<VclusterId, VclusterRecord>,
    /// Remembered requests; `None`: forgotten.
    pub requests: BTreeMap<RequestId, Option<RequestMemory>>,
    /// The horizon, when it or the count changed.
    pub horizon: Option<RequestHorizon>,
    /// Chunks that no event has named.
    pub unnamed: BTreeMap<NodeId, Unnamed>,
    /// New chunks by hash.
    pub blobs: BTreeMap<[u8; 32], Blob>,
    /// Who has sent which chunk.
    pub uploads: BTreeSet<([u8; 32], Uploader)>,
    /// Certificates by serial.
    pub certificates: BTreeMap<String, CertificateRow>,
    /// The members, when something about them changed.
    pub members: Option<MembershipChanged>,
    /// Tiles that became full.
    pub tiles: Vec<FullTile>,
    /// New rows of declared keys, by the entry that made them.
    pub declared: BTreeMap<(DeclaredScope, ResourceKey), BTreeMap<u64, Declared>>,
    /// New sequences of scopes.
    pub scope_marks: BTreeMap<DeclaredScope, BTreeMap<u64, ScopeMark>>,
    /// Whether a node's delta declares a key now.
    pub delta_nodes: BTreeMap<(VclusterId, ResourceKey), BTreeMap<NodeId, bool>>,
    /// Whether a declared key ends at a time.
    pub expiries: BTreeMap<Expiry, bool>,
    /// Whose configuration is another now, and since which entry. Announced, not stored.
    pub configured: BTreeMap<Scope, u64>,
}

impl Changes {
    /// Adds what came later.
    pub fn absorb(&mut self, later: Self) {
        self.entries.extend(later.entries);
        for (key, seqs) in later.postings {
            self.postings.entry(key).or_default().extend(seqs);
        }
        self.outcomes.extend(later.outcomes);
        self.nodes.extend(later.nodes);
        self.hardware.extend(later.hardware);
        self.spools.extend(later.spools);
        self.vclusters.extend(later.vclusters);
        self.requests.extend(later.requests);
        self.horizon = later.horizon.or(self.horizon);
        self.unnamed.extend(later.unnamed);
        self.blobs.extend(later.blobs);
        self.uploads.extend(later.uploads);
        self.certificates.extend(later.certificates);
        self.members = later.members.or(self.members.take());
        self.tiles.extend(later.tiles);
        for (key, rows) in later.declared {
            self.declared.entry(key).or_default().extend(rows);
        }
        for (scope, marks) in later.scope_marks {
            self.scope_marks.entry(scope).or_default().extend(marks);
        }
        for (key, nodes) in later.delta_nodes {
            self.delta_nodes.entry(key).or_default().extend(nodes);
        }
        self.expiries.extend(later.expiries);
        self.configured.extend(later.configured);
    }
}

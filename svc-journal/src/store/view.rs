//! How `apply` reads the state.

use pact_journal_core::declared::{Declared, DeclaredScope, Expiry, Held, ScopeMark};
use pact_journal_core::record::{
    Blob, Head, RequestHorizon, RequestMemory, StoredEntry, Unnamed, Uploader,
};
use pact_journal_core::tree::Tree;
use pact_journal_core::view::StateView;
use pact_schemas::resource::ResourceKey;
use pact_schemas::v1::{self, MembershipChanged, NodeRecord, VclusterRecord};
use pact_schemas::{NodeId, RequestId, SpoolId, VclusterId};
use rocksdb::{Direction, IteratorMode};

use super::fatal::OrFatal;
use super::key::{self, decoded};
use super::state::{Family, StateDb};
use super::{declared, query};

/// The state between two Raft entries: the database, and what is kept in memory of it.
pub(crate) struct RocksView<'a> {
    pub(crate) state: &'a StateDb,
    pub(crate) head: Head,
    pub(crate) tree: &'a Tree,
    pub(crate) horizon: RequestHorizon,
}

impl StateView for RocksView<'_> {
    fn head(&self) -> Head {
        self.head
    }

    fn tree(&self) -> Tree {
        self.tree.clone()
    }

    fn membership(&self) -> MembershipChanged {
        query::membership(self.state)
    }

    fn horizon(&self) -> RequestHorizon {
        self.horizon
    }

    fn node(&self, node: &NodeId) -> Option<NodeRecord> {
        query::node(self.state, node.as_str())
    }

    fn holder(&self, hardware: &str) -> Option<NodeId> {
        let row = self.state.get(Family::Nodes, &key::hardware(hardware))?;
        let name = std::str::from_utf8(&row).ok().and_then(|name| NodeId::new(name).ok());
        Some(name.or_fatal("the holder of a hardware id"))
    }

    fn spool_mark(&self, node: &NodeId, spool: &SpoolId) -> Option<u64> {
        query::spool_mark(self.state, node, spool)
    }

    fn vcluster(&self, vcluster: &VclusterId) -> Option<VclusterRecord> {
        query::vcluster(self.state, vcluster.as_str())
    }

    fn request(&self, id: &RequestId) -> Option<RequestMemory> {
        query::request(self.state, id)
    }

    fn oldest_requests(&self, limit: usize) -> Vec<RequestId> {
        let requests = self.state.family(Family::Requests);
        let mode = IteratorMode::From(&[], Direction::Forward);
        let rows = self.state.db().iterator_cf(requests, mode).take(limit);
        rows.map(|row| query::request_id(&row.or_fatal("the request ids cannot be read").0))
            .collect()
    }

    fn stored(&self, seq: u64) -> Option<StoredEntry> {
        query::entry(self.state, seq)
    }

    fn entry(&self, seq: u64) -> Option<v1::Entry> {
        Some(decoded(&self.stored(seq)?.entry, "an entry"))
    }

    fn outcome(&self, parent: u64, node: &NodeId) -> Option<u64> {
        let row = self.state.get(Family::Postings, &key::outcome_of(parent, node))?;
        Some(u64::from_be_bytes(row.as_slice().try_into().or_fatal("the outcome of a node")))
    }

    fn unnamed(&self, node: &NodeId) -> Option<Unnamed> {
        let row = self.state.get(Family::Nodes, &key::unnamed(node))?;
        Some(decoded(&row, "the chunks of a node that no event names"))
    }

    fn has_blob(&self, sha256: &[u8; 32]) -> bool {
        query::has_blob(self.state, sha256)
    }

    fn has_uploaded(&self, sha256: &[u8; 32], by: &Uploader) -> bool {
        query::has_uploaded(self.state, sha256, by)
    }

    fn blob(&self, sha256: &[u8; 32]) -> Option<Blob> {
        query::blob(self.state, sha256)
    }

    fn declared(
        &self,
        scope: &DeclaredScope,
        key: &ResourceKey,
        at_seq: u64,
    ) -> Option<(u64, Declared)> {
        declared::newest(self.state, scope, key, at_seq)
    }

    fn declared_after(
        &self,
        scope: &DeclaredScope,
        at_seq: u64,
        after: Option<&ResourceKey>,
        limit: usize,
    ) -> Vec<(ResourceKey, Held)> {
        declared::held_after(self.state, scope, at_seq, after).take(limit).collect()
    }

    fn scope_mark(&self, scope: &DeclaredScope, at_seq: u64) -> Option<ScopeMark> {
        declared::scope_mark(self.state, scope, at_seq)
    }

    fn delta_nodes(&self, vcluster: &VclusterId, key: &ResourceKey) -> Vec<NodeId> {
        declared::delta_nodes(self.state, vcluster, key)
    }

    fn expiring(&self, until_nanos: i64, limit: usize) -> Vec<Expiry> {
        declared::expiring(self.state, until_nanos, limit)
    }
}

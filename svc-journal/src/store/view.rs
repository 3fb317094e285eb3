//! How `apply` reads the state.

use pact_journal_core::declared::{Declared, DeclaredScope, Expiry, Held, ScopeMark};
use pact_journal_core::record::{Blob, Head, RequestHorizon, RequestMemory, Unnamed, Uploader};
use pact_journal_core::tree::Tree;
use pact_journal_core::view::StateView;
use pact_schemas::resource::ResourceKey;
use pact_schemas::v1::{self, MembershipChanged, NodeRecord, VclusterRecord};
use pact_schemas::{NodeId, RequestId, SpoolId, VclusterId};
use prost::Message;
use rocksdb::{Direction, IteratorMode};

use super::declared::Rows;
use super::fatal::OrFatal;
use super::state::{Family, StateDb, meta};
use super::{declared, query};

/// Keys of the families that `apply` reads and writes.
pub(crate) mod key {
    use pact_schemas::{NodeId, SpoolId};

    use pact_journal_core::record::{Posting, Uploader};

    pub(crate) fn node(node: &str) -> Vec<u8> {
        [b"r", node.as_bytes()].concat()
    }

    pub(crate) fn hardware(id: &str) -> Vec<u8> {
        [b"h", id.as_bytes()].concat()
    }

    pub(crate) fn spool(node: &NodeId, spool: &SpoolId) -> Vec<u8> {
        [b"s", node.as_str().as_bytes(), &[0], spool.as_str().as_bytes()].concat()
    }

    pub(crate) fn unnamed(node: &NodeId) -> Vec<u8> {
        [b"u", node.as_str().as_bytes()].concat()
    }

    /// Everything before the sequence.
    pub(crate) fn posting(posting: &Posting) -> Vec<u8> {
        match posting {
            Posting::Node(node) => [b"n", node.as_str().as_bytes(), &[0]].concat(),
            Posting::Vcluster(vcluster) => [b"v", vcluster.as_str().as_bytes(), &[0]].concat(),
            Posting::Global => b"g".to_vec(),
        }
    }

    /// Everything before the sequence.
    pub(crate) fn outcomes(parent: u64) -> Vec<u8> {
        [b"o".as_slice(), &parent.to_be_bytes()].concat()
    }

    pub(crate) fn outcome_of(parent: u64, node: &NodeId) -> Vec<u8> {
        [b"f".as_slice(), &parent.to_be_bytes(), node.as_str().as_bytes()].concat()
    }

    /// Longer than the chunk's own key, which it begins with.
    pub(crate) fn upload(sha256: &[u8], by: &Uploader) -> Vec<u8> {
        match by {
            Uploader::Node(node) => [sha256, b"n", node.as_str().as_bytes()].concat(),
            Uploader::Gateways => [sha256, b"g"].concat(),
        }
    }

    pub(crate) fn tile(level: u8, index: u64) -> Vec<u8> {
        [[level].as_slice(), &index.to_be_bytes()].concat()
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HeadRow {
    #[prost(uint64, tag = "1")]
    pub(crate) seq: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) hash: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(crate) time_nanos: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HorizonRow {
    #[prost(uint64, tag = "1")]
    pub(crate) unix_milliseconds: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) remembered: u64,
}

/// The state between two Raft entries: the database, and what is kept in memory of it.
pub(crate) struct RocksView<'a> {
    pub(crate) state: &'a StateDb,
    pub(crate) head: Head,
    pub(crate) tree: &'a Tree,
    pub(crate) horizon: RequestHorizon,
}

/// A stored message; the process ends when it does not decode.
pub(crate) fn decoded<M: Message + Default>(row: &[u8], what: &str) -> M {
    M::decode(row).or_fatal(what)
}

/// The last entry of a state.
pub(crate) fn read_head(state: &StateDb) -> Head {
    read_head_in(state)
}

/// As [`read_head`], of the state at one moment.
pub(crate) fn read_head_in(rows: &dyn Rows) -> Head {
    let Some(row) = rows.row(Family::Meta, meta::HEAD) else { return Head::default() };
    let row: HeadRow = decoded(&row, "the head of the journal");
    let hash = row.hash.as_slice().try_into().or_fatal("the head of the journal");
    Head { seq: row.seq, hash, time_nanos: row.time_nanos }
}

/// A node, in the state at one moment.
pub(crate) fn node_in(rows: &dyn Rows, node: &str) -> Option<NodeRecord> {
    rows.row(Family::Nodes, &key::node(node)).map(|row| decoded(&row, "a node"))
}

/// A vCluster, in the state at one moment.
pub(crate) fn vcluster_in(rows: &dyn Rows, vcluster: &str) -> Option<VclusterRecord> {
    rows.row(Family::Vclusters, vcluster.as_bytes()).map(|row| decoded(&row, "a vCluster"))
}

/// The horizon of request ids of a state.
pub(crate) fn read_horizon(state: &StateDb) -> RequestHorizon {
    let row = state.get(Family::Meta, meta::HORIZON);
    let row: HorizonRow =
        row.map(|row| decoded(&row, "the horizon of request ids")).unwrap_or_default();
    RequestHorizon { unix_milliseconds: row.unix_milliseconds, remembered: row.remembered }
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

    fn entry(&self, seq: u64) -> Option<v1::Entry> {
        let stored = query::entry(self.state, seq)?;
        Some(decoded(&stored.entry, "an entry"))
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

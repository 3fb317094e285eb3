//! Documents of declared state: made from rows that never change, kept while they are asked for.
//!
//! After a commit every node of a vCluster asks for the same document at once. It is made once; small ones, the deltas of most
//! nodes, are made again for each question.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pact_identity::config_head::MAX_DOCUMENT_BYTES;
use pact_journal_core::declared::{DeclaredScope, Held};
use pact_schemas::convert::{self, Scope, WireError, vcluster_of};
use pact_schemas::resource::ResourceKey;
use pact_schemas::v1::{self, DeclaredDocument, DeclaredKey, VclusterPolicy};
use pact_schemas::{Digest, NodeId, VclusterId};
use prost::Message as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::store::declared::{Frozen, Rows, held_after};
use crate::store::query;
use crate::store::query::{node_in, read_head_in, vcluster_in};
use crate::store::state::StateDb;

/// Version of the documents.
const VERSION: u32 = 1;
/// Bytes of all documents that are kept, as they travel: a few hundred vClusters, or a few of the largest.
const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;
/// What keeping one costs beside its bytes.
const KEPT_OVERHEAD_BYTES: usize = 512;
/// Documents of one node with fewer bytes are not kept: they are made in the time that it takes to find them.
const KEEP_FROM_BYTES: u64 = 4 * 1024;
/// Questions that are worked on at once; the others wait without a thread, of which applying needs some.
const AT_ONCE: usize = 16;
/// zstd's level: made once, sent to thousands.
const LEVEL: i32 = 3;

/// Everything that a document is made of: equal sources are equal bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    /// Whose.
    pub(super) scope: Scope,
    /// Where its rows are; `None`: a node without vCluster has none.
    rows: Option<DeclaredScope>,
    /// Newest entry that is in it.
    pub(super) seq: u64,
    policy: Option<(u64, VclusterPolicy)>,
    blacklist: Vec<String>,
}

/// What a [`Source`] is found by.
type Name = (Scope, Option<VclusterId>, u64, u64, Vec<String>);

impl Source {
    fn name(&self) -> Name {
        let policy_seq = self.policy.as_ref().map_or(0, |(seq, _)| *seq);
        let vcluster = self.rows.as_ref().map(|rows| rows.vcluster().clone());
        (self.scope.clone(), vcluster, self.seq, policy_seq, self.blacklist.clone())
    }
}

/// What one node is to be, at one moment of the state.
pub(crate) struct NodeConfig {
    /// The last entry.
    pub(super) head_seq: u64,
    /// Of the vCluster, if the node is in one, and of the node.
    pub(super) sources: Vec<Source>,
}

/// Reads what a node's documents are made of, all at one moment. `None`: the node is not registered.
pub(super) fn sources(
    state: &StateDb,
    node: &NodeId,
) -> Result<Option<(v1::NodeRecord, NodeConfig)>, WireError> {
    let moment = Frozen::of(state);
    let Some(record) = node_in(&moment, node.as_str()) else { return Ok(None) };
    let vcluster = vcluster_of(&record)?;
    let mut sources = Vec::with_capacity(2);
    if let Some(vcluster) = &vcluster
        && let Some(found) = vcluster_in(&moment, vcluster.as_str())
    {
        sources.push(Source {
            scope: Scope::Vcluster(vcluster.clone()),
            rows: Some(DeclaredScope::Overlay(vcluster.clone())),
            seq: found.overlay_seq,
            policy: Some((found.policy_seq, found.policy.unwrap_or_default())),
            blacklist: found.blacklist,
        });
    }
    sources.push(Source {
        scope: Scope::Node(node.clone()),
        rows: vcluster.map(|vcluster| DeclaredScope::Delta(vcluster, node.clone())),
        seq: record.delta_seq,
        policy: None,
        blacklist: record.blacklist.clone(),
    });
    Ok(Some((record, NodeConfig { head_seq: read_head_in(&moment).seq, sources })))
}

/// A document, ready to travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// Of the encoded document.
    pub(super) sha256: Digest,
    /// Its size.
    pub(super) size_bytes: u64,
    /// zstd
    pub(super) compressed: Bytes,
}

/// A declared key as it travels.
pub(in crate::handlers) fn to_wire((key, held): (ResourceKey, Held)) -> DeclaredKey {
    DeclaredKey {
        key: key.as_str().to_owned(),
        value: Some(v1::Value::from(&held.value)),
        seq: held.seq,
        expires: held.expires_nanos.map(convert::timestamp),
    }
}

/// Makes a document. Rows never change, so that the state may have moved on meanwhile.
fn make(state: &StateDb, source: &Source) -> Result<Document, v1::Error> {
    // What nothing was ever declared for needs no search.
    let rows = source.rows.as_ref().filter(|_| source.seq > 0);
    let keys = rows.map(|rows| held_after(state as &dyn Rows, rows, source.seq, None));
    let document = DeclaredDocument {
        version: VERSION,
        scope: Some(v1::Scope::from(&source.scope)),
        seq: source.seq,
        policy: source.policy.as_ref().map(|(_, policy)| policy.clone()),
        blacklist: source.blacklist.clone(),
        keys: keys.into_iter().flatten().map(to_wire).collect(),
    };
    let bytes = document.encode_to_vec();
    let internal = |what: &str| {
        pact_schemas::ErrorCode::Internal.error(format!("{} cannot be sent: {what}", source.scope))
    };
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(internal("more than 10 MB are declared"));
    }
    let compressed =
        zstd::bulk::compress(&bytes, LEVEL).map_err(|_| internal("it does not pack"))?;
    Ok(Document {
        sha256: Digest::of(&bytes),
        size_bytes: bytes.len() as u64,
        compressed: compressed.into(),
    })
}

/// The documents that are kept.
pub(crate) struct Documents {
    kept: Mutex<Kept>,
    /// A vCluster's is made by one at a time: thousands ask for the same one.
    making: Mutex<()>,
    at_once: Semaphore,
}

impl Default for Documents {
    fn default() -> Self {
        let (kept, making) = (Mutex::default(), Mutex::default());
        Self { kept, making, at_once: Semaphore::new(AT_ONCE) }
    }
}

#[derive(Default)]
struct Kept {
    documents: BTreeMap<Name, (u64, Arc<Document>)>,
    bytes: usize,
    uses: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked has not left anything half done: a document is put in or taken out as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Documents {
    /// The document of a source; blocks while it is made.
    pub(super) fn get(&self, state: &StateDb, source: &Source) -> Result<Arc<Document>, v1::Error> {
        let is_shared = source.policy.is_some();
        if source.seq == 0 && !is_shared {
            return make(state, source).map(Arc::new);
        }
        let name = source.name();
        if let Some(found) = lock(&self.kept).find(&name) {
            return Ok(found);
        }
        let only = is_shared.then(|| lock(&self.making));
        if let Some(found) = only.as_ref().and_then(|_| lock(&self.kept).find(&name)) {
            return Ok(found);
        }
        let made = Arc::new(make(state, source)?);
        if is_shared || made.size_bytes >= KEEP_FROM_BYTES {
            lock(&self.kept).keep(name, Arc::clone(&made));
        }
        Ok(made)
    }

    /// Waits for a turn; it ends with the permit.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed.
        self.at_once.acquire().await.ok()
    }
}

fn cost(document: &Document) -> usize {
    document.compressed.len() + KEPT_OVERHEAD_BYTES
}

impl Kept {
    fn find(&mut self, name: &Name) -> Option<Arc<Document>> {
        self.uses += 1;
        let (used, document) = self.documents.get_mut(name)?;
        *used = self.uses;
        Some(Arc::clone(document))
    }

    fn keep(&mut self, name: Name, document: Arc<Document>) {
        self.bytes += cost(&document);
        self.uses += 1;
        if let Some((_, older)) = self.documents.insert(name, (self.uses, document)) {
            self.bytes -= cost(&older);
        }
        while self.bytes > MAX_KEPT_BYTES {
            let oldest = self.documents.iter().min_by_key(|(_, (used, _))| *used);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else { break };
            if let Some((_, gone)) = self.documents.remove(&name) {
                self.bytes -= cost(&gone);
            }
        }
    }
}

/// The contents of a file as this key declares it now; `None`: the key declares other contents, or none.
pub(super) fn declared_contents(
    state: &StateDb,
    scope: &DeclaredScope,
    key: &ResourceKey,
    sha256: &[u8; 32],
) -> Option<Option<Vec<u8>>> {
    let (_, row) = crate::store::declared::newest(state, scope, key, u64::MAX)?;
    let value = row.value?;
    let file = value.as_file().filter(|file| file.content_kept)?;
    (file.sha256.as_ref() == Some(sha256))
        .then(|| query::blob(state, sha256).map(|blob| blob.compressed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(bytes: usize) -> Arc<Document> {
        Arc::new(Document {
            sha256: [1; 32].into(),
            size_bytes: 1,
            compressed: vec![0; bytes].into(),
        })
    }

    fn name(seq: u64) -> Name {
        (Scope::Vcluster(VclusterId::new("ml").unwrap()), None, seq, 0, Vec::new())
    }

    #[test]
    fn what_was_used_longest_ago_goes_when_there_is_too_much() {
        let mut kept = Kept::default();
        let third = MAX_KEPT_BYTES / 3;
        for seq in 0..3 {
            kept.keep(name(seq), document(third - KEPT_OVERHEAD_BYTES));
        }
        assert!((0..3).all(|seq| kept.documents.contains_key(&name(seq))));
        assert!(kept.find(&name(0)).is_some());
        kept.keep(name(3), document(third));
        let left: Vec<u64> = kept.documents.keys().map(|name| name.2).collect();
        assert!(left.contains(&0) && left.contains(&3) && !left.contains(&1), "{left:?}");
        assert!(kept.bytes <= MAX_KEPT_BYTES);
        // The same one again takes the place of the first, and one that is too large stays nowhere.
        kept.keep(name(3), document(10));
        kept.keep(name(9), document(MAX_KEPT_BYTES));
        assert_eq!((kept.documents.len(), kept.bytes), (0, 0));
    }
}

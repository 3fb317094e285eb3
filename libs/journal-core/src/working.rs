//! The state as the next command sees it: what is stored, what earlier commands of the batch
//! changed, and what this one has staged. A refused command leaves nothing behind, because only
//! [`Working::keep`] moves staged changes on.

mod declared;

use std::collections::BTreeSet;

use pact_schemas::convert::{self, Scope};
use pact_schemas::v1::{
    self, Command, Entry, EntryKind, JudgedScope, MembershipChanged, NodeRecord, NodeState,
    VclusterRecord,
};
use pact_schemas::{NodeId, NodeSet, RequestId, SpoolId, VclusterId};
use prost::Message as _;

use crate::node::{state_of, vcluster_of};
use crate::record::{
    Head, Posting, RequestHorizon, RequestMemory, StoredEntry, Unnamed, Uploader, leaf_hash,
};
use crate::refusal::Refusal;
use crate::tree::Tree;
use crate::view::{Changes, StateView};

/// Version of the entry encoding.
const ENTRY_VERSION: u32 = 1;

/// Most nodes of one command whose own index names the entry; larger sets are found by vCluster and
/// by reading on.
const MAX_INDEXED_NODES: usize = 1_000;

/// An entry before it has a sequence, a hash and its author.
pub(crate) struct Draft {
    pub(crate) kind: EntryKind,
    pub(crate) scope: Scope,
    pub(crate) parent: Option<u64>,
    pub(crate) message: String,
    pub(crate) payload: v1::entry::Payload,
    /// vClusters beside the scope's own whose members may see it.
    pub(crate) vclusters: BTreeSet<VclusterId>,
    /// Only those: the node may be elsewhere by now, or the scope is wider than what it concerns.
    pub(crate) is_closed: bool,
    /// Where its nodes are, when they are not all in one place: who sees the outcome of each.
    pub(crate) places: Vec<JudgedScope>,
    /// Nodes beside the scope's own that it concerns.
    pub(crate) nodes: Vec<NodeId>,
    /// Changed keys, in order; see [`Working::attach`].
    pub(crate) changes: v1::ChangeSet,
    /// How long what it declares lasts.
    pub(crate) ttl_seconds: Option<u64>,
}

impl Draft {
    /// An entry without parent that concerns its scope alone.
    pub(crate) fn new(
        kind: EntryKind,
        scope: Scope,
        message: String,
        payload: v1::entry::Payload,
    ) -> Self {
        Self {
            kind,
            scope,
            parent: None,
            message,
            payload,
            vclusters: BTreeSet::new(),
            is_closed: false,
            places: Vec::new(),
            nodes: Vec::new(),
            changes: v1::ChangeSet::default(),
            ttl_seconds: None,
        }
    }

    /// An entry that concerns these nodes, which are in these vClusters, as it was judged.
    pub(crate) fn on_nodes(
        kind: EntryKind,
        targets: &NodeSet,
        vclusters: BTreeSet<Option<VclusterId>>,
        judged: &[JudgedScope],
        message: String,
        payload: v1::entry::Payload,
    ) -> Self {
        let scope = scope_of(targets, &vclusters);
        let places = if vclusters.len() > 1 { judged.to_vec() } else { Vec::new() };
        Self {
            vclusters: vclusters.into_iter().flatten().collect(),
            is_closed: true,
            places,
            nodes: targets.iter().cloned().collect(),
            ..Self::new(kind, scope, message, payload)
        }
    }
}

/// The smallest scope that holds all targets.
fn scope_of(targets: &NodeSet, vclusters: &BTreeSet<Option<VclusterId>>) -> Scope {
    let mut nodes = targets.iter();
    if let (Some(only), None) = (nodes.next(), nodes.next()) {
        return Scope::Node(only.clone());
    }
    let mut vclusters = vclusters.iter();
    match (vclusters.next(), vclusters.next()) {
        (Some(Some(all)), None) => Scope::Vcluster(all.clone()),
        _ => Scope::Global,
    }
}

/// See the module.
pub(crate) struct Working<'v> {
    base: &'v dyn StateView,
    first_seq: u64,
    head: Head,
    tree: Tree,
    kept: Changes,
    pub(crate) staged: Changes,
    drafts: Vec<Draft>,
}

impl<'v> Working<'v> {
    pub(crate) fn new(base: &'v dyn StateView) -> Self {
        let head = base.head();
        Self {
            base,
            first_seq: head.seq + 1,
            head,
            tree: base.tree(),
            kept: Changes::default(),
            staged: Changes::default(),
            drafts: Vec::new(),
        }
    }

    /// The last entry, those of this batch included.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// The sequence that the next draft will have.
    pub(crate) fn next_seq(&self) -> u64 {
        self.head.seq + 1 + self.drafts.len() as u64
    }

    /// Stages an entry; returns its sequence.
    pub(crate) fn draft(&mut self, draft: Draft) -> u64 {
        let seq = self.next_seq();
        self.drafts.push(draft);
        seq
    }

    /// Drops what the refused command staged.
    pub(crate) fn discard(&mut self) {
        self.staged = Changes::default();
        self.drafts.clear();
    }

    /// Makes the staged entries and keeps the staged changes. Returns first and last sequence, 0
    /// and 0 for none.
    pub(crate) fn keep(&mut self, command: &Command, time_nanos: i64) -> (u64, u64) {
        let drafts = std::mem::take(&mut self.drafts);
        let first = self.head.seq + 1;
        let count = drafts.len() as u64;
        for draft in drafts {
            self.append(draft, command, time_nanos);
        }
        let staged = std::mem::take(&mut self.staged);
        self.kept.absorb(staged);
        if count == 0 { (0, 0) } else { (first, self.head.seq) }
    }

    fn append(&mut self, draft: Draft, command: &Command, time_nanos: i64) {
        let seq = self.head.seq + 1;
        self.index(&draft, seq);
        let (vclusters, global) = self.audience(&draft);
        let entry = Entry {
            version: ENTRY_VERSION,
            seq,
            time: Some(convert::timestamp(time_nanos)),
            kind: draft.kind.into(),
            scope: Some(v1::Scope::from(&draft.scope)),
            author: command.author.clone(),
            acting_role: command.acting_role.clone(),
            request_id: command.request_id.clone(),
            policy_ref: command.policy_ref.clone(),
            approval: None,
            emergency: None,
            ttl_seconds: draft.ttl_seconds,
            parent: draft.parent,
            message: draft.message,
            changes: draft.changes.changes,
            previous_hash: self.head.hash.to_vec(),
            payload: Some(draft.payload),
            change_chunks: draft.changes.chunks,
        };
        let bytes = entry.encode_to_vec();
        let hash = leaf_hash(&bytes);
        self.staged.tiles.extend(self.tree.push(hash));
        self.staged.entries.push(StoredEntry {
            entry: bytes.into(),
            hash: hash.to_vec().into(),
            vclusters,
            global,
            places: draft.places,
        });
        self.head = Head { seq, hash, time_nanos };
    }

    fn index(&mut self, draft: &Draft, seq: u64) {
        let mut keys: BTreeSet<Posting> = BTreeSet::new();
        match &draft.scope {
            Scope::Node(node) => {
                keys.insert(Posting::Node(node.clone()));
            }
            Scope::Vcluster(vcluster) => {
                keys.insert(Posting::Vcluster(vcluster.clone()));
            }
            Scope::Global => {
                keys.insert(Posting::Global);
            }
        }
        keys.extend(self.vclusters_of(draft).into_iter().map(Posting::Vcluster));
        if draft.nodes.len() <= MAX_INDEXED_NODES {
            keys.extend(draft.nodes.iter().cloned().map(Posting::Node));
        }
        for key in keys {
            self.staged.postings.entry(key).or_default().push(seq);
        }
    }

    /// vClusters whose members may see the entry, and whether everybody may.
    fn audience(&self, draft: &Draft) -> (Vec<String>, bool) {
        let vclusters = self.vclusters_of(draft).iter().map(VclusterId::to_string).collect();
        (vclusters, draft.scope == Scope::Global && !draft.is_closed)
    }

    fn vclusters_of(&self, draft: &Draft) -> BTreeSet<VclusterId> {
        let mut vclusters = draft.vclusters.clone();
        match &draft.scope {
            _ if draft.is_closed => {}
            Scope::Node(node) => vclusters.extend(self.node(node).as_ref().and_then(vcluster_of)),
            Scope::Vcluster(vcluster) => {
                vclusters.insert(vcluster.clone());
            }
            Scope::Global => {}
        }
        vclusters
    }

    /// Everything the batch changed, and where the journal stands after it.
    pub(crate) fn finish(self) -> (Changes, Head, Tree) {
        (self.kept, self.head, self.tree)
    }

    pub(crate) fn node(&self, node: &NodeId) -> Option<NodeRecord> {
        let changed = self.staged.nodes.get(node).or_else(|| self.kept.nodes.get(node));
        changed.cloned().or_else(|| self.base.node(node))
    }

    /// A node, which is registered.
    pub(crate) fn known(&self, node: &NodeId) -> Result<NodeRecord, Refusal> {
        self.node(node).ok_or_else(|| Refusal::UnknownNode { node: node.clone() })
    }

    /// A node that is not revoked.
    pub(crate) fn live(&self, node: &NodeId) -> Result<NodeRecord, Refusal> {
        let record = self.known(node)?;
        if state_of(&record) == NodeState::Revoked {
            return Err(Refusal::Revoked { node: node.clone() });
        }
        Ok(record)
    }

    /// A node that is not revoked, and the vCluster that it is in.
    pub(crate) fn assigned(&self, node: &NodeId) -> Result<(NodeRecord, VclusterId), Refusal> {
        let record = self.live(node)?;
        let vcluster = vcluster_of(&record);
        let vcluster = vcluster.ok_or_else(|| Refusal::NotAssigned { node: node.clone() })?;
        Ok((record, vcluster))
    }

    pub(crate) fn holder(&self, hardware: &str) -> Option<NodeId> {
        match self.staged.hardware.get(hardware).or_else(|| self.kept.hardware.get(hardware)) {
            Some(changed) => changed.clone(),
            None => self.base.holder(hardware),
        }
    }

    pub(crate) fn spool_mark(&self, node: &NodeId, spool: &SpoolId) -> Option<u64> {
        let key = (node.clone(), spool.clone());
        let changed = self.staged.spools.get(&key).or_else(|| self.kept.spools.get(&key));
        changed.copied().or_else(|| self.base.spool_mark(node, spool))
    }

    pub(crate) fn vcluster(&self, vcluster: &VclusterId) -> Option<VclusterRecord> {
        let changed =
            self.staged.vclusters.get(vcluster).or_else(|| self.kept.vclusters.get(vcluster));
        changed.cloned().or_else(|| self.base.vcluster(vcluster))
    }

    pub(crate) fn membership(&self) -> MembershipChanged {
        self.kept.members.clone().unwrap_or_else(|| self.base.membership())
    }

    pub(crate) fn horizon(&self) -> RequestHorizon {
        self.staged.horizon.or(self.kept.horizon).unwrap_or_else(|| self.base.horizon())
    }

    pub(crate) fn request(&self, id: &RequestId) -> Option<RequestMemory> {
        match self.kept.requests.get(id) {
            Some(changed) => changed.clone(),
            None => self.base.request(id),
        }
    }

    /// The oldest ids before this batch that it has not forgotten.
    pub(crate) fn oldest_requests(&self, limit: usize) -> Vec<RequestId> {
        let mut oldest = self.base.oldest_requests(limit);
        oldest.retain(|id| self.kept.requests.get(id) != Some(&None));
        oldest
    }

    pub(crate) fn entry(&self, seq: u64) -> Option<Entry> {
        Entry::decode(self.stored(seq)?.entry).ok()
    }

    fn stored(&self, seq: u64) -> Option<StoredEntry> {
        let Some(offset) = seq.checked_sub(self.first_seq) else { return self.base.stored(seq) };
        self.kept.entries.get(usize::try_from(offset).ok()?).cloned()
    }

    /// The draft of what became of an entry on a node: seen by those who see the entry, as far as
    /// they were concerned with this node then. Where the node is now says nothing.
    pub(crate) fn outcome_of(&self, parent: u64, node: &NodeId, draft: Draft) -> Draft {
        let stored = self.stored(parent).unwrap_or_default();
        let here = |place: &&JudgedScope| {
            NodeSet::parse(&place.targets).is_ok_and(|set| set.contains(node))
        };
        let vclusters: Vec<String> = match stored.places.iter().find(here) {
            Some(place) => place.vcluster.iter().cloned().collect(),
            None if stored.places.is_empty() => stored.vclusters,
            None => Vec::new(),
        };
        let vclusters = vclusters.iter().filter_map(|name| name.parse().ok()).collect();
        Draft { parent: Some(parent), vclusters, is_closed: true, ..draft }
    }

    pub(crate) fn outcome(&self, parent: u64, node: &NodeId) -> Option<u64> {
        let kept = self.kept.outcomes.get(&(parent, node.clone())).copied();
        kept.or_else(|| self.base.outcome(parent, node))
    }

    pub(crate) fn unnamed(&self, node: &NodeId) -> Option<Unnamed> {
        let changed = self.staged.unnamed.get(node).or_else(|| self.kept.unnamed.get(node));
        changed.copied().or_else(|| self.base.unnamed(node))
    }

    /// Whether this uploader knows the bytes of a chunk: only then may it name it.
    pub(crate) fn has_uploaded(&self, sha256: &[u8; 32], by: &Uploader) -> bool {
        let upload = (*sha256, by.clone());
        self.kept.uploads.contains(&upload) || self.base.has_uploaded(sha256, by)
    }

    pub(crate) fn has_blob(&self, sha256: &[u8; 32]) -> bool {
        self.kept.blobs.contains_key(sha256) || self.base.has_blob(sha256)
    }
}

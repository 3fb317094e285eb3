//! The state in maps: for tests of the rules, and of services that need a journal which keeps them.

use std::collections::{BTreeMap, BTreeSet};

use pact_schemas::convert::Scope;
use pact_schemas::resource::ResourceKey;
use pact_schemas::v1::action::Action;
use pact_schemas::v1::{self, Command, MembershipChanged, NodeRecord, Outcome, VclusterRecord};
use pact_schemas::{NodeId, NodeSet, RequestId, SpoolId, VclusterId};
use prost::Message as _;

use crate::action::rules;
use crate::apply::apply_batch;
use crate::declared::{Declared, DeclaredScope, Expiry, Held, ScopeMark};
use crate::record::{
    Blob, Head, Posting, RequestHorizon, RequestMemory, StoredEntry, Unnamed, Uploader,
};
use crate::tree::Tree;
use crate::view::StateView;

/// Everything that a journal keeps. Its fields may be set by hand, where a test begins with another
/// state than an empty one.
#[derive(Default)]
pub struct Memory {
    pub head: Head,
    pub tree: Tree,
    pub entries: Vec<StoredEntry>,
    pub postings: BTreeMap<Posting, Vec<u64>>,
    pub outcomes: BTreeMap<(u64, NodeId), u64>,
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    pub hardware: BTreeMap<String, NodeId>,
    pub spools: BTreeMap<(NodeId, SpoolId), u64>,
    pub vclusters: BTreeMap<VclusterId, VclusterRecord>,
    pub requests: BTreeMap<RequestId, RequestMemory>,
    pub horizon: RequestHorizon,
    pub unnamed: BTreeMap<NodeId, Unnamed>,
    pub blobs: BTreeMap<[u8; 32], Blob>,
    pub uploads: BTreeSet<([u8; 32], Uploader)>,
    pub members: MembershipChanged,
    pub declared: BTreeMap<(DeclaredScope, ResourceKey), BTreeMap<u64, Declared>>,
    pub scope_marks: BTreeMap<DeclaredScope, BTreeMap<u64, ScopeMark>>,
    pub delta_nodes: BTreeSet<(VclusterId, ResourceKey, NodeId)>,
    pub expiries: BTreeSet<Expiry>,
    pub configured: Vec<(Scope, u64)>,
}

impl Memory {
    /// Applies the commands of one Raft entry.
    pub fn apply(&mut self, commands: &[Command]) -> Vec<Outcome> {
        let applied = apply_batch(self, commands).unwrap();
        let changes = applied.changes;
        self.head = applied.head;
        self.tree = applied.tree;
        self.entries.extend(changes.entries);
        for (key, seqs) in changes.postings {
            self.postings.entry(key).or_default().extend(seqs);
        }
        self.outcomes.extend(changes.outcomes);
        self.nodes.extend(changes.nodes);
        for (hardware, holder) in changes.hardware {
            match holder {
                Some(node) => drop(self.hardware.insert(hardware, node)),
                None => drop(self.hardware.remove(&hardware)),
            }
        }
        self.spools.extend(changes.spools);
        self.vclusters.extend(changes.vclusters);
        for (id, memory) in changes.requests {
            match memory {
                Some(memory) => drop(self.requests.insert(id, memory)),
                None => drop(self.requests.remove(&id)),
            }
        }
        self.horizon = changes.horizon.unwrap_or(self.horizon);
        self.unnamed.extend(changes.unnamed);
        self.blobs.extend(changes.blobs);
        self.uploads.extend(changes.uploads);
        for (key, rows) in changes.declared {
            self.declared.entry(key).or_default().extend(rows);
        }
        for (scope, marks) in changes.scope_marks {
            self.scope_marks.entry(scope).or_default().extend(marks);
        }
        for ((vcluster, key), nodes) in changes.delta_nodes {
            for (node, declares) in nodes {
                let place = (vcluster.clone(), key.clone(), node);
                if declares {
                    self.delta_nodes.insert(place);
                } else {
                    self.delta_nodes.remove(&place);
                }
            }
        }
        for (expiry, stays) in changes.expiries {
            if stays {
                self.expiries.insert(expiry);
            } else {
                self.expiries.remove(&expiry);
            }
        }
        self.configured.extend(changes.configured);
        self.members = changes.members.unwrap_or_else(|| std::mem::take(&mut self.members));
        applied.outcomes
    }

    /// The command of a gateway that judged the right just now, unless it says itself what was
    /// judged.
    pub fn judging(&self, mut command: Command) -> Command {
        let action = command.action.as_mut().and_then(|action| action.action.as_mut());
        if let Some(action) = action
            && let Some(judged) = self.judged_now(action)
        {
            *action = judged;
        }
        command
    }

    fn judged_now(&self, action: &Action) -> Option<Action> {
        let targets = match action {
            Action::ExecRequest(exec) => exec.targets.clone(),
            Action::AssignNode(assign) => assign.targets.clone(),
            Action::ExtendWindow(extend) => extend.targets.clone(),
            Action::RegisterNode(v1::RegisterNode { node, .. })
            | Action::RevokeNode(v1::RevokeNode { node, .. }) => node.clone(),
            Action::Rollback(v1::Rollback { scope, .. })
            | Action::ChangeBlacklist(v1::ChangeBlacklist { scope, .. }) => {
                match scope.as_ref()?.scope.as_ref()? {
                    v1::scope::Scope::Node(node) => node.clone(),
                    _ => return None,
                }
            }
            _ => return None,
        };
        let says_nothing = rules(action).judged_in(Vec::new()).as_ref() == Some(action);
        let targets = NodeSet::parse(&targets).ok().filter(|_| says_nothing)?;
        let here = targets.iter().map(|node| v1::JudgedScope {
            vcluster: self.nodes.get(node).and_then(|record| record.vcluster.clone()),
            targets: node.to_string(),
        });
        rules(action).judged_in(here.collect())
    }

    /// The entries, as they were made.
    pub fn decoded(&self) -> Vec<v1::Entry> {
        self.entries.iter().map(|stored| v1::Entry::decode(stored.entry.clone()).unwrap()).collect()
    }
}

impl StateView for Memory {
    fn head(&self) -> Head {
        self.head
    }
    fn tree(&self) -> Tree {
        self.tree.clone()
    }
    fn membership(&self) -> MembershipChanged {
        self.members.clone()
    }
    fn horizon(&self) -> RequestHorizon {
        self.horizon
    }
    fn node(&self, node: &NodeId) -> Option<NodeRecord> {
        self.nodes.get(node).cloned()
    }
    fn holder(&self, hardware: &str) -> Option<NodeId> {
        self.hardware.get(hardware).cloned()
    }
    fn spool_mark(&self, node: &NodeId, spool: &SpoolId) -> Option<u64> {
        self.spools.get(&(node.clone(), spool.clone())).copied()
    }
    fn vcluster(&self, vcluster: &VclusterId) -> Option<VclusterRecord> {
        self.vclusters.get(vcluster).cloned()
    }
    fn request(&self, id: &RequestId) -> Option<RequestMemory> {
        self.requests.get(id).cloned()
    }
    fn oldest_requests(&self, limit: usize) -> Vec<RequestId> {
        self.requests.keys().take(limit).copied().collect()
    }
    fn stored(&self, seq: u64) -> Option<StoredEntry> {
        self.entries.get(usize::try_from(seq.checked_sub(1)?).ok()?).cloned()
    }
    fn outcome(&self, parent: u64, node: &NodeId) -> Option<u64> {
        self.outcomes.get(&(parent, node.clone())).copied()
    }
    fn unnamed(&self, node: &NodeId) -> Option<Unnamed> {
        self.unnamed.get(node).copied()
    }
    fn has_blob(&self, sha256: &[u8; 32]) -> bool {
        self.blobs.contains_key(sha256)
    }
    fn has_uploaded(&self, sha256: &[u8; 32], by: &Uploader) -> bool {
        self.uploads.contains(&(*sha256, by.clone()))
    }
    fn blob(&self, sha256: &[u8; 32]) -> Option<Blob> {
        self.blobs.get(sha256).cloned()
    }
    fn declared(
        &self,
        scope: &DeclaredScope,
        key: &ResourceKey,
        at_seq: u64,
    ) -> Option<(u64, Declared)> {
        let rows = self.declared.get(&(scope.clone(), key.clone()))?;
        rows.range(..=at_seq).next_back().map(|(seq, row)| (*seq, row.clone()))
    }
    fn declared_after(
        &self,
        scope: &DeclaredScope,
        at_seq: u64,
        after: Option<&ResourceKey>,
        limit: usize,
    ) -> Vec<(ResourceKey, Held)> {
        let keys = self.declared.keys().filter(|(of, key)| of == scope && Some(key) > after);
        let held = keys.filter_map(|(_, key)| {
            let (seq, row) = StateView::declared(self, scope, key, at_seq)?;
            Some((key.clone(), Held::of(seq, row)?))
        });
        held.take(limit).collect()
    }
    fn scope_mark(&self, scope: &DeclaredScope, at_seq: u64) -> Option<ScopeMark> {
        self.scope_marks.get(scope)?.range(..=at_seq).next_back().map(|(_, mark)| *mark)
    }
    fn delta_nodes(&self, vcluster: &VclusterId, key: &ResourceKey) -> Vec<NodeId> {
        let of = self.delta_nodes.iter().filter(|(v, k, _)| v == vcluster && k == key);
        of.map(|(_, _, node)| node.clone()).collect()
    }
    fn expiring(&self, until_nanos: i64, limit: usize) -> Vec<Expiry> {
        let due = self.expiries.iter().take_while(|(at, _, _)| *at <= until_nanos);
        due.take(limit).cloned().collect()
    }
}

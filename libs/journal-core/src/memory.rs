//! A state in maps, for tests of the rules.

use std::collections::{BTreeMap, BTreeSet};

use pact_schemas::convert::Scope;
use pact_schemas::resource::ResourceKey;
use pact_schemas::v1::{
    self, Command, MembershipChanged, NodeRecord, Outcome, VclusterRecord, action::Action,
};
use pact_schemas::{NodeId, NodeSet, RequestId, SpoolId, VclusterId};
use prost::Message as _;

use super::apply::apply_batch;
use super::declared::{Declared, DeclaredScope, Expiry, Held, ScopeMark};
use super::judged::judged_of;
use super::records::{Blob, Head, Posting, RequestMemory, StoredEntry, Unnamed, Uploader, sha256};
use super::requests::RequestHorizon;
use super::tree::Tree;
use super::view::StateView;

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

    /// The command of a gateway that judged the right just now, unless it says itself what was judged.
    pub fn judging(&self, mut command: Command) -> Command {
        let Some(action) = command.action.as_mut().and_then(|a| a.action.as_mut()) else {
            return command;
        };
        let targets = match &*action {
            Action::ExecRequest(exec) => exec.targets.clone(),
            Action::AssignNode(assign) => assign.targets.clone(),
            Action::ExtendWindow(extend) => extend.targets.clone(),
            Action::Rollback(v1::Rollback { scope, .. })
            | Action::ChangeBlacklist(v1::ChangeBlacklist { scope, .. }) => {
                match scope.as_ref().and_then(|scope| scope.scope.as_ref()) {
                    Some(v1::scope::Scope::Node(node)) => node.clone(),
                    _ => return command,
                }
            }
            _ => return command,
        };
        let judged = judged_of(action).unwrap();
        if let Ok(targets) = NodeSet::parse(&targets)
            && judged.is_empty()
        {
            judged.extend(targets.iter().map(|node| v1::JudgedScope {
                vcluster: self.nodes.get(node).and_then(|record| record.vcluster.clone()),
                targets: node.to_string(),
            }));
        }
        command
    }

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
    fn entry(&self, seq: u64) -> Option<v1::Entry> {
        self.decoded().into_iter().find(|entry| entry.seq == seq)
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

/// Commands as the proposer makes them, at a leader time that moves by a millisecond.
pub struct Commands {
    pub now_nanos: i64,
    next_id: u64,
}

pub const START_NANOS: i64 = 1_800_000_000_000_000_000;

impl Commands {
    #[allow(clippy::new_without_default, reason = "a beginning, not a default")]
    pub fn new() -> Self {
        Self { now_nanos: START_NANOS, next_id: 0 }
    }

    pub fn id(&mut self) -> String {
        self.next_id += 1;
        let millis = u64::try_from(self.now_nanos / 1_000_000).unwrap();
        format!("{:08x}-{:04x}-7000-8000-{:012x}", millis >> 16, millis & 0xffff, self.next_id)
    }

    pub fn make(&mut self, action: Action) -> Command {
        let id = self.id();
        Command { request_id: Some(id), ..self.bare(action) }
    }

    /// A chunk as a node sends it.
    pub fn put_by(&mut self, node: &str, plain: &[u8]) -> Command {
        let mut command = self.bare(put(plain));
        let author = command.author.as_mut().unwrap();
        author.subject = format!("node:{node}");
        author.kind = v1::PrincipalKind::Node.into();
        command
    }

    pub fn bare(&mut self, action: Action) -> Command {
        self.now_nanos += 1_000_000;
        Command {
            version: 1,
            time: Some(pact_schemas::convert::timestamp(self.now_nanos)),
            author: Some(v1::Principal {
                subject: "alice".to_owned(),
                issuer: "https://idp.example".to_owned(),
                kind: v1::PrincipalKind::Human.into(),
                roles: vec!["pact-platform-admin".to_owned()],
            }),
            acting_role: "pact-platform-admin".to_owned(),
            request_id: None,
            policy_ref: "default@1".to_owned(),
            action: Some(v1::Action { action: Some(action) }),
        }
    }
}

pub fn register(node: &str, mac: u8) -> Action {
    Action::RegisterNode(v1::RegisterNode {
        node: node.to_owned(),
        identity: Some(v1::HardwareIdentity {
            macs: vec![format!("0c:42:a1:00:00:{mac:02x}")],
            bmc_serial: None,
            hardware_ids: Vec::new(),
        }),
        replace: false,
    })
}

pub fn exec(targets: &str, argv: &[&str]) -> Action {
    Action::ExecRequest(v1::ExecRequest {
        targets: targets.to_owned(),
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        stdin: false,
        timeout_seconds: 60,
        output_limit_bytes: 10 << 20,
        judged: Vec::new(),
    })
}

pub fn put(plain: &[u8]) -> Action {
    Action::PutBlob(v1::PutBlob {
        sha256: sha256(&[plain]).to_vec(),
        compressed: zstd::bulk::compress(plain, 1).unwrap(),
        size_bytes: u32::try_from(plain.len()).unwrap(),
    })
}

pub fn policy(vcluster: &str, policy: v1::VclusterPolicy) -> Action {
    Action::SetPolicy(v1::SetPolicy {
        updates: vec![v1::PolicyUpdate { vcluster: vcluster.to_owned(), policy: Some(policy) }],
    })
}

pub fn assign(targets: &str, vcluster: Option<&str>, mode: v1::AssignMode) -> Action {
    Action::AssignNode(v1::AssignNode {
        targets: targets.to_owned(),
        vcluster: vcluster.map(str::to_owned),
        mode: mode.into(),
        judged: Vec::new(),
    })
}

/// The action, judged where these nodes were.
pub fn judged(mut action: Action, scopes: &[(Option<&str>, &str)]) -> Action {
    let scopes = scopes.iter().map(|(vcluster, targets)| v1::JudgedScope {
        vcluster: vcluster.map(str::to_owned),
        targets: (*targets).to_owned(),
    });
    *judged_of(&mut action).unwrap() = scopes.collect();
    action
}

pub fn ended(node: &str, spool: char, number: u64, grant_seq: u64) -> Action {
    Action::NodeEvent(v1::NodeEvent {
        node: node.to_owned(),
        spool_id: spool.to_string().repeat(32),
        number,
        recorded: Some(pact_schemas::convert::timestamp(START_NANOS)),
        body: Some(v1::node_event::Body::ExecEnded(v1::ExecEnded {
            grant_seq,
            finished: Some(v1::ExecFinished {
                outcome: v1::ExecOutcome::Exited.into(),
                exit_status: Some(0),
                ..v1::ExecFinished::default()
            }),
        })),
    })
}

/// First and last sequence and whether it was a retry; panics when it was refused.
pub fn committed(outcome: &Outcome) -> (u64, u64, bool) {
    match outcome.outcome.as_ref().unwrap() {
        v1::outcome::Outcome::Committed(c) => (c.first_seq, c.last_seq, c.repeated_request),
        v1::outcome::Outcome::Rejected(error) => panic!("refused: {error}"),
    }
}

pub fn refused(outcome: &Outcome) -> &v1::Error {
    match outcome.outcome.as_ref().unwrap() {
        v1::outcome::Outcome::Committed(c) => panic!("committed as {}", c.first_seq),
        v1::outcome::Outcome::Rejected(error) => error,
    }
}

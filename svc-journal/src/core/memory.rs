//! A state in maps, for tests of the rules.

use std::collections::BTreeMap;

use pact_schemas::v1::{self, Command, MemberAddress, NodeRecord, Outcome, VclusterRecord};
use pact_schemas::{NodeId, RequestId, SpoolId, VclusterId};
use prost::Message as _;

use super::apply::apply_batch;
use super::records::{Blob, Head, Posting, RequestMemory, StoredEntry, Unnamed};
use super::requests::RequestHorizon;
use super::tree::Tree;
use super::view::StateView;

#[derive(Default)]
pub(super) struct Memory {
    pub(super) head: Head,
    pub(super) tree: Tree,
    pub(super) entries: Vec<StoredEntry>,
    pub(super) postings: BTreeMap<Posting, Vec<u64>>,
    pub(super) outcomes: BTreeMap<(u64, NodeId), u64>,
    pub(super) nodes: BTreeMap<NodeId, NodeRecord>,
    pub(super) hardware: BTreeMap<String, NodeId>,
    pub(super) spools: BTreeMap<(NodeId, SpoolId), u64>,
    pub(super) vclusters: BTreeMap<VclusterId, VclusterRecord>,
    pub(super) requests: BTreeMap<RequestId, RequestMemory>,
    pub(super) horizon: RequestHorizon,
    pub(super) unnamed: BTreeMap<NodeId, Unnamed>,
    pub(super) blobs: BTreeMap<[u8; 32], Blob>,
    pub(super) members: Vec<MemberAddress>,
}

impl Memory {
    pub(super) fn apply(&mut self, commands: &[Command]) -> Vec<Outcome> {
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
        self.members = changes.members.unwrap_or_else(|| std::mem::take(&mut self.members));
        applied.outcomes
    }

    pub(super) fn decoded(&self) -> Vec<v1::Entry> {
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
    fn members(&self) -> Vec<MemberAddress> {
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
}

/// Commands as the proposer makes them, at a leader time that moves by a millisecond.
pub(super) struct Commands {
    pub(super) now_nanos: i64,
    next_id: u64,
}

pub(super) const START_NANOS: i64 = 1_800_000_000_000_000_000;

impl Commands {
    pub(super) fn new() -> Self {
        Self { now_nanos: START_NANOS, next_id: 0 }
    }

    pub(super) fn id(&mut self) -> String {
        self.next_id += 1;
        let millis = u64::try_from(self.now_nanos / 1_000_000).unwrap();
        format!("{:08x}-{:04x}-7000-8000-{:012x}", millis >> 16, millis & 0xffff, self.next_id)
    }

    pub(super) fn make(&mut self, action: v1::action::Action) -> Command {
        let id = self.id();
        Command { request_id: Some(id), ..self.bare(action) }
    }

    pub(super) fn bare(&mut self, action: v1::action::Action) -> Command {
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

pub(super) fn register(node: &str, mac: u8) -> v1::action::Action {
    v1::action::Action::RegisterNode(v1::RegisterNode {
        node: node.to_owned(),
        identity: Some(v1::HardwareIdentity {
            macs: vec![format!("0c:42:a1:00:00:{mac:02x}")],
            bmc_serial: None,
            hardware_ids: Vec::new(),
        }),
        replace: false,
    })
}

pub(super) fn exec(targets: &str, argv: &[&str]) -> v1::action::Action {
    v1::action::Action::ExecRequest(v1::ExecRequest {
        targets: targets.to_owned(),
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        stdin: false,
        timeout_seconds: 60,
        output_limit_bytes: 10 << 20,
    })
}

pub(super) fn policy(vcluster: &str, policy: v1::VclusterPolicy) -> v1::action::Action {
    v1::action::Action::SetPolicy(v1::SetPolicy {
        updates: vec![v1::PolicyUpdate { vcluster: vcluster.to_owned(), policy: Some(policy) }],
    })
}

pub(super) fn assign(
    targets: &str,
    vcluster: Option<&str>,
    mode: v1::AssignMode,
) -> v1::action::Action {
    v1::action::Action::AssignNode(v1::AssignNode {
        targets: targets.to_owned(),
        vcluster: vcluster.map(str::to_owned),
        mode: mode.into(),
    })
}

pub(super) fn ended(node: &str, spool: char, number: u64, grant_seq: u64) -> v1::action::Action {
    v1::action::Action::NodeEvent(v1::NodeEvent {
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
pub(super) fn committed(outcome: &Outcome) -> (u64, u64, bool) {
    match outcome.outcome.as_ref().unwrap() {
        v1::outcome::Outcome::Committed(c) => (c.first_seq, c.last_seq, c.repeated_request),
        v1::outcome::Outcome::Rejected(error) => panic!("refused: {error}"),
    }
}

pub(super) fn refused(outcome: &Outcome) -> &v1::Error {
    match outcome.outcome.as_ref().unwrap() {
        v1::outcome::Outcome::Committed(c) => panic!("committed as {}", c.first_seq),
        v1::outcome::Outcome::Rejected(error) => error,
    }
}

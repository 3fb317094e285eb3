//! A journal of one member that remembers what was proposed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pact_bus::{Bus, Service};
use pact_identity::{Attestation, Verifier};
use pact_runtime::Clock;
use pact_schemas::v1::{self, Action, NodeRecord, NodeState, action, outcome};
use pact_schemas::{ErrorCode, MemberId, NodeSet, RequestId, VclusterId};
use prost::Message as _;

use crate::declared::{self, Declared};
/// As in journal_rpc.proto.
const MAX_REQUEST_BYTES: usize = 512 * 1024;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) nodes: BTreeMap<String, NodeRecord>,
    pub(crate) policies: BTreeMap<String, v1::VclusterPolicy>,
    /// Everything that was proposed with a good attestation.
    pub(crate) proposed: Vec<(Attestation, action::Action)>,
    /// `None`: there is no leader.
    pub(crate) leader: Option<u64>,
    /// Requests that are carried out and answered with an error, as when an answer is lost.
    pub(crate) lost_answers: usize,
    /// Whoever asks again gets no grant.
    pub(crate) has_expired_grants: bool,
    /// Request ids made before this Unix millisecond are refused.
    pub(crate) horizon: u64,
    /// Ids that came with records, in the order of the attempts.
    pub(crate) record_ids: Vec<String>,
    pub(crate) entries: Vec<v1::Entry>,
    pub(crate) declared: Declared,
    /// First outcomes, by request id.
    requests: BTreeMap<String, v1::Committed>,
}

#[derive(Clone)]
pub(crate) struct Journal {
    state: Arc<Mutex<State>>,
    verifier: Arc<Verifier>,
}

impl Journal {
    pub(crate) fn new(ca_pem: &str) -> Self {
        let state = State { leader: Some(1), ..State::default() };
        Self {
            state: Arc::new(Mutex::new(state)),
            verifier: Arc::new(Verifier::from_pem(ca_pem).unwrap()),
        }
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    pub(crate) fn add_node(&self, name: &str, vcluster: Option<&str>) {
        let record = NodeRecord {
            node: name.into(),
            state: NodeState::Active.into(),
            vcluster: vcluster.map(Into::into),
            ..NodeRecord::default()
        };
        self.with(|s| s.nodes.insert(name.into(), record));
    }

    /// Answers as members 1 and 2; only the one that `leader` names takes proposals.
    pub(crate) async fn serve(&self, bus: &Bus) {
        let (cluster, nodes, vclusters, entries) =
            (self.clone(), self.clone(), self.clone(), self.clone());
        let recall = self.clone();
        let (entry, keys, plan, blob) = (self.clone(), self.clone(), self.clone(), self.clone());
        let mut service = Service::new("journal", "0.1.0", "journal-1")
            .method("cluster", move |_, _: v1::ClusterRequest| {
                let leader = cluster.with(|s| s.leader);
                async move {
                    Ok(v1::ClusterReply {
                        answering_member: 1,
                        leader,
                        term: 1,
                        ..v1::ClusterReply::default()
                    })
                }
            })
            .method("nodes", move |_, request: v1::NodesRequest| {
                let reply = nodes.nodes(&request);
                async move { Ok(reply) }
            })
            .method("vclusters", move |_, request: v1::VclustersRequest| {
                let reply = vclusters.vclusters(&request);
                async move { Ok(reply) }
            })
            .method("entries", move |_, request: v1::EntriesRequest| {
                let reply = entries.entries(&request);
                async move { Ok(reply) }
            })
            .method("entry", move |_, request: v1::EntryRequest| {
                let reply = entry.entry(request.seq);
                async move { reply }
            })
            .method("recall", move |_, request: v1::RecallRequest| {
                let reply = recall.recall(&request.request_id);
                async move { reply }
            })
            .method("declared", move |_, request: v1::DeclaredRequest| {
                let reply = keys.declared(&request);
                async move { Ok(reply) }
            })
            .method("plan", move |_, request: v1::PlanRequest| {
                let act = Action::decode(request.action.as_slice()).unwrap().action.unwrap();
                let reply = plan.with(|s| declared::plan(s, &act, &request.after));
                async move { Ok(reply) }
            })
            .method("blob", move |_, request: v1::BlobRequest| {
                let found = blob.with(|s| {
                    let of_nodes = s.declared.of_nodes.get(&request.sha256);
                    of_nodes.or_else(|| s.declared.blobs.get(&request.sha256)).cloned()
                });
                let reply = found.map(|put| v1::BlobReply {
                    compressed: put.compressed,
                    size_bytes: put.size_bytes,
                });
                async move { reply.ok_or_else(|| ErrorCode::NotFound.error("no such blob")) }
            });
        for member in [1, 2] {
            let journal = self.clone();
            let id = MemberId::new(member).unwrap();
            service =
                service.member_method(id, "propose", move |_, request: v1::ProposeRequest| {
                    let answer = journal.propose(member, request);
                    async move { answer }
                });
        }
        bus.serve(service).await.unwrap();
    }

    fn nodes(&self, request: &v1::NodesRequest) -> v1::NodesReply {
        let wanted = |record: &&NodeRecord| {
            (request.nodes.is_empty() || request.nodes.contains(&record.node))
                && (request.vcluster.is_none() || request.vcluster == record.vcluster)
                && request.state.is_none_or(|state| state == record.state)
        };
        v1::NodesReply {
            nodes: self.with(|s| s.nodes.values().filter(wanted).cloned().collect()),
            more: false,
        }
    }

    /// One in a page.
    fn vclusters(&self, request: &v1::VclustersRequest) -> v1::VclustersReply {
        let wanted = |name: &String| {
            let is_named = request.vclusters.is_empty() || request.vclusters.contains(name);
            is_named && *name > request.after
        };
        let mut vclusters: Vec<v1::VclusterRecord> = self.with(|s| {
            let all = s.policies.iter().filter(|(name, _)| wanted(name));
            let record = |(name, policy): (&String, &v1::VclusterPolicy)| v1::VclusterRecord {
                vcluster: name.clone(),
                policy: Some(policy.clone()),
                ..v1::VclusterRecord::default()
            };
            all.map(record).collect()
        });
        let more = vclusters.len() > 1;
        vclusters.truncate(1);
        v1::VclustersReply { vclusters, more }
    }

    fn entries(&self, request: &v1::EntriesRequest) -> v1::EntriesReply {
        let wanted = |e: &&v1::Entry| {
            e.seq > request.after && (request.scope.is_none() || e.scope == request.scope)
        };
        let mut entries: Vec<v1::Entry> =
            self.with(|s| s.entries.iter().filter(wanted).cloned().collect());
        if let Some(last) = request.last {
            entries.drain(..entries.len().saturating_sub(last as usize));
        }
        let record =
            |entry: v1::Entry| v1::EntryRecord { entry: entry.encode_to_vec(), hash: vec![0; 32] };
        let head_seq = self.with(|s| s.entries.len() as u64);
        v1::EntriesReply {
            entries: entries.into_iter().map(record).collect(),
            head_seq,
            next_after: head_seq,
        }
    }

    fn entry(&self, seq: u64) -> Result<v1::EntryReply, v1::Error> {
        let found = self.with(|s| s.entries.iter().find(|e| e.seq == seq).cloned());
        let entry = found.ok_or_else(|| ErrorCode::NotFound.error("no such entry"))?;
        let record = v1::EntryRecord { entry: entry.encode_to_vec(), hash: vec![0; 32] };
        Ok(v1::EntryReply { entry: Some(record), outcomes: Vec::new() })
    }

    fn recall(&self, id: &str) -> Result<v1::RecallReply, v1::Error> {
        let made = id.parse::<RequestId>().unwrap().unix_milliseconds();
        self.with(|s| match s.requests.get(id) {
            None if made < s.horizon => {
                Err(ErrorCode::RequestIdRefused.error("longer ago than ids are remembered"))
            }
            None => Ok(v1::RecallReply::default()),
            Some(committed) => {
                let own = s.entries.iter().filter(|entry| entry.request_id.as_deref() == Some(id));
                let record = |entry: &v1::Entry| v1::EntryRecord {
                    entry: entry.encode_to_vec(),
                    hash: vec![0; 32],
                };
                Ok(v1::RecallReply {
                    committed: Some(*committed),
                    entries: own.map(record).collect(),
                    more: false,
                })
            }
        })
    }

    fn declared(&self, request: &v1::DeclaredRequest) -> v1::DeclaredReply {
        let scope = request.scope.clone().unwrap();
        self.with(|s| {
            let keys = s.declared.at(&scope, request.at_seq.unwrap_or(u64::MAX));
            let seq = s.declared.newest(&scope);
            let key =
                |(key, value)| v1::DeclaredKey { key, value: Some(value), seq, expires: None };
            let wanted =
                |key: &str| key > request.after.as_str() && key.starts_with(&request.prefix);
            let mut keys: Vec<v1::DeclaredKey> =
                keys.into_iter().filter(|(key, _)| wanted(key)).map(key).collect();
            let mut bytes = 0;
            let fits = |key: &&v1::DeclaredKey| {
                bytes += key.encoded_len();
                bytes <= declared::PAGE_BYTES
            };
            let fitting = keys.iter().take_while(fits).count();
            let more = fitting < keys.len();
            keys.truncate(fitting);
            v1::DeclaredReply { keys, more, seq }
        })
    }

    fn propose(
        &self,
        member: u64,
        request: v1::ProposeRequest,
    ) -> Result<v1::ProposeReply, v1::Error> {
        match self.with(|s| s.leader) {
            None => return Err(ErrorCode::NoLeader.error("no leader")),
            Some(leader) if leader != member => {
                let mut error = ErrorCode::NotLeader.error("not the leader");
                error.leader = Some(leader);
                return Err(error);
            }
            Some(_) => {}
        }
        if request.proposals.len() > 256 || request.encoded_len() > MAX_REQUEST_BYTES {
            return Err(ErrorCode::TooLarge.error("a request may hold 256 proposals and 512 KiB"));
        }
        let results = request.proposals.into_iter().map(|proposal| self.decide(proposal)).collect();
        if self.with(|s| s.lost_answers > 0) {
            self.with(|s| s.lost_answers -= 1);
            return Err(ErrorCode::StorageFull.error("what was done is not told"));
        }
        Ok(v1::ProposeReply { results })
    }

    fn decide(&self, proposal: v1::Proposal) -> v1::ProposalResult {
        let signed = proposal.attestation.unwrap();
        let now = Clock::system().now();
        let attestation =
            Attestation::verify(&signed, &self.verifier, &proposal.action, now).unwrap();
        let act = Action::decode(proposal.action.as_slice()).unwrap().action.unwrap();
        // Grants of these tests hold what an agent compares.
        let granted = match &act {
            action::Action::ExecRequest(_) => Some(b"for the agents".to_vec()),
            action::Action::Rollback(rollback) => Some(rollback.plan_sha256.clone()),
            action::Action::ExtendWindow(_) => Some(attestation.request_id().to_string().into()),
            _ => None,
        };
        let grant =
            granted.map(|payload| v1::SignedGrant { payload, ..v1::SignedGrant::default() });
        let outcome = match self.with(|s| decide(s, attestation, act)) {
            Ok(committed) => outcome::Outcome::Committed(committed),
            Err(error) => outcome::Outcome::Rejected(error),
        };
        v1::ProposalResult { outcome: Some(v1::Outcome { outcome: Some(outcome) }), grant }
    }
}

/// The right is judged for exactly the targets, each where its record says that it is.
fn check_judged(state: &State, act: &action::Action) {
    let (targets, judged) = match act {
        action::Action::ExecRequest(exec) => (exec.targets.clone(), &exec.judged),
        action::Action::AssignNode(assign) => (assign.targets.clone(), &assign.judged),
        action::Action::ExtendWindow(extend) => (extend.targets.clone(), &extend.judged),
        action::Action::Rollback(v1::Rollback { scope, judged, .. })
        | action::Action::ChangeBlacklist(v1::ChangeBlacklist { scope, judged, .. }) => {
            match scope.as_ref().unwrap().scope.as_ref().unwrap() {
                v1::scope::Scope::Node(node) => (node.clone(), judged),
                _ => return assert_eq!(*judged, []),
            }
        }
        _ => return,
    };
    let nodes = NodeSet::parse(&targets).unwrap().iter().cloned().collect();
    for (node, vcluster) in pact_schemas::judged::read(judged, &nodes).unwrap() {
        let record = &state.nodes[node.as_str()];
        assert_eq!(vcluster.as_ref().map(VclusterId::as_str), record.vcluster.as_deref());
    }
}

/// Once for each request id; what is refused is not remembered.
fn decide(
    state: &mut State,
    attestation: Attestation,
    act: action::Action,
) -> Result<v1::Committed, v1::Error> {
    let id = attestation.request_id().to_string();
    if matches!(act, action::Action::RecordDenied(_) | action::Action::RecordAccess(_)) {
        state.record_ids.push(id.clone());
    }
    if attestation.request_id().unix_milliseconds() < state.horizon {
        return Err(ErrorCode::RequestIdRefused.error("longer ago than ids are remembered"));
    }
    if let Some(first) = state.requests.get(&id) {
        if state.has_expired_grants {
            return Err(ErrorCode::GrantExpired.error("committed longer ago than grants live"));
        }
        return Ok(v1::Committed { repeated_request: true, ..*first });
    }
    check_judged(state, &act);
    let (first_seq, last_seq) = match declared::apply(state, &id, &act) {
        Some(done) => done?,
        None => (state.proposed.len() as u64 + 1, state.proposed.len() as u64 + 1),
    };
    state.proposed.push((attestation, act));
    let committed = v1::Committed { first_seq, last_seq, ..v1::Committed::default() };
    state.requests.insert(id, committed);
    Ok(committed)
}

//! A journal of one member: its rules are the real ones, its state is in maps. It remembers what
//! was proposed.

use std::sync::{Arc, Mutex};

use pact_bus::{Bus, Service};
use pact_identity::{Attestation, Verifier};
use pact_journal_core::action::origin;
use pact_journal_core::apply::COMMAND_VERSION;
use pact_journal_core::memory::Memory;
use pact_journal_core::plan::plan;
use pact_journal_core::record::{RequestMemory, StoredEntry};
use pact_journal_core::requests::recall;
use pact_journal_core::view::StateView as _;
use pact_runtime::Clock;
use pact_schemas::resource::ResourceKey;
use pact_schemas::v1::{
    self, Action, Command, NodeRecord, NodeState, PrincipalKind, VclusterRecord, action, outcome,
};
use pact_schemas::{ErrorCode, MemberId, RequestId, convert};
use prost::Message as _;

use crate::declared;

/// As in journal_rpc.proto.
const MAX_REQUEST_BYTES: usize = 512 * 1024;
/// As the journal's replies.
const PAGE_BYTES: usize = 512 * 1024;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) journal: Memory,
    /// Everything that was proposed with a good attestation, and committed.
    pub(crate) proposed: Vec<(Attestation, action::Action)>,
    /// `None`: there is no leader.
    pub(crate) leader: Option<u64>,
    /// Requests that are carried out and answered with an error, as when an answer is lost.
    pub(crate) lost_answers: usize,
    /// Whoever asks again gets no grant.
    pub(crate) has_expired_grants: bool,
    /// Ids that came with records, in the order of the attempts.
    pub(crate) record_ids: Vec<String>,
}

impl State {
    /// A vCluster that was there from the beginning.
    pub(crate) fn add_vcluster(&mut self, name: &str) {
        let policy = Some(v1::VclusterPolicy::default());
        let record = VclusterRecord { vcluster: name.into(), policy, ..VclusterRecord::default() };
        self.journal.vclusters.insert(name.parse().unwrap(), record);
    }

    /// What somebody else has proposed, or a node has sent: the last entry that it made.
    pub(crate) fn commit(&mut self, by_node: Option<&str>, action: action::Action) -> u64 {
        let (subject, kind) = match by_node {
            Some(node) => (format!("node:{node}"), PrincipalKind::Node),
            None => ("someone".to_owned(), PrincipalKind::Human),
        };
        let author = v1::Principal { subject, kind: kind.into(), ..v1::Principal::default() };
        let command = Command {
            author: Some(author),
            acting_role: "pact-platform-admin".into(),
            ..Command::default()
        };
        let committed = self.apply(command, action);
        committed.unwrap_or_else(|refusal| panic!("{refusal}")).last_seq
    }

    fn apply(
        &mut self,
        command: Command,
        action: action::Action,
    ) -> Result<v1::Committed, v1::Error> {
        let command = Command {
            version: COMMAND_VERSION,
            time: Some(convert::timestamp(Clock::system().now().unix_nanos())),
            action: Some(Action { action: Some(action) }),
            ..command
        };
        match self.journal.apply(&[command]).remove(0).outcome.unwrap() {
            outcome::Outcome::Committed(committed) => Ok(committed),
            outcome::Outcome::Rejected(refusal) => Err(refusal),
        }
    }
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
        self.with(|s| s.journal.nodes.insert(name.parse().unwrap(), record));
    }

    /// Answers as members 1 and 2; only the one that `leader` names takes proposals.
    pub(crate) async fn serve(&self, bus: &Bus) {
        let (cluster, nodes, vclusters, entries) =
            (self.clone(), self.clone(), self.clone(), self.clone());
        let recall = self.clone();
        let (entry, keys, plans, blob) = (self.clone(), self.clone(), self.clone(), self.clone());
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
                let reply = entry.entry(&request);
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
                let reply = plans.plan(&act, &request.after);
                async move { reply }
            })
            .method("blob", move |_, request: v1::BlobRequest| {
                let sha256: [u8; 32] = request.sha256.as_slice().try_into().unwrap();
                let found = blob.with(|s| s.journal.blobs.get(&sha256).cloned());
                let reply = found.map(|blob| v1::BlobReply {
                    compressed: blob.compressed,
                    size_bytes: blob.size_bytes,
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
            nodes: self.with(|s| s.journal.nodes.values().filter(wanted).cloned().collect()),
            more: false,
        }
    }

    /// One in a page.
    fn vclusters(&self, request: &v1::VclustersRequest) -> v1::VclustersReply {
        let wanted = |record: &&VclusterRecord| {
            let named = &request.vclusters;
            let is_named = named.is_empty() || named.contains(&record.vcluster);
            is_named && record.vcluster > request.after
        };
        let mut vclusters: Vec<VclusterRecord> =
            self.with(|s| s.journal.vclusters.values().filter(wanted).cloned().collect());
        let more = vclusters.len() > 1;
        vclusters.truncate(1);
        v1::VclustersReply { vclusters, more }
    }

    fn entries(&self, request: &v1::EntriesRequest) -> v1::EntriesReply {
        let wanted = |e: &&v1::Entry| {
            e.seq > request.after && (request.scope.is_none() || e.scope == request.scope)
        };
        let mut entries = self.with(|s| s.journal.decoded());
        entries.retain(|entry| wanted(&entry));
        if let Some(last) = request.last {
            entries.drain(..entries.len().saturating_sub(last as usize));
        }
        let head_seq = self.with(|s| s.journal.head.seq);
        v1::EntriesReply {
            entries: entries.iter().map(record).collect(),
            head_seq,
            next_after: head_seq,
        }
    }

    fn entry(&self, request: &v1::EntryRequest) -> Result<v1::EntryReply, v1::Error> {
        let sees = |entry: &StoredEntry| {
            let named = |filter: &v1::VclusterFilter| {
                entry.vclusters.iter().any(|name| filter.vclusters.contains(name))
            };
            entry.global || request.visible.as_ref().is_none_or(named)
        };
        self.with(|s| {
            let found = s.journal.stored(request.seq).filter(sees);
            let entry = found.ok_or_else(|| ErrorCode::NotFound.error("no such entry"))?;
            let is_outcome = |e: &v1::Entry| e.parent == Some(request.seq);
            let outcomes = s.journal.decoded().into_iter().filter(is_outcome);
            let seen = |e: &v1::Entry| s.journal.stored(e.seq).is_some_and(|stored| sees(&stored));
            let outcomes = outcomes.filter(seen).map(|e| record(&e)).collect();
            let entry = v1::EntryRecord { entry: entry.entry.to_vec(), hash: vec![0; 32] };
            Ok(v1::EntryReply { entry: Some(entry), outcomes })
        })
    }

    fn plan(&self, action: &action::Action, after: &str) -> Result<v1::PlanReply, v1::Error> {
        let after: Option<ResourceKey> = (!after.is_empty()).then(|| after.parse().unwrap());
        let now = Clock::system().now().unix_nanos();
        self.with(|s| plan(&s.journal, action, now).page(after.as_ref(), PAGE_BYTES))
    }

    fn recall(&self, id: &str) -> Result<v1::RecallReply, v1::Error> {
        let id: RequestId = id.parse().unwrap();
        let remembered = self.with(|s| {
            let memory = recall(&s.journal, id)?;
            let own = |memory: &RequestMemory| {
                let made = (memory.first_seq.max(1)..=memory.last_seq)
                    .filter_map(|seq| s.journal.entry(seq));
                made.map(|entry| record(&entry)).collect()
            };
            Ok::<_, v1::Error>(memory.map(|memory| (own(&memory), memory)))
        })?;
        let Some((entries, memory)) = remembered else { return Ok(v1::RecallReply::default()) };
        let committed = v1::Committed {
            first_seq: memory.first_seq,
            last_seq: memory.last_seq,
            time: Some(convert::timestamp(memory.time_nanos)),
            repeated_request: true,
        };
        Ok(v1::RecallReply { committed: Some(committed), entries, more: false })
    }

    fn declared(&self, request: &v1::DeclaredRequest) -> v1::DeclaredReply {
        let at_seq = request.at_seq.unwrap_or(u64::MAX);
        let (mut keys, seq) = self.with(|s| {
            let scope = declared::scope_of(s, request.scope.as_ref().unwrap());
            let mark = scope.as_ref().and_then(|scope| s.journal.scope_mark(scope, at_seq));
            let held =
                scope.map(|scope| s.journal.declared_after(&scope, at_seq, None, usize::MAX));
            (held.unwrap_or_default(), mark.map_or(0, |mark| mark.seq))
        });
        keys.retain(|(key, _)| {
            key.as_str() > request.after.as_str() && key.as_str().starts_with(&request.prefix)
        });
        let mut keys: Vec<v1::DeclaredKey> = keys
            .into_iter()
            .map(|(key, held)| v1::DeclaredKey {
                key: key.to_string(),
                value: Some((&held.value).into()),
                seq: held.seq,
                expires: held.expires_nanos.map(convert::timestamp),
            })
            .collect();
        let mut bytes = 0;
        let fits = |key: &&v1::DeclaredKey| {
            bytes += key.encoded_len();
            bytes <= PAGE_BYTES
        };
        let fitting = keys.iter().take_while(fits).count();
        let more = fitting < keys.len();
        keys.truncate(fitting);
        v1::DeclaredReply { keys, more, seq }
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

fn record(entry: &v1::Entry) -> v1::EntryRecord {
    v1::EntryRecord { entry: entry.encode_to_vec(), hash: vec![0; 32] }
}

fn decide(
    state: &mut State,
    attestation: Attestation,
    act: action::Action,
) -> Result<v1::Committed, v1::Error> {
    let operation = attestation.operation().name;
    assert!(origin(&act).is_gateway_for(operation), "{act:?} as {operation}");
    let id = attestation.request_id().to_string();
    if matches!(act, action::Action::RecordDenied(_) | action::Action::RecordAccess(_)) {
        state.record_ids.push(id.clone());
    }
    let command = Command {
        author: Some(attestation.principal().to_wire()),
        acting_role: attestation.acting_role().map(ToString::to_string).unwrap_or_default(),
        request_id: Some(id),
        policy_ref: attestation.policy_ref().to_owned(),
        ..Command::default()
    };
    let committed = state.apply(command, act.clone())?;
    if !committed.repeated_request {
        state.proposed.push((attestation, act));
    } else if state.has_expired_grants {
        return Err(ErrorCode::GrantExpired.error("committed longer ago than grants live"));
    }
    Ok(committed)
}

//! The journal of these tests: its rules are the real ones, its state is in maps.

use std::path::Path;
use std::sync::{Arc, Mutex};

use pact_bus::{Bus, Service};
use pact_identity::attestation::Attestation;
use pact_identity::{SignerRole, Verifier};
use pact_journal_core::action::{Origin, origin};
use pact_journal_core::apply::COMMAND_VERSION;
use pact_journal_core::memory::Memory;
use pact_runtime::Clock;
use pact_schemas::v1::action::Action;
use pact_schemas::{ErrorCode, NodeId, convert, v1};
use prost::Message as _;

const LEADER: u64 = 2;

/// The MAC address of a node `n0` to `n9`.
pub(crate) fn mac_of(node: &str) -> String {
    format!("0c:42:a1:00:00:1{}", node.strip_prefix('n').unwrap())
}

/// The journal, and what it has done.
#[derive(Default)]
pub(crate) struct Ledger {
    journal: Memory,
    pub(crate) actions: Vec<(SignerRole, Action)>,
    pub(crate) asked_follower: bool,
}

pub(crate) type Shared = Arc<Mutex<Ledger>>;

impl Ledger {
    /// Registers a node, also one that was revoked.
    pub(crate) fn register(&mut self, node: &str) {
        self.carry_out(Action::RegisterNode(v1::RegisterNode {
            node: node.to_owned(),
            identity: Some(v1::HardwareIdentity { macs: vec![mac_of(node)], ..Default::default() }),
            replace: false,
            judged: unassigned(node),
        }));
    }

    pub(crate) fn revoke(&mut self, node: &str) {
        self.carry_out(Action::RevokeNode(v1::RevokeNode {
            node: node.to_owned(),
            judged: unassigned(node),
        }));
    }

    /// What a gateway has proposed.
    fn carry_out(&mut self, action: Action) {
        let author = Some(v1::Principal { subject: "alice".to_owned(), ..Default::default() });
        let command = v1::Command { author, ..v1::Command::default() };
        if let Err(refusal) = self.apply(SignerRole::Gateway, command, action) {
            panic!("{refusal}");
        }
    }

    fn apply(
        &mut self,
        signer: SignerRole,
        command: v1::Command,
        action: Action,
    ) -> Result<v1::Committed, v1::Error> {
        let command = v1::Command {
            version: COMMAND_VERSION,
            time: Some(convert::timestamp(Clock::system().now().unix_nanos())),
            action: Some(v1::Action { action: Some(action.clone()) }),
            ..command
        };
        match self.journal.apply(&[command]).remove(0).outcome.unwrap() {
            v1::outcome::Outcome::Committed(committed) => {
                self.actions.push((signer, action));
                Ok(committed)
            }
            v1::outcome::Outcome::Rejected(refusal) => Err(refusal),
        }
    }

    fn propose(
        &mut self,
        attested: &Attestation,
        action: Action,
    ) -> Result<v1::Committed, v1::Error> {
        let signer = attested.signer().role();
        assert_eq!((signer, origin(&action)), (SignerRole::Enroll, Origin::Enroll), "{action:?}");
        let command = v1::Command {
            author: Some(attested.principal().to_wire()),
            acting_role: attested.acting_role().map(ToString::to_string).unwrap_or_default(),
            request_id: Some(attested.request_id().to_string()),
            ..v1::Command::default()
        };
        self.apply(signer, command, action)
    }

    pub(crate) fn node(&self, node: &str) -> &v1::NodeRecord {
        &self.journal.nodes[&node.parse::<NodeId>().unwrap()]
    }

    /// A record that is to be another than it came to be.
    pub(crate) fn node_mut(&mut self, node: &str) -> &mut v1::NodeRecord {
        self.journal.nodes.get_mut(&node.parse::<NodeId>().unwrap()).unwrap()
    }

    pub(crate) fn state(&self, node: &str) -> v1::NodeState {
        v1::NodeState::try_from(self.node(node).state).unwrap()
    }

    pub(crate) fn rejections(&self) -> Vec<String> {
        let rejected = |(_, action): &(SignerRole, Action)| match action {
            Action::RejectEnrolment(reject) => Some(reject.rejected.clone().unwrap().code),
            _ => None,
        };
        self.actions.iter().filter_map(rejected).collect()
    }
}

fn propose(
    ledger: &Shared,
    verifier: &Verifier,
    request: v1::ProposeRequest,
) -> Result<v1::ProposeReply, v1::Error> {
    let results = request.proposals.into_iter().map(|proposal| {
        let signed = proposal.attestation.unwrap();
        let now = Clock::system().now();
        let attested = Attestation::verify(&signed, verifier, &proposal.action, now).unwrap();
        let action = v1::Action::decode(proposal.action.as_slice()).unwrap().action.unwrap();
        let outcome = match ledger.lock().unwrap().propose(&attested, action) {
            Ok(committed) => v1::outcome::Outcome::Committed(committed),
            Err(error) => v1::outcome::Outcome::Rejected(error),
        };
        v1::ProposalResult { outcome: Some(v1::Outcome { outcome: Some(outcome) }), grant: None }
    });
    Ok(v1::ProposeReply { results: results.collect() })
}

pub(crate) async fn serve_journal(bus: &Bus, site: &Path, ledger: &Shared) {
    let ca = std::fs::read_to_string(site.join("ca.crt")).unwrap();
    let verifier = Arc::new(Verifier::from_pem(&ca).unwrap());
    let (for_nodes, follower, leader) =
        (Arc::clone(ledger), Arc::clone(ledger), Arc::clone(ledger));
    let service = Service::new("journal", "0.1.0", "journal-1")
        .method("cluster", |_, _: v1::ClusterRequest| async {
            // Out of date on purpose: the named member answers with a hint.
            Ok(v1::ClusterReply { leader: Some(1), ..Default::default() })
        })
        .method("nodes", move |_, request: v1::NodesRequest| {
            let ledger = Arc::clone(&for_nodes);
            async move {
                let fits = |record: &&v1::NodeRecord| {
                    let is_named = request.nodes.is_empty() || request.nodes.contains(&record.node);
                    is_named
                        && request.state.is_none_or(|state| state == record.state)
                        && record.node > request.after
                };
                let found: Vec<_> =
                    ledger.lock().unwrap().journal.nodes.values().filter(fits).cloned().collect();
                // Pages of one, so that paging is seen to work.
                Ok(v1::NodesReply {
                    more: found.len() > 1,
                    nodes: found.into_iter().take(1).collect(),
                })
            }
        })
        .member_method("1".parse().unwrap(), "propose", move |_, _: v1::ProposeRequest| {
            follower.lock().unwrap().asked_follower = true;
            let mut hint = ErrorCode::NotLeader.error("another member leads");
            hint.leader = Some(LEADER);
            async move { Err::<v1::ProposeReply, _>(hint) }
        })
        .member_method("2".parse().unwrap(), "propose", move |_, request| {
            let answer = propose(&leader, &verifier, request);
            async move { answer }
        });
    bus.serve(service).await.unwrap();
}

/// The nodes of these tests are in no vCluster.
fn unassigned(node: &str) -> Vec<v1::JudgedScope> {
    vec![v1::JudgedScope { vcluster: None, targets: node.to_owned() }]
}

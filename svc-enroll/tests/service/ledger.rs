//! The journal, played: its contract, signatures and compare-and-set.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use pact_bus::{Bus, Service};
use pact_identity::attestation::Attestation;
use pact_identity::{SignerRole, Verifier};
use pact_runtime::Clock;
use pact_schemas::convert;
use pact_schemas::v1::action::Action;
use pact_schemas::{ErrorCode, v1};
use prost::Message as _;

/// A MAC address of every node.
pub(crate) const MAC: &str = "0c:42:a1:00:00:01";
const LEADER: u64 = 2;

/// The journal's nodes, and what was proposed to it.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) nodes: BTreeMap<String, v1::NodeRecord>,
    pub(crate) actions: Vec<(SignerRole, Action)>,
    seq: u64,
    pub(crate) asked_follower: bool,
}

pub(crate) type Shared = Arc<Mutex<Ledger>>;

impl Ledger {
    pub(crate) fn add(&mut self, node: &str, state: v1::NodeState) {
        self.seq += 1;
        let identity = v1::HardwareIdentity { macs: vec![MAC.to_owned()], ..Default::default() };
        let record = v1::NodeRecord {
            node: node.to_owned(),
            state: state.into(),
            identity: Some(identity),
            state_seq: self.seq,
            state_since: now(),
            ..Default::default()
        };
        self.nodes.insert(node.to_owned(), record);
    }

    /// As the journal does it when the node is decommissioned.
    pub(crate) fn revoke(&mut self, node: &str) {
        let record = self.nodes.get_mut(node).unwrap();
        record.state = v1::NodeState::Revoked.into();
        record.live_bus_users.iter_mut().for_each(|user| user.ended = true);
    }

    pub(crate) fn state(&self, node: &str) -> v1::NodeState {
        v1::NodeState::try_from(self.nodes[node].state).unwrap()
    }

    pub(crate) fn apply(
        &mut self,
        signer: SignerRole,
        action: Action,
    ) -> Result<v1::Committed, v1::Error> {
        let seq = self.seq + 1;
        match &action {
            Action::EnrolNode(enrol) => {
                assert_eq!(signer, SignerRole::Enroll);
                let record = self.nodes.get_mut(&enrol.node).unwrap();
                if record.state_seq != enrol.expected_state_seq {
                    return Err(ErrorCode::Conflict.error("stale"));
                }
                record.bus_user = Some(enrol.bus_user.clone());
                if !enrol.renewal {
                    record.live_bus_users.iter_mut().for_each(|user| user.ended = true);
                }
                record.live_bus_users.retain(|user| user.key != enrol.bus_user);
                record.live_bus_users.push(v1::LiveBusUser {
                    key: enrol.bus_user.clone(),
                    not_after: enrol.certificate_not_after,
                    ended: false,
                });
                record.certificate_not_after = enrol.certificate_not_after;
                record.agent_version.clone_from(&enrol.agent_version);
                if !enrol.renewal {
                    record.state = v1::NodeState::Active.into();
                    record.state_seq = seq;
                    record.state_since = now();
                }
            }
            Action::SetLiveness(set) => {
                assert_eq!(signer, SignerRole::Enroll);
                let record = self.nodes.get_mut(&set.node).unwrap();
                if record.state_seq != set.expected_state_seq {
                    return Err(ErrorCode::Conflict.error("stale"));
                }
                record.state = set.state;
                record.state_seq = seq;
            }
            Action::RejectEnrolment(_) => assert_eq!(signer, SignerRole::Enroll),
            other => panic!("not expected: {other:?}"),
        }
        self.seq = seq;
        self.actions.push((signer, action));
        Ok(v1::Committed { first_seq: seq, last_seq: seq, ..Default::default() })
    }

    pub(crate) fn rejections(&self) -> Vec<String> {
        let rejected = |(_, action): &(SignerRole, Action)| match action {
            Action::RejectEnrolment(reject) => Some(reject.rejected.clone().unwrap().code),
            _ => None,
        };
        self.actions.iter().filter_map(rejected).collect()
    }
}

pub(crate) fn now() -> Option<prost_types::Timestamp> {
    Some(convert::timestamp(Clock::system().now().unix_nanos()))
}

pub(crate) fn propose(
    ledger: &Shared,
    verifier: &Verifier,
    request: v1::ProposeRequest,
) -> Result<v1::ProposeReply, v1::Error> {
    let results = request.proposals.into_iter().map(|proposal| {
        let signed = proposal.attestation.unwrap();
        let now = Clock::system().now();
        let attested = Attestation::verify(&signed, verifier, &proposal.action, now).unwrap();
        let action = v1::Action::decode(proposal.action.as_slice()).unwrap().action.unwrap();
        let outcome = match ledger.lock().unwrap().apply(attested.signer().role(), action) {
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
                    ledger.lock().unwrap().nodes.values().filter(fits).cloned().collect();
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

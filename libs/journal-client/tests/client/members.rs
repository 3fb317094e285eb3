//! Members that are played: who leads, what is remembered, and whose answers are lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pact_bus::{Bus, Service};
use pact_schemas::rpc;
use pact_schemas::v1::{self, outcome::Outcome};
use pact_schemas::{ErrorCode, MemberId};

/// What all members know.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) leader: Option<u64>,
    /// How long ago other members answered, where members tell of any.
    pub(crate) contacts: Vec<Option<u64>>,
    /// Who members say leads, where they are not up to date.
    pub(crate) rumour: Option<u64>,
    /// Proposals that are carried out and never answered.
    pub(crate) lost_answers: usize,
    /// Times that anything was proposed to a member, in order.
    pub(crate) asked: Vec<u64>,
    /// Entries by what was proposed: the bytes of a proposal stand for its request id.
    pub(crate) entries: BTreeMap<Vec<u8>, u64>,
    /// Pages of `recall`, in order; empty: nothing is remembered.
    pub(crate) pages: Vec<v1::RecallReply>,
    /// What `recall` is refused with.
    pub(crate) refusal: Option<v1::Error>,
}

#[derive(Clone, Default)]
pub(crate) struct Members(Arc<Mutex<State>>);

impl Members {
    pub(crate) fn led_by(leader: u64) -> Self {
        let this = Self::default();
        this.with(|s| s.leader = Some(leader));
        this
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    pub(crate) async fn serve(&self, bus: &Bus, id: u64) {
        let (cluster, recall, propose) = (self.clone(), self.clone(), self.clone());
        let service =
            Service::new("journal", "0.1.0", &format!("journal-{id}"))
                .on(rpc::journal::Cluster, move |(), _, _: v1::ClusterRequest| {
                    let (leader, contacts) =
                        cluster.with(|s| (s.rumour.or(s.leader), s.contacts.clone()));
                    let members =
                        contacts.into_iter().zip(1..).map(|(contact, id)| v1::MemberStatus {
                            id,
                            last_contact_milliseconds: contact,
                            voter: true,
                            ..v1::MemberStatus::default()
                        });
                    let members = members.collect();
                    async move {
                        Ok(v1::ClusterReply { leader, members, ..v1::ClusterReply::default() })
                    }
                })
                .on(rpc::journal::Recall, move |(), _, request: v1::RecallRequest| {
                    let answer = recall.with(|s| recalled(s, &request));
                    async move { answer }
                })
                .on_member(
                    MemberId::new(id).unwrap(),
                    rpc::member::Propose,
                    move |(), _, request: v1::ProposeRequest| {
                        let answer = propose.with(|s| proposed(s, id, &request));
                        async move {
                            match answer {
                                Some(answer) => answer,
                                None => std::future::pending().await,
                            }
                        }
                    },
                );
        bus.serve(service).await.unwrap();
    }
}

/// `None`: the answer is lost.
fn proposed(
    state: &mut State,
    id: u64,
    request: &v1::ProposeRequest,
) -> Option<Result<v1::ProposeReply, v1::Error>> {
    state.asked.push(id);
    if state.leader != Some(id) {
        let mut error = ErrorCode::NotLeader.error("another member leads");
        error.leader = state.leader;
        return Some(Err(error));
    }
    let results = request.proposals.iter().map(|proposal| {
        let next = state.entries.len() as u64 + 1;
        let is_new = !state.entries.contains_key(&proposal.action);
        let seq = *state.entries.entry(proposal.action.clone()).or_insert(next);
        let committed = v1::Committed {
            first_seq: seq,
            last_seq: seq,
            repeated_request: !is_new,
            ..v1::Committed::default()
        };
        let outcome = v1::Outcome { outcome: Some(Outcome::Committed(committed)) };
        v1::ProposalResult { outcome: Some(outcome), grant: None }
    });
    let results = results.collect();
    if state.lost_answers > 0 {
        state.lost_answers -= 1;
        return None;
    }
    Some(Ok(v1::ProposeReply { results }))
}

fn recalled(state: &State, request: &v1::RecallRequest) -> Result<v1::RecallReply, v1::Error> {
    if let Some(refusal) = &state.refusal {
        return Err(refusal.clone());
    }
    let after = |page: &&v1::RecallReply| {
        page.committed.as_ref().is_some_and(|committed| committed.first_seq > request.after)
    };
    Ok(state.pages.iter().find(after).cloned().unwrap_or_default())
}

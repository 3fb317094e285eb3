//! How members are added and removed.
//!
//! What is to be done stands in the journal ([`pact_journal_core::members`]), so whoever leads carries it out, from wherever the leader
//! before left it: each step is decided by Raft's membership alone. A new member is asked whether it is there and empty, then
//! gets the log as a learner, and becomes a voter when it has caught up; Raft's joint consensus does the rest. A change that
//! a new member does not answer for is given up: it is taken out again, and the journal says why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::{BasicNode, ChangeMembers, Membership};
use pact_journal_core::members::described;
use pact_runtime::CancellationToken;
use pact_schemas::v1::{
    self, LogStateRequest, MemberAddress, MemberChange, MemberChangeEnd, MembershipChanged,
    change_members, member_change,
};
use pact_schemas::{ErrorCode, RequestId};

use super::member::Member;
use crate::store::query;

/// Between two looks at what is to be done.
const STEP: Duration = Duration::from_millis(250);
/// Longest step: it waits for a majority, and is taken up again.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer of a new member.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// A new member that does not answer for this long is given up.
const SILENT_LIMIT: Duration = Duration::from_secs(30);
/// A new member that has not caught up after this is given up: it gets a whole state as fast as the network carries it.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(30 * 60);
/// As many entries behind, a learner has caught up: what is missing is on its way.
const CAUGHT_UP: u64 = 64;
/// A member that answered within this counts as there; every member is asked for its time every 5 s.
const ANSWERS_WITHIN: Duration = Duration::from_secs(7);

/// What became of a step.
enum Step {
    /// There is more to do.
    More,
    /// The change has ended; with a reason if it was given up.
    Ended { failure: String },
}

const DONE: Step = Step::Ended { failure: String::new() };

/// What a new member says of its log.
enum Candidate {
    /// None, or the beginning of ours.
    Fits,
    /// Another journal's.
    Foreign,
    /// Nothing.
    Silent { cause: String },
}

/// A change, and since when this leader has been at it.
struct UnderWay {
    seq: u64,
    since: Duration,
    last_answer: Duration,
}

impl Member {
    /// Carries out changes of the members while this member leads, until `stop`.
    pub(super) async fn change_members(self, stop: CancellationToken) {
        let clock = self.inner.clock.clone();
        let mut under_way: Option<UnderWay> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe
                () = clock.sleep(STEP) => {} // cancel-safe
            }
            let change = if self.is_leader() { self.membership().change } else { None };
            let Some(change) = change else {
                under_way = None;
                continue;
            };
            let now = clock.monotonic();
            let since = under_way.take().filter(|before| before.seq == change.seq);
            let mut since =
                since.unwrap_or(UnderWay { seq: change.seq, since: now, last_answer: now });
            let step = tokio::select! {
                () = stop.cancelled() => return, // what Raft has begun is taken up again by whoever leads
                step = clock.timeout(STEP_TIMEOUT, self.step(&change, &mut since)) => step, // likewise
            };
            match step {
                Ok(Step::More) | Err(_) => {}
                Ok(Step::Ended { failure }) => self.end(&change, failure).await,
            }
            under_way = Some(since);
        }
    }

    async fn step(&self, change: &MemberChange, since: &mut UnderWay) -> Step {
        match &change.change {
            Some(member_change::Change::Add(new)) => self.add(new, since).await,
            Some(member_change::Change::Remove(id)) => self.remove(*id).await,
            None => {
                Step::Ended { failure: "this version of pact does not know the change".to_owned() }
            }
        }
    }

    async fn add(&self, new: &MemberAddress, since: &mut UnderWay) -> Step {
        let (id, membership) = (new.id, self.raft_membership());
        let is_voter = membership.voter_ids().any(|voter| voter == id);
        if is_voter && membership.get_joint_config().len() == 1 {
            return DONE;
        }
        let promote = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
        if is_voter {
            // The leader before has not finished.
            return self.change(promote, true).await;
        }
        let now = self.inner.clock.monotonic();
        if membership.get_node(&id).is_none() {
            if let Err(error) = self.inner.peers.ensure(id, &new.address) {
                return Step::Ended { failure: error.to_string() };
            }
            return match self.ask_candidate(id).await {
                Candidate::Fits => {
                    since.last_answer = now;
                    let learner = BTreeMap::from([(id, BasicNode::new(&new.address))]);
                    self.change(ChangeMembers::AddNodes(learner), true).await
                }
                Candidate::Foreign => {
                    self.follow_membership();
                    let failure = format!(
                        "member {id} at {} holds the log of another journal: wipe its data folder",
                        new.address
                    );
                    Step::Ended { failure }
                }
                Candidate::Silent { cause }
                    if now.saturating_sub(since.last_answer) >= SILENT_LIMIT =>
                {
                    self.follow_membership();
                    let failure = silent(new, &cause);
                    Step::Ended { failure }
                }
                Candidate::Silent { .. } => Step::More,
            };
        }
        let contact = self.inner.peers.last_contact(id);
        let is_there = contact.is_some_and(|ago| ago <= ANSWERS_WITHIN);
        // A voter of whom nobody remembers that it had a log could come back without one.
        let is_remembered = self.membership().members.iter().any(|m| m.id == id && m.joined);
        if self.has_caught_up(id) && is_there && is_remembered {
            return self.change(promote, true).await;
        }
        if contact.is_some_and(|ago| ago < SILENT_LIMIT) {
            since.last_answer = now.saturating_sub(contact.unwrap_or_default());
        }
        let failure = if now.saturating_sub(since.last_answer) >= SILENT_LIMIT {
            silent(new, "it stopped answering while it got the log")
        } else if now.saturating_sub(since.since) >= CATCH_UP_LIMIT {
            format!(
                "member {id} has not caught up within {} min: look at its disk, and at the network",
                CATCH_UP_LIMIT.as_secs() / 60
            )
        } else {
            return Step::More;
        };
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id])), true).await;
        if self.raft_membership().get_node(&id).is_some() {
            Step::More
        } else {
            Step::Ended { failure }
        }
    }

    async fn remove(&self, id: u64) -> Step {
        let membership = self.raft_membership();
        let is_joint = membership.get_joint_config().len() > 1;
        if is_joint || membership.voter_ids().any(|voter| voter == id) {
            return self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), false).await;
        }
        if membership.get_node(&id).is_some() {
            return self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id])), false).await;
        }
        if self.is_committed() { DONE } else { Step::More }
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>, retain: bool) -> Step {
        if let Err(error) = self.inner.raft.change_membership(change, retain).await {
            // Another leader, or a change that is not committed yet: it is looked at again.
            tracing::debug!(%error, "the membership does not change yet");
        }
        Step::More
    }

    /// Whether somebody at the new address is the new member, and what it has.
    async fn ask_candidate(&self, id: u64) -> Candidate {
        let peers = &self.inner.peers;
        let silent = |cause: String| Candidate::Silent { cause };
        let Some(mut client) = peers.client(id) else {
            return silent("it cannot be called".to_owned());
        };
        let cluster_id = peers.cluster_id(id);
        let request = LogStateRequest { cluster_id: cluster_id.clone() };
        let answer = self.inner.clock.timeout(ANSWER_TIMEOUT, client.log_state(request)).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => {
                peers.note(id, &cluster_id, Some(&status));
                return silent(status.message().to_owned());
            }
            Err(late) => return silent(late.to_string()),
        };
        peers.note(id, &cluster_id, None);
        let ours = query::first_hash(&self.inner.cell.load());
        let is_ours = ours.is_some_and(|hash| hash == answer.first_hash);
        if answer.last_index == 0 || is_ours { Candidate::Fits } else { Candidate::Foreign }
    }

    fn has_caught_up(&self, id: u64) -> bool {
        let metrics = self.inner.raft.metrics().borrow().clone();
        let matched = metrics.replication.as_ref().and_then(|all| all.get(&id).copied().flatten());
        let last = metrics.last_log_index.unwrap_or(0);
        matched.is_some_and(|matched| matched.index + CAUGHT_UP >= last)
    }

    async fn end(&self, change: &MemberChange, failure: String) {
        if !self.is_committed() {
            return;
        }
        let failure: String = failure.chars().take(250).collect();
        match failure.as_str() {
            "" => tracing::info!(entry = change.seq, "done: {}", described(change)),
            why => tracing::warn!(entry = change.seq, "given up: {}: {why}", described(change)),
        }
        let ended = MemberChangeEnd { seq: change.seq, failure };
        self.announce_end(Some(ended)).await;
    }

    /// Raft's membership, also before it is committed.
    pub(crate) fn raft_membership(&self) -> Membership<u64, BasicNode> {
        self.inner.raft.metrics().borrow().membership_config.membership().clone()
    }

    /// Whether Raft's membership is applied here.
    pub(super) fn is_committed(&self) -> bool {
        let metrics = self.inner.raft.metrics().borrow().clone();
        *metrics.membership_config.log_id() <= metrics.last_applied
    }

    /// What the journal says of its members.
    pub(crate) fn membership(&self) -> MembershipChanged {
        query::membership(&self.inner.cell.load())
    }

    /// Whether a change may be proposed now; what depends on the state alone is judged when it is applied.
    ///
    /// # Errors
    /// `PACT_CONFLICT` when a member is too old to understand the change, or when those that would be left could not commit.
    pub(crate) fn may_change(
        &self,
        change: &v1::ChangeMembers,
        request: &RequestId,
    ) -> Result<(), v1::Error> {
        if query::request(&self.inner.cell.load(), request).is_some() {
            return Ok(()); // a retry of what is decided
        }
        let leaving = match change.change {
            Some(change_members::Change::Remove(id)) => Some(id),
            _ => None,
        };
        let membership = self.raft_membership();
        let stays = |id: &u64| Some(*id) != leaving;
        let others = membership.nodes().map(|(id, _)| *id).filter(stays);
        if let Some(old) = others.into_iter().find(|id| self.inner.peers.version(*id) == Some(0)) {
            return Err(ErrorCode::Conflict
                .error(format!("member {old} runs a version of pact that cannot change members"))
                .next("update pact-journal on every member first"));
        }
        let names_itself_alone = self.inner.config.members.iter().count() == 1;
        if names_itself_alone && matches!(change.change, Some(change_members::Change::Add(_))) {
            return Err(ErrorCode::Conflict
                .error(format!("journal.raft.members of member {} names it alone", self.id()))
                .because(
                    "if it lost its disk, it would begin a journal of its own beside the others",
                )
                .next(
                    "name the new member there too, start this member again, then add the new one",
                ));
        }
        let Some(leaving) = leaving.filter(|id| membership.get_node(id).is_some()) else {
            return Ok(());
        };
        let rest: BTreeSet<u64> = membership.voter_ids().filter(stays).collect();
        let answers = |id: &u64| {
            let ago = self.inner.peers.last_contact(*id);
            let is_there = ago.is_some_and(|ago| ago <= ANSWERS_WITHIN);
            // Who answers with a full disk, or is far behind, commits nothing.
            *id == self.id() || (is_there && self.has_caught_up(*id))
        };
        enough(leaving, &rest, rest.iter().copied().filter(answers).collect())
    }
}

/// Whether the rest of the voters can commit without the one that leaves.
fn enough(leaving: u64, rest: &BTreeSet<u64>, answer: BTreeSet<u64>) -> Result<(), v1::Error> {
    // The last one is refused where it is applied.
    if rest.is_empty() || answer.len() > rest.len() / 2 {
        return Ok(());
    }
    Err(ErrorCode::Conflict
        .error(format!("without member {leaving} the journal could not write any more"))
        .because(format!(
            "of the members {} only {} would be left that answer and have what is committed, and more than half must",
            listed(rest.iter()),
            listed(answer.iter()),
        ))
        .next(format!("start member {} first", listed(rest.difference(&answer)))))
}

fn listed<'a>(ids: impl Iterator<Item = &'a u64>) -> String {
    ids.map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn silent(new: &MemberAddress, cause: &str) -> String {
    format!(
        "nobody at {} answers as member {} ({cause}): look at its log, its certificate, the address and the firewall",
        new.address, new.id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_removed_without_whom_the_rest_cannot_write() {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        // (leaving, the rest, those of it that answer)
        for (leaving, rest, answer) in [
            (3, vec![1, 2], vec![1, 2]),
            (5, vec![1, 2, 3, 4], vec![1, 2, 4]),
            (4, vec![1, 2, 3], vec![1, 3]),
            (1, vec![], vec![]),
        ] {
            enough(leaving, &set(&rest), set(&answer)).unwrap();
        }
        let error = enough(3, &set(&[1, 2]), set(&[1])).unwrap_err();
        assert!(error.cause.contains("of the members 1, 2 only 1"), "{error:?}");
        assert!(error.next_step.contains("start member 2"), "{error:?}");
        enough(5, &set(&[1, 2, 3, 4]), set(&[1, 2])).unwrap_err();
    }
}

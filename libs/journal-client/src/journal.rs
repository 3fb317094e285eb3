//! The client.

use std::time::Duration;

use pact_bus::{Bus, CallError};
use pact_runtime::Clock;
use pact_schemas::cluster_state::GroupState;
use pact_schemas::rpc::ServiceRpc;
use pact_schemas::rpc::journal::{Cluster, Recall};
use pact_schemas::rpc::member::Propose;
use pact_schemas::v1::{self, outcome::Outcome};
use pact_schemas::{Digest, ErrorCode, MemberId, RequestId};
use prost::Message as _;

use crate::leader::Leader;
use crate::verdict::{Verdict, bad_reply, judge, no_leader, outward};

/// One attempt at a member: a read or a write takes milliseconds; a member that lost its leader is given up.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A member that has not answered a read by then may be cut off: another one is asked too.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A proposal that has no answer by then may be lost, with a leader that was killed or that was leaving the bus: it is sent once
/// more. Not sooner, because a leader that waits for its disk would get everything twice.
const PROPOSE_AGAIN: Duration = Duration::from_secs(1);

/// Between two attempts: an election takes at least some hundred milliseconds.
pub const PAUSE: Duration = Duration::from_millis(100);

/// Members that name each other as the leader are not asked in a circle.
const MAX_HINTS: u32 = 2;

/// Proposals in one request (journal_rpc.proto).
pub const MAX_PROPOSALS: usize = 256;

/// How long it is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A read, all its attempts.
    pub read: Duration,
    /// A proposal, all its attempts.
    pub propose: Duration,
    /// While nobody listens at all: that is no election, but the bus or the journal starting.
    pub nobody: Duration,
}

/// Talks to the journal. Cheap to clone; clones share what is known of the leader.
#[derive(Clone)]
pub struct Journal {
    bus: Bus,
    clock: Clock,
    patience: Patience,
    leader: Leader,
}

/// What the journal remembers of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Recalled {
    /// Its first outcome.
    pub committed: v1::Committed,
    /// The entries that it made, in order.
    pub entries: Vec<v1::Entry>,
}

impl Journal {
    /// A client on a connection to the bus.
    #[must_use]
    pub fn new(bus: Bus, clock: Clock, patience: Patience) -> Self {
        let leader = Leader::new(clock.clone());
        Self { bus, clock, patience, leader }
    }

    /// Asks any member, again until one answers or the patience for reads ends.
    ///
    /// # Errors
    /// What the member answered; `PACT_TIMEOUT` where none did, `PACT_NO_LEADER` where none may answer without a leader.
    pub async fn read<R: ServiceRpc>(&self, request: &R::Request) -> Result<R::Reply, v1::Error> {
        self.patiently(self.patience.read, || {
            self.bus.call_any::<R>(&(), request, ASK_AGAIN, ATTEMPT)
        })
        .await
    }

    /// As [`Journal::read`], for requests that wait by themselves, for at most `attempt`.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub async fn read_for<R: ServiceRpc>(
        &self,
        request: &R::Request,
        attempt: Duration,
    ) -> Result<R::Reply, v1::Error> {
        let patience = self.patience.read.max(attempt);
        self.patiently(patience, || self.bus.call::<R>(&(), request, attempt)).await
    }

    /// What became of a request of `asker` for what has this digest (see `Action.asked_sha256`); `None`: nothing was committed
    /// under this id so far.
    ///
    /// # Errors
    /// `PACT_CONFLICT` when it is the id of another request; `PACT_REQUEST_ID_REFUSED` for an id that is longer ago than the journal remembers ids; else as [`Journal::read`].
    pub async fn recall(
        &self,
        id: RequestId,
        asker: v1::Principal,
        asked: Digest,
    ) -> Result<Option<Recalled>, v1::Error> {
        let mut request = v1::RecallRequest {
            request_id: id.to_string(),
            after: 0,
            asker: Some(asker),
            asked_sha256: asked.to_vec(),
        };
        let mut entries = Vec::new();
        loop {
            let reply = self.read::<Recall>(&request).await?;
            for record in &reply.entries {
                let entry = v1::Entry::decode(record.entry.as_slice());
                entries.push(entry.map_err(|_| bad_reply("an entry does not decode"))?);
            }
            match (reply.committed, entries.last()) {
                // Pages ascend, so the loop ends.
                (Some(_), Some(last)) if reply.more && last.seq > request.after => {
                    request.after = last.seq;
                }
                (committed, _) => {
                    return Ok(committed.map(|committed| Recalled { committed, entries }));
                }
            }
        }
    }

    /// Proposes, again until the journal has decided or the patience for proposals ends.
    ///
    /// # Errors
    /// The journal's own refusal of the request as a whole; `PACT_NO_LEADER` or `PACT_TIMEOUT` when nothing was decided.
    /// Refusals of single proposals are in their results.
    pub async fn propose(
        &self,
        proposals: Vec<v1::Proposal>,
    ) -> Result<Vec<v1::ProposalResult>, v1::Error> {
        let request = v1::ProposeRequest { proposals };
        let started = self.clock.monotonic();
        let mut hints_followed = 0_u32;
        loop {
            let verdict = match self.attempt(&request).await {
                Ok(results) => {
                    self.leader.missing(false);
                    return Ok(results);
                }
                Err(verdict) => verdict,
            };
            let error = match self.unless_over(verdict, started, self.patience.propose) {
                Ok(error) => error,
                Err(error) => return Err(self.explained(error).await),
            };
            metrics::counter!("pact_journal_proposal_retries_total").increment(1);
            // A hint is followed at once.
            let has_hint = error.known_code() == ErrorCode::NotLeader && error.leader.is_some();
            if has_hint && hints_followed < MAX_HINTS {
                hints_followed += 1;
            } else {
                self.clock.sleep(PAUSE).await;
            }
        }
    }

    /// One proposal whose refusal is an error.
    ///
    /// # Errors
    /// As [`Journal::propose`], and the refusal.
    pub async fn propose_one(
        &self,
        proposal: v1::Proposal,
    ) -> Result<(v1::Committed, Option<v1::SignedGrant>), v1::Error> {
        let results = self.propose(vec![proposal]).await?;
        committed(results.into_iter().next().ok_or_else(|| bad_reply("no result"))?)
    }

    async fn patiently<Rep, Asked>(
        &self,
        patience: Duration,
        mut ask: impl FnMut() -> Asked,
    ) -> Result<Rep, v1::Error>
    where
        Asked: Future<Output = Result<Rep, CallError>>,
    {
        let started = self.clock.monotonic();
        loop {
            let error = match ask().await {
                Ok(reply) => {
                    self.leader.missing(false);
                    return Ok(reply);
                }
                Err(error) => error,
            };
            if let Err(error) = self.unless_over(judge(error), started, patience) {
                return Err(self.explained(error).await);
            }
            self.clock.sleep(PAUSE).await;
        }
    }

    /// Whether nothing can be decided at this moment because none leads, as far as anybody has tried.
    #[must_use]
    pub fn is_leaderless(&self) -> bool {
        self.leader.is_missing()
    }

    /// Silence is said to be that, unless a member knows that too few of them are left to decide: one that waits for the
    /// others, or that leads nobody any more, does not answer in time.
    async fn explained(&self, error: v1::Error) -> v1::Error {
        if error.known_code() != ErrorCode::Timeout {
            return error;
        }
        let request = v1::ClusterRequest {};
        let asked = self.bus.call_any::<Cluster>(&(), &request, ASK_AGAIN, 2 * ASK_AGAIN).await;
        let knows = asked.is_ok_and(|reply| {
            let state = GroupState::of(&reply);
            !reply.members.is_empty()
                && matches!(state, GroupState::NoLeader | GroupState::NoQuorum)
        });
        if knows { no_leader() } else { error }
    }

    /// What the last attempt said, where another one is worth making.
    fn unless_over(
        &self,
        verdict: Verdict,
        started: Duration,
        patience: Duration,
    ) -> Result<v1::Error, v1::Error> {
        let waited = self.clock.monotonic().saturating_sub(started);
        if let Verdict::Again(error) = &verdict {
            let code = error.known_code();
            self.leader.missing(matches!(code, ErrorCode::NoLeader | ErrorCode::NotLeader));
        }
        match verdict {
            Verdict::Final(error) => Err(error),
            Verdict::Nobody(error) if waited >= self.patience.nobody => Err(error),
            Verdict::Nobody(error) | Verdict::Again(error) if waited + PAUSE >= patience => {
                Err(outward(error))
            }
            Verdict::Nobody(error) | Verdict::Again(error) => Ok(error),
        }
    }

    async fn attempt(
        &self,
        request: &v1::ProposeRequest,
    ) -> Result<Vec<v1::ProposalResult>, Verdict> {
        let member = match self.leader.known() {
            Some(member) => member,
            None => self.find_leader().await?,
        };
        let asked = self.bus.call_any::<Propose>(&member, request, PROPOSE_AGAIN, ATTEMPT).await;
        let answer = match asked.map_err(|error| judge(error).of_one_member()) {
            Ok(reply) if reply.results.len() != request.proposals.len() => {
                Err(Verdict::Final(bad_reply("results do not match proposals")))
            }
            Ok(reply) => match reply.results.iter().find_map(undecided) {
                Some(error) => Err(Verdict::Again(error.clone())),
                None => Ok(reply.results),
            },
            Err(verdict) => Err(verdict),
        };
        if let Err(Verdict::Again(error) | Verdict::Nobody(error)) = &answer {
            self.follow(member, error);
        }
        answer
    }

    /// After a failed attempt at `member`: who else is said to lead.
    fn follow(&self, member: MemberId, error: &v1::Error) {
        // A leader that is busy leads.
        if error.known_code() == ErrorCode::Busy {
            return;
        }
        self.leader.lost(member, error);
        let hint = error.leader.filter(|_| error.known_code() == ErrorCode::NotLeader);
        if let Some(other) = hint.and_then(|leader| MemberId::new(leader).ok()) {
            self.leader.found(other);
        }
    }

    async fn find_leader(&self) -> Result<MemberId, Verdict> {
        self.leader.asking();
        let request = v1::ClusterRequest {};
        let asked = self.bus.call_any::<Cluster>(&(), &request, ASK_AGAIN, ATTEMPT).await;
        let reply = asked.map_err(judge)?;
        let leader = reply.leader.and_then(|leader| MemberId::new(leader).ok());
        let leader = leader.ok_or_else(|| Verdict::Again(no_leader()))?;
        self.leader.found(leader);
        Ok(leader)
    }
}

/// The outcome of a proposal that was decided.
///
/// # Errors
/// The refusal; `PACT_MALFORMED` where there is no outcome.
pub fn committed(
    result: v1::ProposalResult,
) -> Result<(v1::Committed, Option<v1::SignedGrant>), v1::Error> {
    match result.outcome.and_then(|outcome| outcome.outcome) {
        Some(Outcome::Committed(committed)) => Ok((committed, result.grant)),
        Some(Outcome::Rejected(error)) => Err(error),
        None => Err(bad_reply("a result has no outcome")),
    }
}

/// The error of a result that says that nothing was decided.
fn undecided(result: &v1::ProposalResult) -> Option<&v1::Error> {
    match result.outcome.as_ref()?.outcome.as_ref()? {
        Outcome::Rejected(error) => {
            let code = error.known_code();
            matches!(code, ErrorCode::NotLeader | ErrorCode::NoLeader).then_some(error)
        }
        Outcome::Committed(_) => None,
    }
}

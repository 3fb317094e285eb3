//! The journal's client: reads from any member, proposals to the leader.
//!
//! A proposal goes to a named member. Who leads is remembered from the last answer; a member that does not lead says
//! who does. Retries carry the same request id, so the journal answers a repeated proposal with its first outcome.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pact_bus::{Bus, CallError};
use pact_runtime::Clock;
use pact_schemas::v1::{self, outcome::Outcome};
use pact_schemas::{ErrorCode, MemberId, MethodName, Subject};

use crate::context::service_subject;
use crate::error::{Answer, bad_reply};

/// One attempt at a member: a read or a write takes milliseconds; a member that lost its leader is given up.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A member that has not answered a read by then may be cut off: another one is asked too.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// All attempts of a read: two elections.
const READ: Duration = Duration::from_secs(8);

/// All attempts of a proposal: writes are accepted again within 5 s of a leader's death.
const PROPOSE: Duration = Duration::from_secs(12);

/// Where nobody at all listens it is not an election that one waits for; the bus and a service that start anew take less.
pub(crate) const NOBODY: Duration = Duration::from_secs(5);

/// Between two attempts: an election takes at least some hundred milliseconds.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// Proposals in one request (journal_rpc.proto).
pub(crate) const MAX_PROPOSALS: usize = 256;

/// Talks to the journal. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Journal {
    bus: Bus,
    clock: Clock,
    leader: Arc<Mutex<Option<MemberId>>>,
}

/// How a failed attempt is judged.
enum Verdict {
    /// It will not get better.
    Final(v1::Error),
    /// Another attempt may succeed.
    Again(v1::Error),
    /// Nobody listens at all.
    Nobody(v1::Error),
}

impl Journal {
    pub(crate) fn new(bus: Bus, clock: Clock) -> Self {
        Self { bus, clock, leader: Arc::default() }
    }

    /// Asks any member, again until one answers or the time for reads is over.
    pub(crate) async fn read<Req, Rep>(&self, method: &'static str, request: &Req) -> Answer<Rep>
    where
        Req: prost::Message,
        Rep: prost::Message + Default,
    {
        let subject = service_subject("journal", method)?;
        self.patiently(ATTEMPT, || self.bus.request_any(&subject, request, ASK_AGAIN, ATTEMPT))
            .await
    }

    /// As [`Journal::read`], for requests that wait by themselves.
    pub(crate) async fn read_for<Req, Rep>(
        &self,
        method: &'static str,
        request: &Req,
        attempt: Duration,
    ) -> Answer<Rep>
    where
        Req: prost::Message,
        Rep: prost::Message + Default,
    {
        let subject = service_subject("journal", method)?;
        self.patiently(attempt, || self.bus.request(&subject, request, attempt)).await
    }

    async fn patiently<Rep, Asked>(
        &self,
        attempt: Duration,
        mut ask: impl FnMut() -> Asked,
    ) -> Answer<Rep>
    where
        Asked: Future<Output = Result<Rep, CallError>>,
    {
        let started = self.clock.monotonic();
        loop {
            let error = match ask().await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let waited = self.clock.monotonic().saturating_sub(started);
            match judge(error) {
                Verdict::Final(error) => return Err(error),
                Verdict::Nobody(error) if waited >= NOBODY => return Err(error),
                Verdict::Again(error) if waited + PAUSE >= READ.max(attempt) => {
                    return Err(outward(error));
                }
                Verdict::Nobody(_) | Verdict::Again(_) => self.clock.sleep(PAUSE).await,
            }
        }
    }

    /// Proposes, again until the journal has decided or the time is over.
    ///
    /// # Errors
    /// The journal's own refusal of the request as a whole; `PACT_NO_LEADER` or `PACT_TIMEOUT` when nothing was decided.
    /// Refusals of single proposals are in their results.
    pub(crate) async fn propose(
        &self,
        proposals: Vec<v1::Proposal>,
    ) -> Answer<Vec<v1::ProposalResult>> {
        let request = v1::ProposeRequest { proposals };
        let started = self.clock.monotonic();
        let mut hints_followed = 0_u32;
        loop {
            let verdict = match self.attempt(&request).await {
                Ok(results) => return Ok(results),
                Err(verdict) => verdict,
            };
            let waited = self.clock.monotonic().saturating_sub(started);
            let error = match verdict {
                Verdict::Final(error) => return Err(error),
                Verdict::Nobody(error) if waited >= NOBODY => return Err(error),
                Verdict::Again(error) if waited + PAUSE >= PROPOSE => return Err(outward(error)),
                Verdict::Nobody(error) | Verdict::Again(error) => error,
            };
            metrics::counter!("pact_gateway_proposal_retries_total").increment(1);
            // A hint is followed at once, but members that name each other are not asked in a circle.
            let has_hint = error.known_code() == ErrorCode::NotLeader && error.leader.is_some();
            if has_hint && hints_followed < 2 {
                hints_followed += 1;
            } else {
                self.clock.sleep(PAUSE).await;
            }
        }
    }

    /// One proposal whose refusal is an error.
    pub(crate) async fn propose_one(
        &self,
        proposal: v1::Proposal,
    ) -> Answer<(v1::Committed, Option<v1::SignedGrant>)> {
        let results = self.propose(vec![proposal]).await?;
        let result =
            results.into_iter().next().ok_or_else(|| bad_reply("pact-journal", "no result"))?;
        committed(result)
    }

    async fn attempt(
        &self,
        request: &v1::ProposeRequest,
    ) -> Result<Vec<v1::ProposalResult>, Verdict> {
        let member = match self.known_leader() {
            Some(member) => member,
            None => self.find_leader().await?,
        };
        let method = MethodName::new("propose")
            .map_err(|e| Verdict::Final(ErrorCode::Internal.error(e.to_string())))?;
        let subject = Subject::MemberRpc { member, method };
        let reply: v1::ProposeReply = match self.bus.request(&subject, request, ATTEMPT).await {
            Ok(reply) => reply,
            Err(error) => {
                // That this member is gone says nothing about the others.
                let verdict = match judge(error) {
                    Verdict::Nobody(error) => Verdict::Again(error),
                    verdict => verdict,
                };
                self.follow(&verdict);
                return Err(verdict);
            }
        };
        if reply.results.len() != request.proposals.len() {
            return Err(Verdict::Final(bad_reply(
                "pact-journal",
                "results do not match proposals",
            )));
        }
        if let Some(error) = reply.results.iter().find_map(undecided) {
            let verdict = Verdict::Again(error.clone());
            self.follow(&verdict);
            return Err(verdict);
        }
        Ok(reply.results)
    }

    fn known_leader(&self) -> Option<MemberId> {
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_leader(&self, member: Option<MemberId>) {
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = member;
    }

    /// After a failed attempt: the member that the answer names, or nobody.
    fn follow(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Final(_) => {}
            Verdict::Again(error) | Verdict::Nobody(error) => {
                let hint = error.leader.and_then(|leader| MemberId::new(leader).ok());
                self.set_leader(hint.filter(|_| error.known_code() == ErrorCode::NotLeader));
            }
        }
    }

    async fn find_leader(&self) -> Result<MemberId, Verdict> {
        let subject = service_subject("journal", "cluster").map_err(Verdict::Final)?;
        let request = v1::ClusterRequest {};
        let asked = self.bus.request_any(&subject, &request, ASK_AGAIN, ATTEMPT).await;
        let reply: v1::ClusterReply = asked.map_err(judge)?;
        let leader = reply.leader.and_then(|leader| MemberId::new(leader).ok());
        self.set_leader(leader);
        leader.ok_or_else(|| Verdict::Again(no_leader()))
    }
}

/// The outcome of a proposal that was decided.
pub(crate) fn committed(
    result: v1::ProposalResult,
) -> Answer<(v1::Committed, Option<v1::SignedGrant>)> {
    match result.outcome.and_then(|outcome| outcome.outcome) {
        Some(Outcome::Committed(committed)) => Ok((committed, result.grant)),
        Some(Outcome::Rejected(error)) => Err(error),
        None => Err(bad_reply("pact-journal", "a result has no outcome")),
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

fn no_leader() -> v1::Error {
    ErrorCode::NoLeader
        .error("the journal has no leader")
        .because("fewer than half of its members are up and reach each other")
        .next("see `pact cluster`, then the logs of pact-journal")
}

/// What a client is told: which member does not lead is no concern of theirs.
fn outward(error: v1::Error) -> v1::Error {
    if error.known_code() == ErrorCode::NotLeader { no_leader() } else { error }
}

fn judge(error: CallError) -> Verdict {
    let message = error.to_string();
    let silent = |cause: String| {
        ErrorCode::Timeout
            .error("the journal does not answer")
            .because(cause)
            .next("check that pact-journal and nats-server run: `pact health`")
    };
    match error {
        CallError::NoResponders { .. } => {
            Verdict::Nobody(silent("no member of the journal is on the bus".to_owned()))
        }
        CallError::Disconnected => {
            Verdict::Nobody(silent("the gateway is not connected to the bus".to_owned()))
        }
        CallError::Timeout { .. } | CallError::Interrupted { .. } => {
            Verdict::Again(silent(message))
        }
        CallError::Service(error) => match error.known_code() {
            ErrorCode::NoLeader => Verdict::Again(no_leader()),
            ErrorCode::NotLeader
            | ErrorCode::Timeout
            | ErrorCode::Unreachable
            | ErrorCode::Busy => Verdict::Again(error),
            _ => Verdict::Final(error),
        },
        error => Verdict::Final(error.into()),
    }
}

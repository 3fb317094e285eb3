//! The journal as svc-enroll sees it: reads from any member, proposals to the leader.
//!
//! The leader is not configured: any member tells who leads, and one that does not lead often knows who does. A proposal is
//! sent again after a lost answer, with the same request id, so the journal answers with the first outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pact_bus::{Bus, CallError, Deadline};
use pact_identity::attestation::{Attestation, Statement};
use pact_identity::{Principal, Signer};
use pact_runtime::Clock;
use pact_schemas::id::IdError;
use pact_schemas::operation::Operation;
use pact_schemas::{ErrorCode, MemberId, MethodName, NodeId, RequestId, ServiceName, Subject, v1};
use prost::Message as _;

use crate::core::contact::KnownNode;

/// A read or proposal that has no answer by then fails: above an election, below the 12 s that a gateway waits for us.
const PATIENCE: Duration = Duration::from_secs(10);

/// One attempt; a member that is alive answers in milliseconds.
const ATTEMPT: Duration = Duration::from_secs(3);

/// A member that has not answered a read by then may be cut off: another one is asked too.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Between two attempts while there is no leader.
const PAUSE: Duration = Duration::from_millis(100);

/// Life of an attestation: it covers all attempts.
const ATTESTATION_LIFE: Duration = Duration::from_secs(30);

/// The row of the operations table under which the service acts on its own: all that it proposes is part of enrolling nodes.
const OPERATION: &str = "node.enroll";

/// A handle on the journal; cheap to clone.
#[derive(Clone)]
pub(crate) struct Journal {
    bus: Bus,
    clock: Clock,
    signer: Arc<Signer>,
    /// The member that led last; 0: not known.
    leader: Arc<AtomicU64>,
}

impl Journal {
    pub(crate) fn new(bus: Bus, clock: Clock, signer: Arc<Signer>) -> Self {
        Self { bus, clock, signer, leader: Arc::new(AtomicU64::new(0)) }
    }

    /// Nodes of one page, as any member has them.
    pub(crate) async fn nodes(
        &self,
        request: &v1::NodesRequest,
    ) -> Result<v1::NodesReply, v1::Error> {
        let subject = read_subject("nodes")?;
        self.patiently(PATIENCE, || self.bus.request_any(&subject, request, ASK_AGAIN, ATTEMPT))
            .await
    }

    /// One node, linearizable; `None` when it is not registered.
    pub(crate) async fn node(&self, node: &NodeId) -> Result<Option<KnownNode>, v1::Error> {
        let request = v1::NodesRequest { nodes: vec![node.to_string()], ..Default::default() };
        let found = match self.nodes(&request).await {
            Ok(reply) => reply.nodes.into_iter().find(|record| record.node == node.as_str()),
            // An unknown name may be answered as an empty list or as this.
            Err(error) if error.known_code() == ErrorCode::NotFound => None,
            Err(error) => return Err(error),
        };
        found.map(|record| KnownNode::try_from(record).map_err(v1::Error::from)).transpose()
    }

    /// Proposes an action of this service itself and waits until it is committed.
    pub(crate) async fn commit(
        &self,
        action: v1::action::Action,
    ) -> Result<v1::Committed, v1::Error> {
        let proposal = self.sign(action)?;
        let result = self.propose(proposal, PATIENCE).await?;
        committed(result.outcome)
    }

    /// Passes a proposal on to the leader, unchanged.
    pub(crate) async fn forward(
        &self,
        proposal: v1::Proposal,
        deadline: &Deadline,
    ) -> Result<v1::ProposalResult, v1::Error> {
        self.propose(proposal, deadline.remaining().min(PATIENCE)).await
    }

    fn sign(&self, action: v1::action::Action) -> Result<v1::Proposal, v1::Error> {
        let unsigned =
            |cause: String| ErrorCode::Internal.error("cannot sign a proposal").because(cause);
        let operation = Operation::find(OPERATION).ok_or_else(|| unsigned(OPERATION.to_owned()))?;
        let request_id = RequestId::new(self.clock.new_uuid_v7())
            .map_err(|error| unsigned(error.to_string()))?;
        let action = v1::Action { action: Some(action) }.encode_to_vec();
        let principal = Principal::of_signer(&self.signer);
        let statement = Statement {
            principal: &principal,
            acting_role: None,
            operation,
            request_id,
            action: &action,
            policy_ref: "",
        };
        let signed =
            Attestation::sign(&self.signer, &statement, self.clock.now(), ATTESTATION_LIFE)
                .map_err(|error| unsigned(error.to_string()))?;
        Ok(v1::Proposal { attestation: Some(signed), action })
    }

    async fn propose(
        &self,
        proposal: v1::Proposal,
        patience: Duration,
    ) -> Result<v1::ProposalResult, v1::Error> {
        let request = v1::ProposeRequest { proposals: vec![proposal] };
        let reply: v1::ProposeReply =
            self.patiently(patience, || self.propose_once(&request)).await?;
        match <[v1::ProposalResult; 1]>::try_from(reply.results) {
            Ok([result]) => Ok(result),
            Err(results) => Err(ErrorCode::Malformed
                .error(format!("the journal gave {} outcomes for one proposal", results.len()))),
        }
    }

    async fn propose_once(
        &self,
        request: &v1::ProposeRequest,
    ) -> Result<v1::ProposeReply, CallError> {
        let member = self.leader().await?;
        let method = name::<MethodName>("propose")?;
        let answer =
            self.bus.request(&Subject::MemberRpc { member, method }, request, ATTEMPT).await;
        if let Err(error) = &answer {
            self.forget(error);
        }
        answer
    }

    /// The member that leads, as far as is known.
    async fn leader(&self) -> Result<MemberId, CallError> {
        if let Ok(known) = MemberId::new(self.leader.load(Ordering::Relaxed)) {
            return Ok(known);
        }
        let subject = read_subject("cluster").map_err(CallError::Service)?;
        let request = v1::ClusterRequest {};
        let cluster: v1::ClusterReply =
            self.bus.request_any(&subject, &request, ASK_AGAIN, ATTEMPT).await?;
        let member = cluster.leader.and_then(|id| MemberId::new(id).ok());
        let member = member.ok_or_else(|| CallError::Service(no_leader()))?;
        self.leader.store(member.get(), Ordering::Relaxed);
        Ok(member)
    }

    /// After a failure: what is known of the leader now.
    fn forget(&self, error: &CallError) {
        let hint = match error {
            CallError::Service(error) if error.known_code() == ErrorCode::NotLeader => error.leader,
            CallError::Service(error) if error.known_code() != ErrorCode::NoLeader => return,
            _ => None,
        };
        self.leader.store(hint.unwrap_or(0), Ordering::Relaxed);
    }

    /// Attempts until one ends in something that another attempt would not change, or patience ends. Nothing is done twice by
    /// it: reads change nothing, and proposals carry a request id.
    async fn patiently<T, F, Fut>(&self, patience: Duration, mut attempt: F) -> Result<T, v1::Error>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, CallError>>,
    {
        let start = self.clock.monotonic();
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let waited = self.clock.monotonic().saturating_sub(start);
            if !is_passing(&error) || waited + PAUSE >= patience {
                return Err(explain(error));
            }
            self.clock.sleep(PAUSE).await;
        }
    }
}

/// The outcome, if it is one.
pub(crate) fn committed(outcome: Option<v1::Outcome>) -> Result<v1::Committed, v1::Error> {
    match outcome.and_then(|outcome| outcome.outcome) {
        Some(v1::outcome::Outcome::Committed(committed)) => Ok(committed),
        Some(v1::outcome::Outcome::Rejected(error)) => Err(error),
        None => Err(ErrorCode::Malformed.error("the journal answered without an outcome")),
    }
}

/// Whether another attempt may end differently.
fn is_passing(error: &CallError) -> bool {
    match error {
        CallError::Service(error) => matches!(
            error.known_code(),
            ErrorCode::NotLeader
                | ErrorCode::NoLeader
                | ErrorCode::Busy
                | ErrorCode::Timeout
                | ErrorCode::Unreachable
        ),
        CallError::NoResponders { .. }
        | CallError::Timeout { .. }
        | CallError::Disconnected
        | CallError::Interrupted { .. } => true,
        _ => false,
    }
}

/// A failure to reach the journal, in the words of the contract (exit code 5).
fn explain(error: CallError) -> v1::Error {
    match error {
        CallError::Service(error) if error.known_code() == ErrorCode::NotLeader => no_leader(),
        CallError::Service(error) => error,
        other => ErrorCode::Timeout
            .error("the journal does not answer")
            .because(other.to_string())
            .next("check that pact-journal and nats-server run on the management hosts"),
    }
}

fn no_leader() -> v1::Error {
    ErrorCode::NoLeader
        .error("the journal has no leader")
        .because("a majority of its members is not there or cannot talk to each other")
        .next("see `pact cluster`, then the logs of pact-journal")
}

fn read_subject(method: &str) -> Result<Subject, v1::Error> {
    let internal = |error: IdError| ErrorCode::Internal.error(error.to_string());
    let service = ServiceName::new("journal").map_err(internal)?;
    Ok(Subject::ServiceRpc { service, method: MethodName::new(method).map_err(internal)? })
}

fn name<T: std::str::FromStr<Err = IdError>>(text: &str) -> Result<T, CallError> {
    text.parse()
        .map_err(|error: IdError| CallError::Service(ErrorCode::Internal.error(error.to_string())))
}

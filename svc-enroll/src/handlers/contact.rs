//! First contact: a machine that says it is a node, with its hardware identity and its keys' public halves.
//!
//! The answer is handed out after the journal has committed it, by compare-and-set on what the decision was based on: of two
//! machines that come at once for one node, one is enrolled, and the other is refused until that one had time to connect.

use std::time::Duration;

use pact_bus::{CallError, RequestContext};
use pact_schemas::convert::{self, WireError, id, required};
use pact_schemas::rpc::node as rpc;
use pact_schemas::v1::action::Action;
use pact_schemas::{ErrorCode, HardwareIdentity, NodeId, v1};

use super::{reply, user_key};
use crate::context::{Enrolment, Shared};
use crate::core::contact::{KnownNode, Refusal, Verdict, after_probe, judge};

/// An agent that lives answers a ping at once; contracts §5 gives it this long.
const PROBE_LIMIT: Duration = Duration::from_secs(3);

/// Longest version or address text; the journal's bound.
const MAX_TEXT_BYTES: usize = 256;

/// Recording a refusal is not worth more of the caller's time than this.
const RECORD_LIMIT: Duration = Duration::from_secs(5);

const REJECTED: &str = "pact_enroll_rejected_total";
const ENROLLED: &str = "pact_enroll_enrolled_total";

/// A request that is whole.
struct Contact {
    node: NodeId,
    hardware: HardwareIdentity,
    csr: Vec<u8>,
    bus_user: String,
    agent_version: String,
    source: String,
}

impl TryFrom<v1::EnrollRequest> for Contact {
    type Error = WireError;

    fn try_from(wire: v1::EnrollRequest) -> Result<Self, WireError> {
        let identity = required(wire.identity.as_ref(), "EnrollRequest.identity")?;
        Ok(Self {
            node: id(&wire.node, "EnrollRequest.node")?,
            hardware: HardwareIdentity::try_from(identity)?,
            bus_user: user_key(&wire.bus_user, "EnrollRequest.bus_user")?,
            agent_version: plain(wire.agent_version, "EnrollRequest.agent_version")?,
            source: plain(wire.source_address, "EnrollRequest.source_address")?,
            csr: wire.csr,
        })
    }
}

/// Printable and short, since it ends up in entries and logs; may be empty.
fn plain(text: String, field: &'static str) -> Result<String, WireError> {
    let is_plain = text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
    if is_plain {
        Ok(text)
    } else {
        Err(WireError::Bounds { field, rule: "is not plain text of at most 256 bytes" })
    }
}

pub(super) async fn enroll(
    enrolment: Shared,
    _context: RequestContext,
    request: v1::EnrollRequest,
) -> Result<v1::EnrollReply, v1::Error> {
    let contact = Contact::try_from(request)?;
    let Some(_place) = Place::take(&enrolment, &contact.source) else {
        return Err(ErrorCode::Busy
            .error("many first contacts come from this address")
            .next("try again in a moment")
            .on(&contact.node));
    };
    let now = enrolment.clock.monotonic();
    let is_limited = enrolment.refusals().is_limited(contact.node.as_str(), &contact.source, now);
    if is_limited {
        return Err(refuse(&enrolment, &contact, Refusal::RateLimited).await);
    }
    let known = enrolment.journal.node(&contact.node).await?;
    let verdict =
        match judge(known.as_ref(), &contact.hardware, &contact.bus_user, enrolment.clock.now()) {
            Verdict::Probe => after_probe(answers(&enrolment, &contact.node).await?),
            other => other,
        };
    match (verdict, known) {
        (Verdict::Accept, Some(known)) => accept(&enrolment, contact, &known).await,
        (Verdict::Refuse(refusal), _) => Err(refuse(&enrolment, &contact, refusal).await),
        // A probe is answered above, and nobody unknown is accepted.
        (Verdict::Probe, _) | (Verdict::Accept, None) => {
            Err(ErrorCode::Internal.error("the contact could not be judged").on(&contact.node))
        }
    }
}

/// A place among the contacts of one source that are looked at at once, until it is dropped.
struct Place<'a> {
    enrolment: &'a Enrolment,
    source: String,
}

impl<'a> Place<'a> {
    fn take(enrolment: &'a Enrolment, source: &str) -> Option<Self> {
        let is_free = enrolment.refusals().begin(source);
        is_free.then(|| Self { enrolment, source: source.to_owned() })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.enrolment.refusals().done(&self.source);
    }
}

/// Whether an agent answers for this node. Only "nobody there" and silence mean no: while our own connection to the bus is
/// broken, nothing is known.
async fn answers(enrolment: &Enrolment, node: &NodeId) -> Result<bool, v1::Error> {
    match ping(enrolment, node).await {
        Ok(()) => Ok(true),
        Err(CallError::NoResponders { .. } | CallError::Timeout { .. }) => Ok(false),
        // It answered, whatever it said.
        Err(CallError::Service(_) | CallError::Malformed { .. }) => Ok(true),
        Err(other) => Err(v1::Error::from(other).on(node)),
    }
}

/// Asks the agent of a node for a sign of life.
pub(crate) async fn ping(enrolment: &Enrolment, node: &NodeId) -> Result<(), CallError> {
    enrolment.bus.call::<rpc::Ping>(node, &v1::PingRequest {}, PROBE_LIMIT).await.map(drop)
}

async fn accept(
    enrolment: &Enrolment,
    contact: Contact,
    known: &KnownNode,
) -> Result<v1::EnrollReply, v1::Error> {
    let Contact { node, csr, bus_user, agent_version, source, .. } = contact;
    let issued = enrolment
        .authority
        .issue(&node, &csr, &bus_user)
        .map_err(|error| v1::Error::from(error).on(&node))?;
    let committed = enrolment
        .journal
        .commit(Action::EnrolNode(v1::EnrolNode {
            node: node.to_string(),
            certificate_serial: issued.serial.clone(),
            certificate_not_after: Some(convert::timestamp(issued.not_after.unix_nanos())),
            bus_user: bus_user.clone(),
            agent_version,
            expected_state_seq: known.state_seq,
            renewal: false,
        }))
        .await?;
    let now = enrolment.clock.monotonic();
    {
        let mut liveness = enrolment.liveness();
        liveness.is_alive(&node, now);
        liveness.became(&node, true);
    }
    metrics::counter!(ENROLLED).increment(1);
    let replaced = known.bus_user.as_ref().is_some_and(|old| *old != bus_user);
    tracing::info!(%node, source, seq = committed.first_seq, replaced, not_after = %issued.not_after, "node enrolled");
    Ok(reply(enrolment, issued))
}

/// Counts, logs and records a refusal; the error is the answer.
async fn refuse(enrolment: &Enrolment, contact: &Contact, refusal: Refusal) -> v1::Error {
    let Contact { node, source, .. } = contact;
    let (code, reason) = (refusal.code(), refusal.reason());
    metrics::counter!(REJECTED, "code" => code.as_str()).increment(1);
    let now = enrolment.clock.monotonic();
    let is_recorded = enrolment.refusals().refused(node.as_str(), source, code, now);
    if refusal == Refusal::AlreadyActive {
        tracing::error!(%node, source, "two machines claim one node: {reason}");
    } else if is_recorded {
        tracing::warn!(%node, source, %code, "first contact refused: {reason}");
    }
    if is_recorded {
        let rejected = v1::EnrolmentRejected {
            node: node.to_string(),
            code: code.as_str().to_owned(),
            reason,
            source: source.clone(),
        };
        let action = Action::RejectEnrolment(v1::RejectEnrolment { rejected: Some(rejected) });
        match enrolment.clock.timeout(RECORD_LIMIT, enrolment.journal.commit(action)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%node, %error, "the refusal is not in the journal"),
            Err(late) => tracing::warn!(%node, %late, "the refusal is not in the journal"),
        }
    }
    refusal.error(node)
}

//! Renewal: a node that is on the bus asks for its next certificate and bus user, at two thirds of their lifetime.
//!
//! Who asks is the subject; the hardware is not looked at again, since the bus credentials prove the enrolment.

use pact_bus::RequestContext;
use pact_schemas::v1::action::Action;
use pact_schemas::{NodeState, convert, v1};

use super::{reply, sender, user_key};
use crate::context::Shared;
use crate::core::contact::Refusal;

const RENEWED: &str = "pact_enroll_renewed_total";

pub(super) async fn renew(
    enrolment: Shared,
    context: RequestContext,
    request: v1::RenewRequest,
) -> Result<v1::EnrollReply, v1::Error> {
    let node = sender(&context)?;
    let bus_user = user_key(&request.bus_user, "RenewRequest.bus_user")?;
    let Some(known) = enrolment.journal.node(&node).await? else {
        return Err(Refusal::NotEnrolled.error(&node));
    };
    match known.state {
        NodeState::Active | NodeState::Inactive => {}
        NodeState::Registered => return Err(Refusal::NotEnrolled.error(&node)),
        NodeState::Revoked => return Err(Refusal::Revoked.error(&node)),
    }
    let issued = enrolment
        .authority
        .issue(&node, &request.csr, &bus_user)
        .map_err(|error| v1::Error::from(error).on(&node))?;
    enrolment
        .journal
        .commit(Action::EnrolNode(v1::EnrolNode {
            node: node.to_string(),
            certificate_serial: issued.serial.clone(),
            certificate_not_after: Some(convert::timestamp(issued.not_after.unix_nanos())),
            bus_user,
            agent_version: known.agent_version,
            expected_state_seq: known.state_seq,
            renewal: true,
        }))
        .await?;
    let now = enrolment.clock.monotonic();
    enrolment.liveness().is_alive(&node, now);
    metrics::counter!(RENEWED).increment(1);
    tracing::info!(%node, not_after = %issued.not_after, "node renewed");
    Ok(reply(&enrolment, issued))
}

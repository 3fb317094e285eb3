//! `up.time`: plane time, for nodes whose own clock decides nothing.

use pact_identity::plane_time::CHALLENGE_BYTES;
use pact_identity::sign_time;
use pact_schemas::v1::{self, SignedTime, TimeRequest};
use pact_schemas::{NodeId, convert};

use crate::context::Context;

/// Answers a node's challenge with this member's time.
///
/// # Errors
/// For a challenge that is not 32 bytes long; `PACT_CLOCK_UNKNOWN` while this member's clock is not to be believed.
pub fn time(
    context: &Context,
    node: &NodeId,
    request: &TimeRequest,
) -> Result<SignedTime, v1::Error> {
    let challenge: [u8; CHALLENGE_BYTES] =
        convert::bytes(&request.challenge, "TimeRequest.challenge")?;
    let now = context.signing_time()?;
    Ok(sign_time(context.inner.issuer.signer(), node, &challenge, now))
}

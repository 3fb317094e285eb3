//! Asking the journal's members for the time: on each connection, hourly, and until the answers suffice.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::CallError;
use pact_identity::plane_time::CHALLENGE_BYTES;
use pact_identity::signing::domain;
use pact_identity::{SignerRole, Verifier, verify_time};
use pact_runtime::{CancellationToken, Clock, Pause, Timestamp};
use pact_schemas::rpc::up;
use pact_schemas::v1;

use super::{FixError, Heard, LONGEST_ROUND_TRIP, PlaneClock};
use crate::uplink::Uplink;

/// Fixes are renewed this often.
const FIX_INTERVAL: Duration = Duration::from_secs(3600);

/// Waits after a failed attempt.
const RETRY: Pause = Pause::new(Duration::from_millis(500), Duration::from_secs(60));

/// 2025-01-01, before this program existed: no answer can be earlier.
const FLOOR: Timestamp = Timestamp::from_unix_nanos(1_735_689_600_000_000_000);

/// Between two questions while the answers do not suffice: they span what one member alone needs to move a clock that runs.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// And while there is no time at all, for the first [`HURRIED`] questions: nothing is granted to a node that has none.
const ASK_AT_ONCE: Duration = Duration::from_millis(10);

/// Twice what one member needs to be believed.
const HURRIED: u32 = 16;

/// Questions in a row before the journal is left in peace for a while.
const MAX_QUESTIONS: u32 = 40;

/// Keeps the plane clock fixed, until `stop`.
pub(crate) async fn run(
    plane: PlaneClock,
    uplink: Uplink,
    verifier: Arc<Verifier>,
    stop: CancellationToken,
) {
    let mut connections = uplink.connections();
    let mut pause = RETRY;
    let mut questions = 0;
    uplink.bus().set_clock_trust(plane.trust());
    let mut wait = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return, // cancel-safe: a token
            () = connections.next() => {} // cancel-safe
            () = sleep(&plane.clock, wait) => {} // cancel-safe: nothing is lost when it starts again
        }
        let next = match attempt(&plane, &uplink, &verifier).await {
            Ok(true) => {
                pause.reset();
                questions = 0;
                FIX_INTERVAL
            }
            Ok(false) if questions < MAX_QUESTIONS => {
                questions += 1;
                let is_hurried = plane.now().is_none() && questions <= HURRIED;
                if is_hurried { ASK_AT_ONCE } else { ASK_AGAIN }
            }
            Ok(false) => {
                questions = 0;
                tracing::error!(
                    "the journal's members do not agree on the time; check their clocks"
                );
                pause.next(&plane.clock)
            }
            // The next connection is another attempt.
            Err(FixError::Call(CallError::Disconnected | CallError::Interrupted { .. })) => {
                pause.next(&plane.clock)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(cause, known = plane.now().is_some(), "no new time fix: {error}");
                pause.next(&plane.clock)
            }
        };
        uplink.bus().set_clock_trust(plane.trust());
        wait = Some(next);
    }
}

async fn sleep(clock: &Clock, wait: Option<Duration>) {
    match wait {
        Some(wait) => clock.sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Asks once; says whether the time is settled.
async fn attempt(
    plane: &PlaneClock,
    uplink: &Uplink,
    verifier: &Verifier,
) -> Result<bool, FixError> {
    let challenge: [u8; CHALLENGE_BYTES] = plane.clock.random_bytes();
    let request = v1::TimeRequest { challenge: challenge.to_vec() };
    let asked = plane.clock.boot_time();
    let signed = uplink.call::<up::Time>(&request, LONGEST_ROUND_TRIP).await?;
    let heard = heard(&signed, verifier, uplink, &challenge)?;
    let time = heard.time;
    let was_known = plane.now().is_some();
    let is_settled = plane.hear(heard, asked)?;
    if is_settled && !was_known {
        tracing::info!(plane_time = %time, "the plane's time is known");
    }
    Ok(is_settled)
}

/// Who answers, and what.
fn heard(
    signed: &v1::SignedTime,
    verifier: &Verifier,
    uplink: &Uplink,
    challenge: &[u8; CHALLENGE_BYTES],
) -> Result<Heard, FixError> {
    let time = verify_time(signed, verifier, uplink.node(), challenge, FLOOR)?;
    // The same signature once more, for the name in its certificate.
    let signer = verifier.verify(
        &[SignerRole::Grant],
        domain::TIME,
        &signed.payload,
        &signed.signature,
        &signed.certificate,
        time,
    )?;
    Ok(Heard { signer, time })
}

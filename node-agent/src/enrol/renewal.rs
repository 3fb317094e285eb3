//! New credentials before the old ones end: asked for over the bus, used make-before-break.
//!
//! The new connection is up and answering before the old one takes nothing more; both are in the same queue group meanwhile.
//! The old one is closed when no running command's stream lives on it.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::{Bus, BusError, CallError, ConnectionState};
use pact_runtime::{Clock, Timestamp};
use pact_schemas::rpc::up;
use pact_schemas::v1;

use super::Enrolment;
use super::identity::{Identity, IdentityError, Keys};
use crate::uplink::Uplink;

/// svc-enroll signs and commits to the journal.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// The new connection is made to servers that the old one talks to.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// How often it is looked whether the old connection is still needed.
const LEAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Renewals of a site are spread over a tenth of the lifetime to both sides.
const SPREAD_PART: u32 = 10;

/// Why there are no new credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewalError {
    #[error("svc-enroll does not renew the credentials")]
    Call(#[from] CallError),
    #[error("the new credentials cannot be used")]
    Identity(#[from] IdentityError),
    #[error("the new credentials do not connect")]
    Connect(#[from] BusError),
}

/// When to renew, from now: at two thirds of the lifetime, give or take.
pub(crate) fn wait(identity: &Identity, now: Timestamp, clock: &Clock) -> Duration {
    let due = identity.renew_at();
    let third = identity.not_after().duration_since(due).unwrap_or(Duration::ZERO);
    let left = due.duration_since(now).unwrap_or(Duration::ZERO);
    let [random] = clock.random_bytes();
    // ± 1/10 of the lifetime, i.e. 3/10 of the last third.
    let spread = third * 3 / SPREAD_PART;
    (left + spread * u32::from(random) / 128).saturating_sub(spread)
}

/// Asks for a new set and keeps it.
pub(crate) async fn renew(
    uplink: &Uplink,
    enrolment: &Enrolment,
    now: Timestamp,
) -> Result<Identity, RenewalError> {
    let keys = Keys::generate()?;
    let request = v1::RenewRequest { csr: keys.csr()?, bus_user: keys.bus_user() };
    let reply = uplink.call::<up::Renew>(&request, CALL_LIMIT).await?;
    let identity = Identity::new(&keys, reply, &enrolment.node, &enrolment.site, now)?;
    identity.save(&enrolment.folder, &enrolment.certificate_path)?;
    Ok(identity)
}

/// Makes `bus` the current connection once it is up, and closes the one before when nobody uses it any more.
/// `bus` must already answer requests.
pub(crate) async fn switch(uplink: &Uplink, bus: Bus, clock: &Clock) -> Result<(), RenewalError> {
    let mut states = bus.events();
    let connected = async {
        while *states.borrow_and_update() != ConnectionState::Connected {
            if states.changed().await.is_err() {
                return std::future::pending().await; // closed: the limit ends the wait
            }
        }
    };
    let waited = clock.timeout(CONNECT_LIMIT, connected).await;
    waited.map_err(|late| BusError::NotConnected { after: late.limit })?;
    let old = uplink.replace(bus);
    let clock = clock.clone();
    // Ends with the last command that was started on the old connection; the server ends it when its token ends.
    tokio::spawn(async move {
        while Arc::strong_count(&old) > 1 {
            clock.sleep(LEAVE_INTERVAL).await;
        }
        old.drain().await;
        tracing::info!("the connection with the old credentials is closed");
    });
    Ok(())
}

//! How this service is, as `pact health` shows it.

use std::time::Duration;

use pact_bus::{ConnectionState, RequestContext};
use pact_schemas::v1;

use crate::context::Shared;

/// Certificates that end within this are worth a word: a month to renew them in.
const ENDING_SOON: Duration = Duration::from_secs(30 * 86_400);

pub(super) async fn health(
    enrolment: Shared,
    _context: RequestContext,
    _request: v1::HealthRequest,
) -> Result<v1::HealthReply, v1::Error> {
    let soon = enrolment.clock.now().checked_add(ENDING_SOON);
    let ending = [
        ("the site root", enrolment.authority.root_ends()),
        ("the signing certificate", enrolment.signing_ends),
    ];
    let mut troubles: Vec<String> = ending
        .into_iter()
        .filter(|(_, end)| soon.is_none_or(|soon| *end < soon))
        .map(|(what, end)| format!("{what} ends {end}"))
        .collect();
    if enrolment.revoker.state() != ConnectionState::Connected {
        troubles.push("no connection to the bus' system account: revocations wait".to_owned());
    }
    let item = v1::HealthItem {
        name: "pact-enroll".to_owned(),
        state: if troubles.is_empty() {
            v1::HealthState::Healthy
        } else {
            v1::HealthState::Degraded
        }
        .into(),
        detail: if troubles.is_empty() {
            "enrols, renews and watches nodes".to_owned()
        } else {
            troubles.join("; ")
        },
    };
    Ok(v1::HealthReply { items: vec![item] })
}

//! `health`: the journal's part of `pact health`.

use pact_schemas::v1::{self, HealthItem, HealthReply, HealthRequest, HealthState};

use crate::context::Context;

/// Whether the journal commits, and whether this member has room and a clock to be believed.
///
/// # Errors
/// None; the form is that of every handler.
pub async fn health(context: &Context, _request: HealthRequest) -> Result<HealthReply, v1::Error> {
    let member = context.member();
    let (room, clock) = (member.has_room(), member.clocks().now());
    let (state, detail) = match (context.current(false).await, room, clock) {
        (Err(error), _, _) => (HealthState::Down, error.message),
        (Ok(()), false, _) => {
            (HealthState::Degraded, "the disk is nearly full: read-only".to_owned())
        }
        (Ok(()), true, Err(fault)) => (HealthState::Degraded, fault.to_string()),
        (Ok(()), true, Ok(_)) => {
            let leader = member
                .leader()
                .map_or_else(|| "nobody".to_owned(), |leader| format!("member {leader}"));
            (HealthState::Healthy, format!("{leader} leads, entry {} is the last", member.head().0))
        }
    };
    Ok(HealthReply {
        items: vec![HealthItem { name: "pact-journal".to_owned(), state: state.into(), detail }],
    })
}

//! `up.event.*` and `up.recording`: what nodes report. Answered once it is committed, by any member.

use pact_identity::Principal;
use pact_journal_core::action::check_blob;
use pact_journal_core::apply::COMMAND_VERSION;
use pact_journal_core::record::Uploader;
use pact_schemas::v1::{
    self, Action, Command, Committed, EventAck, NodeEvent, PutBlob, RecordingAck, action, outcome,
};
use pact_schemas::{ErrorCode, NodeId, SpoolId, convert};
use prost::Message as _;

use super::{quota, reading};
use crate::context::Context;
use crate::store::query;

/// Commits a node's event. The node is that of the subject, whatever the body says.
///
/// # Errors
/// `PACT_SPOOL_GAP` with the number that is next; `PACT_RATE_LIMITED` when the node reports too much; whatever keeps the journal from committing.
pub async fn event(
    context: &Context,
    node: &NodeId,
    event: NodeEvent,
) -> Result<EventAck, v1::Error> {
    let spool: SpoolId = convert::id(&event.spool_id, "NodeEvent.spool_id")?;
    let number = event.number;
    let state = context.member().state();
    if let Some(committed) = query::spool_mark(&state, node, &spool)
        && number > 0
        && number <= committed
    {
        // Sent again after a lost answer.
        return Ok(EventAck { committed_number: committed });
    }
    let event = NodeEvent { node: node.to_string(), ..event };
    let cost = quota::cost(event.encoded_len());
    commit(context, node, action::Action::NodeEvent(event), cost).await?;
    // This member may be behind the leader that committed it, or ahead of a repeated event.
    let state = context.member().state();
    let known = query::spool_mark(&state, node, &spool).unwrap_or(0);
    Ok(EventAck { committed_number: known.max(number) })
}

/// Commits a node's recorded chunk.
///
/// # Errors
/// `PACT_BAD_SIGNATURE` when the bytes do not have their hash; `PACT_RATE_LIMITED` when the node reports too much; whatever keeps the journal from committing.
pub async fn recording(
    context: &Context,
    node: &NodeId,
    blob: PutBlob,
) -> Result<RecordingAck, v1::Error> {
    check_blob(&blob)?;
    let (state, sha256) = (context.member().state(), blob.sha256.clone());
    let by = Uploader::Node(node.clone());
    let is_known = reading(move || query::has_uploaded(&state, &sha256, &by)).await?;
    // An agent sends all chunks of an event again when one of them was refused.
    if !is_known {
        let cost = quota::cost(blob.compressed.len());
        commit(context, node, action::Action::PutBlob(blob), cost).await?;
    }
    Ok(RecordingAck {})
}

async fn commit(
    context: &Context,
    node: &NodeId,
    action: action::Action,
    cost: u64,
) -> Result<Committed, v1::Error> {
    let quotas = &context.inner.quotas;
    quotas.take(node, cost, context.inner.clock.monotonic())?;
    let command = Command {
        version: COMMAND_VERSION,
        time: None,
        author: Some(Principal::node_on_bus(&context.inner.site, node).to_wire()),
        acting_role: String::new(),
        request_id: None,
        policy_ref: String::new(),
        action: Some(Action::from(action)),
    };
    let proposed = context.member().propose_anywhere(vec![command]).await;
    // The journal's trouble is not the node's.
    let outcomes = proposed.inspect_err(|_| quotas.give_back(node, cost))?;
    match outcomes.into_iter().next().and_then(|outcome| outcome.outcome) {
        Some(outcome::Outcome::Committed(committed)) => Ok(committed),
        Some(outcome::Outcome::Rejected(error)) => Err(error),
        None => Err(ErrorCode::Internal.error("the journal lost an outcome")),
    }
}

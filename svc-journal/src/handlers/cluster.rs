//! `cluster`: who leads, how far everybody is, how the members change.

use std::time::Duration;

use pact_schemas::ErrorCode;
use pact_schemas::v1::{self, ClusterReply, ClusterRequest, MemberStatus};

use super::reading;
use crate::context::Context;

/// Raft waits for its disk; who leads is known without it.
const BUSY: Duration = Duration::from_millis(250);

/// Raft as this member sees it. Answers without a leader too, and while its disk is slow.
///
/// # Errors
/// `PACT_NO_LEADER` when this member's Raft has stopped.
pub async fn cluster(
    context: &Context,
    _request: ClusterRequest,
) -> Result<ClusterReply, v1::Error> {
    let member = context.member();
    let stopped = |_| ErrorCode::NoLeader.error("this member has stopped");
    let state = member.raft().with_raft_state(|state| state.committed.map(|id| id.index));
    let committed = context.inner.clock.timeout(BUSY, state).await.ok();
    let metrics = member.raft().metrics().borrow().clone();
    // What is applied is committed.
    let applied = metrics.last_applied.map(|id| id.index);
    let committed = committed.unwrap_or(Ok(applied)).map_err(stopped)?;
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let matched = |id: u64| {
        let replication = metrics.replication.as_ref()?;
        replication.get(&id).copied().flatten().map(|log_id| log_id.index)
    };
    // Every member asks every other one for its time every few seconds, so this is known on all of them.
    let contact = |id: u64| {
        let ago = if id == member.id() { Some(Duration::ZERO) } else { member.last_contact(id) };
        ago.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
    };
    let members = membership.nodes().map(|(id, node)| MemberStatus {
        id: *id,
        address: node.addr.clone(),
        matched_index: matched(*id),
        last_contact_milliseconds: contact(*id),
        voter: voters.contains(id),
    });
    let members = members.collect();
    let (head_seq, head_hash) = member.head();
    let asked = member.clone();
    let known = reading(move || asked.membership()).await?;
    Ok(ClusterReply {
        answering_member: member.id(),
        leader: metrics.current_leader,
        term: metrics.current_term,
        committed_index: committed,
        applied_index: applied,
        head_seq,
        head_hash: head_hash.to_vec(),
        members,
        change: known.change,
        ended: known.ended,
    })
}

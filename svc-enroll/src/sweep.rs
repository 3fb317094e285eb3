//! The sweep: compares the journal's nodes with what was heard, and the bus' revocations with the journal's.
//!
//! Everything it does is decided anew from the journal each time, so a restart, a lost answer or a second instance of the
//! service changes nothing but when it happens.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt as _;
use pact_bus::{CallError, ConnectionState};
use pact_runtime::CancellationToken;
use pact_schemas::convert::{WireError, id};
use pact_schemas::v1::action::Action;
use pact_schemas::{ErrorCode, NodeId, NodeState, v1};

use crate::context::{Enrolment, Shared};
use crate::core::liveness::Listed;
use crate::handlers::ping;
use crate::revocation::{Because, Ended, Revoked};

/// Between two sweeps: a tenth of the grace period within these bounds. At most 15 s, because a revocation waits for it;
/// at least 1 s, because each sweep reads all nodes.
const INTERVAL: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(15);

/// Nodes asked, or proposals made, at once: a whole machine room that falls silent is through in seconds, and other work of the
/// journal still gets in between.
const AT_ONCE: usize = 64;

/// Pages of one list; with at least 500 nodes in a page this is more than the 100,000 nodes of the largest site.
const MAX_PAGES: usize = 1_000;

const ACTIVE: &str = "pact_enroll_nodes_active";
const INACTIVE: &str = "pact_enroll_nodes_inactive";
const NOT_REVOKED: &str = "pact_enroll_users_not_revoked";

/// Time between two sweeps.
pub(crate) fn interval(grace: Duration) -> Duration {
    (grace / 10).clamp(*INTERVAL.start(), *INTERVAL.end())
}

/// Sweeps until `stop`. A sweep that fails is logged, and the next one begins from the start.
pub(crate) async fn run(
    enrolment: Shared,
    interval: Duration,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let mut cut_off = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()), // cancel-safe: a token
            () = enrolment.clock.sleep(interval) => {} // cancel-safe
        }
        let sweeping = async {
            match list(&enrolment).await {
                Ok(nodes) => {
                    // First, since many silent nodes take a while.
                    revocations(&enrolment, &nodes, &mut cut_off).await;
                    liveness(&enrolment, &nodes).await;
                }
                Err(error) => tracing::warn!(%error, "nodes were not looked at"),
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()), // cancel-safe: a token
            // Dropped half-way: every step is decided anew after the next start.
            () = sweeping => {}
        }
    }
}

/// Tells the hello table whether the bus is healthy, until `stop`.
pub(crate) async fn watch_bus(
    enrolment: Shared,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let mut states = enrolment.bus.events();
    loop {
        let is_healthy = *states.borrow_and_update() == ConnectionState::Connected;
        enrolment.liveness().bus_is(is_healthy, enrolment.clock.monotonic());
        tokio::select! {
            () = stop.cancelled() => return Ok(()), // cancel-safe: a token
            changed = states.changed() => if changed.is_err() { // cancel-safe: a watch
                // The bus is closed, which only a drain does.
                stop.cancelled().await;
                return Ok(());
            },
        }
    }
}

async fn liveness(enrolment: &Shared, nodes: &[v1::NodeRecord]) {
    let listed: Vec<Listed> = nodes.iter().filter_map(listed).collect();
    let active = listed.iter().filter(|one| one.is_active).count();
    #[allow(clippy::cast_precision_loss, reason = "a count of nodes is far below 2^52")]
    {
        metrics::gauge!(ACTIVE).set(active as f64);
        metrics::gauge!(INACTIVE).set((listed.len() - active) as f64);
    }
    let now = enrolment.clock.monotonic();
    let findings = enrolment.liveness().sweep(&listed, now);
    futures_util::stream::iter(findings.silent)
        .for_each_concurrent(AT_ONCE, |one| ask(enrolment, one))
        .await;
    futures_util::stream::iter(findings.returned)
        .for_each_concurrent(AT_ONCE, |one| set(enrolment, one, NodeState::Active))
        .await;
}

/// The record of an Active or Inactive node.
fn listed(record: &v1::NodeRecord) -> Option<Listed> {
    let read = || -> Result<Option<Listed>, WireError> {
        let is_active = match NodeState::of(record)? {
            NodeState::Active => true,
            NodeState::Inactive => false,
            NodeState::Registered | NodeState::Revoked => return Ok(None),
        };
        let node = id(&record.node, "NodeRecord.node")?;
        Ok(Some(Listed { node, state_seq: record.state_seq, is_active }))
    };
    read().unwrap_or_else(|error| {
        tracing::error!(node = record.node, %error, "the journal's record is malformed");
        None
    })
}

/// All nodes of the journal.
async fn list(enrolment: &Enrolment) -> Result<Vec<v1::NodeRecord>, v1::Error> {
    let mut nodes: Vec<v1::NodeRecord> = Vec::new();
    for _ in 0..MAX_PAGES {
        let after = nodes.last().map(|record| record.node.clone()).unwrap_or_default();
        let request = v1::NodesRequest { after, ..Default::default() };
        let reply = enrolment.journal.nodes(&request).await?;
        let is_last = !reply.more || reply.nodes.is_empty();
        nodes.extend(reply.nodes);
        if is_last {
            return Ok(nodes);
        }
    }
    Err(ErrorCode::TooLarge.error(format!("the journal lists more than {} nodes", nodes.len())))
}

/// A silent node is asked; without an answer it is Inactive.
async fn ask(enrolment: &Shared, one: Listed) {
    match ping(enrolment, &one.node).await {
        Ok(()) | Err(CallError::Service(_) | CallError::Malformed { .. }) => {
            let now = enrolment.clock.monotonic();
            enrolment.liveness().is_alive(&one.node, now);
        }
        Err(CallError::NoResponders { .. } | CallError::Timeout { .. }) => {
            set(enrolment, one, NodeState::Inactive).await;
        }
        // Our own connection: nothing is known about the node.
        Err(error) => tracing::debug!(node = %one.node, %error, "a silent node could not be asked"),
    }
}

/// Changes a node's liveness, if it is still as it was listed.
async fn set(enrolment: &Shared, one: Listed, state: NodeState) {
    let Listed { node, state_seq, .. } = one;
    let change = v1::SetLiveness {
        node: node.to_string(),
        state: state.into(),
        expected_state_seq: state_seq,
    };
    let is_active = state == NodeState::Active;
    match enrolment.journal.commit(Action::SetLiveness(change)).await {
        Ok(_) => {
            enrolment.liveness().became(&node, is_active);
            tracing::info!(%node, is_active, "liveness changed");
        }
        // Somebody else changed it meanwhile; the next sweep sees how.
        Err(error) if error.known_code() == ErrorCode::Conflict => {}
        Err(error) => {
            tracing::warn!(%node, %error, "liveness was not changed; the next sweep tries again")
        }
    }
}

/// An Inactive node said hello: look at it now instead of at the next sweep.
pub(crate) async fn return_to_active(enrolment: &Shared, node: &NodeId) {
    match enrolment.journal.node(node).await {
        Ok(Some(known)) if known.state == NodeState::Inactive => {
            let one = Listed { node: node.clone(), state_seq: known.state_seq, is_active: false };
            set(enrolment, one, NodeState::Active).await;
        }
        Ok(Some(known)) => enrolment.liveness().became(node, known.state != NodeState::Inactive),
        Ok(None) => {}
        Err(error) => tracing::warn!(%node, %error, "a node is back; the next sweep says so"),
    }
}

/// Cuts off the bus users that have ended, of revoked nodes and of those that have enrolled again, until their tokens have expired.
/// `done` are those that this process has seen cut off.
async fn revocations(enrolment: &Enrolment, nodes: &[v1::NodeRecord], done: &mut BTreeSet<Ended>) {
    let now = enrolment.clock.now().unix_seconds();
    let users: BTreeSet<Ended> = nodes.iter().flat_map(|record| ended(record, now)).collect();
    done.retain(|user| users.contains(user));
    let new: BTreeSet<Ended> = users.difference(done).cloned().collect();
    if new.is_empty() {
        return;
    }
    match enrolment.revoker.revoke(&new).await {
        Ok(Revoked { count, left_out }) => {
            tracing::info!(count, "bus users are cut off");
            if !left_out.is_empty() {
                tracing::error!(
                    count = left_out.len(),
                    "the bus' list of revocations has no room for more users: these stay valid until they expire"
                );
            }
            #[allow(clippy::cast_precision_loss, reason = "a count of users is far below 2^52")]
            metrics::gauge!(NOT_REVOKED).set(left_out.len() as f64);
            done.extend(new.difference(&left_out).cloned());
        }
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            count = new.len(),
            "bus users are not cut off; trying again"
        ),
    }
}

/// The bus users of a node that have ended and whose tokens have not expired at this unix second.
fn ended(record: &v1::NodeRecord, now: i64) -> impl Iterator<Item = Ended> + '_ {
    let because = if record.state == i32::from(NodeState::Revoked) {
        Because::NodeRevoked
    } else {
        Because::Replaced
    };
    let users = record.live_bus_users.iter().filter(|user| user.ended);
    users.filter_map(move |user| {
        let end = user.not_after.as_ref().map(|end| end.seconds).filter(|end| *end > now)?;
        let not_after = u64::try_from(end).ok()?;
        Some(Ended { because, key: user.key.clone(), not_after })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_and_not_expired_is_cut_off_whether_the_node_is_revoked_or_not() {
        let user = |key: &str, seconds, ended| v1::LiveBusUser {
            key: key.to_owned(),
            not_after: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ended,
        };
        let record = |state: NodeState| v1::NodeRecord {
            state: state.into(),
            live_bus_users: vec![user("A", 90, true), user("B", 101, true), user("C", 200, false)],
            ..Default::default()
        };
        for (state, because) in
            [(NodeState::Active, Because::Replaced), (NodeState::Revoked, Because::NodeRevoked)]
        {
            let found: Vec<Ended> = ended(&record(state), 100).collect();
            assert_eq!(found, [Ended { because, key: "B".to_owned(), not_after: 101 }]);
        }
    }

    #[test]
    fn the_interval_follows_the_grace_period_within_bounds() {
        let of = |seconds| interval(Duration::from_secs(seconds)).as_secs();
        assert_eq!([of(1), of(50), of(300), of(86_400)], [1, 5, 15, 15]);
    }
}

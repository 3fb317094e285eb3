//! What agents are asked, other than commands: who answers, how long is waited, and what silence means.

use std::time::Duration;

use pact_bus::{Bus, CallError};
use pact_runtime::Clock;
use pact_schemas::rpc::NodeRpc;
use pact_schemas::rpc::node::Ping;
use pact_schemas::v1::{self, NodeRecord};
use pact_schemas::{ErrorCode, NodeId, NodeState};

use crate::error::{Answer, bad_reply};

/// Time for all nodes of one call. With the journal's part it stays under the 30 s that clients wait (contracts §3).
const ALL_NODES: Duration = Duration::from_secs(20);

/// How long an agent may take to say that it is there.
const PING: Duration = Duration::from_secs(1);

/// The end of the time that a call has for its nodes.
#[derive(Debug, Clone)]
pub(crate) struct Until {
    clock: Clock,
    end: Duration,
}

impl Until {
    /// From now on.
    pub(crate) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), end: clock.monotonic() + ALL_NODES }
    }

    /// What is left of the time.
    pub(crate) fn left(&self) -> Duration {
        self.end.saturating_sub(self.clock.monotonic())
    }

    /// At most `limit`, and no longer than what is left.
    fn at_most(&self, limit: Duration) -> Option<Duration> {
        let left = self.left();
        (!left.is_zero()).then(|| left.min(limit))
    }
}

/// The agents of nodes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Agents {
    bus: Bus,
}

impl Agents {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// One question to one agent. Errors name the node.
    pub(crate) async fn ask<R: NodeRpc>(
        &self,
        (node, record): (&NodeId, &NodeRecord),
        request: &R::Request,
        (until, limit): (&Until, Duration),
    ) -> Answer<R::Reply> {
        let Some(limit) = until.at_most(limit) else {
            return Err(ErrorCode::Timeout
                .error("the node was not asked")
                .because("the time for this command was used up by the other nodes")
                .next("run it again for the nodes that are left")
                .on(node));
        };
        let asked = self.bus.call::<R>(node, request, limit).await;
        asked.map_err(|error| unanswered(record, error).on(node))
    }

    /// Whether nobody answers for a node just now. Without a connection of our own nothing is known about it.
    pub(crate) async fn is_silent(&self, node: &NodeId) -> bool {
        let asked = self.bus.call::<Ping>(node, &v1::PingRequest {}, PING).await;
        matches!(asked, Err(CallError::NoResponders { .. } | CallError::Timeout { .. }))
    }
}

/// What is said about a node that gave no answer.
fn unanswered(record: &NodeRecord, error: CallError) -> v1::Error {
    match error {
        CallError::Service(error) => error,
        CallError::Disconnected => ErrorCode::Unreachable
            .error("the gateway is not connected to the bus")
            .next("check that nats-server runs: `pact health`"),
        CallError::TooLarge { .. } => ErrorCode::TooLarge
            .error("there are more changes than one message carries")
            .next("do it in parts"),
        CallError::NoResponders { .. } => match NodeState::of(record) {
            Ok(NodeState::Registered) => ErrorCode::NodeNotEnrolled
                .error("the node is registered, but its agent has never enrolled")
                .next("start pact-agent on the node"),
            Ok(NodeState::Revoked) => ErrorCode::NodeRevoked
                .error("the node is decommissioned")
                .next("bring it back with `pact node enroll`"),
            Ok(NodeState::Active | NodeState::Inactive) => ErrorCode::Unreachable
                .error("the node does not answer")
                .because("its agent is not on the bus")
                .next("check the node and its pact-agent; see `pact status`"),
            Err(error) => bad_reply("pact-journal", error),
        },
        error => ErrorCode::Unreachable
            .error("the node does not answer")
            .because(error.to_string())
            .next("check the node and its pact-agent; see `pact status`"),
    }
}

/// Whether an error says that nobody is there, and not that somebody refused.
pub(crate) fn is_away(error: &v1::Error) -> bool {
    matches!(
        error.known_code(),
        ErrorCode::Unreachable | ErrorCode::NodeNotEnrolled | ErrorCode::Timeout
    )
}

/// Answers of several nodes, apart from what went wrong.
pub(crate) fn parted<T>(answers: Vec<Answer<T>>) -> (Vec<T>, Vec<v1::Error>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(answer) => good.push(answer),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}

#[cfg(test)]
mod tests {
    use pact_runtime::Timestamp;

    use super::*;

    #[test]
    fn nodes_share_one_time_and_none_is_asked_after_it() {
        let (clock, manual) = Clock::manual(Timestamp::from_unix_nanos(0));
        let until = Until::new(&clock);
        let five = Duration::from_secs(5);
        assert_eq!(until.at_most(five), Some(five));
        manual.advance(ALL_NODES - Duration::from_secs(2));
        assert_eq!(until.at_most(five), Some(Duration::from_secs(2)));
        manual.advance(Duration::from_secs(2));
        assert_eq!(until.at_most(five), None);
    }

    #[test]
    fn who_is_not_there_is_told_from_who_says_no() {
        let nobody = || CallError::NoResponders { subject: "x".into() };
        let said =
            |state: i32, error| unanswered(&NodeRecord { state, ..NodeRecord::default() }, error);
        assert!(is_away(&said(NodeState::Active.into(), nobody())));
        assert!(is_away(&said(NodeState::Registered.into(), nobody())));
        assert!(!is_away(&said(NodeState::Revoked.into(), nobody())));
        let refusal = CallError::Service(ErrorCode::Conflict.error("no"));
        assert!(!is_away(&said(NodeState::Active.into(), refusal)));
        assert_eq!(said(9, nobody()).known_code(), ErrorCode::Malformed, "no state that we know");
    }
}

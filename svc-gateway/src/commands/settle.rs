//! How nodes are once they have the configuration of an entry.

use std::time::Duration;

use pact_schemas::rpc;
use pact_schemas::v1::{NodeRecord, NodeSettled, SettleReply, SettleRequest};
use pact_schemas::{ErrorCode, NodeId, NodeSet, NodeState};

use crate::ask::fanout;
use crate::ask::nodes::{Agents, Until};
use crate::error::Answer;
use crate::rights::targets::Targets;

/// How long a node is waited for until it has the configuration of an entry.
const SETTLE: Duration = Duration::from_secs(8);

/// Waits for a node to have the configuration of an entry.
pub(super) async fn settle(
    agents: &Agents,
    target: (&NodeId, &NodeRecord),
    seq: u64,
    until: &Until,
) -> Answer<NodeSettled> {
    let request = SettleRequest { seq };
    let reply: SettleReply =
        agents.ask::<rpc::node::Settle>(target, &request, (until, SETTLE)).await?;
    if reply.config_seq < seq {
        return Err(ErrorCode::Timeout
            .error(format!("the node does not have entry {seq} yet"))
            .because(format!("it has the configuration of entry {}", reply.config_seq))
            .next("it takes it as soon as it can; see `pact diff`")
            .on(target.0));
    }
    Ok(NodeSettled {
        node: target.0.to_string(),
        config_seq: reply.config_seq,
        problems: reply.problems,
        drift_keys: reply.drift_keys,
        window: reply.window,
    })
}

/// [`Gateway::settle`] on all of these, in their order.
pub(super) async fn settle_all(
    agents: &Agents,
    targets: &Targets,
    seq: u64,
    until: &Until,
) -> Vec<Answer<NodeSettled>> {
    fanout::all(targets.nodes().map(|node| settle(agents, node, seq, until)).collect()).await
}

/// Those of the targets that are active, and those that are away; `None`: there are none.
pub(super) fn by_presence(targets: &Targets) -> (Option<Targets>, Option<Targets>) {
    let active = |record: &NodeRecord| NodeState::of(record) == Ok(NodeState::Active);
    let away = |record: &NodeRecord| {
        matches!(NodeState::of(record), Ok(NodeState::Registered | NodeState::Inactive))
    };
    (subset(targets, |_, record| active(record)), subset(targets, |_, record| away(record)))
}

/// The targets of which this holds; `None`: there are none.
pub(super) fn subset(
    targets: &Targets,
    holds: impl Fn(&NodeId, &NodeRecord) -> bool,
) -> Option<Targets> {
    let chosen = || targets.nodes().filter(|(node, record)| holds(node, record));
    let set = NodeSet::new(chosen().map(|(node, _)| node.clone())).ok()?;
    Some(Targets { records: chosen().map(|(_, record)| record.clone()).collect(), set })
}

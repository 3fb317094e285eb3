//! A planned rollback of nodes, carried out.

use std::time::Duration;

use pact_schemas::convert::Scope;
use pact_schemas::resource::change_set::MAX_INLINE_BYTES;
use pact_schemas::rpc;
use pact_schemas::v1::{
    self, NodeRollback, RollbackReply, RollbackScopeReply, RollbackStart, action::Action as Act,
};
use pact_schemas::{ErrorCode, NodeId};

use super::Wanted;
use super::check::{Checked, Verdict, check, plan_sha256};
use super::plan::Planned;
use crate::ask::fanout;
use crate::ask::nodes::{Until, parted};
use crate::ask::propose::granted;
use crate::context::Gateway;
use crate::error::Answer;
use crate::rights::permit::Permit;
use crate::rights::targets::Targets;

/// How long a node may take to change what it has to.
pub(super) const ROLL_BACK: Duration = Duration::from_secs(15);

/// Changes that stay in memory between the check and the rollback, of all nodes of a call: what is longer than a node's share
/// is on the node by then, and here are its digests alone.
const KEPT_BYTES: usize = 32 * 1024 * 1024;

/// Holders, or keys, that an error lists; the rest is counted.
const HOLDERS_IN_ERROR: usize = 5;

/// All or nothing at the check; after it, each node for itself.
pub(super) async fn roll_back_nodes(
    gateway: &Gateway,
    permit: &Permit,
    wanted: &Wanted,
    targets: &Targets,
    planned: Vec<Planned>,
    until: &Until,
) -> Answer<RollbackScopeReply> {
    let (nothing, planned): (Vec<_>, Vec<_>) = planned.into_iter().partition(Planned::is_nothing);
    let mut reply = RollbackScopeReply {
        plans: nothing.into_iter().map(|plan| plan.shown(0)).collect(),
        ..RollbackScopeReply::default()
    };
    let find = |planned: &Planned| {
        targets.nodes().find(|(node, _)| planned.scope == Scope::Node((*node).clone()))
    };
    let inline_bytes = (KEPT_BYTES / planned.len().max(1)).min(MAX_INLINE_BYTES);
    let work: Vec<_> = planned
        .into_iter()
        .filter_map(|plan| find(&plan).map(|node| check(gateway, node, plan, inline_bytes, until)))
        .collect();
    let (checked, errors) = parted(fanout::all(work).await);
    let is_held = checked.iter().any(|check| matches!(check.verdict, Verdict::Held(_)));
    if is_held || !errors.is_empty() {
        reply.errors = errors;
        for check in checked {
            refuse(&mut reply, check.target.0, check.verdict);
            reply.plans.push(check.planned.shown(0));
        }
        return Ok(reply);
    }
    let work =
        checked.into_iter().map(|check| roll_back_node(gateway, permit, wanted, check, until));
    for done in fanout::all(work.collect()).await {
        match done {
            Ok((plan, node)) => {
                reply.plans.push(plan);
                reply.errors.extend(deferred(&node));
                reply.nodes.push(node);
            }
            Err(error) => reply.errors.push(error),
        }
    }
    Ok(reply)
}

async fn roll_back_node(
    gateway: &Gateway,
    permit: &Permit,
    wanted: &Wanted,
    check: Checked<'_>,
    until: &Until,
) -> Answer<(v1::PlannedRollback, NodeRollback)> {
    let node = check.target.0;
    let key = wanted.key.for_node(&wanted.targets, node)?;
    let mut planned = check.planned;
    planned.action.plan_sha256 = plan_sha256(&check.plan);
    let (done, grant) = gateway
        .proposals
        .commit(permit, key, Act::Rollback(planned.action.clone()))
        .await
        .map_err(|e| e.on(node))?;
    let plan = planned.shown(done.first_seq);
    let mut outcome = NodeRollback { node: node.to_string(), ..NodeRollback::default() };
    if matches!(check.verdict, Verdict::Away(_)) {
        outcome.when_back = true;
        return Ok((plan, outcome));
    }
    let grant = granted(grant, "rollback").map_err(|e| e.on(node))?;
    let request = RollbackStart { grant: Some(grant), plan: Some(check.plan) };
    let asked: Answer<RollbackReply> =
        gateway.agents.ask::<rpc::node::Rollback>(check.target, &request, (until, ROLL_BACK)).await;
    match asked {
        Ok(reply) => Ok((plan, carried_out(node, reply))),
        Err(error) => Err(error.next(format!(
            "entry {} is recorded; see what is left with `pact diff {node}`",
            done.first_seq
        ))),
    }
}

/// What a node did.
pub(super) fn carried_out(node: &NodeId, reply: RollbackReply) -> NodeRollback {
    NodeRollback {
        node: node.to_string(),
        restored_keys: reply.restored_keys,
        holders: reply.holders,
        problems: reply.problems,
        ..NodeRollback::default()
    }
}

/// What a node's check says where nothing is done.
pub(super) fn refuse(reply: &mut RollbackScopeReply, node: &NodeId, verdict: Verdict) {
    if let Verdict::Held(held) = verdict {
        reply.errors.push(holders_error(node, &held.holders, true));
        reply.nodes.push(NodeRollback {
            node: node.to_string(),
            holders: held.holders,
            problems: held.problems,
            ..NodeRollback::default()
        });
    }
}

/// The error of a node that could not do all of it.
pub(super) fn deferred(outcome: &NodeRollback) -> Option<v1::Error> {
    let node = NodeId::new(&outcome.node).ok()?;
    if !outcome.holders.is_empty() {
        return Some(holders_error(&node, &outcome.holders, false));
    }
    if outcome.problems.is_empty() {
        return None;
    }
    let listed = outcome.problems.iter().take(HOLDERS_IN_ERROR);
    let listed: Vec<String> =
        listed.map(|p| format!("{}: {} {}", p.key, p.code, p.reason)).collect();
    let more = more(outcome.problems.len().saturating_sub(HOLDERS_IN_ERROR));
    // Keys that nobody has written on this node are no failure of what was done.
    let denied = ErrorCode::NotAuthorised.as_str();
    let (code, what) = match outcome.problems.iter().all(|problem| problem.code == denied) {
        true => (ErrorCode::Partial, "not every key is the node's to write; the others are done"),
        false => (ErrorCode::RollbackFailed, "not everything could be rolled back"),
    };
    Some(
        code.error(what)
            .because(format!("{}{more}", listed.join("; ")))
            .next("see with `pact diff` what is left, and why")
            .on(&node),
    )
}

fn holders_error(node: &NodeId, holders: &[v1::Holder], is_untouched: bool) -> v1::Error {
    let listed: Vec<String> = holders
        .iter()
        .take(HOLDERS_IN_ERROR)
        .map(|h| format!("pid {} ({}) holds {}: {}", h.pid, h.command, h.key, h.how))
        .collect();
    let more = more(holders.len().saturating_sub(HOLDERS_IN_ERROR));
    let what = if is_untouched { "nothing was changed" } else { "the node is Deferred" };
    ErrorCode::RollbackFailed
        .error(format!("active consumers hold the state; {what}"))
        .because(format!("{}{more}", listed.join("; ")))
        .next("end these processes, then roll back again")
        .on(node)
}

fn more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}

//! The rollback of a vCluster: its nodes say who holds what before anything is declared, then take it from the journal.

use std::collections::BTreeSet;
use std::time::Duration;

use pact_journal_client::Journal;
use pact_schemas::convert::Scope;
use pact_schemas::resource::change_set::MAX_INLINE_BYTES;
use pact_schemas::rpc;
use pact_schemas::v1::{
    self, ChangeSet, DiffReply, DiffRequest, NodeRecord, NodeRollback, NodeSettled,
    RollbackScopeReply, action::Action as Act,
};
use pact_schemas::{Mode, NodeId, VclusterId};
use prost::Message as _;

use super::Wanted;
use super::check::{Packed, Verdict, check_packed};
use super::execute::{deferred, refuse};
use super::plan::{Planned, whole_plan};
use crate::ask::fanout::{self, AT_ONCE};
use crate::ask::nodes::{Agents, Until, is_away, parted};
use crate::ask::plans;
use crate::ask::read;
use crate::commands::settle::{by_presence, settle_all, subset};
use crate::context::Gateway;
use crate::error::{Answer, bad_reply};
use crate::rights::permit::Permit;
use crate::rights::targets::{self, Condition, Targets, targets_of};

/// How long a node may take to say in which mode it is.
const LOOK: Duration = Duration::from_secs(5);

/// One entry; the nodes take what is declared now from the journal. A holder found before changes nothing anywhere.
pub(super) async fn roll_back_vcluster(
    gateway: &Gateway,
    permit: &Permit,
    wanted: &Wanted,
    vcluster: &VclusterId,
    planned: Vec<Planned>,
    until: &Until,
) -> Answer<RollbackScopeReply> {
    let mut reply = RollbackScopeReply::default();
    for plan in planned {
        if plan.is_nothing() {
            reply.plans.push(plan.shown(0));
            continue;
        }
        let (verdicts, errors) = check_members(gateway, vcluster, &plan, until).await?;
        let is_held = verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Held(_)));
        if is_held || !errors.is_empty() {
            reply.errors.extend(errors);
            for (node, verdict) in verdicts {
                refuse(&mut reply, &node, verdict);
            }
            reply.plans.push(plan.shown(0));
            return Ok(reply);
        }
        let (done, _) = gateway
            .proposals
            .commit(permit, wanted.key, Act::Rollback(plan.action.clone()))
            .await?;
        settle_rollback(gateway, vcluster, done.first_seq, until, &mut reply).await?;
        reply.plans.push(plan.shown(done.first_seq));
    }
    Ok(reply)
}

/// What the active nodes of a vCluster say about a plan of its overlay.
async fn check_members(
    gateway: &Gateway,
    vcluster: &VclusterId,
    plan: &Planned,
    until: &Until,
) -> Answer<(Vec<(NodeId, Verdict)>, Vec<v1::Error>)> {
    let (Some(active), _) = members(&gateway.journal, vcluster).await? else {
        return Ok((Vec::new(), Vec::new()));
    };
    // What all nodes get, and once as much for what single nodes get beside it.
    let size_bytes = plan.size_bytes.saturating_mul(2);
    let _room = gateway.plans.room(size_bytes, until).await?;
    let whole = whole_plan(&gateway.journal, plan).await?;
    let common = Packed::new(whole.clone(), MAX_INLINE_BYTES);
    let plain = subset(&active, |_, record| record.delta_seq == 0);
    let plain = plain.iter().flat_map(Targets::nodes);
    let mut checked = fanout::all(
        plain.map(|node| check_member(&gateway.agents, node, &common, until)).collect(),
    )
    .await;
    let own = subset(&active, |_, record| record.delta_seq != 0);
    let own = own.iter().flat_map(Targets::nodes);
    let own = own.map(|node| check_member_with_deltas(gateway, node, &whole, until)).collect();
    let at_once = plans::at_once(whole.encoded_len()).min(AT_ONCE);
    checked.extend(fanout::some(own, at_once).await);
    Ok(parted(checked))
}

async fn check_member(
    agents: &Agents,
    target: (&NodeId, &NodeRecord),
    packed: &Packed,
    until: &Until,
) -> Answer<(NodeId, Verdict)> {
    let verdict = match acts_by_itself(agents, target, until).await {
        Ok(true) => check_packed(agents, target, packed, until).await?,
        // Nobody is hurt by what is only looked at.
        Ok(false) => Verdict::Free,
        Err(error) if is_away(&error) => Verdict::Away(error),
        Err(error) => return Err(error),
    };
    Ok((target.0.clone(), verdict))
}

/// Keys that the node declares itself stay what they are, whatever becomes of the overlay.
async fn check_member_with_deltas(
    gateway: &Gateway,
    target: (&NodeId, &NodeRecord),
    whole: &ChangeSet,
    until: &Until,
) -> Answer<(NodeId, Verdict)> {
    let deltas = read::declared(&gateway.journal, &Scope::Node(target.0.clone()), None).await;
    let deltas = deltas.map_err(|e| e.on(target.0))?;
    let own: BTreeSet<&str> = deltas.iter().map(|delta| delta.key.as_str()).collect();
    let left = whole.changes.iter().filter(|change| !own.contains(change.key.as_str()));
    let left = ChangeSet { changes: left.cloned().collect(), chunks: Vec::new() };
    if left.changes.is_empty() {
        return Ok((target.0.clone(), Verdict::Free));
    }
    check_member(&gateway.agents, target, &Packed::new(left, MAX_INLINE_BYTES), until).await
}

/// Whether the node makes itself what is declared. One that has not looked yet says nothing, and is asked all the same.
async fn acts_by_itself(
    agents: &Agents,
    target: (&NodeId, &NodeRecord),
    until: &Until,
) -> Answer<bool> {
    let request = DiffRequest { summary: true, ..DiffRequest::default() };
    let reply: DiffReply = agents.ask::<rpc::node::Diff>(target, &request, (until, LOOK)).await?;
    if reply.enforcement_mode.is_empty() {
        return Ok(true);
    }
    let mode = Mode::from_wire(&reply.enforcement_mode, "DiffReply.enforcement_mode");
    let mode = mode.map_err(|error| bad_reply("pact-agent", error).on(target.0))?;
    Ok(mode == Mode::Enforce)
}

/// The nodes of a vCluster that are active, and those that are away.
async fn members(
    journal: &Journal,
    vcluster: &VclusterId,
) -> Answer<(Option<Targets>, Option<Targets>)> {
    let condition = Condition { vcluster: Some(vcluster.clone()), state: None };
    let records = targets::nodes_where(journal, &condition).await?;
    if records.is_empty() {
        return Ok((None, None));
    }
    Ok(by_presence(&targets_of(records)?))
}

/// How the nodes of a vCluster are once they have the entry.
pub(super) async fn settle_rollback(
    gateway: &Gateway,
    vcluster: &VclusterId,
    seq: u64,
    until: &Until,
    reply: &mut RollbackScopeReply,
) -> Answer<()> {
    let (active, away) = members(&gateway.journal, vcluster).await?;
    for node in away.iter().flat_map(|away| away.set.iter()) {
        let (node, when_back) = (node.to_string(), true);
        reply.nodes.push(NodeRollback { node, when_back, ..NodeRollback::default() });
    }
    let Some(active) = active else { return Ok(()) };
    for settled in settle_all(&gateway.agents, &active, seq, until).await {
        match settled {
            Ok(settled) => {
                let outcome = settled_rollback(settled);
                reply.errors.extend(deferred(&outcome));
                reply.nodes.push(outcome);
            }
            Err(error) => reply.errors.push(error),
        }
    }
    Ok(())
}

/// How a node is that has taken the entry of a rollback.
pub(super) fn settled_rollback(settled: NodeSettled) -> NodeRollback {
    let holders = settled.window.as_ref().map(|window| window.holders.clone());
    NodeRollback {
        node: settled.node.clone(),
        holders: holders.unwrap_or_default(),
        problems: settled.problems.clone(),
        settled: Some(settled),
        ..NodeRollback::default()
    }
}

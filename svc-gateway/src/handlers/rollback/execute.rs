//! A planned rollback, carried out.

use std::collections::BTreeSet;
use std::time::Duration;

use pact_schemas::convert::Scope;
use pact_schemas::v1::{
    self, Committed, NodeRecord, NodeRollback, NodeSettled, RollbackCheckReply,
    RollbackCheckRequest, RollbackPlan, RollbackReply, RollbackScopeReply, RollbackStart,
    SignedGrant, action::Action as Act,
};
use pact_schemas::{ErrorCode, NodeId, RequestId, VclusterId};
use prost::Message as _;
use ring::digest::{SHA256, digest};

use super::plan::Planned;
use super::{Wanted, Whose};
use crate::access::attest;
use crate::ask::{Until, is_away, parted};
use crate::authorise::Permit;
use crate::context::Gateway;
use crate::error::{Answer, bad_reply};
use crate::fanout;
use crate::handlers::log::node_of as entry_node;
use crate::handlers::settle::{by_presence, subset};
use crate::request::for_node;
use crate::targets::{Condition, Targets, targets_of};

/// How long a node may take to look for holders: it reads `/proc` once.
const CHECK: Duration = Duration::from_secs(8);

/// How long a node may take to change what it has to.
const ROLL_BACK: Duration = Duration::from_secs(15);

/// Holders that an error lists; the rest is counted.
const HOLDERS_IN_ERROR: usize = 5;

/// A node with its plan, checked.
struct Checked<'a> {
    target: (&'a NodeId, &'a NodeRecord),
    planned: Planned,
    plan: RollbackPlan,
    held: Option<RollbackCheckReply>,
    is_away: bool,
}

impl Gateway {
    /// All or nothing at the check; after it, each node for itself.
    pub(super) async fn roll_back_nodes(
        &self,
        permit: &Permit,
        wanted: &Wanted,
        targets: &Targets,
        planned: Vec<Planned>,
        until: &Until,
    ) -> Answer<RollbackScopeReply> {
        let (nothing, planned): (Vec<_>, Vec<_>) =
            planned.into_iter().partition(Planned::is_nothing);
        let mut reply = RollbackScopeReply {
            plans: nothing.into_iter().map(|plan| plan.shown(0)).collect(),
            ..RollbackScopeReply::default()
        };
        let find = |planned: &Planned| {
            targets.nodes().find(|(node, _)| planned.scope == Scope::Node((*node).clone()))
        };
        let work: Vec<_> = planned
            .into_iter()
            .filter_map(|plan| find(&plan).map(|target| self.check(target, plan, until)))
            .collect();
        let (checked, errors) = parted(fanout::all(work).await);
        let is_held = checked.iter().any(|c| c.held.is_some());
        if is_held || !errors.is_empty() {
            reply.errors = errors;
            for check in checked {
                if let Some(held) = check.held {
                    reply.errors.push(holders_error(check.target.0, &held.holders, true));
                    reply.nodes.push(NodeRollback {
                        node: check.target.0.to_string(),
                        holders: held.holders,
                        problems: held.problems,
                        ..NodeRollback::default()
                    });
                }
                reply.plans.push(check.planned.shown(0));
            }
            return Ok(reply);
        }
        let work =
            checked.into_iter().map(|check| self.roll_back_node(permit, wanted, check, until));
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

    async fn check<'a>(
        &self,
        target: (&'a NodeId, &'a NodeRecord),
        planned: Planned,
        until: &Until,
    ) -> Answer<Checked<'a>> {
        let plan = planned.for_node(target.0)?;
        let request = RollbackCheckRequest { plan: Some(plan.clone()) };
        let asked: Answer<RollbackCheckReply> =
            self.ask_node(target, "rollback_check", &request, (until, CHECK)).await;
        let mut checked = Checked { target, planned, plan, held: None, is_away: false };
        match asked {
            Ok(reply) if !reply.holders.is_empty() => checked.held = Some(reply),
            Ok(reply) => {
                let expected = plan_sha256(&checked.plan);
                if !reply.plan_sha256.is_empty() && reply.plan_sha256 != expected {
                    return Err(bad_reply("pact-agent", "it read another plan").on(target.0));
                }
            }
            // What is declared changes for it too; it does the rest when it is back.
            Err(error) if is_away(&error) && !checked.planned.action.discard_drift => {
                checked.is_away = true;
            }
            Err(error) => return Err(error),
        }
        Ok(checked)
    }

    async fn roll_back_node(
        &self,
        permit: &Permit,
        wanted: &Wanted,
        check: Checked<'_>,
        until: &Until,
    ) -> Answer<(v1::PlannedRollback, NodeRollback)> {
        let node = check.target.0;
        let id = for_node(wanted.id, &wanted.targets, node)?;
        let mut planned = check.planned;
        planned.action.plan_sha256 = plan_sha256(&check.plan);
        let (done, grant) =
            self.propose_rollback(permit, id, &planned).await.map_err(|e| e.on(node))?;
        let plan = planned.shown(done.first_seq);
        let mut outcome = NodeRollback { node: node.to_string(), ..NodeRollback::default() };
        if check.is_away {
            outcome.when_back = true;
            return Ok((plan, outcome));
        }
        let grant = grant.ok_or_else(|| {
            bad_reply("pact-journal", "a committed rollback has no grant").on(node)
        })?;
        let request = RollbackStart { grant: Some(grant), plan: Some(check.plan) };
        let asked: Answer<RollbackReply> =
            self.ask_node(check.target, "rollback", &request, (until, ROLL_BACK)).await;
        match asked {
            Ok(reply) => {
                outcome.restored_keys = reply.restored_keys;
                outcome.holders = reply.holders;
                outcome.problems = reply.problems;
                Ok((plan, outcome))
            }
            Err(error) => Err(error.next(format!(
                "entry {} is recorded; see what is left with `pact diff {node}`",
                done.first_seq
            ))),
        }
    }

    /// One entry; the nodes take what is declared now from the journal.
    pub(super) async fn roll_back_vcluster(
        &self,
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
            let (done, _) = self.propose_rollback(permit, wanted.id, &plan).await?;
            self.settle_rollback(vcluster, done.first_seq, until, &mut reply).await?;
            reply.plans.push(plan.shown(done.first_seq));
        }
        Ok(reply)
    }

    /// How the nodes of a vCluster are once they have the entry.
    async fn settle_rollback(
        &self,
        vcluster: &VclusterId,
        seq: u64,
        until: &Until,
        reply: &mut RollbackScopeReply,
    ) -> Answer<()> {
        let condition = Condition { vcluster: Some(vcluster.clone()), state: None };
        let Ok(members) = targets_of(self.nodes_where(&condition).await?) else {
            return Ok(()); // it has no nodes
        };
        let (active, away) = by_presence(&members);
        for node in away.iter().flat_map(|away| away.set.iter()) {
            let (node, when_back) = (node.to_string(), true);
            reply.nodes.push(NodeRollback { node, when_back, ..NodeRollback::default() });
        }
        let Some(active) = active else { return Ok(()) };
        for settled in self.settle_all(&active, seq, until).await {
            match settled {
                Ok(settled) => {
                    let holders = settled.window.as_ref().map(|w| w.holders.clone());
                    let outcome = NodeRollback {
                        node: settled.node.clone(),
                        holders: holders.unwrap_or_default(),
                        problems: settled.problems.clone(),
                        settled: Some(settled),
                        ..NodeRollback::default()
                    };
                    reply.errors.extend(deferred(&outcome));
                    reply.nodes.push(outcome);
                }
                Err(error) => reply.errors.push(error),
            }
        }
        Ok(())
    }

    async fn propose_rollback(
        &self,
        permit: &Permit,
        id: RequestId,
        planned: &Planned,
    ) -> Answer<(Committed, Option<SignedGrant>)> {
        let action = v1::Action { action: Some(Act::Rollback(planned.action.clone())) };
        let proposal = attest(&self.signer, &self.clock, permit, id, &action)?;
        self.journal.propose_one(proposal).await
    }

    /// What a retry is told of the first attempt: its entries, and how the nodes are now. Then what is left to do.
    pub(super) async fn rolled_back_before(
        &self,
        wanted: &Wanted,
        whose: Whose,
        until: &Until,
    ) -> Answer<(RollbackScopeReply, Option<Whose>)> {
        let mut reply = RollbackScopeReply::default();
        let targets = match whose {
            Whose::Nodes(targets) => targets,
            Whose::Vcluster(vcluster) => {
                let scope = Scope::Vcluster(vcluster.clone());
                let Some(entry) = self.entry_of(&scope, wanted.id).await? else {
                    return Ok((reply, Some(Whose::Vcluster(vcluster))));
                };
                self.settle_rollback(&vcluster, entry.seq, until, &mut reply).await?;
                reply.plans.push(recorded(entry));
                return Ok((reply, None));
            }
        };
        let work = targets.nodes().map(|target| self.rolled_back_node(wanted, target, until));
        let mut done = BTreeSet::new();
        for found in fanout::all(work.collect()).await {
            let Some((entry, settled)) = found? else { continue };
            done.extend(entry_node(&entry));
            match settled {
                Ok(settled) => reply.nodes.push(NodeRollback {
                    node: settled.node.clone(),
                    problems: settled.problems.clone(),
                    settled: Some(settled),
                    ..NodeRollback::default()
                }),
                Err(error) => reply.errors.push(error),
            }
            reply.plans.push(recorded(entry));
        }
        let left = subset(&targets, |node, _| !done.contains(node));
        Ok((reply, left.map(Whose::Nodes)))
    }

    async fn rolled_back_node(
        &self,
        wanted: &Wanted,
        target: (&NodeId, &NodeRecord),
        until: &Until,
    ) -> Answer<Option<(v1::Entry, Answer<NodeSettled>)>> {
        let id = for_node(wanted.id, &wanted.targets, target.0)?;
        let scope = Scope::Node(target.0.clone());
        let Some(entry) = self.entry_of(&scope, id).await? else { return Ok(None) };
        let settled = self.settle(target, entry.seq, until).await;
        Ok(Some((entry, settled)))
    }
}

fn plan_sha256(plan: &RollbackPlan) -> Vec<u8> {
    digest(&SHA256, &plan.encode_to_vec()).as_ref().to_vec()
}

/// An entry of an earlier attempt as its plan.
fn recorded(entry: v1::Entry) -> v1::PlannedRollback {
    let (changes, omitted_changes) = crate::changes::shown(entry.changes);
    let seq = entry.seq;
    v1::PlannedRollback {
        scope: entry.scope,
        changes,
        omitted_changes,
        seq,
        ..v1::PlannedRollback::default()
    }
}

/// The error of a node that could not do all of it.
fn deferred(outcome: &NodeRollback) -> Option<v1::Error> {
    let node = NodeId::new(&outcome.node).ok()?;
    if !outcome.holders.is_empty() {
        return Some(holders_error(&node, &outcome.holders, false));
    }
    let first = outcome.problems.first()?;
    let more = more(outcome.problems.len().saturating_sub(1));
    Some(
        ErrorCode::RollbackFailed
            .error("not everything could be rolled back")
            .because(format!("{}: {} {}{more}", first.key, first.code, first.reason))
            .next("see `pact diff`; the node is Deferred until it is settled")
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

//! What a retry is told of the first attempt, and what it finishes.
//!
//! A rollback of declared state is done once its entry is there: the nodes take it from the journal. Drift is discarded by the
//! node that was asked to; so when a gateway ended between the entry and the node, a retry has to ask the node.

use std::collections::BTreeSet;

use pact_schemas::convert::Scope;
use pact_schemas::v1::{
    self, DiffReply, Entry, NodeRecord, NodeRollback, NodeSettled, RollbackReply,
    RollbackScopeReply, RollbackStart, entry::Payload,
};
use pact_schemas::{ErrorCode, NodeId, RequestId};

use super::check::{discarding_plan, plan_sha256};
use super::execute::{ROLL_BACK, carried_out, deferred, no_grant};
use super::plan::discarding;
use super::vcluster::settled_rollback;
use super::{Wanted, Whose};
use crate::ask::Until;
use crate::authorise::Permit;
use crate::context::Gateway;
use crate::error::Answer;
use crate::fanout;
use crate::handlers::log::node_of as entry_node;
use crate::handlers::settle::subset;
use crate::request::{entry_of, for_node};
use crate::targets::one_judged;

impl Gateway {
    /// The entries of the first attempt, and how the nodes are now. Then what is left to do.
    pub(super) async fn rolled_back_before(
        &self,
        permit: &Permit,
        wanted: &Wanted,
        whose: Whose,
        until: &Until,
    ) -> Answer<(RollbackScopeReply, Option<Whose>)> {
        let mut reply = RollbackScopeReply::default();
        let targets = match whose {
            Whose::Nodes(targets) => targets,
            Whose::Vcluster(vcluster) => {
                let scope = Scope::Vcluster(vcluster.clone());
                let made = |entry: &Entry| wanted.made(entry, permit);
                let Some(entry) = entry_of(&self.journal, &scope, wanted.id, made).await? else {
                    return Ok((reply, Some(Whose::Vcluster(vcluster))));
                };
                self.settle_rollback(&vcluster, entry.seq, until, &mut reply).await?;
                reply.plans.push(recorded(entry));
                return Ok((reply, None));
            }
        };
        let work =
            targets.nodes().map(|target| self.rolled_back_node(permit, wanted, target, until));
        let mut done = BTreeSet::new();
        for found in fanout::all(work.collect()).await {
            let Some((entry, outcome)) = found? else { continue };
            done.extend(entry_node(&entry));
            match outcome {
                Ok(outcome) => {
                    reply.errors.extend(deferred(&outcome));
                    reply.nodes.push(outcome);
                }
                Err(error) => reply.errors.push(error),
            }
            reply.plans.push(recorded(entry));
        }
        let left = subset(&targets, |node, _| !done.contains(node));
        Ok((reply, left.map(Whose::Nodes)))
    }

    async fn rolled_back_node(
        &self,
        permit: &Permit,
        wanted: &Wanted,
        target: (&NodeId, &NodeRecord),
        until: &Until,
    ) -> Answer<Option<(Entry, Answer<NodeRollback>)>> {
        let id = for_node(wanted.id, &wanted.targets, target.0)?;
        let scope = Scope::Node(target.0.clone());
        let made = |entry: &Entry| wanted.made(entry, permit);
        let before = entry_of(&self.journal, &scope, id, made).await?;
        let Some(entry) = before else { return Ok(None) };
        let outcome = match &entry.payload {
            Some(Payload::RollbackDone(done)) if done.to_seq.is_none() => {
                let first = First { id, seq: entry.seq, drift_digest: &done.drift_digest };
                self.discard_again(permit, wanted, target, &first, until).await
            }
            _ => self.settle(target, entry.seq, until).await.map(settled_rollback),
        };
        Ok(Some((entry, outcome)))
    }

    /// What became of drift that was to go: it is gone, or it goes now, or it is said why not.
    async fn discard_again(
        &self,
        permit: &Permit,
        wanted: &Wanted,
        target: (&NodeId, &NodeRecord),
        first: &First<'_>,
        until: &Until,
    ) -> Answer<NodeRollback> {
        let (node, record) = target;
        let now = self.drift_summary(target, until).await.map_err(|e| first.unknown(e, node))?;
        if counted(&now) == 0 {
            return Ok(settled_rollback(as_it_is(node, now)));
        }
        let judged = one_judged(node, record)?;
        let plan = discarding_plan(node, first.drift_digest);
        let mut action = discarding(node, wanted, first.drift_digest.to_vec(), judged);
        action.plan_sha256 = plan_sha256(&plan);
        // The same request: the journal signs the same grant again, for as long as grants live.
        let grant = match self.propose_rollback(permit, first.id, action).await {
            Ok((_, grant)) => grant.ok_or_else(|| no_grant(node))?,
            Err(error) if error.known_code() == ErrorCode::GrantExpired => {
                return first.too_late(node, now);
            }
            Err(error) => return Err(error.on(node)),
        };
        let request = RollbackStart { grant: Some(grant), plan: Some(plan) };
        let asked: Answer<RollbackReply> =
            self.ask_node(target, "rollback", &request, (until, ROLL_BACK)).await;
        match asked {
            Ok(reply) => Ok(carried_out(node, reply)),
            // The first attempt had reached it.
            Err(error) if error.known_code() == ErrorCode::GrantReplayed => {
                let now =
                    self.drift_summary(target, until).await.map_err(|e| first.unknown(e, node))?;
                if now.digest == first.drift_digest {
                    return Err(first.left_undone(node));
                }
                Ok(settled_rollback(as_it_is(node, now)))
            }
            Err(error) => Err(first.unknown(error, node)),
        }
    }
}

/// The first attempt, as its entry has it.
struct First<'e> {
    id: RequestId,
    seq: u64,
    drift_digest: &'e [u8],
}

impl First<'_> {
    /// Nobody says what became of it.
    fn unknown(&self, error: v1::Error, node: &NodeId) -> v1::Error {
        let seq = self.seq;
        error.on(node).next(format!(
            "entry {seq} is recorded; see what is left with `pact diff {node}`, then discard that"
        ))
    }

    /// The grant has ended: what is there now is all that is known.
    fn too_late(&self, node: &NodeId, now: DiffReply) -> Answer<NodeRollback> {
        if now.digest == self.drift_digest {
            return Err(self.left_undone(node));
        }
        let (seq, keys) = (self.seq, counted(&now));
        let outcome = settled_rollback(as_it_is(node, now));
        match deferred(&outcome) {
            Some(_) => Ok(outcome),
            None => Err(ErrorCode::GrantExpired
                .error(format!("{keys} keys of {node} differ, and it is not known whether entry {seq} was carried out there"))
                .because("the first attempt ended before the node answered, and its grant has ended since")
                .next(format!("look at `pact diff {node}`, then run the rollback again"))
                .on(node)),
        }
    }

    fn left_undone(&self, node: &NodeId) -> v1::Error {
        ErrorCode::GrantExpired
            .error(format!("entry {} is recorded, and the drift of {node} is still there", self.seq))
            .because("the first attempt ended before the node had carried it out, and its grant is used or has ended")
            .next("run the rollback again")
            .on(node)
    }
}

fn counted(drift: &DiffReply) -> u32 {
    drift.total.saturating_sub(drift.report_only_total)
}

fn as_it_is(node: &NodeId, drift: DiffReply) -> NodeSettled {
    NodeSettled {
        node: node.to_string(),
        config_seq: drift.config_seq,
        problems: Vec::new(),
        drift_keys: counted(&drift),
        window: drift.window,
    }
}

/// An entry of an earlier attempt as its plan.
fn recorded(entry: Entry) -> v1::PlannedRollback {
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

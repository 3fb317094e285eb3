//! What a rollback would do, by the code that does it.

use pact_schemas::convert::Scope;
use pact_schemas::v1::{
    self, Change, ChangeSet, DeclaredReply, DeclaredRequest, DriftItem, NodeRecord, PlanReply,
    PlanRequest, PlannedRollback, Rollback, RollbackPlan, action::Action as Act,
};
use pact_schemas::{ErrorCode, NodeId};
use prost::Message as _;

use super::{Wanted, Whose};
use crate::ask::{Until, parted};
use crate::changes::shown;
use crate::context::Gateway;
use crate::error::{Answer, bad_reply};
use crate::fanout;
use crate::handlers::diff::was_looked_at;

/// Drift of a node that a plan lists; what is discarded is named by its digest.
const MAX_LISTED_BYTES: usize = 512 * 1024;

/// A plan travels to its node in one message, which has room for this and the grant.
const MAX_PLAN_BYTES: usize = 768 * 1024;

/// In place of the digest of a node's plan, which is known once there is one.
const NO_PLAN: [u8; 32] = [0; 32];

/// The plan of one scope.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) scope: Scope,
    /// As it is proposed, but for the digest of the node's plan.
    pub(super) action: Rollback,
    pub(super) changes: Vec<Change>,
    /// Changes that the journal or the node did not list.
    pub(super) omitted: u32,
}

impl Planned {
    /// Whether there is nothing to do.
    pub(super) fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.omitted == 0
    }

    /// What is sent to the node.
    pub(super) fn for_node(&self, node: &NodeId) -> Answer<RollbackPlan> {
        let discards = self.action.discard_drift;
        // Discarding needs no list: the digest says what goes.
        let changes = if discards { Vec::new() } else { self.changes.clone() };
        let changes = ChangeSet { changes, chunks: Vec::new() };
        // A node cannot fetch chunks that it did not make itself.
        if (self.omitted > 0 && !discards) || changes.encoded_len() > MAX_PLAN_BYTES {
            return Err(ErrorCode::TooLarge
                .error("the plan has more changes than one message carries")
                .next("roll back to an entry in between first")
                .on(node));
        }
        Ok(RollbackPlan {
            node: node.to_string(),
            changes: Some(changes),
            discard_drift: discards,
            expect_digest: self.action.drift_digest.clone(),
        })
    }

    /// As the caller sees it; `seq`: the entry that it became.
    pub(super) fn shown(self, seq: u64) -> PlannedRollback {
        let (changes, more) = shown(self.changes);
        PlannedRollback {
            scope: Some(v1::Scope::from(&self.scope)),
            changes,
            omitted_changes: self.omitted.saturating_add(more),
            base_seq: self.action.base_seq,
            drift_digest: self.action.drift_digest,
            seq,
        }
    }
}

impl Gateway {
    /// The plan of each scope, and nodes of which there is none.
    pub(super) async fn plan_rollback(
        &self,
        wanted: &Wanted,
        whose: &Whose,
        until: &Until,
    ) -> Answer<(Vec<Planned>, Vec<v1::Error>)> {
        match whose {
            Whose::Vcluster(vcluster) => {
                let scope = Scope::Vcluster(vcluster.clone());
                Ok((vec![self.plan_declared(wanted, scope, Vec::new()).await?], Vec::new()))
            }
            Whose::Nodes(targets) => {
                let work = targets.nodes().map(|node| self.plan_node(wanted, node, until));
                Ok(parted(fanout::all(work.collect()).await))
            }
        }
    }

    async fn plan_node(
        &self,
        wanted: &Wanted,
        target: (&NodeId, &NodeRecord),
        until: &Until,
    ) -> Answer<Planned> {
        let (node, record) = target;
        let scope = Scope::Node(node.clone());
        if wanted.to_seq.is_some() {
            let planned = self.plan_declared(wanted, scope, NO_PLAN.to_vec()).await;
            return planned.map_err(|e| e.on(node));
        }
        let drift = self.drift(target, until, MAX_LISTED_BYTES).await?;
        was_looked_at(node, drift.scanning, &drift.digest)?;
        let action = Rollback {
            scope: Some(v1::Scope::from(&scope)),
            discard_drift: true,
            drift_digest: drift.digest,
            base_seq: record.delta_seq,
            plan_sha256: NO_PLAN.to_vec(),
            message: message(wanted),
            ..Rollback::default()
        };
        let changes = drift.items.into_iter().filter_map(reversed).collect();
        Ok(Planned { scope, action, changes, omitted: drift.omitted_items })
    }

    /// By the journal's own plan. What it would refuse is refused here.
    async fn plan_declared(
        &self,
        wanted: &Wanted,
        scope: Scope,
        plan_sha256: Vec<u8>,
    ) -> Answer<Planned> {
        let wire = v1::Scope::from(&scope);
        let newest = DeclaredRequest { scope: Some(wire.clone()), ..DeclaredRequest::default() };
        let newest: DeclaredReply = self.journal.read("declared", &newest).await?;
        let action = Rollback {
            scope: Some(wire),
            to_seq: wanted.to_seq,
            base_seq: newest.seq,
            plan_sha256,
            message: message(wanted),
            ..Rollback::default()
        };
        let act = v1::Action { action: Some(Act::Rollback(action.clone())) };
        let reply = self.journal_plan(&act).await?;
        let planned = reply.scopes.into_iter().find(|p| p.scope == action.scope);
        // A scope that does not change is not in the plan.
        let (changes, omitted) = match planned {
            Some(planned) => {
                (self.changes(planned.changes.unwrap_or_default()).await?, planned.omitted_changes)
            }
            None => (Vec::new(), 0),
        };
        Ok(Planned { scope, action, changes, omitted })
    }

    /// What the journal would do with an action.
    ///
    /// # Errors
    /// What it would refuse it with.
    pub(in crate::handlers) async fn journal_plan(&self, action: &v1::Action) -> Answer<PlanReply> {
        let request = PlanRequest { action: action.encode_to_vec(), ..PlanRequest::default() };
        let reply: PlanReply = self.journal.read("plan", &request).await?;
        match reply.refused {
            Some(refused) if refused.code.is_empty() => {
                Err(bad_reply("pact-journal", "a refusal has no code"))
            }
            Some(refused) => Err(refused),
            None => Ok(reply),
        }
    }
}

/// Drift as what undoing it does. What is only reported is nobody's to undo.
fn reversed(item: DriftItem) -> Option<Change> {
    if item.report_only {
        return None;
    }
    item.change.map(|change| Change { key: change.key, old: change.new, new: change.old })
}

fn message(wanted: &Wanted) -> String {
    match wanted.to_seq {
        Some(seq) => format!("rollback to entry {seq}"),
        None => "drift discarded".to_owned(),
    }
}

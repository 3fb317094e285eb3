//! What a rollback would do, by the code that does it.
//!
//! A plan is read twice: its beginning, which is shown, for every node; and all of it, when a node is about to get it. What is
//! done is the same, since the action names the newest entry that it is based on.

use pact_journal_client::Journal;
use pact_schemas::convert::Scope;
use pact_schemas::resource::KeyPatterns;
use pact_schemas::resource::change_set::{ChangeSetError, MAX_CHANGES, MAX_ENCODED_BYTES};
use pact_schemas::rpc;
use pact_schemas::v1::{
    self, Change, ChangeSet, DeclaredReply, DeclaredRequest, DriftItem, JudgedScope, NodeRecord,
    PlannedRollback, PlannedScope, Rollback, action::Action as Act,
};
use pact_schemas::{ErrorCode, NodeId};
use prost::Message as _;

use super::{Wanted, Whose};
use crate::ask::changes::shown_within;
use crate::ask::fanout;
use crate::ask::nodes::{Until, parted};
use crate::ask::read;
use crate::commands::diff::{drift, was_looked_at};
use crate::context::Gateway;
use crate::error::{Answer, bad_reply};
use crate::rights::targets::one_judged;

/// Changes that an answer shows, of all scopes together: beyond it gRPC clients refuse the message.
const MAX_SHOWN_BYTES: usize = 2 * 1024 * 1024;

/// Drift of a node that is read to be shown; what is discarded is named by its digest.
const MAX_LISTED_BYTES: usize = 512 * 1024;

/// In place of the digest of a node's plan, which is known once there is one.
pub(super) const NO_PLAN: [u8; 32] = [0; 32];

/// What a message says of it.
const DISCARDED: &str = "drift discarded";

/// The plan of one scope.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) scope: Scope,
    /// As it is proposed, but for the digest of the node's plan.
    pub(super) action: Rollback,
    /// The first changes.
    pub(super) first: Vec<Change>,
    /// Changes after them.
    pub(super) omitted: u32,
    /// Encoded, all of them: at most so many.
    pub(super) size_bytes: usize,
    /// Planned by the right of a platform admin.
    by_admin: bool,
}

impl Planned {
    /// Whether there is nothing to do.
    pub(super) fn is_nothing(&self) -> bool {
        self.count() == 0
    }

    /// All changes.
    fn count(&self) -> usize {
        self.first.len().saturating_add(usize::try_from(self.omitted).unwrap_or(usize::MAX))
    }

    /// As the caller sees it; `seq`: the entry that it became.
    pub(super) fn shown(self, seq: u64) -> PlannedRollback {
        PlannedRollback {
            scope: Some(v1::Scope::from(&self.scope)),
            changes: self.first,
            omitted_changes: self.omitted,
            base_seq: self.action.base_seq,
            drift_digest: self.action.drift_digest,
            seq,
        }
    }
}

/// Drift of one node: what has this digest goes, nothing declared changes. A retry makes the same action of the entry.
pub(super) fn discarding(
    node: &NodeId,
    wanted: &Wanted,
    drift_digest: Vec<u8>,
    judged: Vec<JudgedScope>,
) -> Rollback {
    Rollback {
        scope: Some(v1::Scope::from(&Scope::Node(node.clone()))),
        discard_drift: true,
        drift_digest,
        plan_sha256: NO_PLAN.to_vec(),
        message: discarding_message(wanted),
        judged,
        keys: wanted.keys.clone(),
        ..Rollback::default()
    }
}

/// The plan of each scope, and nodes of which there is none.
pub(super) async fn plan_rollback(
    gateway: &Gateway,
    wanted: &Wanted,
    whose: &Whose,
    until: &Until,
) -> Answer<(Vec<Planned>, Vec<v1::Error>)> {
    match whose {
        Whose::Vcluster(vcluster) => {
            let action = Rollback {
                scope: Some(v1::Scope::from(&Scope::Vcluster(vcluster.clone()))),
                ..Rollback::default()
            };
            Ok((
                vec![plan_declared(&gateway.journal, wanted, action, MAX_SHOWN_BYTES).await?],
                Vec::new(),
            ))
        }
        Whose::Nodes(targets) => {
            let room = MAX_SHOWN_BYTES / targets.set.len().max(1);
            let work = targets.nodes().map(|node| plan_node(gateway, wanted, node, room, until));
            Ok(parted(fanout::all(work.collect()).await))
        }
    }
}

async fn plan_node(
    gateway: &Gateway,
    wanted: &Wanted,
    target: (&NodeId, &NodeRecord),
    room: usize,
    until: &Until,
) -> Answer<Planned> {
    let (node, record) = target;
    let judged = one_judged(node, record)?;
    if wanted.to_seq.is_some() {
        let action = Rollback {
            scope: Some(v1::Scope::from(&Scope::Node(node.clone()))),
            plan_sha256: NO_PLAN.to_vec(),
            judged: judged.clone(),
            ..Rollback::default()
        };
        let planned = plan_declared(&gateway.journal, wanted, action, room).await;
        let planned = planned.map_err(|e| e.on(node))?;
        // What is declared is as it was then. What the node has beside that is drift.
        if !planned.is_nothing() {
            return Ok(planned);
        }
    }
    let drift = drift(&gateway.agents, target, until, room.min(MAX_LISTED_BYTES)).await?;
    was_looked_at(node, drift.scanning, &drift.digest)?;
    let action = discarding(node, wanted, drift.digest, judged);
    let meant = KeyPatterns::parse(&wanted.keys)
        .map_err(|error| ErrorCode::InvalidArgument.error(error.to_string()))?;
    let is_meant = |change: &Change| {
        wanted.keys.is_empty() || change.key.parse().is_ok_and(|key| meant.matches(&key))
    };
    let changes = drift.items.into_iter().filter_map(reversed).filter(is_meant).collect();
    let (first, more) = shown_within(changes, room);
    let omitted = drift.omitted_items.saturating_add(more);
    let (scope, by_admin) = (Scope::Node(node.clone()), wanted.by_admin);
    Ok(Planned { scope, action, first, omitted, size_bytes: 0, by_admin })
}

/// By the journal's own plan. What it would refuse is refused here.
async fn plan_declared(
    journal: &Journal,
    wanted: &Wanted,
    action: Rollback,
    room: usize,
) -> Answer<Planned> {
    let scope = action.scope.as_ref().map(Scope::try_from).transpose();
    let scope = scope.ok().flatten().ok_or_else(|| ErrorCode::Internal.error("no scope"))?;
    // No key begins so: what is asked for is the newest entry alone.
    let newest = DeclaredRequest {
        scope: action.scope.clone(),
        prefix: "/".to_owned(),
        ..DeclaredRequest::default()
    };
    let newest: DeclaredReply = journal.read::<rpc::journal::Declared>(&newest).await?;
    let (to_seq, message) = (wanted.to_seq, message(wanted));
    let keys = wanted.keys.clone();
    let action = Rollback { to_seq, base_seq: newest.seq, message, keys, ..action };
    let page = planned_page(journal, &action, wanted.by_admin, "").await?;
    // A scope that does not change is not in the plan.
    let page = page.unwrap_or_default();
    let changes = page.changes.unwrap_or_default();
    let size_bytes =
        if page.omitted_changes == 0 { changes.encoded_len() } else { MAX_ENCODED_BYTES };
    let (first, more) = shown_within(changes.changes, room);
    let omitted = page.omitted_changes.saturating_add(more);
    Ok(Planned { scope, action, first, omitted, size_bytes, by_admin: wanted.by_admin })
}

/// All changes of a plan, in key order. Whoever asks has room for them.
///
/// # Errors
/// `PACT_CONFLICT` when they are not those that were planned; `PACT_TOO_LARGE` beyond what a scope may declare.
pub(super) async fn whole_plan(journal: &Journal, planned: &Planned) -> Answer<ChangeSet> {
    let (mut whole, mut bytes, mut after) = (Vec::<Change>::new(), 0, String::new());
    loop {
        let page = planned_page(journal, &planned.action, planned.by_admin, &after)
            .await?
            .unwrap_or_default();
        let changes = page.changes.unwrap_or_default();
        bytes += changes.encoded_len();
        whole.extend(changes.changes);
        if bytes > MAX_ENCODED_BYTES || whole.len() > MAX_CHANGES {
            let error = ChangeSetError::TooLarge { bytes };
            return Err(ErrorCode::TooLarge
                .error(error.to_string())
                .next("roll back to an entry in between first"));
        }
        if page.omitted_changes == 0 {
            break;
        }
        // Pages ascend, so the loop ends.
        match whole.last().map(|change| change.key.clone()) {
            Some(last) if last > after => after = last,
            _ => return Err(bad_reply("pact-journal", "pages of a plan do not ascend")),
        }
    }
    if whole.len() != planned.count() {
        return Err(changed_meanwhile());
    }
    Ok(ChangeSet { changes: whole, chunks: Vec::new() })
}

/// The changes of the action's scope after a key.
async fn planned_page(
    journal: &Journal,
    action: &Rollback,
    by_platform_admin: bool,
    after: &str,
) -> Answer<Option<PlannedScope>> {
    let act = v1::Action::from(Act::Rollback(action.clone()));
    let plan = read::accepted(read::plan(journal, &act, by_platform_admin, after).await?)?;
    Ok(plan.scopes.into_iter().find(|planned| planned.scope == action.scope))
}

fn changed_meanwhile() -> v1::Error {
    ErrorCode::Conflict
        .error("the plan is not the one that was shown")
        .because("something was declared, or ended, since then")
        .next("run the command again and look at its plan")
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
        None => DISCARDED.to_owned(),
    }
}

fn discarding_message(wanted: &Wanted) -> String {
    match wanted.to_seq {
        Some(_) => format!("{}: {DISCARDED}", message(wanted)),
        None => message(wanted),
    }
}

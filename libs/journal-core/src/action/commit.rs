//! `commit`: the drift of one node becomes its delta.

use pact_schemas::convert::{Scope, bytes, id};
use pact_schemas::resource::{Change, FileKind, Value, change_set};
use pact_schemas::v1::{self, CommitDelta, EntryKind, entry};
use pact_schemas::{NodeId, Ttl, VclusterId};

use super::{Asked, Origin, Rules, Terms, Trial};
use crate::checks::{SHOWN_KEYS, declarable, message, named, read_changes, shown};
use crate::declared::{Declared, DeclaredScope};
use crate::planned::Planned;
use crate::record::Uploader;
use crate::refusal::Refusal;
use crate::rights::{gives_no_root, is_platform_admin, one_person_suffices};
use crate::working::{Draft, Working};

impl Rules for CommitDelta {
    fn origin(&self) -> Origin {
        Origin::Gateway(&["commit"])
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        let planned = [plan(work, self, asked.time_nanos)?];
        gives_no_root(work, is_platform_admin(asked.command), &planned)?;
        planned.iter().try_for_each(|planned| carry_out(work, self, planned))?;
        Ok(Terms::NONE)
    }

    fn try_out(
        &self,
        work: &mut Working<'_>,
        trial: Trial,
        scopes: &mut Vec<Planned>,
    ) -> Result<(), Refusal> {
        *scopes = vec![plan(work, self, trial.time_nanos)?];
        gives_no_root(work, trial.by_platform_admin, scopes)?;
        scopes.iter().try_for_each(|planned| carry_out(work, self, planned))
    }
}

/// What becomes of the node's delta. `old` is what the node compared with.
fn plan(work: &Working<'_>, commit: &CommitDelta, time_nanos: i64) -> Result<Planned, Refusal> {
    let node: NodeId = id(&commit.node, "CommitDelta.node")?;
    let seen: VclusterId = id(&commit.vcluster, "CommitDelta.vcluster")?;
    bytes::<32>(&commit.drift_digest, "CommitDelta.drift_digest")?;
    let (_, vcluster) = work.assigned(&node)?;
    if vcluster != seen {
        return Err(Refusal::OtherVcluster { node, seen, vcluster });
    }
    one_person_suffices(work, &vcluster)?;
    let expires_nanos = commit.ttl_seconds.map(|ttl| end_of(ttl, time_nanos)).transpose()?;
    let by = Uploader::Node(node.clone());
    let changes = read_changes(work, &by, commit.changes.as_ref(), "CommitDelta.changes")?;
    if changes.is_empty() {
        return Err(Refusal::Argument { field: "CommitDelta.changes", rule: "must hold a change" });
    }
    let delta = DeclaredScope::Delta(vcluster.clone(), node.clone());
    for scope in [&delta, &DeclaredScope::Overlay(vcluster)] {
        unchanged_since(work, scope, &changes, &node, commit.base_seq)?;
    }
    let mut rows = Vec::with_capacity(changes.len());
    for change in &changes {
        let value = change.new.clone().ok_or(Refusal::Argument {
            field: "CommitDelta.changes",
            rule: "must say what becomes declared, if only that it is absent",
        })?;
        declarable(work, &by, &change.key, &value)?;
        rows.push((change.key.clone(), Declared { value: Some(value), expires_nanos }));
    }
    change_set::check(&changes)?;
    Ok(Planned::rows(delta, changes, rows))
}

fn end_of(ttl_seconds: u64, time_nanos: i64) -> Result<i64, Refusal> {
    let ttl = Ttl::try_from(ttl_seconds).map_err(Refusal::argument)?;
    ttl.end(time_nanos)
        .ok_or(Refusal::Argument { field: "ttl_seconds", rule: "ends after all time" })
}

/// Compare and set, key by key: whoever changed another key meanwhile is in nobody's way.
fn unchanged_since(
    work: &Working<'_>,
    scope: &DeclaredScope,
    changes: &[Change],
    node: &NodeId,
    base_seq: u64,
) -> Result<(), Refusal> {
    if work.scope_mark(scope).seq <= base_seq {
        return Ok(());
    }
    let newer: Vec<(&Change, u64)> = changes
        .iter()
        .map(|change| (change, work.declared_seq(scope, &change.key)))
        .filter(|(_, seq)| *seq > base_seq)
        .collect();
    if newer.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<String> = newer
        .iter()
        .take(SHOWN_KEYS)
        .map(|(change, seq)| format!("{} (entry {seq})", shown(&change.key)))
        .collect();
    if newer.len() > SHOWN_KEYS {
        keys.push(format!("and {} more", newer.len() - SHOWN_KEYS));
    }
    Err(Refusal::KeysChanged { node: node.clone(), base_seq, keys: keys.join(", ") })
}

/// Carries a plan out.
fn carry_out(
    work: &mut Working<'_>,
    commit: &CommitDelta,
    planned: &Planned,
) -> Result<(), Refusal> {
    let Some(DeclaredScope::Delta(vcluster, node)) = &planned.into else { return Ok(()) };
    let count = planned.changes.len();
    let text = message(&commit.message, format!("{count} keys of node {node} committed"))?;
    let digest_only = planned.changes.iter().filter(|c| c.new.as_ref().is_some_and(is_digest_only));
    let mut draft = Draft::new(
        EntryKind::Commit,
        Scope::Node(node.clone()),
        text,
        entry::Payload::DeltaCommitted(v1::DeltaCommitted {
            node: node.to_string(),
            vcluster: vcluster.to_string(),
            drift_digest: commit.drift_digest.clone(),
            not_restorable: named(digest_only.map(|change| &change.key)),
        }),
    );
    draft.ttl_seconds = commit.ttl_seconds;
    work.attach(&mut draft, &planned.changes)?;
    let scope = DeclaredScope::Delta(vcluster.clone(), node.clone());
    let seq = work.draft(draft);
    work.declare(&scope, seq, planned.rows.clone())
}

/// May be accepted, never restored: only a digest is known.
fn is_digest_only(value: &Value) -> bool {
    match value {
        Value::Withheld(_) => true,
        Value::File(file) => file.kind == FileKind::Regular && !file.content_kept,
        _ => false,
    }
}

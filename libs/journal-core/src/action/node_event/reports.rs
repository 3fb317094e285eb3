//! What nodes report of drift, of what they undid, of what held them up, and of conflicts.

use pact_schemas::NodeId;
use pact_schemas::convert::{self, Scope, WireError, bytes, enumeration, required};
use pact_schemas::resource::Change;
use pact_schemas::v1::{
    self, ConflictChanged, ConflictDecision, ConvergeReason, Converged, Deferred, DriftChanged,
    EntryKind, Holder, NodeDrift, NodeRecord, WindowState, WindowStatus, entry,
};
use prost::Message as _;

use crate::refusal::Refusal;
use crate::working::{Draft, Working};

/// Changes of one report; what there is more is counted.
const MAX_CHANGES: usize = 256;
/// Holders of one report.
const MAX_HOLDERS: usize = 256;
/// Longest text of a holder, or key that is named.
const MAX_TEXT_BYTES: usize = 4_096;
/// Bytes of a drift report without its changes: it stands in the node's record, of which pages are
/// made. Holders that do not fit are left out.
const MAX_DRIFT_BYTES: usize = 64 * 1024;

/// The node's drift or its window is another: recorded, and shown in its record.
pub(super) fn drift_changed(
    work: &mut Working<'_>,
    node: &NodeId,
    report: &DriftChanged,
    record: &mut NodeRecord,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let mut drift = required(report.drift.as_ref(), "DriftChanged.drift")?.clone();
    check_drift(&drift)?;
    // A refusal would hold up the node's spool for ever; the node itself says who all of them are.
    while drift.encoded_len() > MAX_DRIFT_BYTES
        && drift.window.as_mut().and_then(|window| window.holders.pop()).is_some()
    {}
    let changes = read(&report.changes)?;
    // A node without plane time does not say when.
    drift.reported = drift.reported.or(Some(convert::timestamp(time_nanos)));
    record.drift = Some(drift.clone());
    let (kind, message) = if drift.keys > 0 {
        (EntryKind::DriftDetected, format!("node {node} drifted in {} keys", drift.keys))
    } else {
        (EntryKind::DriftResolved, format!("node {node} is as declared"))
    };
    let payload = entry::Payload::DriftReport(v1::DriftReport {
        node: node.to_string(),
        drift: Some(drift),
        omitted_changes: report.omitted_changes,
    });
    let mut draft = Draft::new(kind, Scope::Node(node.clone()), message, payload);
    work.attach(&mut draft, &changes)?;
    work.draft(draft);
    Ok(())
}

/// The node undid drift by itself.
pub(super) fn converged(
    work: &mut Working<'_>,
    node: &NodeId,
    report: &Converged,
) -> Result<(), Refusal> {
    let reason: ConvergeReason = enumeration(report.reason, "Converged.reason")?;
    let changes = read(&report.changes)?;
    let count = changes.len() as u64 + u64::from(report.omitted_changes);
    let mut draft = Draft::new(
        EntryKind::AutoConverge,
        Scope::Node(node.clone()),
        format!("node {node} undid {count} changes"),
        entry::Payload::AutoConverged(v1::AutoConverged {
            node: node.to_string(),
            reason: reason.into(),
        }),
    );
    work.attach(&mut draft, &changes)?;
    work.draft(draft);
    Ok(())
}

/// The node could not undo everything. `false` when it names a rollback that was not asked of it.
pub(super) fn deferred(
    work: &mut Working<'_>,
    node: &NodeId,
    report: &Deferred,
) -> Result<bool, Refusal> {
    check_holders(&report.holders)?;
    let names = &report.not_restorable;
    if names.len() > MAX_CHANGES || names.iter().any(|n| n.is_empty() || n.len() > MAX_TEXT_BYTES) {
        return Err(bounds("Deferred.not_restorable", "names more than 256 keys of 4 KiB"));
    }
    if report.rollback_seq.is_some_and(|seq| !was_asked(work, node, seq)) {
        return Ok(false);
    }
    let mut draft = Draft::new(
        EntryKind::RollbackDeferred,
        Scope::Node(node.clone()),
        format!(
            "node {node} waits for {} holders, {} keys cannot be restored",
            report.holders.len(),
            names.len()
        ),
        entry::Payload::RollbackDeferred(v1::RollbackDeferred {
            node: node.to_string(),
            rollback_seq: report.rollback_seq,
            holders: report.holders.clone(),
            not_restorable: names.clone(),
        }),
    );
    if let Some(seq) = report.rollback_seq {
        draft = work.outcome_of(seq, node, draft);
    }
    let parent = report.rollback_seq.filter(|parent| work.outcome(*parent, node).is_none());
    let seq = work.draft(draft);
    if let Some(parent) = parent {
        work.staged.outcomes.insert((parent, node.clone()), seq);
    }
    Ok(true)
}

/// Whether a rollback concerns a node: its own, or that of a vCluster, whose nodes come and go.
fn was_asked(work: &Working<'_>, node: &NodeId, seq: u64) -> bool {
    let Some(entry) = work.entry(seq) else { return false };
    let is_rollback = matches!(entry.payload, Some(entry::Payload::RollbackDone(_)));
    let scope = entry.scope.as_ref().and_then(|scope| Scope::try_from(scope).ok());
    let concerns = match scope {
        Some(Scope::Node(of)) => of == *node,
        Some(Scope::Vcluster(_)) => true,
        Some(Scope::Global) | None => false,
    };
    is_rollback && concerns
}

/// Node and journal both changed something, or that was decided.
pub(super) fn conflict_changed(
    work: &mut Working<'_>,
    node: &NodeId,
    report: &ConflictChanged,
) -> Result<(), Refusal> {
    let decision: ConflictDecision = enumeration(report.decision, "ConflictChanged.decision")?;
    let changes = read(&report.changes)?;
    let count = changes.len();
    let (kind, message) = match decision {
        ConflictDecision::Unspecified | ConflictDecision::Pending => (
            EntryKind::ConflictDetected,
            format!("node {node} and the journal both changed {count} keys"),
        ),
        ConflictDecision::Local => (
            EntryKind::ConflictResolved,
            format!("node {node} keeps its own values of {count} keys"),
        ),
        ConflictDecision::Journal => (
            EntryKind::ConflictResolved,
            format!("node {node} takes the journal's values of {count} keys"),
        ),
        ConflictDecision::GraceEnded => (
            EntryKind::ConflictResolved,
            format!("nobody decided: node {node} takes the journal's values of {count} keys"),
        ),
    };
    let payload = entry::Payload::MergeConflict(v1::MergeConflict {
        node: node.to_string(),
        decision: decision.into(),
    });
    let mut draft = Draft::new(kind, Scope::Node(node.clone()), message, payload);
    work.attach(&mut draft, &changes)?;
    work.draft(draft);
    Ok(())
}

fn bounds(field: &'static str, rule: &'static str) -> Refusal {
    Refusal::Wire(WireError::Bounds { field, rule })
}

fn read(changes: &[v1::Change]) -> Result<Vec<Change>, Refusal> {
    if changes.len() > MAX_CHANGES {
        return Err(bounds("NodeEvent.changes", "are more than 256"));
    }
    Ok(changes.iter().cloned().map(Change::try_from).collect::<Result<_, _>>()?)
}

fn check_drift(drift: &NodeDrift) -> Result<(), Refusal> {
    // Without any difference there is nothing to have a digest of.
    let is_clean = drift.keys == 0 && drift.report_only_keys == 0;
    if !(is_clean && drift.digest.is_empty()) {
        bytes::<32>(&drift.digest, "NodeDrift.digest")?;
    }
    check_window(required(drift.window.as_ref(), "NodeDrift.window")?)?;
    optional_time(drift.reported.as_ref(), "NodeDrift.reported")
}

fn check_window(window: &WindowStatus) -> Result<(), Refusal> {
    let _known: WindowState = enumeration(window.state, "WindowStatus.state")?;
    if !window.magnitude.is_finite() || window.magnitude < 0.0 {
        return Err(bounds("WindowStatus.magnitude", "is no number from 0"));
    }
    optional_time(window.opened.as_ref(), "WindowStatus.opened")?;
    optional_time(window.deadline.as_ref(), "WindowStatus.deadline")?;
    check_holders(&window.holders)
}

fn optional_time(
    time: Option<&prost_types::Timestamp>,
    field: &'static str,
) -> Result<(), Refusal> {
    if time.is_some() {
        convert::unix_nanos(time, field)?;
    }
    Ok(())
}

fn check_holders(holders: &[Holder]) -> Result<(), Refusal> {
    let fits = |holder: &Holder| {
        [&holder.key, &holder.command, &holder.how].iter().all(|t| t.len() <= MAX_TEXT_BYTES)
    };
    if holders.len() > MAX_HOLDERS || !holders.iter().all(fits) {
        return Err(bounds("holders", "are more than 256, or have texts of more than 4 KiB"));
    }
    Ok(())
}

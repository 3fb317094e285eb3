//! What nodes report: spooled events, once each and in order.

mod capability;
mod exec_ended;
mod reports;

use pact_schemas::convert::{self, Scope, id, required};
use pact_schemas::v1::{self, EntryKind, NodeEvent, NodeRecord, entry, node_event};
use pact_schemas::{ErrorCode, NodeId, SpoolId};

use super::{Asked, Origin, Rules, Terms};
use crate::placement::{self, Moment};
use crate::record::{Unnamed, Uploader};
use crate::refusal::Refusal;
use crate::working::{Draft, Working};

impl Rules for NodeEvent {
    fn origin(&self) -> Origin {
        Origin::Unproposed
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        take(work, self, asked.time_nanos)?;
        Ok(Terms::NONE)
    }
}

/// Takes the next event of a node's spool; an event that is committed already makes nothing.
fn take(work: &mut Working<'_>, event: &NodeEvent, time_nanos: i64) -> Result<(), Refusal> {
    let node: NodeId = id(&event.node, "NodeEvent.node")?;
    let spool: SpoolId = id(&event.spool_id, "NodeEvent.spool_id")?;
    let recorded = convert::unix_nanos(event.recorded.as_ref(), "NodeEvent.recorded")?;
    let body = required(event.body.as_ref(), "NodeEvent.body")?;
    let record = work.live(&node)?;
    let then = placement::at(&record, Moment::Time(recorded))?;
    let committed = work.spool_mark(&node, &spool).unwrap_or(0);
    if event.number == 0 {
        return Err(Refusal::Argument { field: "NodeEvent.number", rule: "must be at least 1" });
    }
    if event.number <= committed {
        return Ok(());
    }
    // A spool that is not known begins at 1: whatever it held before is lost, and the agent is told
    // by this refusal.
    if event.number != committed + 1 {
        return Err(Refusal::SpoolGap { node, expected: committed + 1, received: event.number });
    }
    let mut record =
        NodeRecord { spool_id: Some(spool.to_string()), spool_number: event.number, ..record };
    match body {
        node_event::Body::ExecEnded(report) => exec_ended::take(work, &node, report)?,
        node_event::Body::CapabilityChange(change) => {
            capability::take(work, &node, change, &mut record, time_nanos)?
        }
        node_event::Body::DriftChanged(report) => {
            reports::drift_changed(work, &node, report, &mut record, time_nanos)?
        }
        node_event::Body::Converged(report) => reports::converged(work, &node, report)?,
        node_event::Body::Deferred(report) => {
            if !reports::deferred(work, &node, report)? {
                let seq = report.rollback_seq.unwrap_or(0);
                not_asked(work, &node, "deferred", format!("entry {seq} is no rollback of it"));
            }
        }
        node_event::Body::ConflictChanged(report) => {
            reports::conflict_changed(work, &node, report)?
        }
    }
    work.tell_of(then.as_ref());
    work.staged.nodes.insert(node.clone(), record);
    work.staged.spools.insert((node, spool), event.number);
    Ok(())
}

fn not_asked(work: &mut Working<'_>, node: &NodeId, what: &'static str, reason: String) {
    let message = format!("node {node} reported what it was not asked for: {what}");
    denied(work, node, what, ErrorCode::GrantForOther, message, reason);
}

/// A report names chunks that the node itself never sent: whoever knows a digest alone does not get
/// the bytes shown.
fn not_sent(work: &mut Working<'_>, node: &NodeId, what: &'static str, report: &str) {
    let message = format!("node {node} named recordings that it has not sent: {what}");
    let reason = format!("{report} chunks that this node has not sent; they are left out");
    denied(work, node, what, ErrorCode::BadSignature, message, reason);
}

/// The spool must go on, and the claim must be seen.
fn denied(
    work: &mut Working<'_>,
    node: &NodeId,
    what: &'static str,
    code: ErrorCode,
    message: String,
    reason: String,
) {
    let target = node.to_string();
    let denied = v1::Denied { operation: what.to_owned(), target, code: code.to_string(), reason };
    let scope = Scope::Node(node.clone());
    work.draft(Draft::new(EntryKind::Denied, scope, message, entry::Payload::Denied(denied)));
}

/// An event of the node was taken that names chunks: it means to use what it sends.
fn named(work: &mut Working<'_>, node: &NodeId) {
    if work.unnamed(node).is_some_and(|unnamed| unnamed.bytes > 0) {
        work.staged.unnamed.insert(node.clone(), Unnamed::default());
    }
}

/// Whether the node itself has sent a chunk that it names.
fn is_own(work: &Working<'_>, node: &NodeId, chunk: Option<&v1::BlobRef>) -> bool {
    let sha256 = chunk.and_then(|chunk| chunk.sha256.as_slice().try_into().ok());
    sha256.is_some_and(|sha256| work.has_uploaded(&sha256, &Uploader::Node(node.clone())))
}

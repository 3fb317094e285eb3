//! What nodes report: spooled events, once each and in order, and recorded chunks.

use std::collections::BTreeSet;

use pact_schemas::convert::{self, Scope, bytes, id, required};
use pact_schemas::v1::{
    self, CapabilityChange, Command, EntryKind, NodeEvent, NodeRecord, PrincipalKind, PutBlob,
    entry, node_event,
};
use pact_schemas::{ErrorCode, NodeId, SpoolId};

use super::declared::reports;
use super::exec::{self, Report};
use super::nodes::state_of;
use super::records::{Blob, Unnamed, Uploader, sha256};
use super::refusal::Refusal;
use super::working::{Draft, Working};

/// Largest chunk before compression.
pub(crate) const MAX_CHUNK_BYTES: u32 = 256 * 1024;
/// Chunks of a capability report: 16 MiB.
const MAX_REPORT_CHUNKS: usize = 64;
/// Bytes of a node's chunks, compressed, that no event has named: twice what an agent keeps for the journal at most.
const MAX_UNNAMED_BYTES: u64 = 512 * 1024 * 1024;
/// What a chunk costs that is stored already: the row that says who else has sent it.
const UPLOAD_BYTES: u64 = 128;
/// For so long they count. An agent that lost its spool never names what it had sent, and must not be shut out for ever.
const UNNAMED_COUNTS_NANOS: i64 = 24 * 3_600 * 1_000_000_000;

/// Takes the next event of a node's spool; an event that is committed already makes nothing.
pub(crate) fn event(
    work: &mut Working<'_>,
    event: &NodeEvent,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let node: NodeId = id(&event.node, "NodeEvent.node")?;
    let spool: SpoolId = id(&event.spool_id, "NodeEvent.spool_id")?;
    convert::unix_nanos(event.recorded.as_ref(), "NodeEvent.recorded")?;
    let body = required(event.body.as_ref(), "NodeEvent.body")?;
    let record = work.node(&node).ok_or_else(|| Refusal::UnknownNode { node: node.clone() })?;
    if state_of(&record) == v1::NodeState::Revoked {
        return Err(Refusal::Revoked { node });
    }
    let committed = work.spool_mark(&node, &spool).unwrap_or(0);
    if event.number == 0 {
        return Err(Refusal::Argument { field: "NodeEvent.number", rule: "must be at least 1" });
    }
    if event.number <= committed {
        return Ok(());
    }
    // A spool that is not known begins at 1: whatever it held before is lost, and the agent is told by this refusal.
    if event.number != committed + 1 {
        return Err(Refusal::SpoolGap { node, expected: committed + 1, received: event.number });
    }
    let mut record =
        NodeRecord { spool_id: Some(spool.to_string()), spool_number: event.number, ..record };
    match body {
        node_event::Body::ExecEnded(ended) => match exec::ended(work, &node, ended)? {
            Report::Finished(draft) => {
                let output = ended.finished.iter().flat_map(|finished| &finished.output);
                let own = output.map(|segment| exec::is_own(work, &node, segment.blob.as_ref()));
                let own: BTreeSet<bool> = own.collect();
                if own.contains(&true) {
                    named(work, &node);
                }
                let seq = work.draft(*draft);
                if own.contains(&false) {
                    let reason = format!("its report about entry {} names", ended.grant_seq);
                    not_sent(work, &node, "exec_ended", &reason);
                }
                work.staged.outcomes.insert((ended.grant_seq, node.clone()), seq);
            }
            Report::Repeated => {}
            Report::NotGranted => {
                let reason = format!("entry {} asks this node for no run", ended.grant_seq);
                not_asked(work, &node, "exec_ended", reason);
            }
        },
        node_event::Body::CapabilityChange(change) => {
            capability(work, &node, change, &mut record, time_nanos)?
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
    work.staged.nodes.insert(node.clone(), record);
    work.staged.spools.insert((node, spool), event.number);
    Ok(())
}

fn not_asked(work: &mut Working<'_>, node: &NodeId, what: &'static str, reason: String) {
    let message = format!("node {node} reported what it was not asked for: {what}");
    denied(work, node, what, ErrorCode::GrantForOther, message, reason);
}

/// A report names chunks that the node itself never sent: whoever knows a digest alone does not get the bytes shown.
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

fn capability(
    work: &mut Working<'_>,
    node: &NodeId,
    change: &CapabilityChange,
    record: &mut NodeRecord,
    time_nanos: i64,
) -> Result<(), Refusal> {
    if change.report.is_empty() || change.report.len() > MAX_REPORT_CHUNKS {
        return Err(Refusal::Argument {
            field: "CapabilityChange.report",
            rule: "must have 1 to 64 chunks",
        });
    }
    for chunk in &change.report {
        bytes::<32>(&chunk.sha256, "BlobRef.sha256")?;
    }
    if !change.report.iter().all(|chunk| exec::is_own(work, node, Some(chunk))) {
        not_sent(work, node, "capability_change", "its capability report names");
        return Ok(());
    }
    named(work, node);
    record.capability.clone_from(&change.report);
    record.capability_time = Some(convert::timestamp(time_nanos));
    let payload = CapabilityChange { node: node.to_string(), report: change.report.clone() };
    work.draft(Draft::new(
        EntryKind::CapabilityChange,
        Scope::Node(node.clone()),
        format!("capabilities of node {node} reported"),
        entry::Payload::CapabilityChange(payload),
    ));
    Ok(())
}

/// Stores a chunk under its hash, with who sent it; what is so already makes nothing.
pub(crate) fn put_blob(
    work: &mut Working<'_>,
    command: &Command,
    blob: &PutBlob,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let hash = hash_of(blob)?;
    let is_stored = work.has_blob(&hash);
    let by = node_of(command).map_or(Uploader::Gateways, Uploader::Node);
    if is_stored && work.has_uploaded(&hash, &by) {
        return Ok(());
    }
    if let Uploader::Node(node) = &by {
        let bytes = if is_stored { UPLOAD_BYTES } else { blob.compressed.len() as u64 };
        count_unnamed(work, node.clone(), bytes, time_nanos)?;
    }
    if !is_stored {
        let stored = Blob { compressed: blob.compressed.clone(), size_bytes: blob.size_bytes };
        work.staged.blobs.insert(hash, stored);
    }
    work.staged.uploads.insert((hash, by));
    Ok(())
}

/// The node that a command comes from, if it is from one.
fn node_of(command: &Command) -> Option<NodeId> {
    let author = command.author.as_ref()?;
    let is_node = author.kind == i32::from(PrincipalKind::Node);
    author.subject.strip_prefix("node:").filter(|_| is_node)?.parse().ok()
}

/// A node sends the chunks of an event before the event. What it sends without ever naming it belongs to nothing, and is bounded.
fn count_unnamed(
    work: &mut Working<'_>,
    node: NodeId,
    bytes: u64,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let record = work.node(&node).ok_or_else(|| Refusal::UnknownNode { node: node.clone() })?;
    if state_of(&record) == v1::NodeState::Revoked {
        return Err(Refusal::Revoked { node });
    }
    let counts = |unnamed: &Unnamed| {
        unnamed.bytes > 0 && time_nanos.saturating_sub(unnamed.since_nanos) < UNNAMED_COUNTS_NANOS
    };
    let before = work.unnamed(&node).filter(counts);
    let before = before.unwrap_or(Unnamed { bytes: 0, since_nanos: time_nanos });
    let bytes = before.bytes.saturating_add(bytes);
    if bytes > MAX_UNNAMED_BYTES {
        return Err(Refusal::TooMuchUnnamed { node });
    }
    work.staged.unnamed.insert(node, Unnamed { bytes, ..before });
    Ok(())
}

/// An event of the node was taken that names chunks: it means to use what it sends.
fn named(work: &mut Working<'_>, node: &NodeId) {
    if work.unnamed(node).is_some_and(|unnamed| unnamed.bytes > 0) {
        work.staged.unnamed.insert(node.clone(), Unnamed::default());
    }
}

/// Whether the bytes of a chunk have its hash. The proposer asks too, so that nothing false is replicated.
///
/// # Errors
/// Says what is wrong with the chunk.
pub fn check_blob(blob: &PutBlob) -> Result<(), v1::Error> {
    hash_of(blob).map(drop).map_err(v1::Error::from)
}

/// The hash of a chunk whose bytes have it.
fn hash_of(blob: &PutBlob) -> Result<[u8; 32], Refusal> {
    let claimed: [u8; 32] = bytes(&blob.sha256, "PutBlob.sha256")?;
    if blob.size_bytes > MAX_CHUNK_BYTES {
        return Err(Refusal::Argument {
            field: "PutBlob.size_bytes",
            rule: "must be at most 262144",
        });
    }
    let room = usize::try_from(blob.size_bytes).unwrap_or(0);
    let plain =
        zstd::bulk::decompress(&blob.compressed, room).map_err(|_| Refusal::BlobMismatch)?;
    if plain.len() != room || sha256(&[&plain]) != claimed {
        return Err(Refusal::BlobMismatch);
    }
    Ok(claimed)
}

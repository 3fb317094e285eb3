//! What the node can do.

use pact_schemas::NodeId;
use pact_schemas::convert::{self, Scope, bytes};
use pact_schemas::v1::{CapabilityChange, EntryKind, NodeRecord, entry};

use super::{is_own, named, not_sent};
use crate::refusal::Refusal;
use crate::working::{Draft, Working};

/// Chunks of a capability report: 16 MiB.
const MAX_REPORT_CHUNKS: usize = 64;

/// Takes a report that is whole chunks of the node's own.
pub(super) fn take(
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
    if !change.report.iter().all(|chunk| is_own(work, node, Some(chunk))) {
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

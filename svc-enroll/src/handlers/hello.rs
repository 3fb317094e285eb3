//! Signs of life, and who was heard of.

use pact_bus::RequestContext;
use pact_schemas::convert::{self, WireError, id};
use pact_schemas::{Mode, NodeId, v1};

use super::sender;
use crate::context::Shared;
use crate::core::liveness::Heard;
use crate::sweep::return_to_active;

/// Nodes in one liveness report; about 100 bytes each, far below a message. Ask for more in pages.
const MAX_REPORTED: usize = 4_096;

pub(super) async fn hello(
    enrolment: Shared,
    context: RequestContext,
    request: v1::Hello,
) -> Result<v1::HelloReply, v1::Error> {
    let node = sender(&context)?;
    let (now, wall) = (enrolment.clock.monotonic(), enrolment.clock.now());
    let was_inactive = enrolment.liveness().hello(&node, Heard::new(request, wall)?, now);
    if was_inactive {
        return_to_active(&enrolment, &node).await;
    }
    Ok(v1::HelloReply {})
}

pub(super) async fn report(
    enrolment: Shared,
    _context: RequestContext,
    request: v1::LivenessRequest,
) -> Result<v1::LivenessReply, v1::Error> {
    if request.nodes.len() > MAX_REPORTED {
        let rule = "may name 4,096 nodes at once";
        return Err(WireError::Bounds { field: "LivenessRequest.nodes", rule }.into());
    }
    let nodes: Vec<NodeId> = request
        .nodes
        .iter()
        .map(|node| id(node, "LivenessRequest.nodes"))
        .collect::<Result<_, WireError>>()?;
    let report = enrolment.liveness().report(&nodes);
    let nodes = report.into_iter().take(MAX_REPORTED).map(|(node, heard)| v1::NodeSeen {
        node: node.to_string(),
        last_hello: Some(convert::timestamp(heard.wall.unix_nanos())),
        boot_id: heard.boot_id,
        whitelist_mode: heard.whitelist_mode,
        enforcement_mode: heard.enforcement_mode.map_or("", Mode::as_str).to_owned(),
    });
    Ok(v1::LivenessReply { nodes: nodes.collect() })
}

//! `node enroll|assign|unassign|move|list|inspect`.

use std::collections::BTreeSet;

use pact_schemas::v1::{
    self, AssignMode, AssignOperation, NodeRecord, NodesRequest, action::Action as Act,
};
use pact_schemas::{ErrorCode, HardwareIdentity, NodeId, NodeState, VclusterId, convert};

use super::status::node_status;
use crate::ask::request::RequestKey;
use crate::context::Gateway;
use crate::door::tokens::{Caller, is_ops_anywhere, sight};
use crate::error::{Answer, bad_request};
use crate::rights::authorise::{Asked, operation};
use crate::rights::targets;

pub(super) async fn enroll_node(
    gateway: &Gateway,
    caller: Caller,
    request: v1::EnrollNodeRequest,
) -> Answer<v1::EnrollNodeReply> {
    let key = RequestKey::of("node.enroll", &request.request_id, &request)?;
    let node: NodeId = convert::id(&request.node, "EnrollNodeRequest.node").map_err(bad_request)?;
    let identity = convert::required(request.identity.as_ref(), "EnrollNodeRequest.identity")
        .map_err(bad_request)?;
    let identity = HardwareIdentity::try_from(identity)
        .map_err(|error| ErrorCode::InvalidArgument.error(error.to_string()).on(&node))?;
    if identity.is_empty() {
        return Err(ErrorCode::InvalidArgument
            .error(format!("nothing was given by which {node} is recognised"))
            .next("give --mac, --bmc-serial or --hardware-id"));
    }
    // Whose node it is, should it exist: whoever replaces its identity becomes it.
    let there = targets::named(&gateway.journal, &BTreeSet::from([node.clone()]), false).await?;
    let there = (!there.is_empty()).then(|| targets::targets_of(there)).transpose()?;
    let asked = Asked { targets: there.as_ref(), ..Asked::of(operation("node.enroll")?) };
    let permit = gateway.rights.authorise(&caller, asked).await?;
    let register = v1::RegisterNode {
        node: node.to_string(),
        identity: Some((&identity).into()),
        replace: request.replace,
        judged: there.map_or(Ok(Vec::new()), |node| node.judged())?,
    };
    let (done, _) = gateway.proposals.commit(&permit, key, Act::RegisterNode(register)).await?;
    Ok(v1::EnrollNodeReply { seq: done.first_seq })
}

pub(super) async fn assign_node(
    gateway: &Gateway,
    caller: Caller,
    request: v1::AssignNodeRequest,
) -> Answer<v1::AssignNodeReply> {
    let key = RequestKey::of("node.assign", &request.request_id, &request)?;
    let wanted: AssignOperation =
        convert::enumeration(request.operation, "AssignNodeRequest.operation")
            .map_err(bad_request)?;
    let vcluster: Option<VclusterId> = request
        .vcluster
        .as_deref()
        .map(|name| convert::id(name, "AssignNodeRequest.vcluster"))
        .transpose()
        .map_err(bad_request)?;
    let (name, mode) = match (wanted, &vcluster) {
        (AssignOperation::Assign, Some(_)) => ("node.assign", AssignMode::Assign),
        (AssignOperation::Move, Some(_)) => ("node.move", AssignMode::Move),
        (AssignOperation::Unassign, None) => ("node.unassign", AssignMode::Unassign),
        _ => {
            return Err(ErrorCode::InvalidArgument
                .error("assign and move need the vCluster to go to, unassign takes none"));
        }
    };
    let targets = targets::resolve(&gateway.journal, &request.targets, &request.exclude).await?;
    let asked = Asked::of(operation(name)?).on(&targets).within(vcluster.clone());
    let permit = gateway.rights.authorise(&caller, asked).await?;
    let assign = v1::AssignNode {
        targets: targets.folded()?,
        vcluster: vcluster.map(|v| v.to_string()),
        mode: mode.into(),
        judged: targets.judged()?,
    };
    let (done, _) = gateway.proposals.commit(&permit, key, Act::AssignNode(assign)).await?;
    Ok(v1::AssignNodeReply {
        first_seq: done.first_seq,
        last_seq: done.last_seq,
        nodes: targets.set.iter().map(ToString::to_string).collect(),
    })
}

pub(super) async fn list_nodes(
    gateway: &Gateway,
    caller: Caller,
    request: v1::ListNodesRequest,
) -> Answer<v1::ListNodesReply> {
    let state = request.state.map(|s| NodeState::from_wire(s, "ListNodesRequest.state"));
    let state = state.transpose().map_err(bad_request)?;
    gateway.rights.authorise(&caller, Asked::of(operation("node.list")?)).await?;
    let request = NodesRequest {
        vcluster: request.vcluster,
        state: state.map(Into::into),
        unassigned: request.unassigned,
        ..NodesRequest::default()
    };
    Ok(v1::ListNodesReply { nodes: visible_nodes(gateway, &caller, request).await? })
}

/// The nodes of a request that the caller may see.
pub(super) async fn visible_nodes(
    gateway: &Gateway,
    caller: &Caller,
    request: NodesRequest,
) -> Answer<Vec<NodeRecord>> {
    let records = targets::pages(&gateway.journal, request).await?;
    let (sight, ops) = (sight(&caller.principal), is_ops_anywhere(&caller.principal));
    let seen = |record: &NodeRecord| {
        sight.sees(record.vcluster.as_deref()) || (ops && record.vcluster.is_none())
    };
    Ok(records.into_values().filter(seen).collect())
}

pub(super) async fn inspect_node(
    gateway: &Gateway,
    caller: Caller,
    request: v1::InspectNodeRequest,
) -> Answer<v1::InspectNodeReply> {
    let targets = targets::one_node(&gateway.journal, &request.node).await?;
    gateway.rights.authorise(&caller, Asked::of(operation("node.inspect")?).on(&targets)).await?;
    let (mut rows, mut errors) = node_status(gateway, targets.records).await;
    match (rows.pop(), errors.pop()) {
        (Some(status), None) => Ok(v1::InspectNodeReply { status: Some(status) }),
        (_, Some(error)) => Err(error),
        (None, None) => Err(ErrorCode::Internal.error("a node has no status")),
    }
}

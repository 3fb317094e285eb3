//! `node enroll|assign|unassign|move|list|inspect`.

use pact_schemas::v1::{
    self, AssignMode, AssignOperation, NodeRecord, NodesRequest, action::Action as Act,
};
use pact_schemas::{
    ErrorCode, HardwareIdentity, NodeId, NodeState, RequestId, VclusterId, convert,
};

use crate::access::attest;
use crate::authorise::{Asked, Permit, operation};
use crate::context::Gateway;
use crate::door::tokens::{Caller, is_ops_anywhere, sight};
use crate::error::{Answer, bad_request};
use crate::targets::{one_judged, targets_of};

impl Gateway {
    pub(super) async fn enroll_node(
        &self,
        caller: Caller,
        request: v1::EnrollNodeRequest,
    ) -> Answer<v1::EnrollNodeReply> {
        let request_id = request_id(&request.request_id)?;
        let node: NodeId =
            convert::id(&request.node, "EnrollNodeRequest.node").map_err(bad_request)?;
        let identity = convert::required(request.identity.as_ref(), "EnrollNodeRequest.identity")
            .map_err(bad_request)?;
        let identity = HardwareIdentity::try_from(identity)
            .map_err(|error| ErrorCode::InvalidArgument.error(error.to_string()).on(&node))?;
        if identity.is_empty() {
            return Err(ErrorCode::InvalidArgument
                .error(format!("nothing was given by which {node} is recognised"))
                .next("give --mac, --bmc-serial or --hardware-id"));
        }
        // A node that exists is its vCluster's: its identity is replaced there.
        let named = self.named(&[node.clone()].into(), false).await?;
        let judged = one_judged(&node, &named.get(&node).cloned().unwrap_or_default())?;
        let targets = (!named.is_empty()).then(|| targets_of(named)).transpose()?;
        let mut asked = Asked::of(operation("node.enroll")?);
        asked.targets = targets.as_ref();
        let permit = self.authorise(&caller, asked).await?;
        let register = v1::RegisterNode {
            node: node.to_string(),
            identity: Some((&identity).into()),
            replace: request.replace,
            judged,
        };
        let done = self.propose_node(&permit, request_id, Act::RegisterNode(register)).await?;
        Ok(v1::EnrollNodeReply { seq: done.first_seq })
    }

    pub(super) async fn assign_node(
        &self,
        caller: Caller,
        request: v1::AssignNodeRequest,
    ) -> Answer<v1::AssignNodeReply> {
        let request_id = request_id(&request.request_id)?;
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
        let targets = self.resolve(&request.targets, &request.exclude).await?;
        let asked = Asked::of(operation(name)?).on(&targets).within(vcluster.clone());
        let permit = self.authorise(&caller, asked).await?;
        let assign = v1::AssignNode {
            targets: targets.folded()?,
            vcluster: vcluster.map(|v| v.to_string()),
            mode: mode.into(),
            judged: targets.judged()?,
        };
        let done = self.propose_node(&permit, request_id, Act::AssignNode(assign)).await?;
        Ok(v1::AssignNodeReply {
            first_seq: done.first_seq,
            last_seq: done.last_seq,
            nodes: targets.set.iter().map(ToString::to_string).collect(),
        })
    }

    async fn propose_node(
        &self,
        permit: &Permit,
        request_id: RequestId,
        act: Act,
    ) -> Answer<v1::Committed> {
        let action = v1::Action { action: Some(act) };
        let proposal = attest(&self.signer, &self.clock, permit, request_id, &action)?;
        self.journal.propose_one(proposal).await.map(|(committed, _)| committed)
    }

    pub(super) async fn list_nodes(
        &self,
        caller: Caller,
        request: v1::ListNodesRequest,
    ) -> Answer<v1::ListNodesReply> {
        let state = request.state.map(|s| NodeState::from_wire(s, "ListNodesRequest.state"));
        let state = state.transpose().map_err(bad_request)?;
        self.authorise(&caller, Asked::of(operation("node.list")?)).await?;
        let request = NodesRequest {
            vcluster: request.vcluster,
            state: state.map(Into::into),
            unassigned: request.unassigned,
            ..NodesRequest::default()
        };
        let records = self.pages(request).await?;
        let (sight, ops) = (sight(&caller.principal), is_ops_anywhere(&caller.principal));
        let seen = |record: &NodeRecord| {
            sight.sees(record.vcluster.as_deref()) || (ops && record.vcluster.is_none())
        };
        Ok(v1::ListNodesReply { nodes: records.into_values().filter(seen).collect() })
    }

    pub(super) async fn inspect_node(
        &self,
        caller: Caller,
        request: v1::InspectNodeRequest,
    ) -> Answer<v1::InspectNodeReply> {
        let targets = self.one_node(&request.node).await?;
        self.authorise(&caller, Asked::of(operation("node.inspect")?).on(&targets)).await?;
        let (mut rows, mut errors) = self.node_status(targets.records).await;
        match (rows.pop(), errors.pop()) {
            (Some(status), None) => Ok(v1::InspectNodeReply { status: Some(status) }),
            (_, Some(error)) => Err(error),
            (None, None) => Err(ErrorCode::Internal.error("a node has no status")),
        }
    }
}

/// The client's id of a request.
pub(super) fn request_id(text: &str) -> Answer<RequestId> {
    convert::id(text, "request_id").map_err(bad_request)
}

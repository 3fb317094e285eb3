//! `node enroll|assign|unassign|move|list|inspect`.

use std::collections::BTreeMap;
use std::time::Duration;

use pact_bus::CallError;
use pact_journal_client::{PAUSE, committed};
use pact_schemas::v1::{
    self, AssignMode, AssignOperation, NodeRecord, NodeState, NodesReply, NodesRequest,
};
use pact_schemas::v1::{ProposalResult, action::Action as Act};
use pact_schemas::{ErrorCode, NodeId, RequestId, VclusterId, convert};

use crate::access::attest;
use crate::authorise::{Asked, Permit, operation};
use crate::context::{Gateway, NOBODY, service_subject};
use crate::door::tokens::{Caller, is_ops_anywhere, sight};
use crate::error::{Answer, bad_request};
use crate::targets::keyed;

/// How long svc-enroll may take: it proposes, for at most as long as the gateway itself would.
const ENROLL_PROPOSES: Duration = Duration::from_secs(15);

/// What svc-enroll has not answered by then may be lost, with an instance that was killed or that was leaving the bus.
const ENROLL_AGAIN: Duration = Duration::from_secs(1);

/// How long svc-enroll may take to read.
const ENROLL_READS: Duration = Duration::from_secs(8);

impl Gateway {
    pub(super) async fn enroll_node(
        &self,
        caller: Caller,
        request: v1::EnrollNodeRequest,
    ) -> Answer<v1::EnrollNodeReply> {
        let request_id = request_id(&request.request_id)?;
        let node: NodeId =
            convert::id(&request.node, "EnrollNodeRequest.node").map_err(bad_request)?;
        let identity = convert::required(request.identity, "EnrollNodeRequest.identity")
            .map_err(bad_request)?;
        if identity.macs.is_empty()
            && identity.bmc_serial.is_none()
            && identity.hardware_ids.is_empty()
        {
            return Err(ErrorCode::InvalidArgument
                .error(format!("nothing was given by which {node} is recognised"))
                .next("give --mac, --bmc-serial or --hardware-id"));
        }
        let permit = self.authorise(&caller, Asked::of(operation("node.enroll")?)).await?;
        let register = v1::RegisterNode {
            node: node.to_string(),
            identity: Some(identity),
            replace: request.replace,
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

    /// Through svc-enroll, which checks it and passes it on unchanged.
    async fn propose_node(
        &self,
        permit: &Permit,
        request_id: RequestId,
        act: Act,
    ) -> Answer<v1::Committed> {
        let method = permit.operation.method;
        let action = v1::Action { action: Some(act) };
        let proposal = attest(&self.signer, &self.clock, permit, request_id, &action)?;
        let result: ProposalResult = self
            .ask_enroll(method, &v1::NodeProposal { proposal: Some(proposal) }, ENROLL_PROPOSES)
            .await?;
        committed(result).map(|(committed, _)| committed)
    }

    /// One call to svc-enroll, sent again when it may be lost, and while nobody takes it at all, or the bus went away: it may be
    /// starting, as may the gateway itself.
    /// What it is asked either changes nothing or carries its request id.
    pub(super) async fn ask_enroll<Req, Rep>(
        &self,
        method: &'static str,
        request: &Req,
        limit: Duration,
    ) -> Answer<Rep>
    where
        Req: prost::Message,
        Rep: prost::Message + Default,
    {
        let subject = service_subject("enroll", method)?;
        let started = self.clock.monotonic();
        loop {
            let asked = self.bus.request_any(&subject, request, ENROLL_AGAIN, limit).await;
            let error = match asked {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let waited = self.clock.monotonic().saturating_sub(started);
            match error {
                CallError::Service(error) => return Err(error),
                CallError::NoResponders { .. }
                | CallError::Gone { .. }
                | CallError::Disconnected
                | CallError::Interrupted { .. }
                    if waited < NOBODY =>
                {
                    self.clock.sleep(PAUSE).await;
                }
                error => {
                    return Err(ErrorCode::Unreachable
                        .error("the enrolment service does not answer")
                        .because(error.to_string())
                        .next("check that pact-enroll runs: `pact health`"));
                }
            }
        }
    }

    pub(super) async fn list_nodes(
        &self,
        caller: Caller,
        request: v1::ListNodesRequest,
    ) -> Answer<v1::ListNodesReply> {
        let state =
            request.state.map(|s| convert::enumeration::<NodeState>(s, "ListNodesRequest.state"));
        let state = state.transpose().map_err(bad_request)?;
        self.authorise(&caller, Asked::of(operation("node.list")?)).await?;
        let request = NodesRequest {
            vcluster: request.vcluster,
            state: state.map(Into::into),
            unassigned: request.unassigned,
            ..NodesRequest::default()
        };
        let records = self.enroll_nodes(request).await?;
        let (sight, ops) = (sight(&caller.principal), is_ops_anywhere(&caller.principal));
        let seen = |record: &NodeRecord| {
            sight.sees(record.vcluster.as_deref()) || (ops && record.vcluster.is_none())
        };
        Ok(v1::ListNodesReply { nodes: records.into_values().filter(seen).collect() })
    }

    async fn enroll_nodes(
        &self,
        mut request: NodesRequest,
    ) -> Answer<BTreeMap<NodeId, NodeRecord>> {
        let mut records = BTreeMap::new();
        loop {
            let reply: NodesReply = self.ask_enroll("nodes", &request, ENROLL_READS).await?;
            let page = keyed(reply.nodes)?;
            let last = page.last_key_value().map(|(node, _)| node.to_string());
            records.extend(page);
            match last {
                // Pages ascend, so each is shorter than what is left: the loop ends.
                Some(last) if reply.more && last > request.after => request.after = last,
                _ => return Ok(records),
            }
        }
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

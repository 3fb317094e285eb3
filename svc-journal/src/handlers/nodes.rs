//! `nodes` and `vclusters`: the views that are folded from entries.

use std::sync::Arc;

use pact_schemas::convert::id;
use pact_schemas::v1::{
    self, NodeRecord, NodesReply, NodesRequest, VclusterRecord, VclustersReply, VclustersRequest,
};
use pact_schemas::{ErrorCode, NodeId, NodeState, VclusterId};
use prost::Message as _;

use super::{MAX_REPLY_BYTES, reading};
use crate::context::Context;
use crate::store::query;
use crate::store::state::StateDb;

/// Nodes of one page, and ids in one request.
const PAGE: usize = 1_000;
/// vClusters of one page, and names in one request.
const MAX_VCLUSTERS: usize = 1_024;

/// A checked request.
struct Filter {
    nodes: Vec<NodeId>,
    vcluster: Option<VclusterId>,
    state: Option<NodeState>,
    unassigned: bool,
    after: String,
}

impl TryFrom<&NodesRequest> for Filter {
    type Error = v1::Error;

    fn try_from(request: &NodesRequest) -> Result<Self, v1::Error> {
        if request.nodes.len() > PAGE {
            return Err(ErrorCode::TooLarge.error("a request may name 1,000 nodes"));
        }
        if !request.after.is_empty() {
            let _checked: NodeId = id(&request.after, "NodesRequest.after")?;
        }
        let mut nodes = request
            .nodes
            .iter()
            .map(|node| id(node, "NodesRequest.nodes"))
            .collect::<Result<Vec<NodeId>, _>>()?;
        nodes.sort();
        nodes.dedup();
        Ok(Self {
            nodes,
            vcluster: request
                .vcluster
                .as_deref()
                .map(|v| id(v, "NodesRequest.vcluster"))
                .transpose()?,
            state: request
                .state
                .map(|state| NodeState::from_wire(state, "NodesRequest.state"))
                .transpose()?,
            unassigned: request.unassigned,
            after: request.after.clone(),
        })
    }
}

impl Filter {
    fn holds(&self, record: &NodeRecord) -> bool {
        let in_vcluster =
            self.vcluster.as_ref().is_none_or(|v| record.vcluster.as_deref() == Some(v.as_str()));
        let in_state = self.state.is_none_or(|state| record.state == i32::from(state));
        in_vcluster && in_state && (!self.unassigned || record.vcluster.is_none())
    }
}

/// Nodes, in the order of their ids, that meet every condition. Nodes that are named and not registered are left out.
///
/// # Errors
/// For arguments out of bounds, and `PACT_NO_LEADER` unless the caller takes what is here.
pub async fn nodes(context: &Context, request: NodesRequest) -> Result<NodesReply, v1::Error> {
    let filter = Filter::try_from(&request)?;
    context.current(request.stale).await?;
    let state = context.member().state();
    reading(move || page(&state, &filter)).await
}

fn page(state: &Arc<StateDb>, filter: &Filter) -> NodesReply {
    let records: Box<dyn Iterator<Item = NodeRecord>> = if filter.nodes.is_empty() {
        Box::new(query::nodes_after(state, &filter.after))
    } else {
        let named = filter.nodes.iter().filter(|node| node.as_str() > filter.after.as_str());
        Box::new(named.filter_map(|node| query::node(state, node.as_str())))
    };
    let mut reply = NodesReply::default();
    let mut bytes = 0;
    for record in records.filter(|record| filter.holds(record)) {
        bytes += record.encoded_len();
        if reply.nodes.len() >= PAGE || (bytes > MAX_REPLY_BYTES && !reply.nodes.is_empty()) {
            reply.more = true;
            break;
        }
        reply.nodes.push(record);
    }
    reply
}

/// vClusters with their policies, in the order of their names and in pages. Those that are named and unknown are left out.
///
/// # Errors
/// For arguments out of bounds, and `PACT_NO_LEADER` unless the caller takes what is here.
pub async fn vclusters(
    context: &Context,
    request: VclustersRequest,
) -> Result<VclustersReply, v1::Error> {
    let names = request.vclusters.iter().map(|name| id(name, "VclustersRequest.vclusters"));
    let mut names = names.collect::<Result<Vec<VclusterId>, _>>()?;
    names.sort();
    names.dedup();
    let after = match request.after.as_str() {
        "" => None,
        name => Some(id::<VclusterId>(name, "VclustersRequest.after")?),
    };
    if names.len() > MAX_VCLUSTERS {
        return Err(ErrorCode::TooLarge.error("a request may name 1,024 vClusters"));
    }
    context.current(request.stale).await?;
    let state = context.member().state();
    reading(move || {
        let records: Box<dyn Iterator<Item = VclusterRecord>> = if names.is_empty() {
            Box::new(query::vclusters_after(&state, after.as_ref()))
        } else {
            let named =
                names.iter().filter(|name| after.as_ref().is_none_or(|after| *name > after));
            Box::new(named.filter_map(|name| query::vcluster(&state, name.as_str())))
        };
        vclusters_page(records)
    })
    .await
}

/// As many as one reply holds, at least one.
fn vclusters_page(records: impl Iterator<Item = VclusterRecord>) -> VclustersReply {
    let mut reply = VclustersReply::default();
    let mut bytes = 0;
    for record in records {
        bytes += record.encoded_len();
        let is_full = reply.vclusters.len() >= MAX_VCLUSTERS || bytes > MAX_REPLY_BYTES;
        if is_full && !reply.vclusters.is_empty() {
            reply.more = true;
            break;
        }
        reply.vclusters.push(record);
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vclusters_come_in_pages_of_at_least_one() {
        let record = |name: usize, bytes: usize| VclusterRecord {
            vcluster: format!("v{name:04}"),
            blacklist: vec!["x".repeat(bytes)],
            ..VclusterRecord::default()
        };
        let page = |records: Vec<VclusterRecord>| {
            let reply = vclusters_page(records.into_iter());
            (reply.vclusters.len(), reply.more)
        };
        assert_eq!(page(vec![]), (0, false));
        assert_eq!(page((0..5).map(|i| record(i, 200 * 1024)).collect()), (2, true));
        assert_eq!(page(vec![record(1, 600 * 1024), record(2, 1)]), (1, true));
        assert_eq!(page((0..MAX_VCLUSTERS + 1).map(|i| record(i, 1)).collect()), (1_024, true));
        assert_eq!(page((0..MAX_VCLUSTERS).map(|i| record(i, 1)).collect()), (1_024, false));
    }
}

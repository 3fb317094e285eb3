//! `group list`, `group show`.

use pact_schemas::v1::{self, VclusterRecord, VclustersReply, VclustersRequest};
use pact_schemas::{ErrorCode, VclusterId, convert};

use crate::auth::{Caller, sight};
use crate::authorise::Asked;
use crate::context::Gateway;
use crate::error::{Answer, bad_request};
use crate::exec::operation;
use crate::targets::Condition;

impl Gateway {
    pub(super) async fn list_groups(
        &self,
        caller: Caller,
        _: v1::ListGroupsRequest,
    ) -> Answer<v1::ListGroupsReply> {
        self.authorise(&caller, Asked::of(operation("group.list")?)).await?;
        let reply: VclustersReply =
            self.journal.read("vclusters", &VclustersRequest::default()).await?;
        let sight = sight(&caller.principal);
        let groups =
            reply.vclusters.into_iter().filter(|record| sight.sees(Some(&record.vcluster)));
        Ok(v1::ListGroupsReply { groups: groups.collect() })
    }

    pub(super) async fn show_group(
        &self,
        caller: Caller,
        request: v1::ShowGroupRequest,
    ) -> Answer<v1::ShowGroupReply> {
        let vcluster: VclusterId =
            convert::id(&request.group, "ShowGroupRequest.group").map_err(bad_request)?;
        self.authorise(&caller, Asked::of(operation("group.show")?).within([vcluster.clone()]))
            .await?;
        let group = self.vcluster(&vcluster).await?;
        let condition = Condition { vcluster: Some(vcluster), state: None };
        let nodes = self.nodes_where(&condition).await?;
        Ok(v1::ShowGroupReply {
            group: Some(group),
            nodes: nodes.keys().map(ToString::to_string).collect(),
        })
    }

    /// What the journal knows of a vCluster.
    pub(super) async fn vcluster(&self, vcluster: &VclusterId) -> Answer<VclusterRecord> {
        let wanted = VclustersRequest { vclusters: vec![vcluster.to_string()], stale: false };
        let reply: VclustersReply = self.journal.read("vclusters", &wanted).await?;
        let group = reply.vclusters.into_iter().next();
        group.ok_or_else(|| ErrorCode::NotFound.error(format!("no vCluster {vcluster}")))
    }
}

//! `group list`, `group show`.

use pact_schemas::v1::{self, VclusterRecord, VclustersReply, VclustersRequest};
use pact_schemas::{ErrorCode, VclusterId, convert};
use prost::Message as _;

use crate::context::Gateway;
use crate::door::tokens::{Caller, sight};
use crate::error::{Answer, bad_request};
use crate::rights::authorise::{Asked, operation};
use crate::rights::targets::Condition;

/// vClusters in one answer: beyond it gRPC clients refuse the message.
const MAX_REPLY_BYTES: usize = 3 * 1024 * 1024;

impl Gateway {
    pub(super) async fn list_groups(
        &self,
        caller: Caller,
        _: v1::ListGroupsRequest,
    ) -> Answer<v1::ListGroupsReply> {
        self.authorise(&caller, Asked::of(operation("group.list")?)).await?;
        let sight = sight(&caller.principal);
        let all = self.vclusters(Vec::new()).await?;
        let groups = all.into_iter().filter(|record| sight.sees(Some(&record.vcluster)));
        let reply = v1::ListGroupsReply { groups: groups.collect() };
        if reply.encoded_len() > MAX_REPLY_BYTES {
            return Err(ErrorCode::TooLarge
                .error("the vClusters have more policy than one answer carries")
                .next("look at them one by one with `pact group show`"));
        }
        Ok(reply)
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
        let group = self.vclusters(vec![vcluster.to_string()]).await?.into_iter().next();
        group.ok_or_else(|| ErrorCode::NotFound.error(format!("no vCluster {vcluster}")))
    }
    /// The vClusters of these names, or all of them, in the order of their names. Unknown ones are left out.
    pub(crate) async fn vclusters(&self, vclusters: Vec<String>) -> Answer<Vec<VclusterRecord>> {
        let mut request = VclustersRequest { vclusters, ..VclustersRequest::default() };
        let mut records = Vec::new();
        loop {
            let reply: VclustersReply = self.journal.read("vclusters", &request).await?;
            let last = reply.vclusters.last().map(|record| record.vcluster.clone());
            records.extend(reply.vclusters);
            match last {
                // Pages ascend, so each begins after the last: the loop ends.
                Some(last) if reply.more && last > request.after => request.after = last,
                _ => return Ok(records),
            }
        }
    }
}

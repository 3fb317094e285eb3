//! `group list`, `group show`.

use pact_schemas::v1;
use pact_schemas::{ErrorCode, VclusterId, convert};
use prost::Message as _;

use crate::ask::read;
use crate::context::Gateway;
use crate::door::tokens::{Caller, sight};
use crate::error::{Answer, bad_request};
use crate::rights::authorise::{Asked, operation};
use crate::rights::targets::{self, Condition};

/// vClusters in one answer: beyond it gRPC clients refuse the message.
const MAX_REPLY_BYTES: usize = 3 * 1024 * 1024;

pub(super) async fn list_groups(
    gateway: &Gateway,
    caller: Caller,
    _: v1::ListGroupsRequest,
) -> Answer<v1::ListGroupsReply> {
    gateway.rights.authorise(&caller, Asked::of(operation("group.list")?)).await?;
    let reply = v1::ListGroupsReply { groups: visible_groups(gateway, &caller).await? };
    if reply.encoded_len() > MAX_REPLY_BYTES {
        return Err(ErrorCode::TooLarge
            .error("the vClusters have more policy than one answer carries")
            .next("look at them one by one with `pact group show`"));
    }
    Ok(reply)
}

/// The vClusters that the caller may see.
pub(super) async fn visible_groups(
    gateway: &Gateway,
    caller: &Caller,
) -> Answer<Vec<v1::VclusterRecord>> {
    let sight = sight(&caller.principal);
    let all = read::vclusters(&gateway.journal, Vec::new()).await?;
    Ok(all.into_iter().filter(|record| sight.sees(Some(&record.vcluster))).collect())
}

pub(super) async fn show_group(
    gateway: &Gateway,
    caller: Caller,
    request: v1::ShowGroupRequest,
) -> Answer<v1::ShowGroupReply> {
    let vcluster: VclusterId =
        convert::id(&request.group, "ShowGroupRequest.group").map_err(bad_request)?;
    gateway
        .rights
        .authorise(&caller, Asked::of(operation("group.show")?).within([vcluster.clone()]))
        .await?;
    let group = read::vcluster(&gateway.journal, &vcluster).await?;
    let condition = Condition { vcluster: Some(vcluster), state: None };
    let nodes = targets::nodes_where(&gateway.journal, &condition).await?;
    Ok(v1::ShowGroupReply {
        group: Some(group),
        nodes: nodes.keys().map(ToString::to_string).collect(),
    })
}

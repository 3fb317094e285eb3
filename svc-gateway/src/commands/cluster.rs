//! `cluster`: who is in it. `cluster add` and `cluster remove`: recorded here, carried out by the journal's leader.

use pact_schemas::rpc;
use pact_schemas::v1::{
    self, ChangeMembers, MemberAddress, action::Action as Act, change_members::Change,
};

use super::health::{SCHEDULER, behind_bridge, behind_item};
use crate::ask::request::RequestKey;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::Answer;
use crate::rights::authorise::{Asked, operation};

pub(super) async fn cluster(
    gateway: &Gateway,
    caller: Caller,
    _: v1::ClusterStatusRequest,
) -> Answer<v1::ClusterStatusReply> {
    gateway.rights.authorise(&caller, Asked::of(operation("cluster")?)).await?;
    let journal = gateway.journal.read::<rpc::journal::Cluster>(&v1::ClusterRequest {}).await?;
    let behind = behind_bridge(&gateway.bus).await;
    let lattice = behind_item(&behind, SCHEDULER);
    Ok(v1::ClusterStatusReply { journal: Some(journal), lattice: Some(lattice) })
}

pub(super) async fn cluster_add(
    gateway: &Gateway,
    caller: Caller,
    request: v1::ClusterAddRequest,
) -> Answer<v1::ClusterChangeReply> {
    let key = RequestKey::of("cluster.add", &request.request_id, &request)?;
    let v1::ClusterAddRequest { member, address, .. } = request;
    let new = MemberAddress { id: member, address, ..MemberAddress::default() };
    change_members(gateway, caller, "cluster.add", key, Change::Add(new)).await
}

pub(super) async fn cluster_remove(
    gateway: &Gateway,
    caller: Caller,
    request: v1::ClusterRemoveRequest,
) -> Answer<v1::ClusterChangeReply> {
    let key = RequestKey::of("cluster.remove", &request.request_id, &request)?;
    change_members(gateway, caller, "cluster.remove", key, Change::Remove(request.member)).await
}

async fn change_members(
    gateway: &Gateway,
    caller: Caller,
    name: &str,
    key: RequestKey,
    change: Change,
) -> Answer<v1::ClusterChangeReply> {
    let permit = gateway.rights.authorise(&caller, Asked::of(operation(name)?)).await?;
    let change = ChangeMembers { change: Some(change) };
    let (done, _) = gateway.proposals.commit(&permit, key, Act::ChangeMembers(change)).await?;
    Ok(v1::ClusterChangeReply { seq: done.first_seq })
}

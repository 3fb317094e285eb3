//! `cluster add` and `cluster remove`: recorded here, carried out by the journal's leader.

use pact_schemas::v1::{
    self, ChangeMembers, MemberAddress, action::Action as Act, change_members::Change,
};

use super::node::request_id;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::Answer;
use crate::rights::access::attest;
use crate::rights::authorise::{Asked, operation};

impl Gateway {
    pub(super) async fn cluster_add(
        &self,
        caller: Caller,
        request: v1::ClusterAddRequest,
    ) -> Answer<v1::ClusterChangeReply> {
        let v1::ClusterAddRequest { request_id, member, address } = request;
        let new = MemberAddress { id: member, address, ..MemberAddress::default() };
        self.change_members(caller, "cluster.add", &request_id, Change::Add(new)).await
    }

    pub(super) async fn cluster_remove(
        &self,
        caller: Caller,
        request: v1::ClusterRemoveRequest,
    ) -> Answer<v1::ClusterChangeReply> {
        let v1::ClusterRemoveRequest { request_id, member } = request;
        self.change_members(caller, "cluster.remove", &request_id, Change::Remove(member)).await
    }

    async fn change_members(
        &self,
        caller: Caller,
        name: &str,
        id: &str,
        change: Change,
    ) -> Answer<v1::ClusterChangeReply> {
        let id = request_id(id)?;
        let permit = self.authorise(&caller, Asked::of(operation(name)?)).await?;
        let change = ChangeMembers { change: Some(change) };
        let action = v1::Action { action: Some(Act::ChangeMembers(change)) };
        let proposal = attest(&self.signer, &self.clock, &permit, id, &action)?;
        let (done, _) = self.journal.propose_one(proposal).await?;
        Ok(v1::ClusterChangeReply { seq: done.first_seq })
    }
}

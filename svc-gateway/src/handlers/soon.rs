//! Calls that have a form and no handler yet: authorised, and answered as not built.

use pact_schemas::v1;

use crate::auth::Caller;
use crate::authorise::Asked;
use crate::context::Gateway;
use crate::error::Answer;
use crate::exec::operation;

impl Gateway {
    async fn unbuilt<T>(&self, caller: Caller, name: &str) -> Answer<T> {
        let operation = operation(name)?;
        self.authorise(&caller, Asked::of(operation)).await?;
        Err(operation.unimplemented())
    }

    pub(super) async fn diff(
        &self,
        caller: Caller,
        _: v1::DiffNodesRequest,
    ) -> Answer<v1::DiffNodesReply> {
        self.unbuilt(caller, "diff").await
    }

    pub(super) async fn commit(
        &self,
        caller: Caller,
        _: v1::CommitRequest,
    ) -> Answer<v1::CommitReply> {
        self.unbuilt(caller, "commit").await
    }

    pub(super) async fn rollback(
        &self,
        caller: Caller,
        _: v1::RollbackScopeRequest,
    ) -> Answer<v1::RollbackScopeReply> {
        self.unbuilt(caller, "rollback").await
    }

    pub(super) async fn extend(
        &self,
        caller: Caller,
        _: v1::ExtendWindowRequest,
    ) -> Answer<v1::ExtendWindowReply> {
        self.unbuilt(caller, "extend").await
    }

    pub(super) async fn promote(
        &self,
        caller: Caller,
        _: v1::PromoteRequest,
    ) -> Answer<v1::PromoteReply> {
        self.unbuilt(caller, "promote").await
    }

    pub(super) async fn set_policy(
        &self,
        caller: Caller,
        _: v1::SetPolicyRequest,
    ) -> Answer<v1::SetPolicyReply> {
        self.unbuilt(caller, "group.set-policy").await
    }

    pub(super) async fn blacklist_list(
        &self,
        caller: Caller,
        _: v1::BlacklistListRequest,
    ) -> Answer<v1::BlacklistListReply> {
        self.unbuilt(caller, "blacklist.list").await
    }

    pub(super) async fn blacklist_add(
        &self,
        caller: Caller,
        _: v1::BlacklistChangeRequest,
    ) -> Answer<v1::BlacklistChangeReply> {
        self.unbuilt(caller, "blacklist.add").await
    }

    pub(super) async fn blacklist_remove(
        &self,
        caller: Caller,
        _: v1::BlacklistChangeRequest,
    ) -> Answer<v1::BlacklistChangeReply> {
        self.unbuilt(caller, "blacklist.remove").await
    }
}

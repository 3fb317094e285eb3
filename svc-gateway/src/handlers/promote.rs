//! `promote`: a node's committed deltas as an overlay of its vCluster.

use pact_schemas::v1;

use crate::auth::Caller;
use crate::authorise::Asked;
use crate::context::Gateway;
use crate::error::Answer;
use crate::exec::operation;

impl Gateway {
    pub(super) async fn promote(
        &self,
        caller: Caller,
        request: v1::PromoteRequest,
    ) -> Answer<v1::PromoteReply> {
        let targets = self.one_node(&request.node).await?;
        let operation = operation("promote")?;
        self.authorise(&caller, Asked::of(operation).on(&targets)).await?;
        Err(operation.unimplemented())
    }
}

//! `group set-policy`: policy keys of one vCluster that exists.

use pact_schemas::spec::Spec;
use pact_schemas::v1::{self, PolicyUpdate, SetPolicy, action::Action as Act};
use pact_schemas::{VclusterId, convert};

use super::apply::{file_name, one_person};
use super::nodes::request_id;
use crate::access::attest;
use crate::authorise::{Asked, operation};
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_request};

impl Gateway {
    pub(super) async fn set_policy(
        &self,
        caller: Caller,
        request: v1::SetPolicyRequest,
    ) -> Answer<v1::SetPolicyReply> {
        let id = request_id(&request.request_id)?;
        let vcluster: VclusterId =
            convert::id(&request.group, "SetPolicyRequest.group").map_err(bad_request)?;
        let asked = Asked::of(operation("group.set-policy")?).within([vcluster.clone()]);
        let permit = self.authorise(&caller, asked).await?;
        let file = file_name(&request.file_name);
        let policy = Spec::parse_policy(&file, &request.policy, &vcluster)?;
        one_person(&policy)?;
        let update = PolicyUpdate { vcluster: vcluster.to_string(), policy: Some(policy) };
        let set = SetPolicy { updates: vec![update.clone()] };
        let action = v1::Action { action: Some(Act::SetPolicy(set)) };
        let proposal = attest(&self.signer, &self.clock, &permit, id, &action)?;
        let (done, _) = self.journal.propose_one(proposal).await?;
        Ok(v1::SetPolicyReply { seq: done.first_seq, policy: Some(update) })
    }
}

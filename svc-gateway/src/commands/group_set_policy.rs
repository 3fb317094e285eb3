//! `group set-policy`: policy keys of one vCluster that exists.

use pact_schemas::spec::Spec;
use pact_schemas::v1::{self, PolicyUpdate, SetPolicy, action::Action as Act};
use pact_schemas::{VclusterId, convert};

use super::apply::file_name;
use crate::ask::request::RequestKey;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_request};
use crate::rights::authorise::{Asked, operation};

pub(super) async fn set_policy(
    gateway: &Gateway,
    caller: Caller,
    request: v1::SetPolicyRequest,
) -> Answer<v1::SetPolicyReply> {
    let key = RequestKey::of("group.set-policy", &request.request_id, &request)?;
    let vcluster: VclusterId =
        convert::id(&request.group, "SetPolicyRequest.group").map_err(bad_request)?;
    let asked = Asked::of(operation("group.set-policy")?).within([vcluster.clone()]);
    let permit = gateway.rights.authorise(&caller, asked).await?;
    let file = file_name(&request.file_name);
    let policy = Spec::parse_policy(&file, &request.policy, &vcluster)?;
    let update = PolicyUpdate { vcluster: vcluster.to_string(), policy: Some(policy) };
    let set = SetPolicy { updates: vec![update.clone()] };
    let (done, _) = gateway.proposals.commit(&permit, key, Act::SetPolicy(set)).await?;
    Ok(v1::SetPolicyReply { seq: done.first_seq, policy: Some(update) })
}

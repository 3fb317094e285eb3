//! Names for the completion of a command line. A shell asks while somebody types, so that no entry is made of it; it is
//! counted, limited in rate, and answered with nothing but names that the caller may see.

use pact_schemas::v1::{self, CompletedName, NodesRequest};
use pact_schemas::{ErrorCode, convert};

use super::group::visible_groups;
use super::node::visible_nodes;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_request};
use crate::rights::authorise::{Asked, operation};

/// Calls of one caller in a minute: two for each second of typing.
pub(crate) const PER_MINUTE: u32 = 120;

/// Names in one answer.
const MAX_NAMES: usize = 100_000;

pub(super) async fn complete(
    gateway: &Gateway,
    caller: Caller,
    request: v1::CompleteRequest,
) -> Answer<v1::CompleteReply> {
    metrics::counter!("pact_gateway_completions_total").increment(1);
    let (issuer, subject) = (caller.principal.issuer(), caller.principal.subject());
    let key = (issuer.to_owned(), subject.to_owned());
    if !gateway.completions.lock().await.take(key, gateway.clock.monotonic()) {
        return Err(ErrorCode::RateLimited
            .error(format!("completion was asked for more than {PER_MINUTE} times in a minute"))
            .next("try again in a minute"));
    }
    let name: CompletedName =
        convert::enumeration(request.name, "CompleteRequest.name").map_err(bad_request)?;
    let lists = if name == CompletedName::Vcluster { "group.list" } else { "node.list" };
    if !gateway.rights.allows(&caller, &Asked::of(operation(lists)?)).await? {
        return Ok(v1::CompleteReply::default());
    }
    let mut names: Vec<String> = if name == CompletedName::Vcluster {
        let groups = visible_groups(gateway, &caller).await?;
        groups.into_iter().map(|group| group.vcluster).collect()
    } else {
        let request = NodesRequest { vcluster: request.vcluster, ..NodesRequest::default() };
        let nodes = visible_nodes(gateway, &caller, request).await?;
        nodes.into_iter().map(|node| node.node).collect()
    };
    names.truncate(MAX_NAMES);
    Ok(v1::CompleteReply { names })
}

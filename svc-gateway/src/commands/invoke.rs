//! Operations without a call of their own yet: authenticated, authorised, recorded, and asked of their owner.

use std::time::Duration;

use pact_bus::{Bus, CallError};
use pact_schemas::operation::{Effect, Operation, Owner, Rpc};
use pact_schemas::v1::{InvokeReply, InvokeRequest};
use pact_schemas::{ErrorCode, NodeId, Subject, VclusterId, convert};

use crate::ask::fanout;
use crate::ask::request::request_id;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_request};
use crate::rights::authorise::Asked;
use crate::rights::targets::{self, Targets};

/// How long an owner may take.
const OWNER: Duration = Duration::from_secs(15);

/// Arguments of one operation, and bytes of all of them: policies and file contents travel in calls of their own.
const MAX_ARGUMENTS: usize = 256;
const MAX_ARGUMENT_BYTES: usize = 256 * 1024;

pub(super) async fn invoke(
    gateway: &Gateway,
    caller: Caller,
    request: InvokeRequest,
) -> Answer<InvokeReply> {
    let operation = check(&request)?;
    let vcluster: Option<VclusterId> = request
        .vcluster
        .as_deref()
        .map(|name| convert::id(name, "InvokeRequest.vcluster"))
        .transpose()
        .map_err(bad_request)?;
    let targets = match request.targets.as_str() {
        "" => None,
        expression => Some(targets::resolve(&gateway.journal, expression, &request.exclude).await?),
    };
    let mut asked = Asked::of(operation).within(vcluster);
    asked.targets = targets.as_ref();
    gateway.rights.authorise(&caller, asked).await?;
    match operation.owner.service() {
        Some(service) => {
            ask_owner(&gateway.bus, operation.invoked_at(None), service, &request).await
        }
        None if operation.owner == Owner::Node => {
            ask_nodes(&gateway.bus, operation, targets, &request).await
        }
        None => Err(operation.unimplemented()),
    }
}

async fn ask_owner(
    bus: &Bus,
    subject: Option<Subject>,
    whom: &str,
    request: &InvokeRequest,
) -> Answer<InvokeReply> {
    let subject = subject.ok_or_else(|| ErrorCode::Internal.error("an owner has no subject"))?;
    bus.request(&subject, request, OWNER).await.map_err(|error| match error {
        CallError::Service(error) => error,
        error => ErrorCode::Unreachable
            .error(format!("{whom} does not answer"))
            .because(error.to_string())
            .next("see `pact health` and `pact status`"),
    })
}

/// Every target's agent. The first failure in the order of the nodes is the answer.
async fn ask_nodes(
    bus: &Bus,
    operation: &'static Operation,
    targets: Option<Targets>,
    request: &InvokeRequest,
) -> Answer<InvokeReply> {
    let Some(targets) = targets else {
        return Err(ErrorCode::NoNode
            .error(format!("`pact {}` needs a node", operation.command.join(" ")))
            .next("name it, use --node, or set PACT_NODE"));
    };
    let ask = |node: &'_ NodeId| {
        let (subject, node) = (operation.invoked_at(Some(node)), node.clone());
        async move {
            let answer = ask_owner(bus, subject, node.as_str(), request).await;
            answer.map_err(|error| error.on(&node))
        }
    };
    let answers = fanout::all(targets.set.iter().map(ask).collect()).await;
    answers.into_iter().find(Result::is_err).unwrap_or(Ok(InvokeReply {}))
}

fn check(request: &InvokeRequest) -> Answer<&'static Operation> {
    let name: String = request.operation.chars().take(64).collect();
    let operation = Operation::find(&request.operation).ok_or_else(|| {
        ErrorCode::InvalidArgument.error(format!("there is no operation {name:?}"))
    })?;
    if operation.rpc != Rpc::Invoke {
        return Err(ErrorCode::InvalidArgument.error(format!("{name} has a call of its own")));
    }
    if operation.effect == Effect::Writes {
        request_id(&request.request_id)?;
    }
    let bytes: usize = request.arguments.iter().map(|a| a.name.len() + a.value.len()).sum();
    if request.arguments.len() > MAX_ARGUMENTS || bytes > MAX_ARGUMENT_BYTES {
        return Err(ErrorCode::TooLarge.error(format!(
            "{} arguments of {bytes} bytes; at most {MAX_ARGUMENTS} of {MAX_ARGUMENT_BYTES} bytes in all are accepted",
            request.arguments.len()
        )));
    }
    Ok(operation)
}

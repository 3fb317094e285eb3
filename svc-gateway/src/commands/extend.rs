//! `extend`: more time until a commit window closes.

use std::collections::BTreeSet;
use std::time::Duration;

use pact_schemas::rpc;
use pact_schemas::v1::{
    self, ExtendReply, ExtendStart, ExtendWindow, NodeRecord, NodeWindow, SignedGrant, WindowState,
    WindowStatus, action::Action as Act, entry::Payload,
};
use pact_schemas::{ErrorCode, Minutes, NodeId, NodeSet};

use super::diff::drift_summary;
use super::settle::subset;
use crate::ask::fanout;
use crate::ask::nodes::{Agents, Until, parted};
use crate::ask::propose::granted;
use crate::ask::request::{RequestKey, entries_of};
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_reply};
use crate::rights::authorise::{Asked, operation};
use crate::rights::permit::Permit;
use crate::rights::targets;

/// How long a node may take: it checks a grant and writes its window to disk.
const EXTEND: Duration = Duration::from_secs(8);

pub(super) async fn extend(
    gateway: &Gateway,
    caller: Caller,
    request: v1::ExtendWindowRequest,
) -> Answer<v1::ExtendWindowReply> {
    let key = RequestKey::of("extend", &request.request_id, &request)?;
    let minutes = Minutes::try_from(request.minutes).map_err(|_| {
        ErrorCode::InvalidArgument
            .error(format!("a window is extended by 1 to {} minutes", Minutes::MAX))
    })?;
    let targets = targets::resolve(&gateway.journal, &request.targets, &request.exclude).await?;
    let permit =
        gateway.rights.authorise(&caller, Asked::of(operation("extend")?).on(&targets)).await?;
    let until = Until::new(&gateway.clock);
    let (open, mut errors) = match extended_before(gateway, &permit, key).await? {
        Some(first) => {
            let others = targets.set.iter().filter(|node| !first.contains(*node));
            let errors = others.map(no_window).collect();
            (first, errors)
        }
        None => {
            let looked = targets.nodes().map(|node| open_window(&gateway.agents, node, &until));
            let (open, errors) = parted(fanout::all(looked.collect()).await);
            (open.into_iter().collect(), errors)
        }
    };
    let Some(open) = subset(&targets, |node, _| open.contains(node)) else {
        return Ok(v1::ExtendWindowReply { errors, ..v1::ExtendWindowReply::default() });
    };
    let (folded, judged) = (open.folded()?, open.judged()?);
    let extend = ExtendWindow { targets: folded, minutes: minutes.get(), judged };
    let (done, grant) = gateway.proposals.commit(&permit, key, Act::ExtendWindow(extend)).await?;
    let grant = granted(grant, "extend")?;
    let work = open.nodes().map(|node| extend_node(&gateway.agents, node, &grant, &until));
    let (nodes, failed) = parted(fanout::all(work.collect()).await);
    errors.extend(failed);
    let (first_seq, last_seq) = (done.first_seq, done.last_seq);
    Ok(v1::ExtendWindowReply { first_seq, last_seq, nodes, errors })
}

/// The nodes of the first attempt: whether their windows are still open is no part of the request.
async fn extended_before(
    gateway: &Gateway,
    permit: &Permit,
    key: RequestKey,
) -> Answer<Option<BTreeSet<NodeId>>> {
    let first = entries_of(&gateway.journal, permit, key).await?.into_iter().next();
    let Some(Payload::WindowExtended(extended)) = first.and_then(|entry| entry.payload) else {
        return Ok(None);
    };
    let nodes = NodeSet::parse(&extended.targets).map_err(|e| bad_reply("pact-journal", e))?;
    Ok(Some(nodes.iter().cloned().collect()))
}

/// The node, if it has a window: what would do nothing is not written down.
async fn open_window(
    agents: &Agents,
    target: (&NodeId, &NodeRecord),
    until: &Until,
) -> Answer<NodeId> {
    let drift = drift_summary(agents, target, until).await?;
    match drift.window.as_ref().map(WindowStatus::state) {
        None | Some(WindowState::Unspecified | WindowState::Idle) => Err(no_window(target.0)),
        Some(_) => Ok(target.0.clone()),
    }
}

fn no_window(node: &NodeId) -> v1::Error {
    ErrorCode::NotFound
        .error(format!("{node} has no commit window"))
        .because("nothing on it differs from what is declared")
        .next("see `pact diff`")
        .on(node)
}

async fn extend_node(
    agents: &Agents,
    target: (&NodeId, &NodeRecord),
    grant: &SignedGrant,
    until: &Until,
) -> Answer<NodeWindow> {
    let request = ExtendStart { grant: Some(grant.clone()) };
    let asked: Answer<ExtendReply> =
        agents.ask::<rpc::node::Extend>(target, &request, (until, EXTEND)).await;
    let window = match asked {
        Ok(reply) => reply.window,
        // A retry: the first attempt reached the node.
        Err(error) if error.known_code() == ErrorCode::GrantReplayed => {
            drift_summary(agents, target, until).await?.window
        }
        Err(error) => return Err(error),
    };
    Ok(NodeWindow { node: target.0.to_string(), window })
}

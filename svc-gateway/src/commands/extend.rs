//! `extend`: more time until a commit window closes.

use std::collections::BTreeSet;
use std::time::Duration;

use pact_schemas::rpc;
use pact_schemas::v1::{
    self, ExtendReply, ExtendStart, ExtendWindow, NodeRecord, NodeWindow, SignedGrant, WindowState,
    WindowStatus, action::Action as Act,
};
use pact_schemas::{ErrorCode, Minutes, NodeId};

use super::diff::drift_summary;
use super::node::request_id;
use super::settle::subset;
use crate::ask::fanout;
use crate::ask::nodes::{Agents, Until, parted};
use crate::ask::propose::granted;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::Answer;
use crate::rights::authorise::{Asked, operation};
use crate::rights::targets;

/// How long a node may take: it checks a grant and writes its window to disk.
const EXTEND: Duration = Duration::from_secs(8);

pub(super) async fn extend(
    gateway: &Gateway,
    caller: Caller,
    request: v1::ExtendWindowRequest,
) -> Answer<v1::ExtendWindowReply> {
    let id = request_id(&request.request_id)?;
    let minutes = Minutes::try_from(request.minutes).map_err(|_| {
        ErrorCode::InvalidArgument
            .error(format!("a window is extended by 1 to {} minutes", Minutes::MAX))
    })?;
    let targets = targets::resolve(&gateway.journal, &request.targets, &request.exclude).await?;
    let permit =
        gateway.rights.authorise(&caller, Asked::of(operation("extend")?).on(&targets)).await?;
    let until = Until::new(&gateway.clock);
    let looked = targets.nodes().map(|node| open_window(&gateway.agents, node, &until));
    let (open, mut errors) = parted(fanout::all(looked.collect()).await);
    let open: BTreeSet<NodeId> = open.into_iter().collect();
    let Some(open) = subset(&targets, |node, _| open.contains(node)) else {
        return Ok(v1::ExtendWindowReply { errors, ..v1::ExtendWindowReply::default() });
    };
    let (folded, judged) = (open.folded()?, open.judged()?);
    let extend = ExtendWindow { targets: folded, minutes: minutes.get(), judged };
    let (done, grant) = gateway.proposals.commit(&permit, id, Act::ExtendWindow(extend)).await?;
    let grant = granted(grant, "extend")?;
    let work = open.nodes().map(|node| extend_node(&gateway.agents, node, &grant, &until));
    let (nodes, failed) = parted(fanout::all(work.collect()).await);
    errors.extend(failed);
    let (first_seq, last_seq) = (done.first_seq, done.last_seq);
    Ok(v1::ExtendWindowReply { first_seq, last_seq, nodes, errors })
}

/// The node, if it has a window: what would do nothing is not written down.
async fn open_window(
    agents: &Agents,
    target: (&NodeId, &NodeRecord),
    until: &Until,
) -> Answer<NodeId> {
    let drift = drift_summary(agents, target, until).await?;
    match drift.window.as_ref().map(WindowStatus::state) {
        None | Some(WindowState::Unspecified | WindowState::Idle) => Err(ErrorCode::NotFound
            .error(format!("{} has no commit window", target.0))
            .because("nothing on it differs from what is declared")
            .next("see `pact diff`")
            .on(target.0)),
        Some(_) => Ok(target.0.clone()),
    }
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

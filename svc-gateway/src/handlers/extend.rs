//! `extend`: more time until a commit window closes.

use std::collections::BTreeSet;
use std::time::Duration;

use pact_schemas::v1::{
    self, Entry, ExtendReply, ExtendStart, ExtendWindow, NodeRecord, NodeWindow, SignedGrant,
    WindowState, WindowStatus, action::Action as Act, entry::Payload,
};
use pact_schemas::{ErrorCode, Minutes, NodeId, NodeSet, RequestId};

use super::nodes::request_id;
use super::settle::subset;
use crate::access::attest;
use crate::ask::{Until, parted};
use crate::authorise::{Asked, Permit, operation};
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_reply};
use crate::fanout;
use crate::request::{entries_of, is_by, reused};
use crate::targets::Targets;

/// How long a node may take: it checks a grant and writes its window to disk.
const EXTEND: Duration = Duration::from_secs(8);

impl Gateway {
    pub(super) async fn extend(
        &self,
        caller: Caller,
        request: v1::ExtendWindowRequest,
    ) -> Answer<v1::ExtendWindowReply> {
        let id = request_id(&request.request_id)?;
        let minutes = Minutes::try_from(request.minutes).map_err(|_| {
            ErrorCode::InvalidArgument
                .error(format!("a window is extended by 1 to {} minutes", Minutes::MAX))
        })?;
        let targets = self.resolve(&request.targets, &request.exclude).await?;
        let permit = self.authorise(&caller, Asked::of(operation("extend")?).on(&targets)).await?;
        let until = Until::new(&self.clock);
        let before = entries_of(&self.journal, id).await?.into_iter().next();
        let (open, mut errors) = match &before {
            Some(entry) => {
                let open = extended(entry, &targets, minutes);
                let open = open.filter(|_| is_by(entry, &permit.principal));
                let open = open.ok_or_else(|| reused(id))?;
                let without = targets.set.iter().filter(|node| !open.set.contains(node));
                let without = without.map(no_window).collect();
                (open, without)
            }
            None => {
                let looked = targets.nodes().map(|node| self.open_window(node, &until));
                let (open, errors) = parted(fanout::all(looked.collect()).await);
                let open: BTreeSet<NodeId> = open.into_iter().collect();
                let Some(open) = subset(&targets, |node, _| open.contains(node)) else {
                    return Ok(v1::ExtendWindowReply { errors, ..Default::default() });
                };
                (open, errors)
            }
        };
        let (folded, judged) = (open.folded()?, open.judged()?);
        let extend = ExtendWindow { targets: folded, minutes: minutes.get(), judged };
        let (seq, grant) = self.propose_extend(&permit, id, extend, before).await?;
        let work = open.nodes().map(|node| self.extend_node(node, grant.as_ref(), &until));
        let (nodes, failed) = parted(fanout::all(work.collect()).await);
        errors.extend(failed);
        Ok(v1::ExtendWindowReply { first_seq: seq, last_seq: seq, nodes, errors })
    }

    /// The entry and its grant; no grant where `before`, the entry of an earlier attempt, is older than grants live.
    async fn propose_extend(
        &self,
        permit: &Permit,
        id: RequestId,
        extend: ExtendWindow,
        before: Option<Entry>,
    ) -> Answer<(u64, Option<SignedGrant>)> {
        let action = v1::Action { action: Some(Act::ExtendWindow(extend)) };
        let proposal = attest(&self.signer, &self.clock, permit, id, &action)?;
        match (self.journal.propose_one(proposal).await, before) {
            (Ok((done, Some(grant))), _) => Ok((done.first_seq, Some(grant))),
            (Ok((_, None)), _) => Err(bad_reply("pact-journal", "a committed extend has no grant")),
            (Err(error), Some(entry)) if error.known_code() == ErrorCode::GrantExpired => {
                Ok((entry.seq, None))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The node, if it has a window: what would do nothing is not written down.
    async fn open_window(&self, target: (&NodeId, &NodeRecord), until: &Until) -> Answer<NodeId> {
        let drift = self.drift_summary(target, until).await?;
        match drift.window.as_ref().map(WindowStatus::state) {
            None | Some(WindowState::Unspecified | WindowState::Idle) => Err(no_window(target.0)),
            Some(_) => Ok(target.0.clone()),
        }
    }

    async fn extend_node(
        &self,
        target: (&NodeId, &NodeRecord),
        grant: Option<&SignedGrant>,
        until: &Until,
    ) -> Answer<NodeWindow> {
        let asked: Answer<ExtendReply> = match grant {
            Some(grant) => {
                let request = ExtendStart { grant: Some(grant.clone()) };
                self.ask_node(target, "extend", &request, (until, EXTEND)).await
            }
            None => Err(ErrorCode::GrantReplayed.error("an earlier attempt was granted")),
        };
        let window = match asked {
            Ok(reply) => reply.window,
            // A retry: the first attempt reached the node.
            Err(error) if error.known_code() == ErrorCode::GrantReplayed => {
                self.drift_summary(target, until).await?.window
            }
            Err(error) => return Err(error),
        };
        Ok(NodeWindow { node: target.0.to_string(), window })
    }
}

/// Those of the targets that an entry extended by so much; `None`: it is of another request.
fn extended(entry: &Entry, targets: &Targets, minutes: Minutes) -> Option<Targets> {
    let Some(Payload::WindowExtended(done)) = &entry.payload else { return None };
    let set = NodeSet::parse(&done.targets).ok()?;
    let open = subset(targets, |node, _| set.contains(node))?;
    (open.set.len() == set.len() && done.minutes == minutes.get()).then_some(open)
}

fn no_window(node: &NodeId) -> v1::Error {
    ErrorCode::NotFound
        .error(format!("{node} has no commit window"))
        .because("nothing on it differs from what is declared")
        .next("see `pact diff`")
        .on(node)
}

//! `rollback`: declared state becomes what it was, or drift goes: with `head`, and where the node's declared state is the
//! entry's already.
//!
//! ```text
//! scope(s) → plan (the journal's own, or the node's drift) → the plan that the caller saw?
//! nodes:    check on all of them (a holder anywhere: nothing changes) → propose → grant → each node
//! vCluster: check on its active nodes, as before → propose → the nodes take it from the journal
//! ```

mod check;
mod execute;
mod plan;
mod retry;
mod vcluster;

use pact_schemas::convert::{self, Scope};
use pact_schemas::v1::{self, EntryKind, entry::Payload};
use pact_schemas::{ErrorCode, RequestId, VclusterId};
use ring::digest::{Context, SHA256};

use super::log::decode;
use super::nodes::request_id;
use crate::ask::Until;
use crate::authorise::{Asked, Permit, operation};
use crate::context::Gateway;
use crate::door::tokens::{Caller, sight};
use crate::error::{Answer, bad_reply, bad_request};
use crate::request::is_by;
use crate::targets::Targets;
use plan::Planned;

/// Whose state.
pub(super) enum Whose {
    Nodes(Targets),
    Vcluster(VclusterId),
}

/// A whole request.
pub(super) struct Wanted {
    pub(super) id: RequestId,
    /// As the caller wrote them; empty: the scope of the entry.
    pub(super) targets: String,
    /// `None`: `head`.
    pub(super) to_seq: Option<u64>,
}

impl Wanted {
    /// Whether an entry is what this request made.
    fn made(&self, entry: &v1::Entry, by: &Permit) -> bool {
        let done = match &entry.payload {
            Some(Payload::RollbackDone(done)) => Some(done),
            _ => None,
        };
        done.is_some_and(|done| done.to_seq == self.to_seq) && is_by(entry, &by.principal)
    }
}

impl Gateway {
    pub(super) async fn rollback(
        &self,
        caller: Caller,
        request: v1::RollbackScopeRequest,
    ) -> Answer<v1::RollbackScopeReply> {
        let id = request_id(&request.request_id)?;
        let whose = self.whose(&caller, &request).await?;
        let asked = Asked::of(operation("rollback")?);
        let permit: Permit = match &whose {
            Whose::Nodes(targets) => self.authorise(&caller, asked.on(targets)).await?,
            Whose::Vcluster(vcluster) => {
                self.authorise(&caller, asked.within([vcluster.clone()])).await?
            }
        };
        let wanted = Wanted { id, targets: request.targets.clone(), to_seq: request.to_seq };
        let until = Until::new(&self.clock);
        let (earlier, whose) = if request.plan_only {
            (v1::RollbackScopeReply::default(), Some(whose))
        } else {
            self.rolled_back_before(&permit, &wanted, whose, &until).await?
        };
        let Some(whose) = whose else { return Ok(earlier) };
        let (planned, errors) = self.plan_rollback(&wanted, &whose, &until).await?;
        let digest = plan_digest(&planned);
        if request.plan_only {
            return Ok(shown_plan(planned, digest, errors));
        }
        // The rest of an earlier attempt is a part of what was seen.
        let is_seen = request.expect_plan.is_empty()
            || request.expect_plan == digest
            || !earlier.plans.is_empty();
        if !is_seen {
            return Err(ErrorCode::Conflict
                .error("the plan is not the one that you saw")
                .because("something was declared, or changed on a node, since then")
                .next("run the command again and look at its plan"));
        }
        let done = match &whose {
            Whose::Nodes(targets) => {
                self.roll_back_nodes(&permit, &wanted, targets, planned, &until).await?
            }
            Whose::Vcluster(vcluster) => {
                self.roll_back_vcluster(&permit, &wanted, vcluster, planned, &until).await?
            }
        };
        Ok(v1::RollbackScopeReply {
            plans: [earlier.plans, done.plans].concat(),
            plan_digest: digest,
            nodes: [earlier.nodes, done.nodes].concat(),
            errors: [earlier.errors, errors, done.errors].concat(),
        })
    }

    /// The scope that was named, else that of the entry.
    async fn whose(&self, caller: &Caller, request: &v1::RollbackScopeRequest) -> Answer<Whose> {
        let vcluster = request.vcluster.as_deref();
        let vcluster: Option<VclusterId> = vcluster
            .map(|name| convert::id(name, "RollbackScopeRequest.vcluster"))
            .transpose()
            .map_err(bad_request)?;
        // Whether it exists, and whether the caller may know that.
        let entry = match request.to_seq {
            Some(seq) => {
                let shown = self.visible_entry(&sight(&caller.principal), seq).await?;
                let record = shown.entry.ok_or_else(|| bad_reply("pact-journal", "no entry"))?;
                Some(decode(&record)?)
            }
            None => None,
        };
        match (request.targets.as_str(), vcluster, entry) {
            ("", None, Some(entry)) => self.scope_of(&entry).await,
            ("", _, None) => Err(ErrorCode::NoNode
                .error("No node specified")
                .because("`head` discards drift, which only nodes have")
                .next("use --node or set PACT_NODE")),
            ("", Some(vcluster), Some(_)) => Ok(Whose::Vcluster(vcluster)),
            (_, Some(_), _) => {
                Err(ErrorCode::InvalidArgument.error("--node and --vcluster exclude each other"))
            }
            (targets, None, _) => Ok(Whose::Nodes(self.resolve(targets, &request.exclude).await?)),
        }
    }

    /// The scope of an entry that changed declared state.
    async fn scope_of(&self, entry: &v1::Entry) -> Answer<Whose> {
        let declares = matches!(
            entry.kind(),
            EntryKind::Commit
                | EntryKind::Rollback
                | EntryKind::OverlayApplied
                | EntryKind::DeltaExpired
        );
        let scope = entry.scope.as_ref().map(Scope::try_from).transpose().map_err(bad_request)?;
        match scope {
            Some(Scope::Node(node)) if declares => {
                Ok(Whose::Nodes(self.one_node(node.as_str()).await?))
            }
            Some(Scope::Vcluster(vcluster)) if declares => Ok(Whose::Vcluster(vcluster)),
            _ => Err(ErrorCode::InvalidArgument
                .error(format!(
                    "entry {} declares nothing, so it has no state of its own",
                    entry.seq
                ))
                .next("name whose state to roll back to what it was then: --node or --vcluster")),
        }
    }
}

/// What a caller saw, so that nothing else is done: the actions decide all that follows.
fn plan_digest(planned: &[Planned]) -> Vec<u8> {
    use prost::Message as _;
    let mut context = Context::new(&SHA256);
    context.update(b"pact.v1.rollback-plan\0");
    for plan in planned {
        let bytes = plan.action.encode_length_delimited_to_vec();
        context.update(&bytes);
    }
    context.finish().as_ref().to_vec()
}

fn shown_plan(
    planned: Vec<Planned>,
    plan_digest: Vec<u8>,
    errors: Vec<v1::Error>,
) -> v1::RollbackScopeReply {
    let plans = planned.into_iter().map(|plan| plan.shown(0)).collect();
    v1::RollbackScopeReply { plans, plan_digest, nodes: Vec::new(), errors }
}

//! A plan on its way to a node, and what the node says about it before anything is done.

use std::time::Duration;

use pact_schemas::resource::change_set::pack_within;
use pact_schemas::rpc;
use pact_schemas::v1::{
    ChangeSet, NodeRecord, RollbackCheckReply, RollbackCheckRequest, RollbackChunk,
    RollbackChunkAck, RollbackPlan,
};
use pact_schemas::{Digest, NodeId, v1};
use prost::Message as _;

use super::plan::{Planned, whole_plan};
use crate::ask::nodes::{Agents, Until, is_away};
use crate::context::Gateway;
use crate::error::{Answer, bad_reply};

/// How long a node may take to look for holders: it reads `/proc` once, and each of the keys.
const CHECK: Duration = Duration::from_secs(12);

/// How long a node may take to take a chunk, which it keeps in memory.
const CHUNK: Duration = Duration::from_secs(5);

/// A node with its plan, checked.
pub(super) struct Checked<'a> {
    pub(super) target: (&'a NodeId, &'a NodeRecord),
    pub(super) planned: Planned,
    /// As it was sent: what the grant names. Its chunks are on the node.
    pub(super) plan: RollbackPlan,
    pub(super) verdict: Verdict,
}

/// What a node says about a plan.
pub(super) enum Verdict {
    /// It is reserved.
    Free,
    /// Somebody uses what would change.
    Held(RollbackCheckReply),
    /// The node is away, and why; it does it when it is back.
    Away(v1::Error),
}

/// A set of changes as a node gets it.
pub(super) struct Packed {
    set: ChangeSet,
    chunks: Vec<Vec<u8>>,
}

impl Packed {
    /// What is longer than this goes in chunks.
    pub(super) fn new(whole: ChangeSet, inline_bytes: usize) -> Self {
        let (set, chunks) = pack_within(whole, inline_bytes);
        Self { set, chunks }
    }

    /// The plan that brings these changes to a node.
    pub(super) fn plan(&self, node: &NodeId) -> RollbackPlan {
        RollbackPlan {
            node: node.to_string(),
            changes: Some(self.set.clone()),
            ..RollbackPlan::default()
        }
    }
}

/// The plan that discards a node's drift: its digest, and keys where some are named, say what goes.
pub(super) fn discarding_plan(node: &NodeId, drift_digest: &[u8], keys: &[String]) -> RollbackPlan {
    RollbackPlan {
        node: node.to_string(),
        changes: Some(ChangeSet::default()),
        discard_drift: true,
        expect_digest: drift_digest.to_vec(),
        keys: keys.to_vec(),
    }
}

/// What the grant names.
pub(super) fn plan_sha256(plan: &RollbackPlan) -> Vec<u8> {
    Digest::of(&plan.encode_to_vec()).to_vec()
}

/// Hands a node its plan, and asks who would be hurt. Of the changes only what is inline is kept here.
pub(super) async fn check<'a>(
    gateway: &Gateway,
    target: (&'a NodeId, &'a NodeRecord),
    planned: Planned,
    inline_bytes: usize,
    until: &Until,
) -> Answer<Checked<'a>> {
    let node = target.0;
    if planned.action.discard_drift {
        let plan = discarding_plan(node, &planned.action.drift_digest, &planned.action.keys);
        let verdict = match check_plan(&gateway.agents, target, &plan, &[], until).await? {
            // What is not seen on the node cannot be undone there, now or later.
            Verdict::Away(error) => return Err(error),
            verdict => verdict,
        };
        return Ok(Checked { target, planned, plan, verdict });
    }
    let _room = gateway.plans.room(planned.size_bytes, until).await.map_err(|e| e.on(node))?;
    let whole = whole_plan(&gateway.journal, &planned).await.map_err(|e| e.on(node))?;
    let packed = Packed::new(whole, inline_bytes);
    let plan = packed.plan(node);
    let verdict = check_plan(&gateway.agents, target, &plan, &packed.chunks, until).await?;
    Ok(Checked { target, planned, plan, verdict })
}

/// As [`Gateway::check`], of changes that are at hand.
pub(super) async fn check_packed(
    agents: &Agents,
    target: (&NodeId, &NodeRecord),
    packed: &Packed,
    until: &Until,
) -> Answer<Verdict> {
    check_plan(agents, target, &packed.plan(target.0), &packed.chunks, until).await
}

async fn check_plan(
    agents: &Agents,
    target: (&NodeId, &NodeRecord),
    plan: &RollbackPlan,
    chunks: &[Vec<u8>],
    until: &Until,
) -> Answer<Verdict> {
    match ask_about(agents, target, plan, chunks, until).await {
        Ok(reply) if !reply.holders.is_empty() => Ok(Verdict::Held(reply)),
        Ok(reply) if reply.plan_sha256 == plan_sha256(plan) => Ok(Verdict::Free),
        Ok(_) => Err(bad_reply("pact-agent", "it read another plan").on(target.0)),
        Err(error) if is_away(&error) => Ok(Verdict::Away(error)),
        Err(error) => Err(error),
    }
}

async fn ask_about(
    agents: &Agents,
    target: (&NodeId, &NodeRecord),
    plan: &RollbackPlan,
    chunks: &[Vec<u8>],
    until: &Until,
) -> Answer<RollbackCheckReply> {
    for data in chunks {
        let chunk = RollbackChunk { data: data.clone() };
        let _taken: RollbackChunkAck =
            agents.ask::<rpc::node::RollbackChunk>(target, &chunk, (until, CHUNK)).await?;
    }
    let request = RollbackCheckRequest { plan: Some(plan.clone()) };
    agents.ask::<rpc::node::RollbackCheck>(target, &request, (until, CHECK)).await
}

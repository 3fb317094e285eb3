//! `status`: what the journal knows about nodes, and when they were last heard of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pact_bus::CallError;
use pact_journal_client::{Journal, PAUSE};
use pact_schemas::rpc;
use pact_schemas::v1::{
    self, EntriesReply, EntriesRequest, LivenessReply, LivenessRequest, NodeRecord, NodeSeen,
    NodeStatus,
};
use pact_schemas::{ErrorCode, NodeId, NodeState, VclusterId, convert};

use super::log::decode;
use crate::ask::fanout;
use crate::ask::nodes::Agents;
use crate::context::{Gateway, NOBODY};
use crate::door::tokens::{Caller, sight};
use crate::error::{Answer, bad_request};
use crate::rights::authorise::{Asked, operation};
use crate::rights::targets::{self, Condition};

/// Nodes for which the latest entry is looked up, a read of the journal each, and that are asked themselves.
const MAX_LATEST: usize = 64;

/// Liveness is in the memory of svc-enroll: it answers at once or is away.
const LIVENESS: Duration = Duration::from_secs(2);

/// What svc-enroll has not answered by then may be lost, with an instance that was killed or that was leaving the bus.
const ENROLL_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn status(
    gateway: &Gateway,
    caller: Caller,
    request: v1::StatusRequest,
) -> Answer<v1::StatusReply> {
    let records = if !request.targets.is_empty() {
        let targets =
            targets::resolve(&gateway.journal, &request.targets, &request.exclude).await?;
        gateway.rights.authorise(&caller, Asked::of(operation("status")?).on(&targets)).await?;
        targets.records
    } else if let Some(name) = &request.vcluster {
        let vcluster: VclusterId =
            convert::id(name, "StatusRequest.vcluster").map_err(bad_request)?;
        gateway
            .rights
            .authorise(&caller, Asked::of(operation("status")?).within([vcluster.clone()]))
            .await?;
        let condition = Condition { vcluster: Some(vcluster), state: None };
        targets::nodes_where(&gateway.journal, &condition).await?.into_values().collect()
    } else {
        gateway.rights.authorise(&caller, Asked::of(operation("status")?)).await?;
        let all = targets::nodes_where(&gateway.journal, &Condition::default()).await?;
        let sight = sight(&caller.principal);
        all.into_values().filter(|record| sight.sees(record.vcluster.as_deref())).collect()
    };
    let (nodes, errors) = node_status(gateway, records).await;
    Ok(v1::StatusReply { nodes, errors })
}

/// A row for each record. Without svc-enroll the rows lack what it knows, and an error says so.
pub(super) async fn node_status(
    gateway: &Gateway,
    records: Vec<NodeRecord>,
) -> (Vec<NodeStatus>, Vec<v1::Error>) {
    let mut errors = Vec::new();
    let mut seen = liveness(gateway, &records).await.unwrap_or_else(|error| {
        errors.push(error);
        BTreeMap::new()
    });
    let (mut latest, silent) =
        tokio::join!(latest_of(&gateway.journal, &records), silent(&gateway.agents, &records));
    latest.resize(records.len(), None);
    let now = gateway.clock.now().unix_seconds();
    let rows = records.into_iter().zip(latest).map(|(record, last_seq)| {
        let seen = seen.remove(&record.node).unwrap_or_default();
        let known = |text: String| (!text.is_empty()).then_some(text);
        let since = seen.last_hello.as_ref().map_or(now, |hello| hello.seconds);
        let silent_seconds = u32::try_from(now.saturating_sub(since).max(0)).unwrap_or(u32::MAX);
        NodeStatus {
            silent_seconds: silent.contains(&record.node).then_some(silent_seconds),
            record: Some(record),
            last_hello: seen.last_hello,
            whitelist_mode: known(seen.whitelist_mode),
            enforcement_mode: known(seen.enforcement_mode),
            last_seq,
        }
    });
    (rows.collect(), errors)
}

/// Active nodes whose agents do not answer just now: svc-enroll calls them inactive once that has lasted for its grace
/// period. Of many nodes none is asked.
pub(super) async fn silent(agents: &Agents, records: &[NodeRecord]) -> BTreeSet<String> {
    if records.len() > MAX_LATEST {
        return BTreeSet::new();
    }
    let is_active = |record: &&NodeRecord| NodeState::of(record) == Ok(NodeState::Active);
    let asked = records.iter().filter(is_active).filter_map(|record| {
        let node = NodeId::new(&record.node).ok()?;
        Some(async move { agents.is_silent(&node).await.then(|| node.to_string()) })
    });
    fanout::all(asked.collect()).await.into_iter().flatten().collect()
}

/// Who was heard of. Asked again when the question may be lost, and while nobody takes it at all, or the bus went away:
/// svc-enroll may be starting, as may the gateway itself.
async fn liveness(gateway: &Gateway, records: &[NodeRecord]) -> Answer<BTreeMap<String, NodeSeen>> {
    if records.is_empty() {
        return Ok(BTreeMap::new());
    }
    let nodes = records.iter().map(|record| record.node.clone()).collect();
    let request = LivenessRequest { nodes };
    let started = gateway.clock.monotonic();
    loop {
        let asked = gateway
            .bus
            .call_any::<rpc::enroll::Liveness>(&(), &request, ENROLL_AGAIN, LIVENESS)
            .await;
        let error = match asked {
            Ok(reply) => return Ok(by_node(reply)),
            Err(error) => error,
        };
        let waited = gateway.clock.monotonic().saturating_sub(started);
        match error {
            CallError::Service(error) => return Err(error),
            CallError::NoResponders { .. }
            | CallError::Gone { .. }
            | CallError::Disconnected
            | CallError::Interrupted { .. }
                if waited < NOBODY =>
            {
                gateway.clock.sleep(PAUSE).await;
            }
            error => {
                return Err(ErrorCode::Unreachable
                    .error("the enrolment service does not answer")
                    .because(error.to_string())
                    .next("check that pact-enroll runs: `pact health`"));
            }
        }
    }
}

/// As [`latest`] for each of these; of many nodes of none.
async fn latest_of(journal: &Journal, records: &[NodeRecord]) -> Vec<Option<u64>> {
    if records.len() > MAX_LATEST {
        return Vec::new();
    }
    fanout::all(records.iter().map(|record| latest(journal, &record.node)).collect()).await
}

/// Sequence of a node's newest entry; what cannot be read now is left out of the row.
async fn latest(journal: &Journal, node: &str) -> Option<u64> {
    let scope = v1::Scope { scope: Some(v1::scope::Scope::Node(node.to_owned())) };
    let request = EntriesRequest { scope: Some(scope), last: Some(1), ..EntriesRequest::default() };
    let reply: EntriesReply = journal.read::<rpc::journal::Entries>(&request).await.ok()?;
    reply.entries.last().and_then(|record| decode(record).ok()).map(|entry| entry.seq)
}

fn by_node(reply: LivenessReply) -> BTreeMap<String, NodeSeen> {
    reply.nodes.into_iter().map(|seen| (seen.node.clone(), seen)).collect()
}

//! `status`: what the journal knows about nodes, and when they were last heard of.

use std::collections::BTreeMap;
use std::time::Duration;

use pact_bus::CallError;
use pact_journal_client::PAUSE;
use pact_schemas::v1::{
    self, EntriesReply, EntriesRequest, LivenessReply, LivenessRequest, NodeRecord, NodeSeen,
    NodeStatus,
};
use pact_schemas::{ErrorCode, VclusterId, convert};

use super::log::decode;
use crate::authorise::{Asked, operation};
use crate::context::{Gateway, NOBODY, service_subject};
use crate::door::tokens::{Caller, sight};
use crate::error::{Answer, bad_request};
use crate::fanout;
use crate::targets::Condition;

/// Nodes for which the latest entry is looked up; each is a read of the journal.
const MAX_LATEST: usize = 64;

/// Liveness is in the memory of svc-enroll: it answers at once or is away.
const LIVENESS: Duration = Duration::from_secs(2);

/// What svc-enroll has not answered by then may be lost, with an instance that was killed or that was leaving the bus.
const ENROLL_AGAIN: Duration = Duration::from_secs(1);

impl Gateway {
    pub(super) async fn status(
        &self,
        caller: Caller,
        request: v1::StatusRequest,
    ) -> Answer<v1::StatusReply> {
        let records = if !request.targets.is_empty() {
            let targets = self.resolve(&request.targets, &request.exclude).await?;
            self.authorise(&caller, Asked::of(operation("status")?).on(&targets)).await?;
            targets.records
        } else if let Some(name) = &request.vcluster {
            let vcluster: VclusterId =
                convert::id(name, "StatusRequest.vcluster").map_err(bad_request)?;
            self.authorise(&caller, Asked::of(operation("status")?).within([vcluster.clone()]))
                .await?;
            let condition = Condition { vcluster: Some(vcluster), state: None };
            self.nodes_where(&condition).await?.into_values().collect()
        } else {
            self.authorise(&caller, Asked::of(operation("status")?)).await?;
            let all = self.nodes_where(&Condition::default()).await?;
            let sight = sight(&caller.principal);
            all.into_values().filter(|record| sight.sees(record.vcluster.as_deref())).collect()
        };
        let (nodes, errors) = self.node_status(records).await;
        Ok(v1::StatusReply { nodes, errors })
    }

    /// A row for each record. Without svc-enroll the rows lack what it knows, and an error says so.
    pub(super) async fn node_status(
        &self,
        records: Vec<NodeRecord>,
    ) -> (Vec<NodeStatus>, Vec<v1::Error>) {
        let mut errors = Vec::new();
        let mut seen = self.liveness(&records).await.unwrap_or_else(|error| {
            errors.push(error);
            BTreeMap::new()
        });
        let mut latest = if records.len() <= MAX_LATEST {
            fanout::all(records.iter().map(|record| self.latest(&record.node)).collect()).await
        } else {
            Vec::new()
        };
        latest.resize(records.len(), None);
        let rows = records.into_iter().zip(latest).map(|(record, last_seq)| {
            let seen = seen.remove(&record.node).unwrap_or_default();
            let known = |text: String| (!text.is_empty()).then_some(text);
            NodeStatus {
                record: Some(record),
                last_hello: seen.last_hello,
                whitelist_mode: known(seen.whitelist_mode),
                enforcement_mode: known(seen.enforcement_mode),
                last_seq,
            }
        });
        (rows.collect(), errors)
    }

    /// Who was heard of. Asked again when the question may be lost, and while nobody takes it at all, or the bus went away:
    /// svc-enroll may be starting, as may the gateway itself.
    async fn liveness(&self, records: &[NodeRecord]) -> Answer<BTreeMap<String, NodeSeen>> {
        if records.is_empty() {
            return Ok(BTreeMap::new());
        }
        let nodes = records.iter().map(|record| record.node.clone()).collect();
        let (subject, request) =
            (service_subject("enroll", "liveness")?, LivenessRequest { nodes });
        let started = self.clock.monotonic();
        loop {
            let asked = self.bus.request_any(&subject, &request, ENROLL_AGAIN, LIVENESS).await;
            let error = match asked {
                Ok(reply) => return Ok(by_node(reply)),
                Err(error) => error,
            };
            let waited = self.clock.monotonic().saturating_sub(started);
            match error {
                CallError::Service(error) => return Err(error),
                CallError::NoResponders { .. }
                | CallError::Gone { .. }
                | CallError::Disconnected
                | CallError::Interrupted { .. }
                    if waited < NOBODY =>
                {
                    self.clock.sleep(PAUSE).await;
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

    /// Sequence of a node's newest entry; what cannot be read now is left out of the row.
    async fn latest(&self, node: &str) -> Option<u64> {
        let scope = v1::Scope { scope: Some(v1::scope::Scope::Node(node.to_owned())) };
        let request =
            EntriesRequest { scope: Some(scope), last: Some(1), ..EntriesRequest::default() };
        let reply: EntriesReply = self.journal.read("entries", &request).await.ok()?;
        reply.entries.last().and_then(|record| decode(record).ok()).map(|entry| entry.seq)
    }
}

fn by_node(reply: LivenessReply) -> BTreeMap<String, NodeSeen> {
    reply.nodes.into_iter().map(|seen| (seen.node.clone(), seen)).collect()
}

//! `cap`: what nodes reported about themselves.

use pact_journal_client::Journal;
use pact_schemas::v1::{self, NodeCapability, NodeRecord};
use pact_schemas::{ErrorCode, NodeState};

use crate::ask::fanout;
use crate::ask::read;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_reply};
use crate::rights::authorise::{Asked, operation};
use crate::rights::targets;

/// Largest report that is handed on: a node with many devices has some ten kilobytes.
const MAX_REPORT_BYTES: usize = 1024 * 1024;

/// Reports in one answer: beyond it gRPC clients refuse the message.
const MAX_REPLY_BYTES: usize = 3 * 1024 * 1024;

pub(super) async fn capability(
    gateway: &Gateway,
    caller: Caller,
    request: v1::CapabilityRequest,
) -> Answer<v1::CapabilityReply> {
    let targets = targets::resolve(&gateway.journal, &request.targets, &request.exclude).await?;
    gateway.rights.authorise(&caller, Asked::of(operation("cap")?).on(&targets)).await?;
    let reports = fanout::all(
        targets.records.iter().map(|record| report(&gateway.journal, record)).collect(),
    )
    .await;
    let (mut nodes, mut errors, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (node, report) in targets.set.iter().zip(reports) {
        match report {
            Ok(report) if bytes + report.report.len() <= MAX_REPLY_BYTES => {
                bytes += report.report.len();
                nodes.push(report);
            }
            Ok(_) => {
                let error = ErrorCode::TooLarge
                    .error("the reports of so many nodes do not fit into one answer");
                errors.push(error.next("ask for fewer nodes at once").on(node));
            }
            Err(error) => errors.push(error.on(node)),
        }
    }
    Ok(v1::CapabilityReply { nodes, errors })
}

async fn report(journal: &Journal, record: &NodeRecord) -> Answer<NodeCapability> {
    let state = NodeState::of(record).map_err(|error| bad_reply("pact-journal", error))?;
    let mut report = Vec::new();
    for chunk in &record.capability {
        report.extend(read::chunk(journal, chunk).await?);
        if report.len() > MAX_REPORT_BYTES {
            return Err(
                ErrorCode::TooLarge.error(format!("the report is over {MAX_REPORT_BYTES} bytes"))
            );
        }
    }
    Ok(NodeCapability {
        node: record.node.clone(),
        state: state.into(),
        report,
        reported: record.capability_time,
    })
}

//! The recorded output of a command, as it was.

use pact_journal_client::Journal;
use pact_schemas::v1::{self, ReadOutputReply, entry::Payload};
use pact_schemas::{ErrorCode, NodeId};

use super::log::{decode, node_of, visible_entry};
use crate::ask::read;
use crate::context::Gateway;
use crate::door::tokens::{Caller, sight};
use crate::error::{Answer, bad_reply};
use crate::rights::authorise::{Asked, operation};
use crate::stream::{Drain, Outflow, Outlet};

/// Pieces between the journal and the client; each is at most a chunk.
const QUEUE: usize = 4;

pub(super) async fn read_output(
    gateway: &Gateway,
    caller: Caller,
    request: v1::ReadOutputRequest,
) -> Answer<Outflow<ReadOutputReply>> {
    gateway.rights.authorise(&caller, Asked::of(operation("log.show")?)).await?;
    let session = gateway.streams.open(&caller)?;
    let shown = visible_entry(&gateway.journal, &sight(&caller.principal), request.seq).await?;
    let mut recorded = Vec::new();
    for record in shown.entry.iter().chain(&shown.outcomes) {
        let entry = decode(record)?;
        if let (Some(node), Some(Payload::ExecFinished(finished))) =
            (node_of(&entry), entry.payload)
        {
            recorded.push((node, finished.output));
        }
    }
    if recorded.is_empty() {
        return Err(ErrorCode::NotFound
            .error(format!("entry {} has no recorded output", request.seq))
            .because(
                "it is not the request or the outcome of a command, or the command has not ended",
            ));
    }
    let journal = gateway.journal.clone();
    Ok(gateway.streams.start((caller, session), QUEUE, Drain::Finish, move |pieces| async move {
        send_output(&journal, recorded, pieces).await
    }))
}

async fn send_output(
    journal: &Journal,
    recorded: Vec<(NodeId, Vec<v1::OutputSegment>)>,
    pieces: Outlet<ReadOutputReply>,
) -> Option<v1::Error> {
    for (node, segments) in recorded {
        for segment in segments {
            match piece(journal, &node, segment).await {
                Ok(piece) => pieces.send(Ok(piece)).await.ok()?, // else the client is gone
                Err(error) => return Some(error),
            }
        }
    }
    None
}

async fn piece(
    journal: &Journal,
    node: &NodeId,
    segment: v1::OutputSegment,
) -> Answer<ReadOutputReply> {
    let blob =
        segment.blob.ok_or_else(|| bad_reply("pact-journal", "OutputSegment.blob is missing"))?;
    let data = read::chunk(journal, &blob).await?;
    Ok(ReadOutputReply { node: node.to_string(), stream: segment.stream, data })
}

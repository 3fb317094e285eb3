//! The recorded output of a command, as it was.

use pact_schemas::v1::{self, BlobReply, BlobRequest, ReadOutputReply, entry::Payload};
use pact_schemas::{Digest, ErrorCode, NodeId};

use super::log::{decode, node_of};
use crate::context::Gateway;
use crate::door::tokens::{Caller, sight};
use crate::error::{Answer, bad_reply};
use crate::rights::authorise::{Asked, operation};
use crate::stream::{Drain, Outflow, Outlet};

/// Pieces between the journal and the client; each is at most a chunk.
const QUEUE: usize = 4;

/// Largest chunk, uncompressed (docs/formats.md §1).
const MAX_CHUNK_BYTES: usize = 256 * 1024;

impl Gateway {
    pub(super) async fn read_output(
        &self,
        caller: Caller,
        request: v1::ReadOutputRequest,
    ) -> Answer<Outflow<ReadOutputReply>> {
        self.authorise(&caller, Asked::of(operation("log.show")?)).await?;
        let session = self.streams.open(&caller)?;
        let shown = self.visible_entry(&sight(&caller.principal), request.seq).await?;
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
                .because("it is not the request or the outcome of a command, or the command has not ended"));
        }
        let gateway = self.clone();
        Ok(self.streams.start((caller, session), QUEUE, Drain::Finish, move |pieces| async move {
            gateway.send_output(recorded, pieces).await
        }))
    }

    async fn send_output(
        &self,
        recorded: Vec<(NodeId, Vec<v1::OutputSegment>)>,
        pieces: Outlet<ReadOutputReply>,
    ) -> Option<v1::Error> {
        for (node, segments) in recorded {
            for segment in segments {
                match self.piece(&node, segment).await {
                    Ok(piece) => pieces.send(Ok(piece)).await.ok()?, // else the client is gone
                    Err(error) => return Some(error),
                }
            }
        }
        None
    }

    async fn piece(&self, node: &NodeId, segment: v1::OutputSegment) -> Answer<ReadOutputReply> {
        let blob = segment
            .blob
            .ok_or_else(|| bad_reply("pact-journal", "OutputSegment.blob is missing"))?;
        let data = self.chunk(&blob).await?;
        Ok(ReadOutputReply { node: node.to_string(), stream: segment.stream, data })
    }

    /// One chunk from the journal, decompressed and compared with its hash.
    pub(crate) async fn chunk(&self, blob: &v1::BlobRef) -> Answer<Vec<u8>> {
        let request = BlobRequest { sha256: blob.sha256.clone() };
        let reply: BlobReply = self.journal.read("blob", &request).await?;
        let data = zstd::bulk::decompress(&reply.compressed, MAX_CHUNK_BYTES)
            .map_err(|_| bad_reply("pact-journal", "a chunk does not decompress"))?;
        if Digest::of(&data).as_bytes() != blob.sha256.as_slice() {
            return Err(bad_reply("pact-journal", "a chunk is not what its hash says"));
        }
        Ok(data)
    }
}

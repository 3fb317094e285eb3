//! Contents on their way into the journal, before anything refers to them.

use pact_journal_client::{MAX_PROPOSALS, committed};
use pact_schemas::v1::{self, Proposal, PutBlob, action::Action as Act};
use pact_schemas::{Digest, ErrorCode, RequestId};

use crate::ask::propose::Proposals;
use crate::ask::request::derived;
use crate::error::Answer;
use crate::rights::permit::Permit;

/// Compressed bytes of one request: under the journal's 512 KiB with the attestations beside them.
const BATCH_BYTES: usize = 384 * 1024;

/// An attestation with its proposal, beside the bytes.
const EACH_BYTES: usize = 2 * 1024;

/// Stores these blobs by their digests; those that are there already stay.
pub(in crate::commands) async fn store(
    proposals: &Proposals,
    permit: &Permit,
    id: RequestId,
    blobs: &[Vec<u8>],
) -> Answer<()> {
    let mut batch: Vec<Proposal> = Vec::new();
    let mut bytes = 0;
    for blob in blobs {
        let (proposal, size) = put(proposals, permit, id, blob)?;
        if !batch.is_empty() && (bytes + size > BATCH_BYTES || batch.len() >= MAX_PROPOSALS) {
            propose_blobs(proposals, std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
        bytes += size;
        batch.push(proposal);
    }
    if batch.is_empty() { Ok(()) } else { propose_blobs(proposals, batch).await }
}

fn put(
    proposals: &Proposals,
    permit: &Permit,
    id: RequestId,
    blob: &[u8],
) -> Answer<(Proposal, usize)> {
    let sha256 = Digest::of(blob);
    let compressed = zstd::bulk::compress(blob, zstd::DEFAULT_COMPRESSION_LEVEL)
        .map_err(|e| ErrorCode::Internal.error(format!("contents do not compress: {e}")))?;
    let size = compressed.len() + EACH_BYTES;
    let size_bytes = u32::try_from(blob.len())
        .map_err(|_| ErrorCode::TooLarge.error("contents of over 4 GiB"))?;
    let put = PutBlob { sha256: sha256.to_vec(), compressed, size_bytes };
    let action = v1::Action::from(Act::PutBlob(put));
    let id = derived(id, &format!("blob/{sha256}"))?;
    Ok((proposals.attest(permit, id, &action)?, size))
}

async fn propose_blobs(proposals: &Proposals, batch: Vec<Proposal>) -> Answer<()> {
    let results = proposals.send(batch).await?;
    results.into_iter().try_for_each(|result| committed(result).map(drop))
}

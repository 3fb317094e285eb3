//! `blob`: a recorded chunk by its hash.

use pact_journal_core::record::Blob;
use pact_schemas::v1::{self, BlobReply, BlobRequest};
use pact_schemas::{ErrorCode, convert};

use super::reading;
use crate::context::Context;
use crate::store::query;

/// The chunk with this SHA-256. A chunk never changes, so what is here is good; only what is missing is looked for again.
///
/// # Errors
/// `PACT_NOT_FOUND` when no chunk has this hash.
pub async fn blob(context: &Context, request: BlobRequest) -> Result<BlobReply, v1::Error> {
    let sha256: [u8; 32] = convert::bytes(&request.sha256, "BlobRequest.sha256")?;
    let mut found = read(context, sha256).await?;
    if found.is_none() {
        context.current(false).await?;
        found = read(context, sha256).await?;
    }
    let Blob { compressed, size_bytes } = found.ok_or_else(|| {
        let hash: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        ErrorCode::NotFound.error(format!("there is no recorded chunk {hash}"))
    })?;
    Ok(BlobReply { compressed, size_bytes })
}

async fn read(context: &Context, sha256: [u8; 32]) -> Result<Option<Blob>, v1::Error> {
    let state = context.member().state();
    reading(move || query::blob(&state, &sha256)).await
}

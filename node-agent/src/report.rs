//! The capability report: written for the node's users, and told to the journal when it changed.
//!
//! ```text
//! <manifest_path>               the report, world-readable, written every time
//! <state_dir>/capability.sha256 digest of the report that was spooled last, without its time
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pact_runtime::{CancellationToken, Clock, causes};
use pact_schemas::{NodeId, v1};

use crate::blobs::{BlobError, Blobs, CHUNK_BYTES};
use crate::capability::{self, CapabilityError};
use crate::durable::{self, PRIVATE};
use crate::spool::{Spool, SpoolError};
use crate::time::PlaneClock;

/// Hardware changes rarely; what changes fast is not in the report.
const INTERVAL: Duration = Duration::from_secs(300);

/// A digest in hex.
const DIGEST_BYTES: u64 = 64;

/// Where it comes from and goes to.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    pub(crate) node: NodeId,
    pub(crate) manifest: PathBuf,
    pub(crate) digest: PathBuf,
    pub(crate) spool: Spool,
    pub(crate) blobs: Blobs,
    pub(crate) plane: PlaneClock,
    pub(crate) clock: Clock,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    #[error("the capability report cannot be encoded")]
    Encode(#[from] serde_json::Error),
    #[error("cannot use {}", path.display())]
    Digest {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the capability report cannot be recorded")]
    Blob(#[from] BlobError),
    #[error("the capability report cannot be spooled")]
    Spool(#[from] SpoolError),
    #[error("the capability report was interrupted")]
    Interrupted,
}

/// Reports until `stop`.
pub(crate) async fn run(reporter: Reporter, stop: CancellationToken) {
    loop {
        if let Err(error) = report(&reporter).await {
            tracing::warn!(cause = causes(&error), "{error}");
        }
        tokio::select! {
            () = stop.cancelled() => return, // cancel-safe: a token
            () = reporter.clock.sleep(INTERVAL) => {} // cancel-safe: a timer
        }
    }
}

/// Collects, writes, and spools when something changed.
pub(crate) async fn report(reporter: &Reporter) -> Result<(), ReportError> {
    let collector = reporter.clone();
    // Reads dozens of small files of /proc and /sys.
    let collected = tokio::task::spawn_blocking(move || collect(&collector)).await;
    let Some((digest, chunks)) = collected.map_err(|_| ReportError::Interrupted)?? else {
        return Ok(());
    };
    let change = v1::CapabilityChange { node: reporter.node.to_string(), report: chunks };
    let body = v1::node_event::Body::CapabilityChange(change);
    reporter.spool.append(reporter.plane.best(), body).await?;
    tracing::info!("capability report changed");
    let path = reporter.digest.clone();
    durable::replace(&path, digest.as_bytes(), PRIVATE)
        .map_err(|source| ReportError::Digest { path, source })
}

/// Writes the manifest; the digest and chunks of the report when it is not the one that was told last.
fn collect(reporter: &Reporter) -> Result<Option<(String, Vec<v1::BlobRef>)>, ReportError> {
    let now = reporter.plane.best().to_string();
    let mut report = capability::collect(Path::new("/"), reporter.node.as_str(), now)?;
    capability::write_manifest(&report, &reporter.manifest)?;
    let document = serde_json::to_vec(&report)?;
    report.collected_at.clear();
    let timeless = serde_json::to_vec(&report)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &timeless);
    let digest = durable::hex(digest.as_ref());
    let told = durable::read_bounded(&reporter.digest, DIGEST_BYTES)
        .map_err(|source| ReportError::Digest { path: reporter.digest.clone(), source })?;
    if told.is_some_and(|told| told == digest.as_bytes()) {
        return Ok(None);
    }
    let chunks = document.chunks(CHUNK_BYTES).map(|chunk| reporter.blobs.keep(chunk));
    Ok(Some((digest, chunks.collect::<Result<_, _>>()?)))
}

//! Whether there is room: a full disk makes the journal read-only, and never corrupt.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use pact_runtime::{CancellationToken, Clock};

/// Below this much free space nothing is proposed. Compactions and a snapshot must still fit.
pub(crate) const PROPOSE_RESERVE_BYTES: u64 = 256 * 1024 * 1024;
/// Below this much free space nothing is taken from the leader either.
pub(crate) const REPLICATE_RESERVE_BYTES: u64 = 128 * 1024 * 1024;
/// How often it is looked at: at 200 MB/s a disk fills by less than the reserve in this time.
const INTERVAL: Duration = Duration::from_millis(500);

/// What the last look found. Clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    inner: Arc<Low>,
}

#[derive(Debug, Default)]
struct Low {
    for_proposals: AtomicBool,
    for_replication: AtomicBool,
}

impl Space {
    /// Whether new commands may be written.
    pub(crate) fn takes_proposals(&self) -> bool {
        !self.inner.for_proposals.load(Ordering::Relaxed)
    }

    /// Whether entries of the leader may be written.
    pub(crate) fn takes_replication(&self) -> bool {
        !self.inner.for_replication.load(Ordering::Relaxed)
    }

    /// Takes note of this much free space.
    pub(crate) fn note(&self, free_bytes: u64) {
        let low = free_bytes < PROPOSE_RESERVE_BYTES;
        let was_low = self.inner.for_proposals.swap(low, Ordering::Relaxed);
        self.inner.for_replication.store(free_bytes < REPLICATE_RESERVE_BYTES, Ordering::Relaxed);
        match (was_low, low) {
            (false, true) => tracing::error!(
                free_bytes,
                reserve_bytes = PROPOSE_RESERVE_BYTES,
                "the disk is nearly full: read-only"
            ),
            (true, false) => tracing::info!(free_bytes, "there is room again: writing"),
            _ => {}
        }
        metrics::gauge!("pact_journal_free_bytes").set(to_gauge(free_bytes));
    }

    /// Looks until `stop`. A look that fails is logged; what is known stays.
    pub(crate) async fn watch(self, folder: PathBuf, clock: Clock, stop: CancellationToken) {
        loop {
            match free_bytes(&folder) {
                Ok(free) => self.note(free),
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "free space is not known")
                }
            }
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe
                () = clock.sleep(INTERVAL) => {} // cancel-safe: nothing is lost with a sleep
            }
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a gauge; 2^53 bytes are enough")]
fn to_gauge(value: u64) -> f64 {
    value as f64
}

/// Bytes that an unprivileged process may still write here.
pub(crate) fn free_bytes(folder: &Path) -> Result<u64, nix::Error> {
    let stat = statvfs(folder)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_refuses_and_recovers() {
        let space = Space::default();
        assert!(space.takes_proposals() && space.takes_replication());
        space.note(PROPOSE_RESERVE_BYTES - 1);
        assert!(!space.takes_proposals() && space.takes_replication());
        space.note(0);
        assert!(!space.takes_replication());
        space.note(PROPOSE_RESERVE_BYTES);
        assert!(space.takes_proposals() && space.takes_replication());
        assert!(free_bytes(Path::new("/")).is_ok());
    }
}

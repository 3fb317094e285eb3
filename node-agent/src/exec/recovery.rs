//! After a crash: what was running becomes an outcome UNKNOWN, once, and what it left running is killed.

use std::collections::BTreeSet;

use pact_runtime::{Timestamp, causes};
use pact_schemas::{Seq, v1};

use super::Ledger;
use super::outcome;
use super::running::Record;
use super::session::Session;
use crate::boot::BootId;
use crate::owner::Owner;
use crate::spool::{Spool, SpoolError};

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The outcome cannot be spooled.
    #[error("the outcome of the interrupted command {seq} cannot be spooled")]
    Spool {
        /// Its grant.
        seq: u64,
        /// Why.
        #[source]
        source: SpoolError,
    },
    /// The record of an interrupted command cannot be removed.
    #[error("the record of the interrupted command {seq} cannot be removed")]
    Ledger {
        /// Its grant.
        seq: u64,
        /// Why.
        #[source]
        source: super::LedgerError,
    },
    /// The thread that owns the ledger has ended.
    #[error("the thread that records running commands has ended")]
    Gone,
}

/// Spools an outcome for each command that a crash interrupted; `ended` are the grants whose outcome the spool already
/// has. Starts nothing.
pub(crate) async fn recover(
    left: Vec<Record>,
    ended: &BTreeSet<u64>,
    boot: &BootId,
    ledger: &Owner<Ledger>,
    spool: &Spool,
    now: Timestamp,
) -> Result<(), RecoveryError> {
    for record in left {
        let seq = record.seq;
        kill_rest(&record, boot).await;
        if !ended.contains(&seq) {
            let started = Timestamp::from_unix_nanos(record.admitted);
            let finished = Some(outcome::unknown(started, now, reason(&record, boot)));
            let event = v1::ExecEnded { grant_seq: seq, finished };
            match spool.append(now, v1::node_event::Body::ExecEnded(event)).await {
                Ok(number) => tracing::warn!(seq, number, "a command was interrupted: unknown"),
                Err(error @ SpoolError::Full { .. }) => {
                    tracing::error!(seq, "the outcome waits for room: {error}");
                    continue;
                }
                Err(source) => return Err(RecoveryError::Spool { seq, source }),
            }
        }
        let Ok(number) = Seq::new(seq) else { continue };
        let removed = ledger.call(move |ledger| ledger.end(number)).await;
        let removed = removed.map_err(|_| RecoveryError::Gone)?;
        removed.map_err(|source| RecoveryError::Ledger { seq, source })?;
    }
    Ok(())
}

fn reason(record: &Record, boot: &BootId) -> &'static str {
    if record.boot_id == *boot {
        "the agent ended while the command ran; what was left of it was killed"
    } else {
        "the node was restarted while the command ran"
    }
}

/// What the command started may have outlived the agent, unless the machine was restarted.
async fn kill_rest(record: &Record, boot: &BootId) {
    if record.boot_id != *boot {
        return;
    }
    let session = Session::left_behind(record);
    let ending = tokio::task::spawn_blocking(move || {
        session.wait_for_warden();
        session.sweep()
    });
    match ending.await {
        Ok(0) => {}
        Ok(killed) => tracing::warn!(seq = record.seq, killed, "killed what was left running"),
        Err(error) => {
            tracing::error!(cause = causes(&error), "cannot look for what was left running")
        }
    }
}

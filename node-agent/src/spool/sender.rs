//! Sends the spool to the journal: in order, one event under way, the chunks of an event before the event.
//!
//! An event is confirmed only by the journal's own word. Whatever goes wrong, the same event is sent again; the journal
//! knows it by (node, spool id, number). Nothing is skipped.

use std::time::Duration;

use pact_bus::CallError;
use pact_runtime::{CancellationToken, Clock};
use pact_schemas::id::IdError;
use pact_schemas::{ErrorCode, v1};
use prost::Message;

use super::{Spool, SpoolError, chunks};
use crate::blobs::{BlobError, Blobs};
use crate::uplink::{Pause, Uplink, names};

/// The journal commits in milliseconds, or while it has no leader not at all.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Waits after a failure that passes by itself.
const RETRY: Pause = Pause::new(Duration::from_millis(100), Duration::from_secs(5));

/// Waits after a refusal that only a person can end.
const REFUSED: Duration = Duration::from_secs(60);

/// Why an event is not committed yet.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the journal does not take the event")]
    Call(#[from] CallError),
    #[error("a recorded chunk of the event cannot be read")]
    Blob(#[from] BlobError),
    #[error("the spool cannot be read")]
    Spool(#[from] SpoolError),
    #[error("the spool holds an event that this version does not know")]
    Unknown,
    #[error(transparent)]
    Name(#[from] IdError),
}

/// Sends until `stop`.
///
/// # Errors
/// [`SpoolError`] when the spool itself fails.
pub(crate) async fn run(
    spool: Spool,
    blobs: Blobs,
    uplink: Uplink,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), SpoolError> {
    let mut pause = RETRY;
    let mut sent = spool.progress().committed;
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return Ok(()), // cancel-safe: a token
            // Cancel-safe: an event that is under way is sent again after the next start.
            next = next(&spool, &blobs, &uplink, sent) => next,
        };
        let wait = match next {
            Ok(committed) => {
                sent = committed;
                pause.reset();
                continue;
            }
            Err(SendError::Spool(error)) => return Err(error),
            Err(SendError::Call(CallError::Disconnected | CallError::Interrupted { .. })) => None,
            Err(SendError::Call(CallError::Service(error)))
                if error.known_code() == ErrorCode::SpoolGap =>
            {
                match error.expected_number {
                    Some(expected) if expected > 0 && expected <= spool.progress().head + 1 => {
                        tracing::warn!(sent, expected, "the journal asks for earlier events again");
                        sent = expected - 1;
                        Some(pause.next(&clock))
                    }
                    _ => Some(refused(&SendError::Call(CallError::Service(error)))),
                }
            }
            Err(error) if is_passing(&error) => {
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::debug!(cause, sent, "{error}");
                Some(pause.next(&clock))
            }
            Err(error) => Some(refused(&error)),
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()), // cancel-safe: a token
            () = paused(&clock, &uplink, wait) => {} // cancel-safe
        }
    }
}

async fn paused(clock: &Clock, uplink: &Uplink, wait: Option<Duration>) {
    match wait {
        Some(wait) => clock.sleep(wait).await,
        None => uplink.connected().await,
    }
}

fn refused(error: &SendError) -> Duration {
    let cause = std::error::Error::source(error).map(tracing::field::display);
    tracing::error!(cause, "an event is refused and kept; it is tried again every minute: {error}");
    REFUSED
}

/// Whether trying again soon is all there is to do.
fn is_passing(error: &SendError) -> bool {
    let SendError::Call(call) = error else { return false };
    match call {
        CallError::Service(error) => matches!(
            error.known_code(),
            ErrorCode::NoLeader
                | ErrorCode::NotLeader
                | ErrorCode::Busy
                | ErrorCode::Timeout
                | ErrorCode::StorageFull
                | ErrorCode::Unreachable
                | ErrorCode::RateLimited
        ),
        CallError::Malformed { .. } | CallError::TooLarge { .. } => false,
        _ => true,
    }
}

/// Waits for the event after `sent`, sends it with its chunks, and returns the number up to which all is committed.
async fn next(spool: &Spool, blobs: &Blobs, uplink: &Uplink, sent: u64) -> Result<u64, SendError> {
    spool.beyond(sent).await;
    let Some(bytes) = spool.after(sent).await? else { return Err(SendError::Unknown) };
    let event = v1::NodeEvent::decode(bytes.as_slice()).map_err(|_| SendError::Unknown)?;
    let kind = names::event_kind(event.body.as_ref()).ok_or(SendError::Unknown)?;
    for chunk in chunks(&event) {
        // `None`: an earlier attempt has uploaded it.
        if let Some(upload) = blobs.upload(chunk)? {
            let method = names::method("recording")?;
            let _taken: v1::RecordingAck = uplink.call(method, &upload, CALL_LIMIT).await?;
        }
    }
    let ack: v1::EventAck = uplink.event(kind, &event, CALL_LIMIT).await?;
    if ack.committed_number < event.number {
        tracing::warn!(
            number = event.number,
            committed = ack.committed_number,
            "not committed yet"
        );
        return Ok(ack.committed_number);
    }
    if ack.committed_number > spool.progress().head {
        tracing::error!(
            head = spool.progress().head,
            committed = ack.committed_number,
            "the journal has more events of this spool than there are: the state directory is an old copy"
        );
    }
    spool.confirm(event.number).await?;
    for chunk in chunks(&event) {
        blobs.release(chunk)?;
    }
    Ok(event.number)
}

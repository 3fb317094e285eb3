//! Sends the spool to the journal: in order, one event under way, the chunks of an event before the event.
//!
//! An event is confirmed only by the journal's own word. Whatever goes wrong, the same event is sent again; the journal
//! knows it by (node, spool id, number). Nothing is skipped.

use std::time::Duration;

use pact_bus::CallError;
use pact_runtime::{CancellationToken, Clock, Pause};
use pact_schemas::rpc::up;
use pact_schemas::{ErrorCode, v1};
use prost::Message;

use super::{Spool, SpoolError, chunks};
use crate::blobs::{BlobError, Blobs};
use crate::uplink::{Uplink, event_kind};

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
    #[error(
        "the journal has {committed} events of this spool, which has {head}: the folder is an old copy"
    )]
    OldCopy { committed: u64, head: u64 },
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
            Err(error) if expected(&error).is_some() => {
                sent = go_on(&spool, &clock, &error, sent).await?;
                Some(pause.next(&clock))
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

/// The number that the journal wants next: 0 when this spool's numbers mean nothing to it.
fn expected(error: &SendError) -> Option<u64> {
    match error {
        SendError::OldCopy { .. } => Some(0),
        SendError::Call(CallError::Service(error)) if error.known_code() == ErrorCode::SpoolGap => {
            error.expected_number
        }
        _ => None,
    }
}

/// Where to go on after the journal asked for another number.
async fn go_on(
    spool: &Spool,
    clock: &Clock,
    error: &SendError,
    sent: u64,
) -> Result<u64, SpoolError> {
    let expected = expected(error).unwrap_or(0);
    if expected > 0 && spool.can_go_on_from(expected).await? {
        tracing::warn!(sent, expected, "the journal asks for other events");
        return Ok(expected - 1);
    }
    let old = spool.id();
    spool.begin_anew(clock).await?;
    let (new, events) = (spool.id(), spool.progress().head);
    tracing::error!(%old, %new, sent, expected, events, "began a new spool: {error}");
    Ok(0)
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
    let kind = event_kind(event.body.as_ref()).ok_or(SendError::Unknown)?;
    for chunk in chunks(&event) {
        // `None`: an earlier attempt has uploaded it.
        if let Some(upload) = blobs.upload(chunk)? {
            uplink.call_any::<up::Recording>(&upload, CALL_LIMIT).await?;
            spool.chunk_taken();
        }
    }
    let ack = uplink.event(kind, &event, CALL_LIMIT).await?;
    if ack.committed_number < event.number {
        tracing::warn!(
            number = event.number,
            committed = ack.committed_number,
            "not committed yet"
        );
        return Ok(ack.committed_number);
    }
    let head = spool.progress().head;
    if ack.committed_number > head {
        return Err(SendError::OldCopy { committed: ack.committed_number, head });
    }
    spool.confirm(event.number).await?;
    for chunk in chunks(&event) {
        blobs.release(chunk)?;
    }
    Ok(event.number)
}

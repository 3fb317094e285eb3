//! Wakes the engine: when something changed, when a moment has come, when the journal declares something, when a command ended.

use std::os::fd::OwnedFd;
use std::time::Duration;

use pact_runtime::CancellationToken;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::engine::Engine;
use super::rpc::Drift;
use super::sessions::Sessions;
use super::store::StoreError;
use crate::owner::OwnerGone;

/// Changes come in bursts: an editor writes, renames and sets the mode. They are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(80);

/// Why the task ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriftError {
    /// The engine's thread has ended.
    #[error("the thread that watches the node has ended")]
    Gone,
    /// What an earlier run left cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system cannot wait for changes.
    #[error("cannot wait for changes on the node")]
    Readiness(#[source] std::io::Error),
}

impl From<OwnerGone> for DriftError {
    fn from(OwnerGone: OwnerGone) -> Self {
        Self::Gone
    }
}

/// Drives the engine until `stop`.
///
/// # Errors
/// [`DriftError`] when drift cannot be watched.
pub(crate) async fn run(
    drift: Drift,
    sessions: Sessions,
    stop: CancellationToken,
) -> Result<(), DriftError> {
    let engine = drift.engine().clone();
    tokio::select! {
        () = stop.cancelled() => return Ok(()), // cancel-safe: the thread finishes what it began
        started = engine.call(Engine::start) => started??,
    }
    let ready = engine.call(|engine| engine.readiness()).await?;
    let ready: Vec<_> = ready.into_iter().map(Readable::new).collect::<Result<_, _>>()?;
    let mut watching = drift.watching();
    let known = watching.now();
    engine.call(move |engine| engine.adopt(&known)).await?;
    let mut wait = Duration::ZERO;
    loop {
        let known = tokio::select! {
            () = stop.cancelled() => return Ok(()), // cancel-safe: a token
            () = any(&ready) => { // cancel-safe: readiness stays until it is cleared
                drift.clock().sleep(DEBOUNCE).await;
                None
            }
            known = watching.changed() => Some(known), // cancel-safe
            () = sessions.one_ended() => None, // cancel-safe
            () = drift.poked.notified() => None, // cancel-safe
            () = drift.clock().sleep(wait) => None, // cancel-safe: nothing is lost when it starts again
        };
        let (next, mode) = engine
            .call(move |engine| {
                if let Some(known) = known {
                    engine.adopt(&known);
                }
                (engine.wake(), engine.mode())
            })
            .await?;
        wait = next;
        drift.mode.send_if_modified(|known| std::mem::replace(known, mode) != mode);
    }
}

/// A descriptor that is readable when a provider has something to tell.
struct Readable {
    fd: AsyncFd<OwnedFd>,
}

impl Readable {
    #[allow(
        unsafe_code,
        reason = "the safe constructor is deprecated for types that can change their descriptor"
    )]
    fn new(fd: OwnedFd) -> Result<Self, DriftError> {
        // SAFETY: an `OwnedFd` stays open, and the same descriptor, for as long as it lives; it lives inside the `AsyncFd`.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        let fd = fd.map_err(|error| DriftError::Readiness(error.into_parts().1))?;
        Ok(Self { fd })
    }

    /// The notification is edge-triggered: clearing it before the provider reads loses nothing that comes later.
    async fn ready(&self) {
        match self.fd.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            Err(error) => {
                tracing::error!(%error, "changes are found by looking only");
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn any(ready: &[Readable]) {
    match ready {
        [] => std::future::pending().await,
        [one] => one.ready().await,
        [first, rest @ ..] => tokio::select! {
            () = first.ready() => {} // cancel-safe
            () = Box::pin(any(rest)) => {} // cancel-safe
        },
    }
}

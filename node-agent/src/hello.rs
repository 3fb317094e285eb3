//! The agent's sign of life: `up.hello` on each connection, every 60 s ± 20 %, and when a reload changed what it says.
//!
//! svc-enroll calls the node inactive when none came for its grace period. A hello that fails costs nothing: the next
//! connection or the next minute brings another.

use std::time::Duration;

use pact_bus::CallError;
use pact_runtime::{CancellationToken, Clock};
use pact_schemas::rpc::up;
use pact_schemas::{Mode, v1};
use tokio::sync::watch;

use crate::boot::BootId;
use crate::reload::Live;
use crate::spool::Spool;
use crate::uplink::Uplink;

/// Between two hellos, at the least; the greatest is half as much again, so 60 s ± 20 %.
const INTERVAL_LEAST: Duration = Duration::from_secs(48);

/// Random part of the interval.
const INTERVAL_SPREAD: Duration = Duration::from_secs(24);

/// svc-enroll answers from memory.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// After a hello that was not answered.
const RETRY: Duration = Duration::from_secs(5);

/// What the agent says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) boot: BootId,
    pub(crate) version: &'static str,
    /// The mode that is in force: the vCluster's policy wins over the agent's file.
    pub(crate) enforcement_mode: watch::Receiver<Mode>,
    pub(crate) live: watch::Receiver<Live>,
}

/// Says hello until `stop`.
pub(crate) async fn run(
    mut greeting: Greeting,
    uplink: Uplink,
    spool: Spool,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut connections = uplink.connections();
    let mut wait = INTERVAL_LEAST;
    let mut was_heard = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return, // cancel-safe: a token
            () = connections.next() => {} // cancel-safe
            () = changed(&mut greeting.live) => {} // cancel-safe: a watch
            () = changed(&mut greeting.enforcement_mode) => {} // cancel-safe: a watch
            () = clock.sleep(wait) => {} // cancel-safe: nothing is lost when it starts again
        }
        let heard = say(&greeting, &uplink, &spool).await;
        match &heard {
            Ok(()) if !was_heard => tracing::info!("svc-enroll hears this node again"),
            Err(NotHeard(CallError::Disconnected | CallError::Interrupted { .. })) => {}
            Err(error) if was_heard => {
                let cause = pact_runtime::causes(error);
                tracing::warn!(cause, "{error}");
            }
            _ => {}
        }
        was_heard = heard.is_ok();
        let [random] = clock.random_bytes();
        let interval = INTERVAL_LEAST + INTERVAL_SPREAD * u32::from(random) / 255;
        wait = if was_heard { interval } else { RETRY };
    }
}

/// Waits until there is something new to say.
async fn changed<T>(said: &mut watch::Receiver<T>) {
    if said.changed().await.is_err() {
        // Nothing changes any more.
        std::future::pending::<()>().await;
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the hello was not answered")]
struct NotHeard(#[from] CallError);

async fn say(greeting: &Greeting, uplink: &Uplink, spool: &Spool) -> Result<(), NotHeard> {
    let live = greeting.live.borrow().clone();
    let hello = v1::Hello {
        boot_id: greeting.boot.to_string(),
        spool_id: spool.id().to_string(),
        spool_head: spool.progress().head,
        agent_version: greeting.version.to_owned(),
        enforcement_mode: greeting.enforcement_mode.borrow().to_string(),
        whitelist_mode: live.whitelist_mode.as_str().to_owned(),
    };
    uplink.call::<up::Hello>(&hello, CALL_LIMIT).await?;
    Ok(())
}

//! `exec`: one command of a committed grant, at most once, seen by the caller as it runs and recorded whatever happens.
//!
//! The way of a request: decode → plane time → grant (`pact_identity`) → place (`places`) → room in spool and recordings →
//! used grant and running record on disk (`ledger`) → whitelist → "accepted" → start (`launcher`) → output to caller and
//! recording (`process`, `recorder`) → outcome spooled → running record removed → last frame.
//!
//! After the ledger every way ends in exactly one spooled outcome, refusals by the whitelist included; before it the caller
//! gets an error and the journal keeps a request without outcome.
//!
//! Each command runs under a warden (`ward`, `crate::warden`), which ends all that the command started, also when the agent dies.
//!
//! A crash: what the ledger holds and the spool does not becomes an outcome UNKNOWN at the next start ([`recover`]), and
//! whatever was left running is killed. A stop of the agent waits for running commands, then ends them.
//!
//! Nothing here decides who may do what, reads a clock of its own, or starts anything without a grant.

mod acting;
mod disk;
mod judge;
pub(crate) mod launcher;
mod ledger;
mod outcome;
mod places;
mod process;
mod recorder;
mod recovery;
mod run;
mod running;
mod session;
mod ward;

use std::sync::Arc;
use std::time::Duration;

use pact_commands::Whitelist;
use pact_identity::{DegradedGrants, Grant, GrantedAction, GrantedExec, Verifier};
use pact_runtime::{CancellationToken, Clock, causes};
use pact_schemas::convert::{self, WireError};
use pact_schemas::{ErrorCode, NodeId, StreamId, v1};
use tokio::sync::{oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::blobs::Blobs;
use crate::boot::BootId;
use crate::drift::Sessions;
use crate::nonces::NonceError;
use crate::owner::Owner;
use crate::readers::Readers;
use crate::reload::Live;
use crate::spool::Spool;
use crate::time::{PlaneClock, PlaneTime};
use crate::uplink::Uplink;

use judge::Judges;
use launcher::Launcher;
pub(crate) use ledger::Ledger;
pub(crate) use ledger::LedgerError;
use places::{Place, Places};
pub(crate) use recovery::{RecoveryError, recover};
use running::Record;

/// How long running commands may go on by themselves when the agent is stopped.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// How long ending them and spooling their outcomes may take then.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What the engine works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) node: NodeId,
    pub(crate) boot: BootId,
    pub(crate) clock: Clock,
    pub(crate) plane: PlaneClock,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) ledger: Owner<Ledger>,
    pub(crate) spool: Spool,
    pub(crate) blobs: Blobs,
    pub(crate) launcher: Launcher,
    pub(crate) uplink: Uplink,
    pub(crate) whitelist: Whitelist,
    /// What is shown of the node's files.
    pub(crate) readers: Arc<Readers>,
    /// The whitelist mode is among it.
    pub(crate) live: watch::Receiver<Live>,
    pub(crate) sessions: Sessions,
}

/// Runs commands; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    parts: Arc<Parts>,
    places: Places,
    judges: Judges,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// A grant that was taken: its command is about to start.
#[derive(Debug)]
struct Admitted {
    grant: Grant,
    exec: GrantedExec,
    record: Record,
    stream: StreamId,
    initial_credit_bytes: u32,
    place: Place,
}

impl Engine {
    /// An engine without commands.
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts: Arc::new(parts),
            places: Places::default(),
            judges: Judges::new(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }
    }

    /// Takes a request. The command runs on when the caller does not wait for this.
    pub(crate) async fn exec(&self, start: v1::ExecStart) -> Result<v1::ExecAccepted, v1::Error> {
        let (accept, accepted) = oneshot::channel();
        let engine = self.clone();
        // A task of its own: a caller that gives up must not leave a taken grant without outcome.
        self.tasks.spawn(async move {
            match engine.admit(start).await {
                Ok(admitted) => run::run(&engine, admitted, accept).await,
                Err(error) => drop(accept.send(Err(error.on(&engine.parts.node)))),
            }
        });
        let lost = || ErrorCode::Internal.error("the command's task failed").on(&self.parts.node);
        accepted.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Takes no new commands, waits for those that run, ends those that go on, and returns when all outcomes are spooled.
    pub(crate) async fn stop(&self) {
        self.places.close();
        self.tasks.close();
        let clock = &self.parts.clock;
        if clock.timeout(STOP_PATIENCE, self.tasks.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(commands = self.tasks.len(), "ending commands that still run");
        self.stopping.cancel();
        if clock.timeout(STOP_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::error!(
                commands = self.tasks.len(),
                "commands were left without outcome; the next start calls them unknown"
            );
        }
    }

    async fn admit(&self, start: v1::ExecStart) -> Result<Admitted, v1::Error> {
        let parts = &self.parts;
        let stream = convert::id(&start.stream_id, "ExecStart.stream_id")?;
        let signed = convert::required(start.grant, "ExecStart.grant")?;
        let time = self.time_of_judgement().await?;
        let grant = self.verified(&signed, time)?;
        let GrantedAction::Exec(exec) = grant.action().clone() else {
            return Err(WireError::Missing { field: "GrantPayload.exec" }.into());
        };
        // Who asks is in the grant. Until here a request costs one signature, and few are at work at once (`crate::rpc`).
        let place = self.places.take(&grant)?;
        parts.spool.check_room().await.map_err(|error| no_room(&error))?;
        parts.blobs.check_room().map_err(|error| no_room(&error))?;
        let (seq, expires) = (grant.seq(), grant.expires());
        let spool = parts.spool.id();
        let record =
            Record::new(seq, expires, exec.argv.words(), parts.boot.clone(), time.now, &spool);
        let written = record.clone();
        let admitted = parts
            .ledger
            .call(move |ledger| ledger.admit(seq, expires, time.now, &written))
            .await
            .map_err(|gone| ErrorCode::Internal.error(gone.to_string()))?;
        admitted.map_err(|error| not_taken(&error))?;
        let initial_credit_bytes = start.initial_credit_bytes;
        Ok(Admitted { grant, exec, record, stream, initial_credit_bytes, place })
    }

    fn verified(&self, signed: &v1::SignedGrant, time: PlaneTime) -> Result<Grant, v1::Error> {
        let parts = &self.parts;
        let PlaneTime { now, first_fix } = time;
        let refuse = DegradedGrants::Refuse;
        Grant::verify(signed, &parts.verifier, &parts.node, now, first_fix, refuse).map_err(
            |error| {
                let cause = causes(&error);
                tracing::warn!(cause, "a grant is refused: {error}");
                error.code().error(error.to_string()).because(cause)
            },
        )
    }
}

fn clock_unknown() -> v1::Error {
    ErrorCode::ClockUnknown
        .error("the node has no signed time of the last 24 hours")
        .because("the journal has not answered its time challenge")
        .next("check that the journal is healthy; the node asks again by itself")
}

fn no_room(error: &(dyn std::error::Error + 'static)) -> v1::Error {
    ErrorCode::SpoolFull
        .error("the node takes no new commands until the journal has confirmed earlier ones")
        .because(error.to_string())
        .next("check that the journal is healthy and reachable from the node")
}

fn not_taken(error: &LedgerError) -> v1::Error {
    let LedgerError::Nonce(NonceError::Used { seq }) = error else {
        tracing::error!(cause = causes(error), "a grant cannot be recorded: {error}");
        return ErrorCode::SpoolFull
            .error("the node cannot record the command, so it does not start it")
            .because(causes(error))
            .next("look at the disk of the node's state directory");
    };
    tracing::warn!(%seq, "a grant was presented again and is refused");
    ErrorCode::GrantReplayed
        .error(error.to_string())
        .next(format!("look at its outcome with `pact log show {seq}`"))
}

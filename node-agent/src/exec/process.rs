//! One running command: reads it, feeds it, ends it.
//!
//! [`supervise`] returns when the command is over: reaped, its output read to the end, nothing of it left running.
//! Output goes out as it is read, through a bounded channel: where nobody takes it, reading stops and the command blocks.
//!
//! A command that ends by itself may leave others behind. They have [`LINGER`] to end too, then they are killed, and the
//! outcome is the command's own. Time limit, cancel and caller bind the run all that while, whoever holds its pipes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pact_bus::Deadline;
use pact_runtime::{CancellationToken, Clock};
use pact_schemas::v1::OutputStream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::launcher::Launched;
use super::session::Session;
use super::ward::{Status, Ward};

/// Bytes read at once: half a pipe, and eight of them fill the credit window.
const READ_BYTES: usize = 32 * 1024;

/// Between SIGTERM and SIGKILL.
const TERMINATION_GRACE: Duration = Duration::from_secs(2);

/// How long what a command has left running may go on after it: enough for a pipeline's last member, no place for a daemon.
const LINGER: Duration = Duration::from_secs(1);

/// How long a pipe is read on although something that holds it cannot be killed.
const HELD_LIMIT: Duration = Duration::from_secs(1);

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) stream: OutputStream,
    pub(crate) bytes: Bytes,
}

/// Why a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// By itself.
    Itself,
    TimedOut,
    Cancelled,
    CallerGone,
    /// Its output could not be recorded.
    NotRecorded,
    /// The agent is stopping.
    AgentStopping,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) cause: Cause,
    pub(crate) status: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// What it had left running and was killed after it had ended by itself.
    pub(crate) killed: u64,
}

/// Everything around a running command.
pub(crate) struct Surroundings {
    pub(crate) timeout: Duration,
    /// Standard input; its end is the end of the input.
    pub(crate) input: mpsc::Receiver<Bytes>,
    /// Set when somebody wants the command to end.
    pub(crate) wanted_end: watch::Receiver<Option<Cause>>,
    pub(crate) chunks: mpsc::Sender<Chunk>,
    /// Cancelled by whoever takes the chunks when they cannot be recorded.
    pub(crate) not_recorded: CancellationToken,
    /// Cancelled here as soon as nobody wants to see the output any more.
    pub(crate) unwanted: CancellationToken,
    pub(crate) clock: Clock,
}

/// Sees a command through to its end.
pub(crate) async fn supervise(launched: Launched, mut around: Surroundings) -> Ended {
    let Launched { stdin, stdout, stderr, mut ward, session } = launched;
    let limit = Deadline::after(around.timeout, &around.clock);
    let mut readers = JoinSet::new();
    if let Some(pipe) = stdout {
        readers.spawn(read(pipe, OutputStream::Stdout, around.chunks.clone()));
    }
    if let Some(pipe) = stderr {
        readers.spawn(read(pipe, OutputStream::Stderr, around.chunks.clone()));
    }
    let feeding = stdin.map(|pipe| {
        let (_, none) = mpsc::channel(1);
        let input = std::mem::replace(&mut around.input, none);
        // Ends with the pipe or with the input; a broken pipe is the command's business.
        AbortOnDropHandle::new(tokio::spawn(feed(pipe, input)))
    });
    let mut cause = wait_for_cause(&mut ward, &mut around, &limit).await;
    drop(feeding);
    if cause == Cause::Itself {
        wait_for_rest(&mut ward, &mut around, &limit).await;
    } else {
        around.unwanted.cancel();
        terminate(&mut ward, &around.clock).await;
    }
    let itself = ward.status();
    let (status, killed) = ward.end(&around.clock).await;
    if killed.is_none() {
        sweep(session).await;
    }
    drain(&mut readers, &mut around, &limit, killed.is_none(), &mut cause).await;
    let Status { status, signal } =
        itself.or(status).unwrap_or(Status { status: None, signal: None });
    let killed = killed.filter(|_| cause == Cause::Itself).unwrap_or(0);
    Ended { cause, status, signal, killed }
}

/// Waits until the command ends or has to.
async fn wait_for_cause(ward: &mut Ward, around: &mut Surroundings, limit: &Deadline) -> Cause {
    tokio::select! {
        biased; // a command that has ended by itself was not killed by anything that came at the same moment
        () = ward.ended() => Cause::Itself, // cancel-safe
        () = around.clock.sleep(limit.remaining()) => Cause::TimedOut, // cancel-safe: polled once, here
        cause = wanted_end(&mut around.wanted_end) => cause, // cancel-safe
        () = around.not_recorded.cancelled() => Cause::NotRecorded, // cancel-safe
    }
}

/// Gives what the command has left running its time; ends at once when there is nothing, or nobody waits any more.
async fn wait_for_rest(ward: &mut Ward, around: &mut Surroundings, limit: &Deadline) {
    tokio::select! {
        biased; // what has ended by itself is not cut short by anything that came at the same moment
        () = ward.alone() => return, // cancel-safe
        () = around.clock.sleep(LINGER.min(limit.remaining())) => return, // cancel-safe: polled once, here
        () = around.not_recorded.cancelled() => return, // cancel-safe
        _cause = wanted_end(&mut around.wanted_end) => {} // cancel-safe
    }
    around.unwanted.cancel();
}

/// Reads to the end what has been written. Nothing that writes is left, but for what cannot be killed (`is_held`): the end is
/// then what has come until [`HELD_LIMIT`]. A caller that does not take the output keeps the run no longer than its time limit.
async fn drain(
    readers: &mut JoinSet<()>,
    around: &mut Surroundings,
    limit: &Deadline,
    is_held: bool,
    cause: &mut Cause,
) {
    let mut held = std::pin::pin!(around.clock.sleep(HELD_LIMIT));
    loop {
        let is_wanted = !around.unwanted.is_cancelled();
        tokio::select! {
            reader = readers.join_next() => if reader.is_none() { return }, // cancel-safe
            _cause = wanted_end(&mut around.wanted_end), if is_wanted => around.unwanted.cancel(), // cancel-safe
            () = around.clock.sleep(limit.remaining()), if is_wanted => around.unwanted.cancel(), // cancel-safe: until a moment
            () = around.not_recorded.cancelled(), if *cause == Cause::Itself => { // cancel-safe
                *cause = Cause::NotRecorded;
            }
            () = &mut held, if is_held => return readers.abort_all(), // cancel-safe: pinned
        }
    }
}

/// Waits until somebody wants the command to end.
async fn wanted_end(wanted: &mut watch::Receiver<Option<Cause>>) -> Cause {
    let cause = wanted.wait_for(Option::is_some).await.map(|cause| *cause);
    // Whoever watched over the caller is gone, and nobody could end the command any more.
    cause.ok().flatten().unwrap_or(Cause::CallerGone)
}

/// SIGTERM, and time to obey it; what is left is killed by the caller.
async fn terminate(ward: &mut Ward, clock: &Clock) {
    ward.terminate();
    // Late is what the grace is for.
    let _late = clock.timeout(TERMINATION_GRACE, ward.ended()).await;
}

/// Kills what can be found of a command whose warden was killed, or waits for something that cannot be.
async fn sweep(session: Session) {
    match tokio::task::spawn_blocking(move || session.sweep()).await {
        Ok(killed) => {
            tracing::error!(killed, "a command's warden did not end what it watched over")
        }
        Err(_stopping) => {}
    }
}

async fn read(mut pipe: impl AsyncRead + Unpin, stream: OutputStream, chunks: mpsc::Sender<Chunk>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        let mut limited = (&mut pipe).take(READ_BYTES as u64);
        match limited.read_buf(&mut buffer).await {
            // A pipe that fails is at its end.
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let chunk = Chunk { stream, bytes: buffer.split().freeze() };
                if chunks.send(chunk).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn feed(mut pipe: ChildStdin, mut input: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = input.recv().await {
        if pipe.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

//! One running command: reads it, feeds it, ends it.
//!
//! [`supervise`] returns when the command is over: reaped, its output read to the end, nothing of it left running.
//! Output goes out as it is read, through a bounded channel: where nobody takes it, reading stops and the command blocks.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nix::sys::signal::Signal;
use pact_runtime::{CancellationToken, Clock};
use pact_schemas::v1::OutputStream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::launcher::{Launched, Session};

/// Bytes read at once: half a pipe, and eight of them fill the credit window.
const READ_BYTES: usize = 32 * 1024;

/// Between SIGTERM and SIGKILL.
const TERMINATION_GRACE: Duration = Duration::from_secs(2);

/// How long a pipe may stay open and silent after its command has ended. Somebody else holds it then, and is killed.
const LINGER: Duration = Duration::from_secs(1);

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
pub(crate) async fn supervise(mut launched: Launched, mut around: Surroundings) -> Ended {
    let ended = CancellationToken::new();
    let mut readers = JoinSet::new();
    if let Some(pipe) = launched.child.stdout.take() {
        readers.spawn(read(pipe, OutputStream::Stdout, reader(&around, &ended)));
    }
    if let Some(pipe) = launched.child.stderr.take() {
        readers.spawn(read(pipe, OutputStream::Stderr, reader(&around, &ended)));
    }
    let feeding = launched.child.stdin.take().map(|pipe| {
        let (_, none) = mpsc::channel(1);
        let input = std::mem::replace(&mut around.input, none);
        // Ends with the pipe or with the input; a broken pipe is the command's business.
        AbortOnDropHandle::new(tokio::spawn(feed(pipe, input)))
    });
    let mut cause = wait_for_cause(&mut launched, &mut around).await;
    drop(feeding);
    if cause != Cause::Itself {
        around.unwanted.cancel();
        terminate(&mut launched, &around.clock).await;
    }
    // Reaps; after SIGKILL of the group this takes no time.
    let status = launched.child.wait().await.ok();
    ended.cancel();
    if cause != Cause::Itself {
        end_rest(launched.session.clone(), true).await;
    }
    let lingering = drain(&mut readers, &mut around, &mut cause).await;
    end_rest(launched.session, lingering).await;
    Ended {
        cause,
        status: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()),
    }
}

/// Reads to the end what a command that has ended has written; says whether somebody else keeps a pipe open.
async fn drain(
    readers: &mut JoinSet<Drained>,
    around: &mut Surroundings,
    cause: &mut Cause,
) -> bool {
    let mut lingering = false;
    loop {
        tokio::select! {
            reader = readers.join_next() => match reader { // cancel-safe
                Some(Ok(Drained::Lingering)) => lingering = true,
                Some(Ok(Drained::ToTheEnd) | Err(_)) => {}
                None => return lingering,
            },
            _cause = wanted_end(&mut around.wanted_end), if !around.unwanted.is_cancelled() => { // cancel-safe
                around.unwanted.cancel();
            }
            () = around.not_recorded.cancelled(), if *cause == Cause::Itself => { // cancel-safe
                *cause = Cause::NotRecorded;
            }
        }
    }
}

/// Waits until the command ends or has to.
async fn wait_for_cause(launched: &mut Launched, around: &mut Surroundings) -> Cause {
    tokio::select! {
        biased; // a command that has ended by itself was not killed by anything that came at the same moment
        _status = launched.child.wait() => Cause::Itself, // cancel-safe
        () = around.clock.sleep(around.timeout) => Cause::TimedOut, // cancel-safe: polled once, here
        cause = wanted_end(&mut around.wanted_end) => cause, // cancel-safe
        () = around.not_recorded.cancelled() => Cause::NotRecorded, // cancel-safe
    }
}

/// Waits until somebody wants the command to end.
async fn wanted_end(wanted: &mut watch::Receiver<Option<Cause>>) -> Cause {
    let cause = wanted.wait_for(Option::is_some).await.map(|cause| *cause);
    // Whoever watched over the caller is gone, and nobody could end the command any more.
    cause.ok().flatten().unwrap_or(Cause::CallerGone)
}

/// SIGTERM, and SIGKILL after the grace; the leader is reaped by the caller.
async fn terminate(launched: &mut Launched, clock: &Clock) {
    launched.session.signal(Signal::SIGTERM);
    // A stopped process takes no SIGTERM.
    launched.session.signal(Signal::SIGCONT);
    let ended = clock.timeout(TERMINATION_GRACE, launched.child.wait()).await;
    if ended.is_err() {
        launched.session.signal(Signal::SIGKILL);
    }
}

/// Kills what the command left behind, if there may be anything.
async fn end_rest(session: Session, lingering: bool) {
    if !lingering && !session.has_group() {
        return;
    }
    let swept = tokio::task::spawn_blocking(move || session.sweep()).await;
    match swept {
        Ok(0) | Err(_) => {}
        Ok(killed) => tracing::info!(killed, "ended what a command had left running"),
    }
}

struct Reader {
    chunks: mpsc::Sender<Chunk>,
    ended: CancellationToken,
    clock: Clock,
}

enum Drained {
    ToTheEnd,
    /// The command has ended and somebody else keeps the pipe open.
    Lingering,
}

fn reader(around: &Surroundings, ended: &CancellationToken) -> Reader {
    Reader { chunks: around.chunks.clone(), ended: ended.clone(), clock: around.clock.clone() }
}

async fn read(mut pipe: impl AsyncRead + Unpin, stream: OutputStream, reader: Reader) -> Drained {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_BYTES);
        let mut limited = (&mut pipe).take(READ_BYTES as u64);
        let read = tokio::select! {
            biased; // what is there is read before anything is called lingering
            read = limited.read_buf(&mut buffer) => read, // cancel-safe
            () = lingered(&reader) => return Drained::Lingering, // cancel-safe: begins anew with each piece
        };
        match read {
            // A pipe that fails is at its end.
            Ok(0) | Err(_) => return Drained::ToTheEnd,
            Ok(_) => {
                let chunk = Chunk { stream, bytes: buffer.split().freeze() };
                if reader.chunks.send(chunk).await.is_err() {
                    return Drained::ToTheEnd;
                }
            }
        }
    }
}

async fn lingered(reader: &Reader) {
    reader.ended.cancelled().await;
    reader.clock.sleep(LINGER).await;
}

async fn feed(mut pipe: ChildStdin, mut input: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = input.recv().await {
        if pipe.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

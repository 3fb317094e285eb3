//! From a taken grant to a spooled outcome.

use std::time::Duration;

use bytes::Bytes;
use pact_bus::stream::{CancelReason, Input, StreamInput, StreamSender};
use pact_runtime::{CancellationToken, causes};
use pact_schemas::{Seq, v1};
use tokio::sync::{mpsc, oneshot, watch};

use super::judge::judge;
use super::launcher::{Launch, Launched};
use super::outcome::{NotRun, Ran};
use super::process::{Cause, Chunk, Ended, Surroundings, supervise};
use super::recorder::{Recorder, Recording};
use super::session::Session;
use super::{Admitted, Engine};
use crate::blobs::BlobError;

/// Output pieces between the pipes and the caller; the pipes hold more.
const WAITING_CHUNKS: usize = 4;

/// Pieces of standard input between the stream and the pipe.
const WAITING_INPUT: usize = 1;

/// The last frame waits this long for the journal to have the outcome, so that whoever sees the command end normally
/// finds it in the log.
const COMMIT_PATIENCE: Duration = Duration::from_millis(50);

type Accept = oneshot::Sender<Result<v1::ExecAccepted, v1::Error>>;

/// Runs a command whose grant was taken.
pub(super) async fn run(engine: &Engine, admitted: Admitted, accept: Accept) {
    let parts = &engine.parts;
    // Held to the end: a renewal of the credentials closes the connection only when nobody holds it.
    let bus = parts.uplink.bus();
    let opened =
        StreamSender::open(&bus, &parts.node, &admitted.stream, admitted.initial_credit_bytes);
    let (sender, input) = match opened.await {
        Ok(stream) => stream,
        Err(error) => {
            let not_run = NotRun::no_stream(&error);
            let _caller_gone = accept.send(Err(not_run.error()));
            conclude(engine, admitted.grant.seq(), not_run.finished(parts.plane.best())).await;
            return;
        }
    };
    let judged = judge(engine, &admitted.exec).await;
    let off_list = judged.as_ref().is_ok_and(|judged| judged.off_list.is_some());
    // A caller that is gone shows on the stream.
    let _caller_gone = accept.send(Ok(v1::ExecAccepted { off_list }));
    let seq = admitted.grant.seq();
    tracing::info!(
        %seq, principal = admitted.grant.principal().subject(),
        program = admitted.exec.argv.program(), refused = judged.is_err(), off_list, "exec"
    );
    let Admitted { exec, record, place, .. } = admitted;
    let finished = match judged {
        Err(not_run) => not_run.finished(parts.plane.best()),
        Ok(judged) => {
            let launch = Launch {
                program: judged.program,
                argv: exec.argv,
                environment: judged.environment,
                marker: record.marker.clone(),
                stdin: exec.stdin,
            };
            let started = parts.plane.best();
            let _running = parts.sessions.begin(seq);
            match parts.launcher.start(launch).await {
                Err(error) => NotRun::not_launched(&error).finished(parts.plane.best()),
                Ok(launched) => {
                    note_session(engine, record, &launched.session).await;
                    let limits = (exec.timeout, exec.output_limit_bytes);
                    let (ended, recording, not_recorded) =
                        attend(engine, launched, limits, &sender, input).await;
                    let finished = parts.plane.best();
                    let off_list = judged.off_list;
                    Ran { ended, recording, not_recorded, started, finished, off_list }.finished()
                }
            }
        }
    };
    conclude(engine, seq, finished.clone()).await;
    drop(place);
    // The caller may be gone; the outcome is spooled either way.
    tokio::select! {
        told = sender.finish(finished) => if let Err(error) = told {
            tracing::debug!(%seq, "the caller did not see the end: {error}");
        },
        () = engine.stopping.cancelled() => {} // cancel-safe: the agent ends, whoever waits finds the outcome in the log
    }
}

/// Notes the processes, by which a restarted agent finds what a crash left running.
async fn note_session(engine: &Engine, mut record: super::running::Record, session: &Session) {
    (record.leader, record.warden) = (session.leader, session.warden);
    let seq = record.seq;
    match engine.parts.ledger.call(move |ledger| ledger.started(&record)).await {
        Ok(Ok(())) => {}
        // The command runs and is recorded as running; only the clean-up after a crash would miss its children.
        Ok(Err(error)) => tracing::error!(seq, cause = causes(&error), "{error}"),
        Err(gone) => tracing::error!(seq, "{gone}"),
    }
}

/// Sees a started command through: output to recording and caller, input and cancel from the caller.
async fn attend(
    engine: &Engine,
    launched: Launched,
    (timeout, output_limit_bytes): (Duration, u64),
    sender: &StreamSender,
    input: StreamInput,
) -> (Ended, Recording, Option<BlobError>) {
    let parts = &engine.parts;
    let (chunks, waiting_chunks) = mpsc::channel(WAITING_CHUNKS);
    let (pieces, waiting_input) = mpsc::channel(WAITING_INPUT);
    let (end, wanted_end) = watch::channel(None);
    let (not_recorded, unwanted) = (CancellationToken::new(), CancellationToken::new());
    let around = Surroundings {
        timeout,
        input: waiting_input,
        wanted_end,
        chunks,
        not_recorded: not_recorded.clone(),
        unwanted: unwanted.clone(),
        clock: parts.clock.clone(),
    };
    let recorder = Recorder::new(parts.blobs.clone(), output_limit_bytes);
    let shown = Shown { sender, unwanted, not_recorded };
    let beside = async {
        tokio::join!(watch_over(engine, sender, end), pass_input(input, pieces));
    };
    let (ended, (recording, not_recorded)) = tokio::select! {
        ended = async { tokio::join!(supervise(launched, around), shown.pump(waiting_chunks, recorder)) } => ended,
        // Cancel-safe, and never first: `watch_over` does not end.
        () = beside => (
            Ended { cause: Cause::CallerGone, status: None, signal: None, killed: 0 },
            (Recording { segments: Vec::new(), total_bytes: 0, discarded_bytes: 0 }, None),
        ),
    };
    (ended, recording, not_recorded)
}

/// Tells the command when the caller, or the agent, wants it to end.
async fn watch_over(engine: &Engine, sender: &StreamSender, end: watch::Sender<Option<Cause>>) {
    let cause = tokio::select! {
        reason = sender.cancelled() => match reason { // cancel-safe: a watch
            CancelReason::Requested => Cause::Cancelled,
            CancelReason::Gone => Cause::CallerGone,
        },
        () = engine.stopping.cancelled() => Cause::AgentStopping, // cancel-safe: a token
    };
    end.send_replace(Some(cause));
    // Keeps the channel open until the command is over.
    std::future::pending::<()>().await;
}

async fn pass_input(mut input: StreamInput, pieces: mpsc::Sender<Bytes>) {
    while let Some(Input::Data(bytes)) = input.recv().await {
        if pieces.send(bytes).await.is_err() {
            return;
        }
    }
}

/// The caller's view of the output.
struct Shown<'a> {
    sender: &'a StreamSender,
    unwanted: CancellationToken,
    not_recorded: CancellationToken,
}

impl Shown<'_> {
    /// Records every piece, then shows it, for as long as somebody looks. Ends with the last piece.
    async fn pump(
        self,
        mut chunks: mpsc::Receiver<Chunk>,
        mut recorder: Recorder,
    ) -> (Recording, Option<BlobError>) {
        let mut failure = None;
        while let Some(chunk) = chunks.recv().await {
            if failure.is_some() {
                recorder.discard(&chunk);
                continue;
            }
            match recorder.take(chunk).await {
                Ok(Some(chunk)) => self.show(chunk).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(cause = causes(&error), "output cannot be recorded: {error}");
                    failure = Some(error);
                    self.not_recorded.cancel();
                }
            }
        }
        let so_far = recorder.so_far();
        match recorder.finish().await {
            Ok(recording) => (recording, failure),
            Err(error) => (so_far, Some(failure.unwrap_or(error))),
        }
    }

    /// Without credit this waits, and so does the command.
    async fn show(&self, chunk: Chunk) {
        if self.unwanted.is_cancelled() {
            return;
        }
        tokio::select! {
            sent = self.sender.send_output(chunk.stream, chunk.bytes.into()) => {
                if sent.is_err() {
                    self.unwanted.cancel();
                }
            }
            // Cancel-safe: a piece that was not sent is not missed any more.
            () = self.unwanted.cancelled() => {}
        }
    }
}

/// Spools the outcome, then forgets the command; waits a moment for the journal.
async fn conclude(engine: &Engine, seq: Seq, finished: v1::ExecFinished) {
    let parts = &engine.parts;
    let event = v1::ExecEnded { grant_seq: seq.get(), finished: Some(finished) };
    let body = v1::node_event::Body::ExecEnded(event);
    let number = match parts.spool.append(parts.plane.best(), body).await {
        Ok(number) => number,
        Err(error) => {
            // The running record stays: the next start spools an outcome.
            tracing::error!(%seq, cause = causes(&error), "an outcome is not spooled: {error}");
            return;
        }
    };
    match parts.ledger.call(move |ledger| ledger.end(seq)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%seq, cause = causes(&error), "{error}"),
        Err(gone) => tracing::error!(%seq, "{gone}"),
    }
    // Late is no failure: the event is spooled.
    let _late = parts.clock.timeout(COMMIT_PATIENCE, parts.spool.committed(number)).await;
}

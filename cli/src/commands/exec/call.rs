//! The call itself: the stream, and how often it may be begun.

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1::exec_input::Input;
use pact_schemas::v1::exec_output::Output;
use pact_schemas::{Argv, v1};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::screen::ExecScreen;
use super::verdict::{Ended, Verdict};
use crate::failure::Failure;
use crate::gateway::{self, Waiting, failure_of, is_connection_loss};
use crate::session::Session;
use crate::target::Targets;

/// Pieces of standard input under way; the gateway's own window bounds the rest.
const STDIN_QUEUE: usize = 4;
/// One read of standard input.
const STDIN_PIECE_BYTES: usize = 32 * 1024;

/// One command on one node set.
pub(super) struct Call<'a> {
    pub(super) session: &'a Session,
    pub(super) targets: Targets,
    pub(super) argv: Argv,
    pub(super) stdin: bool,
    /// 0: the gateway's default.
    pub(super) timeout_seconds: u32,
}

/// How one attempt ended.
enum Attempt {
    /// All outcomes that there will be are in the verdict.
    Complete,
    /// The connection was lost before the command was accepted; the same request may be sent again.
    LostBefore(Status),
}

impl Call<'_> {
    /// Runs the command; outcomes go to the verdict and output to the screen as they come.
    ///
    /// A connection lost before the command was accepted is made again with the same request id, so
    /// that nothing runs twice. One lost later is not: the output would have a hole.
    pub(super) async fn run(
        &self,
        verdict: &mut Verdict,
        screen: &mut ExecScreen,
    ) -> Result<(), Failure> {
        let begin = v1::ExecBegin {
            request_id: self.session.new_request_id(),
            targets: self.targets.set.clone(),
            exclude: self.targets.exclude.clone(),
            argv: self.argv.words().to_vec(),
            stdin: self.stdin,
            timeout_seconds: self.timeout_seconds,
        };
        let mut attempt = 1;
        loop {
            gateway::pause_before(self.session, attempt).await;
            match self.attempt(begin.clone(), verdict, screen).await? {
                Attempt::Complete => return Ok(()),
                Attempt::LostBefore(status) if attempt >= gateway::MAX_ATTEMPTS => {
                    return Err(failure_of(&status));
                }
                Attempt::LostBefore(status) => {
                    tracing::debug!(attempt, code = ?status.code(), "connection lost; trying again");
                    attempt += 1;
                }
            }
        }
    }

    async fn attempt(
        &self,
        begin: v1::ExecBegin,
        verdict: &mut Verdict,
        screen: &mut ExecScreen,
    ) -> Result<Attempt, Failure> {
        let (input, queue) = mpsc::channel(STDIN_QUEUE);
        let first = v1::ExecInput { input: Some(Input::Begin(begin)) };
        // The queue is empty and has room: this cannot wait.
        if input.send(first).await.is_err() {
            return Err(Failure::new(ErrorCode::Internal, "the request could not be queued"));
        }
        let mut stdin = Stdin::new(input, self.stdin);
        let waiting = Waiting::new(self.session, &self.targets.set);
        let mut outputs = match waiting.during(self.open(queue, &waiting)).await {
            Ok(stream) => stream,
            Err(Opening::Status(status)) if is_connection_loss(&status) => {
                return Ok(Attempt::LostBefore(*status));
            }
            Err(Opening::Status(status)) => return Err(failure_of(&status)),
            Err(Opening::Failure(failure)) => return Err(failure),
        };
        loop {
            let due = screen.until_due();
            let message = tokio::select! {
                message = self.next(&mut outputs, verdict.seq.is_none().then_some(&waiting)) => message?, // cancel-safe: takes nothing until it is ready
                () = self.session.clock.sleep(due.unwrap_or_default()), if due.is_some() => { // cancel-safe: a timer
                    screen.show_due().await?;
                    continue;
                }
            };
            match message {
                Ok(Some(output)) => {
                    if let Some(Output::Accepted(_)) = &output.output {
                        stdin.start();
                    }
                    take(output, verdict, screen).await?;
                }
                Ok(None) => return Ok(Attempt::Complete),
                Err(status) if verdict.seq.is_none() && is_connection_loss(&status) => {
                    return Ok(Attempt::LostBefore(status));
                }
                // The verdict names the nodes whose outcome is missing.
                Err(status) if is_connection_loss(&status) => return Ok(Attempt::Complete),
                Err(status) => return Err(failure_of(&status)),
            }
        }
    }

    /// Streams have no time limit, but a gateway that does not even accept has one.
    async fn next(
        &self,
        outputs: &mut tonic::Streaming<v1::ExecOutput>,
        first: Option<&Waiting<'_>>,
    ) -> Result<Result<Option<v1::ExecOutput>, Status>, Failure> {
        let Some(waiting) = first else { return Ok(outputs.message().await) };
        let limit = self.session.settings.timeout;
        let message = self.session.clock.timeout(limit, outputs.message());
        waiting.during(message).await.map_err(|_late| late(limit))
    }

    async fn open(
        &self,
        queue: mpsc::Receiver<v1::ExecInput>,
        waiting: &Waiting<'_>,
    ) -> Result<tonic::Streaming<v1::ExecOutput>, Opening> {
        let limit = self.session.settings.timeout;
        let mut client = gateway::connect(self.session, waiting).await.map_err(Opening::Failure)?;
        let opening = client.exec(ReceiverStream::new(queue));
        match self.session.clock.timeout(limit, opening).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(Opening::Status(Box::new(status))),
            Err(_late) => Err(Opening::Failure(late(limit))),
        }
    }
}

/// Why a stream did not open.
enum Opening {
    Status(Box<Status>),
    Failure(Failure),
}

fn late(limit: std::time::Duration) -> Failure {
    Failure::new(
        ErrorCode::Timeout,
        format!("the command was not accepted within {} s", limit.as_secs()),
    )
    .next("`pact log` shows whether it was recorded; it has not run unless it was")
}

/// One message of the gateway.
async fn take(
    output: v1::ExecOutput,
    verdict: &mut Verdict,
    screen: &mut ExecScreen,
) -> Result<(), Failure> {
    let node = output.node;
    match output.output {
        Some(Output::Accepted(accepted)) => {
            screen.accepted(&accepted).await?;
            verdict.accept(accepted);
        }
        Some(Output::Bytes(bytes)) => screen.bytes(&node, &bytes, verdict.is_fleet()).await?,
        Some(Output::Finished(finished)) => {
            verdict.finish(node.clone(), finished.clone())?;
            screen.ended(&node, &Ended::Finished(finished), verdict.is_fleet()).await?;
        }
        Some(Output::Error(error)) => {
            verdict.fail(node.clone(), error.clone());
            screen.ended(&node, &Ended::Failed(error), verdict.is_fleet()).await?;
        }
        None => {
            return Err(Failure::new(ErrorCode::Malformed, "ExecOutput.output is missing")
                .next("use the same version of pact on both sides"));
        }
    }
    Ok(())
}

/// Standard input, from the moment that the command is accepted: an attempt that is repeated has
/// not taken any of it. Dropping it closes the queue and with it our half of the stream.
struct Stdin {
    queue: Option<mpsc::Sender<v1::ExecInput>>,
    forward: bool,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Stdin {
    fn new(queue: mpsc::Sender<v1::ExecInput>, forward: bool) -> Self {
        Self { queue: Some(queue), forward, task: None }
    }

    /// Begins to forward. The queue stays open without `-i`: an end of our half of the stream before
    /// the command has ended would look like a caller that went away.
    fn start(&mut self) {
        if self.forward
            && let Some(queue) = self.queue.take()
        {
            // It ends with the input or with the call; its failure only means that no more input comes.
            self.task = Some(tokio::spawn(forward(queue)));
        }
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn forward(queue: mpsc::Sender<v1::ExecInput>) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; STDIN_PIECE_BYTES];
    loop {
        let input = match stdin.read(&mut buffer).await {
            Ok(0) | Err(_) => Input::StdinClosed(v1::ExecStdinClosed {}),
            Ok(length) => Input::Stdin(buffer.get(..length).unwrap_or_default().to_vec()),
        };
        let is_last = matches!(input, Input::StdinClosed(_));
        if queue.send(v1::ExecInput { input: Some(input) }).await.is_err() {
            return;
        }
        if is_last {
            // Kept open until the command has ended, like without input.
            queue.closed().await;
            return;
        }
    }
}

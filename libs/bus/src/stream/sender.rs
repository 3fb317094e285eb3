//! The agent's end of a stream over the bus.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use metrics::counter;
use pact_schemas::subject::{Direction, Subject, pattern};
use pact_schemas::v1::{
    ExecFinished, OutputBytes, OutputStream, StreamControl, StreamFrame, stream_control,
    stream_frame::Body,
};
use pact_schemas::{ErrorCode, NodeId, StreamId, v1};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot, watch};

use super::core::SenderCore;
use super::{MAX_FRAME_BYTES, SENDER_PATIENCE, StreamError, WINDOW_BYTES, cost};
use crate::bus::Bus;
use crate::connection::Link;
use crate::dispatch::encode_reply;
use crate::error::BusError;
use crate::meters;

/// Chunks of standard input that wait for the command: 256 KiB. Beyond it the caller is told to wait.
const INPUT_CHUNKS: usize = 4;

/// One frame waits for credit at a time; its sender waits with it.
const WAITING_FRAMES: usize = 1;

/// Why the command is to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// The caller asked for it.
    Requested,
    /// Nothing was heard of the caller for 15 s.
    Gone,
}

/// What the caller gives to the command's standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes, in order and once each.
    Data(Bytes),
    /// The end of it.
    Closed,
}

/// Sends frames to the caller. Dropped without [`StreamSender::finish`], the stream just stops.
#[derive(Debug)]
pub struct StreamSender {
    commands: mpsc::Sender<Command>,
    cancel: watch::Receiver<Option<CancelReason>>,
}

/// Standard input of the stream.
#[derive(Debug)]
pub struct StreamInput {
    chunks: mpsc::Receiver<Input>,
}

#[derive(Debug)]
struct Command {
    body: Body,
    done: oneshot::Sender<Result<(), StreamError>>,
}

impl StreamSender {
    /// Listens for the caller's controls; to be called before the request is answered with "accepted".
    /// `initial_credit_bytes` is the caller's; more than [`WINDOW_BYTES`] is not kept for it.
    ///
    /// # Errors
    /// [`BusError::Subscribe`].
    pub async fn open(
        bus: &Bus,
        node: &NodeId,
        stream: &StreamId,
        initial_credit_bytes: u32,
    ) -> Result<(Self, StreamInput), BusError> {
        let link = Arc::clone(bus.link());
        let resyncs = link.resyncs();
        let inbound = pattern::stream_in(node, stream);
        let controls = link
            .client
            .subscribe(inbound.clone())
            .await
            .map_err(|source| BusError::Subscribe { pattern: inbound, source: source.into() })?;
        let _reconnecting = link.flush().await; // else the next connection begins with it
        let (commands, command_queue) = mpsc::channel(WAITING_FRAMES);
        let (input, chunks) = mpsc::channel(INPUT_CHUNKS);
        let (cancel_sender, cancel) = watch::channel(None);
        let outbound = Subject::NodeStream {
            node: node.clone(),
            stream: stream.clone(),
            direction: Direction::Out,
        };
        let task = Task {
            core: SenderCore::new(u64::from(initial_credit_bytes.min(WINDOW_BYTES))),
            heard: link.clock().monotonic(),
            link,
            outbound: outbound.to_string(),
            cancel: cancel_sender,
            input,
            next_input: 1,
            waiting: None,
            end_done: None,
        };
        // Its end, however it comes, closes the channels, which every method here reports.
        tokio::spawn(task.run(controls, command_queue, resyncs));
        Ok((Self { commands, cancel }, StreamInput { chunks }))
    }

    /// Sends output, when there is credit for it. Cancel-safe up to the moment when it is sent.
    ///
    /// # Errors
    /// [`StreamError::FrameSize`] unless there are 1 to [`MAX_FRAME_BYTES`] bytes; [`StreamError::Gone`].
    pub async fn send_output(
        &self,
        stream: OutputStream,
        data: Vec<u8>,
    ) -> Result<(), StreamError> {
        self.send(Body::Output(OutputBytes { stream: stream.into(), data })).await
    }

    /// Sends a frame, when there is credit for it; a last frame only through [`StreamSender::finish`].
    ///
    /// # Errors
    /// As [`StreamSender::send_output`].
    pub async fn send(&self, body: Body) -> Result<(), StreamError> {
        match &body {
            Body::Output(output) => match output.data.len() {
                1..=MAX_FRAME_BYTES => self.command(body).await,
                bytes => Err(StreamError::FrameSize { bytes }),
            },
            Body::Finished(_) => Err(StreamError::Ended),
        }
    }

    /// Sends the last frame and returns when the caller has everything.
    ///
    /// # Errors
    /// [`StreamError::Gone`] when the caller goes away before it has everything.
    pub async fn finish(self, finished: ExecFinished) -> Result<(), StreamError> {
        self.command(Body::Finished(finished)).await
    }

    async fn command(&self, body: Body) -> Result<(), StreamError> {
        let (done, outcome) = oneshot::channel();
        self.commands.send(Command { body, done }).await.map_err(|_| StreamError::Gone)?;
        outcome.await.unwrap_or(Err(StreamError::Gone))
    }

    /// Waits until the command is to be killed.
    pub async fn cancelled(&self) -> CancelReason {
        let mut cancel = self.cancel.clone();
        let reason = cancel.wait_for(Option::is_some).await.map(|reason| *reason);
        // The task ended without a reason: the bus is closed.
        reason.ok().flatten().unwrap_or(CancelReason::Gone)
    }
}

impl StreamInput {
    /// The next part of standard input; `None` when the stream is over. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Input> {
        self.chunks.recv().await
    }
}

/// Owns the sending end.
struct Task {
    link: Arc<Link>,
    core: SenderCore<Bytes>,
    outbound: String,
    heard: Duration,
    cancel: watch::Sender<Option<CancelReason>>,
    input: mpsc::Sender<Input>,
    next_input: u64,
    waiting: Option<Command>,
    end_done: Option<oneshot::Sender<Result<(), StreamError>>>,
}

impl Task {
    async fn run(
        mut self,
        mut controls: Subscriber,
        mut commands: mpsc::Receiver<Command>,
        mut resyncs: watch::Receiver<u64>,
    ) {
        loop {
            let now = self.now();
            self.send_waiting(now).await;
            if let Some(frame) = self.core.probe(now) {
                counter!(meters::FRAMES_RESENT).increment(1);
                self.publish(frame).await;
            }
            if self.core.is_done() {
                self.end_with(Ok(()));
                return;
            }
            let gone_at = self.heard + SENDER_PATIENCE;
            if now >= gone_at {
                self.cancel.send_replace(Some(CancelReason::Gone));
                self.end_with(Err(StreamError::Gone));
                return;
            }
            let wake = self.core.next_wake().map_or(gone_at, |at| at.min(gone_at));
            let clock = self.link.clock().clone();
            let takes_commands = self.waiting.is_none() && self.end_done.is_none();
            tokio::select! {
                control = controls.next() => match control { // cancel-safe: a channel
                    Some(message) => self.take(message).await,
                    None => return, // the bus is closed
                },
                command = commands.recv(), if takes_commands => match command { // cancel-safe: a channel
                    Some(command) => self.waiting = Some(command),
                    None => return, // dropped without an end
                },
                changed = resyncs.changed() => match changed { // cancel-safe: a watch
                    Ok(()) => self.core.resync(clock.monotonic()),
                    Err(_) => return, // the bus is gone
                },
                () = clock.sleep(wake.saturating_sub(now)) => {} // cancel-safe: a timer
            }
        }
    }

    fn now(&self) -> Duration {
        self.link.clock().monotonic()
    }

    fn end_with(&mut self, outcome: Result<(), StreamError>) {
        let waiting = self.waiting.take().map(|command| command.done);
        for done in [self.end_done.take(), waiting].into_iter().flatten() {
            let _nobody_waits = done.send(outcome.clone());
        }
    }

    /// Sends the waiting frame, if it may be sent now.
    async fn send_waiting(&mut self, now: Duration) {
        let is_last = |command: &Command| matches!(command.body, Body::Finished(_));
        let may_go =
            |command: &mut Command| is_last(command) || self.core.has_room(cost(&command.body));
        let Some(command) = self.waiting.take_if(may_go) else { return };
        let is_last = is_last(&command);
        let bytes = cost(&command.body);
        let number = self.core.next_number();
        let frame: Bytes = StreamFrame { number, body: Some(command.body) }.encode_to_vec().into();
        if self.link.over_limit(frame.len()).is_some() {
            let refused = StreamError::FrameSize { bytes: frame.len() };
            let _nobody_waits = command.done.send(Err(refused));
            return;
        }
        if is_last {
            self.core.end(frame.clone(), now);
            self.end_done = Some(command.done);
        } else {
            self.core.push(frame.clone(), bytes, now);
            let _nobody_waits = command.done.send(Ok(()));
        }
        self.publish(frame).await;
    }

    /// What cannot be published now is kept, and shown again when it was not confirmed.
    async fn publish(&self, frame: Bytes) {
        let sent = self.link.publish(self.outbound.clone(), frame, HeaderMap::new()).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "a stream frame has to wait");
        }
    }

    async fn take(&mut self, message: Message) {
        meters::received(message.payload.len());
        let control = StreamControl::decode(message.payload.clone());
        let Ok(StreamControl { number, body: Some(body) }) = control else {
            return self.acknowledge(&message, Err(ErrorCode::Malformed.error("no control"))).await;
        };
        let now = self.now();
        self.heard = now;
        let outcome = match body {
            stream_control::Body::Credit(credit) => {
                let known = self.core.credit(credit.received_bytes, credit.received_frame, now);
                known.map_err(|_| ErrorCode::Malformed.error("credit for what was never sent"))
            }
            stream_control::Body::Resend(resend) => self.resend(resend.from_frame, now).await,
            stream_control::Body::KeepAlive(_) => Ok(()),
            stream_control::Body::Cancel(_) => {
                self.cancel.send_replace(Some(CancelReason::Requested));
                Ok(())
            }
            stream_control::Body::Stdin(data) => self.take_input(number, Input::Data(data.into())),
            stream_control::Body::StdinClosed(_) => self.take_input(number, Input::Closed),
        };
        self.acknowledge(&message, outcome).await;
    }

    async fn resend(&mut self, from: u64, now: Duration) -> Result<(), v1::Error> {
        let frames = self
            .core
            .resend(from, now)
            .map_err(|_| ErrorCode::Malformed.error("resend of what was never sent"))?;
        counter!(meters::FRAMES_RESENT).increment(u64::try_from(frames.len()).unwrap_or(u64::MAX));
        for frame in frames {
            self.publish(frame).await;
        }
        Ok(())
    }

    /// Input in order and once; one that came before is acknowledged again.
    fn take_input(&mut self, number: u64, input: Input) -> Result<(), v1::Error> {
        if number == 0 || number > self.next_input {
            return Err(ErrorCode::Malformed.error("standard input is out of order"));
        }
        if number < self.next_input {
            return Ok(());
        }
        match self.input.try_send(input) {
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(ErrorCode::Busy.error("the command has not read its input yet"))
            }
            // A command that closed its input gets no more of it, as in a pipe.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {
                self.next_input += 1;
                Ok(())
            }
        }
    }

    /// Answers controls that were sent as requests.
    async fn acknowledge(&self, message: &Message, outcome: Result<(), v1::Error>) {
        let Some(reply) = message.reply.as_deref().filter(|reply| reply.starts_with("_INBOX"))
        else {
            return;
        };
        let payload = encode_reply(&self.link, outcome.map(|()| Vec::new()));
        let acknowledged = self.link.publish(reply.to_owned(), payload, HeaderMap::new()).await;
        if let Err(error) = acknowledged {
            tracing::debug!(%error, "a stream control was not acknowledged");
        }
    }
}

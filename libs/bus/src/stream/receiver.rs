//! The caller's end of a stream over the bus.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use pact_schemas::subject::{Direction, Subject, pattern};
use pact_schemas::v1::{
    Cancel, Credit, KeepAlive, Resend, StreamControl, StreamFrame, stream_control,
    stream_frame::Body,
};
use pact_schemas::{NodeId, StreamId};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::control::StreamControls;
use super::core::{ReceiverCore, ReceiverOut};
use super::{
    KEEP_ALIVE_INTERVAL, NO_LISTENER_PATIENCE, RECEIVER_PATIENCE, StreamError, WINDOW_BYTES, cost,
};
use crate::bus::Bus;
use crate::connection::Link;
use crate::error::{BusError, CallError};
use crate::meters;

/// After a keep-alive that was not acknowledged.
const KEEP_ALIVE_RETRY: Duration = Duration::from_secs(1);

/// How long the last confirmation is repeated for a sender that missed it: two of its probes.
const LINGER: Duration = Duration::from_secs(5);

/// Telling the agent that its caller went away; after that its own patience must do.
const CANCEL_ATTEMPTS: u32 = 3;

type KeepAliveCall = Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>>;

/// Receives the frames of one stream. Dropped before the end, the agent is told to cancel.
#[derive(Debug)]
pub struct StreamReceiver {
    bodies: mpsc::Receiver<Result<Body, StreamError>>,
    controls: StreamControls,
    start: Option<oneshot::Sender<()>>,
}

impl StreamReceiver {
    /// Subscribes to the stream's output. To be called before the request that makes the agent send.
    ///
    /// # Errors
    /// [`BusError::Disconnected`], [`BusError::Subscribe`].
    pub async fn open(bus: &Bus, node: &NodeId, stream: &StreamId) -> Result<Self, BusError> {
        let link = Arc::clone(bus.link());
        if !link.is_connected() {
            return Err(BusError::Disconnected);
        }
        let resyncs = link.resyncs();
        let outbound = Subject::NodeStream {
            node: node.clone(),
            stream: stream.clone(),
            direction: Direction::Out,
        };
        let outbound = outbound.to_string();
        let frames =
            link.client.subscribe(outbound.clone()).await.map_err(|source| {
                BusError::Subscribe { pattern: outbound, source: source.into() }
            })?;
        link.flush().await?;
        let ended = CancellationToken::new();
        let inbound = pattern::stream_in(node, stream);
        let controls = StreamControls::new(Arc::clone(&link), inbound, ended.clone());
        // One body at a time: the credit counts what was taken.
        let (out, bodies) = mpsc::channel(1);
        let (start, started) = oneshot::channel();
        let now = link.clock().monotonic();
        let task = Task {
            link,
            core: ReceiverCore::new(u64::from(WINDOW_BYTES)),
            controls: controls.clone(),
            liveness: Liveness { heard: now, no_listener_since: None, is_watching: false },
            keep_alive_at: now + KEEP_ALIVE_INTERVAL,
            keep_alive: None,
        };
        // Its end, however it comes, closes the channel, which `recv` reports.
        tokio::spawn(task.run(frames, out, started, resyncs, ended));
        Ok(Self { bodies, controls, start: Some(start) })
    }

    /// What to put into the request as `initial_credit_bytes`.
    #[must_use]
    pub const fn initial_credit_bytes() -> u32 {
        WINDOW_BYTES
    }

    /// The next frame's body in order; `None` after the last. From the first call on, the agent's silence counts, so
    /// call it once the request was accepted. Cancel-safe.
    ///
    /// # Errors
    /// [`StreamError::Gone`], [`StreamError::Protocol`]; nothing follows them.
    pub async fn recv(&mut self) -> Result<Option<Body>, StreamError> {
        if let Some(start) = self.start.take() {
            let _ended_already = start.send(());
        }
        self.bodies.recv().await.transpose()
    }

    /// The other direction, for use beside `recv`.
    #[must_use]
    pub fn controls(&self) -> StreamControls {
        self.controls.clone()
    }

    /// See [`StreamControls::send_stdin`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_stdin(&self, data: Bytes) -> Result<(), StreamError> {
        self.controls.send_stdin(data).await
    }

    /// See [`StreamControls::cancel`].
    ///
    /// # Errors
    /// As there.
    pub async fn cancel(&self) -> Result<(), StreamError> {
        self.controls.cancel().await
    }
}

/// Whether there is still an agent at the other end.
#[derive(Debug)]
struct Liveness {
    heard: Duration,
    no_listener_since: Option<Duration>,
    is_watching: bool,
}

impl Liveness {
    fn heard(&mut self, now: Duration) {
        self.heard = now;
        self.no_listener_since = None;
    }

    fn gone_at(&self) -> Duration {
        if !self.is_watching {
            return Duration::MAX;
        }
        let silent = self.heard + RECEIVER_PATIENCE;
        self.no_listener_since.map_or(silent, |since| silent.min(since + NO_LISTENER_PATIENCE))
    }
}

/// Owns the receiving end.
struct Task {
    link: Arc<Link>,
    core: ReceiverCore<Body>,
    controls: StreamControls,
    liveness: Liveness,
    keep_alive_at: Duration,
    keep_alive: Option<KeepAliveCall>,
}

/// How the part before the last frame ended.
enum End {
    Complete,
    Failed(StreamError),
    Abandoned,
    Closed,
}

impl Task {
    async fn run(
        mut self,
        mut frames: Subscriber,
        out: mpsc::Sender<Result<Body, StreamError>>,
        started: oneshot::Receiver<()>,
        resyncs: watch::Receiver<u64>,
        ended: CancellationToken,
    ) {
        let end = self.receive(&mut frames, &out, started, resyncs).await;
        ended.cancel();
        match end {
            End::Complete => {
                drop(out);
                self.linger(frames).await;
            }
            End::Failed(error) => {
                let _nobody_waits = out.send(Err(error)).await;
            }
            End::Abandoned => self.cancel().await,
            End::Closed => {
                let _nobody_waits = out.send(Err(StreamError::Gone)).await;
            }
        }
    }

    async fn receive(
        &mut self,
        frames: &mut Subscriber,
        out: &mpsc::Sender<Result<Body, StreamError>>,
        mut started: oneshot::Receiver<()>,
        mut resyncs: watch::Receiver<u64>,
    ) -> End {
        let clock = self.link.clock().clone();
        loop {
            let now = clock.monotonic();
            self.tell_sender(now).await;
            if self.core.is_done() {
                return End::Complete;
            }
            if now >= self.liveness.gone_at() {
                return End::Failed(StreamError::Gone);
            }
            self.begin_keep_alive(now);
            let wake = self.next_wake().saturating_sub(now);
            let is_watching = self.liveness.is_watching;
            tokio::select! {
                frame = frames.next() => match frame { // cancel-safe: a channel
                    Some(message) => if let Err(error) = self.take(message) {
                        return End::Failed(error);
                    },
                    None => return End::Closed,
                },
                room = out.reserve(), if self.core.has_ready() => match room { // cancel-safe: nothing taken yet
                    Ok(room) => if let Some(body) = self.core.take(clock.monotonic()) {
                        room.send(Ok(body));
                    },
                    Err(_closed) => return End::Abandoned,
                },
                () = out.closed() => return End::Abandoned, // cancel-safe
                started = &mut started, if !is_watching => match started { // cancel-safe: polled by reference
                    Ok(()) => {
                        self.liveness.is_watching = true;
                        self.liveness.heard(clock.monotonic());
                    }
                    Err(_dropped) => return End::Abandoned,
                },
                outcome = keep_alive(&mut self.keep_alive) => self.end_keep_alive(&outcome), // cancel-safe: kept in self
                changed = resyncs.changed() => match changed { // cancel-safe: a watch
                    Ok(()) => {
                        self.liveness.no_listener_since = None;
                        self.core.resync(clock.monotonic());
                    }
                    Err(_) => return End::Closed,
                },
                () = clock.sleep(wake) => {} // cancel-safe: a timer
            }
        }
    }

    fn next_wake(&self) -> Duration {
        let keep_alive = match self.keep_alive {
            Some(_) => Duration::MAX,
            None => self.keep_alive_at,
        };
        let core = self.core.next_wake().unwrap_or(Duration::MAX);
        keep_alive.min(core).min(self.liveness.gone_at())
    }

    fn take(&mut self, message: Message) -> Result<(), StreamError> {
        meters::received(message.payload.len());
        let now = self.link.clock().monotonic();
        self.liveness.heard(now);
        let broken = |what| StreamError::Protocol { what };
        let frame =
            StreamFrame::decode(message.payload).map_err(|_| broken("a frame does not decode"))?;
        let body = frame.body.ok_or(broken("a frame is empty"))?;
        let (bytes, is_last) = (cost(&body), matches!(body, Body::Finished(_)));
        if bytes == 0 && !is_last {
            return Err(broken("a frame has no data"));
        }
        self.core
            .frame(frame.number, body, bytes, is_last, now)
            .map_err(|_| broken("a frame has an impossible number"))
    }

    /// Credits and resends that are due. One that gets lost is made up for by the next.
    async fn tell_sender(&mut self, now: Duration) {
        for control in self.core.poll(now) {
            let body = match control {
                ReceiverOut::Credit { bytes, frame } => stream_control::Body::Credit(Credit {
                    received_bytes: bytes,
                    received_frame: frame,
                }),
                ReceiverOut::Resend { from } => {
                    stream_control::Body::Resend(Resend { from_frame: from })
                }
            };
            if let Err(error) = self.controls.notify(body).await {
                tracing::debug!(%error, "a stream control has to wait");
            }
        }
    }

    fn begin_keep_alive(&mut self, now: Duration) {
        if !self.liveness.is_watching || self.keep_alive.is_some() || now < self.keep_alive_at {
            return;
        }
        let controls = self.controls.clone();
        self.keep_alive = Some(Box::pin(async move {
            let body = stream_control::Body::KeepAlive(KeepAlive {});
            controls.acknowledged(&StreamControl { number: 0, body: Some(body) }).await
        }));
    }

    fn end_keep_alive(&mut self, outcome: &Result<(), CallError>) {
        let now = self.link.clock().monotonic();
        self.keep_alive_at = now + KEEP_ALIVE_RETRY;
        match outcome {
            Ok(()) | Err(CallError::Service(_)) => {
                self.liveness.heard(now);
                self.keep_alive_at = now + KEEP_ALIVE_INTERVAL;
            }
            Err(CallError::NoResponders { .. }) => {
                self.liveness.no_listener_since.get_or_insert(now);
            }
            Err(_) => self.liveness.no_listener_since = None, // about the connection, not the agent
        }
    }

    /// Confirms again to a sender that missed the last confirmation.
    async fn linger(&mut self, mut frames: Subscriber) {
        let clock = self.link.clock().clone();
        let until = clock.monotonic() + LINGER;
        loop {
            let now = clock.monotonic();
            self.tell_sender(now).await;
            if now >= until {
                return;
            }
            tokio::select! {
                frame = frames.next() => match frame { // cancel-safe: a channel
                    Some(message) => if self.take(message).is_err() { return },
                    None => return,
                },
                () = clock.sleep(until.saturating_sub(now)) => return, // cancel-safe: a timer
            }
        }
    }

    /// The caller is gone: so must be the command.
    async fn cancel(&mut self) {
        for _ in 0..CANCEL_ATTEMPTS {
            let body = stream_control::Body::Cancel(Cancel {});
            let control = StreamControl { number: 0, body: Some(body) };
            match self.controls.acknowledged(&control).await {
                Ok(()) | Err(CallError::NoResponders { .. } | CallError::Service(_)) => return,
                Err(_retry) => self.link.clock().sleep(KEEP_ALIVE_RETRY).await,
            }
        }
    }
}

/// The call in flight, or never.
async fn keep_alive(call: &mut Option<KeepAliveCall>) -> Result<(), CallError> {
    match call {
        None => std::future::pending().await,
        Some(running) => {
            let outcome = running.await;
            *call = None;
            outcome
        }
    }
}

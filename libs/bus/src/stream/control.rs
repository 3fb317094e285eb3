//! From caller to agent: standard input and cancel, each repeated until acknowledged.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pact_schemas::ErrorCode;
use pact_schemas::v1::{Cancel, StdinClosed, StreamControl, stream_control};
use prost::Message as _;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{MAX_FRAME_BYTES, StreamError};
use crate::connection::Link;
use crate::error::{BusError, CallError};

/// An acknowledgement is one round trip and no work; after this long the control is sent again.
pub(super) const ACKNOWLEDGE_LIMIT: Duration = Duration::from_secs(3);

/// Between two attempts: the agent's input is full, or the connection is away.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Controls the command at the other end of a stream. Cheap to clone; outlives its receiver harmlessly.
#[derive(Clone, Debug)]
pub struct StreamControls {
    link: Arc<Link>,
    subject: String,
    input: Arc<Mutex<InputState>>,
    ended: CancellationToken,
}

#[derive(Debug)]
struct InputState {
    next_number: u64,
    /// Sent, and not known to have arrived: it keeps its number and goes before anything else.
    unconfirmed: Option<stream_control::Body>,
    is_closed: bool,
}

impl StreamControls {
    pub(super) fn new(link: Arc<Link>, subject: String, ended: CancellationToken) -> Self {
        let input = InputState { next_number: 1, unconfirmed: None, is_closed: false };
        Self { link, subject, input: Arc::new(Mutex::new(input)), ended }
    }

    /// Sends standard input and returns when the agent has it all. Waits for as long as the command does not read and
    /// the stream lives. Not cancel-safe: what a dropped call was sending may still arrive, in its place and once.
    ///
    /// # Errors
    /// [`StreamError::Ended`] when the stream or its input ended first.
    pub async fn send_stdin(&self, data: Bytes) -> Result<(), StreamError> {
        let mut input = self.input.lock().await;
        for chunk in data.chunks(MAX_FRAME_BYTES) {
            self.confirm(&mut input).await?;
            input.unconfirmed = Some(stream_control::Body::Stdin(chunk.to_vec()));
        }
        self.confirm(&mut input).await
    }

    /// Ends standard input, after all that was sent. Again is harmless.
    ///
    /// # Errors
    /// [`StreamError::Ended`] when the stream ended first.
    pub async fn close_stdin(&self) -> Result<(), StreamError> {
        let mut input = self.input.lock().await;
        self.confirm(&mut input).await?;
        if input.is_closed {
            return Ok(());
        }
        input.is_closed = true;
        input.unconfirmed = Some(stream_control::Body::StdinClosed(StdinClosed {}));
        self.confirm(&mut input).await
    }

    /// Asks the agent to kill the command; returns when it has heard. Overtakes standard input; again is harmless.
    /// The stream goes on until its last frame.
    ///
    /// # Errors
    /// [`StreamError::Ended`] when the stream ended first.
    pub async fn cancel(&self) -> Result<(), StreamError> {
        self.deliver(0, stream_control::Body::Cancel(Cancel {})).await
    }

    async fn confirm(&self, input: &mut InputState) -> Result<(), StreamError> {
        let Some(body) = input.unconfirmed.clone() else { return Ok(()) };
        if input.is_closed && matches!(body, stream_control::Body::Stdin(_)) {
            input.unconfirmed = None;
            return Err(StreamError::Ended);
        }
        self.deliver(input.next_number, body).await?;
        input.next_number += 1;
        input.unconfirmed = None;
        Ok(())
    }

    /// Repeats until acknowledged, or until the stream ends (which it does when the agent is gone).
    async fn deliver(&self, number: u64, body: stream_control::Body) -> Result<(), StreamError> {
        let control = StreamControl { number, body: Some(body) };
        let repeating = async {
            loop {
                match self.acknowledged(&control).await {
                    Ok(()) => return Ok(()),
                    Err(CallError::Service(error)) if error.known_code() != ErrorCode::Busy => {
                        return Err(StreamError::Protocol { what: "a control was refused" });
                    }
                    Err(_retry) => self.link.clock().sleep(RETRY_DELAY).await,
                }
            }
        };
        tokio::select! {
            outcome = repeating => outcome, // cancel-safe: an unacknowledged control is repeated with its number
            () = self.ended.cancelled() => Err(StreamError::Ended), // cancel-safe: a token
        }
    }

    pub(super) async fn acknowledged(&self, control: &StreamControl) -> Result<(), CallError> {
        self.link.call_typed(self.subject.clone(), control, ACKNOWLEDGE_LIMIT).await
    }

    /// Sends a cumulative control, for whose loss the next one makes up.
    pub(super) async fn notify(&self, body: stream_control::Body) -> Result<(), BusError> {
        let control = StreamControl { number: 0, body: Some(body) };
        let headers = async_nats::HeaderMap::new();
        self.link.publish(self.subject.clone(), control.encode_to_vec().into(), headers).await
    }
}

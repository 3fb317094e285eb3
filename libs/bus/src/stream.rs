//! Byte streams from an agent to a caller: numbered frames, credits, nothing lost and nothing twice.
//!
//! ```text
//!  agent: StreamSender ── StreamFrame 1, 2, 3 … finished ──► caller: StreamReceiver     …stream.<id>.out
//!         StreamInput  ◄── Credit, Resend, KeepAlive, Stdin, Cancel ── StreamControls   …stream.<id>.in
//! ```
//!
//! - The sender keeps what the receiver has not confirmed (at most the credit, 256 KiB) and waits for credit beyond it,
//!   so a slow terminal stops the command's output at the pipe.
//! - A gap makes the receiver ask again from there; a lost tail makes the sender show its newest frame until it is
//!   confirmed. Reconnects and overflows of a subscription make both sides compare notes at once.
//! - `Credit` and `Resend` are cumulative and sent without waiting. `Stdin`, `StdinClosed`, `Cancel` and `KeepAlive` are
//!   requests: the agent acknowledges each, and the caller repeats what was not acknowledged. Only standard input is
//!   numbered (from 1, without gaps); all other controls carry the number 0.
//! - Whoever hears nothing for too long gives up: the agent after 15 s ([`CancelReason::Gone`]), the caller after 20 s,
//!   or after 10 s of a live connection on which nobody listens ([`StreamError::Gone`]).
//!
//! [`core`] holds the rules, without a clock, a network or a task.

pub mod core;

mod control;
mod receiver;
mod sender;

use std::time::Duration;

use pact_schemas::v1::stream_frame::Body;

pub use control::StreamControls;
pub use receiver::StreamReceiver;
pub use sender::{CancelReason, Input, StreamInput, StreamSender};

/// Unconfirmed bytes of one stream: enough for 1 GB/s at 0.2 ms, little enough for a thousand streams in a gateway.
pub const WINDOW_BYTES: u32 = 256 * 1024;

/// Data of one frame: large frames are efficient, small ones let streams take turns on a connection.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// How often the caller shows that it lives (node_rpc.proto).
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Without any control for this long the caller is gone (node_rpc.proto).
pub const SENDER_PATIENCE: Duration = Duration::from_secs(15);

/// Without any sign of the agent for this long it is gone: longer than its own patience, so nothing runs any more.
pub const RECEIVER_PATIENCE: Duration = Duration::from_secs(20);

/// As long as an agent may need to be back on the bus after nats-server's return.
pub const NO_LISTENER_PATIENCE: Duration = Duration::from_secs(10);

/// Why a stream does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The other side has not been heard of for too long.
    #[error("the other end of the stream is gone")]
    Gone,
    /// The stream's end was sent or seen, or it was cancelled here.
    #[error("the stream has ended")]
    Ended,
    /// A frame with too much data, or none.
    #[error("a frame of {bytes} bytes is not between 1 and {MAX_FRAME_BYTES}")]
    FrameSize {
        /// Its data.
        bytes: usize,
    },
    /// The other side broke the rules of the stream.
    #[error("the other end of the stream breaks its rules: {what}")]
    Protocol {
        /// How.
        what: &'static str,
    },
    /// Standard input was not taken in time.
    #[error("the command does not take its standard input")]
    InputStuck,
}

/// The bytes that a frame counts against the credit.
fn cost(body: &Body) -> u64 {
    match body {
        Body::Output(output) => u64::try_from(output.data.len()).unwrap_or(u64::MAX),
        Body::Finished(_) => 0,
    }
}

//! The rules of a stream: state and a time in, frames and controls out.

mod receiver;
mod sender;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use receiver::{ReceiverCore, ReceiverOut, Violation};
pub use sender::{Nothing, SenderCore};

/// Frames that are kept or waited for at once: bounds the memory of streams of tiny frames.
pub const MAX_FRAMES: usize = 1024;

/// After this long without progress the sender shows its newest frame; doubled up to [`PROBE_MAX`].
const PROBE_FIRST: Duration = Duration::from_millis(500);

/// So that a stream goes on although a loss was noticed by nobody; rare, for a caller that pauses is shown it too.
const PROBE_MAX: Duration = Duration::from_secs(5);

/// A gap is asked for again after this long: longer than a round trip through a busy server.
const RESEND_INTERVAL: Duration = Duration::from_millis(300);

/// Progress is confirmed at least this often, and earlier for each quarter of the window.
const CREDIT_DELAY: Duration = Duration::from_millis(100);

//! How a pact process lives: everything that the six binaries do alike, once.
//!
//! Parts
//! - [`causes`]: what an error's sources say.
//! - [`clock`]: the only reader of clocks and randomness. Everything else takes a [`Clock`] as a value.
//! - [`config`]: keys declared as data; defaults < file < environment < flags; every value knows where it came from.
//! - [`service`]: the life cycle of a service: load, build, run, drain, exit code.
//! - [`supervisor`]: tasks that say what their failure means, and the drain with its grace period.
//! - [`health`]: `/metrics`, `/healthz`, `/readyz`, and the registry of readiness checks.
//! - [`metrics`]: the Prometheus recorder and the metrics that every process has.
//! - [`telemetry`]: tracing to stderr as text or JSON.
//! - [`process`]: the environment, exit codes, and the one printer of errors.
//! - [`pause`]: waits between attempts.
//! - [`secret_file`]: keys and credentials, from files that their owner alone can read.
//!
//! What cannot be found here
//! - Nothing here knows a subject, a message or a key of the product; this crate depends on no other pact crate.
//! - Nothing outside [`clock`] reads a clock or asks for randomness, and nothing there returns a weak value: a
//!   machine without randomness stops the process.
//! - Nothing but [`process`] reads the environment or ends the process.
//! - No unknown configuration key or variable is ignored, and no secret is taken from the environment or from
//!   the command line, or printed.
//! - No task runs that nobody watches: one that fails, panics or ends early is restarted or ends the service.
//! - No text that came from outside can begin a new line in the log.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod causes;
pub mod clock;
pub mod config;
pub mod health;
pub mod metrics;
pub mod pause;
pub mod process;
pub mod secret_file;
pub mod service;
pub mod supervisor;
pub mod telemetry;
pub mod timestamp;

mod crypto;
mod signals;

pub use causes::causes;
pub use clock::{Clock, ManualClock};
pub use crypto::install_crypto_provider;
pub use health::{Check, Readiness};
pub use pause::Pause;
pub use process::{environment, exit_now, nats_server, parse_args, report_error};
pub use secret_file::{SecretFileError, read_secret_file};
pub use service::{CommonArgs, Context, Service, main_entry};
pub use signals::{Reload, StopSignal};
pub use supervisor::{Backoff, ExitReason, OnFailure, Supervisor};
pub use timestamp::Timestamp;
pub use tokio_util::sync::CancellationToken;

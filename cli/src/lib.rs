//! `pact`, the admin's tool.
//!
//! Everything here turns one command line into calls of the gateway
//! (`pact.v1.Pact`) and the answers into text or JSON. The gateway decides; the
//! CLI only asks, shows and translates outcomes into exit codes.
//!
//! Parts
//! - [`command`]: the command tree, as clap sees it; `commands/` holds one file
//!   for each command, named like the operation that it carries.
//! - `settings`: flag > environment > `~/.config/pact/cli.toml` >
//!   `/etc/pact/cli.toml` > the node's own file > default.
//! - `token`: which token is sent, and which token files are refused.
//! - `gateway`: connections, TLS, deadlines, retries.
//! - `failure`: every way to fail, its code, its words and its exit code; `fleet`:
//!   the same for several nodes.
//! - `advice`: what an error says to do next.
//! - `scope`: which commands react to `--vcluster`.
//! - `usage`: a command line that does not parse, as such a failure.
//! - `entry`: entries whose hash was checked, the only kind that is shown.
//! - `local`: commands about pact itself; `completion`: what a shell offers after Tab; `manual`, `topics`: pages
//!   and explanations, made from the tree, the key table, `environment` and `exit_codes`.
//! - `output`, `view`: tables, the JSON envelope, and the sanitiser that stands
//!   between what nodes wrote and the admin's terminal.
//!
//! What cannot be found here
//! - No decision about who may do what, and no journal entry: both are made
//!   behind the gateway.
//! - No connection without TLS to anything but this machine, and no certificate
//!   authority but the configured one.
//! - No answer for a command that is not built: it reaches its service, which
//!   says so.
//! - No token in a log line, an error text or a file that others may read.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod advice;
mod app;
mod commands;
mod completion;
mod confirm;
mod endpoint;
mod entry;
mod environment;
mod exit_codes;
mod failure;
mod fleet;
mod gateway;
mod help;
mod invoke;
mod local;
mod manual;
mod output;
mod scope;
mod session;
mod settings;
mod target;
mod token;
mod topics;
mod usage;
mod view;

pub use app::{command, main_entry};

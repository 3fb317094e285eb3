//! The front door of pact, on 9443.
//!
//! Every request goes the same way: `door` takes the connection and makes a principal of the token, `rights` makes nodes
//! of what the user typed and asks the policy, then the journal is read, or a signed proposal goes to its leader. What a
//! node is to do goes to it with the grant that the journal signed. A room knows those above it in this order: `commands`,
//! `stream`, `rights`, `ask`.
//!
//! - [`config`], [`error`], `context`: how it is set up, how it fails, and what every command is given.
//! - [`door`]: who comes in. The listener, the service and its end, tokens, and first contact of nodes, the only call
//!   without a token.
//! - `rights`: what was named, whether the caller may, and the records of who looked at what and who was refused.
//! - `ask`: questions to the journal and to agents, proposals, and the room, time and ids that they need.
//! - `commands`: the methods of `pact.v1.Pact`, one file for each operation; `commands/invoke.rs` passes on what is not built.
//! - `stream`: from nodes, through this process, to a client that may stop reading at any time.
//!
//! Invariants, as absences: nothing is stored here; no principal, role or scope is taken from a message body; no node
//! changes anything without a committed entry; no plaintext is spoken to any address but loopback; no queue, stream or wait is
//! without a bound; no failure becomes an empty answer.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod config;
pub mod door;
pub mod error;

mod ask;
mod commands;
mod context;
mod rights;
mod stream;

//! The front door of pact, on 9443.
//!
//! Every request goes the same way: `listener` takes the connection, `door` makes a principal of the token, `targets`
//! makes nodes of what the user typed, `authorise` asks the policy, then the journal is read, or a signed proposal goes
//! to its leader (`pact-journal-client`). What a node is to do goes to it with the grant that the journal signed (`exec`). `access`
//! records who looked at what and who was refused.
//!
//! - [`config`], [`service`], `context`: how it is set up, served and drained, and what every handler holds.
//! - `ask`, `changes`, `request`: questions to agents, changes on their way, and the ids by which a retry finds its entry.
//! - `handlers`: the methods of `pact.v1.Pact`, one file for each area; `handlers/invoke.rs` passes on what is not built.
//! - `plans`: room in memory for the plans of rollbacks and promotions.
//! - `stream`: from nodes, through this process, to a client that may stop reading at any time.
//! - `enrollment`: first contact of nodes, the only call without a token; `rate` bounds it.
//!
//! Invariants, as absences: nothing is stored here; no principal, role or scope is taken from a message body; no node
//! changes anything without a committed entry; no plaintext is spoken to any address but loopback; no queue, stream or wait is
//! without a bound; no failure becomes an empty answer.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod config;
pub mod error;
pub mod listener;
pub mod service;

mod access;
mod ask;
mod authorise;
mod changes;
mod context;
mod door;
mod enrollment;
mod exec;
mod fanout;
mod handlers;
mod plans;
mod rate;
mod request;
mod stream;
mod targets;

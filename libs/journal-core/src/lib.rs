//! The rules of the journal: what a command does to its state.
//!
//! [`apply::apply_batch`] takes a view of the state and the commands of one Raft entry. It returns
//! one outcome for each command and the changes of all. The rules are a crate of their own, so that
//! whoever needs them has them without a database: tests of the services use `memory`, a state in
//! maps, instead of a copy of the rules.
//!
//! - [`action`]: what each action is, one file for each. [`apply`]: one Raft entry. [`plan`]: what
//!   an action would do.
//! - [`view`]: what the rules read, and what they change. [`record`], [`declared`], [`tree`]: what
//!   is stored.
//! - [`requests`]: exactly once. [`members`]: what can be said of the members of the journal.
//! - `working` is the state as the next command sees it, `rights` what the journal itself asks of
//!   rights, `placement` whose a node was, `refusal` why a command changes nothing; `checks`, `policy`, `hardware`,
//!   `bus_users`, `planned` are what several actions share.
//! - [`memory`], [`samples`]: a state in maps, and commands for it, for tests.
//!
//! Absences: nothing in here reads a clock, draws a random value, touches a disk or a network, or
//! iterates a hash map. The same log gives the same bytes on every member and after every restart.
//! A command that is refused changes nothing.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod action;
pub mod apply;
mod bus_users;
mod checks;
pub mod declared;
mod hardware;
pub mod members;
mod placement;
pub mod plan;
mod planned;
mod policy;
pub mod record;
mod refusal;
pub mod requests;
mod rights;
pub mod tree;
pub mod view;
mod working;

#[allow(missing_docs, clippy::unwrap_used, reason = "for tests")]
pub mod memory;
#[cfg(test)]
mod properties;
#[allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "for tests"
)]
pub mod samples;
#[cfg(test)]
mod strategies;
#[cfg(test)]
mod tests;

#[cfg(test)]
extern crate self as pact_journal_core;

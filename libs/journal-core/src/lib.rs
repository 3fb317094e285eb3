//! The rules of the journal: what a command does to its state.
//!
//! [`apply_batch`] takes a view of the state and the commands of one Raft entry. It returns one outcome for each command and
//! the changes of all. The rules are a crate of their own, so that whoever needs them has them without a database: tests of
//! the services use [`memory`], a state in maps, instead of a copy of the rules.
//!
//! - [`apply`]: one Raft entry. [`plan`]: what an action would do.
//! - [`StateView`] is what the rules read, [`Changes`] is what they write.
//! - [`members`]: what can be said of the members of the journal.
//! - `memory`, `samples` (feature `memory`): a state in maps, and commands for it.
//!
//! Absences: nothing in here reads a clock, draws a random value, touches a disk or a network, or iterates a hash map. The same
//! log gives the same bytes on every member and after every restart. Nothing is changed by a command that is refused.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod apply;
mod bus_users;
mod declared;
mod events;
mod exec;
mod judged;
pub mod members;
mod nodes;
mod policy;
mod records;
mod refusal;
mod requests;
mod tree;
mod view;
mod working;

#[cfg(any(test, feature = "memory"))]
#[allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "for tests")]
pub mod memory;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use apply::apply_batch;
pub use declared::plan::{DeltaBeside, Plan, Planned, plan};
#[cfg(any(test, feature = "memory"))]
pub use declared::samples;
pub use declared::{Declared, DeclaredScope, Expiry, Held, ScopeMark};
pub use events::check_blob;
pub use records::{
    Blob, CertificateRow, Head, Posting, RequestMemory, StoredBatch, StoredEntry, TreeRow, Unnamed,
    Uploader, sha256,
};
pub use requests::{RequestHorizon, forgets};
pub use tree::{FullTile, TILE_LEAVES, Tree};
pub use view::{Changes, StateView};

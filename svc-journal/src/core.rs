//! The rules: what a command does to the journal's state.
//!
//! [`apply::apply_batch`] takes a view of the state and the commands of one Raft entry, and returns one outcome for each command
//! and the changes of all. Nothing in here reads a clock, draws a random value, does I/O or iterates a hash map: the same
//! log gives the same bytes on every member and after every restart.

pub(crate) mod apply;
mod bus_users;
mod declared;
mod events;
mod exec;
mod judged;
pub(crate) mod members;
mod nodes;
mod policy;
mod records;
pub(crate) mod refusal;
mod requests;
mod tree;
mod view;
mod working;

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub(crate) use declared::plan::{DeltaBeside, Plan, Planned, plan};
#[cfg(test)]
pub(crate) use declared::samples;
pub(crate) use declared::{Declared, DeclaredScope, Expiry, Held, ScopeMark};
pub(crate) use events::check_blob;
pub(crate) use records::{
    Blob, Head, Posting, RequestMemory, StoredBatch, StoredEntry, TreeRow, Unnamed, Uploader,
    sha256,
};
pub(crate) use requests::{RequestHorizon, forgets, recall};
pub(crate) use tree::{TILE_LEAVES, Tree};
pub(crate) use view::{Changes, StateView};

//! The journal: append-only, hash-linked, replicated, and the only place where pact keeps state that matters.
//!
//! Commands come from services (attested) and from nodes (by their subject), are batched into Raft entries, and are applied by
//! a pure function that makes entries, node records, policies and remembered request ids. Whoever asks is answered after the
//! entry is committed; whoever acts on a node carries a grant that a member signs after it has applied the entry.
//!
//! - [`pact_journal_core`] has the rules, without clock, network or disk.
//! - [`consensus`]: what is replicated, and its encoding. [`store`]: two RocksDBs, snapshots, whose folder it is.
//! - [`raft`]: consensus, batching, linearizable reads. [`peer`]: what members answer each other on 9444.
//! - [`handlers`]: what the bus asks. [`announcements`]: what it is told.
//! - [`config`], [`context`], [`service`], [`error`]: how it starts, what it holds, how it ends.
//!
//! Absences: nothing is answered before a majority has synced it; nothing decoded is used before it is checked; no storage
//! error is survived; no grant is signed for an entry that this member has not applied.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod config;
pub mod context;
pub mod error;
pub mod handlers;
pub mod service;

mod announcements;
mod consensus;
mod peer;
mod raft;
mod store;

pub use raft::member::{Member, MemberConfig, StartError};
pub use raft::members::{ConfiguredMember, InvalidMember, Members, MembersError};
pub use raft::membership::Removed;
pub use raft::tls::{PeerTls, TlsError};
pub use store::identity::IdentityError;
pub use store::rows::OpenError;

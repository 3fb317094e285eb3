//! Consensus: openraft 0.9 on the stores of [`crate::store`], peers over gRPC with mutual TLS. What is replicated
//! and its encoding are in [`crate::consensus`].
//!
//! - [`batcher`]: many commands, one log entry, one fsync.
//! - [`peers`]: the other members; [`network`], [`tls`]: calls to them.
//! - [`read_index`]: linearizable reads on any member.
//! - [`clocks`]: whether this member's clock may be believed. [`admission`]: whether a member without a log may take part.
//! - [`members`]: who is configured; [`changes`]: how members are added and removed; [`membership`]: how one comes, follows, goes.
//! - [`member`]: one of them, started; [`housekeeping`]: what it does by itself; [`leadership`]: who leads, logged.

pub(crate) mod admission;
pub(crate) mod batcher;
mod changes;
pub(crate) mod clocks;
mod housekeeping;
mod leadership;
pub(crate) mod member;
pub(crate) mod members;
pub(crate) mod membership;
pub(crate) mod network;
pub(crate) mod peers;
pub(crate) mod read_index;
pub(crate) mod tls;

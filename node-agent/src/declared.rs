//! What this node is to be: the journal's declarations, fetched, verified and kept.
//!
//! - `model`: documents as values; what is in force at a time. No disk, no bus, no clock.
//! - `fetch`: from `up.config` to documents that are proved: signature, digest, size, order.
//! - `cache`: on disk, so that a start needs no journal.
//! - `task`: when to ask: on connect, on announcements, every 5 minutes ± 20 %, and when somebody waits for an entry.
//!
//! Invariants, as absences: no document counts before its head's signature and its own digest are checked; the head's
//! sequence never goes back; no head is taken that was not made just now, nor any while the node knows no plane time; what
//! expired by the least that plane time can be is never in force again, whatever is known of the time later.

mod cache;
mod fetch;
mod model;
mod task;

pub(crate) use cache::{Cache, CacheError, ContentsFolder};
#[cfg(test)]
pub(crate) use model::Document;
pub(crate) use model::{Declared, Wanted};
pub(crate) use task::{Known, Parts, Publishing, Watching, begin, run};

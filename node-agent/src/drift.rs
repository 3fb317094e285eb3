//! Drift and what is decided about it, on the node's side (contracts §4 and 5).
//!
//! drift = actual − effective declared − blacklist. What nobody declares should be as the baseline of its provider has it.
//!
//! - `core`: the rules, pure. `settings`: what is configured.
//! - `engine`: one thread owns providers, drift set, window and files, and does all blocking work; `look` compares, `act` is
//!   the only code that changes the node, `adopt` takes new declarations, `bases` remembers what was before them, `ending` does
//!   what a window's end brings, `report` and `telling` tell the journal, `answers` who asks.
//! - `store`: what survives a crash. `sessions`: which commands ran. `providers`: which provider has which key; each is asked on
//!   a thread of its own, with a deadline (`worker`), and one that does not answer keeps nobody else (`silence`).
//! - `task`: wakes the engine. `rpc`: `diff`, `capture`, `settle`, `rollback_check`, `rollback`, `extend`.
//!
//! Invariants, as absences
//! - In observe mode nothing is written but by an admin's rollback; a key outside `enforce_keys` is never written by itself.
//! - Nothing is written before the intent to is on disk, and no intent is forgotten before its event is spooled: a crash at any
//!   point ends, at the next start, in what was intended or in what was, and the journal is told which.
//! - No jump of a wall clock ends a window. A key in conflict is not written before somebody decided or its time is over.

mod act;
mod adopt;
mod answers;
mod bases;
mod core;
mod ending;
mod engine;
#[cfg(test)]
mod fake;
mod look;
mod opening;
mod providers;
mod report;
mod rpc;
mod sessions;
mod settings;
mod silence;
mod store;
mod task;
mod telling;
mod worker;

pub(crate) use core::magnitude::Limits;
pub(crate) use opening::{OpenError, Opening};
pub(crate) use rpc::{Drift, methods};
pub(crate) use sessions::Sessions;
pub(crate) use settings::FileSettings;
pub(crate) use task::run;

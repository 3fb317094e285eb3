//! Two-person approvals and emergencies.
//!
//! Nothing of either is built yet: the service runs, is on the bus, reports its health
//! and answers each operation it owns with `PACT_UNIMPLEMENTED`.
//!
//! - [`config`]: the keys of `/etc/pact/approval.toml`.
//! - [`service`]: connects, registers on the bus, answers.
//!
//! Invariants, as absences: no state is kept here, on disk or in memory; no operation
//! is answered "ok" that was not carried out; nothing listens but the metrics port.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod config;
pub mod service;

//! The one door to lattice, CSM and OpenCHAMI.
//!
//! None of the three is reached yet: the service runs, is on the bus, reports all of
//! them as not configured and answers each operation it owns with `PACT_UNIMPLEMENTED`.
//!
//! - [`config`]: the keys of `/etc/pact/bridge.toml`.
//! - [`service`]: connects, registers on the bus, answers.
//!
//! Invariants, as absences: no state is kept here, on disk or in memory; no operation
//! is answered "ok" that was not carried out; nothing listens but the metrics port.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod config;
pub mod service;

//! The gateway over real sockets, with a real nats-server in operator mode and the rights of a real gateway.
//!
//! The journal, the agents and the other services are small responders that speak the true contract; the journal
//! verifies every attestation as the real one does. The parts together are tested by the system tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod declared;
mod journal;
mod node;
mod t01_connections;
mod t02_tokens;
mod t03_rights;
mod t04_exec;
mod t05_journal;
mod t06_others;
mod t07_fleets;
mod t08_readers;
mod t09_drift;
mod t10_rollback;
mod t11_specifications;
mod tokens;
mod world;

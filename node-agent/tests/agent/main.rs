//! The real `pact-agent` against a real nats-server in operator mode, a real gRPC endpoint for first contact, and a
//! journal that applies what it is sent by its own rules.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod bus;
mod declared;
mod drift;
mod enroller;
mod plane;
mod t01_first_contact;
mod t02_grants;
mod t03_commands;
mod t04_crashes;
mod t05_renewal;
mod t06_drift;
mod t07_decisions;
mod t08_crashes_of_drift;
mod t09_partition;
mod t10_reload;
mod t11_heads;
mod t12_memory;
mod told;

//! Three members in one process: real stores, real TLS between them, real elections.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod cluster;
mod t01_log;
mod t02_clocks;
mod t03_wiped;
mod t04_declared;
mod t05_members;

//! Whole-system tests: the real binaries as real processes, on loopback.
//!
//! - [`site`]: a throw-away site: bootstrap, bus, journals, services, agents, tokens.
//! - [`process`]: one child process with its log, killed when dropped.
//! - [`template`]: the configuration templates of `config/dev`, which `./dev up` uses too.
//! - [`wait`]: waiting on conditions with a bound.
//!
//! The tests themselves are in `tests/tests/system/tNN_<behaviour>.rs`, one binary.
//!
//! Invariants, as absences: nothing here replaces a part of pact; no test sleeps for a
//! fixed time and hopes; no process outlives the test that started it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "this crate is test code"
)]

pub mod process;
pub mod site;
pub mod template;
pub mod wait;

//! Whole-system tests: the real binaries, as processes on loopback and as containers.
//!
//! - [`site`]: a throw-away site: bootstrap, bus, journals, services, agents, tokens.
//! - [`containers`]: the same as a cluster of containers, each with a file system and a network of its own.
//! - [`process`]: one child process with its log, killed when dropped.
//! - [`template`]: the configuration templates of `config/dev`, which `./dev up` uses too.
//! - [`wait`]: waiting on conditions with a bound.
//!
//! The tests themselves are in `tests/tests/system/tNN_<behaviour>.rs` and `tests/tests/containers/tNN_<behaviour>.rs`, two
//! binaries: the second needs a Docker daemon and the images of `./dev images`.
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

pub mod containers;
pub mod process;
pub mod site;
pub mod template;
pub mod wait;

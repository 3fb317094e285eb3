//! `pact` as its users meet it: the real binary against a gateway that speaks real gRPC.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod completion;
mod connection;
mod drift;
mod errors;
mod exec;
mod help;
mod manual;
mod operations;
mod output;
mod reference;
mod run;
mod schema;
mod site;
mod site_data;
mod site_drift;
mod terminal;

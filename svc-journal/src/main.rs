//! The binary `pact-journal`.

use std::process::ExitCode;

use clap::Parser;
use pact_runtime::{CommonArgs, main_entry, parse_args};
use pact_svc_journal::config::Config;
use pact_svc_journal::service::{SERVICE, build};

/// The replicated, append-only, hash-linked journal.
#[derive(Parser)]
#[command(name = SERVICE.name, version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    match parse_args::<Args>() {
        Ok(args) => main_entry(&SERVICE, &args.common, Config::new, build),
        Err(code) => code,
    }
}

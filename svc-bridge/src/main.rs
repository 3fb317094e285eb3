//! The binary `pact-bridge`.

use std::process::ExitCode;

use clap::Parser;
use pact_runtime::{CommonArgs, main_entry, parse_args};
use pact_svc_bridge::config::Config;
use pact_svc_bridge::service::{SERVICE, build};

/// The one door to lattice, CSM and OpenCHAMI.
#[derive(Parser)]
#[command(name = SERVICE.name, version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    match parse_args::<Args>() {
        Ok(args) => main_entry(&SERVICE, &args.common, |loaded| loaded.parse::<Config>(), build),
        Err(code) => code,
    }
}

//! The binary `pact-gateway`.

use std::process::ExitCode;

use clap::Parser;
use pact_runtime::{CommonArgs, main_entry, parse_args};
use pact_svc_gateway::config::Config;
use pact_svc_gateway::door::service::{SERVICE, build};

/// The gRPC front door of pact: authenticates, authorises, proposes, streams back.
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

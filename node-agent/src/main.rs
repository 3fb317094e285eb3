//! `pact-agent`: the agent of one node.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pact_node_agent::agent;
use pact_node_agent::config::{Config, SCHEMA};
use pact_runtime::{CommonArgs, Service, main_entry, parse_args};

static SERVICE: Service = Service {
    name: "pact-agent",
    version: env!("CARGO_PKG_VERSION"),
    schema: &SCHEMA,
    // Agents listen nowhere.
    metrics_listen: None,
    log_filter: "info",
    // Running commands have 8 s to end by themselves and 5 s to be ended; then the spool and the bus are flushed.
    grace: Duration::from_secs(25),
    // Two: a node's processors belong to its jobs.
    worker_threads: NonZeroUsize::new(2),
};

/// The agent of one node of a pact plane.
#[derive(Parser)]
#[command(name = SERVICE.name, version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    match parse_args::<Args>() {
        Ok(args) => {
            let common = args.common.clone();
            let reread = Box::new(move || Config::new(&common.load(&SCHEMA)?));
            main_entry(&SERVICE, &args.common, Config::new, move |config, context| {
                agent::build(config, context, reread)
            })
        }
        Err(code) => code,
    }
}

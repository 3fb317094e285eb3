//! The binary `pact-enroll`.

use std::process::ExitCode;

use clap::Parser;
use pact_runtime::{CommonArgs, install_crypto_provider, main_entry, parse_args};
use pact_svc_enroll::bootstrap::{self, BootstrapArgs};
use pact_svc_enroll::config::Config;
use pact_svc_enroll::service::{SERVICE, build};

/// Enrolment, certificate authority and bus credentials of a pact site; without a subcommand, the service.
#[derive(Parser)]
#[command(name = SERVICE.name, version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make or complete the keys, certificates and bus credentials of a site
    Bootstrap(BootstrapArgs),

    /// Run the service (the same as without a subcommand)
    Run(CommonArgs),
}

fn main() -> ExitCode {
    let common = match parse_args::<Args>() {
        Ok(Args { command: Some(Command::Bootstrap(arguments)), .. }) => {
            install_crypto_provider();
            return bootstrap::main(&arguments);
        }
        Ok(Args { command: Some(Command::Run(common)), .. }) => common,
        Ok(Args { command: None, common }) => common,
        Err(code) => return code,
    };
    main_entry(&SERVICE, &common, Config::from_loaded, build)
}

//! The binary `pact-enroll`.

use std::process::ExitCode;

use clap::Parser;
use pact_runtime::{install_crypto_provider, parse_args};
use pact_svc_enroll::bootstrap::{self, BootstrapArgs};

/// Enrolment, certificate authority and bus credentials of a pact site.
#[derive(Parser)]
#[command(name = "pact-enroll", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make or complete the keys, certificates and bus credentials of a site
    Bootstrap(BootstrapArgs),
}

fn main() -> ExitCode {
    match parse_args::<Args>() {
        Ok(Args { command: Command::Bootstrap(arguments) }) => {
            install_crypto_provider();
            bootstrap::main(&arguments)
        }
        Err(code) => code,
    }
}

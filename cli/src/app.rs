//! The command line as a whole, and the life of the process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use pact_runtime::Clock;
use pact_runtime::telemetry::{self, LogFormat};
use pact_schemas::error_code::ErrorCode;
use pact_schemas::operation::OPERATIONS;

use crate::commands::Command;
use crate::failure::Failure;
use crate::help;
use crate::output::{Format, Screen};
use crate::session::Session;
use crate::settings::{GlobalArgs, Settings};

const ABOUT: &str = "Configuration and administration of an HPC/AI cluster";

const LONG_ABOUT: &str = "\
Configuration and administration of an HPC/AI cluster.

Every command is authenticated, authorised and written to the journal. Wherever
a <node> is accepted, so is a set: node[001-128], a,b,c, @vc:NAME,
@state:active, @file:PATH; -x leaves members out.";

const AFTER_HELP: &str = "\
Environment: PACT_ENDPOINT, PACT_TOKEN, PACT_VCLUSTER, PACT_OUTPUT, PACT_NODE,
PACT_TLS_CA, PACT_LATTICE_ENDPOINT, RUST_LOG. Files: ~/.config/pact/cli.toml,
/etc/pact/cli.toml.

Exit codes: 0 success, 1 general, 2 not authenticated or authorised, 3 policy,
4 conflict, 5 timeout, 6 command not whitelisted, 7 partial, 8 approval pending,
9 not found, 10 rollback failed, 11 drift found, 12 remote command failed,
130 interrupted.";

#[derive(Debug, clap::Parser)]
#[command(name = "pact", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
struct App {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// The command tree. Commands that need lattice are shown by `--help` only with
/// `lattice_configured`; they run either way.
#[must_use]
pub fn command(lattice_configured: bool) -> clap::Command {
    let mut tree = App::command();
    if !lattice_configured {
        for operation in OPERATIONS.iter().filter(|o| o.lattice) {
            if let Some(name) = operation.command.first() {
                tree = tree.mut_subcommand(name, |c| c.hide(true));
            }
        }
    }
    help::grouped(tree)
}

/// Runs `pact` with this process' arguments and environment.
#[must_use]
pub fn main_entry() -> ExitCode {
    pact_runtime::install_crypto_provider();
    let environment: BTreeMap<String, String> = pact_runtime::environment().collect();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let screen = Screen::detect(&environment);
    let lattice_configured =
        environment.get("PACT_LATTICE_ENDPOINT").is_some_and(|e| !e.is_empty());
    let parsed = command(lattice_configured)
        .try_get_matches_from(&arguments)
        .and_then(|matches| App::from_arg_matches(&matches));
    let app = match parsed {
        Ok(app) => app,
        Err(error) => return usage_exit(&error, &arguments, &environment, screen),
    };
    start_tracing(&environment, screen);
    let format = Format::of(app.global.output, &environment);
    match run(app, environment, screen) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print(format, screen);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(app: App, environment: BTreeMap<String, String>, screen: Screen) -> Result<u8, Failure> {
    let settings = Settings::load(app.global, environment)?;
    let session = Session::new(settings, Clock::system(), screen);
    // One thread: a command waits for one answer at a time, and threads cost start-up time.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            Failure::new(ErrorCode::Internal, "the event loop cannot start")
                .because(error.to_string())
        })?;
    let result = runtime.block_on(app.command.run(&session));
    // A read of standard input may still block a thread of the runtime; do not wait for it.
    runtime.shutdown_background();
    match result {
        // The reader of our output went away: it has what it wanted.
        Err(Failure::OutputClosed) => Ok(0),
        other => other.map(|exit| exit.code()),
    }
}

/// Prints what clap has to say. Usage errors exit with 1; clap's own choice, 2, means "not authenticated" here.
fn usage_exit(
    error: &clap::Error,
    arguments: &[OsString],
    environment: &BTreeMap<String, String>,
    screen: Screen,
) -> ExitCode {
    if !error.use_stderr() {
        let _closed = error.print();
        return ExitCode::SUCCESS;
    }
    if Format::in_raw_arguments(arguments, environment) == Format::Json {
        let text = error.render().to_string();
        let what = text.lines().next().unwrap_or_default();
        Failure::new(ErrorCode::InvalidArgument, what.trim_start_matches("error: "))
            .next("run the command with --help")
            .print(Format::Json, screen);
    } else {
        let _closed = error.print();
    }
    ExitCode::from(ErrorCode::InvalidArgument.exit_code())
}

/// Debug output on stderr, only when `RUST_LOG` asks for it: without it nothing is set up.
fn start_tracing(environment: &BTreeMap<String, String>, screen: Screen) {
    if environment.get("RUST_LOG").is_some_and(|filter| !filter.is_empty())
        && let Err(error) = telemetry::init(LogFormat::Text, "warn")
    {
        screen.warn(&error.to_string());
    }
}

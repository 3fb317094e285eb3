//! The command line as a whole, and the life of the process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use pact_runtime::Clock;
use pact_runtime::telemetry::{self, LogFormat};
use pact_schemas::error_code::ErrorCode;
use pact_schemas::operation::OPERATIONS;

use crate::commands::Command;
use crate::environment;
use crate::exit_codes;
use crate::failure::Failure;
use crate::help;
use crate::local::Local;
use crate::output::{self, Choice, Format, Screen, print_failure};
use crate::scope;
use crate::session::Session;
use crate::settings::{GlobalArgs, Settings};
use crate::usage;

const ABOUT: &str = "Configuration and administration of an HPC/AI cluster";

const LONG_ABOUT: &str = "\
Configuration and administration of an HPC/AI cluster.

Every command is authenticated, authorised and written to the journal. Wherever
a <node> is accepted, so is a set: node[001-128], a,b,c, @vc:NAME,
@state:active, @file:PATH; -x leaves members out.";

#[derive(Debug, clap::Parser)]
#[command(name = "pact", version, about = ABOUT, long_about = LONG_ABOUT, after_help = after_help())]
struct App {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    line: Line,
}

/// A command of one of two sorts.
#[derive(Debug, clap::Subcommand)]
enum Line {
    #[command(flatten)]
    Gateway(Box<Command>),
    #[command(flatten)]
    Local(Local),
}

/// What a command line asks for.
enum Asked {
    Line(Line),
    /// The words around `help`.
    Help(Vec<String>),
}

/// A command line that parses.
struct Parsed {
    asked: Asked,
    /// The words of the command, where it is an operation.
    command: &'static [&'static str],
    flags: GlobalArgs,
}

fn parse(arguments: &[OsString], lattice_configured: bool) -> Result<Parsed, clap::Error> {
    let matches = command(lattice_configured).try_get_matches_from(arguments)?;
    let command = words(&matches);
    if let Some(words) = help::asked(&matches) {
        let flags = GlobalArgs::from_arg_matches(&matches)?;
        return Ok(Parsed { asked: Asked::Help(words), command, flags });
    }
    let app = App::from_arg_matches(&matches)?;
    Ok(Parsed { asked: Asked::Line(app.line), command, flags: app.global })
}

/// The words of the operation that is asked for; none for what is about `pact` itself.
fn words(matches: &ArgMatches) -> &'static [&'static str] {
    let (mut path, mut matches) = (Vec::new(), matches);
    while let Some((name, below)) = matches.subcommand() {
        path.push(name);
        matches = below;
    }
    OPERATIONS.iter().map(|operation| operation.command).find(|c| *c == path).unwrap_or_default()
}

/// What `pact --help` ends with.
fn after_help() -> String {
    let variables: Vec<String> = environment::all().into_iter().map(|(name, _)| name).collect();
    let files: Vec<&str> = environment::FILES.iter().map(|(path, _)| *path).collect();
    format!(
        "Environment: {}.\n\nFiles: {}.\n\n{}\n\n`pact help topics` lists what is explained at length.",
        variables.join(", "),
        files.join(", "),
        exit_codes::in_short()
    )
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
    help::with_global_line(help::grouped(help::explained(tree)), lattice_configured)
}

/// Runs `pact` with this process' arguments and environment.
#[must_use]
pub fn main_entry() -> ExitCode {
    pact_runtime::install_crypto_provider();
    let environment: BTreeMap<String, String> = pact_runtime::environment().collect();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let screen = Screen::detect(&environment);
    let lattice_configured = environment::LATTICE_ENDPOINT.of(&environment).is_some();
    let Parsed { asked, command, flags } = match parse(&arguments, lattice_configured) {
        Ok(parsed) => parsed,
        Err(error) => {
            let format = Choice::in_raw_arguments(&arguments, &environment).format();
            return usage_exit(&error, screen.writing(format));
        }
    };
    let format = Choice::of(flags.output, &environment).format();
    let screen = screen.writing(format).running(command);
    let result = match asked {
        Asked::Help(words) => help::explain(&words, lattice_configured, screen).map(|()| 0),
        Asked::Line(Line::Local(local)) => local.run(environment).map(|()| 0),
        Asked::Line(Line::Gateway(command)) => run(*command, flags, environment, screen),
    };
    ExitCode::from(result.unwrap_or_else(|failure| ended(&failure, screen)))
}

/// Reports a failure; its exit code.
fn ended(failure: &Failure, screen: Screen) -> u8 {
    print_failure(failure, screen);
    failure.exit_code()
}

/// What was said before and between the words of a command line that may be unfinished.
pub(crate) fn global_args(words: &[OsString]) -> GlobalArgs {
    let tree = command(true).ignore_errors(true);
    let matches = tree.try_get_matches_from(words).ok();
    matches.and_then(|matches| GlobalArgs::from_arg_matches(&matches).ok()).unwrap_or_default()
}

fn run(
    command: Command,
    flags: GlobalArgs,
    environment: BTreeMap<String, String>,
    screen: Screen,
) -> Result<u8, Failure> {
    start_tracing(&environment, screen);
    scope::check(screen.command, flags.names_vcluster())?;
    let settings = Settings::load(flags, environment)?;
    let session = Session::new(settings, Clock::system(), screen);
    // From here on the settings say how it is reported.
    Ok(carry_out(command, &session).unwrap_or_else(|failure| ended(&failure, session.screen)))
}

fn carry_out(command: Command, session: &Session) -> Result<u8, Failure> {
    // One thread: a command waits for one answer at a time, and threads cost start-up time.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            Failure::new(ErrorCode::Internal, "the event loop cannot start")
                .because(error.to_string())
        })?;
    let result = runtime.block_on(command.run(session));
    // A read of standard input may still block a thread of the runtime; do not wait for it.
    runtime.shutdown_background();
    result.map(|exit| exit.code())
}

/// Prints what clap has to say. Usage errors exit with 1; clap's own choice, 2, means "not authenticated" here.
fn usage_exit(error: &clap::Error, screen: Screen) -> ExitCode {
    // Nobody is left to tell when a stream is closed.
    if !error.use_stderr() {
        let _closed = output::write_out(&screen.styled(&error.render(), false));
        return ExitCode::SUCCESS;
    }
    let shows_help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if shows_help && screen.format() == Format::Text {
        let help = screen.styled(&error.render(), true);
        let _closed = std::io::stderr().lock().write_all(help.as_bytes());
    }
    ExitCode::from(ended(&usage::failure(error), screen))
}

/// Debug output on stderr, only when `RUST_LOG` asks for it: without it nothing is set up.
fn start_tracing(environment: &BTreeMap<String, String>, screen: Screen) {
    if environment::LOG.of(environment).is_some()
        && let Err(error) = telemetry::init(LogFormat::Text, "warn")
    {
        screen.warn(&error.to_string());
    }
}

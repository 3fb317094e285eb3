//! The life cycle of all services: load → build → run → drain → exit code.
//!
//! A `main` is a few lines:
//!
//! ```no_run
//! # use pact_runtime::config::Schema;
//! # static SCHEMA: Schema = Schema { file_name: "x.toml", env_prefix: "X", other_environment: &[], keys: &[] };
//! # #[derive(serde::Deserialize)] struct Config {}
//! # async fn build(_: Config, _: pact_runtime::Context) -> Result<(), std::io::Error> { Ok(()) }
//! use std::process::ExitCode;
//! use clap::Parser;
//! use pact_runtime::{CommonArgs, Service, main_entry, parse_args};
//!
//! static SERVICE: Service = Service {
//!     name: "pact-journal",
//!     version: env!("CARGO_PKG_VERSION"),
//!     schema: &SCHEMA,
//!     metrics_listen: Some("journal.metrics_listen"),
//!     log_filter: "info",
//!     grace: std::time::Duration::from_secs(20),
//!     worker_threads: None,
//! };
//!
//! /// The replicated journal of pact.
//! #[derive(Parser)]
//! #[command(name = SERVICE.name, version)]
//! struct Args {
//!     #[command(flatten)]
//!     common: CommonArgs,
//! }
//!
//! fn main() -> ExitCode {
//!     match parse_args::<Args>() {
//!         Ok(args) => main_entry(&SERVICE, &args.common, |loaded| loaded.parse::<Config>(), build),
//!         Err(code) => code,
//!     }
//! }
//! ```
//!
//! `build` connects what the service needs, spawns its tasks on [`Context::supervisor`] and returns; the service is
//! then ready (together with its own checks) and runs until a signal or a failure.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{CONFIG_FOLDER, ConfigError, Loaded, Loader, Schema};
use crate::crypto::install_crypto_provider;
use crate::health::{HealthError, HealthServer, Readiness};
use crate::metrics::{Metrics, MetricsError};
use crate::process::{
    EXIT_BAD_CONFIG, EXIT_CLEAN, EXIT_FAILURE, environment, print_out, report_error,
};
use crate::signals::{Reload, StopSignals, reloads};
use crate::supervisor::{BoxError, ExitReason, Supervisor, SupervisorError};
use crate::telemetry::{self, LogFormat, TelemetryError};

/// Blocking work that outlasts the drain is left behind after this.
const BLOCKING_WAIT: Duration = Duration::from_secs(1);
/// The readiness check that stands for `build` having returned.
const START_CHECK: &str = "start";

/// What a binary is, as data.
#[derive(Debug)]
pub struct Service {
    /// Name of the binary, e.g. `pact-journal`.
    pub name: &'static str,
    /// Its version: `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// Its configuration.
    pub schema: &'static Schema,
    /// Path of the [`crate::config::KeyKind::Address`] key for metrics and health; `None` for a binary without a port.
    pub metrics_listen: Option<&'static str>,
    /// Log filter unless `RUST_LOG` is set, e.g. `info`.
    pub log_filter: &'static str,
    /// How long tasks may take to finish after a stop signal.
    pub grace: Duration,
    /// Threads of the runtime; `None` is one per core.
    pub worker_threads: Option<NonZeroUsize>,
}

/// The flags that all services share; flatten them into the service's own.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CommonArgs {
    /// Configuration file [default: the service's file under /etc/pact, if there]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// Print the effective configuration, each value with where it came from, and exit
    #[arg(long)]
    pub print_config: bool,

    /// Set a configuration key, over file and environment; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// How to write the log, to stderr
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

impl CommonArgs {
    /// Loads all layers of the configuration: file, this process's environment, `--set`.
    pub fn load(&self, schema: &'static Schema) -> Result<Loaded, ConfigError> {
        let loader = Loader::new(schema);
        let loader = match &self.config {
            Some(path) => loader.file(path, true),
            None => loader.file(Path::new(CONFIG_FOLDER).join(schema.file_name), false),
        };
        self.set.iter().fold(loader.env(environment()), |loader, set| loader.set(set)).load()
    }
}

/// What `build` gets to build with.
#[derive(Clone, Debug)]
pub struct Context {
    /// Time, ids and randomness.
    pub clock: Clock,
    /// Runs the tasks; its token tells them to stop.
    pub supervisor: Supervisor,
    /// Checks behind `/readyz`.
    pub readiness: Readiness,
    /// Tells of each SIGHUP.
    pub reload: Reload,
    /// What was recorded, for binaries that export it by other means than the port.
    pub metrics: Metrics,
}

/// Why a service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Logging cannot start.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// Metrics cannot be recorded.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The metrics port cannot be served.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// The asynchronous runtime cannot start.
    #[error("cannot start the runtime's threads")]
    Runtime(#[source] io::Error),
    /// The operating system does not let us listen for signals.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// `build` failed.
    #[error("{service} cannot start")]
    Build {
        /// The binary.
        service: &'static str,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// A task failed.
    #[error(transparent)]
    Task(#[from] SupervisorError),
    /// Tasks had to be aborted.
    #[error("not drained within {} s: {}", grace.as_secs(), tasks.join(", "))]
    GraceExceeded {
        /// The grace period.
        grace: Duration,
        /// The aborted tasks.
        tasks: Vec<String>,
    },
}

impl ServiceError {
    /// The exit code of a process that ends with this.
    pub fn exit_code(&self) -> u8 {
        let refused_config = match self {
            Self::Config(_) | Self::Telemetry(TelemetryError::Filter { .. }) => true,
            Self::Build { source, .. } => source.downcast_ref::<ConfigError>().is_some(),
            _ => false,
        };
        if refused_config { EXIT_BAD_CONFIG } else { EXIT_FAILURE }
    }
}

/// The whole life of a service, from parsed flags to the exit code; errors are printed once, on stderr.
///
/// `configure` makes the service's own config (usually `|loaded| loaded.parse()`, with [`Loaded::reject`] for what
/// only the service can judge). Exit codes: 0 drained, 1 failed, 64 configuration refused.
pub fn main_entry<C, F, Fut, E>(
    service: &'static Service,
    args: &CommonArgs,
    configure: impl FnOnce(&Loaded) -> Result<C, ConfigError>,
    build: F,
) -> ExitCode
where
    F: FnOnce(C, Context) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    install_crypto_provider();
    let ended = live(service, args, configure, build);
    match ended {
        Ok(()) => ExitCode::from(EXIT_CLEAN),
        Err(error) => {
            report_error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn live<C, F, Fut, E>(
    service: &'static Service,
    args: &CommonArgs,
    configure: impl FnOnce(&Loaded) -> Result<C, ConfigError>,
    build: F,
) -> Result<(), ServiceError>
where
    F: FnOnce(C, Context) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let loaded = args.load(service.schema)?;
    if args.print_config {
        print_out(&loaded.print());
    }
    let config = configure(&loaded)?;
    if args.print_config {
        return Ok(());
    }
    telemetry::init(args.log_format, service.log_filter)?;
    telemetry::log_panics();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all();
    if let Some(threads) = service.worker_threads {
        builder.worker_threads(threads.get());
    }
    let runtime = builder.build().map_err(ServiceError::Runtime)?;
    let address = service.metrics_listen.and_then(|key| loaded.address(key));
    let ended = runtime.block_on(run(service, address, |context| build(config, context)));
    runtime.shutdown_timeout(BLOCKING_WAIT);
    match ended? {
        ExitReason::Drained { signal } => {
            tracing::info!(signal = signal.map(tracing::field::display), "stopped");
            Ok(())
        }
        ExitReason::GraceExceeded { tasks } => {
            Err(ServiceError::GraceExceeded { grace: service.grace, tasks })
        }
    }
}

/// Builds, runs and drains a service within a runtime; for binaries whose `main` needs more than [`main_entry`].
pub async fn run<F, Fut, E>(
    service: &'static Service,
    metrics_address: Option<SocketAddr>,
    build: F,
) -> Result<ExitReason, ServiceError>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let mut signals = StopSignals::listen().map_err(ServiceError::Signals)?;
    let clock = Clock::system();
    let metrics = Metrics::install()?;
    metrics.record_process(service.name, service.version, &clock);
    let supervisor = Supervisor::new(clock.clone());
    let readiness = Readiness::new(supervisor.token());
    let start = readiness.check(START_CHECK);
    // These outlive the drain and end with this function.
    let (reload, hangups) = reloads().map_err(ServiceError::Signals)?;
    let _hangups = supervisor.spawn_beside("reload", hangups);
    let _upkeep = supervisor.spawn_beside("metrics", metrics.clone().upkeep(clock.clone()));
    let _health = match (metrics_address, service.metrics_listen) {
        (Some(address), Some(key)) => {
            let (readiness, metrics) = (readiness.clone(), metrics.clone());
            let server = HealthServer::bind(address, key, readiness, metrics).await?;
            let address = server.address().unwrap_or(address);
            tracing::info!(%address, "metrics and health");
            Some(supervisor.spawn_beside("health", server.serve()))
        }
        _ => None,
    };
    tracing::info!(service = service.name, version = service.version, "starting");
    let building =
        build(Context { clock, supervisor: supervisor.clone(), readiness, reload, metrics });
    let built = tokio::select! {
        built = building => Built::Done(built.map_err(Into::into)),
        // Dropping `building` is safe: what it had spawned belongs to the supervisor and is drained.
        signal = supervisor.wait_for_stop(&mut signals) => Built::Stopped(signal),
    };
    let (signal, failed) = match built {
        Built::Done(Ok(())) => {
            start.set_ready();
            (supervisor.wait_for_stop(&mut signals).await, None)
        }
        Built::Done(Err(source)) => (None, Some(source)),
        Built::Stopped(signal) => (signal, None),
    };
    let drained = supervisor.drain(&mut signals, signal, service.grace).await;
    match failed {
        Some(source) => Err(ServiceError::Build { service: service.name, source }),
        None => Ok(drained?),
    }
}

enum Built {
    Done(Result<(), BoxError>),
    Stopped(Option<crate::signals::StopSignal>),
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        common: CommonArgs,
    }

    #[test]
    fn the_common_flags_parse() {
        let words =
            ["x", "--config", "/c.toml", "--set", "a=1", "--set", "b=2", "--log-format", "json"];
        let common = Args::try_parse_from(words).unwrap().common;
        assert_eq!(common.config, Some(PathBuf::from("/c.toml")));
        assert_eq!(common.set, ["a=1", "b=2"]);
        assert_eq!((common.log_format, common.print_config), (LogFormat::Json, false));
        assert!(Args::try_parse_from(["x", "--log-format", "xml"]).is_err());
    }

    #[test]
    fn a_configuration_refused_by_build_counts_as_refused() {
        let refused = crate::config::Problem::NotAnAssignment { key: "x".to_owned() };
        let source: BoxError = Box::new(ConfigError::from(refused));
        let error = ServiceError::Build { service: "x", source };
        assert_eq!(error.exit_code(), EXIT_BAD_CONFIG);
        let source: BoxError = Box::new(io::Error::other("no bus"));
        let error = ServiceError::Build { service: "x", source };
        assert_eq!(error.exit_code(), EXIT_FAILURE);
    }
}

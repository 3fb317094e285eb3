//! The Prometheus recorder behind the `metrics` facade, and the metrics that every process has.
//!
//! Names: `pact_<noun>_<unit>`, counters end in `_total`; histograms whose names end in `_seconds` or `_bytes` have
//! the buckets below, all others become summaries.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::clock::Clock;

/// Counter: restarts of supervised tasks, by `task`.
pub const TASK_RESTARTS: &str = "pact_task_restarts_total";
/// Counter: failures of supervised tasks, by `task`.
pub const TASK_FAILURES: &str = "pact_task_failures_total";
/// Gauge: 1, with `service` and `version`.
pub const BUILD_INFO: &str = "pact_build_info";
/// Gauge: when the process started, in Unix seconds (the usual Prometheus name).
pub const START_TIME: &str = "process_start_time_seconds";
/// Gauge: resident memory (the usual Prometheus name).
pub const RESIDENT_MEMORY: &str = "process_resident_memory_bytes";
/// Gauge: open file descriptors (the usual Prometheus name).
pub const OPEN_FDS: &str = "process_open_fds";

/// From a local lookup to a command's deadline.
const SECONDS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// From one field to the largest message.
const BYTES_BUCKETS: &[f64] = &[
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];
/// Histograms buffer samples until upkeep; without it memory would grow where nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Why metrics cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The recorder cannot be built or another one is installed.
    #[error("cannot install the metrics recorder")]
    Recorder(#[source] metrics_exporter_prometheus::BuildError),
}

/// The process's recorder; renders what has been recorded.
#[derive(Clone, Debug)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder of this process, or returns the one that is installed.
    pub fn install() -> Result<Self, MetricsError> {
        static INSTALLED: OnceLock<Metrics> = OnceLock::new();
        static INSTALLING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(installed) = INSTALLED.get() {
            return Ok(installed.clone());
        }
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES_BUCKETS)
            })
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(MetricsError::Recorder)?;
        Ok(INSTALLED.get_or_init(|| Self { handle }).clone())
    }

    /// Records what every process has, once at its start.
    pub fn record_process(&self, service: &'static str, version: &'static str, clock: &Clock) {
        ::metrics::describe_gauge!(BUILD_INFO, "The service and its version; always 1.");
        ::metrics::describe_gauge!(START_TIME, "When the process started, in Unix seconds.");
        ::metrics::describe_gauge!(RESIDENT_MEMORY, "Memory of the process that is in RAM.");
        ::metrics::describe_gauge!(OPEN_FDS, "Open file descriptors of the process.");
        ::metrics::describe_counter!(TASK_RESTARTS, "Restarts of a task after it failed.");
        ::metrics::describe_counter!(TASK_FAILURES, "Failures of a task.");
        ::metrics::gauge!(BUILD_INFO, "service" => service, "version" => version).set(1.0);
        ::metrics::gauge!(START_TIME).set(clock.now().unix_seconds() as f64);
    }

    /// Everything recorded, in the Prometheus text format.
    pub fn render(&self) -> String {
        record_usage();
        self.handle.render()
    }

    /// Keeps the recorder small; runs for the life of the process.
    pub(crate) async fn upkeep(self, clock: Clock) -> Result<(), MetricsError> {
        loop {
            clock.sleep(UPKEEP_INTERVAL).await;
            self.handle.run_upkeep();
        }
    }
}

/// Samples memory and descriptors; where `/proc` is not readable the gauges are absent.
fn record_usage() {
    if let Some(bytes) = resident_bytes() {
        ::metrics::gauge!(RESIDENT_MEMORY).set(bytes);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        ::metrics::gauge!(OPEN_FDS).set(entries.count() as f64);
    }
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(f64::from(kib) * 1024.0)
}

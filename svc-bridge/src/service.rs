//! The service: on the bus, answering for what it owns.

use std::time::Duration;

use pact_bus::{BusError, Service as BusService};
use pact_runtime::{Context, Service};
use pact_schemas::operation::Owner;
use pact_schemas::rpc::bridge;
use pact_schemas::v1;

use crate::config::{Config, SCHEMA};

/// What the binary is.
pub static SERVICE: Service = Service {
    name: "pact-bridge",
    version: env!("CARGO_PKG_VERSION"),
    schema: &SCHEMA,
    metrics_listen: Some("bridge.metrics_listen"),
    log_filter: "info",
    grace: Duration::from_secs(20),
    worker_threads: None,
};

/// Connects and registers; the service then runs until it is told to stop.
///
/// # Errors
/// [`BusError`] for what no retry can mend: addresses, the CA, the credentials.
pub async fn build(config: Config, context: Context) -> Result<(), BusError> {
    let settings = config.bridge;
    settings.serve(&context, methods(&settings.name)).await
}

/// What this service answers: its health, and "not built yet" for each operation it owns.
fn methods(instance: &str) -> BusService {
    BusService::new("bridge", env!("CARGO_PKG_VERSION"), instance)
        .on(bridge::Health, |(), _, _| async { Ok(health()) })
        .unbuilt(Owner::Bridge)
}

/// What lies behind the bridge, by the names that `pact health` shows.
const BEHIND: [&str; 3] = ["lattice scheduler", "lattice node-agents", "Lattice Services"];

/// The health of what lies behind the bridge: none of it can be configured yet.
fn health() -> v1::HealthReply {
    let items = BEHIND
        .iter()
        .map(|name| v1::HealthItem {
            name: (*name).to_owned(),
            state: v1::HealthState::NotConfigured.into(),
            detail: "not configured".to_owned(),
        })
        .collect();
    v1::HealthReply { items }
}

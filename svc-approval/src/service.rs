//! The service: on the bus, answering for what it owns.

use std::time::Duration;

use pact_bus::{BusError, Service as BusService};
use pact_runtime::{Context, Service};
use pact_schemas::operation::Owner;
use pact_schemas::rpc::approval;
use pact_schemas::v1;

use crate::config::{Config, SCHEMA};

/// What the binary is.
pub static SERVICE: Service = Service {
    name: "pact-approval",
    version: env!("CARGO_PKG_VERSION"),
    schema: &SCHEMA,
    metrics_listen: Some("approval.metrics_listen"),
    log_filter: "info",
    grace: Duration::from_secs(20),
    worker_threads: None,
};

/// Connects and registers; the service then runs until it is told to stop.
///
/// # Errors
/// [`BusError`] for what no retry can mend: addresses, the CA, the credentials.
pub async fn build(config: Config, context: Context) -> Result<(), BusError> {
    let settings = config.approval;
    settings.serve(&context, methods(&settings.name)).await
}

/// What this service answers: its health, and "not built yet" for each operation it owns.
fn methods(instance: &str) -> BusService {
    BusService::new("approval", env!("CARGO_PKG_VERSION"), instance)
        .on(approval::Health, |(), _, _| async { Ok(health()) })
        .unbuilt(Owner::Approval)
}

/// The health of this service, as `pact health` shows it.
fn health() -> v1::HealthReply {
    let detail = "running; approvals and emergencies are not built yet";
    let items = vec![v1::HealthItem {
        name: "pact-approval".to_owned(),
        state: v1::HealthState::Unimplemented.into(),
        detail: detail.to_owned(),
    }];
    v1::HealthReply { items }
}

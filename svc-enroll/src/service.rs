//! The service: reads its keys, goes on the bus, answers and sweeps.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::{Bus, BusConfig, BusError, Credentials};
use pact_identity::nats_jwt::service_inbox_prefix;
use pact_runtime::{Backoff, Context, OnFailure, Service};

use crate::authority::{KeyError, Keys};
use crate::config::{Config, SCHEMA, Settings};
use crate::context::{Enrolment, Parts};
use crate::core::liveness::LivenessTable;
use crate::journal::Journal;
use crate::revocation::Revoker;
use crate::{handlers, sweep};

/// What the binary is.
pub static SERVICE: Service = Service {
    name: "pact-enroll",
    version: env!("CARGO_PKG_VERSION"),
    schema: &SCHEMA,
    metrics_listen: Some("enroll.metrics_listen"),
    log_filter: "info",
    grace: Duration::from_secs(20),
    worker_threads: None,
};

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key is missing or not what it should be.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The bus cannot be set up.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Reads the keys, connects, registers; the service then runs until it is told to stop.
///
/// # Errors
/// [`StartError`] for what no retry can mend: keys, addresses, credentials.
pub async fn build(config: Config, context: Context) -> Result<(), StartError> {
    let settings = config.enroll;
    let clock = context.clock.clone();
    let keys = Keys::load(&settings, &clock)?;
    let inbox = service_inbox_prefix(&keys.instance);
    let readiness = Some(context.readiness.check("bus"));
    let bus = Bus::connect(bus_config(&settings, &inbox), clock.clone(), readiness).await?;
    let system = Bus::connect(system_config(&settings, &inbox), clock.clone(), None).await?;
    let grace = settings.liveness.grace;
    let agent_urls = settings.bus.agent_urls.unwrap_or(settings.bus.shared.urls);
    let signing_ends = keys.signer.not_after();
    let enrolment = Enrolment::new(Parts {
        site: settings.site,
        journal: Journal::new(bus.clone(), clock.clone(), Arc::new(keys.signer)),
        authority: keys.authority,
        revoker: Revoker::new(
            system.clone(),
            keys.account.subject,
            keys.operator_signing,
            clock.clone(),
        ),
        agent_urls,
        signing_ends,
        liveness: LivenessTable::new(grace),
        bus: bus.clone(),
        clock,
    });
    bus.serve(handlers::service(&enrolment, &settings.name)).await?;
    let restart = OnFailure::Restart { backoff: Backoff::STANDARD };
    let shared = Arc::clone(&enrolment);
    context
        .supervisor
        .spawn("bus-health", restart, move |stop| sweep::watch_bus(Arc::clone(&shared), stop));
    let every = sweep::interval(grace);
    context
        .supervisor
        .spawn("sweep", restart, move |stop| sweep::run(Arc::clone(&enrolment), every, stop));
    context.supervisor.spawn_owned("bus", |stop| async move {
        stop.cancelled().await;
        bus.drain().await;
        system.drain().await;
        Ok::<(), BusError>(())
    });
    Ok(())
}

fn bus_config(settings: &Settings, inbox: &str) -> BusConfig {
    settings.bus.shared.config(&settings.name, inbox.to_owned())
}

/// The system account is another world of subjects: the same inbox is no conflict.
fn system_config(settings: &Settings, inbox: &str) -> BusConfig {
    BusConfig {
        credentials: Credentials::file(&settings.bus.system_creds),
        name: format!("{} (system)", settings.name),
        ..bus_config(settings, inbox)
    }
}

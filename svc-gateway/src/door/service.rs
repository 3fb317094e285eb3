//! The service: built, served, drained.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pact_bus::Bus;
use pact_identity::x509::SecretPem;
use pact_identity::{
    OidcConfig, ServiceInstance, ServiceRole, Signer, SignerName, TokenVerifier, nats_jwt,
};
use pact_journal_client::Journal;
use pact_policy::{Evaluator, Limits};
use pact_runtime::{
    CancellationToken, Clock, Context, Reload, Service, Supervisor, read_secret_file,
};
use pact_schemas::FILE_DESCRIPTOR_SET;
use pact_schemas::v1::enrollment_server::EnrollmentServer;
use pact_schemas::v1::pact_server::PactServer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::ask::nodes::Agents;
use crate::ask::plans::Plans;
use crate::ask::propose::Proposals;
use crate::commands::complete::PER_MINUTE;
use crate::config::{Config, KeyFiles, OidcSettings, SCHEMA, Settings};
use crate::context::{Gateway, PATIENCE};
use crate::door::enrollment::Door;
use crate::door::listener::{self, Acceptor, Socket};
use crate::door::rate::Rates;
use crate::door::tokens::Tokens;
use crate::error::StartError;
use crate::rights::access::{Inbox, Records};
use crate::rights::authorise::Rights;
use crate::stream::{DRAIN_GRACE, Streams};

/// What the binary is.
pub static SERVICE: Service = Service {
    name: "pact-gateway",
    version: env!("CARGO_PKG_VERSION"),
    schema: &SCHEMA,
    metrics_listen: Some("gateway.metrics_listen"),
    log_filter: "info",
    grace: Duration::from_secs(25),
    worker_threads: None,
};

/// Largest request: a specification of 1 MiB with its envelope.
const MAX_REQUEST_BYTES: usize = 2 * 1024 * 1024;

/// Requests of one connection at once: a shared connection of a busy program.
const STREAMS_PER_CONNECTION: u32 = 1_024;

/// A client that is gone without a word is noticed within twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What is open when commands are cancelled gets this long to be read.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Under this name the health service says whether the journal has a leader.
const JOURNAL: &str = "pact.v1.Journal";

/// How often it is looked whether it has: a flag in memory.
const LOOK: Duration = Duration::from_millis(500);

/// The last records get this long when the gateway stops.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Builds and serves; the service then runs until it is told to stop.
///
/// # Errors
/// [`StartError`] for what no retry can mend.
pub async fn build(config: Config, context: Context) -> Result<(), StartError> {
    let settings = config.gateway;
    let socket = listener::bind(settings.listen).await?;
    tracing::info!(address = %settings.listen, plaintext_loopback = settings.allow_plaintext_loopback, "serving");
    serve(settings, context, socket).await
}

/// As [`build`], on a listener that is bound already.
///
/// # Errors
/// As there.
pub async fn serve(
    settings: Settings,
    context: Context,
    socket: TcpListener,
) -> Result<(), StartError> {
    let clock = context.clock.clone();
    let tls = listener::tls_config(&settings.tls)?;
    let signer = Arc::new(signer(&settings)?);
    let verifier = Arc::new(TokenVerifier::new(oidc(&settings.oidc))?);
    let tokens = Tokens::new(Arc::clone(&verifier), clock.clone());
    let policy =
        Evaluator::start(settings.policy.site_bundle.clone(), Limits::default(), clock.clone())?;
    let bus = connect(&settings, &signer, &context).await?;
    let (records, inbox) = Records::new(clock.clone());
    let journal = Journal::new(bus.clone(), clock.clone(), PATIENCE);
    let gateway = Gateway {
        clock: clock.clone(),
        bus: bus.clone(),
        rights: Rights::new(journal.clone(), policy.clone(), records, clock.clone()),
        proposals: Proposals::new(journal.clone(), signer, clock.clone()),
        agents: Agents::new(bus.clone()),
        journal,
        streams: Streams::new(
            bus.clone(),
            tokens.clone(),
            clock.clone(),
            settings.exec.streams_per_user,
            context.supervisor.token(),
        ),
        tokens,
        exec: settings.exec,
        completions: Arc::new(tokio::sync::Mutex::new(Rates::new(PER_MINUTE))),
        plans: Plans::new(clock.clone()),
    };
    watch_reloads(&context.supervisor, context.reload.clone(), verifier, policy);
    let door = Door::new(bus, clock.clone(), settings.enrollment);
    let (acceptor, sockets) = Acceptor::new(socket, tls, settings.allow_plaintext_loopback, clock);
    context.supervisor.spawn_owned("listener", |stop| acceptor.run(stop));
    spawn_api(&context.supervisor, gateway, door, inbox, sockets).await
}

fn signer(settings: &Settings) -> Result<Signer, StartError> {
    let KeyFiles { cert, key } = &settings.signing;
    let signer = Signer::from_pem(&read(cert)?, &SecretPem::new(read_secret_file(key)?))?;
    let site = settings.site.as_deref().unwrap_or(signer.site().as_str());
    let expected = format!("gateway {} of site {site}", settings.name);
    let found = match signer.name() {
        SignerName::Gateway(name) => format!("gateway gateway-{name} of site {}", signer.site()),
        other => format!("{other} of site {}", signer.site()),
    };
    if found == expected { Ok(signer) } else { Err(StartError::OtherName { found, expected }) }
}

fn read(path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path)
        .map_err(|source| StartError::Read { path: path.to_owned(), source })
}

fn oidc(settings: &OidcSettings) -> OidcConfig {
    OidcConfig {
        jwks_file: Some(settings.jwks_file.clone()),
        role_claims: settings.role_claims.clone(),
        max_token_lifetime_seconds: settings.max_token_lifetime_seconds,
        ..OidcConfig::new(&settings.issuer, &settings.audience)
    }
}

async fn connect(
    settings: &Settings,
    signer: &Signer,
    context: &Context,
) -> Result<Bus, StartError> {
    let inbox_prefix = match signer.name() {
        SignerName::Gateway(name) => {
            let instance = ServiceInstance { role: ServiceRole::Gateway, name: name.clone() };
            nats_jwt::service_inbox_prefix(&instance)
        }
        _ => format!("_INBOX_s.{}", settings.name), // `signer` lets gateways through alone
    };
    let config = settings.bus.config(&settings.name, inbox_prefix);
    Ok(Bus::connect(config, context.clock.clone(), Some(context.readiness.check("bus"))).await?)
}

/// SIGHUP: keys and site rules are read again; what is not usable leaves the last good one in use.
fn watch_reloads(
    supervisor: &Supervisor,
    mut reload: Reload,
    tokens: Arc<TokenVerifier>,
    policy: Evaluator,
) {
    supervisor.spawn_owned("reload", |stop| async move {
        loop {
            tokio::select! {
                () = reload.requested() => {} // cancel-safe: documented
                () = stop.cancelled() => return Ok::<(), std::io::Error>(()), // cancel-safe: a token
            }
            let (tokens, policy) = (Arc::clone(&tokens), policy.clone());
            // Reading files and compiling rules would hold up other requests.
            let reloaded = tokio::task::spawn_blocking(move || {
                report("jwks_file", tokens.reload().map(|()| String::new()));
                report("site_bundle", policy.reload());
            });
            if let Err(error) = reloaded.await {
                tracing::error!(%error, "reloading failed; the last good settings stay in use");
            }
        }
    });
}

fn report<E: std::error::Error + 'static>(what: &'static str, reloaded: Result<String, E>) {
    let result = if reloaded.is_ok() { "ok" } else { "refused" };
    metrics::counter!("pact_gateway_reloads_total", "what" => what, "result" => result)
        .increment(1);
    match reloaded {
        Ok(now) => tracing::info!(what, now, "reloaded"),
        Err(error) => {
            let cause = pact_runtime::causes(&error);
            tracing::error!(what, %error, cause, "not usable; the last good one stays in use");
        }
    }
}

/// Serves until the drain, then waits for open streams, writes the last records and leaves the bus.
async fn spawn_api(
    supervisor: &Supervisor,
    gateway: Gateway,
    door: Door,
    inbox: Inbox,
    sockets: mpsc::Receiver<io::Result<Socket>>,
) -> Result<(), StartError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<PactServer<Gateway>>().await;
    reporter.set_serving::<EnrollmentServer<Door>>().await;
    let (journal, told) = (gateway.journal.clone(), reporter.clone());
    let looking = gateway.clock.clone();
    supervisor.spawn_owned("journal-status", |stop| tell_journal(journal, told, looking, stop));
    let (bus, proposals) = (gateway.bus.clone(), gateway.proposals.clone());
    let clock = gateway.clock.clone();
    let router = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_service(health)
        .add_service(reflection)
        .add_service(EnrollmentServer::new(door).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(PactServer::new(gateway).max_decoding_message_size(MAX_REQUEST_BYTES));
    supervisor.spawn_owned("api", move |stop| async move {
        let last = CancellationToken::new();
        let recording = tokio::spawn(inbox.run(proposals, clock.clone(), last.clone()));
        let incoming = ReceiverStream::new(sockets);
        let open_too_long = {
            let (stop, clock) = (stop.clone(), clock.clone());
            async move {
                stop.cancelled().await;
                clock.sleep(DRAIN_GRACE + LAST_ANSWERS).await;
            }
        };
        let served = tokio::select! {
            served = router.serve_with_incoming_shutdown(incoming, say_not_serving(stop, reporter)) => served,
            // A client that does not read its answers cannot hold up the end; its connection ends with the process.
            () = open_too_long => {
                tracing::warn!("some clients did not read their last answers");
                Ok(())
            }
        };
        last.cancel();
        finish(recording, &clock).await;
        bus.drain().await;
        served
    });
    Ok(())
}

/// Tells the health service whether the journal has a leader, as far as requests have found out: who waits is told why.
async fn tell_journal(
    journal: Journal,
    reporter: HealthReporter,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), io::Error> {
    let mut told = None;
    loop {
        let is_leaderless = journal.is_leaderless();
        if told.replace(is_leaderless) != Some(is_leaderless) {
            let status =
                if is_leaderless { ServingStatus::NotServing } else { ServingStatus::Serving };
            reporter.set_service_status(JOURNAL, status).await;
        }
        tokio::select! {
            () = clock.sleep(LOOK) => {} // cancel-safe: a timer
            () = stop.cancelled() => return Ok(()), // cancel-safe: a token
        }
    }
}

async fn say_not_serving(stop: CancellationToken, reporter: HealthReporter) {
    stop.cancelled().await;
    reporter.set_not_serving::<PactServer<Gateway>>().await;
    reporter.set_not_serving::<EnrollmentServer<Door>>().await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
}

async fn finish(recording: tokio::task::JoinHandle<()>, clock: &Clock) {
    if clock.timeout(LAST_RECORDS, recording).await.is_err() {
        tracing::error!("the journal did not take the last records of access in time");
    }
}

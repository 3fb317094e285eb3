//! The agent's life: open what is on disk, settle what a crash left, enrol, connect, serve, and stop in order.
//!
//! Order of a stop: no new commands → running ones end (or are ended) → their outcomes reach the journal, if it is there →
//! everything else. A second signal skips all of it; the next start then finds the outcomes unknown.

mod error;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pact_bus::{Bus, BusConfig, ConnectionState};
use pact_commands::Whitelist;
use pact_identity::Verifier;
use pact_runtime::{CancellationToken, Context, OnFailure, Pause, Timestamp, causes};
use pact_schemas::v1;
use tokio::sync::watch;

use crate::blobs::Blobs;
use crate::boot::BootId;
use crate::capability;
use crate::config::{AgentConfig, Config};
use crate::declared::{self, Cache};
use crate::drift::{self, Drift, Opening, Sessions};
use crate::durable::{self, PUBLIC};
use crate::enrol::identity::Identity;
use crate::enrol::{Enrolment, renewal};
use crate::exec::launcher::Launcher;
use crate::exec::{self, Engine, Ledger, Parts};
use crate::hello::{self, Greeting};
use crate::owner::Owner;
use crate::privileges;
use crate::readers::Readers;
use crate::reload::{self, Live, Reloader, Source};
use crate::report::{self, Reporter};
use crate::rpc;
use crate::spool::{self, Spool, SpoolError};
use crate::time::{self, PlaneClock};
use crate::uplink::Uplink;

pub use error::AgentError;

/// Version of this program, as told to the journal.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// After this long without a connection, while the bus refuses the credentials, the node enrols anew.
const REJECTED_PATIENCE: Duration = Duration::from_secs(10);

/// How long a stop waits for the journal to confirm what is spooled.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Waits after a renewal that failed; there is a third of the lifetime left for it.
const RENEWAL_RETRY: Pause = Pause::new(Duration::from_secs(10), Duration::from_secs(600));

/// Everything that was opened before the first connection.
struct Opened {
    /// As at the start.
    config: AgentConfig,
    /// What is shown of the node's files.
    readers: Arc<Readers>,
    /// What SIGHUP may have changed since.
    live: watch::Receiver<Live>,
    context: Context,
    boot: BootId,
    verifier: Arc<Verifier>,
    plane: PlaneClock,
    spool: Spool,
    blobs: Blobs,
    ledger: Owner<Ledger>,
    launcher: Launcher,
    enrolment: Enrolment,
    cache: Arc<Cache>,
    /// Taken by the task that asks for declarations.
    declarations: Option<declared::Publishing>,
    drift: Drift,
    sessions: Sessions,
    /// Held for as long as the agent lives.
    _lock: nix::fcntl::Flock<std::fs::File>,
}

/// Opens everything and starts the agent's tasks.
///
/// # Errors
/// [`AgentError`] for what no retry mends.
pub async fn build(config: Config, source: Source, context: Context) -> Result<(), AgentError> {
    privileges::check()?;
    reload::warn_without_effect(&config);
    let reloader = Reloader::new(source, context.reload.clone(), config.clone());
    let opened = open(config, reloader.live(), context.clone()).await?;
    let supervisor = context.supervisor;
    let (drift, sessions) = (opened.drift.clone(), opened.sessions.clone());
    // Before any connection: what is declared on disk holds, and windows run.
    supervisor.spawn("drift", OnFailure::Shutdown, move |stop| {
        drift::run(drift.clone(), sessions.clone(), stop)
    });
    let drift = opened.drift.clone();
    supervisor.spawn("configuration", OnFailure::Shutdown, move |stop| {
        let (reloader, drift) = (reloader.clone(), drift.clone());
        async move {
            reloader.run(drift, stop).await;
            Ok::<(), AgentError>(())
        }
    });
    let spool = opened.spool.clone();
    supervisor.spawn("spool", OnFailure::Shutdown, move |stop| {
        let spool = spool.clone();
        async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()), // cancel-safe: a token
                failed = spool.failed() => Err(failed), // cancel-safe
            }
        }
    });
    let reporter = reporter(&opened);
    supervisor.spawn("report", OnFailure::Shutdown, move |stop| {
        let reporter = reporter.clone();
        async move {
            report::run(reporter, stop).await;
            Ok::<(), AgentError>(())
        }
    });
    let mut opened = Some(opened);
    supervisor.spawn("agent", OnFailure::Shutdown, move |stop| {
        // Made once: a failure of this task ends the agent.
        let opened = opened.take();
        async move {
            match opened {
                Some(opened) => live(opened, stop).await,
                None => Ok(()),
            }
        }
    });
    Ok(())
}

async fn open(
    config: Config,
    live: watch::Receiver<Live>,
    context: Context,
) -> Result<Opened, AgentError> {
    let (file, secret) = (config.drift_settings(), config.secret());
    let readers = Arc::new(Readers::new(secret.clone()));
    let config = config.agent;
    let clock = context.clock.clone();
    let state = config.state_dir.clone();
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| AgentError::Io { path, source }
    };
    let boot = BootId::read()?;
    durable::private_folder(&state).map_err(io(&state))?;
    let lock = lock(&state)?;
    let ca_path = config.journal.tls_ca.clone();
    let ca = std::fs::read_to_string(&ca_path).map_err(io(&ca_path))?;
    let verifier =
        Verifier::from_pem(&ca).map_err(|source| AgentError::Anchors { path: ca_path, source })?;
    let time_path = state.join("plane-time.json");
    let plane =
        PlaneClock::open(&time_path, boot.clone(), clock.clone()).map_err(io(&time_path))?;
    show_node(&config)?;
    let folder = state.join("spool");
    let (spool, recovered) =
        Spool::open(&folder, &config.node_id, spool::DEFAULT_LIMIT_BYTES, &clock)?;
    let blobs = Blobs::open(&state.join("blobs"))?;
    blobs.retain(&recovered.chunks)?;
    let (ledger, left) = Ledger::open(&state.join("nonces"), &state.join("running"))?;
    let ledger = Owner::spawn("ledger", ledger).map_err(io(&state))?;
    exec::recover(left, &recovered.ended, &boot, &ledger, &spool, plane.best()).await?;
    let launcher = Launcher::new(clock.clone()).map_err(io(&state))?;
    let cache = Arc::new(Cache::open(&state.join("declared"))?);
    let (declarations, watching) = declared::begin(cache.load(&verifier, &config.node_id), &plane);
    let (sessions, mode) = (Sessions::new(clock.clone()), file.mode);
    let opening = Opening {
        state: &state,
        own: vec![config.run_dir.clone(), config.certificate_path.clone()],
        roots: config.observer.roots.clone(),
        secret,
        file,
        cache: &cache,
        watching: &watching,
        spool: &spool,
        plane: &plane,
        clock: &clock,
        boot: &boot,
        sessions: &sessions,
    };
    let drift = Drift::new(config.node_id.clone(), opening.open()?, watching, clock.clone(), mode);
    let enrolment = Enrolment {
        node: config.node_id.clone(),
        site: verifier.site().clone(),
        hardware: hardware(&config),
        endpoints: config.journal.endpoints.clone(),
        ca_pem: config.journal.tls_enabled.then_some(ca),
        folder: state.join("identity"),
        certificate_path: config.certificate_path.clone(),
        version: VERSION,
        clock,
    };
    Ok(Opened {
        config,
        readers,
        live,
        context,
        boot,
        verifier: Arc::new(verifier),
        plane,
        spool,
        blobs,
        ledger,
        launcher,
        enrolment,
        cache,
        declarations: Some(declarations),
        drift,
        sessions,
        _lock: lock,
    })
}

/// Two agents on one spool would hand out the same numbers.
fn lock(state: &Path) -> Result<nix::fcntl::Flock<std::fs::File>, AgentError> {
    let path = state.join("lock");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| AgentError::Io { path, source })?;
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock)
        .map_err(|_| AgentError::Locked { path: state.to_owned() })
}

/// What to enrol with: this machine, or what the configuration says instead.
fn hardware(config: &AgentConfig) -> v1::HardwareIdentity {
    if let Some(identity) = &config.identity {
        tracing::warn!("enrolling with the identity of the configuration, not of this machine");
        return identity.hardware_identity();
    }
    let found = capability::hardware_identity(Path::new("/"));
    v1::HardwareIdentity {
        macs: found.macs,
        bmc_serial: found.bmc_serial,
        hardware_ids: found.smbios_uuid.map(|uuid| format!("smbios:{uuid}")).into_iter().collect(),
    }
}

/// Tells the node's users, and the CLI on it, which node this is.
fn show_node(config: &AgentConfig) -> Result<(), AgentError> {
    let path = config.run_dir.join("node.json");
    let io = |source| AgentError::Io { path: path.clone(), source };
    std::fs::create_dir_all(&config.run_dir).map_err(io)?;
    let node = serde_json::json!({
        "node_id": config.node_id.as_str(),
        "endpoints": config.journal.endpoints,
    });
    durable::replace(&path, format!("{node}\n").as_bytes(), PUBLIC).map_err(io)
}

fn reporter(opened: &Opened) -> Reporter {
    Reporter {
        node: opened.config.node_id.clone(),
        manifest: opened.config.manifest_path(),
        digest: opened.config.state_dir.join("capability.sha256"),
        spool: opened.spool.clone(),
        blobs: opened.blobs.clone(),
        plane: opened.plane.clone(),
        clock: opened.context.clock.clone(),
    }
}

/// Enrols, connects and serves until `stop`.
async fn live(mut opened: Opened, stop: CancellationToken) -> Result<(), AgentError> {
    let identity = tokio::select! {
        () = stop.cancelled() => return Ok(()), // cancel-safe: a token
        identity = identity(&opened) => identity?, // cancel-safe: kept whole or not at all
    };
    let bus = opened.connect(&identity).await?;
    let uplink = Uplink::new(opened.config.node_id.clone(), bus);
    let engine = Engine::new(opened.parts(&uplink));
    uplink.bus().respond(opened.responder(&engine, &uplink)).await?;
    // Cancelled after the commands have ended: their outcomes still have to leave.
    let last = CancellationToken::new();
    let _abort = last.clone().drop_guard();
    let mut sender = tokio::spawn(spool::send(
        opened.spool.clone(),
        opened.blobs.clone(),
        uplink.clone(),
        opened.context.clock.clone(),
        last.clone(),
    ));
    let clock_keeper = tokio::spawn(time::run(
        opened.plane.clone(),
        uplink.clone(),
        Arc::clone(&opened.verifier),
        last.clone(),
    ));
    let asker = opened.declarations.take().map(|declarations| {
        tokio::spawn(declared::run(opened.declaring(&uplink), declarations, last.clone()))
    });
    let greeter = tokio::spawn(hello::run(
        opened.greeting(),
        uplink.clone(),
        opened.spool.clone(),
        opened.context.clock.clone(),
        stop.clone(),
    ));
    tokio::select! {
        () = stop.cancelled() => {} // cancel-safe: a token
        // Cancel-safe: what was renewed is on disk, and used from the next start on.
        ended = opened.keep_identity(identity, &uplink, &engine) => ended?,
        // Cancel-safe: polled by reference. It ends early only when the spool itself fails.
        ended = &mut sender => return match ended {
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(())) | Err(_) => Err(SpoolError::Broken.into()),
        },
    }
    engine.stop().await;
    let progress = opened.spool.progress();
    let flushed = opened.spool.committed(progress.head);
    if opened.context.clock.timeout(FLUSH_LIMIT, flushed).await.is_err() {
        let left = progress.head - opened.spool.progress().committed;
        tracing::info!(events = left, "events stay in the spool until the next start");
    }
    last.cancel();
    // All end with their tokens; a panic in one of them has nothing left to break.
    let _ended = tokio::join!(sender, clock_keeper, greeter);
    if let Some(asker) = asker {
        let _ended = asker.await;
    }
    uplink.bus().drain().await;
    Ok(())
}

/// The identity on disk while it is valid, else a new one.
async fn identity(opened: &Opened) -> Result<Identity, AgentError> {
    let enrolment = &opened.enrolment;
    let now = || opened.plane.best();
    let kept = match Identity::load(&enrolment.folder, &enrolment.node, &enrolment.site) {
        Ok(kept) => kept,
        Err(error) => {
            tracing::error!(cause = causes(&error), "the identity on disk is not used: {error}");
            None
        }
    };
    match kept {
        Some(identity) if identity.not_after() > now() => Ok(identity),
        Some(identity) => {
            tracing::info!(ended = %identity.not_after(), "the identity on disk has ended");
            Ok(enrolment.until_taken(Some(identity.keys().clone()), now).await)
        }
        None => Ok(enrolment.until_taken(None, now).await),
    }
}

impl Opened {
    fn parts(&self, uplink: &Uplink) -> Parts {
        Parts {
            node: self.config.node_id.clone(),
            boot: self.boot.clone(),
            clock: self.context.clock.clone(),
            plane: self.plane.clone(),
            verifier: Arc::clone(&self.verifier),
            ledger: self.ledger.clone(),
            spool: self.spool.clone(),
            blobs: self.blobs.clone(),
            launcher: self.launcher.clone(),
            uplink: uplink.clone(),
            whitelist: Whitelist::builtin(),
            readers: Arc::clone(&self.readers),
            live: self.live.clone(),
            sessions: self.sessions.clone(),
        }
    }

    fn declaring(&self, uplink: &Uplink) -> declared::Parts {
        declared::Parts {
            uplink: uplink.clone(),
            verifier: Arc::clone(&self.verifier),
            cache: Arc::clone(&self.cache),
            plane: self.plane.clone(),
            spool: self.spool.clone(),
            clock: self.context.clock.clone(),
        }
    }

    fn greeting(&self) -> Greeting {
        Greeting {
            boot: self.boot.clone(),
            version: VERSION,
            enforcement_mode: self.drift.mode(),
            live: self.live.clone(),
        }
    }

    fn responder(&self, engine: &Engine, uplink: &Uplink) -> pact_bus::Responder {
        rpc::responder(&self.config.node_id, engine, &self.drift, uplink, &self.boot, VERSION)
    }

    async fn connect(&self, identity: &Identity) -> Result<Bus, AgentError> {
        let node = &self.config.node_id;
        let tls = self.config.journal.tls_enabled;
        let urls = self.config.bus.url.clone().unwrap_or_else(|| identity.bus_urls().to_vec());
        let config = BusConfig {
            urls,
            credentials: identity.credentials(),
            tls_ca: tls.then(|| self.config.journal.tls_ca.clone()),
            inbox_prefix: format!("_INBOX_n.{node}"),
            name: format!("pact-agent {node}"),
            allow_plaintext_loopback: !tls,
        };
        let check = self.context.readiness.check("bus");
        let bus = Bus::connect(config, self.context.clock.clone(), Some(check)).await?;
        bus.set_clock_trust(self.plane.trust());
        Ok(bus)
    }

    /// Renews the identity in time, and enrols anew when the bus does not take it. Ends with a failure only.
    async fn keep_identity(
        &self,
        mut identity: Identity,
        uplink: &Uplink,
        engine: &Engine,
    ) -> Result<(), AgentError> {
        let clock = &self.context.clock;
        let mut pause = RENEWAL_RETRY;
        let mut wait = renewal::wait(&identity, self.plane.best(), clock);
        loop {
            let now = || -> Timestamp { self.plane.best() };
            let renewed = tokio::select! {
                () = clock.sleep(wait) => { // cancel-safe: a timer
                    renewal::renew(uplink, &self.enrolment, now()).await
                }
                () = self.rejected(uplink) => { // cancel-safe: only looks
                    tracing::warn!("the bus does not take the node's credentials; enrolling anew");
                    let keys = Some(identity.keys().clone());
                    Ok(self.enrolment.until_taken(keys, now).await)
                }
            };
            let switched = match renewed {
                Ok(renewed) => {
                    identity = renewed;
                    let bus = self.connect(&identity).await?;
                    bus.respond(self.responder(engine, uplink)).await?;
                    renewal::switch(uplink, bus, clock).await
                }
                Err(error) => Err(error),
            };
            wait = match switched {
                Ok(()) => {
                    pause.reset();
                    tracing::info!(until = %identity.not_after(), "new credentials are in use");
                    renewal::wait(&identity, now(), clock)
                }
                Err(error) => {
                    let wait = pause.next(clock);
                    tracing::warn!(
                        cause = causes(&error), until = %identity.not_after(),
                        retry_seconds = wait.as_secs(), "{error}"
                    );
                    wait
                }
            };
        }
    }

    /// Waits until the bus has refused the credentials for a while.
    async fn rejected(&self, uplink: &Uplink) {
        let clock = &self.context.clock;
        let mut rejected_for = Duration::ZERO;
        let step = REJECTED_PATIENCE / 5;
        loop {
            // Nothing wakes an agent whose connection stands.
            if uplink.bus().state() == ConnectionState::Connected {
                let mut states = uplink.bus().events();
                rejected_for = Duration::ZERO;
                // Fails when the connection was replaced: look at the new one.
                let _lost = states.changed().await;
            }
            clock.sleep(step).await;
            let bus = uplink.bus();
            let problem = bus.last_problem().unwrap_or_default().to_ascii_lowercase();
            let is_refused = bus.state() != ConnectionState::Connected
                && (problem.contains("authorization") || problem.contains("authentication"));
            rejected_for = if is_refused { rejected_for + step } else { Duration::ZERO };
            if rejected_for >= REJECTED_PATIENCE {
                return;
            }
        }
    }
}

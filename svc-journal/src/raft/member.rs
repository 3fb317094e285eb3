//! One member of the journal, started: stores, Raft, its peers, and the loops beside them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{Fatal, InitializeError, RaftError};
use openraft::{Config, ServerState, SnapshotPolicy};
use pact_runtime::{CancellationToken, Clock, OnFailure, Supervisor};
use pact_schemas::v1::{
    self, Action, AnnounceMembers, Command, ForwardRequest, Outcome, Principal, Tick, action,
};
use pact_schemas::{ErrorCode, SiteName};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::DropGuard;

use super::batcher::{Batcher, ProposeError};
use super::members::Members;
use super::network::{Network, Peers};
use super::read_index::ReadGate;
use super::tls::{PeerConfigs, PeerTls, TlsError};
use super::types::Raft;
use crate::core::apply::COMMAND_VERSION;
use crate::peer::PeerService;
use crate::peer::listener::PeerListener;
use crate::store::declared;
use crate::store::identity::{FolderLock, Identity, IdentityError};
use crate::store::log::LogStore;
use crate::store::machine::StateMachine;
use crate::store::query;
use crate::store::rows::OpenError;
use crate::store::space::Space;
use crate::store::state::{Configured, StateCell, StateDb};

/// The time limit of a replication call, too: openraft uses one number for both.
const HEARTBEAT: Duration = Duration::from_millis(200);
/// Three to six heartbeats.
const ELECTION_MIN: Duration = Duration::from_millis(600);
/// See [`ELECTION_MIN`].
const ELECTION_MAX: Duration = Duration::from_millis(1200);
/// A whole state goes over the wire within this.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(600);
/// Log entries of one replication call; bytes are bounded by the log.
const MAX_PAYLOAD_ENTRIES: u64 = 16;
/// Entries that stay in the log behind a snapshot, so that a member that was away for a moment needs none.
const LOG_KEPT: u64 = 500;
/// Snapshots are at least this far apart.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(60);
/// A log of this size is cut by a snapshot, however few its entries are.
const MAX_LOG_BYTES: u64 = 256 * 1024 * 1024;
/// How often the housekeeping of a member looks whether there is something to do.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Request ids are looked after this often.
const TICK_INTERVAL: Duration = Duration::from_secs(10);

/// What a member needs to start.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// The site.
    pub site: SiteName,
    /// All members, and which of them this is.
    pub members: Members,
    /// Folder of all its data.
    pub data_dir: PathBuf,
    /// Where it listens for the others.
    pub listen: SocketAddr,
    /// Log entries between snapshots.
    pub snapshot_interval: u64,
    /// Its certificate for the others.
    pub tls: PeerTls,
}

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder is not ours.
    #[error("the data folder is not used")]
    Identity(#[from] IdentityError),
    /// A store does not open.
    #[error("the stores do not open")]
    Open(#[from] OpenError),
    /// TLS between members.
    #[error("members cannot talk to each other")]
    Tls(#[from] TlsError),
    /// The port for members.
    #[error("cannot listen for members on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The timers contradict each other.
    #[error("Raft does not take its configuration")]
    Config(#[from] openraft::ConfigError),
    /// Raft itself.
    #[error("Raft does not start")]
    Raft(#[from] Fatal<u64>),
    /// The first membership.
    #[error("the first membership is refused")]
    Initialize(#[source] RaftError<u64, InitializeError<u64, openraft::BasicNode>>),
}

/// A running member. Clones are one member.
#[derive(Clone)]
pub struct Member {
    inner: Arc<Inner>,
}

struct Inner {
    config: MemberConfig,
    raft: Raft,
    peers: Peers,
    batcher: Batcher,
    reads: ReadGate,
    cell: Arc<StateCell>,
    log: LogStore,
    space: Space,
    clock: Clock,
    halt: CancellationToken,
    _lock: FolderLock,
}

impl Member {
    /// Opens the stores, starts Raft and the loops on `supervisor`.
    ///
    /// # Errors
    /// [`StartError`]; a folder of another member, cluster or site is left as it was.
    pub async fn start(
        config: MemberConfig,
        clock: Clock,
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let halt = CancellationToken::new();
        // A start that fails half-way, or is given up, ends what it has begun.
        let unless_started = halt.clone().drop_guard();
        let cluster_id = config.members.cluster_id(&config.site);
        let own = config.members.own();
        let tls = Arc::new(PeerConfigs::new(&config.tls, &config.site, own)?);
        let address = config.listen;
        let listener =
            PeerListener::bind(address, Arc::clone(&tls), config.members.clone(), clock.clone())
                .await;
        let listener = listener.map_err(|source| StartError::Listen { address, source })?;
        let lock = Identity::new(&config.site, &cluster_id, own).claim(&config.data_dir)?;
        let cell = Arc::new(StateCell::open(&config.data_dir.join("state"))?);
        let log =
            LogStore::open(&config.data_dir.join("raft"), Some(Arc::clone(&cell)), clock.clone())?;
        let machine = StateMachine::open(Arc::clone(&cell), &config.data_dir.join("snapshot"))?;
        if log.is_pristine()? && cell.applied().borrow().is_some() {
            // A state without the votes and the log that led to it.
            return Err(OpenError::Missing { path: config.data_dir.join("raft") }.into());
        }
        let peers = Peers::new(&config.members, cluster_id, &tls)?;
        let settings = Arc::new(raft_config(&config).validate()?);
        let raft =
            Raft::new(own.get(), settings, Network(peers.clone()), log.clone(), machine).await?;
        let space = Space::default();
        let (batcher, batches) = Batcher::new(raft.clone(), clock.clone(), space.clone());
        let (reads, rounds) =
            ReadGate::new(raft.clone(), peers.clone(), cell.applied(), clock.clone());
        let service = PeerService::new(raft.clone(), peers.clone(), batcher.clone(), space.clone());
        let inner = Inner {
            config,
            raft,
            peers,
            batcher,
            reads,
            cell,
            log,
            space,
            clock,
            halt: halt.clone(),
            _lock: lock,
        };
        let member = Self { inner: Arc::new(inner) };
        // These outlive the beginning of the drain: requests that were taken are still carried out. `halt` ends them.
        let (for_listener, for_batches, for_rounds) = (halt.clone(), halt.clone(), halt);
        supervisor.spawn_owned("members", move |_| listener.serve(service, for_listener));
        supervisor.spawn_owned("batcher", move |_| finished(batches.run(for_batches)));
        supervisor.spawn_owned("reads", move |_| finished(rounds.run(for_rounds)));
        member.spawn_loops(supervisor);
        member.initialize().await?;
        unless_started.disarm();
        Ok(member)
    }

    fn spawn_loops(&self, supervisor: &Supervisor) {
        let watched = self.clone();
        supervisor.spawn("space", OnFailure::Shutdown, move |stop| {
            let inner = &watched.inner;
            finished(inner.space.clone().watch(
                inner.config.data_dir.clone(),
                inner.clock.clone(),
                stop,
            ))
        });
        let kept = self.clone();
        supervisor.spawn("housekeeping", OnFailure::Shutdown, move |stop| {
            finished(kept.clone().housekeeping(stop))
        });
        let raft = self.clone();
        supervisor.spawn_owned("raft", move |_| raft.guard());
    }

    /// Every member does this with the same list, and openraft takes it once: whoever wins the first election leads.
    async fn initialize(&self) -> Result<(), StartError> {
        let inner = &self.inner;
        if inner.raft.is_initialized().await? {
            return Ok(());
        }
        match inner.raft.initialize(inner.config.members.to_raft()).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(StartError::Initialize(error)),
        }
    }

    /// Ends Raft when the member halts; an error when Raft ends by itself.
    async fn guard(self) -> Result<(), Fatal<u64>> {
        let mut metrics = self.inner.raft.metrics();
        let failed = async {
            loop {
                let state = metrics.borrow_and_update().running_state.clone();
                if let Err(fatal) = state {
                    return fatal;
                }
                if metrics.changed().await.is_err() {
                    return Fatal::Stopped;
                }
            }
        };
        tokio::select! {
            () = self.inner.halt.cancelled() => {} // cancel-safe
            fatal = failed => return Err(fatal), // only reads
        }
        self.shutdown().await;
        Ok(())
    }

    /// Ends everything that this member does. To be called when nobody is waiting for it any more.
    pub fn halt(&self) {
        self.inner.halt.cancel();
    }

    /// Halts the member when the guard is dropped, unless it is disarmed.
    pub(crate) fn halt_on_drop(&self) -> DropGuard {
        self.inner.halt.clone().drop_guard()
    }

    /// Makes a snapshot now and lets go of the log behind it, as the housekeeping does when there is enough to gain.
    ///
    /// # Errors
    /// When Raft has ended.
    pub async fn compact(&self) -> Result<(), Fatal<u64>> {
        let raft = &self.inner.raft;
        let applied = raft.metrics().borrow().last_applied;
        raft.trigger().snapshot().await?;
        let covered =
            |metrics: &openraft::RaftMetrics<u64, openraft::BasicNode>| metrics.snapshot >= applied;
        if raft.wait(Some(SNAPSHOT_TIMEOUT)).metrics(covered, "the snapshot is made").await.is_err()
        {
            return Err(Fatal::Stopped);
        }
        match applied {
            Some(applied) => raft.trigger().purge_log(applied.index).await,
            None => Ok(()),
        }
    }

    /// Stops Raft. Nothing is lost: what was acknowledged is on disk.
    async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "Raft ended badly");
        }
    }

    async fn housekeeping(self, stop: CancellationToken) {
        let clock = &self.inner.clock;
        let start = clock.monotonic();
        let (mut snapshot_at, mut tick_at) = (start, start);
        loop {
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe
                () = clock.sleep(HOUSEKEEPING) => {} // cancel-safe
            }
            let now = clock.monotonic();
            self.record_metrics();
            if now.saturating_sub(snapshot_at) >= SNAPSHOT_PAUSE && self.needs_snapshot() {
                snapshot_at = now;
                // Fails only when Raft has ended, which the guard sees.
                drop(self.inner.raft.trigger().snapshot().await);
            }
            if self.is_leader() {
                let ticks = now.saturating_sub(tick_at) >= TICK_INTERVAL;
                if ticks {
                    tick_at = now;
                }
                self.lead(ticks).await;
            }
        }
    }

    fn needs_snapshot(&self) -> bool {
        let metrics = self.inner.raft.metrics().borrow().clone();
        let applied = metrics.last_applied.map_or(0, |id| id.index);
        let covered = metrics.snapshot.map_or(0, |id| id.index);
        applied.saturating_sub(covered) >= self.inner.config.snapshot_interval
            || (applied > covered && self.inner.log.size_bytes() > MAX_LOG_BYTES)
    }

    /// What only the leader proposes: who the members are, and the end of what time alone ends.
    async fn lead(&self, ticks: bool) {
        let members = self.inner.config.members.to_wire();
        let mut actions = Vec::new();
        if self.announced() != members {
            actions.push(action::Action::AnnounceMembers(AnnounceMembers { members }));
        }
        if declared::is_due(&self.state(), self.inner.clock.now())
            || (ticks && self.has_old_requests())
        {
            actions.push(action::Action::Tick(Tick {}));
        }
        let commands: Vec<Command> =
            actions.into_iter().map(|action| self.own_command(action)).collect();
        if commands.is_empty() {
            return;
        }
        if let Err(error) = self.inner.batcher.propose(commands).await {
            tracing::debug!(%error, "housekeeping was not committed; it is tried again");
        }
    }

    fn announced(&self) -> Vec<v1::MemberAddress> {
        query::members(&self.inner.cell.load())
    }

    fn has_old_requests(&self) -> bool {
        let state = self.inner.cell.load();
        let now = self.inner.clock.now().unix_nanos() / 1_000_000;
        query::requests_to_forget(&state, u64::try_from(now).unwrap_or(0))
    }

    fn own_command(&self, action: action::Action) -> Command {
        Command {
            version: COMMAND_VERSION,
            time: None,
            author: Some(self.principal()),
            acting_role: String::new(),
            request_id: None,
            policy_ref: String::new(),
            action: Some(Action { action: Some(action) }),
        }
    }

    fn principal(&self) -> Principal {
        Principal {
            subject: format!("service:journal/{}", self.inner.config.members.own()),
            issuer: format!("pact://{}", self.inner.config.site),
            kind: v1::PrincipalKind::Service.into(),
            roles: Vec::new(),
        }
    }

    fn record_metrics(&self) {
        let raft = self.inner.raft.metrics().borrow().clone();
        let is_leader = u32::from(raft.state == ServerState::Leader);
        metrics::gauge!("pact_journal_is_leader").set(f64::from(is_leader));
        metrics::gauge!("pact_journal_term").set(to_f64(raft.current_term));
        metrics::gauge!("pact_journal_applied_index")
            .set(to_f64(raft.last_applied.map_or(0, |id| id.index)));
        metrics::gauge!("pact_journal_head_seq").set(to_f64(*self.inner.cell.head_seq().borrow()));
        metrics::gauge!("pact_journal_log_bytes").set(to_f64(self.inner.log.size_bytes()));
    }

    /// Proposes here; [`ProposeError::NotLeader`] names who leads instead.
    pub(crate) async fn propose(
        &self,
        commands: Vec<Command>,
    ) -> Result<Vec<Outcome>, ProposeError> {
        // Known before anything is queued, so that a client's retry costs nothing.
        if !self.is_leader() {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        }
        self.inner.batcher.propose(commands).await
    }

    /// Proposes here or, when another member leads, there.
    pub(crate) async fn propose_anywhere(
        &self,
        commands: Vec<Command>,
    ) -> Result<Vec<Outcome>, v1::Error> {
        let leader = match self.leader() {
            Some(leader) if leader == self.id() => {
                return self.propose(commands).await.map_err(v1::Error::from);
            }
            Some(leader) => leader,
            None => return Err(ProposeError::NotLeader { leader: None }.into()),
        };
        let Some(mut client) = self.inner.peers.client(leader) else {
            return Err(ProposeError::NotLeader { leader: None }.into());
        };
        let request = ForwardRequest { cluster_id: self.inner.peers.cluster_id(), commands };
        let reply = client.forward(request).await.map_err(|status| {
            ErrorCode::NoLeader
                .error("the journal's leader does not answer")
                .because(status.message())
        })?;
        let reply = reply.into_inner();
        match reply.error {
            Some(error) => Err(error),
            None => Ok(reply.outcomes),
        }
    }

    /// Returns once this member has applied everything that was acknowledged before.
    pub(crate) async fn linearizable(&self) -> Result<(), v1::Error> {
        self.inner.reads.pass().await.map_err(v1::Error::from)
    }

    /// What is applied here.
    pub(crate) fn state(&self) -> Arc<StateDb> {
        self.inner.cell.load()
    }

    /// Sequence of the last entry, as it moves.
    pub(crate) fn head_seq(&self) -> watch::Receiver<u64> {
        self.inner.cell.head_seq()
    }

    /// Whose configuration changes, from now on.
    pub(crate) fn configured(&self) -> broadcast::Receiver<Configured> {
        self.inner.cell.configured()
    }

    /// Raft's own view.
    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    /// Whether new commands may be written to its disk.
    pub(crate) fn has_room(&self) -> bool {
        self.inner.space.takes_proposals()
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &MemberConfig {
        &self.inner.config
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.inner.config.members.own().get()
    }

    /// Who leads, as far as this member knows.
    pub fn leader(&self) -> Option<u64> {
        self.inner.raft.metrics().borrow().current_leader
    }

    /// Whether this member leads.
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.id())
    }

    /// Sequence and hash of the last entry that is applied here.
    pub fn head(&self) -> (u64, [u8; 32]) {
        let head = crate::store::view::read_head(&self.state());
        (head.seq, head.hash)
    }
}

#[allow(clippy::cast_precision_loss, reason = "a gauge")]
fn to_f64(value: u64) -> f64 {
    value as f64
}

async fn finished(work: impl Future<Output = ()>) -> Result<(), std::convert::Infallible> {
    work.await;
    Ok(())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn raft_config(config: &MemberConfig) -> Config {
    Config {
        cluster_name: config.site.to_string(),
        heartbeat_interval: milliseconds(HEARTBEAT),
        election_timeout_min: milliseconds(ELECTION_MIN),
        election_timeout_max: milliseconds(ELECTION_MAX),
        install_snapshot_timeout: milliseconds(SNAPSHOT_TIMEOUT),
        max_payload_entries: MAX_PAYLOAD_ENTRIES,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: LOG_KEPT,
        ..Config::default()
    }
}

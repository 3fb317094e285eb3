//! One member of the journal, started: stores, Raft, its peers, and the loops beside them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{Fatal, InitializeError, RaftError};
use openraft::{Config, SnapshotPolicy};
use pact_runtime::{CancellationToken, Clock, OnFailure, Supervisor};
use pact_schemas::v1::{self, Command, ForwardRequest, Outcome};
use pact_schemas::{ErrorCode, SiteName};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::DropGuard;

use super::admission::Admission;
use super::batcher::{Batcher, ProposeError};
use super::clocks::Clocks;
use super::members::Members;
use super::membership::Removed;
use super::network::Network;
use super::peers::Peers;
use super::read_index::ReadGate;
use super::tls::{PeerConfigs, PeerTls, TlsError};
use crate::consensus::types::Raft;
use crate::peer::listener::PeerListener;
use crate::peer::{Parts, PeerService};
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
pub(super) type Metrics = openraft::RaftMetrics<u64, openraft::BasicNode>;

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
    /// A number of members with which no journal begins.
    #[error(
        "{count} members are configured, none of which has a log: a new journal begins with 1, 3 or 5 members, and a new member of a \
         journal waits for the others"
    )]
    Founders {
        /// As configured.
        count: usize,
    },
    /// It was removed.
    #[error(transparent)]
    Removed(#[from] Removed),
    /// The first membership.
    #[error("the first membership is refused")]
    Initialize(#[source] RaftError<u64, InitializeError<u64, openraft::BasicNode>>),
}

/// A running member. Clones are one member.
#[derive(Clone)]
pub struct Member {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) config: MemberConfig,
    pub(super) raft: Raft,
    pub(super) peers: Peers,
    pub(super) batcher: Batcher,
    reads: ReadGate,
    pub(super) cell: Arc<StateCell>,
    pub(super) log: LogStore,
    space: Space,
    pub(super) clock: Clock,
    pub(super) clocks: Clocks,
    pub(super) admission: Admission,
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
        let ids = config.members.cluster_ids(&config.site);
        let own = config.members.own();
        let tls = Arc::new(PeerConfigs::new(&config.tls, &config.site, own)?);
        let address = config.listen;
        let listener = PeerListener::bind(address, Arc::clone(&tls), clock.clone()).await;
        let listener = listener.map_err(|source| StartError::Listen { address, source })?;
        let lock =
            Identity::new(&config.site, &ids, own, tls.root_keys()).claim(&config.data_dir)?;
        let cell = Arc::new(StateCell::open(&config.data_dir.join("state"))?);
        let log =
            LogStore::open(&config.data_dir.join("raft"), Some(Arc::clone(&cell)), clock.clone())?;
        let machine = StateMachine::open(Arc::clone(&cell), &config.data_dir.join("snapshot"))?;
        if log.is_pristine()? && cell.applied().borrow().is_some() {
            // A state without the votes and the log that led to it.
            return Err(OpenError::Missing { path: config.data_dir.join("raft") }.into());
        }
        let state = query::membership(&cell.load());
        if let Some(removed) = state.removed.iter().find(|member| member.id == own.get()) {
            return Err(Removed { own: own.get(), seq: removed.seq, told_by: None }.into());
        }
        let has_log = log.last_index().is_some();
        let peers = Peers::new(&config.members, ids, tls, clock.clone())?;
        let clocks = Clocks::new(clock.clone(), config.members.iter().count());
        let settings = Arc::new(raft_config(&config).validate()?);
        let raft =
            Raft::new(own.get(), settings, Network(peers.clone()), log.clone(), machine).await?;
        // Raft's metrics may not have it yet.
        let membership =
            raft.with_raft_state(|s| s.membership_state.effective().membership().clone());
        let membership = membership.await?;
        let space = Space::default();
        let (batcher, batches) =
            Batcher::new(raft.clone(), clock.clone(), clocks.clone(), space.clone());
        let (reads, rounds) = ReadGate::new(
            raft.clone(),
            peers.clone(),
            cell.applied(),
            clock.clone(),
            clocks.clone(),
        );
        let admission = Admission::default();
        let service = PeerService::new(Parts {
            raft: raft.clone(),
            peers: peers.clone(),
            batcher: batcher.clone(),
            space: space.clone(),
            reads: reads.clone(),
            cell: Arc::clone(&cell),
            log: log.clone(),
            clock: clock.clone(),
            clocks: clocks.clone(),
            admission: admission.clone(),
        });
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
            clocks,
            admission,
            halt: halt.clone(),
            _lock: lock,
        };
        let member = Self { inner: Arc::new(inner) };
        member.begin_with(&membership);
        // These outlive the beginning of the drain: requests that were taken are still carried out. `halt` ends them.
        let (for_listener, for_batches, for_rounds) = (halt.clone(), halt.clone(), halt);
        supervisor.spawn_owned("members", move |_| listener.serve(service, for_listener));
        supervisor.spawn_owned("batcher", move |_| finished(batches.run(for_batches)));
        supervisor.spawn_owned("reads", move |_| finished(rounds.run(for_rounds)));
        member.spawn_loops(supervisor);
        match (has_log, member.inner.config.members.iter().count()) {
            (true, _) => member.inner.admission.admit(),
            (false, 1) => member.found().await?,
            (false, _) => {
                let newcomer = member.clone();
                supervisor.spawn_finite("admission", |stop| Box::pin(newcomer.join(stop)));
            }
        }
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
        let asking = self.clone();
        supervisor.spawn("clocks", OnFailure::Shutdown, move |stop| {
            let inner = &asking.inner;
            finished(inner.clocks.clone().watch(inner.peers.clone(), inner.raft.clone(), stop))
        });
        let changing = self.clone();
        supervisor.spawn("changes", OnFailure::Shutdown, move |stop| {
            finished(changing.clone().change_members(stop))
        });
        let following = self.clone();
        supervisor.spawn("membership", OnFailure::Shutdown, move |stop| {
            finished(following.clone().follow_memberships(stop))
        });
        let telling = self.clone();
        supervisor.spawn("leadership", OnFailure::Shutdown, move |stop| {
            finished(telling.clone().tell_leadership(stop))
        });
        let removable = self.clone();
        supervisor.spawn_finite("removal", |stop| removable.watch_removal(stop));
        let raft = self.clone();
        supervisor.spawn_owned("raft", move |_| raft.guard());
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
        let covered = |metrics: &Metrics| metrics.snapshot >= applied;
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
        let cluster_id = self.inner.peers.cluster_id(leader);
        let request = ForwardRequest { cluster_id, commands };
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

    /// How long ago another member answered this one; `None` when it never did.
    pub(crate) fn last_contact(&self, member: u64) -> Option<Duration> {
        self.inner.peers.last_contact(member)
    }

    /// Whether its clock may be believed.
    pub(crate) fn clocks(&self) -> &Clocks {
        &self.inner.clocks
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
        let metrics = self.inner.raft.metrics().borrow().clone();
        // Who was removed still counts as the last leader.
        metrics.current_leader == Some(self.id()) && metrics.state.is_leader()
    }

    /// Sequence and hash of the last entry that is applied here.
    pub fn head(&self) -> (u64, [u8; 32]) {
        let head = crate::store::query::read_head(&self.state());
        (head.seq, head.hash)
    }
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

//! Calls to the other members.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, BasicNode, OptionalSend, RaftNetwork, RaftNetworkFactory};
use pact_runtime::Clock;
use pact_schemas::MemberId;
use pact_schemas::v1::peer_client::PeerClient;
use pact_schemas::v1::{self, RaftMessage};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};

use super::members::Members;
use super::tls::{PeerConfigs, TlsError};
use super::types::{Snapshot, TypeConfig, Vote};
use super::wire;
use crate::peer::frames;

/// Longest message between members: far above a replication call and a batch.
pub(crate) const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;
/// How long a connection may take to come about, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing comes back for this long is given up and made again.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Pause before an unreachable member is called again: a third of an election, so that a member that returns hears its leader
/// before it becomes a candidate.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(200);

type CallError = RPCError<u64, BasicNode, RaftError<u64>>;

/// Channels to every other member. Clones are one.
#[derive(Clone)]
pub(crate) struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    cluster_id: [u8; 32],
    channels: BTreeMap<u64, Peer>,
    clock: Clock,
}

struct Peer {
    channel: Channel,
    /// Whether the last call was answered; for the log, which tells changes only.
    answers: AtomicBool,
    /// Monotonic milliseconds of the last answer, and one; 0 before the first.
    answered: AtomicU64,
}

impl Peers {
    /// Channels that connect when they are first used, and again whenever they broke.
    pub(crate) fn new(
        members: &Members,
        cluster_id: [u8; 32],
        tls: &PeerConfigs,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let mut channels = BTreeMap::new();
        for (id, address) in members.iter().filter(|(id, _)| *id != members.own().get()) {
            if let Ok(target) = MemberId::new(id) {
                let channel = channel(address, TlsConnector::from(tls.client(target)?));
                let (answers, answered) = (AtomicBool::new(true), AtomicU64::new(0));
                channels.insert(id, Peer { channel, answers, answered });
            }
        }
        Ok(Self { inner: Arc::new(Inner { cluster_id, channels, clock }) })
    }

    /// What tells this cluster from others.
    pub(crate) fn cluster_id(&self) -> Vec<u8> {
        self.inner.cluster_id.to_vec()
    }

    /// A client for another member; `None` when there is no such member.
    pub(crate) fn client(&self, member: u64) -> Option<PeerClient<Channel>> {
        let channel = self.inner.channels.get(&member)?.channel.clone();
        let client = PeerClient::new(channel);
        Some(
            client
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
    }

    /// The other members.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.inner.channels.keys().copied()
    }

    /// How long ago another member answered; `None` when it never did.
    pub(crate) fn last_contact(&self, member: u64) -> Option<Duration> {
        let answered = self.inner.channels.get(&member)?.answered.load(Ordering::Relaxed);
        let at = Duration::from_millis(answered.checked_sub(1)?);
        Some(self.inner.clock.monotonic().saturating_sub(at))
    }

    /// Takes note of whether a member answered.
    pub(crate) fn note(&self, member: u64, failure: Option<&Status>) {
        let Some(peer) = self.inner.channels.get(&member) else { return };
        if failure.is_none() {
            let now = u64::try_from(self.inner.clock.monotonic().as_millis()).unwrap_or(0);
            peer.answered.store(now.saturating_add(1), Ordering::Relaxed);
        }
        let answered = peer.answers.swap(failure.is_none(), Ordering::Relaxed);
        match (answered, failure) {
            (true, Some(status)) => tracing::warn!(member, %status, "a member does not answer"),
            (false, None) => tracing::info!(member, "a member answers again"),
            _ => {}
        }
    }

    /// A message of this cluster.
    pub(crate) fn message(&self, body: Vec<u8>) -> RaftMessage {
        RaftMessage { format: wire::FORMAT, body, cluster_id: self.cluster_id() }
    }

    /// The body of a message, if it is of this cluster and format.
    pub(crate) fn body(&self, message: RaftMessage) -> Result<Vec<u8>, Status> {
        if message.cluster_id != self.inner.cluster_id {
            return Err(Status::permission_denied(
                "the message is of another cluster, or of another list of members",
            ));
        }
        if message.format != wire::FORMAT {
            return Err(Status::failed_precondition(format!(
                "format {} is not understood",
                message.format
            )));
        }
        Ok(message.body)
    }
}

fn channel(address: &str, tls: TlsConnector) -> Channel {
    // The scheme says who does TLS: the connector below, not tonic. A member's address was checked and makes a valid URI;
    // the placeholder, which no valid address becomes, would only ever fail to connect.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .unwrap_or_else(|_| Endpoint::from_static("http://invalid:1"));
    let address = address.to_owned();
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            connect(address.clone(), tls.clone())
        }))
}

async fn connect(address: String, tls: TlsConnector) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    // Not looked at: the member's name in its certificate counts.
    let name = ServerName::try_from("journal.pact.invalid").map_err(io::Error::other)?;
    Ok(TokioIo::new(tls.connect(name, stream).await?))
}

/// openraft's factory of links.
#[derive(Clone)]
pub(crate) struct Network(pub(crate) Peers);

/// One member, as openraft calls it.
pub(crate) struct Link {
    peers: Peers,
    target: u64,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Link {
        Link { peers: self.0.clone(), target }
    }
}

fn unreachable(error: &(impl std::error::Error + 'static)) -> Unreachable {
    Unreachable::new(error)
}

impl Link {
    fn client(&self) -> Result<PeerClient<Channel>, Unreachable> {
        let missing = || {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("no member {} is configured", self.target),
            )
        };
        self.peers.client(self.target).ok_or_else(|| unreachable(&missing()))
    }

    #[allow(clippy::result_large_err, reason = "openraft's error, handed on")]
    fn answer(
        &self,
        reply: Result<tonic::Response<RaftMessage>, Status>,
    ) -> Result<Vec<u8>, CallError> {
        let body = reply.and_then(|reply| self.peers.body(reply.into_inner()));
        self.peers.note(self.target, body.as_ref().err());
        body.map_err(|status| match status.code() {
            // Tried again at once: the connection may have been a leftover of the member's last life.
            Code::Cancelled | Code::DeadlineExceeded => {
                RPCError::Network(NetworkError::new(&status))
            }
            _ => RPCError::Unreachable(unreachable(&status)),
        })
    }
}

fn undecodable(error: wire::WireFault) -> CallError {
    RPCError::Unreachable(unreachable(&error))
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, CallError> {
        let mut call = tonic::Request::new(self.peers.message(wire::encode_append(&request)));
        call.set_timeout(option.hard_ttl());
        let reply = self.client()?.append(call).await;
        wire::decode_append_reply(&self.answer(reply)?).map_err(undecodable)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError> {
        let mut call = tonic::Request::new(self.peers.message(wire::encode_vote_request(&request)));
        call.set_timeout(option.hard_ttl());
        let reply = self.client()?.vote(call).await;
        wire::decode_vote_reply(&self.answer(reply)?).map_err(undecodable)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let meta = self.peers.message(wire::encode_snapshot_meta(&snapshot.meta, Some(&vote)));
        let header = v1::SnapshotHeader { meta: Some(meta) };
        let mut client = self.client()?;
        let call = async move { client.snapshot(frames::stream(header, *snapshot.snapshot)).await };
        let reply = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)), // the call is dropped, which ends the stream
            reply = tokio::time::timeout(option.hard_ttl(), call) => reply, // the whole transfer has the bound
        };
        let late = |_| Status::deadline_exceeded("the snapshot took too long");
        let reply = reply.map_err(late).and_then(|reply| reply);
        let body = reply.and_then(|reply| self.peers.body(reply.into_inner()));
        let body = body.map_err(|status| StreamingError::Unreachable(unreachable(&status)))?;
        wire::decode_snapshot_reply(&body)
            .map_err(|error| StreamingError::Network(NetworkError::from(AnyError::new(&error))))
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_PAUSE))
    }
}

//! openraft's calls to the other members.

use std::future::Future;
use std::io;
use std::time::Duration;

use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, BasicNode, OptionalSend, RaftNetwork, RaftNetworkFactory};
use pact_schemas::v1::peer_client::PeerClient;
use pact_schemas::v1::{self, RaftMessage};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::peers::{Peers, message};
use crate::consensus::types::{Snapshot, TypeConfig, Vote};
use crate::consensus::wire;
use crate::peer::frames;

/// Pause before an unreachable member is called again: a third of an election, so that a member that returns hears its leader
/// before it becomes a candidate.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(200);

type CallError = RPCError<u64, BasicNode, RaftError<u64>>;

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

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Link {
        if let Err(error) = self.0.ensure(target, &node.addr) {
            tracing::error!(member = target, %error, "this member cannot be called");
        }
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
                format!("member {} cannot be called", self.target),
            )
        };
        self.peers.client(self.target).ok_or_else(|| unreachable(&missing()))
    }

    #[allow(clippy::result_large_err, reason = "openraft's error, handed on")]
    fn answer(
        &self,
        cluster_id: &[u8],
        reply: Result<tonic::Response<RaftMessage>, Status>,
    ) -> Result<Vec<u8>, CallError> {
        let body = reply.and_then(|reply| self.peers.body(reply.into_inner()));
        self.peers.note(self.target, cluster_id, body.as_ref().err());
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
        let cluster_id = self.peers.cluster_id(self.target);
        let body = wire::encode_append(&request);
        let mut call = tonic::Request::new(message(body, cluster_id.clone()));
        call.set_timeout(option.hard_ttl());
        let reply = self.client()?.append(call).await;
        wire::decode_append_reply(&self.answer(&cluster_id, reply)?).map_err(undecodable)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, CallError> {
        let cluster_id = self.peers.cluster_id(self.target);
        let body = wire::encode_vote_request(&request);
        let mut call = tonic::Request::new(message(body, cluster_id.clone()));
        call.set_timeout(option.hard_ttl());
        let reply = self.client()?.vote(call).await;
        wire::decode_vote_reply(&self.answer(&cluster_id, reply)?).map_err(undecodable)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        let body = wire::encode_snapshot_meta(&snapshot.meta, Some(&vote));
        let meta = message(body, self.peers.cluster_id(self.target));
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

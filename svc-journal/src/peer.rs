//! What members answer each other on 9444.
//!
//! - [`listener`]: connections of members, and of nobody else.
//! - [`frames`]: a snapshot as a stream, out and in.
//!
//! Who calls is named by its certificate. A member of the journal may ask everything. A member of the site that is not in the
//! journal may ask whether there is a log, which a new member begins with; and its votes and entries are for Raft to judge,
//! because a member that is behind does not know yet whom the others have added. A member that was removed may ask nothing, and
//! is told so.
//!
//! Absences: a member without a log that nobody has admitted neither votes nor follows; no call of another cluster or of a
//! removed member is carried out; no file of a snapshot is used before its SHA-256 holds, and no name in it leaves its folder.

pub(crate) mod frames;
pub(crate) mod listener;

use std::pin::Pin;
use std::sync::Arc;

use openraft::error::{Fatal, RaftError};
use openraft::raft::SnapshotResponse;
use pact_runtime::Clock;
use pact_schemas::convert;
use pact_schemas::v1::peer_server::Peer;
use pact_schemas::v1::{
    self, ForwardReply, ForwardRequest, RaftMessage, ReadIndexReply, ReadIndexRequest,
    SnapshotFrame, snapshot_frame,
};
use tokio::sync::Mutex;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use self::listener::Caller;
use crate::consensus::types::{Raft, Snapshot};
use crate::consensus::wire::{self, WireFault};
use crate::raft::admission::Admission;
use crate::raft::batcher::Batcher;
use crate::raft::clocks::Clocks;
use crate::raft::peers::{self, PEER_VERSION, Peers};
use crate::raft::read_index::{ReadGate, confirmed_index};
use crate::store::log::LogStore;
use crate::store::query;
use crate::store::space::Space;
use crate::store::state::StateCell;

/// The service behind the listener.
pub(crate) struct PeerService {
    raft: Raft,
    peers: Peers,
    batcher: Batcher,
    space: Space,
    reads: ReadGate,
    cell: Arc<StateCell>,
    log: LogStore,
    clock: Clock,
    clocks: Clocks,
    admission: Admission,
    /// One snapshot comes in at a time: there is one place for it.
    incoming: Arc<Mutex<()>>,
}

/// What the service answers from.
pub(crate) struct Parts {
    pub(crate) raft: Raft,
    pub(crate) peers: Peers,
    pub(crate) batcher: Batcher,
    pub(crate) space: Space,
    pub(crate) reads: ReadGate,
    pub(crate) cell: Arc<StateCell>,
    pub(crate) log: LogStore,
    pub(crate) clock: Clock,
    pub(crate) clocks: Clocks,
    pub(crate) admission: Admission,
}

impl PeerService {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { raft, peers, batcher, space, reads, cell, log, clock, clocks, admission } =
            parts;
        let incoming = Arc::default();
        Self { raft, peers, batcher, space, reads, cell, log, clock, clocks, admission, incoming }
    }

    /// A member that may have lost its log neither votes nor follows.
    fn takes_part(&self) -> Result<(), Status> {
        if self.admission.is_admitted() {
            return Ok(());
        }
        Err(Status::unavailable("this member has no log and waits until it may take part"))
    }

    /// The body of a message, and how the answer names the cluster: as the caller does.
    fn open(&self, message: RaftMessage) -> Result<(Vec<u8>, Vec<u8>), Status> {
        let cluster_id = message.cluster_id.clone();
        Ok((self.peers.body(message)?, cluster_id))
    }

    /// A call that any member of the site may make, unless it was removed.
    fn not_removed<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        let caller = request.extensions().get::<Caller>();
        let Caller(id) = *caller.ok_or_else(|| Status::unauthenticated("no member calls"))?;
        if !self.peers.contains(id) {
            let membership = query::membership(&self.cell.load());
            if let Some(seq) = removal(&membership, id) {
                return Err(peers::removed(id, seq));
            }
        }
        Ok(id)
    }

    /// A call that only members of the journal may make, and only of this cluster.
    fn only_members<T>(&self, request: &Request<T>, cluster_id: &[u8]) -> Result<(), Status> {
        let id = self.not_removed(request)?;
        if !self.peers.contains(id) {
            return Err(Status::failed_precondition(format!("member {id} is not in the journal")));
        }
        self.same_cluster(cluster_id)
    }
}

/// The entry that says that a member is removed, or that asks for it when Raft has done it already.
fn removal(membership: &v1::MembershipChanged, id: u64) -> Option<u64> {
    let removed = membership.removed.iter().find(|member| member.id == id).map(|member| member.seq);
    removed.or_else(|| {
        let change = membership.change.as_ref()?;
        (change.change == Some(v1::member_change::Change::Remove(id))).then_some(change.seq)
    })
}

fn answer(body: Vec<u8>, cluster_id: Vec<u8>) -> Response<RaftMessage> {
    Response::new(peers::message(body, cluster_id))
}

fn undecodable(fault: WireFault) -> Status {
    Status::invalid_argument(fault.to_string())
}

fn stopped(error: RaftError<u64>) -> Status {
    match error {
        RaftError::APIError(never) => match never {},
        RaftError::Fatal(fatal) => halted(fatal),
    }
}

fn halted(fatal: Fatal<u64>) -> Status {
    Status::unavailable(format!("this member has stopped: {fatal}"))
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn vote(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        self.not_removed(&request)?;
        self.takes_part()?;
        let (body, cluster_id) = self.open(request.into_inner())?;
        let request = wire::decode_vote_request(&body).map_err(undecodable)?;
        let reply = self.raft.vote(request).await.map_err(stopped)?;
        Ok(answer(wire::encode_vote_reply(&reply), cluster_id))
    }

    async fn append(&self, request: Request<RaftMessage>) -> Result<Response<RaftMessage>, Status> {
        self.not_removed(&request)?;
        self.takes_part()?;
        let (body, cluster_id) = self.open(request.into_inner())?;
        let request = wire::decode_append(body.into()).map_err(undecodable)?;
        if !request.entries.is_empty() && !self.space.takes_replication() {
            return Err(Status::resource_exhausted("the disk of this member is full"));
        }
        let reply = self.raft.append_entries(request).await.map_err(stopped)?;
        Ok(answer(wire::encode_append_reply(&reply), cluster_id))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotFrame>>,
    ) -> Result<Response<RaftMessage>, Status> {
        self.not_removed(&request)?;
        self.takes_part()?;
        let Ok(_only) = Arc::clone(&self.incoming).try_lock_owned() else {
            return Err(Status::resource_exhausted("another snapshot is coming in"));
        };
        let mut frames = request.into_inner();
        let (reply, cluster_id) = Box::pin(self.receive(&mut frames)).await?;
        Ok(answer(wire::encode_snapshot_reply(&reply), cluster_id))
    }

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexReply>, Status> {
        self.only_members(&request, &request.get_ref().cluster_id)?;
        let reply = match confirmed_index(&self.raft, &self.clocks).await {
            Ok(index) => ReadIndexReply { index, error: None },
            Err(error) => ReadIndexReply { index: None, error: Some(v1::Error::from(error)) },
        };
        Ok(Response::new(reply))
    }

    async fn forward(
        &self,
        request: Request<ForwardRequest>,
    ) -> Result<Response<ForwardReply>, Status> {
        self.only_members(&request, &request.get_ref().cluster_id)?;
        let request = request.into_inner();
        let reply = match self.batcher.propose(request.commands).await {
            Ok(outcomes) => ForwardReply { outcomes, error: None },
            Err(error) => {
                ForwardReply { outcomes: Vec::new(), error: Some(v1::Error::from(error)) }
            }
        };
        Ok(Response::new(reply))
    }

    async fn read_clock(
        &self,
        request: Request<v1::ReadClockRequest>,
    ) -> Result<Response<v1::ReadClockReply>, Status> {
        self.only_members(&request, &request.get_ref().cluster_id)?;
        let time = Some(convert::timestamp(self.clock.now().unix_nanos()));
        Ok(Response::new(v1::ReadClockReply { time, peer_version: PEER_VERSION }))
    }

    async fn log_state(
        &self,
        request: Request<v1::LogStateRequest>,
    ) -> Result<Response<v1::LogStateReply>, Status> {
        self.not_removed(&request)?;
        self.same_cluster(&request.get_ref().cluster_id)?;
        // Index 0 is the list of members that each founder writes for itself: nobody has acknowledged anything with it.
        let last_index = self.log.last_index().unwrap_or(0);
        let empty =
            v1::LogStateReply { founders: self.peers.founders(), ..v1::LogStateReply::default() };
        if last_index == 0 {
            return Ok(Response::new(empty));
        }
        // Afterwards everything is applied here that was committed when the question came.
        let confirmed = self.reads.pass().await.is_ok();
        let cell = Arc::clone(&self.cell);
        let read = move || (query::membership(&cell.load()), query::first_hash(&cell.load()));
        let read = tokio::task::spawn_blocking(read).await;
        let (membership, first) = read.map_err(|error| Status::internal(error.to_string()))?;
        let joined_members = membership.members.iter().filter(|m| m.joined).map(|m| m.id).collect();
        let first_hash = first.unwrap_or_default();
        Ok(Response::new(v1::LogStateReply {
            last_index,
            joined_members,
            confirmed,
            first_hash,
            ..empty
        }))
    }
}

impl PeerService {
    fn same_cluster(&self, cluster_id: &[u8]) -> Result<(), Status> {
        if self.peers.is_ours(cluster_id) { Ok(()) } else { Err(peers::other_cluster()) }
    }

    async fn receive(
        &self,
        frames: &mut Streaming<SnapshotFrame>,
    ) -> Result<(SnapshotResponse<u64>, Vec<u8>), Status> {
        let first = self.clock.timeout(frames::FRAME_TIMEOUT, frames.message()).await;
        let first = first.map_err(frames::silent)??.and_then(|frame| frame.frame);
        let Some(snapshot_frame::Frame::Header(header)) = first else {
            return Err(Status::invalid_argument("a snapshot begins with its header"));
        };
        let message = header
            .meta
            .ok_or_else(|| Status::invalid_argument("the header of the snapshot is empty"))?;
        let (body, cluster_id) = self.open(message)?;
        let (meta, vote) = wire::decode_snapshot_meta(&body).map_err(undecodable)?;
        let vote = vote.ok_or_else(|| Status::invalid_argument("the leader's vote is missing"))?;
        if !self.space.takes_replication() {
            return Err(Status::resource_exhausted("the disk of this member is full"));
        }
        let begun = self.raft.begin_receiving_snapshot().await;
        let folder = begun
            .map_err(|error| Status::unavailable(format!("this member has stopped: {error}")))?;
        let frames: Pin<Box<dyn Stream<Item = Result<SnapshotFrame, Status>> + Send + '_>> =
            Box::pin(frames.map(|f| f));
        frames::receive(frames, folder.files(), &self.clock).await?;
        let installed =
            self.raft.install_full_snapshot(vote, Snapshot { meta, snapshot: folder }).await;
        Ok((installed.map_err(halted)?, cluster_id))
    }
}

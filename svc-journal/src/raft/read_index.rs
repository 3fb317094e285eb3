//! Linearizable reads on any member.
//!
//! A read must see everything that was acknowledged before it began. So the leader is asked for its committed index, which it
//! confirms with a majority, and the read waits until this member has applied it. Reads that come while a round is under way
//! share the next one.

use std::time::Duration;

use openraft::error::{CheckIsLeaderError, RaftError};
use pact_runtime::{CancellationToken, Clock};
use pact_schemas::v1::{self, ReadIndexRequest};
use tokio::sync::watch;
use tokio::sync::{mpsc, oneshot};

use super::batcher::ProposeError;
use super::clocks::Clocks;
use super::peers::Peers;
use crate::consensus::types::Raft;

/// Reads that wait for one round; more are answered `PACT_BUSY`.
const QUEUE: usize = 4_096;
/// Longest time for a round and for catching up with it.
const ROUND_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause before a leader is looked for again, within the bound of the round.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

type Reply = oneshot::Sender<Result<(), ProposeError>>;

/// Where reads wait for their index.
#[derive(Clone)]
pub(crate) struct ReadGate {
    queue: mpsc::Sender<Reply>,
}

impl ReadGate {
    /// A gate, and its loop, which must run.
    pub(crate) fn new(
        raft: Raft,
        peers: Peers,
        applied: watch::Receiver<Option<u64>>,
        clock: Clock,
        clocks: Clocks,
    ) -> (Self, ReadLoop) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue }, ReadLoop { raft, peers, applied, clock, clocks, waiting })
    }

    /// Returns once this member has applied everything that was acknowledged before the call.
    pub(crate) async fn pass(&self) -> Result<(), ProposeError> {
        let (reply, wait) = oneshot::channel();
        self.queue.try_send(reply).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::Busy,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopping,
        })?;
        wait.await.map_err(|_| ProposeError::Stopping)?
    }
}

/// The leader's committed index, confirmed by a majority. `Err` names the leader, if another member is.
pub(crate) async fn confirmed_index(
    raft: &Raft,
    clocks: &Clocks,
) -> Result<Option<u64>, ProposeError> {
    if clocks.is_outvoted() {
        // To confirm is to send heartbeats, which would keep it the leader that it must not be.
        let metrics = raft.metrics().borrow().clone();
        let leader = metrics.current_leader.filter(|leader| *leader != metrics.id);
        return Err(ProposeError::NotLeader { leader });
    }
    match raft.get_read_log_id().await {
        Ok((read, _)) => Ok(read.map(|id| id.index)),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to))) => {
            Err(ProposeError::NotLeader { leader: to.leader_id })
        }
        Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => {
            Err(ProposeError::NotLeader { leader: None })
        }
        Err(RaftError::Fatal(_)) => Err(ProposeError::Stopping),
    }
}

/// The loop behind a [`ReadGate`].
pub(crate) struct ReadLoop {
    raft: Raft,
    peers: Peers,
    applied: watch::Receiver<Option<u64>>,
    clock: Clock,
    clocks: Clocks,
    waiting: mpsc::Receiver<Reply>,
}

impl ReadLoop {
    /// Makes rounds until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut replies = Vec::new();
        loop {
            let taken = tokio::select! {
                () = stop.cancelled() => 0, // cancel-safe
                taken = self.waiting.recv_many(&mut replies, QUEUE) => taken, // cancel-safe: nothing is taken unless chosen
            };
            if taken == 0 {
                return;
            }
            let round = self.clock.clone().timeout(ROUND_TIMEOUT, self.round()).await;
            let round = round.unwrap_or(Err(ProposeError::NotLeader { leader: None }));
            // A reader that is gone needs no answer.
            replies.drain(..).for_each(|reply| drop(reply.send(round.clone())));
        }
    }

    async fn round(&mut self) -> Result<(), ProposeError> {
        let index = loop {
            match self.index().await {
                Ok(index) => break index,
                Err(ProposeError::NotLeader { .. }) => self.clock.sleep(RETRY_PAUSE).await,
                Err(error) => return Err(error),
            }
        };
        let caught_up = self.applied.wait_for(|applied| *applied >= index).await;
        caught_up.map(|_| ()).map_err(|_| ProposeError::Stopping)
    }

    async fn index(&self) -> Result<Option<u64>, ProposeError> {
        match confirmed_index(&self.raft, &self.clocks).await {
            Err(ProposeError::NotLeader { leader: Some(leader) }) => self.ask(leader).await,
            other => other,
        }
    }

    async fn ask(&self, leader: u64) -> Result<Option<u64>, ProposeError> {
        let nobody = ProposeError::NotLeader { leader: None };
        let Some(mut client) = self.peers.client(leader) else { return Err(nobody) };
        let cluster_id = self.peers.cluster_id(leader);
        let reply = client.read_index(ReadIndexRequest { cluster_id }).await;
        match reply.map(tonic::Response::into_inner) {
            Ok(v1::ReadIndexReply { index, error: None }) => Ok(index),
            Ok(_) | Err(_) => Err(nobody),
        }
    }
}

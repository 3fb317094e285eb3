//! Many commands, one log entry: the group commit of the leader.
//!
//! One batch is in flight. While it is replicated and synced, the next one gathers; a lone command waits for nobody.

use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use pact_runtime::{CancellationToken, Clock};
use pact_schemas::v1::{self, Command, Outcome};
use pact_schemas::{ErrorCode, convert};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use super::clocks::{ClockFault, Clocks};
use crate::consensus::types::{CommandBatch, Raft};
use crate::store::space::Space;

/// Bytes of one batch; one command of this size is still accepted.
pub(crate) const MAX_BATCH_BYTES: usize = 512 * 1024;
/// Commands of one batch.
const MAX_BATCH_COMMANDS: usize = 4_096;
/// Commands that wait; more are answered `PACT_BUSY`. At 20,000 commands a second this is under half a second.
const QUEUE: usize = 8_192;
/// Longest time for one batch to be committed, before its callers are told that its fate is unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a command has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProposeError {
    /// Another member leads, or none does.
    #[error("this member does not lead")]
    NotLeader { leader: Option<u64> },
    /// Too many commands wait.
    #[error("too many commands wait")]
    Busy,
    /// Larger than a batch may be.
    #[error("a command of {bytes} bytes is too large")]
    TooLarge { bytes: usize },
    /// The disk is nearly full.
    #[error("the disk is nearly full")]
    StorageFull,
    /// Not committed in time: it may still be.
    #[error("the journal did not commit the command in time")]
    Timeout,
    /// The time that it would stamp is not to be believed.
    #[error("{0}")]
    Clock(ClockFault),
    /// The member is stopping.
    #[error("this member is stopping")]
    Stopping,
}

impl From<ProposeError> for v1::Error {
    fn from(error: ProposeError) -> Self {
        let retry = "try again; the same request id is never carried out twice";
        let text = error.to_string();
        match error {
            ProposeError::NotLeader { leader: Some(leader) } => Self {
                leader: Some(leader),
                ..ErrorCode::NotLeader.error(text).next("ask the leader")
            },
            ProposeError::NotLeader { leader: None } => ErrorCode::NoLeader
                .error("the journal has no leader")
                .because("a majority of its members is not reachable, or an election is under way")
                .next(retry),
            ProposeError::Busy => ErrorCode::Busy.error(text).next(retry),
            ProposeError::TooLarge { .. } => ErrorCode::TooLarge.error(text),
            ProposeError::StorageFull => {
                ErrorCode::StorageFull.error(text).next("make room on the journal's hosts")
            }
            // Clients try again, and find another leader or a corrected clock.
            ProposeError::Clock(fault) => fault.error(ErrorCode::Unreachable),
            ProposeError::Timeout => ErrorCode::Timeout.error(text).next(retry),
            ProposeError::Stopping => ErrorCode::NoLeader.error(text).next(retry),
        }
    }
}

struct Waiting {
    command: Command,
    bytes: usize,
    reply: oneshot::Sender<Result<Outcome, ProposeError>>,
}

/// The way into the journal, on the leader.
#[derive(Clone)]
pub(crate) struct Batcher {
    queue: mpsc::Sender<Waiting>,
    space: Space,
}

impl Batcher {
    /// A batcher, and its loop, which must run.
    pub(crate) fn new(raft: Raft, clock: Clock, clocks: Clocks, space: Space) -> (Self, BatchLoop) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue, space }, BatchLoop { raft, clock, clocks, waiting, next: None })
    }

    /// Proposes commands; each gets its outcome once it is committed and applied here.
    pub(crate) async fn propose(
        &self,
        commands: Vec<Command>,
    ) -> Result<Vec<Outcome>, ProposeError> {
        if !self.space.takes_proposals() {
            return Err(ProposeError::StorageFull);
        }
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            let bytes = command.encoded_len();
            if bytes > MAX_BATCH_BYTES {
                return Err(ProposeError::TooLarge { bytes });
            }
            let (reply, wait) = oneshot::channel();
            self.queue.try_send(Waiting { command, bytes, reply }).map_err(
                |error| match error {
                    mpsc::error::TrySendError::Full(_) => ProposeError::Busy,
                    mpsc::error::TrySendError::Closed(_) => ProposeError::Stopping,
                },
            )?;
            replies.push(wait);
        }
        let mut outcomes = Vec::with_capacity(replies.len());
        for wait in replies {
            outcomes.push(wait.await.map_err(|_| ProposeError::Stopping)??);
        }
        Ok(outcomes)
    }
}

/// The loop behind a [`Batcher`].
pub(crate) struct BatchLoop {
    raft: Raft,
    clock: Clock,
    clocks: Clocks,
    waiting: mpsc::Receiver<Waiting>,
    /// Taken from the queue, but too large for the batch before.
    next: Option<Waiting>,
}

impl BatchLoop {
    /// Proposes until `stop`; what waits then is told so.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = match self.next.take() {
                Some(first) => Some(first),
                None => tokio::select! {
                    () = stop.cancelled() => None, // cancel-safe
                    first = self.waiting.recv() => first, // cancel-safe: nothing is taken unless this arm is chosen
                },
            };
            let Some(first) = first else { return };
            let batch = self.gather(first);
            self.commit(batch).await;
        }
    }

    fn gather(&mut self, first: Waiting) -> Vec<Waiting> {
        let mut bytes = first.bytes;
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH_COMMANDS {
            let Ok(more) = self.waiting.try_recv() else { break };
            if bytes + more.bytes > MAX_BATCH_BYTES {
                self.next = Some(more);
                break;
            }
            bytes += more.bytes;
            batch.push(more);
        }
        batch
    }

    async fn commit(&self, batch: Vec<Waiting>) {
        let started = self.clock.monotonic();
        metrics::histogram!("pact_journal_batch_commands").record(to_f64(batch.len()));
        let (mut commands, mut replies) =
            (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for waiting in batch {
            commands.push(waiting.command);
            replies.push(waiting.reply);
        }
        let time = match self.clocks.now() {
            Ok(now) => convert::timestamp(now.unix_nanos()),
            Err(fault) => return answer(replies, Err(ProposeError::Clock(fault))),
        };
        commands.iter_mut().for_each(|command| command.time = Some(time));
        let encoded = CommandBatch::encode(&v1::CommandBatch { commands });
        let written = self.clock.timeout(COMMIT_TIMEOUT, self.raft.client_write(encoded)).await;
        let outcomes = match written {
            Ok(Ok(written)) if written.data.0.len() == replies.len() => Ok(written.data.0),
            // A different number of outcomes cannot be: apply makes one for each command.
            Ok(Ok(_)) | Err(_) => Err(ProposeError::Timeout),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                Err(ProposeError::NotLeader { leader: to.leader_id })
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_)))) => {
                Err(ProposeError::Timeout)
            }
            Ok(Err(RaftError::Fatal(_))) => Err(ProposeError::Stopping),
        };
        let elapsed = self.clock.monotonic().saturating_sub(started);
        metrics::histogram!("pact_journal_propose_seconds").record(elapsed.as_secs_f64());
        answer(replies, outcomes);
    }
}

fn answer(
    replies: Vec<oneshot::Sender<Result<Outcome, ProposeError>>>,
    outcomes: Result<Vec<Outcome>, ProposeError>,
) {
    // A caller that is gone will ask again with the same request id.
    match outcomes {
        Ok(outcomes) => replies
            .into_iter()
            .zip(outcomes)
            .for_each(|(reply, outcome)| drop(reply.send(Ok(outcome)))),
        Err(error) => replies.into_iter().for_each(|reply| drop(reply.send(Err(error.clone())))),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a histogram")]
fn to_f64(value: usize) -> f64 {
    value as f64
}

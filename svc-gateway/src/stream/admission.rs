//! Which node of a stream is asked when.
//!
//! Two bounds, for two different things. A *start* is a signature that an agent checks and a write that it syncs: so
//! many are under way for one client, each only until the agent has answered, so that a set of any size is asked while
//! its one grant is good. A *stream* is open as long as what was started runs and may hold the credit window in memory: so
//! many are open in this process. What finds no room before the grant ends is told so; nothing is sent too late.

use std::sync::Arc;
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::{ErrorCode, NodeId, v1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ask::fanout::AT_ONCE;

/// Streams from nodes that are open in this process: with a credit window of 256 KiB each, 1 GiB at the most.
pub(super) const MAX_NODE_STREAMS: usize = 4_096;

/// What a grant still has to live when a node is asked: the way there, and the agent's check of it.
pub(crate) const GRANT_RESERVE: Duration = Duration::from_secs(5);

/// The rooms of one client's stream.
pub(super) struct Admission {
    clock: Clock,
    starts: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    /// On the monotonic clock.
    until: Duration,
    /// Once one node found no room in time, none after it does.
    refused: Option<NotAsked>,
}

/// Room for one node.
pub(super) struct Place {
    /// Given back when the agent has answered.
    pub(super) start: OwnedSemaphorePermit,
    /// Given back when the stream has ended.
    pub(super) stream: OwnedSemaphorePermit,
}

/// Why a node is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAsked {
    /// All streams of this process are taken by commands that run.
    NoStream,
    /// The nodes before it took so long to answer that the grant is about to end.
    Late,
}

impl Admission {
    /// For a grant that may be used until then.
    pub(super) fn new(clock: Clock, streams: Arc<Semaphore>, until: Duration) -> Self {
        Self { clock, starts: Arc::new(Semaphore::new(AT_ONCE)), streams, until, refused: None }
    }

    /// Waits for room, as long as the grant allows.
    pub(super) async fn next(&mut self) -> Result<Place, NotAsked> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let place = self.place().await;
        self.refused = place.as_ref().err().copied();
        place
    }

    async fn place(&self) -> Result<Place, NotAsked> {
        let start = self.room(&self.starts).await.ok_or(NotAsked::Late)?;
        let stream = self.room(&self.streams).await.ok_or(NotAsked::NoStream)?;
        Ok(Place { start, stream })
    }

    async fn room(&self, room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let left = self.until.checked_sub(self.clock.monotonic()).filter(|left| !left.is_zero())?;
        let permit = self.clock.timeout(left, Arc::clone(room).acquire_owned()).await.ok()?;
        permit.ok() // never closed: nothing closes it
    }
}

impl NotAsked {
    /// What is said of this node.
    pub(super) fn of(self, node: &NodeId) -> v1::Error {
        let again = format!("nothing was started on {node}: run the same command again for it");
        match self {
            Self::NoStream => ErrorCode::Busy
                .error(format!("{node} was not asked"))
                .because(format!("{MAX_NODE_STREAMS} commands run through this gateway already"))
                .next(format!("{again}, once others have ended")),
            Self::Late => ErrorCode::Timeout
                .error(format!("{node} was not asked in time"))
                .because("the nodes before it took so long to answer that the grant of the command ran out")
                .next(again),
        }
    }
}

#[cfg(test)]
mod tests {
    use pact_runtime::Timestamp;

    use super::*;

    fn admission(streams: usize) -> (Admission, pact_runtime::ManualClock) {
        let (clock, hand) = Clock::manual(Timestamp::from_unix_nanos(0));
        let until = clock.monotonic() + Duration::from_secs(55);
        (Admission::new(clock, Arc::new(Semaphore::new(streams)), until), hand)
    }

    #[tokio::test]
    async fn a_start_that_was_answered_makes_room_while_its_command_runs() {
        let (mut admission, _hand) = admission(MAX_NODE_STREAMS);
        let mut running = Vec::new();
        for _ in 0..4 * AT_ONCE {
            let Place { start, stream } = admission.next().await.unwrap();
            drop(start);
            running.push(stream);
        }
        assert_eq!(running.len(), 4 * AT_ONCE);
    }

    #[tokio::test]
    async fn nodes_that_do_not_answer_hold_up_the_others_until_the_grant_ends() {
        let (mut admission, hand) = admission(MAX_NODE_STREAMS);
        let mut silent = Vec::new();
        for _ in 0..AT_ONCE {
            silent.push(admission.next().await.unwrap());
        }
        let (waited, ()) = tokio::join!(admission.next(), async {
            hand.wait_for_sleepers(1).await;
            hand.advance(Duration::from_secs(55));
        });
        assert_eq!(waited.err(), Some(NotAsked::Late));
        // Room that comes now comes too late.
        silent.clear();
        assert_eq!(admission.next().await.err(), Some(NotAsked::Late));
    }

    #[tokio::test]
    async fn streams_that_are_open_keep_others_out_and_that_is_said() {
        let (mut admission, hand) = admission(1);
        let open = admission.next().await.unwrap();
        let (waited, ()) = tokio::join!(admission.next(), async {
            hand.wait_for_sleepers(1).await;
            hand.advance(Duration::from_secs(55));
        });
        assert_eq!(waited.err(), Some(NotAsked::NoStream));
        drop(open);
        let node = NodeId::new("n7").unwrap();
        for (why, code) in
            [(NotAsked::NoStream, ErrorCode::Busy), (NotAsked::Late, ErrorCode::Timeout)]
        {
            let error = why.of(&node);
            assert_eq!(error.known_code(), code);
            assert!(error.next_step.contains("run the same command again for it"), "{error:?}");
        }
    }
}

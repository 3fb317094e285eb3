//! What opens a stream, what ends it, and on which nodes it is carried out.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::Bus;
use pact_runtime::{CancellationToken, Clock};
use pact_schemas::{ErrorCode, v1};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_stream::Stream;
use tokio_util::task::AbortOnDropHandle;

use super::admission::{Admission, MAX_NODE_STREAMS};
use super::input;
use super::kind::Streamed;
use super::node::NodeStream;
use super::outlet::{self, Outflow, Outlet};
use super::sessions::{Session, Sessions};
use crate::door::tokens::{Caller, Tokens};
use crate::error::Answer;
use crate::rights::targets::Targets;

/// How often the token of an open stream is checked again.
const RECHECK: Duration = Duration::from_secs(60);

/// What open streams get of the grace period when the gateway stops; after it they are cancelled.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(15);

/// What becomes of a stream when the gateway stops.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drain {
    /// It would last for ever: it ends at once.
    AtOnce,
    /// It has an end of its own, and [`DRAIN_GRACE`] to come to it.
    Finish,
}

/// What all streams of this process share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Streams {
    bus: Bus,
    clock: Clock,
    tokens: Tokens,
    sessions: Sessions,
    /// Room for streams from nodes, of all clients together.
    from_nodes: Arc<Semaphore>,
    draining: CancellationToken,
}

impl Streams {
    /// `draining` is cancelled when the drain begins.
    pub(crate) fn new(
        bus: Bus,
        tokens: Tokens,
        clock: Clock,
        per_user: usize,
        draining: CancellationToken,
    ) -> Self {
        let from_nodes = Arc::new(Semaphore::new(MAX_NODE_STREAMS));
        Self { bus, clock, tokens, sessions: Sessions::new(per_user), from_nodes, draining }
    }

    /// Takes a place for one more stream of this caller.
    pub(crate) fn open(&self, caller: &Caller) -> Answer<Session> {
        self.sessions.open(&caller.principal)
    }

    /// The caller's stream, filled by `work` in a task of its own. `room` items may wait for the client.
    pub(crate) fn start<T, W>(
        &self,
        (caller, session): (Caller, Session),
        room: usize,
        drain: Drain,
        work: impl FnOnce(Outlet<T>) -> W,
    ) -> Outflow<T>
    where
        T: Send + 'static,
        W: Future<Output = Option<v1::Error>> + Send + 'static,
    {
        let (outlet, last, outflow) = outlet::outlet(room, Some(session));
        let (streams, work) = (self.clone(), Box::pin(work(outlet.clone())));
        // Ends with its work or its client; its failure is said on the stream.
        tokio::spawn(async move {
            let stop = streams.until_ended(&caller, drain);
            outlet::serve(&streams.clock, outlet, last, work, stop).await;
        });
        outflow
    }

    /// Returns why a stream ends that its client still reads.
    async fn until_ended(&self, caller: &Caller, drain: Drain) -> v1::Error {
        tokio::select! {
            error = self.until_refused(caller) => error, // holds nothing
            () = self.until_drained(drain) => stopping(), // holds nothing
        }
    }

    /// Returns when the caller's token is no longer accepted.
    async fn until_refused(&self, caller: &Caller) -> v1::Error {
        loop {
            self.clock.sleep(RECHECK).await;
            if let Err(error) = self.tokens.reverify(caller) {
                return error;
            }
        }
    }

    async fn until_drained(&self, drain: Drain) {
        self.draining.cancelled().await;
        match drain {
            Drain::AtOnce => {}
            Drain::Finish => self.clock.sleep(DRAIN_GRACE).await,
        }
    }

    /// Starts it on all nodes, each as soon as there is room and none after `asked_until` (on the monotonic clock), and
    /// hands on what they say until the last one has ended. The tasks are aborted when this future is dropped.
    pub(crate) async fn fan_out<S: Streamed>(
        &self,
        what: S,
        (targets, asked_until): (&Targets, Duration),
        inputs: Option<impl Stream<Item = S::Input> + Send + 'static>,
        outlet: &Outlet<S::Item>,
    ) {
        let rooms = Arc::clone(&self.from_nodes);
        let mut admission = Admission::new(self.clock.clone(), rooms, asked_until);
        let what = Arc::new(what);
        let mut feeds = Vec::new();
        let mut tasks = JoinSet::new();
        for (node, record) in targets.nodes() {
            let place = match admission.next().await {
                Ok(place) => place,
                Err(why) => {
                    let error = why.of(node).on(node);
                    let _gone = outlet.send(Ok(S::failed(node, error))).await;
                    continue;
                }
            };
            let input = inputs.is_some().then(|| {
                let (feed, source) = input::feed();
                feeds.push(feed);
                source
            });
            let stream = NodeStream {
                bus: self.bus.clone(),
                clock: self.clock.clone(),
                node: node.clone(),
                state: record.state,
                what: Arc::clone(&what),
                outlet: outlet.clone(),
                input,
            };
            tasks.spawn(async move { Box::pin(stream.run(place)).await });
        }
        // With input all nodes are being asked by now. Dropped, the pump ends.
        let _pump =
            inputs.map(|inputs| AbortOnDropHandle::new(tokio::spawn(input::pump(inputs, feeds))));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a node's task failed");
                let defect =
                    ErrorCode::Internal.error("the gateway lost track of one of the nodes");
                let defect = defect.next("look for the outcome with `pact log`");
                let _gone = outlet.send(Err(defect.into_status())).await;
            }
        }
    }
}

fn stopping() -> v1::Error {
    ErrorCode::Unreachable
        .error("the gateway is stopping")
        .next("try again; other gateways may be up")
}

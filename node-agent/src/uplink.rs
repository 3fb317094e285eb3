//! The agent's side of the bus: requests to the services, on whatever connection is current.
//!
//! A renewal of the credentials replaces the connection while the old one still works (decisions §1), so nobody keeps a
//! [`Bus`] for longer than one request.

use std::sync::Arc;
use std::time::Duration;

use pact_bus::{Bus, CallError, ConnectionState};
use pact_schemas::rpc::{UpRpc, up};
use pact_schemas::v1::{self, node_event::Body};
use pact_schemas::{EventKind, NodeId};
use tokio::sync::watch;

/// The event of a connection comes a moment before requests are taken.
const SETTLING: Duration = Duration::from_millis(1);

/// A member of the journal that has not answered by then may be cut off. Longer than a gateway waits: there are many agents, and
/// what they ask twice of a journal that is merely slow makes it slower.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The current connection; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Uplink {
    node: NodeId,
    current: Arc<watch::Sender<Arc<Bus>>>,
}

/// Tells of each new connection.
#[derive(Debug)]
pub(crate) struct Connections {
    current: watch::Receiver<Arc<Bus>>,
    states: watch::Receiver<ConnectionState>,
    /// `states` was not looked at yet.
    is_fresh: bool,
}

impl Uplink {
    /// Uses this connection.
    pub(crate) fn new(node: NodeId, bus: Bus) -> Self {
        Self { node, current: Arc::new(watch::Sender::new(Arc::new(bus))) }
    }

    /// The connection of this moment. Who keeps it keeps it open, also when it was replaced (see [`Uplink::replace`]).
    pub(crate) fn bus(&self) -> Arc<Bus> {
        self.current.borrow().clone()
    }

    /// Uses another connection from now on. Returns the one before, to be drained when nobody else holds it any more:
    /// streams of running commands live on the connection on which they began.
    pub(crate) fn replace(&self, bus: Bus) -> Arc<Bus> {
        self.current.send_replace(Arc::new(bus))
    }

    /// This node.
    pub(crate) fn node(&self) -> &NodeId {
        &self.node
    }

    /// Asks a service.
    pub(crate) async fn call<R: UpRpc>(
        &self,
        request: &R::Request,
        deadline: Duration,
    ) -> Result<R::Reply, CallError> {
        self.bus().call::<R>(&self.node, request, deadline).await
    }

    /// As [`Uplink::call`], for what may be carried out twice: one silent member of the journal keeps nobody waiting.
    pub(crate) async fn call_any<R: UpRpc>(
        &self,
        request: &R::Request,
        deadline: Duration,
    ) -> Result<R::Reply, CallError> {
        self.bus().call_any::<R>(&self.node, request, ASK_AGAIN, deadline).await
    }

    /// Sends a spooled event, more than once if need be: the journal knows an event by its number.
    pub(crate) async fn event(
        &self,
        kind: EventKind,
        event: &v1::NodeEvent,
        deadline: Duration,
    ) -> Result<v1::EventAck, CallError> {
        let to = (self.node.clone(), kind);
        self.bus().call_any::<up::Event>(&to, event, ASK_AGAIN, deadline).await
    }

    /// Each new connection from now on; one that is up now comes first.
    pub(crate) fn connections(&self) -> Connections {
        let mut current = self.current.subscribe();
        let states = current.borrow_and_update().events();
        Connections { current, states, is_fresh: true }
    }

    /// Waits until there is a connection. Cancel-safe.
    pub(crate) async fn connected(&self) {
        self.connections().next().await;
    }
}

impl Connections {
    /// Waits for the next connection. Cancel-safe, but for the moment between the connection's event and its being usable.
    pub(crate) async fn next(&mut self) {
        self.next_event().await;
        while self.current.borrow().state() != ConnectionState::Connected
            && *self.states.borrow() == ConnectionState::Connected
        {
            tokio::time::sleep(SETTLING).await;
        }
    }

    async fn next_event(&mut self) {
        loop {
            if std::mem::take(&mut self.is_fresh)
                && *self.states.borrow_and_update() == ConnectionState::Connected
            {
                return;
            }
            tokio::select! {
                changed = self.current.changed() => { // cancel-safe: a watch
                    if changed.is_err() {
                        return std::future::pending().await; // the agent is ending
                    }
                    self.states = self.current.borrow_and_update().events();
                    self.is_fresh = true;
                }
                changed = self.states.changed() => { // cancel-safe: a watch
                    if changed.is_err() {
                        // This connection was closed; the next one comes through `current`.
                        let replaced = self.current.changed().await;
                        if replaced.is_err() {
                            return std::future::pending().await;
                        }
                        self.states = self.current.borrow_and_update().events();
                        self.is_fresh = true;
                    } else if *self.states.borrow_and_update() == ConnectionState::Connected {
                        return;
                    }
                }
            }
        }
    }
}

/// The kind of a spooled event's body, as it stands in the subject.
pub(crate) fn event_kind(body: Option<&Body>) -> Option<EventKind> {
    let name = match body? {
        Body::ExecEnded(_) => "exec_ended",
        Body::CapabilityChange(_) => "capability_change",
        Body::DriftChanged(_) => "drift_changed",
        Body::Converged(_) => "converged",
        Body::Deferred(_) => "deferred",
        Body::ConflictChanged(_) => "conflict_changed",
    };
    EventKind::new(name).ok()
}

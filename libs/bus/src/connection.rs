//! The connection and what is known about it.
//!
//! async-nats reconnects by itself, forever; what it reports is turned into a [`ConnectionState`], a resync counter
//! and metrics here. The resync counter moves whenever messages may have been lost: after each reconnect and after
//! each overflow of a subscription (the library does not say whose, so everybody resyncs).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ClientError, ConnectOptions, Event, HeaderMap, ServerError};
use bytes::Bytes;
use metrics::{counter, gauge};
use pact_runtime::Clock;
use pact_schemas::{MethodName, NodeId, Subject};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::call::Calls;
use crate::config::BusConfig;
use crate::deadline::Calendar;
use crate::error::BusError;
use crate::{MAX_PAYLOAD_BYTES, meters, tls};

/// Messages that wait in one subscription. Handlers never block the reader, so this is for bursts; 8,192 small
/// requests are a few MiB, and whoever is slower than that must resync.
const SUBSCRIPTION_CAPACITY: usize = 8192;

/// Messages that wait for the socket. Beyond it, senders wait, which ends at their deadline.
const SENDER_CAPACITY: usize = 2048;

/// Silence after which we ask the server whether it lives; three silent intervals end the connection. A killed
/// server is noticed at once by its closed socket; this is for cut cables.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// TCP, TLS and the NATS handshake of one attempt, so that one dead server among several costs little.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// The longest wait between attempts, so that all is back well within 10 s of the server's return.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(1);

/// The wait of a connection that was closed while it had none.
const NEVER_AGAIN: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The wait before the second attempt; doubled from there.
const RECONNECT_DELAY_FIRST: Duration = Duration::from_millis(100);

/// Waiting for room in the sender's queue: longer means that the socket does not take anything.
const ENQUEUE_LIMIT: Duration = Duration::from_secs(5);

/// The library reports a connection a moment before it counts as connected; who hears of it may publish at once.
const CONNECTED_LEAD: Duration = Duration::from_millis(1);

/// The `up` method that no service has.
const NOBODYS_METHOD: &str = "nobody";

/// Events may be lost in a flood of them; this often the state is compared with the connection's own.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(5);

/// What is known about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not yet connected for the first time; being tried.
    Connecting,
    /// Connected and accepted.
    Connected,
    /// Lost; being tried again at least once a second.
    Disconnected,
    /// Drained. Never comes back.
    Closed,
}

/// One connection, as the parts of this crate share it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) calendar: Calendar,
    pub(crate) calls: Calls,
    /// The node, when an agent's inbox is ours.
    node: Option<NodeId>,
    signals: Signals,
}

/// What the connection's events are turned into.
#[derive(Clone, Debug)]
struct Signals {
    state: watch::Sender<ConnectionState>,
    resync: watch::Sender<u64>,
    calls: Calls,
    last_problem: Arc<Mutex<Option<String>>>,
    has_warned_of_overflow: Arc<AtomicBool>,
}

impl Link {
    /// Begins to connect; see [`crate::Bus::connect`].
    pub(crate) async fn connect(config: BusConfig, clock: Clock) -> Result<Self, BusError> {
        let addresses = config.check()?;
        let signals = Signals {
            state: watch::Sender::new(ConnectionState::Connecting),
            resync: watch::Sender::new(0),
            calls: Calls::default(),
            last_problem: Arc::default(),
            has_warned_of_overflow: Arc::default(),
        };
        let options = options(&config, &clock, signals.clone())?;
        let client = options
            .connect(addresses.as_slice())
            .await
            .map_err(|error| BusError::Connect(error.into()))?;
        let calls = signals.calls.clone();
        let node = config.inbox_prefix.strip_prefix("_INBOX_n.");
        let node = node.and_then(|node| node.parse().ok());
        Ok(Self { node, client, calendar: Calendar::new(clock), calls, signals })
    }

    pub(crate) fn clock(&self) -> &Clock {
        self.calendar.clock()
    }

    /// The state as the connection itself has it: its events come a moment later.
    pub(crate) fn state(&self) -> ConnectionState {
        match (*self.signals.state.borrow(), self.client.connection_state()) {
            (ConnectionState::Closed, _) => ConnectionState::Closed,
            (_, State::Connected) => ConnectionState::Connected,
            (_, State::Disconnected) => ConnectionState::Disconnected,
            (_, State::Pending) => ConnectionState::Connecting,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state() == ConnectionState::Connected
    }

    pub(crate) fn states(&self) -> watch::Receiver<ConnectionState> {
        self.signals.state.subscribe()
    }

    /// Changes whenever messages may have been lost.
    pub(crate) fn resyncs(&self) -> watch::Receiver<u64> {
        self.signals.resync.subscribe()
    }

    /// What the last failed attempt or refusal said, for people.
    pub(crate) fn last_problem(&self) -> Option<String> {
        self.signals.last_problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes up for lost events, until `stop`.
    pub(crate) async fn reconcile(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe: a token
                () = self.clock().sleep(RECONCILE_INTERVAL) => {} // cancel-safe: a timer
            }
            let heard = *self.signals.state.borrow();
            match (heard, self.state()) {
                (ConnectionState::Connected, ConnectionState::Disconnected) => {
                    self.signals.take(Event::Disconnected);
                }
                (
                    ConnectionState::Connecting | ConnectionState::Disconnected,
                    ConnectionState::Connected,
                ) => {
                    self.signals.take(Event::Connected);
                }
                _ => {}
            }
        }
    }

    pub(crate) fn set_closed(&self) {
        self.signals.state.send_replace(ConnectionState::Closed);
    }

    /// Hands a message to the connection, if there is one.
    pub(crate) async fn publish(
        &self,
        subject: String,
        payload: Bytes,
        headers: HeaderMap,
    ) -> Result<(), BusError> {
        let bytes = payload.len();
        if let Some(limit) = self.over_limit(bytes) {
            return Err(BusError::TooLarge { subject, bytes, limit });
        }
        if !self.is_connected() {
            return Err(BusError::Disconnected);
        }
        let publishing = self.client.publish_with_headers(subject.clone(), headers, payload);
        match self.clock().timeout(ENQUEUE_LIMIT, publishing).await {
            Ok(Ok(())) => {
                meters::sent(bytes);
                Ok(())
            }
            Ok(Err(source)) => Err(BusError::Publish { subject, source: source.into() }),
            Err(source) => Err(BusError::Publish { subject, source: source.into() }),
        }
    }

    /// The limit, when this many bytes of payload are over it.
    pub(crate) fn over_limit(&self, bytes: usize) -> Option<usize> {
        let server = self.client.max_payload().saturating_sub(1024); // room for headers
        let limit = server.min(MAX_PAYLOAD_BYTES);
        (bytes > limit).then_some(limit)
    }

    /// A subject to which we may publish and nobody listens: requests are answered by the server itself, at once.
    pub(crate) fn nowhere(&self) -> String {
        match (&self.node, MethodName::new(NOBODYS_METHOD)) {
            (Some(node), Ok(method)) => Subject::NodeUp { node: node.clone(), method }.to_string(),
            // Services may publish to inboxes.
            _ => self.client.new_inbox(),
        }
    }

    /// Waits until what was handed over so far has left this process; at most [`ENQUEUE_LIMIT`].
    pub(crate) async fn flush(&self) -> Result<(), BusError> {
        if !self.is_connected() {
            return Err(BusError::Disconnected);
        }
        match self.clock().timeout(ENQUEUE_LIMIT, self.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(BusError::Disconnected),
            Err(late) => Err(BusError::NotConnected { after: late.limit }),
        }
    }
}

fn options(
    config: &BusConfig,
    clock: &Clock,
    signals: Signals,
) -> Result<ConnectOptions, BusError> {
    let credentials = config.credentials.clone();
    let (delays, events) = (clock.clone(), clock.clone());
    let state = signals.state.clone();
    let options = ConnectOptions::with_auth_callback(move |nonce| {
        let credentials = credentials.clone();
        async move { credentials.answer(&nonce) }
    })
    .name(&config.name)
    .custom_inbox_prefix(&config.inbox_prefix)
    .retry_on_initial_connect()
    .ignore_discovered_servers()
    .connection_timeout(CONNECT_LIMIT)
    .ping_interval(PING_INTERVAL)
    .subscription_capacity(SUBSCRIPTION_CAPACITY)
    .client_capacity(SENDER_CAPACITY)
    .request_timeout(None) // every wait of ours has its own limit
    .reconnect_delay_callback(move |attempt| match *state.borrow() {
        // A client that has no connection cannot be told to end; it is put to sleep.
        ConnectionState::Closed => NEVER_AGAIN,
        _ => reconnect_delay(attempt, delays.random_bytes()),
    })
    .event_callback(move |event| {
        let (signals, clock) = (signals.clone(), events.clone());
        async move {
            if event == Event::Connected {
                clock.sleep(CONNECTED_LEAD).await;
            }
            signals.take(event);
        }
    });
    match &config.tls_ca {
        Some(ca) => Ok(options.tls_client_config(tls::client_config(ca)?).require_tls(true)),
        None => Ok(options),
    }
}

/// Doubles from [`RECONNECT_DELAY_FIRST`] up to [`RECONNECT_DELAY_MAX`], the upper half of it random, so that the
/// nodes of a site do not all come at once.
fn reconnect_delay(attempt: usize, random: [u8; 1]) -> Duration {
    if attempt <= 1 {
        // The very first connect, and the first try after a loss: at most 50 ms.
        return Duration::from_micros(200) * u32::from(random[0]);
    }
    let doublings = u32::try_from(attempt - 2).unwrap_or(u32::MAX).min(8);
    let most = (RECONNECT_DELAY_FIRST * 2u32.pow(doublings)).min(RECONNECT_DELAY_MAX);
    most / 2 + (most / 2) * u32::from(random[0]) / 255
}

impl Signals {
    fn take(&self, event: Event) {
        if *self.state.borrow() == ConnectionState::Closed {
            return; // nobody asks any more
        }
        match event {
            Event::Connected => {
                let before = self.state.send_replace(ConnectionState::Connected);
                if before != ConnectionState::Connecting {
                    counter!(meters::RECONNECTS).increment(1);
                }
                gauge!(meters::CONNECTED).set(1.0);
                self.set_problem(None);
                self.has_warned_of_overflow.store(false, Ordering::Relaxed);
                self.resync.send_modify(|count| *count += 1);
                tracing::info!("connected to the bus");
            }
            Event::Disconnected => {
                self.state.send_replace(ConnectionState::Disconnected);
                gauge!(meters::CONNECTED).set(0.0);
                self.calls.interrupt_all();
                tracing::warn!("lost the connection to the bus; trying again");
            }
            Event::Closed => {
                self.state.send_replace(ConnectionState::Closed);
                gauge!(meters::CONNECTED).set(0.0);
                self.calls.interrupt_all();
            }
            Event::SlowConsumer(subscription) => {
                counter!(meters::SLOW_CONSUMERS).increment(1);
                self.resync.send_modify(|count| *count += 1);
                if !self.has_warned_of_overflow.swap(true, Ordering::Relaxed) {
                    tracing::warn!(subscription, "a subscription is full and loses messages");
                }
            }
            Event::ServerError(error) => self.server_error(&error),
            Event::ClientError(ClientError::Other(text)) => self.set_problem(Some(text)),
            Event::ClientError(error) => self.set_problem(Some(error.to_string())),
            Event::LameDuckMode => tracing::info!("the bus server is about to stop"),
            Event::Draining => {}
        }
    }

    fn server_error(&self, error: &ServerError) {
        let text = error.to_string();
        if text.to_ascii_lowercase().contains("permissions violation") {
            counter!(meters::PERMISSION_VIOLATIONS).increment(1);
            tracing::error!(error = text, "the bus refuses us a subject");
        } else {
            self.set_problem(Some(text));
        }
    }

    /// Logged on change only: an attempt a second repeats itself.
    fn set_problem(&self, problem: Option<String>) {
        let mut last = self.last_problem.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == problem {
            return;
        }
        if let Some(text) = &problem {
            tracing::warn!(problem = text, "the bus connection has a problem");
        }
        *last = problem;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnects_are_never_more_than_a_second_apart_and_differ() {
        for attempt in 0..100 {
            for random in [0, 1, 128, 255] {
                assert!(reconnect_delay(attempt, [random]) <= RECONNECT_DELAY_MAX);
            }
        }
        assert!(reconnect_delay(2, [0]) >= Duration::from_millis(50));
        assert_ne!(reconnect_delay(9, [0]), reconnect_delay(9, [255]));
    }
}

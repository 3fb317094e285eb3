//! The handle that everything else uses.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::service::ServiceExt as _;
use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use pact_runtime::{Check, Clock};
use pact_schemas::Subject;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::call::Calls;
use crate::config::BusConfig;
use crate::connection::{ConnectionState, Link};
use crate::deadline::ClockTrust;
use crate::dispatch::{Dispatch, Source};
use crate::error::{BusError, CallError};
use crate::responder::{Endpoint, Responder};
use crate::service::Service;
use crate::subscription::Subscription;

/// Announcements are followed up by resyncs, so an old one helps nobody.
const PUBLISH_LIMIT: Duration = Duration::from_secs(30);

/// A round trip to the server, on a busy machine.
const CONFIRM_LIMIT: Duration = Duration::from_secs(2);

/// Handlers at work when the bus is drained have this long: the longest that a service's grace period allows.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// One connection to the bus. Cheap to clone; all clones are one connection.
#[derive(Clone)]
pub struct Bus {
    link: Arc<Link>,
    /// No new requests are taken any more.
    stop: CancellationToken,
    /// Nothing is asked any more either: handlers that are still at work need the answers to what they ask.
    end: CancellationToken,
    workers: TaskTracker,
    /// Ends the bus's own tasks with the last handle.
    _lifetime: Arc<DropGuard>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Bus {
    /// Checks the configuration and begins to connect.
    ///
    /// Returns at once, in state [`ConnectionState::Connecting`]: the first connect is tried in the background like
    /// every later one, at least once a second and without end, because services start in any order. Subscriptions
    /// and services may be set up meanwhile; requests and publishes answer `Disconnected`. `readiness` is told
    /// whether there is a connection. Use [`Bus::wait_connected`] where a start cannot go on without one.
    ///
    /// # Errors
    /// [`BusError`] for what no retry can mend: addresses, the CA, the credentials file.
    pub async fn connect(
        config: BusConfig,
        clock: Clock,
        readiness: Option<Check>,
    ) -> Result<Self, BusError> {
        let link = Arc::new(Link::connect(config, clock).await?);
        let end = CancellationToken::new();
        let stop = end.child_token();
        Calls::open(&link, end.clone()).await?;
        tokio::spawn(Arc::clone(&link).reconcile(end.clone())); // cannot fail
        if let Some(check) = readiness {
            tokio::spawn(tell(check, Arc::clone(&link), end.clone()));
        }
        let lifetime = Arc::new(end.clone().drop_guard());
        Ok(Self { link, stop, end, workers: TaskTracker::new(), _lifetime: lifetime })
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The state of the connection.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.link.state()
    }

    /// The state and its changes.
    #[must_use]
    pub fn events(&self) -> watch::Receiver<ConnectionState> {
        self.link.states()
    }

    /// What the last failed attempt said, for people; `None` while connected.
    #[must_use]
    pub fn last_problem(&self) -> Option<String> {
        self.link.last_problem()
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// [`BusError::NotConnected`] when there is none within `limit`.
    pub async fn wait_connected(&self, limit: Duration) -> Result<(), BusError> {
        let clock = self.link.clock();
        let mut states = self.link.states();
        let connected = async {
            // Fails never: `self` holds the sender. The event comes a moment before the state itself.
            let _state = states.wait_for(|state| *state == ConnectionState::Connected).await;
            while !self.link.is_connected() {
                clock.sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = clock.timeout(limit, connected).await;
        waited.map_err(|late| BusError::NotConnected { after: late.limit })
    }

    /// Says whether this process's wall clock may judge deadlines. The default is that it may.
    pub fn set_clock_trust(&self, trust: ClockTrust) {
        self.link.calendar.set_trust(trust);
    }

    /// Sends a request and waits for its typed answer, for at most `deadline` (bounded by [`crate::MAX_DEADLINE`]).
    /// The receiver obeys the deadline too. Nothing is retried.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::nothing_done`] tells whether a retry is safe without a request id.
    pub async fn request<Req, Rep>(
        &self,
        subject: &Subject,
        request: &Req,
        deadline: Duration,
    ) -> Result<Rep, CallError>
    where
        Req: prost::Message,
        Rep: prost::Message + Default,
    {
        self.link.call_typed(subject.to_string(), request, deadline).await
    }

    /// A request to something that is not pact's, such as `$SYS.REQ.CLAIMS.UPDATE`: bytes for bytes, without any header.
    /// nats-server takes a header for a part of the token there, so no deadline travels along; `deadline` bounds the wait here.
    ///
    /// # Errors
    /// [`CallError`], never [`CallError::Service`].
    pub async fn request_bytes(
        &self,
        subject: &str,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let answered =
            self.link.call_with(subject.to_owned(), HeaderMap::new(), payload, deadline).await;
        answered.map(|message| message.payload)
    }

    /// Publishes a message that wants no answer. It carries a deadline of 30 s, after which no [`Subscription`] delivers it.
    /// `Ok` means that a live connection took it, not that anybody received it.
    ///
    /// # Errors
    /// [`BusError::Disconnected`], [`BusError::TooLarge`], [`BusError::Publish`].
    pub async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        let headers = self.link.calendar.headers(PUBLISH_LIMIT);
        self.link.publish(subject.to_string(), payload, headers).await
    }

    /// Subscribes to a pattern; with a queue group, each message goes to one of its members. Returns, when connected,
    /// once the server has the subscription.
    ///
    /// # Errors
    /// [`BusError::Subscribe`]. A pattern without the right to it is not an error here: the server says so later,
    /// and it is logged and counted.
    pub async fn subscribe(
        &self,
        pattern: &str,
        queue_group: Option<&str>,
    ) -> Result<Subscription, BusError> {
        let resyncs = self.link.resyncs();
        let messages = self.subscriber(pattern, queue_group).await?;
        self.confirm().await;
        Ok(Subscription::new(messages, resyncs, self.link.calendar.clone()))
    }

    async fn subscriber(
        &self,
        pattern: &str,
        queue_group: Option<&str>,
    ) -> Result<Subscriber, BusError> {
        let client = &self.link.client;
        let subscribed = match queue_group {
            Some(group) => client.queue_subscribe(pattern.to_owned(), group.to_owned()).await,
            None => client.subscribe(pattern.to_owned()).await,
        };
        subscribed.map_err(|source| BusError::Subscribe {
            pattern: pattern.to_owned(),
            source: source.into(),
        })
    }

    /// Registers a service and answers its requests until [`Bus::drain`], or until the last handle is dropped.
    /// Returns, when connected, once the server has its subscriptions.
    ///
    /// # Errors
    /// [`BusError::Name`], [`BusError::DuplicateMethod`], [`BusError::Register`].
    pub async fn serve<S>(&self, service: Service<S>) -> Result<(), BusError> {
        if let Some(mistake) = service.endpoints.mistake {
            return Err(mistake);
        }
        let name = service.name.map(|name| name.to_string()).unwrap_or_default();
        let failed = |source| BusError::Register { service: name.clone(), source };
        let registered = self
            .link
            .client
            .service_builder()
            .description(format!("pact {name}"))
            .metadata(HashMap::from([("instance".to_owned(), service.instance)]))
            .queue_group(name.clone())
            .start(name.clone(), service.version)
            .await
            .map_err(failed)?;
        for endpoint in service.endpoints.list {
            let methods: Vec<&str> = endpoint.methods.keys().map(String::as_str).collect();
            let source = registered
                .endpoint_builder()
                .name(&endpoint.name)
                .queue_group(&endpoint.queue_group)
                .metadata(HashMap::from([("methods".to_owned(), methods.join(","))]))
                .add(&endpoint.pattern)
                .await
                .map_err(failed)?;
            self.dispatch(endpoint, Source::Service(Box::new(source)));
        }
        let stop = self.stop.clone();
        // Holds the registration; ends with the bus.
        tokio::spawn(async move {
            stop.cancelled().await;
            drop(registered.stop().await); // has no failing path
        });
        self.confirm().await;
        Ok(())
    }

    /// Answers an agent's requests until [`Bus::drain`], or until the last handle is dropped.
    /// Returns, when connected, once the server has its subscriptions.
    ///
    /// # Errors
    /// [`BusError::Name`], [`BusError::DuplicateMethod`], [`BusError::Subscribe`].
    pub async fn respond<S>(&self, responder: Responder<S>) -> Result<(), BusError> {
        if let Some(mistake) = responder.endpoints.mistake {
            return Err(mistake);
        }
        for endpoint in responder.endpoints.list {
            let group = endpoint.queue_group.clone();
            let messages = self.subscriber(&endpoint.pattern, Some(&group)).await?;
            self.dispatch(endpoint, Source::Plain(messages));
        }
        self.confirm().await;
        Ok(())
    }

    fn dispatch(&self, endpoint: Endpoint, source: Source) {
        let dispatch = Dispatch::new(Arc::clone(&self.link), endpoint, self.workers.clone());
        self.workers.spawn(dispatch.run(source, self.stop.clone()));
    }

    /// Waits until the server has all subscriptions made so far, which is when it has answered what came after them.
    /// Without a connection there is nothing to wait for: the next one begins with the subscriptions.
    async fn confirm(&self) {
        if self.link.is_connected() {
            let nowhere = self.link.nowhere();
            // Whatever comes of it: without an answer the subscriptions are merely later.
            let _answer = self.link.call(nowhere, Bytes::new(), CONFIRM_LIMIT).await;
        }
    }

    /// Takes no new requests, waits for the handlers at work (at most 20 s), which may still ask others, sends what is left and
    /// closes. All clones are closed by it.
    pub async fn drain(&self) {
        self.stop.cancel();
        self.workers.close();
        if self.link.clock().timeout(DRAIN_LIMIT, self.workers.wait()).await.is_err() {
            tracing::warn!(left = self.workers.len(), "handlers are still at work; leaving them");
        }
        let _gone = self.link.flush().await; // nothing can be sent without a connection
        let _gone = self.link.client.drain().await;
        self.link.set_closed();
        self.end.cancel();
    }
}

/// Keeps a readiness check in step with the connection, until `stop`.
async fn tell(check: Check, link: Arc<Link>, stop: CancellationToken) {
    let mut states = link.states();
    loop {
        let state = *states.borrow_and_update();
        match state {
            ConnectionState::Connected => check.set_ready(),
            ConnectionState::Closed => check.set_not_ready("closed"),
            ConnectionState::Connecting | ConnectionState::Disconnected => {
                check.set_not_ready("not connected to the bus");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return, // cancel-safe: a token
            changed = states.changed() => if changed.is_err() { return }, // cancel-safe: a watch
        }
    }
}

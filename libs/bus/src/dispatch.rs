//! The answering side at work: from a message to exactly one reply.
//!
//! The loop of an endpoint only decides and hands over; nothing in it waits for work. Whatever happens to a request
//! afterwards, its caller is told: refused, cut off at the deadline, panicked, too large an answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber, service};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use metrics::counter;
use pact_schemas::v1::{self, reply};
use pact_schemas::{ErrorCode, NodeId, Subject};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::Link;
use crate::deadline::{Deadline, Refusal};
use crate::meters::{self, InFlight};
use crate::responder::{Endpoint, Handled, Method, RequestContext};

/// Refusals being written at once. Beyond it the connection takes nothing and callers run into their deadline.
const MAX_REFUSALS: usize = 1024;

/// Handing a reply to a connection that takes nothing: the caller is gone by then.
const REPLY_LIMIT: Duration = Duration::from_secs(5);

/// Where the messages of an endpoint come from.
pub(crate) enum Source {
    /// A plain subscription.
    Plain(Subscriber),
    /// An endpoint of the services API, which counts requests for `$SRV.STATS`.
    Service(Box<service::endpoint::Endpoint>),
}

/// A request that wants a reply.
enum Request {
    Plain(Message),
    Service(service::Request),
}

impl Request {
    fn message(&self) -> &Message {
        match self {
            Self::Plain(message) => message,
            Self::Service(request) => &request.message,
        }
    }
}

impl Source {
    async fn next(&mut self) -> Option<Request> {
        match self {
            Self::Plain(messages) => messages.next().await.map(Request::Plain),
            Self::Service(requests) => requests.next().await.map(Request::Service),
        }
    }

    /// No new messages; those that are here already still come out of `next`. What the server sends before it has
    /// seen the unsubscribe is lost (the library forgets the subscription at once), and its callers time out.
    async fn stop(&mut self) {
        match self {
            // Fails when the connection is closed, and then there is nothing to stop.
            Self::Plain(messages) => drop(messages.drain().await),
            // Stopped with its registration, which ends `next`; its own `stop` would drop what is here.
            Self::Service(_) => {}
        }
    }
}

/// One endpoint at work.
pub(crate) struct Dispatch {
    pub(crate) link: Arc<Link>,
    pub(crate) endpoint: Endpoint,
    pub(crate) workers: TaskTracker,
    refusals: Arc<Semaphore>,
}

/// What to do with a request.
enum Verdict {
    Work {
        method: Method,
        permit: OwnedSemaphorePermit,
        context: RequestContext,
    },
    Refuse {
        error: v1::Error,
        reason: &'static str,
    },
    /// Nobody can be told.
    Drop {
        reason: &'static str,
    },
}

impl Dispatch {
    pub(crate) fn new(link: Arc<Link>, endpoint: Endpoint, workers: TaskTracker) -> Self {
        Self { link, endpoint, workers, refusals: Arc::new(Semaphore::new(MAX_REFUSALS)) }
    }

    /// Runs until `stop`, then until what has arrived is handed over.
    ///
    /// Ends early only with the connection itself, whose state everybody can see.
    pub(crate) async fn run(self, mut source: Source, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break, // cancel-safe: a token
                request = source.next() => match request { // cancel-safe: a channel
                    Some(request) => self.take(request),
                    None => {
                        tracing::warn!(pattern = self.endpoint.pattern, "the subscription ended");
                        return;
                    }
                },
            }
        }
        source.stop().await;
        let drained = async {
            while let Some(request) = source.next().await {
                self.take(request);
            }
        };
        if self.link.clock().timeout(REPLY_LIMIT, drained).await.is_err() {
            tracing::debug!(pattern = self.endpoint.pattern, "the server confirmed no unsubscribe");
        }
    }

    fn take(&self, request: Request) {
        meters::received(request.message().payload.len());
        let message = request.message();
        tracing::trace!(subject = %message.subject, inbox = message.reply.as_deref(), "a request has come");
        match self.judge(request.message()) {
            Verdict::Work { method, permit, context } => {
                let link = Arc::clone(&self.link);
                self.workers.spawn(async move {
                    let body = request.message().payload.clone();
                    let outcome = work(&link, &method, context, body).await;
                    respond(&link, request, outcome).await;
                    drop(permit);
                });
            }
            Verdict::Refuse { error, reason } => {
                counter!(meters::REFUSED, "reason" => reason).increment(1);
                let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else {
                    counter!(meters::REPLIES_LOST).increment(1);
                    return;
                };
                let link = Arc::clone(&self.link);
                self.workers.spawn(async move {
                    respond(&link, request, Err(error)).await;
                    drop(place);
                });
            }
            Verdict::Drop { reason } => {
                counter!(meters::REFUSED, "reason" => reason).increment(1);
                tracing::warn!(reason, subject = %request.message().subject, "request dropped");
            }
        }
    }

    fn judge(&self, message: &Message) -> Verdict {
        let Some(reply) = message.reply.as_deref() else {
            return Verdict::Drop { reason: "no reply subject" };
        };
        let Ok(subject) = message.subject.parse::<Subject>() else {
            return Verdict::Drop { reason: "not a subject of pact" };
        };
        if !may_reply(&subject, reply) {
            return Verdict::Drop { reason: "reply subject is not an inbox of the sender" };
        }
        let limit = match self.link.calendar.judge(message.headers.as_ref()) {
            Ok(limit) => limit,
            Err(Refusal::Expired) => return refuse(expired(&subject), "expired"),
            Err(Refusal::Malformed) => {
                let error =
                    ErrorCode::Malformed.error(format!("the deadline on {subject} is no number"));
                return refuse(error, "malformed");
            }
        };
        let method_name = method_of(&subject);
        let Some(method) = self.endpoint.methods.get(method_name).or(self.endpoint.any.as_ref())
        else {
            let error = ErrorCode::Unimplemented
                .error(format!("{subject} is not built in this version"))
                .next("check that all parts of pact have the same version");
            return refuse(error, "unimplemented");
        };
        let Ok(permit) = Arc::clone(&method.workers).try_acquire_owned() else {
            let error = ErrorCode::Busy
                .error(format!("all workers for {subject} are busy"))
                .next("try again in a moment");
            return refuse(error, "busy");
        };
        let limit = limit.min(method.longest);
        let node = node_of(&subject).cloned();
        let deadline = Deadline::after(limit, self.link.clock());
        let context = RequestContext { subject, deadline, node };
        Verdict::Work { method: method.clone(), permit, context }
    }
}

fn refuse(error: v1::Error, reason: &'static str) -> Verdict {
    Verdict::Refuse { error, reason }
}

fn expired(subject: &Subject) -> v1::Error {
    ErrorCode::Timeout
        .error(format!("the deadline of a request on {subject} passed before it was looked at"))
        .next("if this goes on, compare the clocks of the two machines")
}

/// Whether the answer may go there. Services may publish more than a sender may, so a sender must not choose freely:
/// a node's requests are answered in that node's inbox, others in some inbox.
fn may_reply(subject: &Subject, reply: &str) -> bool {
    match subject {
        Subject::NodeUp { node, .. } | Subject::NodeEvent { node, .. } => reply
            .strip_prefix("_INBOX_n.")
            .and_then(|rest| rest.strip_prefix(node.as_str()))
            .is_some_and(|rest| rest.starts_with('.')),
        _ => reply.starts_with("_INBOX"),
    }
}

fn method_of(subject: &Subject) -> &str {
    match subject {
        Subject::ServiceRpc { method, .. }
        | Subject::MemberRpc { method, .. }
        | Subject::NodeRpc { method, .. }
        | Subject::NodeUp { method, .. } => method.as_str(),
        Subject::NodeEvent { kind, .. } | Subject::Audit { kind, .. } => kind.as_str(),
        Subject::NodeStream { .. } | Subject::Config(_) => "",
    }
}

fn node_of(subject: &Subject) -> Option<&NodeId> {
    match subject {
        Subject::NodeRpc { node, .. }
        | Subject::NodeStream { node, .. }
        | Subject::NodeUp { node, .. }
        | Subject::NodeEvent { node, .. } => Some(node),
        _ => None,
    }
}

/// Runs the handler until it answers, panics or its deadline passes.
async fn work(link: &Link, method: &Method, context: RequestContext, body: Bytes) -> Handled {
    let _in_flight = InFlight::new(meters::HANDLERS_IN_FLIGHT);
    let subject = context.subject.clone();
    let limit = context.deadline.remaining();
    // The handler is dropped after a panic, and what it shares is behind locks that notice.
    let handling = AssertUnwindSafe(async { (method.handler)(context, body).await }).catch_unwind();
    match link.clock().timeout(limit, handling).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => {
            tracing::error!(%subject, "a handler panicked");
            Err(ErrorCode::Internal.error(format!("the handler of {subject} failed")))
        }
        Err(_late) => Err(ErrorCode::Timeout
            .error(format!("{subject} was not done within {} ms", limit.as_millis()))
            .next("look for the outcome with `pact log` before trying again")),
    }
}

/// Encodes the reply, or an error where it is too large.
pub(crate) fn encode_reply(link: &Link, outcome: Handled) -> Bytes {
    let encoded = |result| v1::Reply { result: Some(result) }.encode_to_vec();
    let bytes = match outcome {
        Ok(body) => encoded(reply::Result::Body(body)),
        Err(error) => encoded(reply::Result::Error(error)),
    };
    match link.over_limit(bytes.len()) {
        None => bytes.into(),
        Some(limit) => {
            let error = ErrorCode::TooLarge.error(format!(
                "the answer of {} bytes is over the bus's limit of {limit}",
                bytes.len()
            ));
            encoded(reply::Result::Error(error)).into()
        }
    }
}

async fn respond(link: &Link, request: Request, outcome: Handled) {
    let payload = encode_reply(link, outcome);
    if !link.is_connected() {
        // The caller's connection may have lived on, but its deadline is what tells it.
        counter!(meters::REPLIES_LOST).increment(1);
        return;
    }
    meters::sent(payload.len());
    tracing::trace!(inbox = request.message().reply.as_deref(), "an answer goes out");
    let responding = async {
        match request {
            Request::Plain(message) => match message.reply {
                Some(reply) => link.client.publish(reply, payload).await,
                None => Ok(()),
            },
            Request::Service(request) => request.respond(Ok(payload)).await,
        }
    };
    if !matches!(link.clock().timeout(REPLY_LIMIT, responding).await, Ok(Ok(()))) {
        counter!(meters::REPLIES_LOST).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_cannot_choose_where_services_publish() {
        let up: Subject = "pact.v1.node.n1.up.hello".parse().unwrap();
        assert!(may_reply(&up, "_INBOX_n.n1.abc.7"));
        for foreign in ["_INBOX_n.n10.abc.7", "_INBOX_s.gateway-1.x", "pact.v1.rpc.journal.entries"]
        {
            assert!(!may_reply(&up, foreign), "{foreign}");
        }
        let rpc: Subject = "pact.v1.rpc.journal.entries".parse().unwrap();
        assert!(may_reply(&rpc, "_INBOX_s.gateway-1.x"));
        assert!(!may_reply(&rpc, "pact.v1.config.global._"));
    }
}

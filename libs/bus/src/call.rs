//! Requests: one inbox, many callers.
//!
//! async-nats has requests of its own, but forgets none that was never answered (its table grows with each timeout)
//! and leaves those in flight waiting when the connection breaks. So the table is ours: an entry lives exactly as
//! long as its caller waits, and a broken connection wakes all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use metrics::counter;
use pact_schemas::v1::{self, reply};
use prost::Message as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::connection::Link;
use crate::deadline::MAX_DEADLINE;
use crate::error::{BusError, CallError};
use crate::meters::{self, InFlight};

/// Requests that may wait at once: a fan-out over a large site, with room; each costs some hundred bytes.
const MAX_WAITING: usize = 65_536;

/// The callers that wait for an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    inbox: Option<String>,
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Message>>,
}

/// One caller's place in the table, given up when dropped.
struct Waiting {
    calls: Calls,
    token: u64,
    answer: oneshot::Receiver<Message>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.calls.lock().waiting.remove(&self.token);
    }
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing under this lock can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes every caller without an answer.
    pub(crate) fn interrupt_all(&self) {
        self.lock().waiting.clear();
    }

    /// A place in the table and the subject where its answer arrives.
    fn enter(&self) -> Result<(Waiting, String), CallError> {
        let mut table = self.lock();
        if table.waiting.len() >= MAX_WAITING {
            return Err(CallError::TooMany { limit: MAX_WAITING });
        }
        let token = table.next;
        table.next += 1;
        let inbox = table.inbox.as_deref().ok_or(CallError::Disconnected)?;
        let reply = format!("{inbox}.{token}");
        let (sender, answer) = oneshot::channel();
        table.waiting.insert(token, sender);
        Ok((Waiting { calls: self.clone(), token, answer }, reply))
    }

    /// Hands an answer to its caller; late ones have none.
    fn deliver(&self, message: Message) {
        let token = message.subject.rsplit('.').next().and_then(|text| text.parse().ok());
        let caller = token.and_then(|token: u64| self.lock().waiting.remove(&token));
        tracing::trace!(inbox = %message.subject, is_late = caller.is_none(), "an answer has come");
        if let Some(caller) = caller {
            // A caller that gave up at this moment is no loss.
            let _late = caller.send(message);
        }
    }

    /// Opens the inbox and hands its messages out until `stop`.
    ///
    /// The task fails only with the connection itself, whose state everybody can see.
    pub(crate) async fn open(link: &Link, stop: CancellationToken) -> Result<(), BusError> {
        let inbox = link.client.new_inbox();
        let pattern = format!("{inbox}.*");
        let subscriber = link
            .client
            .subscribe(pattern.clone())
            .await
            .map_err(|source| BusError::Subscribe { pattern, source: source.into() })?;
        link.calls.lock().inbox = Some(inbox);
        tokio::spawn(hand_out(link.calls.clone(), subscriber, stop));
        Ok(())
    }
}

async fn hand_out(calls: Calls, mut answers: Subscriber, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break, // cancel-safe: a token
            answer = answers.next() => match answer { // cancel-safe: a channel
                Some(message) => calls.deliver(message),
                None => break,
            },
        }
    }
    calls.interrupt_all();
}

impl Link {
    /// Sends a request with its deadline and waits for its answer, for at most `limit`.
    pub(crate) async fn call(
        &self,
        subject: String,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Message, CallError> {
        let headers = self.calendar.headers(limit.min(MAX_DEADLINE));
        self.call_with(subject, headers, payload, limit).await
    }

    /// The same with other headers; with none of them, the message has no header at all.
    pub(crate) async fn call_with(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Message, CallError> {
        let limit = limit.min(MAX_DEADLINE);
        let bytes = payload.len();
        if let Some(limit) = self.over_limit(bytes) {
            return Err(CallError::TooLarge { subject, bytes, limit });
        }
        if !self.is_connected() {
            return Err(CallError::Disconnected);
        }
        let (mut waiting, reply) = self.calls.enter()?;
        // A connection lost before the entry woke nobody.
        if !self.is_connected() {
            return Err(CallError::Disconnected);
        }
        let _in_flight = InFlight::new(meters::REQUESTS_IN_FLIGHT);
        let answered = self
            .clock()
            .timeout(limit, self.send_and_wait(&subject, reply, headers, payload, &mut waiting))
            .await;
        let message = match answered {
            Ok(Some(message)) => message,
            Ok(None) => return Err(CallError::Interrupted { subject }),
            Err(_late) => {
                counter!(meters::TIMEOUTS).increment(1);
                return Err(CallError::Timeout { subject, after: limit });
            }
        };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            counter!(meters::NO_RESPONDERS).increment(1);
            return Err(CallError::NoResponders { subject });
        }
        meters::received(message.payload.len());
        Ok(message)
    }

    /// `None` when the connection broke.
    async fn send_and_wait(
        &self,
        subject: &str,
        reply: String,
        headers: HeaderMap,
        payload: Bytes,
        waiting: &mut Waiting,
    ) -> Option<Message> {
        let bytes = payload.len();
        tracing::trace!(subject, inbox = reply, "a request goes out");
        let sending =
            self.client.publish_with_reply_and_headers(subject.to_owned(), reply, headers, payload);
        sending.await.ok()?;
        meters::sent(bytes);
        (&mut waiting.answer).await.ok()
    }

    /// A request whose answer is a [`v1::Reply`].
    pub(crate) async fn call_typed<Req, Rep>(
        &self,
        subject: String,
        request: &Req,
        limit: Duration,
    ) -> Result<Rep, CallError>
    where
        Req: prost::Message,
        Rep: prost::Message + Default,
    {
        let payload = Bytes::from(request.encode_to_vec());
        let message = self.call(subject.clone(), payload, limit).await?;
        let malformed =
            |what, source| CallError::Malformed { subject: subject.clone(), what, source };
        let reply = v1::Reply::decode(message.payload)
            .map_err(|source| malformed("it is no reply of pact", Some(source)))?;
        match reply.result {
            Some(reply::Result::Body(body)) => Rep::decode(body.as_slice())
                .map_err(|source| malformed("its body does not decode", Some(source))),
            Some(reply::Result::Error(error)) if error.code.is_empty() => {
                Err(malformed("its error has no code", None))
            }
            Some(reply::Result::Error(error)) => Err(CallError::Service(error)),
            None => Err(malformed("it has neither body nor error", None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_as_long_as_its_caller_waits() {
        let calls = Calls::default();
        assert!(matches!(calls.enter(), Err(CallError::Disconnected)));
        calls.lock().inbox = Some("_INBOX_s.x.y".to_owned());
        let (first, reply) = calls.enter().unwrap();
        let (second, other) = calls.enter().unwrap();
        assert_ne!(reply, other);
        assert_eq!(calls.lock().waiting.len(), 2);
        drop(first);
        assert_eq!(calls.lock().waiting.len(), 1);
        calls.interrupt_all();
        assert!(second.answer.is_terminated() || calls.lock().waiting.is_empty());
    }
}

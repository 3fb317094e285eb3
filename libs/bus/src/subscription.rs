//! Messages that want no answer: configuration announcements, the server's own events.

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use metrics::counter;
use pact_schemas::Subject;
use tokio::sync::watch;

use crate::deadline::Calendar;
use crate::meters;

/// What a subscription brings.
#[derive(Debug)]
pub enum Delivery {
    /// A message, still within its deadline.
    Message(Incoming),
    /// Messages may be missing since the last delivery (a reconnect, an overflow): look at the source again.
    Resync,
}

/// A message that arrived.
#[derive(Debug)]
pub struct Incoming {
    /// The subject as it came.
    pub subject: String,
    /// The body.
    pub payload: Bytes,
}

impl Incoming {
    /// The subject, if it is one of pact's.
    #[must_use]
    pub fn parsed_subject(&self) -> Option<Subject> {
        self.subject.parse().ok()
    }
}

/// A subscription; ends when dropped. Holds at most 8,192 messages, then loses some and says so.
#[derive(Debug)]
pub struct Subscription {
    messages: Subscriber,
    resyncs: watch::Receiver<u64>,
    calendar: Calendar,
}

impl Subscription {
    pub(crate) fn new(
        messages: Subscriber,
        resyncs: watch::Receiver<u64>,
        calendar: Calendar,
    ) -> Self {
        Self { messages, resyncs, calendar }
    }

    /// The next message or resync; `None` once the bus is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let message: Message = tokio::select! {
                biased; // a resync is told before the messages that came after the gap
                changed = self.resyncs.changed() => { // cancel-safe: a watch
                    changed.ok()?;
                    return Some(Delivery::Resync);
                }
                message = self.messages.next() => message?, // cancel-safe: a channel
            };
            meters::received(message.payload.len());
            if self.calendar.judge(message.headers.as_ref()).is_err() {
                counter!(meters::EXPIRED).increment(1);
                continue;
            }
            let subject = message.subject.to_string();
            return Some(Delivery::Message(Incoming { subject, payload: message.payload }));
        }
    }
}

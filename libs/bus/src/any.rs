//! Requests that any member of a queue group may answer.
//!
//! nats-server gives each request to one member. A member that was cut off without a word keeps its share until the server misses
//! its pings, so that a request may wait in vain though others would answer at once. Such a request is sent again while the first
//! one waits, each time after twice as long: in three members with one that is silent, the fourth is in vain once in eighty times.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use metrics::counter;
use pact_schemas::Subject;

use crate::bus::Bus;
use crate::error::CallError;
use crate::meters;

/// How often one request is sent at most.
const MAX_SENT: u32 = 5;

impl Bus {
    /// As [`Bus::request`], for requests that do no harm when they are carried out twice: it is sent again when there is no answer
    /// after `again`, then after twice that, and so on. The first answer counts; `deadline` bounds all of it.
    ///
    /// # Errors
    /// [`CallError`]; one that only says that a member is silent or gone comes when no other may answer any more.
    pub async fn request_any<Req, Rep>(
        &self,
        subject: &Subject,
        request: &Req,
        again: Duration,
        deadline: Duration,
    ) -> Result<Rep, CallError>
    where
        Req: prost::Message,
        Rep: prost::Message + Default,
    {
        let clock = self.link().clock();
        let started = clock.monotonic();
        let waited = || clock.monotonic().saturating_sub(started);
        let mut under_way = FuturesUnordered::new();
        under_way.push(self.request(subject, request, deadline));
        let (mut sent, mut next_at) = (1, again);
        loop {
            let left = deadline.saturating_sub(waited());
            let pause = next_at.saturating_sub(waited());
            tokio::select! {
                biased; // an answer that is there counts
                Some(answer) = under_way.next() => match answer { // cancel-safe: what is under way stays there
                    Err(error) if !under_way.is_empty() && is_silence(&error) => {}
                    answer => return answer,
                },
                () = clock.sleep(pause), if sent < MAX_SENT && pause < left => { // cancel-safe: begins anew
                    counter!(meters::SENT_AGAIN).increment(1);
                    under_way.push(self.request(subject, request, left.saturating_sub(pause)));
                    sent += 1;
                    next_at += again * 2_u32.pow(sent - 1);
                }
            }
        }
    }
}

/// Whether another member may still answer.
fn is_silence(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Timeout { .. } | CallError::NoResponders { .. } | CallError::Interrupted { .. }
    )
}

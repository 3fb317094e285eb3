//! Requests that may be carried out twice, and so may be sent twice.
//!
//! The bus loses requests and says nothing: with a process that is killed, with a member that was cut off and keeps its share of the
//! queue until the server misses its pings, and with a service that ends in order, for what is on its way while it unsubscribes (the
//! client library forgets a subscription before the server does). So such a request is sent again while the first one waits, each
//! time after twice as long: in three members with one that is silent, the fourth is in vain once in eighty times. Where the one that
//! was asked has left meanwhile, the server says so to the second request, and nobody is waited for any more.

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

/// Who leaves the bus answers what it has begun, within milliseconds; later than this after it has left it is not waited for.
const LAST_ANSWERS: Duration = Duration::from_millis(250);

impl Bus {
    /// As [`Bus::request`], for requests that do no harm when they are carried out twice, which is so for reads and for whatever
    /// carries a request id: it is sent again when there is no answer after `again`, then after twice that, and so on. The first
    /// answer counts; `deadline` bounds all of it.
    ///
    /// # Errors
    /// [`CallError`]; one that only says that a member is silent comes when no other may answer any more, and [`CallError::Gone`]
    /// when nobody is there any more.
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
        let mut last_answers_until = None;
        loop {
            let left = deadline.saturating_sub(waited());
            let pause = next_at.saturating_sub(waited());
            let last_answers =
                last_answers_until.map(|until: Duration| until.saturating_sub(waited()));
            tokio::select! {
                biased; // an answer that is there counts
                Some(answer) = under_way.next() => match answer { // cancel-safe: what is under way stays there
                    Err(CallError::NoResponders { .. }) if sent > 1 && under_way.is_empty() => {
                        return Err(gone(subject));
                    }
                    Err(CallError::NoResponders { .. }) if sent > 1 => {
                        last_answers_until.get_or_insert_with(|| waited() + LAST_ANSWERS);
                    }
                    Err(error) if !under_way.is_empty() && is_silence(&error) => {}
                    answer => return answer,
                },
                () = clock.sleep(last_answers.unwrap_or_default()), if last_answers.is_some() => { // cancel-safe: begins anew
                    return Err(gone(subject));
                }
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

fn gone(subject: &Subject) -> CallError {
    CallError::Gone { subject: subject.to_string() }
}

/// Whether another member may still answer.
fn is_silence(error: &CallError) -> bool {
    matches!(error, CallError::Timeout { .. } | CallError::Interrupted { .. })
}

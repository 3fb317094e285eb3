//! From the gateway to one client that reads a stream: a bounded queue whose last word always has room.
//!
//! A client may stop reading at any time: a person looks at a pager, a machine was unplugged. What fills the queue then
//! waits, as it must, but nothing else does: the watch over the token, the drain and the client's absence run beside it,
//! and end it by dropping it, which cancels what runs on the nodes. The error that says so has a place of its own in the
//! queue, so that saying it waits for nobody.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::{ErrorCode, v1};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use super::sessions::Session;

/// A client that takes nothing for so long is given up: longer than people leave a pager, short enough that forgotten
/// ones do not add up.
const STUCK_AFTER: Duration = Duration::from_secs(300);

/// How often it is looked whether the client takes anything.
const LOOK: Duration = Duration::from_secs(10);

/// The gateway's end. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    queue: mpsc::Sender<Result<T, Status>>,
    taken: Arc<AtomicU64>,
}

/// Room for the error that ends the stream.
#[derive(Debug)]
pub(crate) struct LastWord<T>(Option<mpsc::OwnedPermit<Result<T, Status>>>);

/// The client's end. The session is open as long as anything waits here.
#[derive(Debug)]
pub(crate) struct Outflow<T> {
    queue: mpsc::Receiver<Result<T, Status>>,
    taken: Arc<AtomicU64>,
    _session: Option<Session>,
}

/// The client does not listen any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// A stream on which `room` items may wait for the client.
pub(crate) fn outlet<T>(
    room: usize,
    session: Option<Session>,
) -> (Outlet<T>, LastWord<T>, Outflow<T>) {
    let (sender, queue) = mpsc::channel(room + 1);
    let last = sender.clone().try_reserve_owned().ok(); // it is empty
    let taken = Arc::new(AtomicU64::new(0));
    let outlet = Outlet { queue: sender, taken: Arc::clone(&taken) };
    (outlet, LastWord(last), Outflow { queue, taken, _session: session })
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), taken: Arc::clone(&self.taken) }
    }
}

impl<T> Outlet<T> {
    /// Waits for room, for as long as it takes: to be used within [`serve`] alone.
    pub(crate) async fn send(&self, item: Result<T, Status>) -> Result<(), Gone> {
        self.queue.send(item).await.map_err(|_| Gone)
    }

    /// Returns once the queue was full and nothing was taken from it for [`STUCK_AFTER`].
    async fn stuck(&self, clock: &Clock) {
        let mut last = (self.taken.load(Ordering::Relaxed), clock.monotonic());
        loop {
            clock.sleep(LOOK).await;
            let (taken, now) = (self.taken.load(Ordering::Relaxed), clock.monotonic());
            if taken != last.0 || self.queue.capacity() > 0 {
                last = (taken, now);
            } else if now.saturating_sub(last.1) >= STUCK_AFTER {
                return;
            }
        }
    }
}

/// Does `work`, which fills the outlet, until it is done, its client is gone or takes nothing, or `stop` says why it ends.
///
/// `work` is dropped before the reason is said; saying it waits for nobody.
pub(crate) async fn serve<T>(
    clock: &Clock,
    outlet: Outlet<T>,
    last: LastWord<T>,
    work: impl Future<Output = Option<v1::Error>>,
    stop: impl Future<Output = v1::Error>,
) {
    let ended = tokio::select! {
        ended = work => ended, // its own to end
        () = outlet.queue.closed() => None, // cancel-safe
        () = outlet.stuck(clock) => Some(not_taken()), // holds nothing
        error = stop => Some(error), // holds nothing
    };
    if let (Some(error), Some(room)) = (ended, last.0) {
        if error.known_code() == ErrorCode::Timeout {
            metrics::counter!("pact_gateway_stuck_clients_total").increment(1);
        }
        let _queue = room.send(Err(error.into_status()));
    }
}

fn not_taken() -> v1::Error {
    ErrorCode::Timeout
        .error(format!("nothing was read for {} s, so the stream was ended", STUCK_AFTER.as_secs()))
        .because("what runs for a client ends with the client")
        .next("what was recorded meanwhile is in `pact log`")
}

impl<T> Stream for Outflow<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.queue.poll_recv(cx));
        self.taken.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use pact_runtime::{CancellationToken, ManualClock, Timestamp};
    use tokio_stream::StreamExt as _;

    use super::*;

    /// Something that produces without end and tells when it is dropped.
    async fn endless(outlet: Outlet<u32>, dropped: CancellationToken) -> Option<v1::Error> {
        let _guard = dropped.drop_guard();
        let mut number = 0;
        while outlet.send(Ok(number)).await.is_ok() {
            number += 1;
        }
        None
    }

    fn clock() -> (Clock, ManualClock) {
        Clock::manual(Timestamp::from_unix_nanos(0))
    }

    async fn rest(outflow: Outflow<u32>) -> (Vec<u32>, Option<ErrorCode>) {
        let (mut items, mut error) = (Vec::new(), None);
        let all: Vec<_> = outflow.collect().await;
        for item in all {
            match item {
                Ok(item) => items.push(item),
                Err(status) => error = v1::Error::from_status(&status).map(|e| e.known_code()),
            }
        }
        (items, error)
    }

    #[tokio::test]
    async fn what_ends_a_stream_does_not_wait_for_a_client_that_does_not_read() {
        let (clock, _hand) = clock();
        let (out, last, outflow) = outlet(4, None);
        let (dropped, refused) = (CancellationToken::new(), CancellationToken::new());
        let work = endless(out.clone(), dropped.clone());
        let stop = async {
            refused.cancelled().await;
            ErrorCode::Unauthenticated.error("expired")
        };
        let refuse = async {
            while out.queue.capacity() > 0 {
                tokio::task::yield_now().await;
            }
            refused.cancel();
        };
        tokio::join!(serve(&clock, out.clone(), last, work, stop), refuse);
        assert!(dropped.is_cancelled(), "what it worked for is cancelled");
        drop(out);
        let told = (vec![0, 1, 2, 3], Some(ErrorCode::Unauthenticated));
        assert_eq!(rest(outflow).await, told, "and the client is told when it reads again");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (clock, hand) = clock();
        let (out, last, outflow) = outlet(4, None);
        let dropped = CancellationToken::new();
        let work = endless(out.clone(), dropped.clone());
        let wait = async {
            let looks = STUCK_AFTER.as_secs() / LOOK.as_secs();
            for look in 0..looks {
                assert!(!dropped.is_cancelled(), "not before look {look}");
                hand.wait_for_sleepers(1).await;
                hand.advance(LOOK);
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(serve(&clock, out.clone(), last, work, pending()), wait);
        drop(out);
        assert_eq!(rest(outflow).await, (vec![0, 1, 2, 3], Some(ErrorCode::Timeout)));
    }

    #[tokio::test]
    async fn a_client_that_takes_something_now_and_then_is_not() {
        let (clock, hand) = clock();
        let (out, last, mut outflow) = outlet(4, None);
        let dropped = CancellationToken::new();
        let work = endless(out.clone(), dropped.clone());
        let serving = serve(&clock, out, last, work, pending());
        let reading = async {
            for expected in 0..8 {
                hand.wait_for_sleepers(1).await;
                hand.advance(STUCK_AFTER - LOOK);
                assert_eq!(outflow.next().await.unwrap().unwrap(), expected);
                tokio::task::yield_now().await;
            }
            assert!(!dropped.is_cancelled());
            drop(outflow);
        };
        tokio::join!(serving, reading);
        assert!(dropped.is_cancelled(), "a client that is gone ends it too");
    }

    #[tokio::test]
    async fn work_that_is_done_ends_the_stream_without_an_error() {
        let (clock, _hand) = clock();
        let (out, last, outflow) = outlet(4, None);
        let sender = out.clone();
        let work = async move {
            sender.send(Ok(1)).await.unwrap();
            None
        };
        serve(&clock, out, last, work, pending()).await;
        assert_eq!(rest(outflow).await, (vec![1], None));
    }
}

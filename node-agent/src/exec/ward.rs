//! The agent's side of a warden (`crate::warden`): what it reports, and the two orders that it takes.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pact_runtime::Clock;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::processes::Identity;
use crate::warden::{REPORT_BYTES, Report, TERMINATE};

/// Killing takes milliseconds. What takes longer waits in the kernel (a dead network mount) and ends when the kernel lets it; the
/// warden stays with it.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How the command itself ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) status: Option<i32>,
    pub(crate) signal: Option<i32>,
}

/// What the warden has reported so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    started: Option<Result<Identity, i32>>,
    ended: Option<Status>,
    is_alone: bool,
    /// Everything is gone, after killing so many.
    done: Option<u64>,
    /// The warden says nothing more.
    is_silent: bool,
}

/// A warden and what it watches over. Dropped, everything below the warden is killed.
#[derive(Debug)]
pub(crate) struct Ward {
    warden: Child,
    orders: OwnedWriteHalf,
    seen: watch::Receiver<Seen>,
    _listening: AbortOnDropHandle<()>,
}

impl Ward {
    /// A warden that was just started; `socket` is the agent's end, non-blocking.
    pub(crate) fn new(warden: Child, socket: UnixStream) -> io::Result<Self> {
        let (reports, orders) = tokio::net::UnixStream::from_std(socket)?.into_split();
        let (sender, seen) = watch::channel(Seen::default());
        // Ends with the warden, or with the ward.
        let listening = AbortOnDropHandle::new(tokio::spawn(listen(reports, sender)));
        Ok(Self { warden, orders, seen, _listening: listening })
    }

    /// Waits until the command runs, or the system has refused it; `None` when the warden is gone.
    pub(crate) async fn started(&mut self) -> Option<io::Result<Identity>> {
        let seen = self.wait(|seen| seen.started.is_some()).await;
        Some(seen.started?.map_err(io::Error::from_raw_os_error))
    }

    /// Waits until the command itself has ended, or the warden is gone. Cancel-safe.
    pub(crate) async fn ended(&mut self) {
        self.wait(|seen| seen.ended.is_some()).await;
    }

    /// Waits until nothing that it started is left, or the warden is gone. Cancel-safe.
    pub(crate) async fn alone(&mut self) {
        self.wait(|seen| seen.is_alone).await;
    }

    /// How the command ended; `None` while it runs, or when nobody knows.
    pub(crate) fn status(&self) -> Option<Status> {
        self.seen.borrow().ended
    }

    /// Asks the command's process group to end.
    pub(crate) fn terminate(&self) {
        // The socket holds far more than one order; a warden that is gone has nothing to end.
        let _sent = self.orders.try_write(&[TERMINATE]);
    }

    /// Kills everything that is left. Returns how the command ended and how many others had to be killed, `None` when the warden
    /// does not say that all are gone.
    pub(crate) async fn end(self, clock: &Clock) -> (Option<Status>, Option<u64>) {
        let Self { mut warden, orders, mut seen, _listening } = self;
        drop(orders);
        let ending = async {
            // Cannot fail before the warden is silent: the sender lives as long as it listens.
            drop(seen.wait_for(|seen| seen.done.is_some() || seen.is_silent).await);
            // Reaps it; what it says is said.
            let _reaped = warden.wait().await;
        };
        let _late = clock.timeout(END_LIMIT, ending).await;
        let seen = *seen.borrow();
        (seen.ended, seen.done)
    }

    async fn wait(&mut self, has: impl Fn(&Seen) -> bool) -> Seen {
        // Fails when the warden is silent, and then what it has said is all there is.
        let seen =
            self.seen.wait_for(|seen| has(seen) || seen.is_silent).await.ok().map(|seen| *seen);
        seen.unwrap_or_else(|| *self.seen.borrow())
    }
}

/// Takes reports until there are no more.
async fn listen(mut reports: OwnedReadHalf, seen: watch::Sender<Seen>) {
    let mut bytes = [0; REPORT_BYTES];
    while reports.read_exact(&mut bytes).await.is_ok() {
        let Some(report) = Report::decode(&bytes) else { break };
        seen.send_modify(|seen| match report {
            Report::Started { leader } => seen.started = Some(Ok(leader)),
            Report::Failed { errno } => seen.started = Some(Err(errno)),
            Report::Exited { status } => {
                seen.ended = Some(Status { status: Some(status), signal: None });
            }
            Report::Signalled { signal } => {
                seen.ended = Some(Status { status: None, signal: Some(signal) });
            }
            Report::Alone => seen.is_alone = true,
            Report::Done { killed } => seen.done = Some(killed),
        });
    }
    seen.send_modify(|seen| seen.is_silent = true);
}

//! One thread per provider: what a provider is asked has a deadline, and a provider that does not answer keeps nobody else.
//!
//! A question that is not answered in time makes the provider *silent*: since when and over what is told to whoever asks
//! next, at once. The thread itself cannot be ended (a call may be uninterruptible): there is one for as long as the
//! provider lives, and nobody waits for its end. The answer that comes late ends the silence, though only when the engine
//! takes it ([`Worker::back`]): within one piece of the engine's work a provider is either silent or not. What such an
//! answer found is taken in as if it were new; of a write that ends late the engine learns by looking.
//!
//! A provider writes only what still is as it was observed, and a question that was given up before its turn is never begun.

use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::resource::{Dimension, Kind, ResourceKey, Value};

use crate::provider::{Found, Poll, Provider, ProviderError};

/// Questions that wait for a thread: the engine asks one at a time, and asks a silent provider nothing.
const WAITING_JOBS: usize = 1;

/// Keys that are to be looked at when the provider is back; beyond that everything is.
const MAX_MISSED: usize = 1_024;

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// A look, a poll, a search: providers bound what they do at once.
    pub(super) look: Duration,
    /// A change, synced to a disk that may be busy.
    pub(super) write: Duration,
    /// The first look at everything: until it is over, windows of an earlier run do not know their keys.
    pub(super) first_scan: Duration,
    /// After a late answer, until one comes in time again.
    pub(super) slow: Duration,
}

impl Patience {
    /// For a node at work.
    pub(super) const USUAL: Self = Self {
        look: Duration::from_secs(5),
        write: Duration::from_secs(20),
        first_scan: Duration::from_secs(60),
        slow: Duration::from_secs(1),
    };
}

/// What a provider is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Scanning,
    Reading,
    Writing,
    Watching,
    Searching,
    Keeping,
}

impl Doing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Scanning => "scanning",
            Self::Reading => "reading",
            Self::Writing => "writing",
            Self::Watching => "watching",
            Self::Searching => "searching for holders",
            Self::Keeping => "keeping contents",
        }
    }
}

/// What a full look found: as many keys as were asked for, and how many more differ.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) found: Vec<Found>,
    pub(super) beyond: usize,
}

/// What an answer that came late brings.
#[derive(Debug)]
pub(super) enum Late {
    /// Nothing that lasts.
    Nothing,
    Read(ResourceKey, Value),
    Scanned(Scanned),
    Polled(Poll),
}

/// A provider that answers again.
#[derive(Debug)]
pub(super) struct Back {
    pub(super) kinds: &'static [Kind],
    pub(super) late: Late,
    /// Keys that could not be looked at meanwhile.
    pub(super) missed: BTreeSet<ResourceKey>,
    /// More than that was missed.
    pub(super) is_rescan_due: bool,
}

type Job = Box<dyn FnOnce(&mut dyn Provider) -> ControlFlow<()> + Send>;
type Answer<T> = Result<(T, Option<Duration>), Box<dyn Any + Send>>;

/// A question without an answer so far.
struct Silence {
    since: Duration,
    doing: Doing,
    /// Looks for the answer.
    late: Box<dyn FnMut() -> Option<Late> + Send>,
}

/// A provider on a thread of its own.
pub(super) struct Worker {
    kinds: &'static [Kind],
    jobs: SyncSender<Job>,
    readiness: io::Result<Option<OwnedFd>>,
    next_poll: Option<Duration>,
    silence: Option<Silence>,
    is_slow: bool,
    has_scanned: bool,
    missed: BTreeSet<ResourceKey>,
    is_rescan_due: bool,
    patience: Patience,
    clock: Clock,
}

impl Worker {
    /// Gives the provider its thread, which ends with this, or never where the provider hangs.
    pub(super) fn spawn(
        mut provider: Box<dyn Provider>,
        patience: Patience,
        clock: Clock,
    ) -> io::Result<Self> {
        let (kinds, readiness) = (provider.kinds(), provider.readiness());
        let (jobs, waiting) = sync_channel::<Job>(WAITING_JOBS);
        let name = kinds.first().map_or("provider", |kind| kind.dimension().as_str());
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Ok(job) = waiting.recv() {
                if job(provider.as_mut()).is_break() {
                    return;
                }
            }
        })?;
        Ok(Self {
            kinds,
            jobs,
            readiness,
            next_poll: None,
            silence: None,
            is_slow: false,
            has_scanned: false,
            missed: BTreeSet::new(),
            is_rescan_due: false,
            patience,
            clock,
        })
    }

    pub(super) fn serves(&self, key: &ResourceKey) -> bool {
        self.kinds.contains(&key.kind())
    }

    /// In which time it wants to be polled, as it said with its last answer.
    pub(super) fn next_poll(&self) -> Option<Duration> {
        self.next_poll
    }

    /// The descriptor that tells of changes.
    pub(super) fn readiness(&self) -> io::Result<Option<OwnedFd>> {
        match &self.readiness {
            Ok(ready) => ready.as_ref().map(OwnedFd::try_clone).transpose(),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }

    /// Asks, and waits for the answer as long as this question deserves. `late` says what an answer brings that comes later.
    pub(super) fn ask<T: Send + 'static>(
        &mut self,
        doing: Doing,
        late: impl FnOnce(T) -> Late + Send + 'static,
        work: impl FnOnce(&mut dyn Provider) -> T + Send + 'static,
    ) -> Result<T, ProviderError> {
        if let Some(error) = self.silence() {
            self.is_rescan_due |= doing == Doing::Scanning;
            return Err(error);
        }
        let since = self.clock.monotonic();
        let (answer, answered) = sync_channel::<Answer<T>>(1);
        let is_given_up = Arc::new(AtomicBool::new(false));
        let job = job(Arc::clone(&is_given_up), answer, work);
        if self.jobs.try_send(job).is_err() {
            gone();
        }
        match answered.recv_timeout(self.patience(doing)) {
            Ok(Ok((done, next_poll))) => {
                (self.next_poll, self.is_slow) = (next_poll, false);
                self.has_scanned |= doing == Doing::Scanning;
                Ok(done)
            }
            // It was the engine's own call, on another thread.
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_late) => {
                is_given_up.store(true, Ordering::Release);
                self.silence = Some(Silence { since, doing, late: awaited(answered, late) });
                let error = self.unanswered(since, doing);
                tracing::error!("{error}; nothing else waits for it");
                Err(error)
            }
        }
    }

    fn patience(&self, doing: Doing) -> Duration {
        match doing {
            Doing::Scanning if !self.has_scanned => self.patience.first_scan,
            _ if self.is_slow => self.patience.slow,
            Doing::Writing => self.patience.write,
            _ => self.patience.look,
        }
    }

    /// Why nothing can be asked; `None`: it can.
    pub(super) fn silence(&self) -> Option<ProviderError> {
        self.silence.as_ref().map(|silence| self.unanswered(silence.since, silence.doing))
    }

    fn unanswered(&self, since: Duration, doing: Doing) -> ProviderError {
        let dimension = self.kinds.first().map_or(Dimension::Files, |kind| kind.dimension());
        let waited = self.clock.monotonic().saturating_sub(since);
        ProviderError::Silent { dimension, doing: doing.as_str(), waited }
    }

    /// A key is to be looked at when the provider is back.
    pub(super) fn miss(&mut self, key: &ResourceKey) {
        if self.missed.len() < MAX_MISSED {
            self.missed.insert(key.clone());
        } else {
            self.is_rescan_due = true;
        }
    }

    /// Takes the answer that came late; `None`: there is none, or none was waited for.
    pub(super) fn back(&mut self) -> Option<Back> {
        let late = (self.silence.as_mut()?.late)()?;
        let was = self.silence()?.to_string();
        tracing::warn!(was, "the provider answers again");
        (self.silence, self.is_slow) = (None, true);
        self.has_scanned |= matches!(late, Late::Scanned(_));
        let mut missed = std::mem::take(&mut self.missed);
        if let Late::Read(key, _) = &late {
            missed.remove(key);
        }
        let is_rescan_due = std::mem::take(&mut self.is_rescan_due);
        Some(Back { kinds: self.kinds, late, missed, is_rescan_due })
    }
}

/// Work for the thread, with its answer.
fn job<T: Send + 'static>(
    is_given_up: Arc<AtomicBool>,
    answer: SyncSender<Answer<T>>,
    work: impl FnOnce(&mut dyn Provider) -> T + Send + 'static,
) -> Job {
    Box::new(move |provider| {
        if is_given_up.load(Ordering::Acquire) {
            return ControlFlow::Continue(());
        }
        let done = catch_unwind(AssertUnwindSafe(|| {
            let done = work(provider);
            (done, provider.next_poll())
        }));
        let goes_on = if done.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        // Nobody may be there to hear it.
        let _unheard = answer.try_send(done);
        goes_on
    })
}

/// Looks for an answer that comes late.
fn awaited<T: Send + 'static>(
    answered: Receiver<Answer<T>>,
    late: impl FnOnce(T) -> Late + Send + 'static,
) -> Box<dyn FnMut() -> Option<Late> + Send> {
    let mut late = Some(late);
    Box::new(move || match answered.try_recv() {
        Ok(Ok((done, _))) => late.take().map(|late| late(done)),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(TryRecvError::Empty) => None,
        // It was never begun.
        Err(TryRecvError::Disconnected) => Some(Late::Nothing),
    })
}

/// A provider whose thread has ended with a panic ends the engine's thread too: nobody knows what it left.
fn gone() -> ! {
    resume_unwind(Box::new("a provider's thread has ended"))
}

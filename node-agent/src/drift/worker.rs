//! A thread for each provider: whoever needs it waits for a bounded time, and what hangs is a state with a name.
//!
//! A call that the kernel does not return from (a file system that is gone, a driver that is stuck) cannot be ended. So the
//! provider lives on a thread of its own, does one thing at a time, and whoever asks stops waiting at a deadline. From then on
//! the provider is *silent*: it is asked nothing more, every question is answered at once with that error, and nothing else
//! waits. It ends when the call returns; what a scan found that late is handed out then. The thread is never joined.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;
use std::{io, thread};

use pact_runtime::{Clock, Timestamp};
use pact_schemas::resource::{Dimension, Kind};

use crate::provider::{Provider, ProviderError};

/// How long is waited for what a provider does at one go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// A look at keys, a search for holders: a large file is read for its digest meanwhile.
    pub(crate) look: Duration,
    /// Some keys written and synced, a module loaded.
    pub(crate) change: Duration,
    /// Everything under watch; a longer scan goes on, and is taken when it is over.
    pub(crate) scan: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { look: seconds(15), change: seconds(60), scan: seconds(60) }
    }
}

/// A dimension that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    /// Which.
    pub(crate) dimension: Dimension,
    /// What it was asked to do.
    pub(crate) doing: &'static str,
    /// Since when.
    pub(crate) since: Timestamp,
    /// The same, by a clock that does not jump.
    began: Duration,
}

type Answer = Box<dyn Any + Send>;
type Job = Box<dyn FnOnce(&mut dyn Provider) -> Answer + Send>;

/// What a job came to, and in which time the provider wants to be polled.
struct Done {
    answer: thread::Result<Answer>,
    next_poll: Option<Duration>,
}

/// A provider on its thread.
pub(super) struct Worker {
    kinds: &'static [Kind],
    dimension: Dimension,
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
    next_poll: Option<Duration>,
    /// What it is at; between two questions: what it has not answered in time.
    busy: Option<Silence>,
    /// It was silent, and answers again.
    is_back: bool,
    late: Option<Answer>,
    clock: Clock,
}

impl Worker {
    /// Gives the provider its thread. A provider answers for at least one kind.
    pub(super) fn start(mut provider: Box<dyn Provider>, clock: Clock) -> io::Result<Self> {
        let kinds = provider.kinds();
        let Some(dimension) = kinds.first().map(|kind| kind.dimension()) else {
            return Err(io::Error::other("a provider of nothing"));
        };
        let next_poll = provider.next_poll();
        // One job at a time: neither side ever waits for room.
        let (jobs, waiting) = sync_channel::<Job>(1);
        let (answers, done) = sync_channel::<Done>(1);
        thread::Builder::new().name(format!("drift-{dimension}")).spawn(move || {
            while let Ok(job) = waiting.recv() {
                let answer = catch_unwind(AssertUnwindSafe(|| job(provider.as_mut())));
                let is_over = answer.is_err();
                let next_poll = if is_over { None } else { provider.next_poll() };
                if answers.send(Done { answer, next_poll }).is_err() || is_over {
                    return;
                }
            }
        })?;
        let (busy, late, is_back) = (None, None, false);
        Ok(Self { kinds, dimension, jobs, done, next_poll, busy, is_back, late, clock })
    }

    pub(super) fn kinds(&self) -> &'static [Kind] {
        self.kinds
    }

    /// The provider's own word on when to poll.
    pub(super) fn next_poll(&self) -> Option<Duration> {
        self.next_poll
    }

    /// What it has not answered; `None`: it answers.
    pub(super) fn silence(&self) -> Option<Silence> {
        self.busy
    }

    /// Whether it answers again, since this was asked last: what it was told meanwhile did not reach it.
    pub(super) fn has_come_back(&mut self) -> bool {
        self.notice();
        std::mem::take(&mut self.is_back)
    }

    /// Has the provider do something, and waits for it.
    pub(super) fn ask<T: Send + 'static>(
        &mut self,
        doing: &'static str,
        patience: Duration,
        work: impl FnOnce(&mut dyn Provider) -> T + Send + 'static,
    ) -> Result<T, ProviderError> {
        self.begin(doing, work)?;
        self.answer(patience)
    }

    /// Has the provider do something; [`Worker::answer`] waits for it.
    pub(super) fn begin<T: Send + 'static>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&mut dyn Provider) -> T + Send + 'static,
    ) -> Result<(), ProviderError> {
        self.notice();
        if let Some(silence) = self.busy {
            return Err(self.silent(silence));
        }
        let (since, began) = (self.clock.now(), self.clock.monotonic());
        let silence = Silence { dimension: self.dimension, doing, since, began };
        self.busy = Some(silence);
        let job: Job = Box::new(move |provider| Box::new(work(provider)));
        // A thread that has ended took its panic to whoever asked; it stays silent.
        self.jobs.send(job).map_err(|_| self.silent(silence))
    }

    /// What was begun, if it is done within this time.
    pub(super) fn answer<T: 'static>(&mut self, patience: Duration) -> Result<T, ProviderError> {
        let Some(silence) = self.busy else { return self.none() };
        match self.done.recv_timeout(patience) {
            Ok(done) => self.opened(done).map_or_else(|| self.none(), Ok),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let (dimension, doing) = (silence.dimension, silence.doing);
                tracing::error!(%dimension, doing, "it does not answer; everything else goes on");
                Err(self.silent(silence))
            }
        }
    }

    /// What was answered after the deadline, if it was this.
    pub(super) fn late<T: 'static>(&mut self) -> Option<T> {
        self.notice();
        self.late.take().and_then(|late| late.downcast().ok()).map(|late| *late)
    }

    fn notice(&mut self) {
        let Some(silence) = self.busy else { return };
        match self.done.try_recv() {
            Ok(done) => {
                self.late = self.unpacked(done);
                self.is_back = true;
                tracing::warn!(dimension = %silence.dimension, doing = silence.doing, "it answers again");
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
    }

    fn opened<T: 'static>(&mut self, done: Done) -> Option<T> {
        self.unpacked(done)?.downcast().ok().map(|answer| *answer)
    }

    fn unpacked(&mut self, done: Done) -> Option<Answer> {
        (self.busy, self.next_poll) = (None, done.next_poll);
        match done.answer {
            Ok(answer) => Some(answer),
            // As if it had been called here.
            Err(panic) => resume_unwind(panic),
        }
    }

    fn silent(&self, silence: Silence) -> ProviderError {
        let lasts = self.clock.monotonic().saturating_sub(silence.began);
        ProviderError::Silent { dimension: silence.dimension, doing: silence.doing, lasts }
    }

    /// Answers are of what was asked: this is never reached.
    fn none<T>(&self) -> Result<T, ProviderError> {
        let (dimension, doing) = (self.dimension, "answering something else");
        Err(ProviderError::Silent { dimension, doing, lasts: Duration::ZERO })
    }
}

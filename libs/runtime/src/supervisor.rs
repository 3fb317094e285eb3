//! Tasks that say what their failure means, and the drain.
//!
//! A task gets a [`CancellationToken`]; when it is cancelled, the task stops taking work, finishes what it has and
//! returns. Failing is: returning an error, panicking, or returning before the token is cancelled (a server loop
//! that ends by itself is broken, however friendly its `Ok`).
//!
//! Drain: SIGTERM, SIGINT, [`Supervisor::shutdown`] or a failed task cancels the token; tasks have the grace period;
//! then they are aborted and named. A second signal ends the process at once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::clock::Clock;
use crate::metrics::{TASK_FAILURES, TASK_RESTARTS};
use crate::process::exit_now;
use crate::signals::{StopSignal, StopSignals};

/// What any task error becomes.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Aborted tasks end at their next await; one that blocks its thread never does, and is left behind after this.
const ABORT_WAIT: Duration = Duration::from_secs(1);

/// What the failure of a task means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The service cannot do its work without it: drain, and exit with an error that names the task.
    Shutdown,
    /// Log, count, wait, make it again.
    Restart {
        /// How long to wait.
        backoff: Backoff,
    },
}

/// Waits between restarts: `first`, doubled each time up to `max`; back to `first` once a run has lasted `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// Quick enough for a hiccup, slow enough for an outage: 200 ms to 10 s.
    pub const STANDARD: Self =
        Self { first: Duration::from_millis(200), max: Duration::from_secs(10) };

    fn doubled(self, wait: Duration) -> Duration {
        wait.saturating_mul(2).min(self.max)
    }
}

/// Why a run ended without a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Asked to, and every task finished in time.
    Drained {
        /// The signal; `None` after [`Supervisor::shutdown`].
        signal: Option<StopSignal>,
    },
    /// Asked to, and these tasks were aborted when the grace period was over.
    GraceExceeded {
        /// Names of the aborted tasks.
        tasks: Vec<String>,
    },
}

/// How a task failed.
#[derive(Debug, thiserror::Error)]
pub enum TaskFault {
    /// It returned an error.
    #[error("returned an error")]
    Error(#[source] BoxError),
    /// It panicked.
    #[error("panicked: {message}")]
    Panic {
        /// The panic's message.
        message: String,
    },
    /// It returned although nobody had asked it to.
    #[error("ended although it should run until shutdown")]
    EndedEarly,
}

/// A failure that ended, or prevented, a supervised run.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A task with [`OnFailure::Shutdown`] failed.
    #[error("task `{task}` failed")]
    Task {
        /// Its name.
        task: String,
        /// How.
        #[source]
        fault: TaskFault,
    },
    /// The operating system does not let us listen for signals.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

/// Owns the tasks of a process. Cheap to clone; all clones are one supervisor.
#[derive(Clone, Debug)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Clock,
    token: CancellationToken,
    tracker: TaskTracker,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    running: BTreeMap<u64, (Cow<'static, str>, AbortHandle)>,
    failure: Option<SupervisorError>,
}

impl Supervisor {
    /// A supervisor without tasks. The clock times restarts and the grace period.
    pub fn new(clock: Clock) -> Self {
        Self {
            inner: Arc::new(Inner {
                clock,
                token: CancellationToken::new(),
                tracker: TaskTracker::new(),
                state: Mutex::default(),
            }),
        }
    }

    /// Cancelled when the drain begins. Cancelling it begins the drain.
    pub fn token(&self) -> CancellationToken {
        self.inner.token.clone()
    }

    /// Begins the drain.
    pub fn shutdown(&self) {
        self.inner.token.cancel();
    }

    /// Runs a task until shutdown. `make` makes its future, again for each restart. Needs a runtime.
    pub fn spawn<F, Fut, E>(
        &self,
        name: impl Into<Cow<'static, str>>,
        on_failure: OnFailure,
        mut make: F,
    ) where
        F: FnMut(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let name = name.into();
        let inner = Arc::clone(&self.inner);
        let task = name.clone();
        self.track(name, async move {
            match on_failure {
                OnFailure::Shutdown => {
                    let future = make(inner.token.clone());
                    if let Err(fault) = inner.run_until_cancelled(future).await {
                        inner.fail(&task, fault);
                    }
                }
                OnFailure::Restart { backoff } => inner.restart(&task, backoff, make).await,
            }
        });
    }

    /// Runs a task until shutdown that cannot be made twice (it owns a listener, say); its failure shuts down.
    pub fn spawn_owned<F, Fut, E>(&self, name: impl Into<Cow<'static, str>>, make: F)
    where
        F: FnOnce(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let name = name.into();
        let inner = Arc::clone(&self.inner);
        let future = make(self.token());
        let task = name.clone();
        self.track(name, async move {
            if let Err(fault) = inner.run_until_cancelled(future).await {
                inner.fail(&task, fault);
            }
        });
    }

    /// Runs a task that ends by itself; its failure shuts down, its end means nothing.
    pub fn spawn_finite<F, Fut, E>(&self, name: impl Into<Cow<'static, str>>, make: F)
    where
        F: FnOnce(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let name = name.into();
        let inner = Arc::clone(&self.inner);
        let future = make(self.token());
        let task = name.clone();
        self.track(name, async move {
            if let Err(fault) = run(future).await {
                inner.fail(&task, fault);
            }
        });
    }

    /// Waits for SIGTERM, SIGINT, [`Supervisor::shutdown`] or a failure, then drains for at most `grace`.
    pub async fn run_until_shutdown(&self, grace: Duration) -> Result<ExitReason, SupervisorError> {
        let mut signals = StopSignals::listen().map_err(SupervisorError::Signals)?;
        let signal = self.wait_for_stop(&mut signals).await;
        self.drain(&mut signals, signal, grace).await
    }

    /// The signal that asked to stop, or `None` when the token was cancelled.
    pub(crate) async fn wait_for_stop(&self, signals: &mut StopSignals) -> Option<StopSignal> {
        tokio::select! {
            // Both arms are cancel-safe.
            signal = signals.next() => Some(signal),
            () = self.inner.token.cancelled() => None,
        }
    }

    /// Cancels the token and waits for the tasks; aborts those that outlast `grace`.
    pub(crate) async fn drain(
        &self,
        signals: &mut StopSignals,
        signal: Option<StopSignal>,
        grace: Duration,
    ) -> Result<ExitReason, SupervisorError> {
        let inner = &self.inner;
        inner.token.cancel();
        inner.tracker.close();
        tracing::info!(
            signal = signal.map(tracing::field::display),
            grace_seconds = grace.as_secs_f64(),
            "draining"
        );
        let in_time = tokio::select! {
            biased; // tasks that are done count as done, even at the last moment
            () = inner.tracker.wait() => true, // cancel-safe
            second = signals.next() => { // cancel-safe
                tracing::warn!(signal = %second, "second signal: ending at once");
                exit_now(second.exit_code());
            }
            () = inner.clock.sleep(grace) => false, // cancel-safe
        };
        let aborted = if in_time { Vec::new() } else { self.abort_rest().await };
        match inner.lock().failure.take() {
            Some(failure) => Err(failure),
            None if aborted.is_empty() => Ok(ExitReason::Drained { signal }),
            None => Ok(ExitReason::GraceExceeded { tasks: aborted }),
        }
    }

    async fn abort_rest(&self) -> Vec<String> {
        let rest: Vec<_> = self.inner.lock().running.values().cloned().collect();
        for (name, handle) in &rest {
            tracing::warn!(task = %name, "still running after the grace period: aborting");
            handle.abort();
        }
        let ended = tokio::time::timeout(ABORT_WAIT, self.inner.tracker.wait()).await;
        if ended.is_err() {
            tracing::warn!("a task blocks its thread and cannot be aborted");
        }
        rest.into_iter().map(|(name, _)| name.into_owned()).collect()
    }

    /// Runs something that must outlive the drain, such as the health port. Its end is a failure; it is aborted when
    /// the handle is dropped.
    pub(crate) fn spawn_beside<Fut, E>(
        &self,
        name: &'static str,
        future: Fut,
    ) -> AbortOnDropHandle<()>
    where
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let inner = Arc::clone(&self.inner);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let fault = match run(future).await {
                Ok(()) => TaskFault::EndedEarly,
                Err(fault) => fault,
            };
            inner.fail(name, fault);
        }))
    }

    fn track(&self, name: Cow<'static, str>, driver: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.inner.lock();
        let id = state.next_id;
        state.next_id += 1;
        let guard = Registered { inner: Arc::clone(&self.inner), id, name: name.clone() };
        let handle = self.inner.tracker.spawn(async move {
            let _guard = guard;
            driver.await;
        });
        // The guard takes the lock we hold: the entry is there before it can be removed.
        state.running.insert(id, (name, handle.abort_handle()));
    }
}

/// Takes a task out of the list when its driver ends or is aborted.
struct Registered {
    inner: Arc<Inner>,
    id: u64,
    name: Cow<'static, str>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.inner.lock().running.remove(&self.id);
        // The closure that makes the future runs in the driver; its panic must not go unseen.
        if std::thread::panicking() {
            let message = "while making its future".to_owned();
            self.inner.fail(&self.name, TaskFault::Panic { message });
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run_until_cancelled<Fut, E>(&self, future: Fut) -> Result<(), TaskFault>
    where
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        run(future).await?;
        if self.token.is_cancelled() { Ok(()) } else { Err(TaskFault::EndedEarly) }
    }

    async fn restart<F, Fut, E>(&self, task: &str, backoff: Backoff, mut make: F)
    where
        F: FnMut(CancellationToken) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let mut wait = backoff.first;
        loop {
            let started = self.clock.monotonic();
            let future = make(self.token.clone());
            let Err(fault) = self.run_until_cancelled(future).await else {
                return;
            };
            log_failure(task, &fault);
            if self.token.is_cancelled() {
                return;
            }
            if self.clock.monotonic().saturating_sub(started) >= backoff.max {
                wait = backoff.first;
            }
            tracing::info!(task, wait_seconds = wait.as_secs_f64(), "restarting task");
            tokio::select! {
                () = self.clock.sleep(wait) => {} // cancel-safe
                () = self.token.cancelled() => return, // cancel-safe
            }
            ::metrics::counter!(TASK_RESTARTS, "task" => task.to_owned()).increment(1);
            wait = backoff.doubled(wait);
        }
    }

    /// Records a failure and begins the drain. The first one is the cause; later ones are logged.
    fn fail(&self, task: &str, fault: TaskFault) {
        log_failure(task, &fault);
        self.lock()
            .failure
            .get_or_insert_with(|| SupervisorError::Task { task: task.to_owned(), fault });
        self.token.cancel();
    }
}

/// Runs a future as a task of its own, so that a panic is a fault and not the end of its driver; aborted with it.
async fn run<Fut, E>(future: Fut) -> Result<(), TaskFault>
where
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    let boxed = async move { future.await.map_err(Into::into) };
    match AbortOnDropHandle::new(tokio::spawn(boxed)).await {
        Ok(result) => result.map_err(TaskFault::Error),
        Err(error) => Err(fault_of(error)),
    }
}

fn fault_of(error: JoinError) -> TaskFault {
    match error.try_into_panic() {
        Ok(payload) => {
            TaskFault::Panic { message: crate::telemetry::panic_message(payload.as_ref()) }
        }
        // Only the runtime's own end cancels a task whose handle we hold.
        Err(_cancelled) => TaskFault::EndedEarly,
    }
}

fn log_failure(task: &str, fault: &TaskFault) {
    ::metrics::counter!(TASK_FAILURES, "task" => task.to_owned()).increment(1);
    tracing::error!(task, cause = crate::causes(fault), "task {fault}");
}

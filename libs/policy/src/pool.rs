//! The threads that evaluate, and nothing else does.
//!
//! Evaluation is plain computation that must not hold up the runtime's threads, and a rule that overruns must not
//! take more than its own thread with it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::bundle::Bundle;
use crate::decision::Decision;

/// Evaluating threads: a decision takes well under a millisecond, so two keep up with a busy gateway, and the other
/// two are for the day when a rule overruns.
const THREADS: usize = 4;

/// Decisions that may wait: at well under a millisecond each they are answered within the deadline.
const QUEUE: usize = 256;

/// Rules nest as deep as people write them; the engine recurses with them.
const STACK_BYTES: usize = 8 * 1024 * 1024;

struct Job {
    bundle: Arc<Bundle>,
    input: String,
    answer: oneshot::Sender<Decision>,
}

/// A handle to the threads; they end when the last handle is gone.
#[derive(Clone)]
pub(crate) struct Pool {
    jobs: SyncSender<Job>,
}

impl Pool {
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let queue = Arc::clone(&queue);
            // A panic inside ends in `catch_unwind`; the thread itself ends only with its queue.
            std::thread::Builder::new()
                .name("policy".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || work(&queue))?;
        }
        Ok(Self { jobs })
    }

    /// Queues a decision; `None` when the queue is full.
    pub(crate) fn submit(
        &self,
        bundle: Arc<Bundle>,
        input: String,
    ) -> Option<oneshot::Receiver<Decision>> {
        let (answer, receiver) = oneshot::channel();
        match self.jobs.try_send(Job { bundle, input, answer }) {
            Ok(()) => Some(receiver),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if job.answer.is_closed() {
            continue; // nobody waits any more
        }
        let decided = catch_unwind(AssertUnwindSafe(|| job.bundle.decide(&job.input)));
        let decision = decided.unwrap_or_else(|_panic| {
            Decision::undecided(job.bundle.policy_ref().to_owned(), "the policy engine failed")
        });
        if job.answer.send(decision).is_err() {
            metrics::counter!("pact_policy_late_answers_total").increment(1);
        }
    }
}

//! A thread that owns one piece of state and does its blocking work (fsync, fork) in order.
//!
//! Everything that must not run on the asynchronous threads goes through here: callers hand in a job and await its
//! answer. There is no lock to hold across an await, and no second writer of the same file.

use std::io;

use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait for one owner: more than all running commands together can have under way.
const WAITING_JOBS: usize = 64;

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// The handle of an owner thread; cheap to clone. The thread ends, dropping the state, when the last handle is gone.
#[derive(Debug)]
pub(crate) struct Owner<S> {
    jobs: mpsc::Sender<Job<S>>,
}

impl<S> Clone for Owner<S> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
    }
}

/// The owner thread has ended, after a panic in one of its jobs: its state cannot be trusted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the thread that owns this state has ended")]
pub(crate) struct OwnerGone;

impl<S: Send + 'static> Owner<S> {
    /// Gives the state to a new thread of this name (at most 15 characters are shown by the system).
    pub(crate) fn spawn(name: &str, mut state: S) -> io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel::<Job<S>>(WAITING_JOBS);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(job) = waiting.blocking_recv() {
                job(&mut state);
            }
        })?;
        Ok(Self { jobs })
    }

    /// Runs a job on the thread, after those before it. A job that was handed in is carried out even if the caller
    /// stops waiting for it.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Result<R, OwnerGone> {
        let (answer, answered) = oneshot::channel();
        let job: Job<S> = Box::new(move |state| {
            // The caller may have stopped waiting.
            let _unheard = answer.send(job(state));
        });
        self.jobs.send(job).await.map_err(|_| OwnerGone)?;
        answered.await.map_err(|_| OwnerGone)
    }

    /// Resolves when the thread has ended.
    pub(crate) async fn gone(&self) {
        self.jobs.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_run_in_order_and_a_panic_is_noticed() {
        let owner = Owner::spawn("test", Vec::new()).unwrap();
        for number in 0..3 {
            assert_eq!(owner.call(move |seen: &mut Vec<i32>| seen.push(number)).await, Ok(()));
        }
        assert_eq!(owner.call(|seen| seen.clone()).await, Ok(vec![0, 1, 2]));
        assert_eq!(owner.call(|_| panic!("broken on purpose")).await, Err::<(), _>(OwnerGone));
        owner.gone().await;
        assert_eq!(owner.call(|_| ()).await, Err(OwnerGone));
    }
}

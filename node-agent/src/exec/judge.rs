//! Asking the whitelist whether a command may run, without waiting for ever.
//!
//! The list looks at the files that a command names, and a file of a dead network mount never answers: the thread that asks is
//! then lost until the mount is back. So few threads may ask at once, and a command that finds none free is refused.

use std::sync::Arc;
use std::time::Duration;

use pact_commands::{Admitted, Files, Mode};
use pact_identity::GrantedExec;
use pact_runtime::Clock;
use tokio::sync::Semaphore;

use super::Engine;
use super::disk::NodeDisk;
use super::outcome::NotRun;

/// Threads that may look at files at once. A judgement takes microseconds, so more are only ever needed by mounts that are dead.
const MAX_JUDGES: usize = 8;

/// How long a command waits for its judgement; one that cannot be judged is not run.
const JUDGE_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unjudged {
    #[error("the command could not be judged")]
    Failed,
    #[error(
        "the command could not be judged within {} s; a file system that it names may not answer",
        JUDGE_LIMIT.as_secs()
    )]
    Late,
    #[error(
        "the command could not be judged: {MAX_JUDGES} earlier ones name files on file systems that do not answer; \
         look for a dead mount on the node"
    )]
    NoneFree,
}

/// The threads that may look at files; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Judges {
    free: Arc<Semaphore>,
}

impl Judges {
    /// All are free.
    pub(crate) fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(MAX_JUDGES)) }
    }

    /// Runs `work` on a thread where it may block. A judge whose work hangs is not free before it returns.
    async fn ask<T: Send + 'static>(
        &self,
        clock: &Clock,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unjudged> {
        let free = clock.timeout(JUDGE_LIMIT, Arc::clone(&self.free).acquire_owned()).await;
        let judge = free.map_err(|_| Unjudged::NoneFree)?.map_err(|_| Unjudged::Failed)?;
        let asked = tokio::task::spawn_blocking(move || {
            let judged = work();
            drop(judge);
            judged
        });
        match clock.timeout(JUDGE_LIMIT, asked).await {
            Ok(Ok(judged)) => Ok(judged),
            Ok(Err(_panicked)) => Err(Unjudged::Failed),
            Err(_late) => Err(Unjudged::Late),
        }
    }
}

/// Whether and as what a granted command runs.
pub(super) async fn judge(engine: &Engine, exec: &GrantedExec) -> Result<Admitted, NotRun> {
    let parts = &engine.parts;
    let mode = parts.live.borrow().whitelist_mode;
    if exec.require_strict && mode != Mode::Strict {
        return Err(NotRun::not_strict(mode));
    }
    // Both run everything; only `Learning` says what strict mode would have refused, and that is always reported.
    let mode = if mode == Mode::Bypass { Mode::Learning } else { mode };
    let (engine, argv, additions) =
        (engine.clone(), exec.argv.clone(), exec.exec_whitelist.clone());
    let judges = engine.judges.clone();
    let judged = judges.ask(&parts.clock, move || {
        let builtin = &engine.parts.whitelist;
        let files = Files::new(NodeDisk::new(Arc::clone(&engine.parts.readers)));
        let admitted = if additions.is_empty() {
            builtin.admit(mode, &argv, &files)
        } else {
            let list = builtin.clone().with_additions(&additions);
            list.map_err(|error| NotRun::bad_additions(&error))?.admit(mode, &argv, &files)
        };
        admitted.map_err(|refusal| NotRun::refused(&refusal))
    });
    judged.await.unwrap_or_else(|error| Err(NotRun::not_judged(&error)))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use pact_runtime::Timestamp;

    use super::*;

    #[tokio::test]
    async fn files_that_do_not_answer_cost_a_bounded_number_of_threads() {
        let (clock, hand) = Clock::manual(Timestamp::from_unix_nanos(0));
        let judges = Judges::new();
        let (answer, mount) = mpsc::sync_channel::<()>(0);
        let mount = Arc::new(std::sync::Mutex::new(mount));
        // All of them hang: one on the mount, the others behind it.
        let hung: Vec<_> = (0..MAX_JUDGES)
            .map(|_| {
                let (judges, clock, mount) = (judges.clone(), clock.clone(), Arc::clone(&mount));
                let hang = move || mount.lock().unwrap().recv().is_ok();
                tokio::spawn(async move { judges.ask(&clock, hang).await })
            })
            .collect();
        hand.wait_for_sleepers(MAX_JUDGES).await;
        hand.advance(JUDGE_LIMIT);
        for asked in hung {
            assert_eq!(asked.await.unwrap(), Err(Unjudged::Late));
        }
        let one_more = tokio::spawn({
            let (judges, clock) = (judges.clone(), clock.clone());
            async move { judges.ask(&clock, || true).await }
        });
        hand.wait_for_sleepers(1).await;
        hand.advance(JUDGE_LIMIT);
        assert_eq!(one_more.await.unwrap(), Err(Unjudged::NoneFree));
        // The mount is back: whoever hung is free again.
        drop(answer);
        let clock = Clock::system();
        let _all =
            clock.timeout(JUDGE_LIMIT, judges.free.acquire_many(MAX_JUDGES as u32)).await.unwrap();
    }
}

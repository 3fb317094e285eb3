//! Supervision on a manual clock: what each failure means, restarts, the grace period.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pact_runtime::metrics::Metrics;
use pact_runtime::supervisor::{SupervisorError, TaskFault};
use pact_runtime::{
    Backoff, CancellationToken, Clock, ExitReason, ManualClock, OnFailure, Supervisor, Timestamp,
};

const GRACE: Duration = Duration::from_secs(20);
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(3) };

fn supervisor() -> (Supervisor, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp::from_unix_nanos(0));
    (Supervisor::new(clock), hand)
}

async fn until_cancelled(token: CancellationToken) -> Result<(), io::Error> {
    token.cancelled().await;
    Ok(())
}

/// The fault of the task that ended a run.
async fn failed(supervisor: &Supervisor) -> (String, TaskFault) {
    match supervisor.run_until_shutdown(GRACE).await {
        Err(SupervisorError::Task { task, fault }) => (task, fault),
        other => panic!("expected a failed task, got {other:?}"),
    }
}

#[tokio::test]
async fn asked_to_stop_everything_drains() {
    let (supervisor, _hand) = supervisor();
    supervisor.spawn("loop", OnFailure::Shutdown, until_cancelled);
    supervisor.spawn_finite("import", async |_| Ok::<(), io::Error>(()));
    supervisor.shutdown();
    let reason = supervisor.run_until_shutdown(GRACE).await.unwrap();
    assert_eq!(reason, ExitReason::Drained { signal: None });
}

#[tokio::test]
async fn a_failed_task_drains_the_others_and_is_named() {
    let (supervisor, _hand) = supervisor();
    let drained = Arc::new(AtomicUsize::new(0));
    supervisor.spawn("bystander", OnFailure::Shutdown, {
        let drained = Arc::clone(&drained);
        move |token| {
            let drained = Arc::clone(&drained);
            async move {
                token.cancelled().await;
                drained.fetch_add(1, Ordering::SeqCst);
                Ok::<(), io::Error>(())
            }
        }
    });
    supervisor.spawn_owned("listener", async |_| Err::<(), _>(io::Error::other("gone")));
    let (task, fault) = failed(&supervisor).await;
    assert_eq!(task, "listener");
    assert!(matches!(fault, TaskFault::Error(source) if source.to_string() == "gone"));
    assert_eq!(drained.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_and_an_early_end_are_failures() {
    let (panics, _hand) = supervisor();
    panics.spawn("panics", OnFailure::Shutdown, async |_| -> io::Result<()> {
        panic!("index {} is gone", 7)
    });
    let (task, fault) = failed(&panics).await;
    assert_eq!(
        (task.as_str(), fault.to_string().as_str()),
        ("panics", "panicked: index 7 is gone")
    );

    let (ends, _hand) = supervisor();
    ends.spawn("ends", OnFailure::Shutdown, async |_| Ok::<(), io::Error>(()));
    let (task, fault) = failed(&ends).await;
    assert!(task == "ends" && matches!(fault, TaskFault::EndedEarly));

    let (makes, _hand) = supervisor();
    makes.spawn("makes", OnFailure::Shutdown, |token| {
        assert!(token.is_cancelled(), "fails while making the future");
        until_cancelled(token)
    });
    let (task, fault) = failed(&makes).await;
    assert!(task == "makes" && matches!(fault, TaskFault::Panic { .. }));
}

#[tokio::test]
async fn a_restarting_task_waits_longer_each_time_up_to_the_bound() {
    let metrics = Metrics::install().unwrap();
    let (supervisor, hand) = supervisor();
    let (runs, mut seen) = tokio::sync::watch::channel(0);
    supervisor.spawn("flaky", OnFailure::Restart { backoff: BACKOFF }, {
        move |_| {
            runs.send_modify(|count| *count += 1);
            async { Err::<(), _>(io::Error::other("not yet")) }
        }
    });
    // Waits of 1 s, 2 s, then 3 s for good.
    for (run, wait) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        hand.wait_for_sleepers(1).await;
        assert_eq!(*seen.borrow_and_update(), run);
        hand.advance(Duration::from_secs(wait) - Duration::from_nanos(1));
        tokio::task::yield_now().await;
        assert!(!seen.has_changed().unwrap(), "restarted too early");
        hand.advance(Duration::from_nanos(1));
        seen.changed().await.unwrap();
    }
    let rendered = metrics.render();
    assert!(rendered.contains("pact_task_restarts_total{task=\"flaky\"} 4"), "{rendered}");
    // Asked to stop while it waits for its next restart, it does not wait.
    supervisor.shutdown();
    let reason = supervisor.run_until_shutdown(GRACE).await.unwrap();
    assert_eq!(reason, ExitReason::Drained { signal: None });
}

#[tokio::test]
async fn a_task_that_outlasts_the_grace_period_is_aborted_and_named() {
    let (supervisor, hand) = supervisor();
    let held = Arc::new(());
    supervisor.spawn("stubborn", OnFailure::Shutdown, {
        let held = Arc::clone(&held);
        move |_| {
            let held = Arc::clone(&held);
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok::<(), io::Error>(())
            }
        }
    });
    supervisor.spawn("polite", OnFailure::Shutdown, until_cancelled);
    let run = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.run_until_shutdown(GRACE).await }
    });
    supervisor.shutdown();
    hand.wait_for_sleepers(1).await;
    hand.advance(GRACE - Duration::from_nanos(1));
    tokio::task::yield_now().await;
    assert!(!run.is_finished());
    hand.advance(Duration::from_nanos(1));
    let reason = run.await.unwrap().unwrap();
    let tasks = vec!["stubborn".to_owned()];
    assert_eq!(reason, ExitReason::GraceExceeded { tasks });
    assert_eq!(Arc::strong_count(&held), 1, "its future is gone");
}

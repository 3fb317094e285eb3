//! kill -9 while the node is being changed: everything or what was, and the journal is told.

use std::fs;
use std::time::Duration;

use pact_schemas::v1::{ConvergeReason, WindowState};

use crate::drift::enforce;
use crate::plane::{Plane, until};

/// Enough that a kill comes in the middle of it.
const FILES: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_an_undo_is_finished_at_the_next_start() {
    let plane = Plane::start().await;
    fs::create_dir_all(plane.root()).unwrap();
    let path = |number: usize| plane.root().join(format!("f{number:04}"));
    for number in 0..FILES {
        fs::write(path(number), "one\n").unwrap();
    }
    let agent = plane.agent("strict").await;
    plane.watched().await;
    let seq = plane.declare(|site| site.policy = enforce(3)).await;
    plane.settle(seq).await;
    for number in 0..FILES {
        fs::write(path(number), "two\n").unwrap();
    }
    let restored = || {
        (0..FILES).filter(|number| fs::read_to_string(path(*number)).unwrap() == "one\n").count()
    };
    plane.until_window(WindowState::Open).await;
    let intent = plane.state().join("drift/intent");
    until("the undo has begun", || intent.exists()).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    agent.kill();
    let before = restored();
    let _agent = plane.agent("strict").await;
    until("all is as it was", || restored() == FILES).await;
    plane.until_window(WindowState::Idle).await;
    assert!(!intent.exists(), "killed after {before} of {FILES}");
    // Every file is told as restored, in one event, whenever the kill came.
    let told: Vec<_> = plane.converged();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, ConvergeReason::WindowExpired);
    assert_eq!(plane.told.lock().unwrap().violations, Vec::<String>::new());
    let leftovers = fs::read_dir(plane.root()).unwrap().count();
    assert_eq!(leftovers, FILES, "nothing half-written stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_time_leave_node_and_journal_agreeing() {
    let plane = Plane::start().await;
    fs::create_dir_all(plane.root()).unwrap();
    let path = plane.root().join("motd");
    fs::write(&path, "one\n").unwrap();
    let mut agent = plane.agent("strict").await;
    plane.watched().await;
    let seq = plane.declare(|site| site.policy = enforce(1)).await;
    plane.settle(seq).await;
    for round in 0..6_u64 {
        fs::write(&path, format!("drift {round}\n")).unwrap();
        tokio::time::sleep(Duration::from_millis(100 + 180 * round)).await;
        agent.kill();
        agent = plane.agent("strict").await;
        until("it is as it was", || fs::read_to_string(&path).unwrap() == "one\n").await;
        plane.until_drifted(&[]).await;
    }
    until("told", || plane.reported().is_none_or(|drift| drift.keys == 0)).await;
    let undone = plane.converged();
    assert!(undone.len() <= 6 && undone.iter().all(|(_, keys)| *keys == 1), "{undone:?}");
    assert_eq!(plane.told.lock().unwrap().violations, Vec::<String>::new());
}

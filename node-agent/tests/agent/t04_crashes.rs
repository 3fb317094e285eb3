//! What a crash of the agent, the bus or the journal leaves: nothing lost, nothing twice.

use std::time::Duration;

use pact_bus::stream::StreamReceiver;
use pact_runtime::Clock;
use pact_schemas::ErrorCode;
use pact_schemas::v1::{ExecOutcome, stream_frame::Body};

use crate::plane::{Plane, runs, until};

async fn line(receiver: &mut StreamReceiver) -> String {
    match receiver.recv().await.unwrap() {
        Some(Body::Output(output)) => String::from_utf8(output.data).unwrap().trim().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_leaves_one_outcome_unknown_and_nothing_running() {
    let plane = Plane::start().await;
    let agent = plane.agent("learning").await;
    let marks = plane.folder().join("marks");
    let script = format!("echo x >> {}; env -i setsid sleep 1000 & echo $!; wait", marks.display());
    let payload = plane.payload(1, &["sh", "-c", &script]);
    let (mut receiver, reply) = plane.present(plane.sign(&payload)).await;
    reply.unwrap();
    let background: i32 = line(&mut receiver).await.parse().unwrap();
    until("the session is noted", || {
        std::fs::read_to_string(plane.state().join("running/1.json"))
            .is_ok_and(|text| !text.contains("null"))
    })
    .await;
    agent.kill();
    // Not by the next start: by the command's own warden.
    until("what ran has ended", || !runs(background)).await;
    let agent = plane.agent("learning").await;
    let outcome = plane.outcome(1).await;
    assert_eq!(outcome.outcome(), ExecOutcome::Unknown);
    assert_eq!(plane.refused(plane.sign(&payload)).await, ErrorCode::GrantReplayed);
    agent.kill();
    let _agent = plane.agent("learning").await;
    plane.run(&plane.payload(2, &["true"])).await;
    plane.outcome(2).await;
    assert_eq!(plane.told.lock().unwrap().outcomes(1).len(), 1);
    assert_eq!(std::fs::read_to_string(marks).unwrap(), "x\n");
    assert_eq!(plane.told.lock().unwrap().violations, Vec::<String>::new());
}

/// As if somebody killed both: what is left is in the command's session, or carries its marker.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_warden_a_command_is_found_by_session_and_by_marker() {
    let plane = Plane::start().await;
    let agent = plane.agent("learning").await;
    // The first carries no marker: it is known by the session that it shares with the second.
    let script = "env -i sleep 1000 & echo $!; sleep 1000 & echo $!; wait";
    let (mut receiver, reply) =
        plane.present(plane.sign(&plane.payload(1, &["sh", "-c", script]))).await;
    reply.unwrap();
    let mut shown = line(&mut receiver).await;
    while shown.lines().count() < 2 {
        shown = format!("{shown}\n{}", line(&mut receiver).await);
    }
    let left: Vec<i32> = shown.lines().map(|line| line.parse().unwrap()).collect();
    let path = plane.state().join("running/1.json");
    let mut record = serde_json::Value::Null;
    until("the processes are noted", || {
        let text = std::fs::read(&path).unwrap_or_default();
        record = serde_json::from_slice(&text).unwrap_or_default();
        record["warden"]["pid"].is_number()
    })
    .await;
    // Stopped, it can do nothing when the agent dies; killed, it takes the command's own process along.
    let warden = nix::unistd::Pid::from_raw(record["warden"]["pid"].as_i64().unwrap() as i32);
    nix::sys::signal::kill(warden, nix::sys::signal::Signal::SIGSTOP).unwrap();
    agent.kill();
    nix::sys::signal::kill(warden, nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the warden is gone", || !runs(warden.as_raw())).await;
    assert!(left.iter().all(|pid| runs(*pid)), "the test proves nothing: {left:?}");
    let _agent = plane.agent("learning").await;
    assert!(!left.iter().any(|pid| runs(*pid)), "{left:?}");
    plane.outcome(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_limits_the_rate_is_asked_again_and_loses_nothing() {
    let plane = Plane::start().await;
    let _agent = plane.agent("strict").await;
    until("the report", || !plane.told.lock().unwrap().events.is_empty()).await;
    plane.told.lock().unwrap().refusal = Some(ErrorCode::RateLimited);
    plane.run(&plane.payload(1, &["echo", "later"])).await;
    let clock = Clock::system();
    let started = clock.monotonic();
    until("three attempts", || plane.told.lock().unwrap().refused >= 3).await;
    // Waits of at least 50, 100 and 200 ms lie between them: no busy loop.
    assert!(clock.monotonic() - started >= Duration::from_millis(100));
    assert!(plane.told.lock().unwrap().outcomes(1).is_empty());
    plane.told.lock().unwrap().refusal = None;
    let outcome = plane.outcome(1).await;
    assert_eq!(plane.told.lock().unwrap().recorded(&outcome), b"later\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_the_journal_and_arrive_once_and_in_order() {
    let plane = Plane::start().await;
    let agent = plane.agent("strict").await;
    until("the report", || !plane.told.lock().unwrap().events.is_empty()).await;
    plane.told.lock().unwrap().refusal = Some(ErrorCode::NoLeader);
    for seq in 1..=5 {
        let (shown, _) = plane.run(&plane.payload(seq, &["echo", &seq.to_string()])).await;
        assert_eq!(shown, format!("{seq}\n").as_bytes());
    }
    agent.kill();
    let _agent = plane.agent("strict").await;
    plane.told.lock().unwrap().refusal = None;
    for seq in 1..=5 {
        let outcome = plane.outcome(seq).await;
        let recorded = plane.told.lock().unwrap().recorded(&outcome);
        assert_eq!(recorded, format!("{seq}\n").as_bytes());
    }
    let told = plane.told.lock().unwrap();
    let numbers: Vec<u64> = told.events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!(told.violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_bus_is_survived() {
    let mut plane = Plane::start().await;
    let _agent = plane.agent("strict").await;
    let hellos = plane.told.lock().unwrap().hellos.len();
    plane.nats.kill();
    tokio::time::sleep(Duration::from_millis(500)).await; // long enough for everybody to notice
    plane.nats.restart().await.unwrap();
    until("hello", || plane.told.lock().unwrap().hellos.len() > hellos).await;
    plane.gateway.wait_connected(crate::plane::PATIENCE).await.unwrap();
    let (shown, _) = plane.run(&plane.payload(1, &["echo", "back"])).await;
    assert_eq!(shown, b"back\n");
    plane.outcome(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_commands_end_and_their_outcomes_out() {
    let plane = Plane::start().await;
    let mut agent = plane.agent("learning").await;
    let script = "echo begun; sleep 1; echo done";
    let (mut receiver, _) =
        plane.present(plane.sign(&plane.payload(1, &["sh", "-c", script]))).await;
    assert_eq!(line(&mut receiver).await, "begun");
    agent.terminate();
    let (shown, finished) = crate::plane::rest(&mut receiver).await;
    assert_eq!((shown, finished.exit_status), (b"done\n".to_vec(), Some(0)));
    assert_eq!(agent.ended().await, Some(0));
    assert_eq!(plane.outcome(1).await.outcome(), ExecOutcome::Exited);
}

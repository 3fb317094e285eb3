//! What a crash of the agent, the bus or the journal leaves: nothing lost, nothing twice.

use std::time::Duration;

use pact_bus::stream::StreamReceiver;
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
    let script = format!("echo x >> {}; sleep 1000 & echo $!; wait", marks.display());
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
    let agent = plane.agent("learning").await;
    let outcome = plane.outcome(1).await;
    assert_eq!(outcome.outcome(), ExecOutcome::Unknown);
    assert!(!runs(background));
    assert_eq!(plane.refused(plane.sign(&payload)).await, ErrorCode::GrantReplayed);
    agent.kill();
    let _agent = plane.agent("learning").await;
    plane.run(&plane.payload(2, &["true"])).await;
    plane.outcome(2).await;
    assert_eq!(plane.told.lock().unwrap().outcomes(1).len(), 1);
    assert_eq!(std::fs::read_to_string(marks).unwrap(), "x\n");
    assert_eq!(plane.told.lock().unwrap().violations, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_the_journal_and_arrive_once_and_in_order() {
    let plane = Plane::start().await;
    let agent = plane.agent("strict").await;
    until("the report", || !plane.told.lock().unwrap().events.is_empty()).await;
    plane.told.lock().unwrap().is_away = true;
    for seq in 1..=5 {
        let (shown, _) = plane.run(&plane.payload(seq, &["echo", &seq.to_string()])).await;
        assert_eq!(shown, format!("{seq}\n").as_bytes());
    }
    agent.kill();
    let _agent = plane.agent("strict").await;
    plane.told.lock().unwrap().is_away = false;
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

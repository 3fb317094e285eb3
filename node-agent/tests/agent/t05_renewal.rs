//! New credentials while commands run.

use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::v1::stream_frame::Body;

use crate::plane::{Plane, rest, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_disturbs_no_running_command() {
    let plane = Plane::start().await;
    let agent = plane.agent("learning").await;
    agent.kill();
    // The same identity, as if two thirds of its lifetime had just passed.
    let path = plane.state().join("identity/enrolment.json");
    let mut enrolment: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let now = Clock::system().now();
    let at = |seconds: u64, later: bool| {
        let step = Duration::from_secs(seconds);
        let time = if later { now.checked_add(step) } else { now.checked_sub(step) };
        serde_json::json!(time.unwrap().unix_nanos())
    };
    enrolment["enrolled"] = at(30, false);
    enrolment["not_after"] = at(30, true);
    std::fs::write(&path, enrolment.to_string()).unwrap();
    let user = std::fs::read(plane.state().join("identity/bus.jwt")).unwrap();

    // Renewal is due in 10 s, give or take 6.
    let agent = plane.agent("learning").await;
    let script = "for i in $(seq 200); do echo $i; sleep 0.1; done";
    let (mut receiver, _) =
        plane.present(plane.sign(&plane.payload(1, &["sh", "-c", script]))).await;
    let Some(Body::Output(first)) = receiver.recv().await.unwrap() else { panic!() };
    assert_eq!(first.data, b"1\n");
    let reading = tokio::spawn(async move { rest(&mut receiver).await });
    until("new credentials", || agent.log().contains("new credentials are in use")).await;
    assert_ne!(std::fs::read(plane.state().join("identity/bus.jwt")).unwrap(), user);
    let (shown, _) = plane.run(&plane.payload(2, &["echo", "beside"])).await;
    assert_eq!(shown, b"beside\n");
    assert!(!agent.log().contains("connection with the old credentials is closed"));
    let (shown, finished) = reading.await.unwrap();
    let expected: String = (2..=200).map(|number| format!("{number}\n")).collect();
    assert_eq!(String::from_utf8(shown).unwrap(), expected);
    assert_eq!(finished.exit_status, Some(0));
    until("the old connection is closed", || {
        agent.log().contains("connection with the old credentials is closed")
    })
    .await;
    let (shown, _) = plane.run(&plane.payload(3, &["echo", "after"])).await;
    assert_eq!(shown, b"after\n");
    plane.outcome(1).await;
}

//! Nothing runs without a grant for this node, now, once.

use std::time::Duration;

use pact_schemas::{ErrorCode, convert, v1};

use crate::plane::Plane;

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_runs_once_here_and_now() {
    let plane = Plane::start().await;
    let agent = plane.agent("strict").await;
    let payload = plane.payload(10, &["echo", "hello"]);
    let (shown, finished) = plane.run(&payload).await;
    assert_eq!(shown, b"hello\n");
    assert_eq!((finished.outcome(), finished.exit_status), (v1::ExecOutcome::Exited, Some(0)));
    let outcome = plane.outcome(10).await;
    assert_eq!(outcome, finished);
    assert_eq!(plane.told.lock().unwrap().recorded(&outcome), b"hello\n");

    assert_eq!(plane.refused(plane.sign(&payload)).await, ErrorCode::GrantReplayed);
    let mut altered = plane.sign(&plane.payload(11, &["echo", "hello"]));
    altered.payload[40] ^= 1;
    assert_eq!(plane.refused(altered).await, ErrorCode::BadSignature);
    let other = v1::GrantPayload { targets: "node-2".to_owned(), ..plane.payload(12, &["id"]) };
    assert_eq!(plane.refused(plane.sign(&other)).await, ErrorCode::GrantForOther);
    let mut old = plane.payload(13, &["id"]);
    for time in [&mut old.issued, &mut old.expires] {
        let nanos = convert::unix_nanos(time.as_ref(), "time").unwrap();
        let earlier = i64::try_from(Duration::from_secs(70).as_nanos()).unwrap();
        *time = Some(convert::timestamp(nanos - earlier));
    }
    assert_eq!(plane.refused(plane.sign(&old)).await, ErrorCode::GrantExpired);

    // Used is used, also after a crash of the agent.
    agent.kill();
    let _agent = plane.agent("strict").await;
    assert_eq!(plane.refused(plane.sign(&payload)).await, ErrorCode::GrantReplayed);
    let told = plane.told.lock().unwrap();
    assert_eq!((told.outcomes(10).len(), told.violations.clone()), (1, Vec::new()));
    assert!((11..=13).all(|seq| told.outcomes(seq).is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_off_the_list_is_refused_in_strict_and_marked_in_learning_mode() {
    let plane = Plane::start().await;
    let argv = ["sh", "-c", "exit 3"];
    let agent = plane.agent("strict").await;
    let (_, finished) = plane.run(&plane.payload(20, &argv)).await;
    assert_eq!(finished.outcome(), v1::ExecOutcome::Refused);
    assert_eq!(finished.code, ErrorCode::NotWhitelisted.as_str());
    assert!(finished.reason.contains("command not whitelisted"), "{}", finished.reason);
    assert_eq!(plane.outcome(20).await, finished);
    let mut added = plane.payload(21, &argv);
    let Some(v1::grant_payload::Action::Exec(exec)) = &mut added.action else { panic!() };
    exec.exec_whitelist.push("sh".to_owned());
    let (_, finished) = plane.run(&added).await;
    assert_eq!((finished.exit_status, finished.off_list), (Some(3), false));
    agent.kill();
    for (seq, mode) in [(22, "learning"), (23, "bypass")] {
        let agent = plane.agent(mode).await;
        let (_, finished) = plane.run(&plane.payload(seq, &argv)).await;
        assert_eq!((finished.exit_status, finished.off_list), (Some(3), true));
        agent.kill();
    }
}

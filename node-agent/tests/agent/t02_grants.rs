//! Nothing runs without a grant for this node, now, once.

use std::time::Duration;

use pact_bus::CallError;
use pact_schemas::operation::{Operation, Owner};
use pact_schemas::{ErrorCode, MethodName, Subject, convert, v1};

use crate::plane::{PATIENCE, Plane, exec};

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
    let many = [&["echo"], ["x"; 999].as_slice()].concat();
    let (shown, _) = plane.run(&plane.payload(9, &many)).await;
    assert_eq!(shown.len(), 2 * 999);

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
    exec(&mut added).exec_whitelist.push("sh".to_owned());
    let (_, finished) = plane.run(&added).await;
    assert_eq!((finished.exit_status, finished.off_list), (Some(3), false));
    agent.kill();
    for (seq, mode) in [(22, "learning"), (24, "bypass")] {
        let agent = plane.agent(mode).await;
        let (_, finished) = plane.run(&plane.payload(seq, &argv)).await;
        assert_eq!((finished.exit_status, finished.off_list), (Some(3), true));
        // Where the vCluster is regulated, not even what is on the list runs: the agent is not set up for it.
        let mut regulated = plane.payload(seq + 1, &["echo", "hello"]);
        exec(&mut regulated).require_strict = true;
        let (shown, finished) = plane.run(&regulated).await;
        assert_eq!((shown, finished.outcome()), (Vec::new(), v1::ExecOutcome::Refused));
        assert_eq!(finished.code, ErrorCode::PolicyDenied.as_str());
        assert!(finished.reason.contains("whitelist_mode = \"strict\""), "{}", finished.reason);
        agent.kill();
    }
    let _agent = plane.agent("strict").await;
    let mut regulated = plane.payload(26, &["echo", "hello"]);
    exec(&mut regulated).require_strict = true;
    assert_eq!(plane.run(&regulated).await.0, b"hello\n");
}

/// What is not built says which command it would be.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_not_built_names_its_command() {
    let plane = Plane::start().await;
    let _agent = plane.agent("strict").await;
    for operation in Operation::unbuilt(Owner::Node) {
        let method = MethodName::new(operation.method).unwrap();
        let subject = Subject::NodeRpc { node: plane.node.clone(), method };
        let request = v1::InvokeRequest::default();
        let asked = plane.gateway.request::<_, v1::InvokeReply>(&subject, &request, PATIENCE);
        match asked.await {
            Err(CallError::Service(error)) => {
                assert_eq!(error.known_code(), ErrorCode::Unimplemented);
                let command = format!("`pact {}`", operation.command.join(" "));
                assert!(error.message.contains(&command), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

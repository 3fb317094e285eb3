//! Windows, their end, rollback and extension on a real node.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use pact_schemas::resource::{Change, Value};
use pact_schemas::v1::{ConvergeReason, WindowState, node_event::Body};
use pact_schemas::{ErrorCode, convert, v1};

use crate::drift::{code, enforce, key, watched};
use crate::plane::{Plane, until};

#[tokio::test(flavor = "multi_thread")]
async fn declared_files_are_made_and_let_go_in_enforce_mode() {
    let (plane, agent) = watched(&[("changed", "before\n")], Some(600)).await;
    let (made, changed) = (plane.root().join("made"), plane.root().join("changed"));
    let outside = plane.folder().join("outside");
    let seq = plane
        .declare(|site| {
            for (path, text) in [(&made, "one\n"), (&changed, "two\n"), (&outside, "three\n")] {
                let value = site.file(text);
                site.overlay.insert(key(path), value);
            }
        })
        .await;
    let settled = plane.settle(seq).await;
    assert_eq!(fs::read_to_string(&made).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(&changed).unwrap(), "two\n");
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o644);
    // Not in `enforce_keys`: shown, never written.
    assert!(!outside.exists());
    assert_eq!(settled.drift_keys, 1);
    // What is on disk is enough for the next start; and nothing older is ever taken.
    agent.kill();
    plane.told.lock().unwrap().declared.head = 0;
    let agent = plane.agent("strict").await;
    plane.watched().await;
    assert_eq!(plane.diff().await.config_seq, seq);
    plane.told.lock().unwrap().declared.head = 1;
    let asked = || plane.told.lock().unwrap().declared.asked[0];
    let before = asked();
    plane.announce(1000).await;
    until("the node has asked a member that is behind", || asked() > before).await;
    until("it says so", || agent.log().contains("the journal answered with head 1")).await;
    assert_eq!(plane.diff().await.config_seq, seq);
    plane.told.lock().unwrap().declared.head = seq;
    let seq = plane.declare(|site| site.overlay.clear()).await;
    plane.settle(seq).await;
    assert!(!made.exists());
    assert_eq!(fs::read_to_string(&changed).unwrap(), "before\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_ends_undoes_drift_and_survives_a_restart() {
    let (plane, agent) = watched(&[("motd", "one\n")], Some(8)).await;
    let path = plane.root().join("motd");
    fs::write(&path, "two\n").unwrap();
    let opened = plane.until_window(WindowState::Open).await;
    agent.kill();
    let _agent = plane.agent("strict").await;
    plane.until_drifted(&["motd"]).await;
    assert_eq!(plane.diff().await.window.unwrap().opened, opened.opened);
    until("the file is as it was", || fs::read_to_string(&path).unwrap() == "one\n").await;
    let ended = plane.clock().now().unix_nanos();
    let deadline = convert::unix_nanos(opened.deadline.as_ref(), "deadline").unwrap();
    assert!(ended >= deadline - 1_000_000_000, "not before its time");
    plane.until_window(WindowState::Idle).await;
    assert_eq!(plane.converged(), [(ConvergeReason::WindowExpired, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_a_file_is_named_and_the_file_waits() {
    let (plane, _agent) = watched(&[("motd", "one\n")], Some(2)).await;
    let path = plane.root().join("motd");
    fs::write(&path, "two\n").unwrap();
    let mut holder = std::process::Command::new("sleep")
        .arg("1000")
        .stdin(fs::File::open(&path).unwrap())
        .spawn()
        .unwrap();
    let status = plane.until_window(WindowState::Deferred).await;
    let named = status.holders.iter().find(|found| found.pid == holder.id());
    assert_eq!(named.map(|found| found.command.as_str()), Some("sleep"), "{status:?}");
    let deferred = |body: Body| match body {
        Body::Deferred(event) => Some(event),
        _ => None,
    };
    until("the event", || plane.bodies().into_iter().any(|body| deferred(body).is_some())).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    // An admin's rollback finds the holder at the check, and changes nothing.
    let plan = Some(plane.discard_plan().await);
    let request = v1::RollbackCheckRequest { plan };
    let checked: v1::RollbackCheckReply = plane.ask("rollback_check", &request).await.unwrap();
    assert!(checked.holders.iter().any(|found| found.pid == holder.id()), "{checked:?}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let checked: v1::RollbackCheckReply = plane.ask("rollback_check", &request).await.unwrap();
    assert_eq!((checked.holders.len(), checked.keys), (0, 1), "{checked:?}");
    let reply = plane.discard(40).await.unwrap();
    assert_eq!((reply.restored_keys, reply.holders.len()), (1, 0), "{reply:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
    plane.until_window(WindowState::Idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_needs_its_grant_and_restores_bytes_mode_and_owner() {
    let plane = Plane::start().await;
    fs::create_dir_all(plane.root()).unwrap();
    let path = plane.root().join("motd");
    fs::write(&path, "one\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let agent = plane.agent("strict").await;
    plane.watched().await;
    fs::write(&path, "two\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::chown(&path, Some(1), Some(1)).unwrap();
    fs::write(plane.root().join("new"), "x\n").unwrap();
    plane.until_drifted(&["motd", "new"]).await;

    let plan = plane.discard_plan().await;
    let other = v1::RollbackPlan { expect_digest: vec![1; 32], ..plan.clone() };
    let start = |seq, granted: &v1::RollbackPlan, plan: &v1::RollbackPlan| v1::RollbackStart {
        grant: Some(plane.plan_grant(seq, granted)),
        plan: Some(plan.clone()),
    };
    let ask = |request: v1::RollbackStart| {
        let plane = &plane;
        async move { plane.ask::<_, v1::RollbackReply>("rollback", &request).await }
    };
    assert_eq!(code(ask(start(50, &other, &plan)).await), ErrorCode::BadSignature);
    let mut altered = start(50, &plan, &plan);
    altered.grant.as_mut().unwrap().payload[40] ^= 1;
    assert_eq!(code(ask(altered).await), ErrorCode::BadSignature);
    let foreign = v1::RollbackPlan { node: "node-2".into(), ..plan.clone() };
    assert_eq!(code(ask(start(50, &foreign, &foreign)).await), ErrorCode::GrantForOther);
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");

    let reply = ask(start(50, &plan, &plan)).await.unwrap();
    assert_eq!((reply.restored_keys, reply.problems.len()), (2, 0), "{reply:?}");
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
    assert_eq!(
        (metadata.permissions().mode() & 0o7777, metadata.uid(), metadata.gid()),
        (0o640, 0, 0)
    );
    assert!(!plane.root().join("new").exists());
    plane.until_drifted(&[]).await;
    assert_eq!(code(ask(start(50, &plan, &plan)).await), ErrorCode::GrantReplayed);
    agent.kill();
    let _agent = plane.agent("strict").await;
    assert_eq!(code(ask(start(50, &plan, &plan)).await), ErrorCode::GrantReplayed);
    assert!(plane.converged().is_empty(), "its entry is in the journal already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_restores_declared_values_of_the_past_also_in_observe_mode() {
    let (plane, _agent) = watched(&[("motd", "one\n")], None).await;
    let path = plane.root().join("motd");
    fs::write(&path, "two\n").unwrap();
    let (_, two) = plane.until_drifted(&["motd"]).await.remove(0);
    let seq = plane
        .declare(|site| {
            site.contents.insert(crate::declared::sha256(b"two\n").to_vec(), b"two\n".to_vec());
            site.deltas.insert(key(&path), two.clone());
        })
        .await;
    plane.settle(seq).await;
    plane.until_drifted(&[]).await;
    // The delta is taken back.
    let change = Change { key: key(&path), old: Some(two), new: None };
    let plan = plane.changes_plan(&[change]);
    let seq = plane.declare(|site| site.deltas.clear()).await;
    let grant = Some(plane.plan_grant(seq, &plan));
    let request = v1::RollbackStart { grant, plan: Some(plan) };
    let reply: v1::RollbackReply = plane.ask("rollback", &request).await.unwrap();
    assert_eq!((reply.restored_keys, reply.problems.len()), (1, 0), "{reply:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
    plane.until_drifted(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extending_takes_a_grant_and_a_window() {
    let (plane, _agent) = watched(&[], None).await;
    let extend = |seq, minutes| {
        let mut payload = plane.payload(seq, &["unused"]);
        payload.operation = "extend".to_owned();
        payload.action = Some(v1::grant_payload::Action::Extend(v1::ExtendAction { minutes }));
        let request = v1::ExtendStart { grant: Some(plane.sign(&payload)) };
        let plane = &plane;
        async move { plane.ask::<_, v1::ExtendReply>("extend", &request).await }
    };
    assert_eq!(code(extend(60, 15).await), ErrorCode::NotFound);
    fs::write(plane.root().join("new"), "x\n").unwrap();
    let status = plane.until_window(WindowState::Open).await;
    let nanos = |status: &v1::WindowStatus| {
        convert::unix_nanos(status.deadline.as_ref(), "deadline").unwrap()
    };
    let extended = extend(61, 15).await.unwrap().window.unwrap();
    let more = (nanos(&extended) - nanos(&status)) / 1_000_000_000;
    assert!((895..=905).contains(&more), "{more}");
    assert_eq!(code(extend(61, 15).await), ErrorCode::GrantReplayed);
    // A grant for a command is none for this.
    let request = v1::ExtendStart { grant: Some(plane.sign(&plane.payload(62, &["true"]))) };
    let refused = plane.ask::<_, v1::ExtendReply>("extend", &request).await;
    assert_eq!(code(refused), ErrorCode::Malformed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_waits_for_the_first_fix_of_an_agent_that_has_just_come() {
    let (plane, agent) = watched(&[("motd", "one\n")], None).await;
    fs::write(plane.root().join("motd"), "two\n").unwrap();
    plane.until_drifted(&["motd"]).await;
    agent.kill();
    fs::remove_file(plane.state().join("plane-time.json")).unwrap();
    let hellos = plane.told.lock().unwrap().hellos.len();
    plane.told.lock().unwrap().holds_time = true;
    let _agent = plane.launch("strict");
    until("hello", || plane.told.lock().unwrap().hellos.len() > hellos).await;
    plane.watched().await;
    let rollback = plane.discard(80);
    tokio::pin!(rollback);
    // Without a wait the refusal comes in a millisecond.
    let early = plane.clock().timeout(Duration::from_millis(300), &mut rollback).await;
    assert!(early.is_err(), "{early:?}");
    plane.told.lock().unwrap().holds_time = false;
    assert_eq!(rollback.await.unwrap().restored_keys, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn categories_that_converge_need_no_window() {
    let (plane, _agent) = watched(&[("motd", "one\n")], None).await;
    let path = plane.root().join("motd");
    let policy =
        v1::VclusterPolicy { auto_converge_categories: vec!["files".to_owned()], ..enforce(600) };
    let seq = plane.declare(|site| site.policy = policy).await;
    plane.settle(seq).await;
    fs::write(&path, "two\n").unwrap();
    until("the file is as it was", || fs::read_to_string(&path).unwrap() == "one\n").await;
    until("it is told", || plane.converged() == [(ConvergeReason::Category, 1)]).await;
    assert_eq!(plane.drifted().await, Vec::<(String, Value)>::new());
}

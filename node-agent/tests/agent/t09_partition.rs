//! With the bus gone the node keeps its configuration and its windows; on return it first tells its own changes, then pauses
//! only keys that both sides changed.

use std::fs;

use pact_schemas::v1::{self, ConflictDecision, WindowState, node_event::Body};

use crate::drift::{enforce, key};
use crate::plane::{PATIENCE, Plane, until};

fn decisions(plane: &Plane) -> Vec<ConflictDecision> {
    let of = |body: Body| match body {
        Body::ConflictChanged(event) => Some(event.decision()),
        _ => None,
    };
    plane.bodies().into_iter().filter_map(of).collect()
}

/// Three declared files; while the bus is gone one is changed on both sides, the two others on one each.
async fn torn(plane: &mut Plane, seconds: u32) -> u64 {
    fs::create_dir_all(plane.root()).unwrap();
    let root = plane.root();
    let path = |name: &str| root.join(name);
    plane.watched().await;
    let seq = plane
        .declare(|site| {
            site.policy = enforce(seconds);
            for name in ["both", "journal", "node"] {
                let value = site.file("one\n");
                site.overlay.insert(key(&path(name)), value);
            }
        })
        .await;
    plane.settle(seq).await;
    plane.until_drifted(&[]).await;
    plane.nats.kill();
    fs::write(path("both"), "local\n").unwrap();
    fs::write(path("node"), "local\n").unwrap();
    // Seen while away: spooled on the node's disk.
    let state = plane.state().join("drift/state.json");
    until("the node has seen it", || {
        fs::read_to_string(&state)
            .is_ok_and(|text| text.contains("both") && text.contains("node\""))
    })
    .await;
    assert_eq!(fs::read_to_string(path("node")).unwrap(), "local\n");
    let seq = plane
        .declare(|site| {
            for name in ["both", "journal"] {
                let value = site.file("central\n");
                site.overlay.insert(key(&path(name)), value);
            }
        })
        .await;
    plane.nats.restart().await.unwrap();
    plane.gateway.wait_connected(PATIENCE).await.unwrap();
    until("the conflict is told", || decisions(plane) == [ConflictDecision::Pending]).await;
    seq
}

fn read(plane: &Plane, name: &str) -> String {
    fs::read_to_string(plane.root().join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_both_sides_changed_waits_and_a_commit_decides() {
    let mut plane = Plane::start().await;
    let _agent = plane.agent("strict").await;
    let seq = torn(&mut plane, 600).await;
    plane.settle(seq).await;
    assert_eq!(
        (read(&plane, "both"), read(&plane, "journal")),
        ("local\n".into(), "central\n".into())
    );
    assert_eq!(read(&plane, "node"), "local\n", "its window runs");
    // The node's own change was told before anything of the journal counted.
    let bodies = plane.bodies();
    let drift = bodies.iter().position(|body| matches!(body, Body::DriftChanged(_))).unwrap();
    let conflict = bodies.iter().position(|body| matches!(body, Body::ConflictChanged(_))).unwrap();
    assert!(drift < conflict);
    let diff = plane.diff().await;
    let flagged: Vec<_> = diff.items.iter().filter(|item| item.conflict).collect();
    assert_eq!(flagged.len(), 1);
    assert!(flagged[0].change.as_ref().unwrap().key.ends_with("/both"));
    assert!(flagged[0].journal_value.is_some());
    assert_eq!(plane.reported().unwrap().conflicts, 1);

    let local =
        pact_schemas::resource::Value::try_from(flagged[0].change.clone().unwrap().new.unwrap())
            .unwrap();
    let path = key(&plane.root().join("both"));
    let seq = plane
        .declare(|site| {
            site.deltas.insert(path, local);
            let bytes = b"local\n".to_vec();
            site.contents.insert(crate::declared::sha256(&bytes).to_vec(), bytes);
        })
        .await;
    plane.settle(seq).await;
    until("it is decided", || decisions(&plane).last() == Some(&ConflictDecision::Local)).await;
    assert_eq!(read(&plane, "both"), "local\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_decides_for_the_journal() {
    let mut plane = Plane::start().await;
    let _agent = plane.agent("strict").await;
    torn(&mut plane, 600).await;
    let reply: v1::RollbackReply = plane.discard(90).await.unwrap();
    assert_eq!(reply.problems, []);
    assert_eq!((read(&plane, "both"), read(&plane, "node")), ("central\n".into(), "one\n".into()));
    until("it is decided", || decisions(&plane).last() == Some(&ConflictDecision::Journal)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_grace_period_the_journal_wins_and_it_is_recorded() {
    let mut plane = Plane::start().await;
    let _agent = plane.agent("strict").await;
    torn(&mut plane, 6).await;
    until("the journal has won", || read(&plane, "both") == "central\n").await;
    plane.until_window(WindowState::Idle).await;
    assert_eq!(decisions(&plane).last(), Some(&ConflictDecision::GraceEnded));
    let told = plane.bodies().into_iter().rev().find_map(|body| match body {
        Body::ConflictChanged(event) => event.changes.into_iter().next(),
        _ => None,
    });
    let told = told.unwrap();
    assert!(told.key.ends_with("/both") && told.old.is_some() && told.new.is_some());
}

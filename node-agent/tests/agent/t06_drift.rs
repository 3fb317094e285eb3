//! What people do to files shows, is told once, and is gone when it is undone or declared.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use pact_schemas::resource::{Change, FileKind, Value};
use pact_schemas::v1::{WindowState, node_event::Body};
use pact_schemas::{ErrorCode, v1};

use crate::declared::sha256;
use crate::drift::{code, key};
use crate::plane::{Plane, until};

fn file(value: &Value) -> &pact_schemas::resource::FileValue {
    match value {
        Value::File(file) => file,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_files_shows_in_diff() {
    let plane = Plane::start().await;
    let root = plane.root();
    fs::create_dir_all(root.join("secret")).unwrap();
    for name in ["edited", "deleted", "mode", "renamed", "linked", "secret/key"] {
        fs::write(root.join(name), format!("{name}\n")).unwrap();
    }
    let _agent = plane.agent("strict").await;
    plane.watched().await;
    plane.until_drifted(&[]).await;

    fs::write(root.join("edited"), "other\n").unwrap();
    fs::remove_file(root.join("deleted")).unwrap();
    fs::write(root.join("created"), "new\n").unwrap();
    fs::set_permissions(root.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(root.join("renamed"), root.join("another-name")).unwrap();
    fs::remove_file(root.join("linked")).unwrap();
    symlink("edited", root.join("linked")).unwrap();
    fs::write(root.join("secret/key"), "hunter2\n").unwrap();
    let expected =
        ["another-name", "created", "deleted", "edited", "linked", "mode", "renamed", "secret/key"];
    let drifted = plane.until_drifted(&expected).await;
    let of = |name: &str| &drifted.iter().find(|(found, _)| found == name).unwrap().1;
    assert_eq!(file(of("edited")).sha256, Some(sha256(b"other\n")));
    assert_eq!((of("deleted"), of("renamed")), (&Value::Absent, &Value::Absent));
    assert_eq!(file(of("created")).sha256, Some(sha256(b"new\n")));
    assert_eq!(file(of("linked")).kind, FileKind::Symlink);
    assert_eq!(file(of("linked")).link_target.as_deref(), Some("edited"));
    // Neither a file that users cannot read nor one on the secret list shows what is in it.
    assert!(matches!(of("mode"), Value::Withheld(_)), "{:?}", of("mode"));
    assert!(matches!(of("secret/key"), Value::Withheld(_)));

    let status = plane.until_window(WindowState::Open).await;
    assert!(status.magnitude > 0.15, "{}", status.magnitude);
    let digest = plane.diff().await.digest;
    until("the whole is told", || plane.reported().unwrap().digest == digest).await;
    let reports = plane.bodies().len();
    let again = plane.diff().await;
    assert_eq!((again.digest, plane.bodies().len()), (digest, reports), "told once");

    fs::write(root.join("edited"), "edited\n").unwrap();
    fs::remove_file(root.join("created")).unwrap();
    plane
        .until_drifted(&["another-name", "deleted", "linked", "mode", "renamed", "secret/key"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_that_a_command_made_carries_its_entry() {
    let plane = Plane::start().await;
    fs::write(plane.root().join("motd"), "one\n").unwrap_or_else(|_| {
        fs::create_dir_all(plane.root()).unwrap();
        fs::write(plane.root().join("motd"), "one\n").unwrap();
    });
    let _agent = plane.agent("learning").await;
    plane.watched().await;
    let script = format!("echo two > {}; sleep 1", plane.root().join("motd").display());
    plane.run(&plane.payload(5, &["sh", "-c", &script])).await;
    plane.until_drifted(&["motd"]).await;
    let item = plane.diff().await.items.into_iter().next().unwrap();
    assert_eq!(item.session_seq, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_drift_that_is_declared_is_drift_no_more() {
    let plane = Plane::start().await;
    let root = plane.root();
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("motd"), "one\n").unwrap();
    fs::write(root.join("gone"), "x\n").unwrap();
    let _agent = plane.agent("strict").await;
    plane.watched().await;
    let seen = plane.diff().await.digest;
    let none = v1::CaptureRequest { expect_digest: seen, ..Default::default() };
    assert_eq!(code(plane.ask::<_, v1::CaptureReply>("capture", &none).await), ErrorCode::Conflict);
    let seq = plane.declare(|_| {}).await;
    plane.settle(seq).await;

    fs::write(root.join("motd"), "two\n").unwrap();
    fs::remove_file(root.join("gone")).unwrap();
    plane.until_drifted(&["gone", "motd"]).await;
    let seen = plane.diff().await.digest;
    // What comes after the look stays drift.
    fs::write(root.join("later"), "three\n").unwrap();
    plane.until_drifted(&["gone", "later", "motd"]).await;
    let request = v1::CaptureRequest { expect_digest: seen.clone(), ..Default::default() };
    let captured: v1::CaptureReply = plane.ask("capture", &request).await.unwrap();
    assert_eq!((captured.digest, captured.config_seq), (seen, seq));
    assert_eq!((captured.vcluster.as_str(), captured.not_restorable.len()), ("ml", 0));
    let changes: Vec<Change> = captured
        .changes
        .unwrap()
        .changes
        .into_iter()
        .map(|change| Change::try_from(change).unwrap())
        .collect();
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].new, Some(Value::Absent));
    assert!(file(changes[1].new.as_ref().unwrap()).content_kept);
    let blobs = plane.told.lock().unwrap().blobs.clone();
    let sent = &blobs[&sha256(b"two\n").to_vec()];
    assert_eq!(zstd::bulk::decompress(sent, 100).unwrap(), b"two\n");

    let seq = plane
        .declare(|site| {
            for change in changes {
                site.deltas.insert(change.key, change.new.unwrap());
            }
            site.contents.insert(sha256(b"two\n").to_vec(), b"two\n".to_vec());
        })
        .await;
    let settled = plane.settle(seq).await;
    assert_eq!((settled.config_seq, settled.problems.len()), (seq, 0));
    plane.until_drifted(&["later"]).await;
    fs::remove_file(root.join("later")).unwrap();
    plane.until_window(WindowState::Idle).await;
    let stale = v1::CaptureRequest { expect_digest: vec![7; 32], ..Default::default() };
    assert_eq!(
        code(plane.ask::<_, v1::CaptureReply>("capture", &stale).await),
        ErrorCode::Conflict
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_observe_mode_is_never_written_to() {
    let plane = Plane::start().await;
    fs::create_dir_all(plane.root()).unwrap();
    let agent = plane.agent("strict").await;
    plane.watched().await;
    let path = plane.root().join("motd");
    let seq = plane
        .declare(|site| {
            let value = site.file("declared\n");
            site.overlay.insert(key(&path), value);
            site.blacklist = vec![format!("{}/noise/**", path.parent().unwrap().display())];
        })
        .await;
    assert_eq!(plane.settle(seq).await.drift_keys, 1);
    assert!(!path.exists());
    // The vCluster's blacklist holds beside the agent's.
    fs::create_dir(plane.root().join("noise")).unwrap();
    fs::write(plane.root().join("noise/x"), "x").unwrap();
    // The agent's own, after SIGHUP.
    let config = plane.folder().join("agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"sysctl/**\"", "\"sysctl/**\", \"/**/motd\"")).unwrap();
    agent.signal(nix::sys::signal::Signal::SIGHUP);
    until("the reload", || agent.log().contains("the configuration was read again")).await;
    plane.until_drifted(&["noise"]).await;
    fs::write(&config, "[agent]\nnonsense = 1\n").unwrap();
    agent.signal(nix::sys::signal::Signal::SIGHUP);
    until("the refusal", || agent.log().contains("the last good one stays in force")).await;
    plane.until_drifted(&["noise"]).await;
    let converged = |body: &Body| matches!(body, Body::Converged(_));
    assert!(!plane.bodies().iter().any(converged));
}

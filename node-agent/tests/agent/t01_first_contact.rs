//! Enrolment, identity on disk, hello, capability report, refusals.

use std::os::unix::fs::PermissionsExt as _;

use pact_schemas::{ErrorCode, v1};

use crate::plane::{Plane, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_refused_asks_again_and_keeps_what_it_gets() {
    let plane = Plane::start().await;
    *plane.refusal.lock().unwrap() = Some(ErrorCode::HardwareIdentityConflict);
    let agent = plane.launch("strict");
    until("the refusal is logged", || agent.log().contains("enrolment: hardware mismatch")).await;
    *plane.refusal.lock().unwrap() = None;
    until("hello", || !plane.told.lock().unwrap().hellos.is_empty()).await;
    let hello = plane.told.lock().unwrap().hellos[0].clone();
    assert_eq!(
        (hello.whitelist_mode.as_str(), hello.enforcement_mode.as_str()),
        ("strict", "observe")
    );
    let key = plane.state().join("identity/node.key");
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(plane.folder().join("agent.crt")).unwrap().contains("BEGIN"));
    let node = std::fs::read_to_string(plane.folder().join("run/node.json")).unwrap();
    assert!(node.contains("\"node_id\":\"node-1\""), "{node}");
    until("the report", || !plane.told.lock().unwrap().events.is_empty()).await;
    let shown = std::fs::read(plane.folder().join("run/capability.json")).unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
    {
        let told = plane.told.lock().unwrap();
        let Some(v1::node_event::Body::CapabilityChange(change)) = &told.events[0].body else {
            panic!("{:?}", told.events)
        };
        let report =
            zstd::bulk::decompress(&told.blobs[&change.report[0].sha256], 1 << 18).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&report).unwrap(), shown);
    }
    // Again with the same identity: nobody is asked, nothing is reported twice.
    agent.kill();
    *plane.refusal.lock().unwrap() = Some(ErrorCode::NodeRevoked);
    let mut agent = plane.agent("strict").await;
    agent.terminate();
    assert_eq!(agent.ended().await, Some(0));
    let told = plane.told.lock().unwrap();
    assert_eq!((told.events.len(), told.violations.len()), (1, 0));
    assert_eq!(told.hellos[0].spool_id, told.hellos[1].spool_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_do_not_share_a_state_folder() {
    let plane = Plane::start().await;
    let _first = plane.agent("strict").await;
    let mut second = plane.launch("strict");
    assert_eq!(second.ended().await, Some(1));
    assert!(second.log().contains("another agent works in"), "{}", second.log());
}

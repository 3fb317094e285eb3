//! Looks, and plans of admins.

use super::*;

#[test]
fn a_checked_plan_is_reserved_and_then_carried_out() {
    let mut site = Site::new();
    let declared = site.declares(policy(), &[("sysctl/a", 5)]);
    let mut engine = site.started(Mode::Enforce, &declared);
    site.node.set("file//etc/b", 2);
    engine.wake();
    let digest = engine.set.digest().to_vec();
    let plan = v1::RollbackPlan {
        node: "n1".into(),
        discard_drift: true,
        expect_digest: digest.clone(),
        changes: None,
    };
    site.node.hold("file//etc/b", true);
    let held = engine.rollback_check(&plan).unwrap();
    assert_eq!((held.keys, held.holders.len()), (1, 1));
    site.node.hold("file//etc/b", false);
    let checked = engine.rollback_check(&plan).unwrap();
    assert_eq!((checked.keys, checked.holders.len()), (1, 0));
    let other = v1::RollbackPlan { expect_digest: vec![1], ..plan.clone() };
    let busy = engine.rollback_check(&other).unwrap_err();
    assert_eq!(busy.known_code(), pact_schemas::ErrorCode::Busy);
    // It appears later: the node is deferred, with the entry's number.
    site.node.hold("file//etc/b", true);
    let reply = engine.rollback(Seq::new(9).unwrap(), &plan).unwrap();
    assert_eq!((reply.restored_keys, reply.holders.len()), (0, 1));
    assert_eq!(state(&engine), WindowState::Deferred);
    let last = site.told.events().into_iter().rev().find_map(|body| match body {
        Body::Deferred(deferred) => Some(deferred),
        _ => None,
    });
    assert_eq!(last.unwrap().rollback_seq, Some(9));
    site.node.hold("file//etc/b", false);
    let reply = engine.rollback(Seq::new(10).unwrap(), &plan).unwrap();
    assert_eq!((reply.restored_keys, site.node.get("file//etc/b")), (1, 1));
    let gone = engine.rollback(Seq::new(11).unwrap(), &plan).unwrap_err();
    assert_eq!(gone.known_code(), pact_schemas::ErrorCode::Conflict);
    assert_eq!(site.converged(), [], "its entry is in the journal already");
}

#[test]
fn a_plan_of_changes_touches_only_keys_that_are_as_it_expects() {
    use pact_schemas::resource::{Change, change_set};
    let mut site = Site::new();
    let declared = site.declares(policy(), &[("file//etc/b", 5), ("sysctl/a", 5)]);
    let mut engine = site.started(Mode::Enforce, &nothing());
    engine.adopt(&declared);
    site.node.set("sysctl/a", 6);
    engine.wake();
    let change = |key: &str, new: Option<i64>| Change {
        key: key.parse().unwrap(),
        old: Some(Value::Integer(5)),
        new: new.map(Value::Integer),
    };
    let changes = [change("file//etc/b", None), change("sysctl/a", Some(4))];
    let plan = v1::RollbackPlan {
        node: "n1".into(),
        changes: Some(change_set::pack(&changes).0),
        ..Default::default()
    };
    let reply = engine.rollback(Seq::new(9).unwrap(), &plan).unwrap();
    assert_eq!((reply.restored_keys, reply.problems.len()), (1, 1));
    assert_eq!(reply.problems[0].code, "PACT_CONFLICT");
    assert_eq!((site.node.get("file//etc/b"), site.node.get("sysctl/a")), (1, 6));
    let chunked = v1::ChangeSet { chunks: vec![v1::BlobRef::default()], ..Default::default() };
    let plan = v1::RollbackPlan { changes: Some(chunked), ..plan };
    let refused = engine.rollback(Seq::new(10).unwrap(), &plan).unwrap_err();
    assert_eq!(refused.known_code(), pact_schemas::ErrorCode::TooLarge);
}

#[test]
fn a_look_has_pages_of_one_snapshot() {
    let site = Site::new();
    let count = 2_500;
    for number in 0..count {
        site.node.was(&format!("sysctl/k{number:04}"), 1);
    }
    let mut engine = site.started(Mode::Observe, &nothing());
    for number in 0..count {
        site.node.set(&format!("sysctl/k{number:04}"), 2);
    }
    let summary = engine.diff(&v1::DiffRequest { summary: true, ..Default::default() }).unwrap();
    assert_eq!((summary.total, summary.items.len()), (count, 0));
    let mut request = v1::DiffRequest::default();
    let mut keys = Vec::new();
    loop {
        let page = engine.diff(&request).unwrap();
        assert_eq!(page.total, count);
        keys.extend(page.items.into_iter().map(|item| item.change.unwrap().key));
        if page.next_offset == 0 {
            break;
        }
        // What changes meanwhile changes no page.
        site.node.set("sysctl/a", 2);
        engine.wake();
        request = v1::DiffRequest { offset: page.next_offset, digest: page.digest, summary: false };
    }
    assert_eq!(keys.len() as u32, count);
    assert!(keys.is_sorted() && !keys.contains(&"sysctl/a".to_owned()));
    let unknown = v1::DiffRequest { offset: 1, digest: vec![0; 32], summary: false };
    assert_eq!(engine.diff(&unknown).unwrap_err().known_code(), pact_schemas::ErrorCode::Conflict);
}

#[test]
fn a_decision_is_about_what_is_there_now_and_what_moved_is_named_and_stays() {
    let declared = |site: &mut Site| site.declares(policy(), &[("sysctl/a", 60), ("sysctl/b", 60)]);
    // Not polled yet: looked at before anybody says that there is nothing to commit.
    let mut site = Site::new();
    let known = declared(&mut site);
    let mut engine = site.started(Mode::Enforce, &known);
    site.node.slip("sysctl/a", 61);
    site.node.slip("sysctl/b", 61);
    let summary = v1::DiffRequest { summary: true, ..Default::default() };
    let shown = engine.diff(&summary).unwrap();
    assert_eq!(shown.total, 2);
    // One of them moves again: it is named, and no value of before is committed or written.
    site.node.slip("sysctl/a", 63);
    let captured = engine.capture(&shown.digest).unwrap();
    let keys: Vec<String> = captured.snapshot.items.iter().map(|i| i.key.to_string()).collect();
    assert_eq!(keys, ["sysctl/b"]);
    let left = &captured.left[0];
    assert_eq!((left.key.as_str(), left.code.as_str()), ("sysctl/a", "PACT_CONFLICT"));
    assert_eq!(engine.set.get(&left.key).unwrap().actual(), Value::Integer(63));
    // Nothing of it is as it was seen: nothing is committed.
    site.node.slip("sysctl/b", 63);
    assert_eq!(engine.capture(&shown.digest).unwrap_err().code, "PACT_CONFLICT");
    // A rollback of drift leaves it likewise.
    let shown = engine.diff(&summary).unwrap();
    site.node.slip("sysctl/a", 64);
    let plan = v1::RollbackPlan {
        node: "n1".into(),
        discard_drift: true,
        expect_digest: shown.digest,
        ..Default::default()
    };
    let reply = engine.rollback(Seq::new(9).unwrap(), &plan).unwrap();
    assert_eq!((site.node.get("sysctl/a"), site.node.get("sysctl/b")), (64, 60));
    assert_eq!((reply.restored_keys, reply.problems[0].key.as_str()), (1, "sysctl/a"));
}

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
        ..Default::default()
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

/// The node's drift, as it is discarded.
fn discard(engine: &Engine, keys: &[&str]) -> v1::RollbackPlan {
    v1::RollbackPlan {
        node: "n1".into(),
        discard_drift: true,
        expect_digest: engine.set.digest().to_vec(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        changes: None,
    }
}

#[test]
fn a_rollback_names_what_it_may_not_write_and_leaves_it() {
    let mut site = Site::new();
    site.enforce_keys = "/etc/**";
    for key in ["file//etc/b", "file//etc/own", "sysctl/a"] {
        site.node.was(key, 1);
    }
    let mut engine = site.started(Mode::Observe, &nothing());
    for key in ["file//etc/b", "file//etc/own", "sysctl/a"] {
        site.node.set(key, 2);
    }
    engine.wake();
    let shown = engine.diff(&v1::DiffRequest::default()).unwrap();
    let noted: Vec<_> = shown.items.iter().map(|item| item.not_restorable.as_deref()).collect();
    let own = Some("not written: the agent's own, which its enrolment and renewal alone write");
    assert_eq!(noted, [None, own, Some("not written: outside enforce_keys")]);
    let plan = discard(&engine, &[]);
    let checked = engine.rollback_check(&plan).unwrap();
    assert_eq!((checked.keys, checked.problems.len()), (1, 2));
    let reply = engine.rollback(Seq::new(9).unwrap(), &plan).unwrap();
    let named: Vec<_> = reply.problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!((reply.restored_keys, named), (1, vec!["file//etc/own", "sysctl/a"]));
    let now = ["file//etc/b", "file//etc/own", "sysctl/a"].map(|key| site.node.get(key));
    assert_eq!(now, [1, 2, 2]);
}

#[test]
fn what_is_declared_of_the_agents_own_is_drift_and_never_written() {
    let mut site = Site::new();
    site.node.was("file//etc/own", 1);
    let declared = site.declares(policy(), &[("file//etc/own", 5), ("file//etc/b", 5)]);
    let mut engine = site.started(Mode::Enforce, &declared);
    assert_eq!((site.node.get("file//etc/b"), engine.set.len()), (5, 1));
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert!(engine.set.get(&"file//etc/own".parse().unwrap()).is_some());
    assert_eq!(site.converged(), []);
}

#[test]
fn keys_that_are_named_are_taken_or_discarded_and_the_rest_stays_drift() {
    let site = Site::new();
    let mut engine = site.started(Mode::Observe, &nothing());
    site.node.set("file//etc/b", 2);
    site.node.set("sysctl/a", 2);
    engine.wake();
    let unknown = engine.rollback_check(&discard(&engine, &["sysctl/nothing"])).unwrap_err();
    assert_eq!(unknown.known_code(), pact_schemas::ErrorCode::NotFound);
    let malformed = engine.rollback_check(&discard(&engine, &["["])).unwrap_err();
    assert_eq!(malformed.known_code(), pact_schemas::ErrorCode::InvalidArgument);
    let plan = discard(&engine, &["/etc/**"]);
    let reply = engine.rollback(Seq::new(9).unwrap(), &plan).unwrap();
    assert_eq!((reply.restored_keys, reply.problems.len()), (1, 0));
    assert_eq!((site.node.get("file//etc/b"), site.node.get("sysctl/a")), (1, 2));
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

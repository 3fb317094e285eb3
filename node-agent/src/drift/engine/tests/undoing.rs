//! What an undo leaves as it is, and how that is told.

use pact_schemas::resource::Change;

use super::*;
use crate::drift::store::Intent;

fn deferred(site: &Site) -> Vec<v1::Deferred> {
    let of = |body: Body| match body {
        Body::Deferred(event) => Some(event),
        _ => None,
    };
    site.told.events().into_iter().filter_map(of).collect()
}

/// An undo of two keys was interrupted after the first of them.
fn interrupted(site: &Site, why: Why) {
    let change = |key: &str| Change {
        key: key.parse().unwrap(),
        old: Some(Value::Integer(2)),
        new: Some(Value::Integer(1)),
    };
    let changes = vec![change("file//etc/b"), change("sysctl/a")];
    let store = Store::open(&site.path().join("drift")).unwrap();
    let spool_head = site.told.events().len() as u64;
    store.begin(&Intent { why, spool_head, changes }).unwrap();
    site.node.set("sysctl/a", 2);
}

#[test]
fn an_interrupted_undo_is_not_finished_where_the_node_may_not_write_any_more() {
    let (everything, nowhere) = ("**", "/nowhere/**");
    let undo = Why::WindowEnded;
    // Mode, keys that are enforced, blacklist, why; what the key is in the end, and whether it is drift.
    for (mode, enforced, blacklist, why, is, drifts) in [
        (Mode::Enforce, everything, nowhere, undo, 1, 0),
        (Mode::Observe, everything, nowhere, undo, 2, 1),
        (Mode::Enforce, "/etc/**", nowhere, undo, 2, 1),
        (Mode::Enforce, everything, "sysctl/*", undo, 2, 0),
        (Mode::Enforce, everything, "sysctl/*", Why::Conflict, 2, 0),
        (Mode::Enforce, everything, nowhere, Why::Category, 2, 1), // no category is undone at once
        (Mode::Observe, everything, nowhere, Why::Declared, 2, 1),
        (Mode::Enforce, everything, "sysctl/*", Why::Declared, 2, 0),
        // An admin's rollback asks neither mode nor blacklist; what the file lets be written bounds it too.
        (Mode::Observe, everything, "sysctl/*", Why::Rollback { seq: 7 }, 1, 0),
        (Mode::Enforce, "/etc/**", nowhere, Why::Rollback { seq: 7 }, 2, 1),
    ] {
        let mut site = Site::new();
        drop(site.started(Mode::Enforce, &nothing()));
        (site.enforce_keys, site.blacklist) = (enforced, blacklist);
        interrupted(&site, why);
        let engine = site.started(mode, &nothing());
        let case = format!("{mode} {enforced} {blacklist} {why:?}");
        assert_eq!((site.node.get("sysctl/a"), engine.set.len()), (is, drifts), "{case}");
        // What was done before is told all the same; what was left is no mistake and waits for nothing.
        let told = site.converged();
        let is_told_elsewhere = matches!(why, Why::Declared | Why::Rollback { .. });
        let expected = if is_told_elsewhere { vec![] } else { vec![if is == 1 { 2 } else { 1 }] };
        assert_eq!(told.iter().map(|(_, keys)| *keys).collect::<Vec<_>>(), expected, "{case}");
        assert!(deferred(&site).is_empty(), "{case}");
        assert_eq!(engine.store.intent().unwrap(), None, "{case}");
        let cleaned = ["file//etc/b", "sysctl/a"].map(|key| key.parse().unwrap());
        assert_eq!(site.node.node().cleaned, BTreeSet::from(cleaned), "{case}");
    }
}

#[test]
fn what_somebody_edits_while_it_is_undone_stays_is_drift_and_is_told() {
    let site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.node.set("file//etc/b", 2);
    site.node.set("sysctl/a", 2);
    engine.wake();
    let key: ResourceKey = "file//etc/b".parse().unwrap();
    site.node.node().edited.insert(key.clone(), Value::Integer(3));
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("file//etc/b"), site.node.get("sysctl/a")), (3, 1));
    assert_eq!(site.converged(), [(ConvergeReason::WindowExpired, 1)]);
    // The edit is what is shown as drift, not what it was before.
    assert_eq!(engine.set.get(&key).unwrap().actual(), Value::Integer(3));
    assert_eq!((engine.set.len(), state(&engine)), (1, WindowState::Deferred));
    let told = deferred(&site);
    assert_eq!((told.len(), told[0].not_restorable.clone()), (1, vec![key.to_string()]));
    assert!(told[0].holders.is_empty());
    // Its time is over: the next try, which nobody edits into, finds it as it is.
    site.hand.advance(MINUTE);
    engine.wake();
    assert_eq!((site.node.get("file//etc/b"), state(&engine)), (1, WindowState::Idle));
}

#[test]
fn answers_for_several_keys_at_once_belong_to_their_keys() {
    for at_once in 1..9 {
        let site = Site::new();
        let keys: Vec<String> = (0..7).map(|number| format!("file//etc/k{number}")).collect();
        keys.iter().for_each(|key| site.node.was(key, 1));
        let mut engine = site.started(Mode::Enforce, &nothing());
        site.node.node().at_once = at_once;
        keys.iter().for_each(|key| site.node.set(key, 2));
        site.node.set("sysctl/a", 2);
        engine.wake();
        for (key, edit) in [(&keys[2], 3), (&keys[5], 4)] {
            site.node.node().edited.insert(key.parse().unwrap(), Value::Integer(edit));
        }
        site.hand.advance(15 * MINUTE);
        engine.wake();
        let values: Vec<i64> = keys.iter().map(|key| site.node.get(key)).collect();
        assert_eq!((values, site.node.get("sysctl/a")), (vec![1, 1, 3, 1, 1, 4, 1], 1));
        let told = deferred(&site).pop().unwrap();
        assert_eq!(told.not_restorable, [keys[2].clone(), keys[5].clone()], "{at_once}");
        assert_eq!(site.converged(), [(ConvergeReason::WindowExpired, 6)], "{at_once}");
        assert_eq!(engine.set.len(), 2);
    }
}

#[test]
fn a_key_of_which_nobody_can_say_who_uses_it_is_not_touched_and_is_told() {
    let site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.node.set("file//etc/b", 2);
    engine.wake();
    site.node.node().unsearched = true;
    site.hand.advance(15 * MINUTE);
    engine.wake();
    for _ in 0..3 {
        assert_eq!((site.node.get("file//etc/b"), state(&engine)), (2, WindowState::Deferred));
        assert!(site.node.node().applied.is_empty());
        site.hand.advance(MINUTE);
        engine.wake();
    }
    let told = deferred(&site);
    assert_eq!(told.len(), 1, "told once, however often it is tried");
    assert_eq!(told[0].not_restorable, ["file//etc/b"]);
    assert!(told[0].holders.is_empty(), "nobody was found, and nobody is named");
    // Nor when an admin asks: whoever may be hurt is on the list, unknown.
    let plan = v1::RollbackPlan {
        node: "n1".into(),
        discard_drift: true,
        expect_digest: engine.set.digest().to_vec(),
        ..Default::default()
    };
    let check = engine.rollback_check(&plan).unwrap();
    assert_eq!((check.holders[0].command.as_str(), check.holders[0].pid), ("unknown", 0));
    let reply = engine.rollback(Seq::new(9).unwrap(), &plan).unwrap();
    assert_eq!((reply.restored_keys, site.node.get("file//etc/b")), (0, 2));
    assert_eq!(reply.problems[0].code, "PACT_ROLLBACK_FAILED");
    site.node.node().unsearched = false;
    site.hand.advance(MINUTE);
    engine.wake();
    assert_eq!((site.node.get("file//etc/b"), state(&engine)), (1, WindowState::Idle));
}

#[test]
fn a_capture_names_what_the_node_could_not_bring_back() {
    let mut site = Site::new();
    let declared = site.declares(policy(), &[]);
    let keys = ["file//etc/one", "file//etc/two"].map(|key| key.parse::<ResourceKey>().unwrap());
    for key in &keys {
        let mut node = site.node.node();
        node.baseline.insert(key.clone(), Value::Withheld([1; 32]));
        node.actual.insert(key.clone(), Value::Withheld([2; 32]));
    }
    site.node.set("sysctl/a", 2);
    let mut engine = site.started(Mode::Observe, &declared);
    let captured = |engine: &mut Engine| {
        let digest = engine.diff(&v1::DiffRequest::default()).unwrap().digest;
        let request = v1::CaptureRequest { expect_digest: digest, keys: Vec::new() };
        let captured = engine.capture(&request).unwrap();
        assert_eq!(captured.items.len(), 3);
        captured.unkept.into_iter().collect::<Vec<_>>()
    };
    assert!(captured(&mut engine).is_empty());
    site.node.node().unkept.insert(keys[1].clone());
    assert_eq!(captured(&mut engine), [keys[1].clone()]);
    // What may be gone after a power loss is as good as not kept; what travels to the journal is not asked for.
    site.node.node().is_kept_lost = true;
    assert_eq!(captured(&mut engine), keys);
}

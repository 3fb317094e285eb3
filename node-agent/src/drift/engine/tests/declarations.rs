//! What is declared: brought about, ended, let go.

use super::*;

#[test]
fn declarations_are_brought_about_in_enforce_mode_and_let_go_again() {
    let mut site = Site::new();
    let first = site.declares(policy(), &[("sysctl/a", 5), ("sysctl/new", 7)]);
    let mut engine = site.started(Mode::Enforce, &nothing());
    engine.adopt(&first);
    assert_eq!((site.node.get("sysctl/a"), site.node.get("sysctl/new")), (5, 7));
    assert_eq!((site.drift_keys().len(), state(&engine)), (0, WindowState::Idle));
    // Declared no more: back to what it was, but not what somebody changed since.
    site.node.set("sysctl/new", 8);
    let second = site.declares(policy(), &[]);
    engine.adopt(&second);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), site.node.get("sysctl/new")), (1, 8));

    // Only observed: what is declared shows as drift.
    let mut site = Site::new();
    let first = site.declares(policy(), &[("sysctl/a", 5)]);
    let mut engine = site.started(Mode::Observe, &nothing());
    engine.adopt(&first);
    assert_eq!((site.node.get("sysctl/a"), site.drift_keys()), (1, vec![1]));
}

#[test]
fn after_a_boot_what_is_declared_on_disk_holds_without_the_journal() {
    let mut site = Site::new();
    let known = site.declares(policy(), &[("sysctl/a", 5)]);
    let known = Known { is_confirmed: false, ..known };
    drop(site.started(Mode::Enforce, &known));
    assert_eq!(site.node.get("sysctl/a"), 5);
    // An agent that starts again in the same boot undoes nothing that somebody is working on.
    site.node.set("sysctl/a", 6);
    drop(site.started(Mode::Enforce, &known));
    assert_eq!(site.node.get("sysctl/a"), 6);
    // The window of that change still holds after a reboot; another value of the boot does not.
    site.boot = BootId::read().unwrap();
    drop(site.started(Mode::Enforce, &known));
    assert_eq!(site.node.get("sysctl/a"), 6);
    site.node.set("sysctl/a", 5);
    drop(site.started(Mode::Enforce, &known));
    site.node.set("sysctl/a", 1);
    site.boot = BootId::other();
    drop(site.started(Mode::Enforce, &known));
    assert_eq!(site.node.get("sysctl/a"), 5);
}

#[test]
fn a_held_declaration_takes_no_other_drift_its_window() {
    let mut site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.node.set("sysctl/a", 2);
    engine.wake();
    site.node.hold("file//etc/b", true);
    let declared = site.declares(policy(), &[("file//etc/b", 5)]);
    engine.adopt(&declared);
    assert_eq!(state(&engine), WindowState::Open);
    site.hand.advance(2 * MINUTE);
    engine.wake();
    assert_eq!(site.node.get("sysctl/a"), 2, "its window runs");
    // Without other drift the declaration waits for its holder, and comes when that is gone.
    let mut site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.node.hold("file//etc/b", true);
    let declared = site.declares(policy(), &[("file//etc/b", 5)]);
    engine.adopt(&declared);
    assert_eq!(state(&engine), WindowState::Deferred);
    site.node.set("sysctl/a", 2);
    engine.wake();
    site.node.hold("file//etc/b", false);
    site.hand.advance(2 * MINUTE);
    engine.wake();
    assert_eq!(site.node.get("sysctl/a"), 2, "it has a window of its own");
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), site.node.get("file//etc/b")), (1, 5));
}

#[test]
fn an_older_configuration_never_takes_the_place_of_a_newer_one() {
    let mut site = Site::new();
    let older = site.declares(policy(), &[("sysctl/a", 5)]);
    let newer = site.declares(policy(), &[("sysctl/a", 6)]);
    let mut engine = site.started(Mode::Enforce, &nothing());
    engine.adopt(&newer);
    engine.adopt(&older);
    assert_eq!(site.node.get("sysctl/a"), 6);
}

#[test]
fn what_has_ended_stays_ended_without_the_journal_and_over_a_reboot() {
    let mut site = Site::new();
    let end = START.checked_add(25 * 60 * MINUTE).unwrap();
    let known = site.declares_until(policy(), &[("sysctl/a", 5, Some(end))]);
    let known = Known { is_confirmed: false, ..known };
    let mut engine = site.started(Mode::Enforce, &known);
    engine.plane.set(START);
    assert_eq!(site.node.get("sysctl/a"), 5);
    // The bus is away, and the fix grows too old for grants before the key ends.
    site.hand.advance(24 * 60 * MINUTE + MINUTE);
    engine.wake();
    assert_eq!((engine.plane.now(), site.node.get("sysctl/a")), (None, 5));
    site.hand.advance(59 * MINUTE + Duration::from_secs(2));
    assert!(engine.wake() > Duration::ZERO);
    assert_eq!(site.node.get("sysctl/a"), 5, "late rather than early");
    site.hand.advance(MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), engine.set.len()), (1, 0));
    drop(engine);
    for _ in 0..2 {
        let mut engine = site.started(Mode::Enforce, &known);
        engine.wake();
        assert_eq!((site.node.get("sysctl/a"), engine.wanted.len()), (1, 0));
        drop(engine);
        site.reboot();
    }
}

#[test]
fn a_key_whose_time_ends_after_a_reboot_without_the_journal_ends() {
    let mut site = Site::new();
    let end = START.checked_add(30 * MINUTE).unwrap();
    let known = site.declares_until(policy(), &[("sysctl/a", 5, Some(end))]);
    let engine = site.started(Mode::Enforce, &known);
    engine.plane.set(START);
    drop(engine);
    site.reboot();
    let mut engine = site.started(Mode::Enforce, &Known { is_confirmed: false, ..known });
    assert_eq!(site.node.get("sysctl/a"), 5);
    site.hand.advance(31 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), engine.plane.now()), (1, None));
}

/// A node in enforce mode with a declared key, which is then let go while something is in the way.
fn let_go(hinder: impl FnOnce(&Site)) -> (Site, Engine) {
    let mut site = Site::new();
    site.node.set("sysctl/far", 1); // not under watch
    let first = site.declares(policy(), &[("sysctl/a", 5), ("sysctl/far", 7)]);
    let mut engine = site.started(Mode::Enforce, &first);
    hinder(&site);
    let second = site.declares(policy(), &[]);
    engine.adopt(&second);
    (site, engine)
}

fn both(site: &Site) -> (i64, i64) {
    (site.node.get("sysctl/a"), site.node.get("sysctl/far"))
}

#[test]
fn what_is_let_go_and_held_is_told_and_restored_later() {
    let (site, mut engine) = let_go(|site| site.node.hold("sysctl/far", true));
    assert_eq!((both(&site), state(&engine)), ((1, 7), WindowState::Deferred));
    let deferred = |body: &Body| matches!(body, Body::Deferred(event) if event.holders.len() == 1);
    assert!(site.told.events().iter().any(deferred));
    // A restart in between forgets nothing.
    let known = Known { declared: Arc::clone(&engine.declared), ..nothing() };
    drop(engine);
    engine = site.started(Mode::Enforce, &known);
    assert_eq!((both(&site), engine.set.len()), ((1, 7), 1));
    site.node.hold("sysctl/far", false);
    site.hand.advance(2 * MINUTE);
    engine.wake();
    assert_eq!((both(&site), engine.bases.len()), ((1, 1), 0));
    assert_eq!(engine.store.bases().unwrap().len(), 0);
}

#[test]
fn what_is_let_go_and_cannot_be_written_is_tried_again() {
    let (site, mut engine) = let_go(|site| site.node.node().is_broken = true);
    assert_eq!((both(&site), engine.set.len()), ((5, 7), 2));
    let problems = engine.settled().problems;
    assert_eq!(problems.iter().map(|p| p.code.as_str()).collect::<Vec<_>>(), ["PACT_INTERNAL"; 2]);
    site.node.node().is_broken = false;
    site.hand.advance(MINUTE);
    engine.wake();
    assert_eq!((both(&site), engine.bases.len()), ((1, 1), 0));
    assert_eq!(engine.settled().problems, []);
}

#[test]
fn what_is_let_go_is_not_written_where_the_node_may_not() {
    let mut site = Site::new();
    site.enforce_keys = "file/**";
    site.node.set("sysctl/far", 1);
    let first = site.declares(policy(), &[("sysctl/a", 5), ("sysctl/far", 7)]);
    let mut engine = site.started(Mode::Enforce, &first);
    site.node.set("sysctl/a", 5);
    site.node.set("sysctl/far", 7);
    let second = site.declares(policy(), &[]);
    engine.wake();
    engine.adopt(&second);
    assert_eq!((both(&site), engine.set.len()), ((5, 7), 2), "it shows");
    // An admin's rollback finds what was there before, under watch or not.
    let change = pact_schemas::resource::Change {
        key: "sysctl/far".parse().unwrap(),
        old: Some(Value::Integer(7)),
        new: None,
    };
    let plan = v1::RollbackPlan {
        node: "n1".into(),
        changes: Some(pact_schemas::resource::change_set::pack(&[change]).0),
        ..Default::default()
    };
    engine.rollback(Seq::new(9).unwrap(), &plan).unwrap();
    assert_eq!(both(&site), (5, 1));
    // And the node itself, once it may.
    site.enforce_keys = "**";
    engine.reload(site.file(Mode::Enforce));
    assert_eq!((both(&site), engine.bases.len()), ((1, 1), 0));

    // On the blacklist it is nobody's business, and is known for when it is no longer on it.
    let mut site = Site::new();
    let first = site.declares(policy(), &[("sysctl/a", 5)]);
    let mut engine = site.started(Mode::Enforce, &first);
    site.blacklist = "sysctl/*";
    engine.reload(site.file(Mode::Enforce));
    let second = site.declares(policy(), &[]);
    engine.adopt(&second);
    assert_eq!((site.node.get("sysctl/a"), engine.set.len()), (5, 0));
    site.blacklist = "/tmp/**";
    engine.reload(site.file(Mode::Enforce));
    assert_eq!((site.node.get("sysctl/a"), engine.bases.len()), (1, 0));
}

#[test]
fn what_somebody_else_changed_stays_drift_against_what_was_before_until_somebody_decides() {
    for key in ["sysctl/far", "sysctl/a"] {
        let (site, mut engine) = let_go(|site| site.node.set(key, 9));
        let item = engine.set.get(&key.parse().unwrap()).unwrap();
        let (was, is) = (item.wanted(), item.actual());
        assert_eq!((was, is), (Value::Integer(1), Value::Integer(9)), "{key}");
        assert_eq!((site.node.get(key), state(&engine)), (9, WindowState::Open));
        assert_eq!((engine.set.len(), engine.settled().problems), (1, Vec::new()));
        // A restart in between forgets nothing, and undoes nothing.
        let known = Known { declared: Arc::clone(&engine.declared), ..nothing() };
        drop(engine);
        engine = site.started(Mode::Enforce, &known);
        assert_eq!((site.node.get(key), engine.set.len()), (9, 1));
        // Its window undoes it like any drift.
        site.hand.advance(15 * MINUTE);
        engine.wake();
        assert_eq!((both(&site), state(&engine)), ((1, 1), WindowState::Idle));
        assert_eq!((engine.set.len(), engine.bases.len()), (0, 0));
    }
}

#[test]
fn a_declaration_that_a_full_spool_puts_off_is_brought_about_without_a_window_s_end() {
    let mut site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.told.fill(true);
    let declared = site.declares(policy(), &[("sysctl/a", 5)]);
    engine.adopt(&declared);
    assert_eq!((site.node.get("sysctl/a"), engine.set.len()), (1, 1));
    site.told.fill(false);
    // Also when the agent dies meanwhile.
    drop(engine);
    let mut engine = site.started(Mode::Enforce, &declared);
    site.hand.advance(MINUTE / 6);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (5, WindowState::Idle));
}

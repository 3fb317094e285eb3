//! A crash at any point of a change or an adoption.

use super::*;

#[test]
fn whatever_point_a_crash_comes_at_what_was_intended_is_finished_and_told_once() {
    use crate::drift::store::Intent;
    use pact_schemas::resource::Change;
    // How many of three keys were done, and whether the event was spooled.
    for (done, is_told) in [(0, false), (1, false), (2, false), (3, false), (3, true)] {
        let site = Site::new();
        drop(site.started(Mode::Enforce, &nothing()));
        let keys = ["sysctl/a", "file//etc/b", "sysctl/c"];
        site.node.was("sysctl/c", 1);
        for (number, key) in keys.iter().enumerate() {
            site.node.set(key, if number < done { 1 } else { 2 });
        }
        let change = |key: &&str| Change {
            key: key.parse().unwrap(),
            old: Some(Value::Integer(2)),
            new: Some(Value::Integer(1)),
        };
        let store = Store::open(&site.path().join("drift")).unwrap();
        let changes: Vec<Change> = keys.iter().map(change).collect();
        let spool_head = site.told.events().len() as u64;
        store.begin(&Intent { why: Why::WindowEnded, spool_head, changes }).unwrap();
        if is_told {
            let reason = ConvergeReason::WindowExpired.into();
            let event = v1::Converged {
                reason,
                changes: vec![v1::Change::default(); 3],
                omitted_changes: 0,
            };
            site.told.clone().report(Body::Converged(event)).unwrap();
        }
        let engine = site.started(Mode::Enforce, &nothing());
        assert!(keys.iter().all(|key| site.node.get(key) == 1), "{done}");
        assert_eq!(site.converged(), [(ConvergeReason::WindowExpired, 3)], "{done} {is_told}");
        assert_eq!(state(&engine), WindowState::Idle);
        assert_eq!(store.intent().unwrap(), None);
    }
    // Somebody else changed it in between: that stays, as drift.
    let site = Site::new();
    drop(site.started(Mode::Enforce, &nothing()));
    site.node.set("sysctl/a", 5);
    let store = Store::open(&site.path().join("drift")).unwrap();
    let (old, new) = (Some(Value::Integer(2)), Some(Value::Integer(1)));
    let changes = vec![Change { key: "sysctl/a".parse().unwrap(), old, new }];
    store.begin(&Intent { why: Why::WindowEnded, spool_head: 0, changes }).unwrap();
    let engine = site.started(Mode::Enforce, &nothing());
    assert_eq!((site.node.get("sysctl/a"), engine.set.len()), (5, 1));
    assert_eq!(site.converged(), []);
}

/// What node and journal have before the crash: two keys are declared, one of them otherwise afterwards, one is let go, one is new.
fn before_adoption() -> (Site, Known, Known) {
    let mut site = Site::new();
    site.node.was("sysctl/gone", 1);
    let before = site.declares(policy(), &[("sysctl/a", 5), ("sysctl/gone", 5)]);
    let after = site.declares(policy(), &[("sysctl/a", 6), ("sysctl/far", 7), ("file//etc/b", 8)]);
    (site, before, after)
}

fn values(site: &Site) -> [i64; 4] {
    ["sysctl/a", "sysctl/gone", "sysctl/far", "file//etc/b"].map(|key| site.node.get(key))
}

#[test]
fn an_adoption_is_finished_whatever_step_a_crash_comes_after() {
    let mut points = 0;
    for is_rebooted in [false, true] {
        for steps in 0.. {
            let (mut site, before, after) = before_adoption();
            site.node.set("sysctl/far", 1); // not under watch: what it was is nowhere but in its base
            let mut engine = site.started(Mode::Enforce, &before);
            assert_eq!(values(&site), [5, 5, 1, 1]);
            // The new head is on disk; the agent dies on its way from there.
            let died = site.dies(steps, || {
                engine.adopt(&after);
                engine.wake();
            });
            drop(engine);
            if is_rebooted {
                site.reboot();
            }
            let kept = Known { is_confirmed: false, ..after.clone() };
            let mut engine = site.started(Mode::Enforce, &kept);
            assert_eq!(values(&site), [6, 1, 7, 8], "after {steps} steps");
            assert_eq!((engine.set.len(), engine.conflicts.len()), (0, 0), "after {steps} steps");
            assert_eq!(state(&engine), WindowState::Idle, "after {steps} steps");
            // And nothing is forgotten of what was there before.
            let nothing = site.declares(policy(), &[]);
            engine.adopt(&nothing);
            assert_eq!(values(&site), [1, 1, 1, 1], "after {steps} steps");
            assert!(engine.bases.is_empty() && engine.store.bases().unwrap().is_empty());
            assert_eq!(engine.store.adopting().unwrap().len(), 0);
            points += usize::from(died);
            if !died {
                break;
            }
        }
    }
    assert!(points >= 2 * 8, "{points} points are not all there are");
}

#[test]
fn what_ends_while_its_adoption_was_interrupted_is_taken_back() {
    for steps in 0.. {
        let mut site = Site::new();
        site.node.set("sysctl/far", 1);
        let end = START.checked_add(MINUTE).unwrap();
        let without = site.declares(policy(), &[]);
        let delta = [("sysctl/a", 5, Some(end)), ("sysctl/far", 7, Some(end))];
        let after = site.declares_until(policy(), &delta);
        let mut engine = site.started(Mode::Enforce, &without);
        engine.plane.set(START);
        let died = site.dies(steps, || engine.adopt(&after));
        drop(engine);
        site.hand.advance(2 * MINUTE);
        let engine = site.started(Mode::Enforce, &Known { is_confirmed: false, ..after });
        let values = ["sysctl/a", "sysctl/far"].map(|key| site.node.get(key));
        assert_eq!(values, [1, 1], "after {steps} steps");
        assert_eq!((engine.set.len(), engine.bases.len()), (0, 0), "after {steps} steps");
        if !died {
            assert!(steps >= 5, "{steps} steps are not all there are");
            break;
        }
    }
}

#[test]
fn what_somebody_changed_while_an_adoption_was_interrupted_waits_for_a_decision() {
    let (site, before, after) = before_adoption();
    site.node.set("sysctl/far", 1);
    let mut engine = site.started(Mode::Enforce, &before);
    assert!(site.dies(1, || engine.adopt(&after)));
    drop(engine);
    site.node.set("sysctl/a", 9);
    let engine = site.started(Mode::Enforce, &Known { is_confirmed: false, ..after });
    assert_eq!(values(&site), [9, 1, 7, 8]);
    assert_eq!((engine.conflicts.len(), site.decisions()), (1, vec![ConflictDecision::Pending]));
}

#[test]
fn without_declarations_on_disk_nothing_is_let_go() {
    let mut site = Site::new();
    let declared = site.declares(policy(), &[("sysctl/a", 5)]);
    drop(site.started(Mode::Enforce, &declared));
    let mut engine = site.open(Mode::Enforce, &nothing());
    engine.start().unwrap();
    for _ in 0..20 {
        site.hand.advance(MINUTE);
        engine.wake();
    }
    assert_eq!((site.node.get("sysctl/a"), engine.set.len()), (5, 0));
    // The journal is back, and declares something else.
    let other = site.declares(policy(), &[("file//etc/b", 5)]);
    engine.adopt(&other);
    assert_eq!((site.node.get("sysctl/a"), site.node.get("file//etc/b")), (1, 5));
}

#[test]
fn the_window_that_was_told_is_the_window_after_a_crash() {
    let mut told = 0;
    for steps in 0.. {
        let site = Site::new();
        let mut engine = site.started(Mode::Enforce, &nothing());
        site.node.set("sysctl/a", 2);
        let died = site.dies(steps, || {
            engine.wake();
        });
        drop(engine);
        site.hand.advance(Duration::from_secs(1));
        let windows = |body: Body| match body {
            Body::DriftChanged(event) => event.drift.unwrap().window.unwrap().opened,
            _ => None,
        };
        let before: Vec<_> = site.told.events().into_iter().filter_map(windows).collect();
        let engine = site.started(Mode::Enforce, &nothing());
        if let Some(opened) = before.last() {
            assert_eq!(engine.window.status().opened.as_ref(), Some(opened), "after {steps} steps");
            told += usize::from(died);
        }
        if !died {
            break;
        }
    }
    assert!(told >= 1, "no crash came between the event and the end");
}

//! A provider that does not answer, and all that goes on beside it.

use super::*;

const KEY: &str = "module/nfs";

/// A node whose second provider hangs in this call from its next question on; all of its keys are as they were.
fn site(at: &'static str) -> (Site, Hanging, Engine) {
    let mut site = Site::new();
    let hanging = Hanging::default();
    hanging.node.was(KEY, 1);
    site.hanging = Some(hanging.clone());
    let engine = site.started(Mode::Enforce, &nothing());
    hanging.hang(Some(at));
    (site, hanging, engine)
}

/// Wakes the engine until this is so: a late answer comes when its thread has its turn.
fn wait(engine: &mut Engine, is_so: impl Fn(&Engine) -> bool) {
    for _ in 0..500 {
        engine.wake();
        if is_so(engine) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", engine.silent());
}

fn rollback(engine: &mut Engine) -> v1::RollbackReply {
    let plan = v1::RollbackPlan {
        node: "n1".into(),
        discard_drift: true,
        expect_digest: engine.set.digest().to_vec(),
        ..Default::default()
    };
    engine.rollback(Seq::new(9).unwrap(), &plan).unwrap()
}

#[test]
fn windows_diff_and_rollback_of_everything_else_go_on_beside_a_provider_that_sleeps_for_an_hour() {
    let (site, hanging, mut engine) = site("poll");
    site.node.set("sysctl/a", 2);
    engine.wake();
    assert_eq!((engine.set.len(), state(&engine)), (1, WindowState::Open));
    site.hand.advance(Duration::from_secs(42));
    assert_eq!(engine.silent(), ["kernel: no answer for 42s (watching)"]);
    let reply = engine.diff(&v1::DiffRequest::default()).unwrap();
    assert_eq!((reply.items.len(), reply.silent), (1, engine.silent()));
    assert!(engine.next_wake() <= Duration::from_secs(1), "the late answer is looked for");
    let reply = rollback(&mut engine);
    assert_eq!((reply.restored_keys, site.node.get("sysctl/a")), (1, 1));
    // A window ends.
    site.node.set("sysctl/a", 3);
    engine.wake();
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (1, WindowState::Idle));
    // What happened there meanwhile is found when it is back.
    hanging.node.set(KEY, 2);
    hanging.hang(None);
    wait(&mut engine, |engine| engine.silent().is_empty());
    assert_eq!((engine.set.len(), state(&engine)), (1, WindowState::Open));
}

#[test]
fn what_is_known_of_a_silent_dimension_stays_known_and_is_undone_when_it_is_back() {
    let mut site = Site::new();
    let hanging = Hanging::default();
    hanging.node.was(KEY, 1);
    site.hanging = Some(hanging.clone());
    let mut engine = site.started(Mode::Enforce, &nothing());
    hanging.node.set(KEY, 2);
    site.node.set("sysctl/a", 2);
    engine.wake();
    assert_eq!(engine.set.len(), 2);
    hanging.hang(Some("read"));
    hanging.node.set(KEY, 2);
    let reply = rollback(&mut engine);
    assert_eq!((reply.restored_keys, site.node.get("sysctl/a")), (1, 1));
    let problem = &reply.problems[0];
    assert_eq!((problem.key.as_str(), problem.code.as_str()), (KEY, "PACT_TIMEOUT"));
    assert!(problem.reason.contains("no answer for 0s (reading)"), "{problem:?}");
    // It is held back, and no status says otherwise.
    let deferred =
        |body: &Body| matches!(body, Body::Deferred(told) if told.not_restorable == [KEY]);
    assert!(site.told.events().iter().any(deferred));
    assert_eq!((engine.set.len(), state(&engine)), (1, WindowState::Deferred));
    hanging.hang(None);
    wait(&mut engine, |engine| engine.silent().is_empty());
    site.hand.advance(2 * MINUTE);
    engine.wake();
    assert_eq!((hanging.node.get(KEY), state(&engine)), (1, WindowState::Idle));
}

#[test]
fn a_write_that_ends_late_is_found_and_writes_nothing_that_changed_meanwhile() {
    for is_edited in [false, true] {
        let (site, hanging, mut engine) = site("apply");
        hanging.node.set(KEY, 2);
        engine.wake();
        site.hand.advance(15 * MINUTE);
        engine.wake();
        assert_eq!(engine.silent(), ["kernel: no answer for 0s (writing)"]);
        assert_eq!((engine.set.len(), state(&engine)), (1, WindowState::Deferred));
        if is_edited {
            hanging.node.set(KEY, 3);
        }
        hanging.hang(None);
        wait(&mut engine, |engine| engine.silent().is_empty());
        let expected = if is_edited { (3, 1) } else { (1, 0) };
        assert_eq!((hanging.node.get(KEY), engine.set.len()), expected);
    }
}

#[test]
fn a_first_look_that_ends_late_is_taken_and_what_was_declared_meanwhile_is_brought_about() {
    let mut site = Site::new();
    let hanging = Hanging::default();
    hanging.node.was(KEY, 1);
    hanging.node.was("module/x", 1);
    hanging.node.set("module/x", 2);
    site.hanging = Some(hanging.clone());
    hanging.hang(Some("scan"));
    let declared = site.declares(policy(), &[(KEY, 5), ("sysctl/a", 5)]);
    let mut engine = site.started(Mode::Enforce, &declared);
    assert_eq!((site.node.get("sysctl/a"), hanging.node.get(KEY)), (5, 1));
    let problems = engine.settled().problems;
    assert_eq!((problems.len(), problems[0].key.as_str()), (1, KEY));
    hanging.hang(None);
    wait(&mut engine, |engine| engine.silent().is_empty());
    assert_eq!((hanging.node.get(KEY), hanging.node.get("module/x"), engine.set.len()), (5, 2, 1));
    // What it was before is known: it comes back.
    let none = site.declares(policy(), &[]);
    engine.adopt(&none);
    assert_eq!(hanging.node.get(KEY), 1);
}

//! Windows: when they open and end, and what their end brings.

use super::super::super::core::set::MAX_ITEMS;
use super::*;

#[test]
fn drift_is_told_once_and_again_when_it_is_gone() {
    let site = Site::new();
    let mut engine = site.started(Mode::Observe, &nothing());
    engine.wake();
    assert_eq!(site.drift_keys(), [] as [u32; 0]);
    site.node.set("sysctl/a", 2);
    for _ in 0..3 {
        engine.wake();
    }
    assert_eq!((site.drift_keys(), state(&engine)), (vec![1], WindowState::Open));
    site.node.set("sysctl/a", 1);
    engine.wake();
    assert_eq!((site.drift_keys(), state(&engine)), (vec![1, 0], WindowState::Idle));
    // A restart tells nothing that is known.
    site.node.set("sysctl/a", 2);
    engine.wake();
    drop(engine);
    site.started(Mode::Observe, &nothing());
    assert_eq!(site.drift_keys(), [1, 0, 1]);
}

#[test]
fn in_observe_mode_a_window_expires_and_nothing_is_written() {
    let site = Site::new();
    let mut engine = site.started(Mode::Observe, &nothing());
    site.node.set("sysctl/a", 2);
    engine.wake();
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (2, WindowState::Expired));
    assert!(site.node.node().applied.is_empty());
    engine.extend(15.try_into().unwrap()).unwrap();
    assert_eq!(state(&engine), WindowState::Open);
}

#[test]
fn in_enforce_mode_the_end_of_a_window_undoes_what_nobody_committed() {
    let mut site = Site::new();
    let mut policy = policy();
    policy.enforcement_mode = Some("enforce".into());
    policy.require_ack_categories = vec!["files".into()];
    let declared = site.declares(policy, &[]);
    let mut engine = site.started(Mode::Observe, &declared);
    assert_eq!(engine.mode(), Mode::Enforce);
    site.node.set("sysctl/a", 2);
    site.node.set("file//etc/b", 2);
    site.node.set("file//tmp/x", 2);
    engine.wake();
    assert_eq!(engine.set.len(), 2);
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), site.node.get("file//etc/b")), (1, 2));
    assert_eq!(state(&engine), WindowState::Expired);
    assert_eq!(site.converged(), [(ConvergeReason::WindowExpired, 1)]);
    // Later drift gets a window of its own.
    site.node.set("sysctl/a", 3);
    engine.wake();
    assert_eq!(state(&engine), WindowState::Open);
    assert_eq!(site.node.get("sysctl/a"), 3);
}

#[test]
fn a_window_survives_a_restart_and_a_wall_clock_that_jumps_a_day() {
    let site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.node.set("sysctl/a", 2);
    engine.wake();
    site.hand.advance(5 * MINUTE);
    engine.wake();
    drop(engine);
    for days in [1_i64, -1] {
        let jump = START.unix_nanos() + days * 86_400_000_000_000;
        site.hand.set_wall(Timestamp::from_unix_nanos(jump));
        let mut engine = site.started(Mode::Enforce, &nothing());
        engine.wake();
        assert_eq!((site.node.get("sysctl/a"), state(&engine)), (2, WindowState::Open));
    }
    site.hand.advance(9 * MINUTE);
    let mut engine = site.started(Mode::Enforce, &nothing());
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (1, WindowState::Idle));
}

#[test]
fn who_uses_a_key_puts_its_undoing_off() {
    let site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.node.set("file//etc/b", 2);
    site.node.hold("file//etc/b", true);
    engine.wake();
    site.hand.advance(15 * MINUTE);
    engine.wake();
    let status = engine.window.status();
    assert_eq!((status.state(), status.holders[0].pid), (WindowState::Deferred, 42));
    assert_eq!(status.holders[0].command, "vim");
    for _ in 0..5 {
        site.hand.advance(2 * MINUTE);
        engine.wake();
    }
    let deferred = |body: &Body| matches!(body, Body::Deferred(_));
    assert_eq!(site.told.events().iter().filter(|body| deferred(body)).count(), 1);
    assert_eq!(site.node.get("file//etc/b"), 2);
    site.node.hold("file//etc/b", false);
    site.hand.advance(2 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("file//etc/b"), state(&engine)), (1, WindowState::Idle));
}

#[test]
fn categories_that_converge_are_undone_at_once_but_not_in_a_fight() {
    let mut site = Site::new();
    let mut policy = policy();
    policy.enforcement_mode = Some("enforce".into());
    policy.auto_converge_categories = vec!["kernel".into()];
    let declared = site.declares(policy, &[]);
    let mut engine = site.started(Mode::Observe, &declared);
    site.node.set("sysctl/a", 2);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (1, WindowState::Idle));
    assert_eq!(site.converged(), [(ConvergeReason::Category, 1)]);
    for _ in 0..10 {
        site.node.set("sysctl/a", 2);
        engine.wake();
    }
    assert_eq!((site.node.get("sysctl/a"), site.converged().len()), (2, 1));
    site.hand.advance(11 * Duration::from_secs(1));
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), site.converged().len()), (1, 2));
}

#[test]
fn a_full_spool_puts_changes_off_and_loses_no_report() {
    let site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.node.set("sysctl/a", 2);
    site.told.fill(true);
    engine.wake();
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (2, WindowState::Deferred));
    let why = engine.diff(&v1::DiffRequest::default()).unwrap().items[0].not_restorable.clone();
    assert!(why.unwrap().contains("tried again"));
    // For as long as it lasts it is tried now and then, not all the time.
    let (mut waits, mut last) = (Vec::new(), Duration::ZERO);
    for _ in 0..12 {
        let wait = engine.wake().max(Duration::from_secs(1));
        site.hand.advance(wait);
        last += wait;
        waits.push(wait);
    }
    assert!(last > 12 * MINUTE && *waits.iter().max().unwrap() <= 5 * MINUTE, "{waits:?}");
    site.told.fill(false);
    engine.settled();
    assert_eq!(site.drift_keys(), [1]);
    site.hand.advance(5 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (1, WindowState::Idle));
    assert_eq!((site.converged().len(), site.drift_keys()), (1, vec![1, 0]));
}

#[test]
fn a_disk_that_fails_at_the_end_of_a_window_ends_no_enforcement() {
    let site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.node.set("sysctl/a", 2);
    site.node.node().is_broken = true;
    engine.wake();
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (2, WindowState::Deferred));
    // Also over a restart.
    drop(engine);
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.hand.advance(MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (2, WindowState::Deferred));
    site.node.node().is_broken = false;
    site.hand.advance(MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (1, WindowState::Idle));
    assert_eq!(site.converged(), [(ConvergeReason::WindowExpired, 1)]);
    // What will never work is not tried for ever: it is over, and shows.
    site.node.set("sysctl/a", 2);
    engine.powers.read_only = vec!["/proc/sys"];
    engine.wake();
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!(state(&engine), WindowState::Expired);
}

#[test]
fn no_jump_of_the_wall_clock_ends_a_window_or_prolongs_it() {
    let day = 86_400_000_000_000;
    for (jump, knows_time) in [(day, false), (-day, false), (day, true), (-day, true)] {
        let site = Site::new();
        let mut engine = site.started(Mode::Enforce, &nothing());
        if knows_time {
            engine.plane.set(START);
        }
        site.node.set("sysctl/a", 2);
        engine.wake();
        let length = Limits { base: 15 * MINUTE, floor: 2 * MINUTE, sensitivity: 2.0 }.length(0.05);
        let jump = Timestamp::from_unix_nanos(START.unix_nanos() + jump);
        site.hand.set_wall(jump);
        engine.wake();
        let second = Duration::from_secs(1);
        site.hand.advance(length - second);
        assert!(engine.wake() <= second, "it ends when it would have ended");
        assert_eq!((site.node.get("sysctl/a"), state(&engine)), (2, WindowState::Open));
        site.hand.set_wall(jump);
        site.hand.advance(second);
        engine.wake();
        assert_eq!((site.node.get("sysctl/a"), state(&engine)), (1, WindowState::Idle));
    }
}

#[test]
fn what_the_agent_may_not_do_it_says_and_leaves() {
    let site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    engine.powers.read_only = vec!["/proc/sys"];
    site.node.set("sysctl/a", 2);
    site.node.set("file//etc/b", 2);
    engine.wake();
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), site.node.get("file//etc/b")), (2, 1));
    assert_eq!(state(&engine), WindowState::Expired);
    engine.powers.can_act = false;
    site.node.set("file//etc/b", 2);
    engine.wake();
    let plan = v1::RollbackPlan {
        node: "n1".into(),
        discard_drift: true,
        expect_digest: engine.set.digest().to_vec(),
        ..Default::default()
    };
    let reply = engine.rollback(Seq::new(9).unwrap(), &plan).unwrap();
    assert_eq!((reply.restored_keys, reply.problems.len()), (0, 2));
}

#[test]
fn another_blacklist_holds_at_once() {
    let site = Site::new();
    let mut engine = site.started(Mode::Observe, &nothing());
    site.node.set("sysctl/a", 2);
    engine.wake();
    let file = FileSettings { blacklist: vec!["sysctl/*".parse().unwrap()], ..engine.file.clone() };
    engine.reload(file);
    assert_eq!((engine.set.len(), state(&engine)), (0, WindowState::Idle));
    let file = FileSettings { blacklist: Vec::new(), ..engine.file.clone() };
    engine.reload(file);
    assert_eq!((engine.set.len(), state(&engine)), (1, WindowState::Open));
}

#[test]
fn what_did_not_fit_is_looked_for_when_there_is_room() {
    let site = Site::new();
    let keys: Vec<String> = (0..=MAX_ITEMS).map(|number| format!("sysctl/k{number:05}")).collect();
    keys.iter().for_each(|key| site.node.was(key, 1));
    let mut engine = site.started(Mode::Observe, &nothing());
    let drifts = |engine: &mut Engine, keys: &[String], value: i64| {
        keys.iter().for_each(|key| site.node.set(key, value));
        engine.wake();
        (engine.set.len(), engine.set.is_truncated())
    };
    assert_eq!(drifts(&mut engine, &keys, 2), (MAX_ITEMS, true));
    // One key is as it should be: the one that did not fit takes its place, without a word from the kernel.
    assert_eq!(drifts(&mut engine, &keys[..1], 1), (MAX_ITEMS - 1, true));
    site.hand.advance(MINUTE);
    engine.wake();
    assert_eq!((engine.set.len(), engine.set.is_truncated()), (MAX_ITEMS, false));
    // The rest goes too: nothing is said to be looked for any more.
    assert_eq!(drifts(&mut engine, &keys, 2), (MAX_ITEMS, true));
    drifts(&mut engine, &keys, 1);
    site.hand.advance(MINUTE);
    engine.wake();
    assert_eq!((engine.set.len(), engine.set.is_truncated()), (0, false));
}

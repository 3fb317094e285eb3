//! A provider whose calls do not return for an hour, beside one that answers.

use pact_schemas::resource::{Change, Dimension, Kind, change_set};

use super::*;

const STUCK: &str = "mount//scratch";

/// A site whose mounts hang while the gate is held.
fn site() -> (Site, Fake) {
    let mut site = Site::new();
    let mut mounts = Fake::default();
    mounts.kinds = &[Kind::Mount];
    mounts.was(STUCK, 1);
    site.others.push(mounts.clone());
    let soon = Duration::from_millis(50);
    site.patience = Patience { look: soon, change: soon, scan: soon };
    (site, mounts)
}

fn silent(engine: &mut Engine) -> Vec<String> {
    let reply = engine.diff(&v1::DiffRequest::default()).unwrap();
    reply.silent.into_iter().map(|one| format!("{} {}", one.dimension, one.doing)).collect()
}

fn problems(reply: &v1::RollbackReply) -> Vec<(&str, &str)> {
    reply.problems.iter().map(|one| (one.key.as_str(), one.reason.as_str())).collect()
}

/// Until the provider's thread has come back from its call: it has nothing else to wait for.
fn until_it_answers(engine: &mut Engine) {
    while engine.providers.silent().next().is_some() {
        std::thread::yield_now();
        engine.wake();
    }
}

#[test]
fn windows_diff_and_rollback_of_everything_else_go_on() {
    let (site, mounts) = site();
    let mut engine = site.started(Mode::Enforce, &nothing());
    mounts.set(STUCK, 2);
    site.node.set("sysctl/a", 2);
    engine.wake();
    assert_eq!(engine.set.len(), 2);
    let gate = mounts.gate.lock().unwrap();

    // Its window ends: what answers is undone, what does not is put off and says why.
    site.hand.advance(16 * MINUTE);
    engine.wake();
    assert_eq!(site.node.get("sysctl/a"), 1);
    assert_eq!(silent(&mut engine), ["mounts reading"]);
    assert_eq!(state(&engine), WindowState::Deferred);
    let shown = engine.diff(&v1::DiffRequest::default()).unwrap();
    let why = shown.items[0].not_restorable.clone().unwrap();
    assert!(why.contains("mounts does not answer: reading since 0 s"), "{why}");

    // New drift is seen, and what an admin rolls back is rolled back, but for what does not answer.
    site.node.set("file//etc/b", 5);
    engine.wake();
    assert_eq!(engine.set.len(), 2);
    let change = |key: &str, new| Change { key: key.parse().unwrap(), old: None, new: Some(new) };
    let changes = [change("file//etc/b", Value::Integer(7)), change(STUCK, Value::Integer(1))];
    let plan = v1::RollbackPlan {
        node: "n1".into(),
        changes: Some(change_set::pack(&changes).0),
        ..Default::default()
    };
    site.hand.advance(MINUTE * 60);
    let reply = engine.rollback(Seq::new(9).unwrap(), &plan).unwrap();
    assert_eq!((reply.restored_keys, site.node.get("file//etc/b")), (1, 7));
    let told = problems(&reply);
    assert_eq!(told[0].0, STUCK);
    assert!(told[0].1.contains("mounts does not answer: reading since 3"), "{told:?}");

    // It answers: what changed meanwhile is seen, and what was put off is undone.
    drop(gate);
    until_it_answers(&mut engine);
    site.hand.advance(10 * MINUTE);
    engine.wake();
    assert_eq!(mounts.get(STUCK), 1);
    assert_eq!(silent(&mut engine), [""; 0]);
}

#[test]
fn a_scan_that_takes_too_long_is_taken_when_it_is_over() {
    let (site, mounts) = site();
    mounts.set(STUCK, 2);
    let gate = mounts.gate.lock().unwrap();
    let mut engine = site.open(Mode::Observe, &nothing());
    engine.start().unwrap();
    assert_eq!(silent(&mut engine), ["mounts looking at everything"]);
    assert_eq!(engine.set.len(), 0);
    site.node.set("sysctl/a", 2);
    engine.wake();
    assert_eq!(engine.set.len(), 1);
    drop(gate);
    until_it_answers(&mut engine);
    assert_eq!(engine.set.len(), 2);
}

#[test]
fn what_is_written_after_the_deadline_is_written_once_and_seen() {
    let (mut site, mounts) = site();
    let declared = site.declares(policy(), &[(STUCK, 3)]);
    let mut engine = site.started(Mode::Enforce, &nothing());
    // Only the write hangs: it was looked at before.
    mounts.node().stuck_at_writes = true;
    let gate = mounts.gate.lock().unwrap();
    engine.adopt(&declared);
    assert_eq!(silent(&mut engine), ["mounts changing"]);
    let settled = engine.settled();
    assert_eq!(settled.problems[0].key, STUCK);
    drop(gate);
    until_it_answers(&mut engine);
    site.hand.advance(10 * MINUTE);
    engine.wake();
    assert_eq!((mounts.get(STUCK), mounts.node().applied.len()), (3, 1));
    assert_eq!((engine.settled().problems.len(), engine.set.len()), (0, 0));
    let dimension = Dimension::Mounts;
    assert!(engine.providers.silent().all(|silence| silence.dimension != dimension));
}

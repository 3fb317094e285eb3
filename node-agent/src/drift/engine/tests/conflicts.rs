//! Keys that node and journal both changed.

use super::*;

/// Both sides change a key while out of touch; returns what the node was told.
fn torn(mode: Mode) -> (Site, Engine) {
    let mut site = Site::new();
    let before = site.declares(policy(), &[("file//etc/b", 1), ("sysctl/a", 1)]);
    let mut engine = site.started(mode, &before);
    engine.adopt(&Known { is_confirmed: false, ..before });
    site.node.set("sysctl/a", 2);
    engine.wake();
    let after = site.declares(policy(), &[("file//etc/b", 9), ("sysctl/a", 3)]);
    engine.adopt(&after);
    engine.wake();
    (site, engine)
}

#[test]
fn only_keys_that_both_sides_changed_wait_for_a_decision() {
    let (site, mut engine) = torn(Mode::Enforce);
    assert_eq!((site.node.get("file//etc/b"), site.node.get("sysctl/a")), (9, 2));
    assert_eq!(site.decisions(), [ConflictDecision::Pending]);
    assert_eq!(engine.conflicts.len(), 1);
    let diff = engine.diff(&v1::DiffRequest::default()).unwrap();
    assert!(diff.items[0].conflict && diff.items[0].journal_value.is_some());
    // A restart keeps it, and tells it once.
    let known = Known { declared: Arc::clone(&engine.declared), is_confirmed: true, losses: 0 };
    drop(engine);
    let mut engine = site.started(Mode::Enforce, &known);
    engine.wake();
    assert_eq!((engine.conflicts.len(), site.decisions().len()), (1, 1));
    // Nobody decides.
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!(site.node.get("sysctl/a"), 3);
    assert_eq!(site.decisions(), [ConflictDecision::Pending, ConflictDecision::GraceEnded]);
    assert_eq!(site.converged(), [(ConvergeReason::Conflict, 1)]);
    assert_eq!(state(&engine), WindowState::Idle);
}

#[test]
fn an_admin_decides_a_conflict_by_commit_or_rollback() {
    let (mut site, mut engine) = torn(Mode::Enforce);
    let committed = site.declares(policy(), &[("file//etc/b", 9), ("sysctl/a", 2)]);
    engine.adopt(&committed);
    assert_eq!(site.decisions().last(), Some(&ConflictDecision::Local));
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (2, WindowState::Idle));

    let (site, mut engine) = torn(Mode::Observe);
    let discard = v1::RollbackPlan {
        node: "n1".into(),
        discard_drift: true,
        expect_digest: engine.set.digest().to_vec(),
        ..Default::default()
    };
    engine.rollback(Seq::new(7).unwrap(), &discard).unwrap();
    assert_eq!(site.decisions().last(), Some(&ConflictDecision::Journal));
    assert_eq!((site.node.get("sysctl/a"), site.node.get("file//etc/b")), (3, 9));
}

#[test]
fn in_observe_mode_an_undecided_conflict_becomes_plain_drift() {
    let (site, mut engine) = torn(Mode::Observe);
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!(site.decisions(), [ConflictDecision::Pending, ConflictDecision::GraceEnded]);
    assert_eq!((site.node.get("sysctl/a"), state(&engine)), (2, WindowState::Expired));
    assert!(site.node.node().applied.is_empty());
}

#[test]
fn a_conflict_that_could_not_be_told_is_told_later() {
    let mut site = Site::new();
    let before = site.declares(policy(), &[("sysctl/a", 1)]);
    let mut engine = site.started(Mode::Enforce, &before);
    site.node.set("sysctl/a", 2);
    // They part and meet between two looks of the engine.
    site.told.fill(true);
    let after = site.declares(policy(), &[("sysctl/a", 3)]);
    engine.adopt(&Known { losses: 1, ..after });
    assert_eq!((engine.conflicts.len(), site.decisions().len()), (1, 0));
    site.told.fill(false);
    engine.wake();
    assert_eq!(site.decisions(), [ConflictDecision::Pending]);
    assert_eq!(site.node.get("sysctl/a"), 2);
}

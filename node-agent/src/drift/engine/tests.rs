//! The engine over a fake node: modes, windows, crashes, partitions.

use std::path::Path;

use pact_runtime::ManualClock;
use pact_schemas::v1::node_event::Body;
use pact_schemas::v1::{ConflictDecision, ConvergeReason, WindowState};
use pact_schemas::{NodeId, Seq, VclusterId, convert};
use prost::Message;

use super::super::core::magnitude::Limits;
use super::super::fake::{Fake, Told};
use super::*;
use crate::declared::Document;

const START: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

struct Site {
    folder: tempfile::TempDir,
    clock: Clock,
    hand: ManualClock,
    node: Fake,
    told: Told,
    boot: BootId,
    head: u64,
}

impl Site {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(START);
        let folder = tempfile::tempdir().unwrap();
        let (node, told) = (Fake::default(), Told::default());
        node.was("sysctl/a", 1);
        node.was("file//etc/b", 1);
        Self { folder, clock, hand, node, told, boot: BootId::other(), head: 0 }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self, mode: Mode, declared: &Known) -> Engine {
        let plane =
            PlaneClock::open(&self.path().join("time"), self.boot.clone(), self.clock.clone());
        let file = FileSettings {
            mode,
            enforce_keys: vec!["**".parse().unwrap()].into(),
            limits: Limits { base: 15 * MINUTE, floor: 2 * MINUTE, sensitivity: 2.0 },
            blacklist: vec!["/tmp/**".parse().unwrap()],
        };
        Engine::open(EngineParts {
            providers: vec![Box::new(self.node.clone())],
            file,
            declared: Arc::clone(&declared.declared),
            contents: ContentsFolder::at(self.path()),
            folder: self.path().join("drift"),
            reports: Box::new(self.told.clone()),
            sessions: Sessions::new(self.clock.clone()),
            clock: self.clock.clone(),
            plane: plane.unwrap(),
            boot: self.boot.clone(),
            can_act: true,
            can_write_kernel: true,
        })
        .unwrap()
    }

    /// An agent that was told what is declared.
    fn started(&self, mode: Mode, declared: &Known) -> Engine {
        let mut engine = self.open(mode, declared);
        engine.start().unwrap();
        engine.adopt(declared);
        engine
    }

    fn declares(&mut self, policy: v1::VclusterPolicy, keys: &[(&str, i64)]) -> Known {
        self.head += 1;
        let scope = v1::scope::Scope::Vcluster("ml".into());
        let scope = v1::Scope { scope: Some(scope) };
        let key = |(key, value): &(&str, i64)| v1::DeclaredKey {
            key: (*key).to_owned(),
            value: Some((&Value::Integer(*value)).into()),
            seq: self.head,
            expires: None,
        };
        let wire = v1::DeclaredDocument {
            version: 1,
            scope: Some(scope.clone()),
            seq: self.head,
            policy: Some(policy),
            blacklist: Vec::new(),
            keys: keys.iter().map(key).collect(),
        };
        let document = Document::decode(&wire.encode_to_vec(), &scope, self.head).unwrap();
        let scope = convert::Scope::Vcluster(VclusterId::new("ml").unwrap());
        let node = NodeId::new("n1").unwrap();
        let head = Seq::new(self.head).unwrap();
        let declared = Declared::new(&node, head, vec![(scope, document)]).unwrap();
        Known { declared: Arc::new(declared), is_confirmed: true, losses: 0 }
    }

    fn converged(&self) -> Vec<(ConvergeReason, usize)> {
        let of = |body: Body| match body {
            Body::Converged(event) => Some((event.reason(), event.changes.len())),
            _ => None,
        };
        self.told.events().into_iter().filter_map(of).collect()
    }

    fn decisions(&self) -> Vec<ConflictDecision> {
        let of = |body: Body| match body {
            Body::ConflictChanged(event) => Some(event.decision()),
            _ => None,
        };
        self.told.events().into_iter().filter_map(of).collect()
    }

    fn drift_keys(&self) -> Vec<u32> {
        let of = |body: Body| match body {
            Body::DriftChanged(event) => Some(event.drift.unwrap().keys),
            _ => None,
        };
        self.told.events().into_iter().filter_map(of).collect()
    }
}

fn state(engine: &Engine) -> WindowState {
    engine.window.status().state()
}

fn nothing() -> Known {
    Known { declared: Arc::default(), is_confirmed: true, losses: 0 }
}

fn policy() -> v1::VclusterPolicy {
    v1::VclusterPolicy::default()
}

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
    engine.extend(15).unwrap();
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
        changes: None,
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
fn whatever_point_a_crash_comes_at_what_was_intended_is_finished_and_told_once() {
    use super::super::store::Intent;
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

#[test]
fn a_full_spool_puts_changes_off_and_loses_no_report() {
    let site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    site.node.set("sysctl/a", 2);
    site.told.fill(true);
    engine.wake();
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!(site.node.get("sysctl/a"), 2);
    site.told.fill(false);
    engine.extend(1).unwrap();
    site.hand.advance(2 * MINUTE);
    engine.wake();
    assert_eq!(site.node.get("sysctl/a"), 1);
    assert_eq!(site.converged().len(), 1);
    assert_eq!(site.drift_keys().last(), Some(&0));
}

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
fn what_the_agent_may_not_do_it_says_and_leaves() {
    let site = Site::new();
    let mut engine = site.started(Mode::Enforce, &nothing());
    engine.can_write_kernel = false;
    site.node.set("sysctl/a", 2);
    site.node.set("file//etc/b", 2);
    engine.wake();
    site.hand.advance(15 * MINUTE);
    engine.wake();
    assert_eq!((site.node.get("sysctl/a"), site.node.get("file//etc/b")), (2, 1));
    assert_eq!(state(&engine), WindowState::Expired);
    engine.can_act = false;
    site.node.set("file//etc/b", 2);
    engine.wake();
    let plan = v1::RollbackPlan {
        node: "n1".into(),
        discard_drift: true,
        expect_digest: engine.set.digest().to_vec(),
        changes: None,
    };
    let reply = engine.rollback(Seq::new(9).unwrap(), &plan).unwrap();
    assert_eq!((reply.restored_keys, reply.problems.len()), (0, 2));
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

use pact_schemas::resource::Change;

use super::*;

fn reported(number: u64, body: v1::node_event::Body) -> Action {
    Action::NodeEvent(v1::NodeEvent {
        node: "a".to_owned(),
        spool_id: "a".repeat(32),
        number,
        recorded: Some(pact_schemas::convert::timestamp(SECOND)),
        body: Some(body),
    })
}

fn drift(keys: u32) -> v1::DriftChanged {
    let window = v1::WindowStatus {
        state: v1::WindowState::Open.into(),
        magnitude: 0.05,
        ..v1::WindowStatus::default()
    };
    v1::DriftChanged {
        drift: Some(v1::NodeDrift {
            keys,
            report_only_keys: 1,
            digest: vec![4; 32],
            window: Some(window),
            reported: None,
            conflicts: 0,
        }),
        changes: Vec::new(),
        omitted_changes: 3,
    }
}

fn changes(count: usize) -> Vec<v1::Change> {
    let of = |i| change(&format!("sysctl/k{i:04}"), Some(text("1")), Some(text("2")));
    (0..count).map(|i| v1::Change::from(&of(i))).collect()
}

fn holder() -> v1::Holder {
    v1::Holder {
        key: "mount//data".to_owned(),
        pid: 42,
        command: "python3".to_owned(),
        how: "current directory".to_owned(),
    }
}

#[test]
fn drift_is_recorded_and_shown_in_the_nodes_record() {
    use v1::node_event::Body::DriftChanged;
    let (mut state, mut commands) = site();
    let report = v1::DriftChanged { changes: changes(2), ..drift(2) };
    let action = reported(1, DriftChanged(report));
    done(&mut state, &mut commands, action);
    let entry = last(&state);
    assert_eq!((entry.kind(), entry.changes), (EntryKind::DriftDetected, changes(2)));
    let shown = node(&state, "a").drift.unwrap();
    assert_eq!((shown.keys, shown.report_only_keys, shown.reported), (2, 1, entry.time));
    assert_eq!(node(&state, "a").spool_number, 1);
    done(&mut state, &mut commands, reported(2, DriftChanged(drift(0))));
    assert_eq!(last(&state).kind(), EntryKind::DriftResolved);
    assert_eq!(node(&state, "a").drift.unwrap().keys, 0);

    type Edit = fn(&mut v1::DriftChanged);
    let bad: [Edit; 9] = [
        |r| r.drift = None,
        |r| r.changes = changes(257),
        |r| r.changes = vec![v1::Change { key: "nonsense".to_owned(), ..Default::default() }],
        |r| r.drift.as_mut().unwrap().digest = vec![1; 31],
        |r| r.drift.as_mut().unwrap().digest.clear(),
        |r| r.drift.as_mut().unwrap().window = None,
        |r| r.drift.as_mut().unwrap().window.as_mut().unwrap().state = 99,
        |r| r.drift.as_mut().unwrap().window.as_mut().unwrap().magnitude = f64::NAN,
        |r| r.drift.as_mut().unwrap().window.as_mut().unwrap().holders = vec![holder(); 257],
    ];
    for edit in bad {
        let mut report = drift(2);
        edit(&mut report);
        let action = reported(3, DriftChanged(report));
        assert_eq!(code(&mut state, &mut commands, action), ErrorCode::Malformed);
    }
    // Holders beyond what a record takes are left out, and the spool goes on.
    let mut report = drift(2);
    let long = v1::Holder { how: "x".repeat(4_000), ..holder() };
    report.drift.as_mut().unwrap().window.as_mut().unwrap().holders = vec![long; 100];
    done(&mut state, &mut commands, reported(3, DriftChanged(report)));
    let shown = node(&state, "a").drift.unwrap();
    assert!(prost::Message::encoded_len(&shown) <= 64 * 1024);
    assert_eq!(shown.window.unwrap().holders.len(), 16);
}

#[test]
fn what_a_node_did_by_itself_is_recorded() {
    use v1::node_event::Body;
    let (mut state, mut commands) = site();
    let converged = |reason: v1::ConvergeReason| {
        Body::Converged(v1::Converged {
            reason: reason.into(),
            changes: changes(3),
            omitted_changes: 2,
        })
    };
    let none = reported(1, converged(v1::ConvergeReason::Unspecified));
    assert_eq!(code(&mut state, &mut commands, none), ErrorCode::Malformed);
    done(&mut state, &mut commands, reported(1, converged(v1::ConvergeReason::WindowExpired)));
    let entry = last(&state);
    assert_eq!((entry.kind(), entry.changes.len()), (EntryKind::AutoConverge, 3));
    assert_eq!(entry.message, "node a undid 5 changes");

    for (number, decision, kind) in [
        (2, v1::ConflictDecision::Pending, EntryKind::ConflictDetected),
        (3, v1::ConflictDecision::Local, EntryKind::ConflictResolved),
        (4, v1::ConflictDecision::Journal, EntryKind::ConflictResolved),
        (5, v1::ConflictDecision::GraceEnded, EntryKind::ConflictResolved),
    ] {
        let report = v1::ConflictChanged { decision: decision.into(), changes: changes(1) };
        done(&mut state, &mut commands, reported(number, Body::ConflictChanged(report)));
        assert_eq!((last(&state).kind(), last(&state).changes.len()), (kind, 1));
    }
    // Values that do not fit into an entry are stored as chunks.
    let large: Vec<Change> = (0..20)
        .map(|i| change(&format!("sysctl/l{i:02}"), None, Some(text(&"v".repeat(5_000)))))
        .collect();
    let report = v1::Converged {
        reason: v1::ConvergeReason::Category.into(),
        changes: large.iter().map(v1::Change::from).collect(),
        omitted_changes: 0,
    };
    done(&mut state, &mut commands, reported(6, Body::Converged(report)));
    assert_eq!((last(&state).changes.len(), last(&state).change_chunks.len()), (0, 1));
}

#[test]
fn a_deferred_rollback_is_an_outcome_of_one_that_was_asked() {
    let (mut state, mut commands) = site();
    let seq = done(&mut state, &mut commands, apply("ml", &[("sysctl/a", "1")]));
    let rolled =
        done(&mut state, &mut commands, Action::Rollback(rollback_of(&of_vcluster("ml"), 1, seq)));
    let other = done(&mut state, &mut commands, Action::Rollback(rollback_of(&of_node("b"), 1, 0)));
    let deferred = |number, rollback_seq| {
        let holders = vec![holder()];
        let not_restorable = vec!["file//etc/x".to_owned()];
        reported(
            number,
            v1::node_event::Body::Deferred(v1::Deferred { rollback_seq, holders, not_restorable }),
        )
    };
    let first = done(&mut state, &mut commands, deferred(1, Some(rolled)));
    let entry = last(&state);
    assert_eq!((entry.kind(), entry.parent), (EntryKind::RollbackDeferred, Some(rolled)));
    let outcomes = &state.outcomes[&(rolled, NodeId::new("a").unwrap())];
    assert_eq!(*outcomes, first);
    done(&mut state, &mut commands, deferred(2, Some(rolled)));
    assert_eq!(state.outcomes[&(rolled, NodeId::new("a").unwrap())], first, "the first one");
    done(&mut state, &mut commands, deferred(3, None));
    assert_eq!((last(&state).kind(), last(&state).parent), (EntryKind::RollbackDeferred, None));
    // Another node's, one that is no rollback, one that is not there: seen, and the spool goes on.
    for (number, wrong) in [(4, other), (5, seq), (6, 10_000)] {
        done(&mut state, &mut commands, deferred(number, Some(wrong)));
        let Some(Payload::Denied(denied)) = last(&state).payload else { panic!() };
        assert_eq!(
            (denied.code.as_str(), denied.operation.as_str()),
            ("PACT_GRANT_FOR_OTHER", "deferred")
        );
    }
    assert_eq!(node(&state, "a").spool_number, 6);
}

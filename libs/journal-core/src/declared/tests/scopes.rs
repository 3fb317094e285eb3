use super::*;

#[test]
fn rollback_names_an_entry_and_what_it_saw() {
    let (mut state, mut commands) = site();
    let first = done(&mut state, &mut commands, apply("ml", &[("sysctl/a", "1")]));
    let second =
        done(&mut state, &mut commands, apply("ml", &[("sysctl/a", "2"), ("sysctl/b", "2")]));
    let third = done(&mut state, &mut commands, commit("a", "ml", &[("sysctl/a", "3")]));
    let ml = of_vcluster("ml");
    for (action, expected) in [
        (rollback_of(&ml, first, first), ErrorCode::Conflict),
        (rollback_of(&ml, third + 1, second), ErrorCode::NotFound),
        (rollback_of(&ml, 0, second), ErrorCode::NotFound),
        (rollback_of(&of_vcluster("none"), first, 0), ErrorCode::NotFound),
        (rollback_of(&Scope::Global, first, 0), ErrorCode::InvalidArgument),
        (rollback_of(&of_node("d"), first, 0), ErrorCode::Conflict),
        (rollback_of(&of_node("x"), first, 0), ErrorCode::NotFound),
        (
            v1::Rollback { to_seq: None, ..rollback_of(&ml, first, second) },
            ErrorCode::InvalidArgument,
        ),
        (
            v1::Rollback { discard_drift: true, ..rollback_of(&ml, first, second) },
            ErrorCode::InvalidArgument,
        ),
        (
            v1::Rollback { to_seq: None, discard_drift: true, ..rollback_of(&ml, first, second) },
            ErrorCode::InvalidArgument,
        ),
        (
            v1::Rollback { plan_sha256: vec![], ..rollback_of(&of_node("a"), first, third) },
            ErrorCode::Malformed,
        ),
        (v1::Rollback { scope: None, ..rollback_of(&ml, first, second) }, ErrorCode::Malformed),
    ] {
        let shown = format!("{action:?}");
        assert_eq!(code(&mut state, &mut commands, Action::Rollback(action)), expected, "{shown}");
    }
    let anonymous = commands.bare(Action::Rollback(rollback_of(&ml, first, second)));
    assert_eq!(refused(&one(&mut state, anonymous)).known_code(), ErrorCode::InvalidArgument);

    let seq = done(&mut state, &mut commands, Action::Rollback(rollback_of(&ml, first, second)));
    assert_eq!(shown(&state, &overlay("ml")), ["sysctl/a=1"]);
    let entry = last(&state);
    assert_eq!(
        (entry.kind(), entry.message.as_str()),
        (EntryKind::Rollback, "vc:ml rolled back to entry 10: 2 keys changed")
    );
    assert_eq!((vcluster(&state, "ml").overlay_seq, vcluster(&state, "ml").overlay_keys), (seq, 1));
    assert_eq!(shown(&state, &delta_of("ml", "a")), ["sysctl/a=3"], "another scope");

    // Drift is discarded under its digest; nothing that is declared changes.
    let head = v1::Rollback {
        to_seq: None,
        discard_drift: true,
        drift_digest: vec![5; 32],
        ..rollback_of(&of_node("d"), 1, 0)
    };
    let before = state.declared.clone();
    done(&mut state, &mut commands, Action::Rollback(head));
    assert_eq!(state.declared, before);
    let Some(Payload::RollbackDone(rolled)) = last(&state).payload else { panic!() };
    assert_eq!(
        (rolled.to_seq, rolled.drift_digest, rolled.targets.as_str()),
        (None, vec![5; 32], "d")
    );
}

#[test]
fn deltas_wait_while_their_node_is_elsewhere() {
    let (mut state, mut commands) = site();
    let mut short = delta("a", "ml", &[("sysctl/a", "1")], u64::MAX);
    short.ttl_seconds = Some(900);
    done(&mut state, &mut commands, Action::CommitDelta(short));
    let kept = done(&mut state, &mut commands, commit("a", "ml", &[("sysctl/b", "2")]));
    assert_eq!(node(&state, "a").delta_seq, kept);
    done(&mut state, &mut commands, assign("a", Some("hpc"), AssignMode::Move));
    assert_eq!(node(&state, "a").delta_seq, 0);
    let elsewhere = Action::CommitDelta(delta("a", "ml", &[("sysctl/b", "3")], u64::MAX));
    assert_eq!(code(&mut state, &mut commands, elsewhere), ErrorCode::Conflict);
    let there = done(&mut state, &mut commands, commit("a", "hpc", &[("sysctl/c", "4")]));
    // What waits ends there all the same, and is not shown as the node's.
    tick(&mut state, &mut commands, 1_000);
    assert_eq!(
        (last(&state).kind(), node(&state, "a").delta_seq),
        (EntryKind::DeltaExpired, there)
    );
    let visible = state.entries.last().unwrap().vclusters.clone();
    assert_eq!(visible, ["ml"], "its values are those of the vCluster that the node has left");

    done(&mut state, &mut commands, assign("a", None, AssignMode::Unassign));
    assert_eq!(node(&state, "a").delta_seq, 0);
    let back = done(&mut state, &mut commands, assign("a", Some("ml"), AssignMode::Assign));
    assert_eq!(shown(&state, &delta_of("ml", "a")), ["sysctl/b=2"]);
    assert_eq!(shown(&state, &delta_of("hpc", "a")), ["sysctl/c=4"]);
    assert_eq!(node(&state, "a").delta_seq, back, "who looked before the move looks again");
    let stale = rollback_of(&of_node("a"), kept, kept);
    assert_eq!(code(&mut state, &mut commands, Action::Rollback(stale)), ErrorCode::Conflict);
    done(&mut state, &mut commands, Action::Rollback(rollback_of(&of_node("a"), kept - 1, back)));
    assert!(shown(&state, &delta_of("ml", "a")).is_empty());
}

#[test]
fn two_persons_are_asked_for_and_cannot_be_had_yet() {
    let (mut state, mut commands) = site();
    done(&mut state, &mut commands, commit("a", "ml", &[("sysctl/a", "1")]));
    let two = VclusterPolicy { two_person_approval: Some(true), ..Default::default() };
    done(&mut state, &mut commands, policy("ml", two));
    let head = v1::Rollback {
        to_seq: None,
        discard_drift: true,
        drift_digest: vec![5; 32],
        ..rollback_of(&of_node("a"), 1, 0)
    };
    let mut policies = spec(update("hpc", &[("sysctl/a", "1")]), OnConflict::Refuse);
    policies.policies = vec![v1::PolicyUpdate {
        vcluster: "ml".to_owned(),
        policy: Some(VclusterPolicy::default()),
    }];
    let pattern = |scope: &Scope| {
        Action::ChangeBlacklist(v1::ChangeBlacklist {
            scope: Some(scope.into()),
            add: vec!["/opt/**".to_owned()],
            remove: Vec::new(),
            judged: Vec::new(),
        })
    };
    for action in [
        apply("ml", &[("sysctl/a", "1")]),
        Action::ApplySpec(policies),
        commit("a", "ml", &[("sysctl/b", "1")]),
        Action::Rollback(rollback_of(&of_node("a"), 1, 9)),
        Action::Rollback(rollback_of(&of_vcluster("ml"), 1, 0)),
        Action::Rollback(head),
        pattern(&of_vcluster("ml")),
        pattern(&of_node("a")),
    ] {
        let error = refusal(&mut state, &mut commands, action);
        assert_eq!(error.known_code(), ErrorCode::Unimplemented, "{error}");
        assert!(error.cause.contains("approvals are not built yet"));
    }
    done(&mut state, &mut commands, apply("hpc", &[("sysctl/a", "1")]));
}

#[test]
fn blacklists_are_sets_of_patterns() {
    let (mut state, mut commands) = site();
    let edit = |scope: &Scope, add: &[&str], remove: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        Action::ChangeBlacklist(v1::ChangeBlacklist {
            scope: Some(scope.into()),
            add: owned(add),
            remove: owned(remove),
            judged: Vec::new(),
        })
    };
    let ml = of_vcluster("ml");
    done(&mut state, &mut commands, edit(&ml, &["/b/**", "/a/**"], &[]));
    assert_eq!(vcluster(&state, "ml").blacklist, ["/a/**", "/b/**"]);
    // What is so already makes no entry.
    assert_eq!(done(&mut state, &mut commands, edit(&ml, &["/a/**"], &["/z"])), 0);
    done(&mut state, &mut commands, edit(&ml, &[], &["/a/**"]));
    let Some(Payload::BlacklistChanged(changed)) = last(&state).payload else { panic!() };
    assert_eq!((changed.added.len(), changed.removed), (0, vec!["/a/**".to_owned()]));
    done(&mut state, &mut commands, edit(&of_node("d"), &["sysctl/**"], &[]));
    assert_eq!(node(&state, "d").blacklist, ["sysctl/**"]);
    let mut replaced = update("ml", &[]);
    replaced.blacklist = Some(v1::Blacklist { patterns: vec!["/c/**".to_owned()] });
    done(&mut state, &mut commands, Action::ApplySpec(spec(replaced, OnConflict::Refuse)));
    assert_eq!(vcluster(&state, "ml").blacklist, ["/c/**"]);
    let many: Vec<String> = (0..256).map(|i| format!("/m{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (action, expected) in [
        (edit(&ml, &["a/b"], &[]), ErrorCode::InvalidArgument),
        (edit(&ml, &[], &[]), ErrorCode::InvalidArgument),
        (edit(&ml, &many, &[]), ErrorCode::InvalidArgument),
        (edit(&Scope::Global, &["/a"], &[]), ErrorCode::InvalidArgument),
        (edit(&of_vcluster("none"), &["/a"], &[]), ErrorCode::NotFound),
        (edit(&of_node("none"), &["/a"], &[]), ErrorCode::NotFound),
    ] {
        assert_eq!(code(&mut state, &mut commands, action), expected);
    }
}

#[test]
fn windows_are_extended_by_bounded_minutes() {
    let (mut state, mut commands) = site();
    let extend = |targets: &str, minutes| {
        Action::ExtendWindow(v1::ExtendWindow {
            targets: targets.to_owned(),
            minutes,
            judged: Vec::new(),
        })
    };
    for (action, expected) in [
        (extend("a", 0), ErrorCode::InvalidArgument),
        (extend("a", 1_441), ErrorCode::InvalidArgument),
        (extend("", 15), ErrorCode::InvalidArgument),
        (extend("a,x", 15), ErrorCode::NotFound),
    ] {
        assert_eq!(code(&mut state, &mut commands, action), expected);
    }
    done(&mut state, &mut commands, extend("a,b", 15));
    let Some(Payload::WindowExtended(extended)) = last(&state).payload else { panic!() };
    assert_eq!((extended.targets.as_str(), extended.minutes), ("a,b", 15));
    assert_eq!(last(&state).scope, Some((&of_vcluster("ml")).into()));
    let anonymous = commands.bare(extend("a", 15));
    assert_eq!(refused(&one(&mut state, anonymous)).known_code(), ErrorCode::InvalidArgument);
}

#[test]
fn whose_configuration_changed_is_told() {
    let (mut state, mut commands) = site();
    state.configured.clear();
    done(&mut state, &mut commands, apply("ml", &[("sysctl/a", "1")]));
    done(&mut state, &mut commands, commit("a", "ml", &[("sysctl/b", "1")]));
    done(&mut state, &mut commands, policy("hpc", VclusterPolicy::default()));
    done(&mut state, &mut commands, assign("a", Some("hpc"), AssignMode::Move));
    let told: Vec<(String, u64)> =
        state.configured.iter().map(|(scope, seq)| (scope.to_string(), *seq)).collect();
    let expected = [("vc:ml", 10), ("node:a", 11), ("vc:hpc", 12), ("node:a", 13)];
    assert_eq!(told, expected.map(|(scope, seq)| (scope.to_owned(), seq)));
}

use super::*;

#[test]
fn a_specification_is_merged_key_by_key() {
    let (mut state, mut commands) = site();
    let ml = overlay("ml");
    let first = done(
        &mut state,
        &mut commands,
        apply("ml", &[("sysctl/a", "1"), ("sysctl/b", "2"), ("service/s", "on")]),
    );
    assert_eq!(shown(&state, &ml), ["service/s=on", "sysctl/a=1", "sysctl/b=2"]);
    let second =
        done(&mut state, &mut commands, apply("ml", &[("sysctl/a", "3"), ("service/s", "")]));
    assert_eq!(shown(&state, &ml), ["sysctl/a=3", "sysctl/b=2"]);
    let entry = last(&state);
    assert_eq!(entry.kind(), EntryKind::OverlayApplied);
    let expected = [
        change("service/s", Some(text("on")), None),
        change("sysctl/a", Some(text("1")), Some(text("3"))),
    ];
    assert_eq!(entry.changes, packed(&expected).changes);
    assert_eq!(
        (vcluster(&state, "ml").overlay_seq, vcluster(&state, "ml").overlay_keys),
        (second, 2)
    );
    // What is so already is recorded as applied, and is no change of the overlay.
    let again = done(&mut state, &mut commands, apply("ml", &[("sysctl/a", "3")]));
    assert_eq!((again, vcluster(&state, "ml").overlay_seq), (second + 1, second));

    let mut all = update("ml", &[("sysctl/c", "4")]);
    all.replace = vec!["sysctl".to_owned()];
    all.changes = Some(packed(&[
        change("service/t", None, Some(text("on"))),
        change("sysctl/c", None, Some(text("4"))),
    ]));
    done(&mut state, &mut commands, Action::ApplySpec(spec(all.clone(), OnConflict::Refuse)));
    assert_eq!(shown(&state, &ml), ["service/t=on", "sysctl/c=4"]);
    // The past is still what it was.
    let work = crate::working::Working::new(&state);
    let keys = |seq| work.held_at(&ml, seq).keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(keys(first), ["service/s", "sysctl/a", "sysctl/b"]);
    assert_eq!(keys(first - 1), Vec::<String>::new());

    all.replace = vec!["kernel".to_owned()];
    let bad = [
        Action::ApplySpec(spec(all.clone(), OnConflict::Refuse)),
        Action::ApplySpec(spec(update("ml", &[("sysctl/a", "1")]), OnConflict::Unspecified)),
        Action::ApplySpec(v1::ApplySpec { on_conflict: 1, ..v1::ApplySpec::default() }),
        Action::ApplySpec(v1::ApplySpec {
            overlays: vec![update("ml", &[("sysctl/a", "1")]), update("ml", &[("sysctl/b", "1")])],
            ..spec(all, OnConflict::Refuse)
        }),
    ];
    for action in bad {
        let code = code(&mut state, &mut commands, action.clone());
        assert!(
            matches!(code, ErrorCode::InvalidArgument | ErrorCode::Malformed),
            "{code} {action:?}"
        );
    }
}

#[test]
fn only_a_platform_admin_makes_vclusters_and_sets_policies() {
    let (mut state, mut commands) = site();
    let action = apply("new", &[("sysctl/a", "1")]);
    let mut by_ops = commands.make(action.clone());
    by_ops.acting_role = "pact-ops-new".to_owned();
    assert_eq!(refused(&one(&mut state, by_ops)).known_code(), ErrorCode::NotFound);
    let mut with_policy = spec(update("ml", &[("sysctl/a", "1")]), OnConflict::Refuse);
    with_policy.policies = vec![v1::PolicyUpdate {
        vcluster: "ml".to_owned(),
        policy: Some(VclusterPolicy { drift_sensitivity: Some(1.0), ..Default::default() }),
    }];
    let mut by_ops = commands.make(Action::ApplySpec(with_policy.clone()));
    by_ops.acting_role = "pact-ops-ml".to_owned();
    assert_eq!(refused(&one(&mut state, by_ops)).known_code(), ErrorCode::NotAuthorised);

    let seq = done(&mut state, &mut commands, action);
    let record = vcluster(&state, "new");
    assert_eq!((record.created_seq, record.overlay_seq, record.overlay_keys), (seq, seq, 1));
    assert!(record.policy.is_some(), "it exists for everybody who looks at policies");
    let (first, last, _) =
        committed(&one(&mut state, commands.make(Action::ApplySpec(with_policy))));
    assert_eq!(last - first, 1, "policy and overlay are one command");
    assert_eq!(vcluster(&state, "ml").policy.unwrap().drift_sensitivity, Some(1.0));

    // All or nothing: a policy that is refused takes the overlays with it.
    let mut bad = spec(update("ml", &[("sysctl/a", "2")]), OnConflict::Refuse);
    bad.policies = vec![v1::PolicyUpdate {
        vcluster: "ml".to_owned(),
        policy: Some(VclusterPolicy { drift_sensitivity: Some(-1.0), ..Default::default() }),
    }];
    assert_eq!(code(&mut state, &mut commands, Action::ApplySpec(bad)), ErrorCode::InvalidArgument);
}

#[test]
fn deltas_that_say_the_same_end_and_others_are_a_conflict_until_decided() {
    for decision in [OnConflict::Refuse, OnConflict::Overwrite, OnConflict::Keep] {
        let (mut state, mut commands) = site();
        done(&mut state, &mut commands, commit("a", "ml", &[("sysctl/a", "1"), ("sysctl/b", "2")]));
        done(&mut state, &mut commands, commit("b", "ml", &[("sysctl/a", "9")]));
        // Of another vCluster: not concerned.
        done(&mut state, &mut commands, commit("c", "hpc", &[("sysctl/a", "9")]));
        let action = Action::ApplySpec(spec(update("ml", &[("sysctl/a", "1")]), decision));
        if decision == OnConflict::Refuse {
            let error = refusal(&mut state, &mut commands, action);
            assert_eq!(error.known_code(), ErrorCode::Conflict);
            assert!(error.message.contains("b sysctl/a") && !error.message.contains("c sysctl/a"));
            continue;
        }
        let seq = done(&mut state, &mut commands, action);
        assert_eq!(shown(&state, &delta_of("ml", "a")), ["sysctl/b=2"]);
        assert_eq!(node(&state, "a").delta_seq, seq, "its deltas changed with this entry");
        let Some(Payload::OverlayApplied(applied)) = last(&state).payload else { panic!() };
        let others = shown(&state, &delta_of("ml", "b"));
        match decision {
            OnConflict::Overwrite => {
                assert_eq!((others.len(), applied.overwritten.as_str()), (0, "b"));
            }
            _ => assert_eq!((others[0].as_str(), applied.overwritten.as_str()), ("sysctl/a=9", "")),
        }
        assert_eq!(applied.absorbed, "a");
        assert_eq!(shown(&state, &delta_of("hpc", "c")), ["sysctl/a=9"]);
    }
}

#[test]
fn large_sets_are_read_from_chunks_and_written_as_chunks() {
    let (mut state, mut commands) = site();
    let large: Vec<_> = (0..3_000)
        .map(|i| change(&format!("sysctl/k{i:05}"), None, Some(text(&"v".repeat(100)))))
        .collect();
    let (set, chunks) = change_set::pack(&large);
    assert!(chunks.len() > 1);
    let mut overlay_update = update("ml", &[]);
    overlay_update.changes = Some(set.clone());
    let action = Action::ApplySpec(spec(overlay_update, OnConflict::Refuse));
    for chunk in &chunks {
        let error = refusal(&mut state, &mut commands, action.clone());
        assert_eq!(error.known_code(), ErrorCode::Conflict, "{error}");
        done(&mut state, &mut commands, put(chunk));
    }
    done(&mut state, &mut commands, action);
    assert_eq!(last(&state).change_chunks, set.chunks);
    // Taken out again, the entry has the old values, which nobody proposed: apply stores those
    // chunks itself.
    let removed: Vec<_> = large.iter().map(|c| change(c.key.as_str(), None, None)).collect();
    let (set, chunks) = change_set::pack(&removed);
    for chunk in &chunks {
        done(&mut state, &mut commands, put(chunk));
    }
    let mut overlay_update = update("ml", &[]);
    overlay_update.changes = Some(set);
    done(&mut state, &mut commands, Action::ApplySpec(spec(overlay_update, OnConflict::Refuse)));
    let entry = last(&state);
    let stored = v1::ChangeSet { changes: Vec::new(), chunks: entry.change_chunks };
    let read =
        change_set::unpack(&stored, |chunk| crate::working::Working::new(&state).chunk(chunk));
    let expected: Vec<_> = large.into_iter().map(|c| change(c.key.as_str(), c.new, None)).collect();
    assert_eq!(read.unwrap(), expected);
    assert_eq!(vcluster(&state, "ml").overlay_keys, 0);
}

#[test]
fn a_scope_holds_no_more_than_a_node_takes() {
    let (mut state, mut commands) = site();
    for half in 0..3 {
        let count = MAX_SCOPE_KEYS / 2;
        let keys: Vec<_> = (0..count)
            .map(|i| change(&format!("sysctl/k{half}.{i:05}"), None, Some(text("1"))))
            .collect();
        let (set, chunks) = change_set::pack(&keys);
        for chunk in &chunks {
            done(&mut state, &mut commands, put(chunk));
        }
        let mut large = update("ml", &[]);
        large.changes = Some(set);
        let action = Action::ApplySpec(spec(large, OnConflict::Refuse));
        if half < 2 {
            done(&mut state, &mut commands, action);
        } else {
            assert_eq!(code(&mut state, &mut commands, action), ErrorCode::TooLarge);
        }
    }
    for (i, size) in [60_000; 8].into_iter().enumerate() {
        // Inline sets have 64 KiB at most: one large value each.
        let large = "v".repeat(size);
        let key = format!("sysctl/large{i}");
        done(&mut state, &mut commands, commit("a", "ml", &[(&key, &large)]));
    }
    let mark: ScopeMark = *state.scope_marks[&delta_of("ml", "a")].values().last().unwrap();
    assert!(mark.size_bytes > 480_000 && mark.keys == 8);
}

#[test]
fn a_specification_may_decide_about_single_keys() {
    let (mut state, mut commands) = site();
    let own = [("sysctl/a", "7"), ("sysctl/b", "7"), ("sysctl/c", "7")];
    done(&mut state, &mut commands, commit("a", "ml", &own));
    let new = [("sysctl/a", "1"), ("sysctl/b", "1"), ("sysctl/c", "1")];
    let mut update = update("ml", &new);
    update.overwrite = vec!["sysctl/a".to_owned()];
    update.keep = vec!["sysctl/b".to_owned()];
    let decide =
        |update: &v1::OverlayUpdate, otherwise| Action::ApplySpec(spec(update.clone(), otherwise));
    let error = refusal(&mut state, &mut commands, decide(&update, OnConflict::Refuse));
    assert!(error.message.starts_with("1 deltas of a differ"), "{error}");
    assert!(error.message.contains("sysctl/c"), "{error}");
    done(&mut state, &mut commands, decide(&update, OnConflict::Keep));
    assert_eq!(shown(&state, &delta_of("ml", "a")), ["sysctl/b=7", "sysctl/c=7"]);
    done(&mut state, &mut commands, decide(&update, OnConflict::Overwrite));
    assert_eq!(shown(&state, &delta_of("ml", "a")), ["sysctl/b=7"]);
    update.overwrite.push("sysctl/b".to_owned());
    let twice = decide(&update, OnConflict::Overwrite);
    assert_eq!(code(&mut state, &mut commands, twice), ErrorCode::InvalidArgument);
    update.overwrite = vec!["no key".to_owned()];
    let nonsense = decide(&update, OnConflict::Overwrite);
    assert_eq!(code(&mut state, &mut commands, nonsense), ErrorCode::InvalidArgument);
}

#[test]
fn deltas_of_nodes_that_are_gone_are_in_nobodys_way() {
    let (mut state, mut commands) = site();
    for (name, value) in [("a", "1"), ("b", "9")] {
        done(&mut state, &mut commands, commit(name, "ml", &[("sysctl/a", value)]));
    }
    done(&mut state, &mut commands, assign("a", Some("hpc"), AssignMode::Move));
    done(
        &mut state,
        &mut commands,
        Action::RevokeNode(v1::RevokeNode { node: "b".to_owned(), judged: Vec::new() }),
    );
    for value in ["2", "1"] {
        let action = apply("ml", &[("sysctl/a", value)]);
        let planned = crate::plan::plan(&state, &action, commands.now_nanos);
        assert!(planned.scopes[0].conflicts.is_empty() && planned.scopes[0].absorbed.is_empty());
        done(&mut state, &mut commands, action);
    }
    // What waits is there when the node comes back, whatever was applied meanwhile.
    let moved = done(&mut state, &mut commands, assign("a", Some("ml"), AssignMode::Move));
    assert_eq!(shown(&state, &delta_of("ml", "a")), ["sysctl/a=1"]);
    assert_eq!(node(&state, "a").delta_seq, moved);
    let error = refusal(&mut state, &mut commands, apply("ml", &[("sysctl/a", "2")]));
    assert!(error.message.starts_with("1 deltas of a differ"), "{error}");
}

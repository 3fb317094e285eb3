use super::*;

#[test]
fn a_commit_is_refused_when_what_it_saw_is_gone() {
    let (mut state, mut commands) = site();
    let seen = state.head.seq;
    done(&mut state, &mut commands, apply("ml", &[("sysctl/a", "1")]));
    done(&mut state, &mut commands, commit("a", "ml", &[("sysctl/b", "1")]));
    for (keys, base, expected) in [
        (("sysctl/a", "2"), seen, Some("sysctl/a")),
        (("sysctl/b", "2"), seen, Some("sysctl/b")),
        // Somebody else's key is in nobody's way.
        (("sysctl/c", "2"), seen, None),
        (("sysctl/a", "2"), seen + 2, None),
    ] {
        let outcome =
            one(&mut state, commands.make(Action::CommitDelta(delta("a", "ml", &[keys], base))));
        match expected {
            Some(key) => {
                let error = refused(&outcome);
                assert_eq!(error.known_code(), ErrorCode::Conflict);
                assert!(error.message.contains(key) && error.node == "a", "{error}");
            }
            None => drop(committed(&outcome)),
        }
    }
    // A key that was taken out since is another, too.
    let seen = state.head.seq;
    done(&mut state, &mut commands, apply("ml", &[("sysctl/a", "")]));
    let action = Action::CommitDelta(delta("b", "ml", &[("sysctl/a", "2")], seen));
    assert_eq!(code(&mut state, &mut commands, action), ErrorCode::Conflict);

    let with = |edit: fn(&mut v1::CommitDelta)| {
        let mut commit = delta("a", "ml", &[("sysctl/z", "1")], u64::MAX);
        edit(&mut commit);
        Action::CommitDelta(commit)
    };
    type Edit = fn(&mut v1::CommitDelta);
    let cases: [(Edit, ErrorCode); 11] = [
        (|c| c.vcluster = "hpc".to_owned(), ErrorCode::Conflict),
        (|c| c.node = "d".to_owned(), ErrorCode::Conflict),
        (|c| c.node = "nobody".to_owned(), ErrorCode::NotFound),
        (|c| c.ttl_seconds = Some(899), ErrorCode::InvalidArgument),
        (|c| c.ttl_seconds = Some(864_001), ErrorCode::InvalidArgument),
        (|c| c.ttl_seconds = Some(u64::MAX), ErrorCode::InvalidArgument),
        (|c| c.drift_digest.clear(), ErrorCode::Malformed),
        (|c| c.changes = None, ErrorCode::Malformed),
        (|c| c.changes = Some(v1::ChangeSet::default()), ErrorCode::InvalidArgument),
        (
            |c| c.changes = Some(packed(&[change("sysctl/z", Some(text("1")), None)])),
            ErrorCode::InvalidArgument,
        ),
        (|c| c.message = "x".repeat(2_000), ErrorCode::InvalidArgument),
    ];
    for (edit, expected) in cases {
        assert_eq!(code(&mut state, &mut commands, with(edit)), expected);
    }
    for ttl in [900, 864_000] {
        let mut commit = delta("a", "ml", &[("sysctl/z", "1")], u64::MAX);
        commit.ttl_seconds = Some(ttl);
        done(&mut state, &mut commands, Action::CommitDelta(commit));
        assert_eq!(last(&state).ttl_seconds, Some(ttl));
    }
    assert_eq!((last(&state).message.as_str(), last(&state).kind()), ("tuned", EntryKind::Commit));
}

#[test]
fn contents_are_stored_before_they_are_declared() {
    let (mut state, mut commands) = site();
    let hash = sha256(&[b"motd"]);
    let mut commit = delta("a", "ml", &[("sysctl/a", "1")], u64::MAX);
    commit.changes = Some(packed(&[change("file//etc/motd", None, Some(file(hash, true)))]));
    let action = Action::CommitDelta(commit.clone());
    assert_eq!(code(&mut state, &mut commands, action.clone()), ErrorCode::Conflict);
    let mut overlay = update("ml", &[]);
    overlay.changes.clone_from(&commit.changes);
    let specified = Action::ApplySpec(spec(overlay, OnConflict::Refuse));
    assert_eq!(code(&mut state, &mut commands, specified.clone()), ErrorCode::Conflict);
    // Without contents it is accepted, and said to be.
    commit.changes = Some(packed(&[change("file//etc/motd", None, Some(file(hash, false)))]));
    done(&mut state, &mut commands, Action::CommitDelta(commit));
    let Some(Payload::DeltaCommitted(payload)) = last(&state).payload else { panic!() };
    assert_eq!(payload.not_restorable, ["file//etc/motd"]);
    // What another has sent is as if it were not there: a digest alone shows nothing.
    committed(&one(&mut state, commands.put_by("b", b"motd")));
    let error = refusal(&mut state, &mut commands, action.clone());
    assert_eq!(error.known_code(), ErrorCode::Conflict);
    assert_eq!(code(&mut state, &mut commands, specified.clone()), ErrorCode::Conflict);
    committed(&one(&mut state, commands.put_by("a", b"motd")));
    done(&mut state, &mut commands, action);
    assert_eq!(code(&mut state, &mut commands, specified.clone()), ErrorCode::Conflict);
    done(&mut state, &mut commands, put(b"motd"));
    done(&mut state, &mut commands, specified);
}

#[test]
fn a_delta_ends_with_its_time_and_is_never_revived() {
    let (mut state, mut commands) = site();
    let lasting = done(&mut state, &mut commands, commit("a", "ml", &[("sysctl/b", "2")]));
    let mut short = delta("a", "ml", &[("sysctl/a", "1")], u64::MAX);
    short.ttl_seconds = Some(900);
    let at = done(&mut state, &mut commands, Action::CommitDelta(short));
    tick(&mut state, &mut commands, 890);
    assert_eq!((state.head.seq, shown(&state, &delta_of("ml", "a")).len()), (at, 2));
    tick(&mut state, &mut commands, 20);
    assert_eq!(shown(&state, &delta_of("ml", "a")), ["sysctl/b=2"]);
    let entry = last(&state);
    assert_eq!(entry.kind(), EntryKind::DeltaExpired);
    assert_eq!(entry.changes, packed(&[change("sysctl/a", Some(text("1")), None)]).changes);
    assert_eq!(node(&state, "a").delta_seq, entry.seq);
    assert!(state.expiries.is_empty());
    tick(&mut state, &mut commands, 1);
    assert_eq!(state.head.seq, entry.seq, "once");

    // The past that had it comes back without it, and says so.
    done(&mut state, &mut commands, commit("a", "ml", &[("sysctl/b", "3")]));
    let base = node(&state, "a").delta_seq;
    done(&mut state, &mut commands, Action::Rollback(rollback_of(&of_node("a"), at, base)));
    assert_eq!(shown(&state, &delta_of("ml", "a")), ["sysctl/b=2"]);
    let Some(Payload::RollbackDone(rolled)) = last(&state).payload else { panic!() };
    assert_eq!(
        (rolled.expired_keys.as_slice(), rolled.targets.as_str()),
        (&["sysctl/a".to_owned()][..], "a")
    );
    assert!(lasting < at);
}

#[test]
fn a_tick_ends_a_bounded_number_and_the_next_goes_on() {
    let (mut state, mut commands) = site();
    let names: Vec<String> =
        (0..crate::action::EXPIRED_PER_TICK + 10).map(|i| format!("sysctl/k{i:05}")).collect();
    let changes: Vec<_> = names.iter().map(|name| change(name, None, Some(text("1")))).collect();
    let mut short = delta("a", "ml", &[], u64::MAX);
    let (set, chunks) = change_set::pack(&changes);
    short.changes = Some(set.clone());
    short.ttl_seconds = Some(900);
    for chunk in chunks {
        // Another's chunks are no one's changes.
        done(&mut state, &mut commands, put(&chunk));
        let action = Action::CommitDelta(short.clone());
        assert_eq!(code(&mut state, &mut commands, action), ErrorCode::Conflict);
        committed(&one(&mut state, commands.put_by("a", &chunk)));
    }
    let before = state.blobs.len();
    done(&mut state, &mut commands, Action::CommitDelta(short));
    assert_eq!(last(&state).change_chunks, set.chunks, "the entry names the chunks");
    assert!(last(&state).changes.is_empty());
    assert_eq!(state.blobs.len(), before);
    for left in [10, 0] {
        tick(&mut state, &mut commands, 1_000);
        assert_eq!(held(&state, &delta_of("ml", "a")).len(), left);
    }
    assert_eq!(state.scope_marks[&delta_of("ml", "a")].values().last().unwrap().keys, 0);
}

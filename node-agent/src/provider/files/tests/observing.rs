use super::*;

#[test]
fn the_first_scan_takes_the_baseline_and_later_ones_tell_every_kind_of_change() {
    let mut bench = Bench::new();
    for end in ["same", "edited", "moded", "owned", "gone", "replaced", "in/deep/file", "old-name"]
    {
        bench.write(end, end);
    }
    symlink("same", bench.path("link")).unwrap();
    assert!(bench.files.baseline(&bench.key("same")).unwrap().is_none(), "no baseline yet");
    assert_eq!(bench.found(), Vec::<String>::new());
    assert_eq!(bench.found(), Vec::<String>::new());

    bench.write("edited", "other");
    set_mode(&bench.path("moded"), 0o664);
    std::os::unix::fs::chown(bench.path("owned"), Some(12_345), None).unwrap();
    std::fs::remove_file(bench.path("gone")).unwrap();
    std::fs::remove_file(bench.path("replaced")).unwrap();
    symlink("/etc/passwd", bench.path("replaced")).unwrap();
    std::fs::rename(bench.path("old-name"), bench.path("new-name")).unwrap();
    std::fs::remove_file(bench.path("link")).unwrap();
    symlink("edited", bench.path("link")).unwrap();
    bench.write("made/file", "new");

    let found = bench.scan();
    let ends: Vec<&str> = found.keys().map(String::as_str).collect();
    let expected = [
        "edited",
        "gone",
        "link",
        "made",
        "made/file",
        "moded",
        "new-name",
        "old-name",
        "owned",
        "replaced",
    ];
    assert_eq!(ends, expected);
    assert_eq!(found["gone"].1, Value::Absent);
    assert_eq!(found["made/file"].0, Value::Absent);
    let file = |value: &Value| value.as_file().unwrap().clone();
    assert_eq!(file(&found["owned"].1).owner, "12345");
    assert_eq!(file(&found["moded"].1).mode, 0o664);
    assert_eq!(file(&found["replaced"].1).kind, FileKind::Symlink);
    assert_eq!(file(&found["replaced"].1).link_target.as_deref(), Some("/etc/passwd"));
    assert_eq!(file(&found["edited"].1).sha256, Some(look::sha256(b"other")));
    assert!(file(&found["edited"].1).content_kept);
    // The same after a restart: the baseline is what it was.
    bench.restart(&[]);
    assert_eq!(bench.scan(), found);
    // And every value is what reading and the baseline say.
    for (end, (old, new)) in found {
        assert_eq!(bench.read(&end), new, "{end}");
        let key = bench.key(&end);
        assert_eq!(bench.files.baseline(&key).unwrap(), Some(old), "{end}");
    }
}

#[test]
fn every_change_is_told_as_it_happens() {
    let mut bench = Bench::new();
    for end in ["edited", "moded", "gone", "old", "dir/a", "dir/b/c"] {
        bench.write(end, end);
    }
    bench.scan();
    bench.write("edited", "other");
    set_mode(&bench.path("moded"), 0o600);
    std::fs::remove_file(bench.path("gone")).unwrap();
    std::fs::rename(bench.path("old"), bench.path("new")).unwrap();
    bench.write("made/below/file", "x");
    bench.told(&["edited", "moded", "gone", "old", "new", "made", "made/below", "made/below/file"]);
    // What was made is watched by now.
    bench.write("made/below/file", "y");
    bench.told(&["made/below/file"]);

    // A folder that moves is told with everything in it, on both sides, and goes on being watched.
    std::fs::rename(bench.path("dir"), bench.path("moved")).unwrap();
    bench.told(&["dir", "dir/a", "dir/b", "dir/b/c", "moved", "moved/a", "moved/b", "moved/b/c"]);
    bench.write("moved/b/c", "again");
    bench.told(&["moved/b/c"]);
    bench.write("dir/a", "made anew");
    bench.told(&["dir", "dir/a"]);

    // Away with everything.
    std::fs::remove_dir_all(bench.path("moved")).unwrap();
    bench.told(&["moved", "moved/a", "moved/b/c"]);
    assert_eq!(bench.files.poll().unwrap(), Poll::Changed(Vec::new()));
}

#[test]
fn folders_that_left_are_not_watched_any_more() {
    let mut bench = Bench::new();
    bench.write("dir/a", "x");
    bench.scan();
    let before = bench.files.watch.len();
    std::fs::rename(bench.path("dir"), bench.top.path().join("outside")).unwrap();
    bench.told(&["dir", "dir/a"]);
    assert_eq!(bench.files.watch.len(), before - 1);
    std::fs::write(bench.top.path().join("outside/a"), "not ours").unwrap();
    bench.write("sign", "x");
    let told = bench.told(&["sign"]);
    assert_eq!(told, BTreeSet::from([bench.key("sign")]));
}

#[test]
fn a_write_through_one_name_of_a_file_is_told_for_all_of_them() {
    let mut bench = Bench::new();
    bench.write("a/one", "x");
    std::fs::create_dir(bench.path("b")).unwrap();
    std::fs::hard_link(bench.path("a/one"), bench.path("b/two")).unwrap();
    bench.scan();
    std::fs::write(bench.path("b/two"), "y").unwrap();
    bench.told(&["b/two", "a/one"]);
}

#[test]
fn what_is_ignored_is_neither_scanned_nor_told_and_comes_back_quietly() {
    let mut bench = Bench::with(&["/tmp/*/root/skip/**", "/tmp/*/root/*.log"]);
    bench.write("skip/deep/file", "x");
    bench.write("a.log", "x");
    bench.write("kept", "x");
    bench.scan();
    bench.write("skip/deep/file", "y");
    bench.write("a.log", "y");
    bench.write("kept", "y");
    let told = bench.told(&["kept"]);
    assert_eq!(told, BTreeSet::from([bench.key("kept")]));
    assert_eq!(bench.found(), ["kept"]);
    assert_eq!(bench.files.baseline(&bench.key("a.log")).unwrap(), None);
    // No longer ignored: what is there now is the baseline.
    bench.files.ignore(&KeyPatterns::default());
    assert_eq!(bench.found(), ["kept"]);
    assert!(
        bench.files.baseline(&bench.key("skip/deep/file")).unwrap().unwrap().as_file().is_some()
    );
    bench.write("a.log", "z");
    bench.told(&["a.log"]);
    assert_eq!(bench.found(), ["a.log", "kept"]);
}

#[test]
fn what_comes_back_from_being_ignored_is_compared_with_what_it_was() {
    let mut bench = Bench::new();
    bench.write("changed", "was");
    bench.write("removed", "was");
    bench.write("same", "was");
    bench.scan();
    let skip = ["/tmp/*/root/**"];
    for is_restarted in [false, true] {
        bench.files.ignore(&KeyPatterns::parse(&skip).unwrap());
        assert_eq!(bench.found(), Vec::<String>::new());
        bench.write("changed", "is");
        bench.write("made", "is");
        let _gone_already = std::fs::remove_file(bench.path("removed"));
        if is_restarted {
            bench.restart(&skip);
        }
        assert_eq!(bench.found(), Vec::<String>::new());
        bench.files.ignore(&KeyPatterns::default());
        assert_eq!(bench.found(), ["changed", "made", "removed"]);
    }
}

#[test]
fn what_users_cannot_read_is_a_keyed_digest_and_its_bytes_stay() {
    let mut bench = Bench::new();
    bench.write("open", "public");
    bench.write("shut", "hidden");
    set_mode(&bench.path("shut"), 0o640);
    bench.write("closed/inside", "hidden");
    set_mode(&bench.path("closed"), 0o700);
    bench.scan();
    let open = bench.read("open");
    assert!(open.as_file().is_some());
    let Value::Withheld(shut) = bench.read("shut") else { panic!() };
    let Value::Withheld(inside) = bench.read("closed/inside") else { panic!() };
    assert_ne!(shut, look::sha256(b"hidden"), "keyed");
    assert_ne!(shut, inside, "mode and all");
    assert!(bench.read("closed").as_file().is_some(), "the folder itself can be seen");
    for end in ["open", "shut", "closed/inside"] {
        let digest = look::sha256(if end == "open" { b"public" } else { b"hidden" });
        let key = bench.key(end);
        let sent = bench.files.contents(&key, &digest).unwrap();
        assert_eq!(sent.is_some(), end == "open", "{end}");
    }
    // A mode is part of it; a way that is opened or shut is drift of the folder alone.
    set_mode(&bench.path("shut"), 0o600);
    assert_eq!(bench.found(), ["shut"]);
    set_mode(&bench.path("shut"), 0o640);
    set_mode(&bench.path("closed"), 0o755);
    assert_eq!(bench.found(), ["closed"]);
    assert!(bench.read("closed/inside").as_file().is_some(), "shows normally now");
    set_mode(&bench.path("open"), 0o600);
    assert!(matches!(bench.read("open"), Value::Withheld(_)));
    assert_eq!(bench.found(), ["closed", "open"]);
    // Nothing readable of it in what the provider writes for others to read.
    let state = bench.top.path().join("state");
    assert_eq!(mode_of(&state), 0o700);
    for entry in std::fs::read_dir(&state).unwrap().flatten() {
        assert_eq!(mode_of(&entry.path()) & 0o077, 0, "{:?}", entry.path());
    }
}

#[test]
fn files_on_the_secret_list_are_withheld_whatever_their_mode() {
    let mut bench = Bench::new();
    bench.write("keys/host.pem", "secret");
    bench.files = open(bench.top.path(), &[], &["/tmp/*/root/**/*.pem"]);
    bench.scan();
    assert!(matches!(bench.read("keys/host.pem"), Value::Withheld(_)));
    let key = bench.key("keys/host.pem");
    assert_eq!(bench.files.contents(&key, &look::sha256(b"secret")).unwrap(), None);
    assert!(bench.files.baseline(&key).unwrap().is_some_and(|v| matches!(v, Value::Withheld(_))));
}

#[test]
fn a_declared_file_that_users_cannot_read_satisfies_its_declaration() {
    let mut bench = Bench::new();
    bench.write("key", "declared");
    set_mode(&bench.path("key"), 0o600);
    let actual = bench.read("key");
    let mut declared = pact_schemas::resource::FileValue {
        kind: FileKind::Regular,
        sha256: Some(look::sha256(b"declared")),
        size_bytes: 8,
        mode: 0o600,
        owner: "root".into(),
        group: "0".into(),
        link_target: None,
        content_kept: true,
    };
    let key = bench.key("key");
    assert!(bench.files.satisfies(&key, &Value::File(declared.clone()), &actual));
    declared.mode = 0o640;
    assert!(!bench.files.satisfies(&key, &Value::File(declared.clone()), &actual));
    assert!(!bench.files.satisfies(&key, &Value::Absent, &actual));
    set_mode(&bench.path("key"), 0o644);
    declared.mode = 0o644;
    let actual = bench.read("key");
    assert!(bench.files.satisfies(&key, &Value::File(declared), &actual), "root or 0");
}

#[test]
fn an_accepted_change_is_the_baseline_from_then_on() {
    let mut bench = Bench::new();
    bench.write("a", "old");
    bench.scan();
    bench.write("a", "new");
    bench.write("b", "made");
    for end in ["a", "b"] {
        let (key, value) = (bench.key(end), bench.read(end));
        bench.files.rebase(&key, &value).unwrap();
    }
    assert_eq!(bench.found(), Vec::<String>::new());
    bench.restart(&[]);
    assert_eq!(bench.found(), Vec::<String>::new());
    std::fs::remove_file(bench.path("b")).unwrap();
    assert_eq!(bench.found(), ["b"]);
    let key = bench.key("b");
    bench.files.rebase(&key, &Value::Absent).unwrap();
    assert_eq!(bench.found(), Vec::<String>::new());
    let outside = key_of_outside(&bench);
    assert!(matches!(
        bench.files.rebase(&outside, &Value::Absent),
        Err(ProviderError::OutsideRoots { .. })
    ));
}

fn key_of_outside(bench: &Bench) -> ResourceKey {
    key(&bench.top.path().join("outside"))
}

#[test]
fn a_declared_file_outside_the_roots_is_looked_at_now_and_then() {
    let mut bench = Bench::new();
    bench.scan();
    let (clock, hand) = Clock::manual(Clock::system().now());
    bench.files.changed = Changed::new(clock);
    let outside = key_of_outside(&bench);
    bench.files.declare(&BTreeSet::from([outside.clone(), bench.key("inside")])).unwrap();
    std::fs::write(bench.top.path().join("outside"), "x").unwrap();
    assert_eq!(bench.files.poll().unwrap(), Poll::Changed(Vec::new()));
    hand.advance(bench.files.next_poll().unwrap());
    assert_eq!(bench.files.poll().unwrap(), Poll::Changed(vec![outside.clone()]));
    hand.advance(bench.files.next_poll().unwrap());
    assert_eq!(bench.files.poll().unwrap(), Poll::Changed(Vec::new()));
    assert!(matches!(
        apply(&mut bench.files, &outside, &Value::Absent, &NoContents),
        Err(ProviderError::OutsideRoots { .. })
    ));
}

#[test]
fn a_file_that_was_read_right_after_a_change_is_looked_at_again() {
    let mut bench = Bench::new();
    bench.scan();
    bench.write("fresh", "x");
    bench.told(&["fresh"]);
    let (clock, hand) = Clock::manual(Clock::system().now());
    bench.files.changed = Changed::new(clock);
    assert_eq!(bench.files.next_poll(), None);
    bench.read("fresh");
    let after = bench.files.next_poll().unwrap();
    assert_eq!(bench.files.poll().unwrap(), Poll::Changed(Vec::new()));
    hand.advance(after);
    assert_eq!(bench.files.poll().unwrap(), Poll::Changed(vec![bench.key("fresh")]));
    assert_eq!(bench.files.next_poll(), None);
}

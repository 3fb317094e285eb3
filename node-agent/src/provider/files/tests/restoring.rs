use super::*;

/// The baseline's value of a key.
fn base(bench: &mut Bench, end: &str) -> Value {
    let key = bench.key(end);
    bench.files.baseline(&key).unwrap().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_kind_of_change_is_undone_from_what_the_node_keeps() {
    let mut bench = Bench::new();
    for end in ["edited", "gone", "moded", "became-link", "became-folder", "dir/in/file"] {
        bench.write(end, end);
    }
    set_mode(&bench.path("edited"), 0o4755);
    std::os::unix::fs::chown(bench.path("gone"), Some(123), Some(456)).unwrap();
    bench.write("shut", "hidden");
    set_mode(&bench.path("shut"), 0o600);
    symlink("../a b", bench.path("link")).unwrap();
    std::os::unix::fs::lchown(bench.path("link"), Some(5), Some(6)).unwrap();
    std::fs::create_dir(bench.path("empty")).unwrap();
    set_mode(&bench.path("empty"), 0o1777);
    bench.scan();

    bench.write("edited", "other");
    for end in ["gone", "became-link", "became-folder", "link", "shut"] {
        std::fs::remove_file(bench.path(end)).unwrap();
    }
    set_mode(&bench.path("moded"), 0o600);
    symlink("/etc/passwd", bench.path("became-link")).unwrap();
    std::fs::create_dir(bench.path("became-folder")).unwrap();
    std::fs::remove_dir(bench.path("empty")).unwrap();
    bench.write("empty", "a file now");
    std::fs::remove_dir_all(bench.path("dir")).unwrap();
    bench.write("made", "work of an hour");
    bench.restart(&[]);

    let found = bench.scan();
    assert_eq!(found.len(), 12, "{:?}", found.keys());
    for (end, (old, _)) in &found {
        bench.apply(end, old).unwrap();
        let read = bench.read(end);
        assert_eq!(&read, old, "{end}");
    }
    assert_eq!(bench.found(), Vec::<String>::new());
    assert_eq!(std::fs::read(bench.path("shut")).unwrap(), b"hidden");
    assert_eq!(mode_of(&bench.path("edited")), 0o4755);
    // What was replaced is not lost, nor what was made.
    assert_eq!(bench.quarantined(), ["a file now", "other", "work of an hour"]);
    let link = "\"link_target\": \"/etc/passwd\"";
    assert!(bench.manifests().iter().any(|manifest| manifest.contains(link)));
    // Again: nothing happens.
    for (end, (old, _)) in &found {
        bench.apply(end, old).unwrap();
    }
    assert_eq!(bench.found(), Vec::<String>::new());
    assert_eq!(bench.manifests().len(), 4);
}

#[test]
fn metadata_alone_is_changed_in_place() {
    let mut bench = Bench::new();
    bench.write("file", "same");
    bench.scan();
    let inode = bench.path("file").metadata().unwrap().ino();
    let was = base(&mut bench, "file");
    set_mode(&bench.path("file"), 0o600);
    std::os::unix::fs::chown(bench.path("file"), Some(77), None).unwrap();
    bench.apply("file", &was).unwrap();
    let metadata = bench.path("file").metadata().unwrap();
    assert_eq!((metadata.ino(), metadata.uid(), metadata.mode() & 0o7777), (inode, 0, 0o644));
}

#[test]
fn a_declared_file_comes_with_given_contents_and_the_folders_it_needs() {
    let mut bench = Bench::new();
    bench.scan();
    let bytes = b"given".to_vec();
    let digest = look::sha256(&bytes);
    let mut file = pact_schemas::resource::FileValue {
        kind: FileKind::Regular,
        sha256: Some(digest),
        size_bytes: 5,
        mode: 0o640,
        owner: "root".into(),
        group: "1".into(),
        link_target: None,
        content_kept: true,
    };
    let key = bench.key("conf.d/deeper/file");
    let want = Value::File(file.clone());
    let refused = apply(&mut bench.files, &key, &want, &NoContents).unwrap_err();
    assert!(matches!(refused, ProviderError::NotRestorable { .. }) && refused.is_deferred());
    let wrong = BTreeMap::from([(digest, b"forged".to_vec())]);
    assert!(apply(&mut bench.files, &key, &want, &wrong).is_err(), "the digest decides");
    let given = BTreeMap::from([(digest, bytes)]);
    apply(&mut bench.files, &key, &want, &given).unwrap();
    let actual = bench.files.read(&key).unwrap();
    assert!(bench.files.satisfies(&key, &want, &actual), "{actual:?}");
    assert_eq!(bench.found(), ["conf.d/deeper/file"], "the folders belong to the baseline now");
    // Given once, it comes back without anybody to give it.
    std::fs::remove_file(bench.path("conf.d/deeper/file")).unwrap();
    apply(&mut bench.files, &key, &want, &NoContents).unwrap();
    file.owner = "no-such-user".into();
    let refused = apply(&mut bench.files, &key, &Value::File(file), &given).unwrap_err();
    assert!(matches!(refused, ProviderError::UnknownOwner { .. }));
    assert!(matches!(
        apply(&mut bench.files, &key, &Value::Integer(1), &NoContents),
        Err(ProviderError::WrongValue { .. })
    ));
}

#[test]
fn what_was_kept_on_purpose_comes_back_after_the_baseline_went_on() {
    let mut bench = Bench::new();
    bench.write("secret", "first");
    set_mode(&bench.path("secret"), 0o600);
    bench.scan();
    let first = bench.read("secret");
    bench.write("secret", "second");
    set_mode(&bench.path("secret"), 0o600);
    let second = bench.read("secret");
    let key = bench.key("secret");
    bench.files.rebase(&key, &second).unwrap();
    bench.write("secret", "third");
    set_mode(&bench.path("secret"), 0o600);
    let third = bench.read("secret");
    assert!(bench.files.keep(&key, &third).unwrap());
    for (value, contents) in [(&first, "first"), (&second, "second"), (&third, "third")] {
        bench.apply("secret", value).unwrap();
        assert_eq!(std::fs::read_to_string(bench.path("secret")).unwrap(), contents);
        assert_eq!(mode_of(&bench.path("secret")), 0o600);
        assert_eq!(bench.read("secret"), *value);
    }
    let unknown = bench.apply("secret", &Value::Withheld([9; 32])).unwrap_err();
    assert!(matches!(unknown, ProviderError::NotRestorable { .. }));
    // A change to a value of before makes that the baseline, though the file is another.
    bench.files.rebase(&key, &first).unwrap();
    assert_eq!(bench.scan()["secret"], (first, third));
}

#[test]
fn large_files_are_told_by_digest_and_not_restored() {
    let mut bench = Bench::new();
    bench.write("large", vec![7; 300 * 1024]);
    bench.scan();
    let was = base(&mut bench, "large");
    assert!(!was.as_file().unwrap().content_kept);
    bench.write("large", "small now");
    assert_eq!(bench.found(), ["large"]);
    let refused = bench.apply("large", &was).unwrap_err();
    assert!(matches!(refused, ProviderError::NotRestorable { .. }));
    assert_eq!(std::fs::read(bench.path("large")).unwrap(), b"small now");
}

#[test]
fn a_folder_with_contents_stays() {
    let mut bench = Bench::new();
    bench.write("was-file", "x");
    bench.scan();
    let was = base(&mut bench, "was-file");
    std::fs::remove_file(bench.path("was-file")).unwrap();
    bench.write("was-file/work", "not to be lost");
    bench.write("made/work", "not to be lost");
    for (end, want) in [("was-file", &was), ("made", &Value::Absent)] {
        let refused = bench.apply(end, want).unwrap_err();
        assert!(matches!(refused, ProviderError::NotEmpty { .. }), "{refused}");
        assert_eq!(names(&bench.path(end)), ["work"]);
    }
    // In the order of keys from the end, everything goes.
    for end in ["was-file/work", "made/work", "made"] {
        bench.apply(end, &Value::Absent).unwrap();
    }
    bench.apply("was-file", &was).unwrap();
    assert_eq!(bench.found(), Vec::<String>::new());
    assert_eq!(names(&bench.path("")), ["was-file"]);
}

#[test]
fn a_full_disk_leaves_the_file_as_it_was() {
    let mounted = Tmpfs::mount("2m");
    set_mode(mounted.path(), 0o755);
    let top = tempfile::tempdir().unwrap();
    let mut files = open_roots(top.path(), vec![mounted.path().to_owned()], &[], &[]);
    let file = mounted.path().join("file");
    std::fs::write(&file, vec![1; 200 * 1024]).unwrap();
    files.scan(&mut |_| {}).unwrap();
    let was = files.baseline(&key(&file)).unwrap().unwrap();
    std::fs::write(&file, "changed").unwrap();
    let fill = std::fs::write(mounted.path().join("fill"), vec![0; 4 << 20]);
    assert_eq!(fill.unwrap_err().kind(), io::ErrorKind::StorageFull);
    let refused = apply(&mut files, &key(&file), &was, &NoContents).unwrap_err();
    assert!(matches!(refused, ProviderError::DiskFull { .. }), "{refused:?}");
    assert!(refused.is_deferred());
    assert_eq!(std::fs::read(&file).unwrap(), b"changed");
    assert_eq!(names(mounted.path()), ["file", "fill"], "nothing half-written stays");
    std::fs::remove_file(mounted.path().join("fill")).unwrap();
    apply(&mut files, &key(&file), &was, &NoContents).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 200 * 1024);
}

#[test]
fn users_attributes_stay_when_contents_are_restored() {
    let mut bench = Bench::new();
    bench.write("file", "x");
    let set = |path: &Path| {
        rustix::fs::setxattr(path, "user.note", b"mine", rustix::fs::XattrFlags::empty())
    };
    if set(&bench.path("file")) == Err(rustix::io::Errno::NOTSUP) {
        return;
    }
    bench.scan();
    let was = base(&mut bench, "file");
    std::fs::write(bench.path("file"), "y").unwrap();
    bench.apply("file", &was).unwrap();
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(bench.path("file"), "user.note", &mut value).unwrap();
    assert_eq!(&value[..length], b"mine");
}

/// Somebody exchanges a folder on the way and a link to elsewhere, as fast as possible, while files are restored.
#[test]
fn a_race_of_links_never_writes_or_removes_outside() {
    let mut bench = Bench::new();
    let outside = bench.top.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "precious").unwrap();
    bench.write("dir/file", "ours");
    bench.write("dir/extra", "ours");
    bench.scan();
    let was = base(&mut bench, "dir/file");
    symlink(&outside, bench.path("bait")).unwrap();
    let (dir, bait) = (bench.path("dir"), bench.path("bait"));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let attack = std::thread::spawn(move || {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        let mut rounds = 0_u64;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            renameat2(AT_FDCWD, &dir, AT_FDCWD, &bait, RenameFlags::RENAME_EXCHANGE).unwrap();
            rounds += 1;
        }
        rounds
    });
    let (mut done, mut refused) = (0, 0);
    for _ in 0..1_500 {
        let _ = std::fs::write(bench.path("dir/file"), "changed");
        let outcomes = [bench.apply("dir/file", &was), bench.apply("dir/none", &Value::Absent)];
        for outcome in outcomes {
            if outcome.is_ok() { done += 1 } else { refused += 1 }
        }
        // The write above may itself have gone outside; what matters is what the provider does.
        std::fs::write(outside.join("file"), "precious").unwrap();
        let _ = bench.apply("dir/file", &was);
        assert_eq!(std::fs::read(outside.join("file")).unwrap(), b"precious");
        assert_eq!(names(&outside), ["file"]);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(attack.join().unwrap() > 100);
    assert!(done > 0 && refused > 0, "the race was no race: {done} {refused}");
}

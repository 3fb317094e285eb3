use super::*;

#[test]
fn odd_names_are_keys_like_others() {
    let mut bench = Bench::new();
    bench.scan();
    let names: [&[u8]; 5] = [b"new\nline", b"\xff\xfe", b"100%", b" blank ", b"-rf"];
    for name in names {
        std::fs::write(bench.path("").join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    let paths: Vec<PathBuf> = names
        .iter()
        .map(|name| bench.path("").join(std::ffi::OsString::from_vec(name.to_vec())))
        .collect();
    let clock = Clock::system();
    let deadline = clock.monotonic() + Duration::from_secs(20);
    let mut told = BTreeSet::new();
    while !paths.iter().all(|path| told.contains(&key(path))) {
        let Poll::Changed(keys) = bench.files.poll().unwrap() else { panic!() };
        told.extend(keys);
        assert!(clock.monotonic() < deadline, "{told:?}");
    }
    assert_eq!(bench.found(), [" blank ", "%FF%FE", "-rf", "100%25", "new%0Aline"]);
    for path in &paths {
        apply(&mut bench.files, &key(path), &Value::Absent, &NoContents).unwrap();
    }
    assert_eq!(bench.found(), Vec::<String>::new());
}

#[test]
fn loops_and_links_out_of_the_roots_are_links_and_no_more() {
    let mut bench = Bench::new();
    symlink(".", bench.path("loop")).unwrap();
    symlink("b", bench.path("a")).unwrap();
    symlink("a", bench.path("b")).unwrap();
    symlink("/", bench.path("out")).unwrap();
    bench.scan();
    let Value::File(file) = bench.read("a") else { panic!() };
    assert_eq!((file.kind, file.link_target.as_deref()), (FileKind::Symlink, Some("b")));
    // Through a link there is nothing.
    let through = key(&bench.path("out/etc/passwd"));
    assert_eq!(bench.files.read(&through).unwrap(), Value::Absent);
    let held = bench.files.holders(&BTreeSet::from([through.clone()]));
    assert!(held[&through].as_ref().unwrap().is_empty());
    assert!(
        apply(&mut bench.files, &through, &Value::Absent, &NoContents).is_ok(),
        "nothing is there"
    );
    assert!(Path::new("/etc/passwd").exists());
    let refused = apply(&mut bench.files, &through, &Value::Withheld([0; 32]), &NoContents);
    assert!(refused.is_err());
    assert_eq!(bench.found(), Vec::<String>::new());
}

#[test]
fn special_files_are_told_and_never_opened() {
    let mut bench = Bench::new();
    bench.scan();
    // Opening a pipe without a writer would wait for ever.
    nix::unistd::mkfifo(&bench.path("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("socket")).unwrap();
    let found = bench.scan();
    for end in ["pipe", "socket"] {
        assert_eq!(found[end].1.as_file().unwrap().kind, FileKind::Special);
    }
    let special = found["pipe"].1.clone();
    let refused = bench.apply("pipe", &special).unwrap_err();
    assert!(matches!(refused, ProviderError::NotRestorable { .. }));
    bench.apply("pipe", &Value::Absent).unwrap();
    assert_eq!(bench.found(), ["socket"]);
}

#[test]
fn a_folder_that_cannot_be_read_is_no_deletion() {
    let mut bench = Bench::new();
    bench.write("shut/file", "x");
    bench.scan();
    set_mode(&bench.path("shut"), 0o700);
    nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut found = Vec::new();
        bench.files.scan(&mut |one| found.push(one)).unwrap();
        found
    }));
    nix::unistd::setfsuid(nix::unistd::Uid::from_raw(0));
    let ends: Vec<_> = found.unwrap().into_iter().map(|found| found.key).collect();
    assert_eq!(ends, [bench.key("shut")], "the mode of the folder, nothing about what is in it");
}

#[test]
fn files_that_come_and_go_during_scans_do_no_harm() {
    let mut bench = Bench::new();
    for number in 0..200 {
        bench.write(&format!("dir-{}/file-{number}", number % 10), "x");
    }
    bench.scan();
    let root = bench.path("");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let churn = std::thread::spawn(move || {
        let mut round = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            round += 1;
            let path = root.join(format!("dir-{}/churn-{}", round % 10, round % 7));
            let _ = std::fs::write(&path, "x");
            let _ = std::fs::remove_file(&path);
            let _ = symlink("/etc", &path);
            let _ = std::fs::remove_file(&path);
            let _ = std::fs::create_dir(&path);
            let _ = std::fs::remove_dir(&path);
        }
    });
    for _ in 0..30 {
        for end in bench.found() {
            // A folder's own state is that of its inode: none of its contents count.
            assert!(end.contains("churn"), "{end}");
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    churn.join().unwrap();
    assert_eq!(bench.found(), Vec::<String>::new());
}

#[test]
fn a_burst_of_writes_loses_nothing() {
    let mut bench = Bench::new();
    for number in 0..5_000 {
        bench.write(&format!("{}/{number}", number % 50), "before");
    }
    bench.scan();
    for number in 0..5_000 {
        std::fs::write(bench.path(&format!("{}/{number}", number % 50)), "after").unwrap();
    }
    let mut changed = BTreeSet::new();
    loop {
        match bench.files.poll().unwrap() {
            Poll::Changed(keys) if keys.is_empty() => break,
            Poll::Changed(keys) => changed.extend(keys.iter().map(ToString::to_string)),
            // More than the kernel remembers: the scan tells.
            Poll::Rescan => {
                changed.extend(bench.found().iter().map(|end| bench.key(end).to_string()));
            }
        }
    }
    for number in 0..5_000 {
        let key = bench.key(&format!("{}/{number}", number % 50));
        assert!(changed.contains(key.as_str()), "{key}");
    }
}

#[test]
fn an_overflow_of_the_kernels_queue_asks_for_a_scan() {
    let limit: usize = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(limit <= 200_000, "this node remembers more than this test writes");
    let mut bench = Bench::new();
    bench.write("a", "x");
    bench.write("b", "x");
    bench.scan();
    for _ in 0..=limit {
        // Alternating, so that the kernel does not fold equal events.
        for end in ["a", "b"] {
            set_mode(&bench.path(end), 0o644);
        }
    }
    bench.write("after", "lost");
    assert_eq!(bench.files.poll().unwrap(), Poll::Rescan);
    assert_eq!(bench.found(), ["after"]);
    assert_eq!(bench.files.poll().unwrap(), Poll::Changed(Vec::new()));
}

#[test]
fn twenty_thousand_files_are_scanned_right() {
    let mut bench = Bench::new();
    for number in 0..20_000 {
        let path = bench.path(&format!("{:02}/{:02}", number % 100, number / 100 % 20));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join(format!("f{number}")), number.to_string()).unwrap();
    }
    assert_eq!(bench.found().len(), 0);
    bench.restart(&[]);
    assert_eq!(bench.found().len(), 0);
    let end = |number: u32| format!("{:02}/{:02}/f{number}", number % 100, number / 100 % 20);
    let mut expected = BTreeSet::new();
    for number in (0..20_000).step_by(997) {
        let path = bench.path(&end(number));
        match number % 3 {
            0 => std::fs::write(&path, "changed").unwrap(),
            1 => std::fs::remove_file(&path).unwrap(),
            _ => set_mode(&path, 0o755),
        }
        expected.insert(end(number));
    }
    assert_eq!(bench.found().into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn a_crashs_leftovers_are_swept_and_others_files_of_such_names_are_not() {
    let mut bench = Bench::new();
    bench.scan();
    let folder = bench.path("").as_os_str().as_bytes().to_vec();
    let ours = bench.files.temps.name(&folder).into_string().unwrap();
    let theirs = ".pact-tmp-0011223344556677aabbccddeeff0011";
    bench.write(&ours, "half");
    bench.write(theirs, "hidden?");
    let told = bench.told(&[theirs]);
    assert_eq!(told, BTreeSet::from([bench.key(theirs)]));
    bench.restart(&[]);
    assert_eq!(bench.found(), [theirs]);
    assert!(!bench.path(&ours).exists());
}

/// Puts something that is no folder at a path.
type Put = fn(&Path);

#[test]
fn what_takes_the_place_of_a_folder_takes_its_contents_along_and_all_of_it_comes_back() {
    let others: [Put; 4] = [
        |path| symlink(path.with_file_name("other"), path).unwrap(),
        |path| symlink("nowhere", path).unwrap(),
        |path| std::fs::write(path, "a file").unwrap(),
        |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
    ];
    for put in others {
        let mut bench = Bench::new();
        bench.write("conf/one", "one");
        bench.write("conf/deep/two", "two");
        bench.write("other/one", "foreign");
        bench.scan();
        // As what is declared: no baseline has it.
        bench.write("conf/declared", "three");
        let declared = bench.read("conf/declared");
        std::fs::remove_dir_all(bench.path("conf")).unwrap();
        put(&bench.path("conf"));
        let inside = ["conf/one", "conf/deep", "conf/deep/two", "conf/declared"];
        bench.told(&["conf", "conf/one", "conf/deep", "conf/deep/two", "conf/declared"]);
        for end in inside {
            assert_eq!(bench.read(end), Value::Absent, "{end}");
        }
        // Alone it stays undone, and says why; nothing is written where a link leads.
        let kept = bench.files.baseline(&bench.key("conf/one")).unwrap().unwrap();
        let refused = bench.apply("conf/one", &kept).unwrap_err();
        assert!(
            matches!(&refused, ProviderError::NotBeneath { at, .. } if *at == bench.path("conf"))
        );
        assert!(bench.apply("conf/declared", &declared).is_err());
        assert_eq!(std::fs::read(bench.path("other/one")).unwrap(), b"foreign");

        let mut found = Vec::new();
        bench.files.scan(&mut |one| found.push(one)).unwrap();
        assert_eq!(found.len(), 4, "{found:?}");
        let (done, _) = apply_all(&mut bench.files, &found, &NoContents);
        done.into_iter().for_each(|done| done.unwrap());
        assert_eq!(bench.found(), Vec::<String>::new());
        assert_eq!(std::fs::read(bench.path("conf/deep/two")).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(bench.path("other")).unwrap().count(), 1);
    }
}

#[test]
fn a_root_replaced_by_a_link_takes_its_contents_along_too() {
    let mut bench = Bench::new();
    bench.write("one", "one");
    bench.scan();
    let aside = bench.top.path().join("aside");
    std::fs::rename(bench.path(""), &aside).unwrap();
    symlink(&aside, bench.path("")).unwrap();
    let mut found = Vec::new();
    bench.files.scan(&mut |one| found.push(one)).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(bench.read("one"), Value::Absent);
    let (done, _) = apply_all(&mut bench.files, &found, &NoContents);
    done.into_iter().for_each(|done| done.unwrap());
    assert_eq!(bench.found(), Vec::<String>::new());
    assert!(!bench.path("").is_symlink() && aside.join("one").exists());
}

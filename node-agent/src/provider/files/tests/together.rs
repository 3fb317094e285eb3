//! Several keys at once: each as if it were alone.

use super::*;

/// Undoes everything that differs; what each key's answer was, by the end of its path, and how many went at once.
fn undo(bench: &mut Bench) -> (BTreeMap<String, Result<(), ProviderError>>, Vec<usize>) {
    let found: Vec<Found> = bench
        .scan()
        .into_iter()
        .map(|(end, (old, new))| Found { key: bench.key(&end), old, new })
        .collect();
    undo_found(bench, &found)
}

fn undo_found(
    bench: &mut Bench,
    found: &[Found],
) -> (BTreeMap<String, Result<(), ProviderError>>, Vec<usize>) {
    let (answers, at_once) = apply_all(&mut bench.files, found, &NoContents);
    let cut = format!("file/{}/", bench.path("").display());
    let (goes, comes): (Vec<_>, Vec<_>) = found.iter().partition(|one| one.old == Value::Absent);
    let ends = goes.into_iter().rev().chain(comes);
    let ends = ends.map(|one| one.key.as_str().strip_prefix(&cut).unwrap().to_owned());
    (ends.zip(answers).collect(), at_once)
}

fn text(bench: &Bench, end: &str) -> String {
    std::fs::read_to_string(bench.path(end)).unwrap()
}

#[test]
fn what_goes_together_is_all_as_it_was_and_what_was_there_is_kept() {
    for renames in super::replacing::ways() {
        let mut bench = Bench::new();
        bench.files.renames = renames;
        for number in 0..200 {
            bench.write(&format!("{}/f{number:03}", number % 5), format!("was {number}"));
        }
        bench.write("mode", "mode");
        bench.write("linked", "was linked");
        std::fs::hard_link(bench.path("linked"), bench.path("linked too")).unwrap();
        bench.write("gone/with/all", "gone");
        bench.write("tree", "a file");
        symlink("here", bench.path("link")).unwrap();
        bench.scan();

        for number in 0..200 {
            let end = format!("{}/f{number:03}", number % 5);
            match number % 4 {
                0 => bench.write(&end, format!("is {number}")),
                1 => std::fs::remove_file(bench.path(&end)).unwrap(),
                2 => bench.write(&end, "the same for all"),
                _ => bench.write(&format!("{end}-made"), format!("made {number}")),
            }
        }
        set_mode(&bench.path("mode"), 0o600);
        std::fs::write(bench.path("linked"), "is linked").unwrap();
        std::fs::remove_dir_all(bench.path("gone")).unwrap();
        std::fs::remove_file(bench.path("tree")).unwrap();
        bench.write("tree/with/work", "work");
        std::fs::remove_file(bench.path("link")).unwrap();
        symlink("there", bench.path("link")).unwrap();

        let (answers, at_once) = undo(&mut bench);
        let failed: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_err()).collect();
        assert!(failed.is_empty(), "{renames:?} {failed:?}");
        assert!(at_once.contains(&64) && at_once.len() < 25, "{at_once:?}");
        assert_eq!(bench.found(), Vec::<String>::new(), "{renames:?}");
        assert_eq!(text(&bench, "gone/with/all"), "gone");
        assert_eq!((text(&bench, "linked"), text(&bench, "linked too")), {
            let was = "was linked".to_owned();
            (was.clone(), was)
        });
        let mut expected: Vec<String> = (0..200).step_by(4).map(|n| format!("is {n}")).collect();
        expected.extend((3..200).step_by(4).map(|n| format!("made {n}")));
        expected.extend(["is linked", "the same for all", "work"].map(str::to_owned));
        expected.sort();
        assert_eq!(bench.quarantined(), expected, "{renames:?}");
        assert_eq!(bench.in_quarantine("new"), Vec::<String>::new());
    }
}

#[test]
fn one_that_stays_keeps_none_of_the_others_from_being_undone() {
    for renames in super::replacing::ways() {
        let mut bench = Bench::new();
        bench.files.renames = renames;
        let ends: Vec<String> = (0..30).map(|number| format!("f{number:02}")).collect();
        for end in &ends {
            bench.write(end, format!("was {end}"));
        }
        bench.write("large", vec![b'x'; 300 * 1024]);
        bench.scan();
        for end in &ends {
            bench.write(end, format!("is {end}"));
        }
        bench.write("large", "small");
        for end in ["made", "made too", "made and open"] {
            bench.write(end, end);
        }
        let found: Vec<Found> = bench
            .scan()
            .into_iter()
            .map(|(end, (old, new))| Found { key: bench.key(&end), old, new })
            .collect();
        // Between the look and the writing.
        bench.write("f07", "newer");
        std::fs::remove_file(bench.path("f11")).unwrap();
        bench.write("made too", "newer");
        let open = |end| std::fs::OpenOptions::new().append(true).open(bench.path(end)).unwrap();
        let opened = [open("f13"), open("made and open")];
        let knows_leases = lease::is_open_elsewhere(&opened[0]).is_some();

        let (answers, at_once) = undo_found(&mut bench, &found);
        assert_eq!(at_once, [34]);
        for (end, answer) in &answers {
            let is_as_expected = match &**end {
                "f07" | "f11" | "made too" => matches!(answer, Err(ProviderError::Changed { .. })),
                "f13" | "made and open" if knows_leases => {
                    matches!(answer, Err(ProviderError::InUse { .. }))
                }
                "large" => matches!(answer, Err(ProviderError::NotRestorable { .. })),
                _ => answer.is_ok(),
            };
            assert!(is_as_expected, "{renames:?} {end}: {answer:?}");
        }
        for end in ends.iter().filter(|end| !["f07", "f11", "f13"].contains(&&***end)) {
            assert_eq!(text(&bench, end), format!("was {end}"), "{renames:?}");
        }
        assert_eq!((text(&bench, "f07"), text(&bench, "made too")), {
            let newer = "newer".to_owned();
            (newer.clone(), newer)
        });
        assert!(!bench.path("made").exists() && !bench.path("f11").exists());
        let expected = if knows_leases { 28 } else { 30 };
        assert_eq!((bench.quarantined().len(), bench.manifests().len()), (expected, expected));
        let names = std::fs::read_dir(bench.path("")).unwrap().count();
        assert_eq!(names, 29 + 1 + if knows_leases { 2 } else { 1 }, "{renames:?}");
    }
}

#[test]
fn what_was_left_aside_where_no_scan_goes_is_removed() {
    let mut bench = Bench::with(&["/**/shut/**"]);
    let (folder, file) = (bench.path("shut/inner"), bench.path("shut/inner/file"));
    bench.write("shut/inner/file", "work");
    let bytes = folder.as_os_str().as_bytes();
    let above = bench.files.temps.name(folder.parent().unwrap().as_os_str().as_bytes());
    let [left, pending] = [(); 2].map(|()| bench.files.temps.name(bytes).into_string().unwrap());
    let above = folder.parent().unwrap().join(above.to_str().unwrap());
    std::fs::write(folder.join(&left), "half").unwrap();
    std::fs::create_dir(&above).unwrap();
    std::fs::write(folder.join(".pact-tmp-0123456789abcdef0123456789abcdef"), "theirs").unwrap();
    let names = |folder: &Path| {
        let names = std::fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<_> = names.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    bench.scan();
    assert_eq!(names(&folder).len(), 3, "no scan goes there");
    // What was replaced and is not kept yet is the only one.
    std::fs::write(folder.join(&pending), "work").unwrap();
    let key = key(&file);
    let place = Place::find(file.as_os_str().as_bytes()).unwrap();
    let at = Where { folder: place.folder.as_fd(), name: &place.name, is_open: true, key: &key };
    let seen = bench.files.looker.look(&at, false).unwrap().unwrap();
    let aside = folder.join(&pending);
    bench.files.quarantine.begin(&key, &seen, aside.as_os_str().as_bytes(), None).unwrap();
    bench.files.clean_up(&BTreeSet::from([key]));
    let mut expected =
        [&*pending, ".pact-tmp-0123456789abcdef0123456789abcdef", "file"].map(str::to_owned);
    expected.sort();
    assert_eq!(names(&folder), expected);
    assert!(!above.exists() && folder.exists());
}

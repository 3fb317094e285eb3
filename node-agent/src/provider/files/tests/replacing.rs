//! What an undo replaces or removes is kept first, and is what was observed, or nothing is done.

use std::cell::Cell;
use std::process::{Command, Stdio};

use super::*;

/// What happens between the look at a file and the writing of it: the contents that it is to have are asked for then.
struct Meanwhile<'a> {
    bytes: &'a [u8],
    happens: Box<dyn Fn() + 'a>,
    asked: Cell<usize>,
}

impl<'a> Meanwhile<'a> {
    fn new(bytes: &'a [u8], happens: impl Fn() + 'a) -> Self {
        Self { bytes, happens: Box::new(happens), asked: Cell::new(0) }
    }
}

impl Contents for Meanwhile<'_> {
    fn get(&self, sha256: &[u8; 32]) -> Option<Vec<u8>> {
        self.asked.set(self.asked.get() + 1);
        (self.happens)();
        (look::sha256(self.bytes) == *sha256).then(|| self.bytes.to_vec())
    }
}

/// A file that was `was` and is `is`, its key, what it is and what it should be.
fn drifted(bench: &mut Bench) -> (ResourceKey, Value, Value) {
    bench.write("file", "was");
    bench.scan();
    bench.write("file", "is");
    let (want, observed) = bench.scan()["file"].clone();
    (bench.key("file"), observed, want)
}

pub(super) fn ways() -> [Renames; 3] {
    [
        Renames::ALL,
        Renames { exchange: false, ..Renames::ALL },
        Renames { exchange: false, no_replace: false, link: true },
    ]
}

fn contents(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Names in the root, those of temporary files as they are.
fn names(bench: &Bench) -> Vec<String> {
    let entries = std::fs::read_dir(bench.path("")).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_replaced_is_in_the_quarantine_whatever_the_file_system_can_do() {
    for renames in ways() {
        let mut bench = Bench::new();
        bench.files.renames = renames;
        let (key, observed, want) = drifted(&mut bench);
        bench.files.apply(&key, &observed, &want, &NoContents).unwrap();
        assert_eq!(contents(&bench.path("file")), "was", "{renames:?}");
        assert_eq!(bench.quarantined(), ["is"], "{renames:?}");
        // The same once more keeps no second copy.
        bench.write("file", "is");
        bench.files.apply(&key, &observed, &want, &NoContents).unwrap();
        assert_eq!((bench.quarantined().len(), bench.manifests().len()), (1, 1));
        assert_eq!(names(&bench), ["file"], "{renames:?}");
        bench.write("made", "work");
        bench.apply("made", &Value::Absent).unwrap();
        assert_eq!(bench.quarantined(), ["is", "work"]);
        std::fs::remove_file(bench.path("file")).unwrap();
        bench.apply("file", &want).unwrap();
        assert_eq!(names(&bench), ["file"], "{renames:?}");
    }
}

#[test]
fn a_file_system_that_can_neither_exchange_nor_link_is_told_and_nothing_is_done() {
    let mut bench = Bench::new();
    bench.files.renames = Renames { exchange: false, no_replace: false, link: false };
    let (key, observed, want) = drifted(&mut bench);
    let refused = bench.files.apply(&key, &observed, &want, &NoContents).unwrap_err();
    assert!(matches!(refused, ProviderError::NotRestorable { .. }), "{refused}");
    assert_eq!(contents(&bench.path("file")), "is");
    assert_eq!(names(&bench), ["file"]);
    assert_eq!(bench.manifests().len(), 0);
}

#[test]
fn what_changed_before_it_is_written_stays_as_it_is() {
    let mut bench = Bench::new();
    let (key, observed, want) = drifted(&mut bench);
    bench.write("file", "newer");
    for wish in [&want, &Value::Absent] {
        let refused = bench.files.apply(&key, &observed, wish, &NoContents).unwrap_err();
        assert!(matches!(refused, ProviderError::Changed { .. }), "{refused}");
        assert!(refused.is_deferred());
        assert_eq!(contents(&bench.path("file")), "newer");
    }
    // What is as it should be by now is done, whatever was observed.
    bench.write("file", "was");
    bench.files.apply(&key, &observed, &want, &NoContents).unwrap();
    assert_eq!(bench.quarantined(), Vec::<String>::new());
}

/// Between the look and the exchange, which no lock spans.
#[test]
fn what_changes_while_it_is_replaced_is_put_back() {
    type Happens = fn(&Path);
    let happenings: [(&str, Happens); 5] = [
        ("written in place", |path| std::fs::write(path, "newer").unwrap()),
        ("replaced by a file", |path| {
            std::fs::write(path.with_extension("new"), "newer").unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("replaced by a link", |path| {
            std::fs::remove_file(path).unwrap();
            symlink("newer", path).unwrap();
        }),
        ("replaced by a folder", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("inner"), "newer").unwrap();
        }),
        ("removed", |path| std::fs::remove_file(path).unwrap()),
    ];
    for renames in ways() {
        for (what, happens) in happenings {
            let mut bench = Bench::new();
            bench.files.renames = renames;
            let (key, observed, want) = drifted(&mut bench);
            let path = bench.path("file");
            let meanwhile = Meanwhile::new(b"was", || happens(&path));
            let refused = bench.files.apply(&key, &observed, &want, &meanwhile).unwrap_err();
            assert_eq!(meanwhile.asked.get(), 1);
            assert!(refused.is_deferred(), "{what} {renames:?}: {refused}");
            let there = match what {
                "removed" => !path.exists(),
                "replaced by a link" => std::fs::read_link(&path).unwrap() == Path::new("newer"),
                "replaced by a folder" => path.join("inner").exists(),
                _ => contents(&path) == "newer",
            };
            assert!(there, "{what} {renames:?}");
            let expected: &[&str] = if what == "removed" { &[] } else { &["file"] };
            assert_eq!(names(&bench), expected, "{what} {renames:?}");
            assert_eq!(bench.manifests().len(), 0, "{what} {renames:?}");
        }
    }
}

#[test]
fn what_appears_where_nothing_was_is_not_replaced() {
    for renames in ways() {
        let mut bench = Bench::new();
        bench.files.renames = renames;
        bench.write("file", "was");
        bench.scan();
        std::fs::remove_file(bench.path("file")).unwrap();
        let (want, _) = bench.scan()["file"].clone();
        let (key, path) = (bench.key("file"), bench.path("file"));
        let meanwhile = Meanwhile::new(b"was", || std::fs::write(&path, "newer").unwrap());
        let refused = bench.files.apply(&key, &Value::Absent, &want, &meanwhile).unwrap_err();
        assert!(matches!(refused, ProviderError::Changed { .. }), "{refused}");
        assert_eq!((contents(&path).as_str(), names(&bench)), ("newer", vec!["file".to_owned()]));
    }
}

#[test]
fn what_is_opened_after_the_search_for_holders_is_not_replaced() {
    let mut bench = Bench::new();
    let (key, observed, want) = drifted(&mut bench);
    let path = bench.path("file");
    let probe = std::fs::File::open(&path).unwrap();
    if lease::is_open_elsewhere(&probe).is_none() {
        println!("NOT CHECKED: the file system of {} knows no leases", path.display());
        return;
    }
    drop(probe);
    let opened = Cell::new(None);
    let open = || {
        let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        opened.set(Some(file));
    };
    let meanwhile = Meanwhile::new(b"was", open);
    let refused = bench.files.apply(&key, &observed, &want, &meanwhile).unwrap_err();
    assert!(matches!(refused, ProviderError::InUse { .. }), "{refused}");
    assert!(refused.is_deferred());
    let removed = bench.files.apply(&key, &observed, &Value::Absent, &NoContents).unwrap_err();
    assert!(matches!(removed, ProviderError::InUse { .. }), "{removed}");
    assert_eq!((contents(&path).as_str(), names(&bench)), ("is", vec!["file".to_owned()]));
    drop(opened.take());
    bench.files.apply(&key, &observed, &want, &NoContents).unwrap();
    assert_eq!(contents(&path), "was");
}

#[test]
fn without_room_in_the_quarantine_nothing_is_replaced() {
    let mut bench = Bench::new();
    let (key, ..) = drifted(&mut bench);
    // More than the quarantine ever takes, without taking any room.
    let file = std::fs::File::create(bench.path("file")).unwrap();
    file.set_len(300 * 1024 * 1024).unwrap();
    drop(file);
    let (want, observed) = bench.scan()["file"].clone();
    for wish in [&want, &Value::Absent] {
        let refused = bench.files.apply(&key, &observed, wish, &NoContents).unwrap_err();
        assert!(matches!(refused, ProviderError::NoRoom { .. }), "{refused}");
        let told = refused.to_wire();
        assert!(told.message.contains("quarantine") && !told.next_step.is_empty(), "{told:?}");
    }
    assert_eq!(bench.path("file").metadata().unwrap().len(), 300 * 1024 * 1024);
    assert_eq!(names(&bench), ["file"]);
}

/// Ends the process in the middle of an undo, at whatever point it has got to, again and again.
#[test]
fn an_undo_that_is_killed_loses_nothing_and_leaves_nothing() {
    const ROUNDS: u32 = 20;
    const FILES: u32 = 300;
    let mut bench = Bench::new();
    let end = |number: u32| format!("{}/f{number}", number % 7);
    let made = |number: u32| format!("{}/m{number}", number % 7);
    for number in 0..FILES {
        bench.write(&end(number), format!("was {number}"));
    }
    bench.scan();
    let program = std::env::current_exe().unwrap();
    let clock = Clock::system();
    for round in 0..ROUNDS {
        // A third is changed, a third is removed; beside the rest something is made.
        for number in 0..FILES {
            let _ = std::fs::remove_file(bench.path(&end(number)));
            match number % 3 {
                0 => bench.write(&end(number), format!("is {number} in {round}")),
                1 => {}
                _ => {
                    bench.write(&end(number), format!("was {number}"));
                    bench.write(&made(number), format!("made {number} in {round}"));
                }
            }
        }
        let mut child = Command::new(&program)
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("provider::files::tests::replacing::undo_in_a_process_of_its_own")
            .env("PACT_TEST_UNDO", bench.top.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Once the first file is restored or gone, it is in the middle.
        let deadline = clock.monotonic() + Duration::from_secs(60);
        // Not read: who has a file open keeps it from being replaced.
        let is_there = |end: String| bench.path(&end).exists();
        let is_begun = || {
            (0..FILES).any(|n| n % 3 == 1 && is_there(end(n)) || n % 3 == 2 && !is_there(made(n)))
        };
        while !is_begun() {
            assert!(clock.monotonic() < deadline, "nothing is restored");
            std::thread::yield_now();
        }
        let [some] = clock.random_bytes::<1>();
        std::thread::sleep(Duration::from_micros(u64::from(some) * 500));
        child.kill().unwrap();
        child.wait().unwrap();
        bench.restart(&[]);
        let found = bench.found();
        assert!(found.iter().all(|end| !end.contains("tmp")), "{found:?}");
        let kept = bench.quarantined();
        let read = |end: String| std::fs::read_to_string(bench.path(&end)).ok();
        for number in 0..FILES {
            let there = read(end(number));
            let was = Some(format!("was {number}"));
            match number % 3 {
                0 => {
                    let is = format!("is {number} in {round}");
                    assert!(there == Some(is.clone()) || there == was, "half: {there:?}");
                    assert!(there != was || kept.contains(&is), "lost: {is}");
                }
                1 => assert!(there.is_none() || there == was, "half: {there:?}"),
                _ => {
                    let work = format!("made {number} in {round}");
                    let made = read(made(number));
                    assert!(made.is_none() || made.as_ref() == Some(&work), "half: {made:?}");
                    assert!(made.is_some() || kept.contains(&work), "lost: {work}");
                }
            }
        }
        for number in 0..FILES {
            let _ = std::fs::remove_file(bench.path(&made(number)));
        }
        let names = std::fs::read_dir(bench.path("")).unwrap().flatten();
        let names = names.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
        let strange: Vec<_> =
            names.filter(|e| !e.file_name().as_encoded_bytes().starts_with(b"f")).collect();
        assert!(strange.is_empty(), "{strange:?}");
        let unfinished = bench.in_quarantine("new");
        assert!(unfinished.is_empty(), "{unfinished:?}");
    }
}

#[test]
#[ignore = "run by another test, which kills it"]
#[allow(clippy::disallowed_methods, reason = "what the other test hands over")]
fn undo_in_a_process_of_its_own() {
    let Some(top) = std::env::var_os("PACT_TEST_UNDO") else { return };
    let mut files = open(Path::new(&top), &[], &[]);
    let mut found = Vec::new();
    files.scan(&mut |one| found.push(one)).unwrap();
    apply_all(&mut files, &found, &NoContents);
}

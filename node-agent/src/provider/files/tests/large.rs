//! Files far larger than what is ever kept.

use super::*;

const SIZE: u64 = 100 * 1024 * 1024;

/// Far below the file, far above what reading it in pieces takes.
const MEMORY_KIB: u64 = 16 * 1024;

fn sparse(path: &Path, first: &[u8]) {
    std::fs::write(path, first).unwrap();
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(SIZE).unwrap();
    set_mode(path, 0o644);
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_hundred_megabytes_are_told_accepted_and_replaced_in_little_memory() {
    let mut bench = Bench::new();
    sparse(&bench.path("large"), b"one");
    bench.write("small", "was");
    let before = peak_kib();
    bench.scan();
    let one = bench.read("large");
    assert!(!one.as_file().unwrap().content_kept);
    sparse(&bench.path("large"), b"two");
    sparse(&bench.path("small"), b"three");
    assert_eq!(bench.found(), ["large", "small"]);
    let (key, two) = (bench.key("large"), bench.read("large"));
    // A commit names it and does not bring it.
    assert!(!bench.files.keep(&key, &two).unwrap());
    let sha256 = two.as_file().unwrap().sha256.unwrap();
    assert_eq!(bench.files.contents(&key, &sha256).unwrap(), None);
    bench.files.rebase(&key, &two).unwrap();
    // A rollback cannot bring the old one back, and leaves the new one.
    let refused = bench.apply("large", &one).unwrap_err();
    assert!(matches!(refused, ProviderError::NotRestorable { .. }));
    assert_eq!(bench.read("large"), two);
    // What is small again replaces it, and it is kept as long as it fits.
    let (was, _) = bench.scan()["small"].clone();
    bench.apply("small", &was).unwrap();
    assert_eq!(std::fs::read(bench.path("small")).unwrap(), b"was");
    let kept = std::fs::read_dir(bench.top.path().join("state/quarantine")).unwrap().flatten();
    let sizes: Vec<u64> = kept.map(|entry| entry.metadata().unwrap().len()).collect();
    assert!(sizes.contains(&SIZE), "{sizes:?}");
    let grown = peak_kib() - before;
    assert!(grown < MEMORY_KIB, "{grown} KiB");
}

#[test]
fn a_large_file_that_changes_all_the_time_is_not_told_all_the_time() {
    let mut bench = Bench::new();
    bench.scan();
    let (clock, hand) = Clock::manual(Clock::system().now());
    bench.files.changed = Changed::new(clock);
    sparse(&bench.path("large"), b"one");
    bench.told(&["large"]);
    took_long(&mut bench, "large");
    for round in 0..5 {
        std::fs::write(bench.path("beside"), round.to_string()).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(bench.path("large"))
            .unwrap()
            .set_len(SIZE + round)
            .unwrap();
        assert_eq!(bench.told(&["beside"]), BTreeSet::from([bench.key("beside")]));
    }
    let pause = bench.files.next_poll().unwrap();
    assert_eq!(pause, Duration::from_secs(10));
    hand.advance(pause);
    assert_eq!(bench.files.poll().unwrap(), Poll::Changed(vec![bench.key("large")]));
    assert_eq!(bench.files.poll().unwrap(), Poll::Changed(Vec::new()));
}

/// As if reading this file had taken half a second.
fn took_long(bench: &mut Bench, end: &str) {
    let (key, path) = (bench.key(end), bench.path(end));
    let path = path.as_os_str().as_bytes();
    let seen = bench.files.look(&key, path, false).unwrap().unwrap();
    bench.files.changed.took_for_tests(path, Duration::from_millis(500), &seen);
}

#[test]
fn of_a_file_that_takes_long_only_contents_wait() {
    let mut bench = Bench::new();
    sparse(&bench.path("large"), b"one");
    bench.scan();
    let (clock, hand) = Clock::manual(Clock::system().now());
    bench.files.changed = Changed::new(clock);
    let was = bench.read("large");
    took_long(&mut bench, "large");
    set_mode(&bench.path("large"), 0o755);
    bench.told(&["large"]);
    let now = bench.read("large");
    let (was, now) = (was.as_file().unwrap(), now.as_file().unwrap());
    assert_eq!((now.mode, now.sha256), (0o755, was.sha256));
    // Written to: that waits, and is told when the time has come, though it was read in between.
    let large = std::fs::OpenOptions::new().write(true).open(bench.path("large")).unwrap();
    std::os::unix::fs::FileExt::write_at(&large, b"two", 0).unwrap();
    std::fs::write(bench.path("beside"), "x").unwrap();
    assert_eq!(bench.told(&["beside"]), BTreeSet::from([bench.key("beside")]));
    hand.advance(Duration::from_secs(10));
    bench.told(&["large"]);
    let written = bench.read("large");
    assert_ne!(written.as_file().unwrap().sha256, was.sha256);
    // Something else, and gone.
    took_long(&mut bench, "large");
    std::fs::remove_file(bench.path("large")).unwrap();
    symlink("beside", bench.path("large")).unwrap();
    bench.told(&["large"]);
    assert_eq!(bench.read("large").as_file().unwrap().kind, FileKind::Symlink);
    std::fs::remove_file(bench.path("large")).unwrap();
    bench.told(&["large"]);
    assert_eq!(bench.read("large"), Value::Absent);
}

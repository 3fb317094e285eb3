//! What is promised to be restorable, and what is not.

use super::*;

fn shut(bench: &Bench, end: &str, contents: &[u8]) -> ResourceKey {
    bench.write(end, contents);
    set_mode(&bench.path(end), 0o600);
    bench.key(end)
}

fn noise(kibibytes: usize) -> Vec<u8> {
    let clock = Clock::system();
    (0..kibibytes).flat_map(|_| clock.random_bytes::<1024>()).collect()
}

#[test]
fn only_what_is_kept_is_said_to_be() {
    let mut bench = Bench::new();
    bench.scan();
    let small = shut(&bench, "small", &noise(4));
    let large = shut(&bench, "large", &noise(300));
    let (small_is, large_is) = (bench.read("small"), bench.read("large"));
    assert!(bench.files.keep(&small, &small_is).unwrap());
    assert!(!bench.files.keep(&large, &large_is).unwrap(), "larger than is ever kept");
    // Another value than the one that somebody saw.
    shut(&bench, "small", &noise(5));
    let changed = bench.read("small");
    let unknown = Value::Withheld([9; 32]);
    assert!(!bench.files.keep(&small, &unknown).unwrap());
    assert!(bench.files.keep(&small, &small_is).unwrap(), "kept before");
    bench.files.sync_kept().unwrap();
    bench.apply("small", &small_is).unwrap();
    assert_eq!(bench.read("small"), small_is);
    assert_ne!(changed, small_is);
    // Devices, pipes and sockets are never made.
    std::fs::create_dir(bench.path("dir")).unwrap();
    set_mode(&bench.path("dir"), 0o700);
    nix::unistd::mkfifo(&bench.path("dir/pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let pipe = bench.read("dir/pipe");
    assert!(matches!(pipe, Value::Withheld(_)));
    let key = bench.key("dir/pipe");
    assert!(!bench.files.keep(&key, &pipe).unwrap());
    assert!(bench.files.keep(&key, &Value::Absent).unwrap());
}

#[test]
fn a_full_store_keeps_nothing_more_and_says_so() {
    let mut bench = Bench::new();
    bench.scan();
    let folder = bench.top.path().join("state");
    bench.files.keep = Keep::with_limit(&folder, 8 * 1024).unwrap();
    let (one, two) = (shut(&bench, "one", &noise(5)), shut(&bench, "two", &noise(5)));
    let (one_is, two_is) = (bench.read("one"), bench.read("two"));
    assert!(bench.files.keep(&one, &one_is).unwrap());
    assert!(!bench.files.keep(&two, &two_is).unwrap());
    assert!(bench.files.keep(&one, &one_is).unwrap());
    // A disk that is full is a store that is full.
    let mounted = Tmpfs::mount("16k");
    bench.files.keep = Keep::with_limit(mounted.path(), 1 << 20).unwrap();
    let three = shut(&bench, "three", &noise(32));
    let three_is = bench.read("three");
    assert!(!bench.files.keep(&three, &three_is).unwrap());
    let refused = bench.apply("three", &Value::Withheld([1; 32])).unwrap_err();
    assert!(matches!(refused, ProviderError::NotRestorable { .. }));
}

#[test]
fn what_rotted_in_the_store_is_kept_anew() {
    let mut bench = Bench::new();
    bench.scan();
    let key = shut(&bench, "file", b"secret");
    let is = bench.read("file");
    assert!(bench.files.keep(&key, &is).unwrap());
    bench.files.sync_kept().unwrap();
    let store = bench.top.path().join("state/kept");
    let mut bytes = std::fs::read(&store).unwrap();
    let end = bytes.len() - 3;
    bytes[end] ^= 0xff;
    std::fs::write(&store, bytes).unwrap();
    bench.restart(&[]);
    assert!(bench.files.keep(&key, &is).unwrap());
    shut(&bench, "file", b"other");
    bench.apply("file", &is).unwrap();
    assert_eq!(std::fs::read(bench.path("file")).unwrap(), b"secret");
}

#[test]
fn room_is_made_only_of_what_nobody_needs() {
    let mut bench = Bench::new();
    bench.scan();
    let folder = bench.top.path().join("state");
    bench.files.keep = Keep::with_limit(&folder, 1 << 20).unwrap();
    let mut values = Vec::new();
    while !bench.files.keep.is_full() {
        let key = shut(&bench, "file", &noise(40));
        let is = bench.read("file");
        assert!(bench.files.keep(&key, &is).unwrap());
        values.push(is);
    }
    assert!(values.len() > 10);
    let digest = |value: &Value| match value {
        Value::Withheld(digest) => *digest,
        other => panic!("{other:?}"),
    };
    // The oldest is declared somewhere, or was before something was declared.
    bench.files.need(&BTreeSet::from([digest(&values[0])]));
    bench.scan();
    assert!(!bench.files.keep.is_full());
    assert!(bench.files.keep.has(&digest(&values[0])), "needed");
    assert!(!bench.files.keep.has(&digest(&values[1])), "needed by nobody");
    bench.apply("file", &values[0]).unwrap();
    assert_eq!(bench.read("file"), values[0]);
}

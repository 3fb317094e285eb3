use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use pact_runtime::{ManualClock, Timestamp};
use pact_schemas::resource::{ResourceKey, Value};
use tempfile::TempDir;

use super::*;
use crate::provider::table::{SLICE_KEYS, SWEEP_INTERVAL};
use crate::provider::{Found, NoContents, Poll, Provider as _};

/// A made-up `/proc` with its provider.
struct Bench {
    top: TempDir,
    hand: ManualClock,
    clock: Clock,
    kernel: Tables,
}

impl Bench {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(Timestamp::from_unix_nanos(1_700_000_000_000_000_000));
        for (path, value) in [
            ("sys/kernel/osrelease", "6.1.0\n"),
            ("sys/vm/swappiness", "60\n"),
            ("sys/vm/drop_caches", "0\n"),
            ("sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
            ("sys/net/ipv4/tcp_fastopen_key", "aaaa-bbbb\n"),
            ("sys/net/ipv4/conf/eth0.100/forwarding", "0\n"),
            ("modules", "loop 40960 1 - Live 0x0\nnfs 1 0 - Live 0x0\n"),
            ("builtin/modules.builtin", "kernel/fs/ext4/ext4.ko\n"),
        ] {
            put(top.path(), path, value);
        }
        set_mode(top.path(), "sys/kernel/osrelease", 0o444);
        set_mode(top.path(), "sys/net/ipv4/tcp_fastopen_key", 0o600);
        put(top.path(), "modprobe", MODPROBE.replace("LIST", &list(top.path())).as_str());
        set_mode(top.path(), "modprobe", 0o755);
        let kernel = open(top.path(), &clock);
        Self { top, hand, clock, kernel }
    }

    fn put(&self, path: &str, value: &str) {
        put(self.top.path(), path, value);
    }

    fn scan(&mut self) -> Vec<(String, Value, Value)> {
        let mut found = Vec::new();
        self.kernel
            .scan(&mut |Found { key, old, new }| found.push((key.to_string(), old, new)))
            .unwrap();
        found
    }

    fn poll(&mut self) -> Vec<String> {
        let Poll::Changed(keys) = self.kernel.poll().unwrap() else { panic!() };
        keys.iter().map(ToString::to_string).collect()
    }

    fn apply(&mut self, text: &str, want: &Value) -> Result<(), ProviderError> {
        let key = key(text);
        let observed = self.kernel.read(&key)?;
        self.kernel.apply(&key, &observed, want, &NoContents)
    }

    fn value(&self, path: &str) -> String {
        std::fs::read_to_string(self.top.path().join(path)).unwrap()
    }
}

/// Loads by appending to the list, unloads by removing from it, but not `loop`.
const MODPROBE: &str = r#"#!/bin/sh
if [ "$1" = -r ]; then
    [ "$3" = loop ] && { echo "modprobe: FATAL: Module loop is in use." >&2; exit 1; }
    grep -v "^$3 " LIST > LIST.new; mv LIST.new LIST
elif [ "$2" = silent ]; then
    exit 0
else
    echo "$2 1 0 - Live 0x0" >> LIST
fi
"#;

fn list(top: &Path) -> String {
    top.join("modules").display().to_string()
}

fn put(top: &Path, path: &str, value: &str) {
    let path = top.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value).unwrap();
}

fn set_mode(top: &Path, path: &str, mode: u32) {
    std::fs::set_permissions(top.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
}

fn open(top: &Path, clock: &Clock) -> Tables {
    super::open(Options {
        proc: top.to_owned(),
        modules: top.join("builtin"),
        modprobe: top.join("modprobe"),
        secret: KeyPatterns::default(),
        ignored: KeyPatterns::default(),
        folder: top.join("state"),
        clock: clock.clone(),
    })
    .unwrap()
}

fn key(text: &str) -> ResourceKey {
    text.parse().unwrap()
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

#[test]
fn changes_of_parameters_and_modules_are_found_also_after_a_restart() {
    let mut bench = Bench::new();
    assert_eq!(bench.kernel.baseline(&key("sysctl/vm.swappiness")).unwrap(), None);
    assert_eq!(bench.scan(), []);
    bench.put("sys/vm/swappiness", "10\n");
    bench.put("sys/vm/drop_caches", "3\n");
    bench.put("modules", "loop 40960 1 - Live 0x0\nxfs 1 0 - Live 0x0\n");
    bench.put("sys/net/ipv4/conf/eth9/forwarding", "1\n");
    std::fs::remove_file(bench.top.path().join("sys/net/ipv4/conf/eth0.100/forwarding")).unwrap();
    let expected = [
        ("sysctl/vm.swappiness".to_owned(), text("60"), text("10")),
        ("module/nfs".to_owned(), Value::Boolean(true), Value::Absent),
        ("module/xfs".to_owned(), Value::Absent, Value::Boolean(true)),
    ];
    assert_eq!(bench.scan(), expected);
    bench.kernel = open(bench.top.path(), &bench.clock);
    assert_eq!(bench.scan(), expected);
    assert_eq!(bench.kernel.baseline(&key("sysctl/vm.swappiness")).unwrap(), Some(text("60")));
    assert_eq!(bench.kernel.baseline(&key("sysctl/vm.drop_caches")).unwrap(), None);
    // What came with an interface is as it came.
    bench.put("sys/net/ipv4/conf/eth9/forwarding", "0\n");
    assert_eq!(bench.scan().len(), 4);
    // Another kernel, another baseline.
    set_mode(bench.top.path(), "sys/kernel/osrelease", 0o644);
    bench.put("sys/kernel/osrelease", "6.2.0\n");
    bench.kernel = open(bench.top.path(), &bench.clock);
    assert_eq!(bench.kernel.baseline(&key("sysctl/vm.swappiness")).unwrap(), None);
    bench.scan();
    assert_eq!(bench.kernel.baseline(&key("sysctl/vm.swappiness")).unwrap(), Some(text("10")));
}

#[test]
fn declared_keys_are_told_at_the_next_poll_and_others_by_the_sweep() {
    let mut bench = Bench::new();
    bench.scan();
    let declared = [key("sysctl/vm.swappiness"), key("module/zfs"), key("file//etc/motd")];
    bench.kernel.declare(&BTreeSet::from(declared)).unwrap();
    assert_eq!(bench.poll(), Vec::<String>::new());
    bench.put("sys/vm/swappiness", "1\n");
    bench.put("sys/net/ipv4/tcp_rmem", "1 2 3\n");
    bench.put("modules", "loop 1 0 - Live 0x0\nnfs 1 0 - Live 0x0\nzfs 1 0 - Live 0x0\n");
    assert!(bench.kernel.next_poll().unwrap() <= NEAR_INTERVAL);
    bench.hand.advance(NEAR_INTERVAL);
    assert_eq!(bench.poll(), ["module/zfs", "sysctl/vm.swappiness"]);
    bench.hand.advance(NEAR_INTERVAL);
    assert_eq!(bench.poll(), Vec::<String>::new(), "told once");
    bench.hand.advance(SWEEP_INTERVAL);
    assert!(bench.poll().contains(&"sysctl/net.ipv4.tcp_rmem".to_owned()));
    bench.hand.advance(SWEEP_INTERVAL);
    assert_eq!(bench.poll(), Vec::<String>::new(), "told once");
    bench.put("sys/net/ipv4/tcp_rmem", "4096 131072 6291456\n");
    bench.hand.advance(SWEEP_INTERVAL);
    assert_eq!(bench.poll(), ["sysctl/net.ipv4.tcp_rmem"], "back as it was");
    assert_eq!(bench.scan().len(), 2);
}

#[test]
fn a_sweep_of_many_parameters_comes_in_slices_and_sees_them_all() {
    let mut bench = Bench::new();
    for number in 0..500 {
        bench.put(&format!("sys/net/ipv4/conf/if{number}/forwarding"), "0\n");
    }
    bench.scan();
    for number in 0..500 {
        bench.put(&format!("sys/net/ipv4/conf/if{number}/forwarding"), "1\n");
    }
    bench.hand.advance(SWEEP_INTERVAL);
    let mut told = BTreeSet::new();
    let mut slices = 0;
    while told.len() < 500 {
        let slice = bench.poll();
        assert!(slice.len() <= SLICE_KEYS);
        told.extend(slice);
        slices += 1;
        assert!(slices < 50, "{}", told.len());
        let next = bench.kernel.next_poll().unwrap();
        bench.hand.advance(next);
    }
    assert!(slices >= 500 / SLICE_KEYS);
}

#[test]
fn parameters_are_written_folded_and_read_back() {
    let mut bench = Bench::new();
    bench.scan();
    bench.apply("sysctl/vm.swappiness", &text("10")).unwrap();
    assert_eq!(bench.value("sys/vm/swappiness"), "10\n");
    bench.apply("sysctl/vm.swappiness", &Value::Integer(20)).unwrap();
    assert_eq!(bench.value("sys/vm/swappiness"), "20\n");
    let tabbed = "4096\t131072\t6291456\n";
    bench.apply("sysctl/net.ipv4.tcp_rmem", &text("4096 131072  6291456")).unwrap();
    assert_eq!(bench.value("sys/net/ipv4/tcp_rmem"), tabbed, "the same is not written again");
    let dotted = "sysctl/net.ipv4.conf.eth0/100.forwarding";
    bench.apply(dotted, &text("1")).unwrap();
    assert_eq!(bench.value("sys/net/ipv4/conf/eth0.100/forwarding"), "1\n");

    let missing = bench.apply("sysctl/vm.none", &text("1")).unwrap_err();
    assert!(matches!(missing, ProviderError::NotRestorable { .. }), "{missing}");
    assert!(bench.apply("sysctl/vm.none", &Value::Absent).is_ok());
    let absent = bench.apply("sysctl/vm.swappiness", &Value::Absent).unwrap_err();
    assert!(matches!(absent, ProviderError::NotRestorable { .. }));
    let wrong = bench.apply("sysctl/vm.swappiness", &Value::Boolean(true)).unwrap_err();
    assert!(matches!(wrong, ProviderError::WrongValue { .. }));
    let swappiness = key("sysctl/vm.swappiness");
    let held = bench.kernel.holders(&BTreeSet::from([swappiness.clone()])).remove(&swappiness);
    assert_eq!(held.unwrap().unwrap(), []);
}

#[test]
fn what_changed_since_it_was_observed_is_not_written() {
    let mut bench = Bench::new();
    bench.scan();
    for (name, then, want) in [
        ("sysctl/vm.swappiness", text("59"), text("10")),
        ("module/xfs", Value::Boolean(true), Value::Boolean(true)),
    ] {
        // A wish for what is there already is not in doubt.
        let now = bench.kernel.read(&key(name)).unwrap();
        bench.kernel.apply(&key(name), &then, &now, &NoContents).unwrap();
        let refused = bench.kernel.apply(&key(name), &then, &want, &NoContents).unwrap_err();
        assert!(matches!(refused, ProviderError::Changed { .. }), "{refused}");
        assert!(refused.is_deferred());
        assert_eq!(bench.kernel.read(&key(name)).unwrap(), now);
    }
}

#[test]
fn a_read_only_tree_is_observed_and_says_so() {
    let mut bench = Bench::new();
    bench.scan();
    let tree = bench.top.path().join("sys");
    let run = |program: &str, arguments: &[&str]| {
        let status = std::process::Command::new(program).args(arguments).arg(&tree).status();
        assert!(status.unwrap().success(), "{program}: run these tests as root");
    };
    run("mount", &["--bind", tree.to_str().unwrap()]);
    run("mount", &["-o", "remount,bind,ro"]);
    let refused = bench.apply("sysctl/vm.swappiness", &text("1"));
    let read = bench.kernel.read(&key("sysctl/vm.swappiness"));
    run("umount", &["-l"]);
    let refused = refused.unwrap_err();
    assert!(matches!(refused, ProviderError::ReadOnly { .. }), "{refused:?}");
    assert!(refused.is_deferred());
    assert_eq!(read.unwrap(), text("60"));
}

#[test]
fn a_shut_parameter_is_withheld_compared_and_restored_all_the_same() {
    let mut bench = Bench::new();
    bench.scan();
    let shut = key("sysctl/net.ipv4.tcp_fastopen_key");
    let was = bench.kernel.read(&shut).unwrap();
    assert!(matches!(was, Value::Withheld(_)));
    assert!(bench.kernel.satisfies(&shut, &text("aaaa-bbbb"), &was));
    assert!(!bench.kernel.satisfies(&shut, &text("cccc"), &was));
    bench.put("sys/net/ipv4/tcp_fastopen_key", "cccc\n");
    let found = bench.scan();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, was);
    assert!(matches!(found[0].2, Value::Withheld(_)));
    bench.apply(shut.as_str(), &was).unwrap();
    assert_eq!(bench.value("sys/net/ipv4/tcp_fastopen_key"), "aaaa-bbbb\n");
    let unknown = bench.apply(shut.as_str(), &Value::Withheld([1; 32])).unwrap_err();
    assert!(matches!(unknown, ProviderError::NotRestorable { .. }));
}

#[test]
fn an_accepted_change_is_the_baseline() {
    let mut bench = Bench::new();
    bench.scan();
    bench.put("sys/vm/swappiness", "10\n");
    bench.put("modules", "loop 40960 1 - Live 0x0\nxfs 1 0 - Live 0x0\n");
    for (name, ..) in bench.scan() {
        let key = key(&name);
        let value = bench.kernel.read(&key).unwrap();
        bench.kernel.rebase(&key, &value).unwrap();
    }
    assert_eq!(bench.scan(), []);
    bench.kernel = open(bench.top.path(), &bench.clock);
    assert_eq!(bench.scan(), []);
}

#[test]
fn modules_are_loaded_and_unloaded_unless_held_or_built_in() {
    let mut bench = Bench::new();
    bench.scan();
    bench.apply("module/xfs", &Value::Boolean(true)).unwrap();
    bench.apply("module/xfs", &Value::Boolean(true)).unwrap();
    assert_eq!(bench.value("modules").matches("xfs").count(), 1);
    bench.apply("module/xfs", &Value::Absent).unwrap();
    assert_eq!(bench.kernel.read(&key("module/xfs")).unwrap(), Value::Absent);
    assert_eq!(bench.kernel.read(&key("module/ext4")).unwrap(), Value::Boolean(true));

    let asked = BTreeSet::from([key("module/loop"), key("module/ext4")]);
    let held = bench.kernel.holders(&asked);
    let count = |name| held[&key(name)].as_ref().unwrap().len();
    assert_eq!((count("module/loop"), count("module/ext4")), (1, 0));
    let refused = bench.apply("module/loop", &Value::Absent).unwrap_err();
    assert!(refused.to_string().contains("in use"), "{refused}");
    let refused = bench.apply("module/ext4", &Value::Absent).unwrap_err();
    assert!(matches!(refused, ProviderError::NotRestorable { .. }));
    let refused = bench.apply("module/silent", &Value::Boolean(true)).unwrap_err();
    assert!(matches!(refused, ProviderError::Refused { source: None, .. }));
    assert!(bench.kernel.satisfies(&key("module/zfs"), &Value::Boolean(false), &Value::Absent));
}

#[test]
fn what_is_ignored_is_not_found() {
    let mut bench = Bench::new();
    bench.scan();
    bench.put("sys/vm/swappiness", "10\n");
    bench.kernel.ignore(&KeyPatterns::parse(&["sysctl/vm.*"]).unwrap());
    assert_eq!(bench.scan(), []);
    assert_eq!(bench.kernel.baseline(&key("sysctl/vm.swappiness")).unwrap(), None);
    // What comes back is compared with what it was.
    bench.kernel.ignore(&KeyPatterns::default());
    assert_eq!(bench.scan().len(), 1);
}

#[test]
fn the_real_kernel_stands_still() {
    let top = tempfile::tempdir().unwrap();
    let mut kernel = super::open(Options {
        proc: "/proc".into(),
        modules: "/lib/modules/none".into(),
        modprobe: "/sbin/modprobe".into(),
        secret: KeyPatterns::default(),
        ignored: KeyPatterns::default(),
        folder: top.path().to_owned(),
        clock: Clock::system(),
    })
    .unwrap();
    kernel.scan(&mut |found| panic!("{found:?}")).unwrap();
    assert!(kernel.baseline(&key("sysctl/vm.swappiness")).unwrap().is_some());
    let file = std::fs::read(top.path().join("baseline.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    assert!(file["sysctl"].as_object().unwrap().len() > 100);
    // Other tests mount and unmount; no parameter of that is writable and volatile.
    let mut found = Vec::new();
    kernel.scan(&mut |one| found.push(one)).unwrap();
    assert_eq!(found, []);
}

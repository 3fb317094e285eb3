//! A whole dimension on the base alone: a folder of one-line files, each a service and its state. It says what a small
//! provider costs, and shows what it gets.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pact_runtime::{Clock, ManualClock, Timestamp};
use pact_schemas::resource::{KeyPatterns, Kind, ResourceKey, Value};
use tempfile::TempDir;

use super::super::{Listing, Options, Row, Section, Table, Tables};
use crate::provider::abilities::{Abilities, Notice, Stage};
use crate::provider::{Found, NoContents, Poll, Provider as _, ProviderError};

/// What lines can.
static LINE: Abilities = Abilities {
    kind: Kind::Service,
    stage: Stage::Files,
    notice: Notice::ByLooking,
    tree: None,
    needs: &[],
    refusal: |want| {
        let is_text = |text: &Value| matches!(text, Value::Text(text) if text.contains('\n'));
        is_text(want).then_some("a line is one line")
    },
};

/// The folder.
struct Lines {
    folder: PathBuf,
}

impl Lines {
    fn path(&self, key: &ResourceKey) -> PathBuf {
        self.folder.join(key.name())
    }
}

impl Table for Lines {
    fn abilities(&self) -> &'static Abilities {
        &LINE
    }

    fn section(&self) -> Section {
        Section::Texts("lines")
    }

    fn list(&self) -> Result<Listing, ProviderError> {
        let failed = |error| ProviderError::io("list", &self.folder, error);
        let entries = std::fs::read_dir(&self.folder).map_err(failed)?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let keys = names.filter_map(|name| ResourceKey::new(Kind::Service, &name).ok());
        let row = |key: ResourceKey| Some((self.read(&key).ok()??, key));
        Ok(Listing::Rows(keys.filter_map(row).map(|(row, key)| (key, row)).collect()))
    }

    fn read(&self, key: &ResourceKey) -> Result<Option<Row>, ProviderError> {
        let path = self.path(key);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Row { text: text.trim_end().to_owned(), is_shut: false })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ProviderError::io("read", path, error)),
        }
    }

    fn write(&self, key: &ResourceKey, wanted: Option<&str>) -> Result<(), ProviderError> {
        let path = self.path(key);
        let written = match wanted {
            Some(text) => std::fs::write(&path, format!("{text}\n")),
            None => std::fs::remove_file(&path),
        };
        written.map_err(|error| ProviderError::io("write", path, error))
    }

    fn veil(&self) -> Option<&'static [u8]> {
        Some(b"test.withheld.line\0")
    }
}

/// The folder with its provider.
struct Bench {
    top: TempDir,
    hand: ManualClock,
    clock: Clock,
    lines: Tables,
}

impl Bench {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("lines")).unwrap();
        for (name, line) in [("chronyd", "running"), ("sshd", "running"), ("token", "1234")] {
            std::fs::write(top.path().join("lines").join(name), format!("{line}\n")).unwrap();
        }
        let (clock, hand) = Clock::manual(Timestamp::from_unix_nanos(1_700_000_000_000_000_000));
        Self { lines: open(top.path(), &clock, "1"), top, hand, clock }
    }

    fn put(&self, name: &str, line: &str) {
        std::fs::write(self.top.path().join("lines").join(name), format!("{line}\n")).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.top.path().join("lines").join(name)).unwrap();
    }

    fn scan(&mut self) -> Vec<(String, Value, Value)> {
        let mut found = Vec::new();
        let tell = &mut |Found { key, old, new }| found.push((key.name().to_owned(), old, new));
        self.lines.scan(tell).unwrap();
        found
    }

    fn poll(&mut self) -> Vec<String> {
        self.hand.advance(Duration::from_secs(10));
        let Poll::Changed(keys) = self.lines.poll().unwrap() else { panic!() };
        keys.iter().map(|key| key.name().to_owned()).collect()
    }

    fn apply(&mut self, name: &str, want: &Value) -> Result<(), ProviderError> {
        let observed = self.lines.read(&key(name))?;
        self.lines.apply(&key(name), &observed, want, &NoContents)
    }
}

fn open(top: &Path, clock: &Clock, release: &str) -> Tables {
    Tables::open(Options {
        kinds: &[Kind::Service],
        tables: vec![Box::new(Lines { folder: top.join("lines") })],
        release: release.to_owned(),
        secret: KeyPatterns::parse(&["service/token"]).unwrap(),
        ignored: KeyPatterns::parse(&["service/debug-*"]).unwrap(),
        folder: top.join("state"),
        interval: Duration::from_secs(10),
        clock: clock.clone(),
    })
    .unwrap()
}

fn key(name: &str) -> ResourceKey {
    ResourceKey::new(Kind::Service, name).unwrap()
}

fn text(line: &str) -> Value {
    Value::Text(line.to_owned())
}

#[test]
fn what_differs_is_found_told_once_and_undone() {
    let mut bench = Bench::new();
    assert_eq!(bench.scan(), []);
    bench.put("chronyd", "stopped");
    bench.put("xinetd", "running");
    bench.put("debug-shell", "running");
    bench.remove("sshd");
    let expected = [
        ("chronyd".to_owned(), text("running"), text("stopped")),
        ("sshd".to_owned(), text("running"), Value::Absent),
        ("xinetd".to_owned(), Value::Absent, text("running")),
    ];
    let all = ["chronyd", "sshd", "xinetd"];
    assert_eq!(bench.poll(), all);
    assert_eq!(bench.poll(), Vec::<String>::new(), "told once");
    assert_eq!(bench.scan(), expected);
    bench.lines = open(bench.top.path(), &bench.clock, "1");
    assert_eq!(bench.scan(), expected, "also after a restart");
    for (name, old, _) in expected {
        assert_eq!(bench.lines.baseline(&key(&name)).unwrap(), Some(old.clone()));
        bench.apply(&name, &old).unwrap();
    }
    assert_eq!(bench.poll(), all, "back as they were");
    assert_eq!(bench.scan(), []);
}

#[test]
fn what_is_not_as_observed_or_never_made_is_left() {
    let mut bench = Bench::new();
    bench.scan();
    let observed = text("stopped");
    let refused = bench.lines.apply(&key("sshd"), &observed, &text("off"), &NoContents);
    assert!(matches!(refused, Err(ProviderError::Changed { .. })));
    let refused = bench.apply("sshd", &text("two\nlines")).unwrap_err();
    assert_eq!(refused.to_string(), "service/sshd cannot be restored: a line is one line");
    let refused = bench.apply("sshd", &Value::Integer(1)).unwrap_err();
    assert!(matches!(refused, ProviderError::WrongValue { .. }));
    let foreign = ResourceKey::new(Kind::Package, "sshd").unwrap();
    assert!(matches!(bench.lines.read(&foreign), Err(ProviderError::WrongKey { .. })));
    assert_eq!(bench.lines.read(&key("sshd")).unwrap(), text("running"));
    let held = bench.lines.holders(&BTreeSet::from([key("sshd")]));
    assert_eq!(held[&key("sshd")].as_ref().unwrap(), &[]);
}

#[test]
fn a_secret_is_told_by_a_digest_and_comes_back_from_the_baseline() {
    let mut bench = Bench::new();
    bench.scan();
    bench.put("token", "5678");
    let found = bench.scan();
    let (old, new) = (found[0].1.clone(), found[0].2.clone());
    assert!(matches!((&old, &new), (Value::Withheld(old), Value::Withheld(new)) if old != new));
    assert!(bench.lines.satisfies(&key("token"), &text("5678"), &new));
    assert!(bench.lines.keep(&key("token"), &old).unwrap());
    assert!(!bench.lines.keep(&key("token"), &new).unwrap(), "nowhere on this node");
    bench.apply("token", &old).unwrap();
    assert_eq!(bench.scan(), []);
}

#[test]
fn declared_keys_and_accepted_changes_are_what_should_be() {
    let mut bench = Bench::new();
    bench.scan();
    bench.lines.declare(&BTreeSet::from([key("absent"), key("debug-shell")])).unwrap();
    bench.put("debug-shell", "running");
    assert_eq!(bench.poll(), ["debug-shell"], "declared, though nobody watches it else");
    bench.put("sshd", "masked");
    bench.lines.rebase(&key("sshd"), &text("masked")).unwrap();
    bench.lines.rebase(&key("chronyd"), &Value::Absent).unwrap();
    bench.remove("chronyd");
    assert_eq!(bench.scan(), []);
    bench.lines = open(bench.top.path(), &bench.clock, "1");
    assert_eq!(bench.scan(), []);
    // What it is a table of has become another one.
    bench.put("sshd", "running");
    bench.lines = open(bench.top.path(), &bench.clock, "2");
    assert_eq!(bench.scan(), []);
    assert_eq!(bench.lines.baseline(&key("sshd")).unwrap(), Some(text("running")));
}

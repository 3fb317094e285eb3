//! What the base itself promises: its file, and that nothing is told to be gone that could not be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pact_runtime::{Clock, ManualClock, Timestamp};
use pact_schemas::resource::{KeyPatterns, Kind, ResourceKey, Value};

use super::super::baseline::{Baseline, Rows};
use super::super::{Listing, Options, Row, SWEEP_INTERVAL, Section, Table, Tables};
use crate::provider::abilities::{Abilities, Notice, Stage};
use crate::provider::{Found, Poll, Provider as _, ProviderError};

const TEXTS: Section = Section::Texts("sysctl");
const NAMES: Section = Section::Names("modules");

fn rows(pairs: &[(&str, &str)]) -> Rows {
    pairs.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect()
}

fn opened(folder: &Path, release: &str) -> Result<Baseline, ProviderError> {
    Baseline::open(folder, release.to_owned(), &[TEXTS, NAMES])
}

#[test]
fn the_file_is_the_one_that_formats_describe() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("baseline.json");
    let written = br#"{"format":1,"release":"6.1","sysctl":{"vm.x":"1"},"modules":["loop"]}"#;
    std::fs::write(&file, written).unwrap();
    let mut baseline = opened(folder.path(), "6.1").unwrap();
    assert_eq!(baseline.rows(TEXTS), Some(&rows(&[("vm.x", "1")])));
    assert_eq!(baseline.rows(NAMES), Some(&rows(&[("loop", "")])));
    baseline.set(vec![(TEXTS, Rows::new()), (NAMES, rows(&[("nfs", "")]))]).unwrap();
    let read: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let expected = r#"{"format":1,"release":"6.1","sysctl":{},"modules":["nfs"]}"#;
    assert_eq!(read, serde_json::from_str::<serde_json::Value>(expected).unwrap());
    let baseline = opened(folder.path(), "6.2").unwrap();
    assert_eq!((baseline.rows(TEXTS), baseline.rows(NAMES)), (None, None), "of another release");
}

#[test]
fn a_file_that_says_something_else_is_damaged_and_a_new_table_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("baseline.json");
    for damaged in [
        "",
        r#"{"format":2,"release":"1","sysctl":{},"modules":[]}"#,
        r#"{"format":1,"sysctl":{},"modules":[]}"#,
        r#"{"format":1,"release":"1","sysctl":["x"],"modules":[]}"#,
        r#"{"format":1,"release":"1","sysctl":{"x":1},"modules":[]}"#,
    ] {
        std::fs::write(&file, damaged).unwrap();
        let refused = opened(folder.path(), "1");
        assert!(matches!(refused, Err(ProviderError::Damaged { .. })), "{damaged}");
    }
    std::fs::write(&file, r#"{"format":1,"release":"1","modules":[]}"#).unwrap();
    let baseline = opened(folder.path(), "1").unwrap();
    assert_eq!((baseline.rows(TEXTS), baseline.rows(NAMES)), (None, Some(&Rows::new())));
}

static NET: Abilities = Abilities {
    kind: Kind::Net,
    stage: Stage::Files,
    notice: Notice::ByLooking,
    tree: None,
    needs: &[],
    refusal: |_| None,
};

/// Rows by name; `None`: it cannot be read.
type Shared = Arc<Mutex<BTreeMap<String, Option<String>>>>;

/// A table in memory whose rows are read one by one.
struct Slow {
    rows: Shared,
    comes_and_goes: bool,
}

impl Table for Slow {
    fn abilities(&self) -> &'static Abilities {
        &NET
    }

    fn section(&self) -> Section {
        Section::Texts("slow")
    }

    fn list(&self) -> Result<Listing, ProviderError> {
        let names: Vec<String> = self.rows.lock().unwrap().keys().cloned().collect();
        Ok(Listing::Keys(Box::new(names.into_iter().map(|name| key(&name)))))
    }

    fn read(&self, key: &ResourceKey) -> Result<Option<Row>, ProviderError> {
        match self.rows.lock().unwrap().get(key.name()) {
            Some(Some(text)) => Ok(Some(Row { text: text.clone(), is_shut: false })),
            Some(None) => Err(ProviderError::InUse { key: key.clone() }),
            None => Ok(None),
        }
    }

    fn comes_and_goes(&self) -> bool {
        self.comes_and_goes
    }

    fn write(&self, key: &ResourceKey, _wanted: Option<&str>) -> Result<(), ProviderError> {
        Err(ProviderError::InUse { key: key.clone() })
    }
}

fn key(name: &str) -> ResourceKey {
    ResourceKey::new(Kind::Net, name).unwrap()
}

fn slow(comes_and_goes: bool) -> (tempfile::TempDir, Shared, Tables, ManualClock) {
    let folder = tempfile::tempdir().unwrap();
    let names = ["eth0", "eth1", "eth2"];
    let shared = names.map(|name| (name.to_owned(), Some("1500".to_owned())));
    let shared: Shared = Arc::new(Mutex::new(BTreeMap::from(shared)));
    let (clock, hand) = Clock::manual(Timestamp::from_unix_nanos(1_700_000_000_000_000_000));
    let mut tables = Tables::open(Options {
        kinds: &[Kind::Net],
        tables: vec![Box::new(Slow { rows: Arc::clone(&shared), comes_and_goes })],
        release: String::new(),
        secret: KeyPatterns::default(),
        ignored: KeyPatterns::default(),
        folder: folder.path().join("slow"),
        interval: Duration::from_secs(10),
        clock,
    })
    .unwrap();
    assert_eq!(found(&mut tables), Vec::<String>::new());
    (folder, shared, tables, hand)
}

fn found(tables: &mut Tables) -> Vec<String> {
    let mut all = Vec::new();
    tables.scan(&mut |Found { key, .. }| all.push(key.name().to_owned())).unwrap();
    all
}

fn swept(tables: &mut Tables, hand: &ManualClock) -> BTreeSet<String> {
    hand.advance(SWEEP_INTERVAL);
    let Poll::Changed(keys) = tables.poll().unwrap() else { panic!() };
    keys.iter().map(|key| key.name().to_owned()).collect()
}

#[test]
fn a_row_that_cannot_be_read_is_not_told_to_be_gone() {
    let (_folder, shared, mut tables, hand) = slow(false);
    shared.lock().unwrap().insert("eth0".to_owned(), None);
    shared.lock().unwrap().remove("eth1");
    shared.lock().unwrap().insert("eth2".to_owned(), Some("9000".to_owned()));
    assert_eq!(found(&mut tables), ["eth1", "eth2"]);
    shared.lock().unwrap().insert("eth0".to_owned(), Some("9000".to_owned()));
    assert_eq!(swept(&mut tables, &hand), BTreeSet::from(["eth0".to_owned()]));
    assert_eq!(swept(&mut tables, &hand), BTreeSet::new(), "told once");
}

#[test]
fn rows_that_come_and_go_are_no_drift_and_what_came_is_watched() {
    let (_folder, shared, mut tables, hand) = slow(true);
    shared.lock().unwrap().remove("eth1");
    shared.lock().unwrap().insert("veth7".to_owned(), Some("1400".to_owned()));
    assert_eq!(swept(&mut tables, &hand), BTreeSet::new());
    assert_eq!(found(&mut tables), Vec::<String>::new());
    shared.lock().unwrap().insert("veth7".to_owned(), Some("1500".to_owned()));
    assert_eq!(swept(&mut tables, &hand), BTreeSet::from(["veth7".to_owned()]));
    // It left the baseline with the scan: it comes back as something new.
    shared.lock().unwrap().insert("eth1".to_owned(), Some("9000".to_owned()));
    assert_eq!(found(&mut tables), ["veth7"]);
    assert_eq!(tables.baseline(&key("eth0")).unwrap(), Some(Value::Text("1500".to_owned())));
}

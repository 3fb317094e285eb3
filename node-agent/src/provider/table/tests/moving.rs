//! Two rows of which one counts, as the kernel keeps `vm.dirty_bytes` and `vm.dirty_ratio`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::resource::{KeyPatterns, Kind, ResourceKey, Value};

use super::super::{Effect, Listing, Mover, Options, Row, Section, Table, Tables};
use crate::provider::abilities::{Abilities, Notice, Stage};
use crate::provider::{Found, NoContents, Provider as _, ProviderError, Wish};

static ALTERNATIVES: Abilities = Abilities {
    kind: Kind::Sysctl,
    stage: Stage::Parameters,
    notice: Notice::ByLooking,
    tree: None,
    needs: &[],
    refusal: |_| None,
};

type Shared = Arc<Mutex<BTreeMap<String, String>>>;

/// What is written to one makes the other zero; `bytes` cannot be made zero.
struct Alternatives(Shared);

impl Table for Alternatives {
    fn abilities(&self) -> &'static Abilities {
        &ALTERNATIVES
    }

    fn section(&self) -> Section {
        Section::Texts("sysctl")
    }

    fn list(&self) -> Result<Listing, ProviderError> {
        let keys = ["bytes", "ratio"].map(key);
        Ok(Listing::Keys(Box::new(keys.into_iter())))
    }

    fn read(&self, key: &ResourceKey) -> Result<Option<Row>, ProviderError> {
        let rows = self.0.lock().unwrap();
        Ok(rows.get(key.name()).map(|text| Row { text: text.clone(), is_shut: false }))
    }

    fn comes_and_goes(&self) -> bool {
        true
    }

    fn write(&self, key: &ResourceKey, wanted: Option<&str>) -> Result<(), ProviderError> {
        let wanted = wanted.unwrap_or_default();
        if key.name() == "bytes" && wanted == "0" {
            return Err(ProviderError::Refused { key: key.clone(), source: None });
        }
        set(&self.0, key.name(), wanted);
        Ok(())
    }

    fn movers(&self, of: &ResourceKey) -> Vec<Mover> {
        let other = if of.name() == "bytes" { "ratio" } else { "bytes" };
        vec![Mover { key: key(other), effect: Effect::Zero, only_declared: false }]
    }
}

fn set(rows: &Shared, name: &str, text: &str) {
    let mut rows = rows.lock().unwrap();
    rows.values_mut().for_each(|text| "0".clone_into(text));
    rows.insert(name.to_owned(), text.to_owned());
}

fn key(name: &str) -> ResourceKey {
    ResourceKey::new(Kind::Sysctl, name).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// With a baseline in which the ratio counts.
fn opened() -> (tempfile::TempDir, Shared, Tables) {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::default();
    set(&shared, "bytes", "0");
    set(&shared, "ratio", "20");
    let mut tables = Tables::open(Options {
        kinds: &[Kind::Sysctl],
        tables: vec![Box::new(Alternatives(Arc::clone(&shared)))],
        release: String::new(),
        secret: KeyPatterns::default(),
        ignored: KeyPatterns::default(),
        folder: folder.path().join("state"),
        interval: Duration::from_secs(10),
        clock: Clock::system(),
    })
    .unwrap();
    assert_eq!(found(&mut tables), Vec::<String>::new());
    (folder, shared, tables)
}

fn found(tables: &mut Tables) -> Vec<String> {
    let mut all = Vec::new();
    tables.scan(&mut |Found { key, .. }| all.push(key.name().to_owned())).unwrap();
    all
}

fn rows(shared: &Shared) -> (String, String) {
    let rows = shared.lock().unwrap();
    (rows["bytes"].clone(), rows["ratio"].clone())
}

fn both(bytes: &str, ratio: &str) -> (String, String) {
    (bytes.to_owned(), ratio.to_owned())
}

#[test]
fn what_was_made_zero_by_the_other_is_no_drift_and_the_undo_sets_what_was_set() {
    let (_folder, shared, mut tables) = opened();
    set(&shared, "bytes", "4096");
    assert_eq!(found(&mut tables), ["bytes"]);
    assert!(tables.satisfies(&key("ratio"), &text("20"), &text("0")));
    assert!(!tables.satisfies(&key("bytes"), &text("0"), &text("4096")));
    tables.apply(&key("bytes"), &text("4096"), &text("0"), &NoContents).unwrap();
    assert_eq!(rows(&shared), both("0", "20"));
    assert_eq!(found(&mut tables), Vec::<String>::new());
    // Zero without the other is somebody's decision.
    set(&shared, "ratio", "0");
    assert_eq!(found(&mut tables), ["ratio"]);
}

#[test]
fn what_follows_a_declared_one_is_no_drift_and_what_is_declared_itself_is() {
    let (_folder, shared, mut tables) = opened();
    tables.declare(&BTreeSet::from([key("bytes")])).unwrap();
    tables.apply(&key("bytes"), &text("0"), &text("4096"), &NoContents).unwrap();
    assert_eq!(rows(&shared), both("4096", "0"));
    assert!(tables.satisfies(&key("ratio"), &text("20"), &text("0")));
    tables.declare(&BTreeSet::from([key("bytes"), key("ratio")])).unwrap();
    assert!(!tables.satisfies(&key("ratio"), &text("20"), &text("0")));
    assert!(tables.satisfies(&key("ratio"), &text("0"), &text("0")));
}

#[test]
fn of_two_wishes_the_one_that_counts_is_made_first() {
    let (_folder, shared, mut tables) = opened();
    tables.declare(&BTreeSet::from([key("ratio")])).unwrap();
    set(&shared, "bytes", "4096");
    let (zero, bytes, ratio) = (text("0"), text("4096"), text("30"));
    let wishes = [
        Wish { key: &key("bytes"), observed: &bytes, want: &zero },
        Wish { key: &key("ratio"), observed: &zero, want: &ratio },
    ];
    for from in [0, 1] {
        let done = tables.apply_first(&wishes[from..], &NoContents);
        assert!(matches!(done.as_slice(), [Ok(())]), "{done:?}");
        assert_eq!(rows(&shared), both("0", "30"));
    }
}

#[test]
fn a_value_that_is_not_taken_leaves_both_as_they_were() {
    let (_folder, shared, mut tables) = opened();
    tables.declare(&BTreeSet::from([key("ratio")])).unwrap();
    set(&shared, "bytes", "4096");
    let refused = tables.apply(&key("bytes"), &text("4096"), &text("0"), &NoContents).unwrap_err();
    assert!(matches!(refused, ProviderError::Refused { source: None, .. }), "{refused}");
    assert_eq!(rows(&shared), both("4096", "0"));
}

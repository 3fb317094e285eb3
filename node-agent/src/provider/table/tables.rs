//! Tables as a provider.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::resource::{KeyPatterns, Kind, ResourceKey, Value};

use super::baseline::Baseline;
use super::sweep::{self, Sweep};
use super::veil::Veil;
use super::watch::Watch;
use super::{Effect, Keys, Listing, Table};
use crate::durable;
use crate::provider::secret::NodeKey;
use crate::provider::{Contents, Found, Holders, Poll, Provider, ProviderError, Wish};

/// Declared keys, and tables that are read as a whole, are looked at no more often than this, whoever asks.
const NEAR_PAUSE: Duration = Duration::from_secs(1);

/// What tables need to know.
pub(crate) struct Options {
    /// Of their keys.
    pub(crate) kinds: &'static [Kind],
    /// One for each kind.
    pub(crate) tables: Vec<Box<dyn Table>>,
    /// Of what the rows are of: with another one comes another baseline.
    pub(crate) release: String,
    /// Whose values never leave the node, whoever can read them.
    pub(crate) secret: KeyPatterns,
    /// What is not under watch.
    pub(crate) ignored: KeyPatterns,
    /// The provider's own folder (made 0700): the baseline and the key.
    pub(crate) folder: PathBuf,
    /// How often declared keys, and tables that are read as a whole, are looked at when nobody asks more often.
    pub(crate) interval: Duration,
    /// Time.
    pub(crate) clock: Clock,
}

/// The provider of some tables.
pub(crate) struct Tables {
    tables: Vec<Box<dyn Table>>,
    kinds: &'static [Kind],
    watch: Watch,
    /// Last told values of what is declared.
    declared: BTreeMap<ResourceKey, Option<Value>>,
    interval: Duration,
    near_at: Duration,
    sweep: Sweep,
    clock: Clock,
}

impl Tables {
    /// Opens what is in the folder. Nothing is watched before the first scan.
    pub(crate) fn open(options: Options) -> Result<Self, ProviderError> {
        let Options { kinds, tables, release, secret, ignored, folder, interval, clock } = options;
        durable::private_folder(&folder)
            .map_err(|error| ProviderError::io("make", &folder, error))?;
        let sections: Vec<_> = tables.iter().map(|table| table.section()).collect();
        let baseline = Baseline::open(&folder, release, &sections)?;
        let veil = Veil::new(NodeKey::open(&folder.join("key"), &clock)?, secret);
        Ok(Self {
            kinds,
            tables,
            watch: Watch::new(baseline, veil, ignored),
            declared: BTreeMap::new(),
            interval,
            near_at: Duration::ZERO,
            sweep: Sweep::idle(clock.monotonic()),
            clock,
        })
    }

    /// Of two alternatives, the one that is to count where this one is to be zero.
    fn counts_instead<'w>(&self, of: &Wish<'_>, wishes: &'w [Wish<'w>]) -> Option<&'w Wish<'w>> {
        let table = own(&self.tables, of.key).ok()?;
        let wanted = table.text(of.key, of.want).ok()??;
        let mut movers =
            table.movers(of.key).into_iter().filter(|mover| mover.effect == Effect::Zero);
        movers.find_map(|mover| {
            let wish = wishes.iter().find(|wish| *wish.key == mover.key)?;
            let text = table.text(wish.key, wish.want).ok()??;
            (mover.effect.of(&text) == Some(&wanted)).then_some(wish)
        })
    }

    /// Looks at tables that are read as a whole, and at what is declared.
    fn near(&mut self, changed: &mut BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        for table in self.tables.iter().map(AsRef::as_ref) {
            let Listing::Rows(now) = table.list()? else { continue };
            let missing = self.watch.missing(table, |key| now.contains_key(key));
            let there = now.into_iter().map(|(key, row)| (key, Some(row)));
            let all = there.chain(missing.into_iter().map(|key| (key, None)));
            let news = all.filter(|(key, row)| self.watch.compare(table, key, row.as_ref()));
            changed.extend(news.map(|(key, _)| key));
        }
        let mut declared = std::mem::take(&mut self.declared);
        for (key, told) in &mut declared {
            // A row that cannot be read now is told when it can be.
            let Ok(value) = self.read(key) else { continue };
            if told.as_ref() != Some(&value) {
                *told = Some(value);
                changed.insert(key.clone());
            }
        }
        self.declared = declared;
        Ok(())
    }

    /// Looks at some more of the tables that are read row by row.
    fn slice(&mut self, changed: &mut BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        let started = self.clock.monotonic();
        if !self.sweep.is_begun() {
            self.sweep.begin(all_keys(&self.tables)?);
        }
        for _ in 0..sweep::SLICE_KEYS {
            let Some(key) = self.sweep.next() else {
                self.sweep = Sweep::idle(self.clock.monotonic());
                return Ok(());
            };
            let Some(table) = table_of(&self.tables, &key) else { continue };
            let row = table.read(&key);
            if row.is_ok_and(|row| self.watch.compare(table, &key, row.as_ref())) {
                changed.insert(key);
            }
            if self.clock.monotonic().saturating_sub(started) >= sweep::SLICE_TIME {
                break;
            }
        }
        self.sweep.pause(started);
        Ok(())
    }
}

fn table_of<'a>(tables: &'a [Box<dyn Table>], key: &ResourceKey) -> Option<&'a dyn Table> {
    tables.iter().map(AsRef::as_ref).find(|table| table.abilities().kind == key.kind())
}

/// The table of a key of this provider.
fn own<'a>(
    tables: &'a [Box<dyn Table>],
    key: &ResourceKey,
) -> Result<&'a dyn Table, ProviderError> {
    table_of(tables, key).ok_or_else(|| ProviderError::WrongKey { key: key.clone() })
}

/// All keys of tables that are read row by row.
fn all_keys(tables: &[Box<dyn Table>]) -> Result<Keys, ProviderError> {
    let mut all: Keys = Box::new(std::iter::empty());
    for table in tables {
        if let Listing::Keys(keys) = table.list()? {
            all = Box::new(all.chain(keys));
        }
    }
    Ok(all)
}

impl Provider for Tables {
    fn kinds(&self) -> &'static [Kind] {
        self.kinds
    }

    fn scan(&mut self, found: &mut dyn FnMut(Found)) -> Result<(), ProviderError> {
        let (mut taken, mut all) = (Vec::new(), Vec::new());
        for table in self.tables.iter().map(AsRef::as_ref) {
            taken.push((table.section(), self.watch.take(table, &mut all)?));
        }
        self.watch.took(taken, &all)?;
        self.sweep = Sweep::idle(self.clock.monotonic());
        all.into_iter().for_each(found);
        Ok(())
    }

    fn read(&mut self, key: &ResourceKey) -> Result<Value, ProviderError> {
        let table = own(&self.tables, key)?;
        let row = table.read(key)?;
        Ok(self.watch.veil.value(table, key, row.as_ref()))
    }

    fn satisfies(&mut self, key: &ResourceKey, want: &Value, actual: &Value) -> bool {
        if want == actual {
            return true;
        }
        let Ok(table) = own(&self.tables, key) else { return false };
        let text = || table.text(key, want).ok().flatten();
        match (want, actual) {
            (Value::Boolean(false), Value::Absent) => true,
            (Value::Withheld(_), _) | (_, Value::Absent) => false,
            (_, Value::Withheld(digest)) => text()
                .is_some_and(|text| self.watch.veil.digest(table, key, &text) == Some(*digest)),
            (_, Value::Text(now)) if self.watch.is_moved(table, key, now) => true,
            _ => text().is_some_and(|text| table.value(&text) == *actual),
        }
    }

    fn baseline(&mut self, key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        self.watch.before(own(&self.tables, key)?, key)
    }

    fn rebase(&mut self, key: &ResourceKey, value: &Value) -> Result<(), ProviderError> {
        self.watch.rebase(own(&self.tables, key)?, key, value)
    }

    fn apply(
        &mut self,
        key: &ResourceKey,
        observed: &Value,
        want: &Value,
        _contents: &dyn Contents,
    ) -> Result<(), ProviderError> {
        let table = own(&self.tables, key)?;
        let now = table.read(key)?;
        let wanted = self.watch.wanted(table, key, want)?;
        if now.as_ref().map(|now| &now.text) == wanted.as_ref() {
            return Ok(());
        }
        if let Some(why) = (table.abilities().refusal)(want) {
            return Err(ProviderError::NotRestorable { key: key.clone(), why });
        }
        if self.watch.veil.value(table, key, now.as_ref()) != *observed {
            return Err(ProviderError::Changed { key: key.clone() });
        }
        self.watch.set(table, key, now.as_ref(), wanted.as_deref())
    }

    fn apply_first(
        &mut self,
        wishes: &[Wish<'_>],
        contents: &dyn Contents,
    ) -> Vec<Result<(), ProviderError>> {
        let Some(first) = wishes.first() else { return Vec::new() };
        if let Some(Wish { key, observed, want }) = self.counts_instead(first, wishes) {
            // How that went is told when its turn comes.
            let _later = self.apply(key, observed, want, contents);
        }
        vec![self.apply(first.key, first.observed, first.want, contents)]
    }

    fn holders(&mut self, keys: &BTreeSet<ResourceKey>) -> Holders {
        let mut all = Holders::new();
        for table in &self.tables {
            let kind = table.abilities().kind;
            let of = keys.iter().filter(|key| key.kind() == kind).cloned().collect();
            all.extend(table.holders(&of));
        }
        all
    }

    fn contents(
        &mut self,
        _key: &ResourceKey,
        _sha256: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, ProviderError> {
        Ok(None)
    }

    /// Nothing is kept but the baseline: what users cannot read comes back only from there.
    fn keep(&mut self, key: &ResourceKey, value: &Value) -> Result<bool, ProviderError> {
        let table = own(&self.tables, key)?;
        let is_withheld = matches!(value, Value::Withheld(_));
        Ok(!is_withheld || self.watch.wanted(table, key, value).is_ok())
    }

    fn declare(&mut self, keys: &BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        let mut known = std::mem::take(&mut self.declared);
        let mut declared = BTreeMap::new();
        for key in keys {
            if table_of(&self.tables, key).is_none() {
                continue;
            }
            // What is newly declared is read now; the drift task reads it as well, so it is no news later.
            let told = known.remove(key).unwrap_or_else(|| self.read(key).ok());
            declared.insert(key.clone(), told);
        }
        self.watch.declared = declared.keys().cloned().collect();
        self.declared = declared;
        Ok(())
    }

    fn ignore(&mut self, patterns: &KeyPatterns) {
        self.watch.ignored = patterns.clone();
    }

    fn poll(&mut self) -> Result<Poll, ProviderError> {
        let now = self.clock.monotonic();
        let mut changed = BTreeSet::new();
        if now >= self.near_at {
            self.near_at = now + NEAR_PAUSE;
            self.near(&mut changed)?;
        }
        if self.sweep.is_due(now) {
            self.slice(&mut changed)?;
        }
        self.watch.join()?;
        Ok(Poll::Changed(changed.into_iter().collect()))
    }

    fn next_poll(&self) -> Option<Duration> {
        Some(self.interval.min(self.sweep.due_in(self.clock.monotonic())))
    }
}

//! Rows against the baseline: what differs, and what of that was told.

use std::collections::{BTreeMap, BTreeSet};

use pact_schemas::resource::{KeyPatterns, ResourceKey, Value};

use super::baseline::{Baseline, Rows};
use super::sweep::MAX_KEYS;
use super::veil::Veil;
use super::{Listing, Row, Section, Table};
use crate::provider::{Found, ProviderError};

/// What tables are compared with.
pub(super) struct Watch {
    pub(super) baseline: Baseline,
    pub(super) veil: Veil,
    pub(super) ignored: KeyPatterns,
    /// Last told values of what differs from the baseline.
    differing: BTreeMap<ResourceKey, Value>,
    /// Rows that appeared and are not in the baseline yet.
    joining: Vec<(Section, Box<str>, Box<str>)>,
}

/// A row against the baseline.
enum Judged {
    /// Not under watch, or nothing that counts.
    Nothing,
    /// New, where rows come and go.
    Joins,
    /// As it should be.
    Same,
    /// It is not.
    Differs(Box<Found>),
}

impl Watch {
    pub(super) const fn new(baseline: Baseline, veil: Veil, ignored: KeyPatterns) -> Self {
        Self { baseline, veil, ignored, differing: BTreeMap::new(), joining: Vec::new() }
    }

    fn watches(&self, table: &dyn Table, key: &ResourceKey) -> bool {
        !self.ignored.matches(key) && table.is_setting(key)
    }

    /// What the key should be, if it is under watch.
    pub(super) fn before(
        &self,
        table: &dyn Table,
        key: &ResourceKey,
    ) -> Result<Option<Value>, ProviderError> {
        let rows = self.baseline.rows(table.section());
        let Some(rows) = rows.filter(|_| self.watches(table, key)) else { return Ok(None) };
        if let Some(row) = table.fixed(key) {
            return Ok(Some(self.veil.value(table, key, Some(&row))));
        }
        let Some(text) = rows.get(key.name()) else {
            return Ok((!table.comes_and_goes()).then_some(Value::Absent));
        };
        // Withheld as the present row is.
        let is_told = table.veil().is_none();
        let is_shut = !is_told && table.read(key)?.is_some_and(|now| now.is_shut);
        Ok(Some(self.veil.value_of(table, key, text, is_shut)))
    }

    /// The text of the row that a wanted value stands for; `None`: there is to be none.
    pub(super) fn wanted(
        &self,
        table: &dyn Table,
        key: &ResourceKey,
        want: &Value,
    ) -> Result<Option<String>, ProviderError> {
        let Value::Withheld(digest) = want else { return table.text(key, want) };
        if table.veil().is_none() {
            return Err(ProviderError::WrongValue { key: key.clone() });
        }
        let rows = self.baseline.rows(table.section());
        let kept = rows.and_then(|rows| rows.get(key.name()));
        let kept = kept.filter(|kept| self.veil.digest(table, key, kept) == Some(*digest));
        kept.map(|kept| Some(kept.to_string())).ok_or_else(|| ProviderError::NotRestorable {
            key: key.clone(),
            why: "what its keyed digest stands for is not kept on this node",
        })
    }

    /// Looks at a whole table: what differs from the baseline, and what its rows are in the baseline from now on.
    pub(super) fn take(
        &self,
        table: &dyn Table,
        found: &mut Vec<Found>,
    ) -> Result<Rows, ProviderError> {
        let known = self.baseline.rows(table.section());
        let comes_and_goes = table.comes_and_goes();
        let mut taken = known.filter(|_| !comes_and_goes).cloned().unwrap_or_default();
        let mut seen = BTreeSet::new();
        let mut differing = Vec::new();
        for (key, row) in rows(table)? {
            let before = known.and_then(|rows| rows.get(key.name()));
            let joins = match comes_and_goes {
                // What is ignored stays as it was: it is compared with that when it is not any more.
                true => before.is_some() || self.watches(table, &key),
                false => known.is_none(),
            };
            if joins {
                // What is new joins as it is.
                let text = before.cloned().unwrap_or_else(|| row.text.as_str().into());
                taken.insert(key.name().into(), text);
            }
            differing.extend(self.judge(table, &key, Some(&row)).found());
            seen.insert(key);
        }
        for key in self.missing(table, |key| seen.contains(key)) {
            // A row that cannot be read is not told to be gone.
            let Ok(row) = table.read(&key) else { continue };
            differing.extend(self.judge(table, &key, row.as_ref()).found());
        }
        differing.sort_by(|one, other| one.key.cmp(&other.key));
        found.append(&mut differing);
        Ok(taken)
    }

    /// Everything was looked at: this is what differs, and these are the rows of the baseline from now on.
    pub(super) fn took(
        &mut self,
        taken: Vec<(Section, Rows)>,
        found: &[Found],
    ) -> Result<(), ProviderError> {
        let is_new = |(section, rows): &(Section, Rows)| self.baseline.rows(*section) != Some(rows);
        if taken.iter().any(is_new) {
            self.baseline.set(taken)?;
        }
        self.differing = found.iter().map(|one| (one.key.clone(), one.new.clone())).collect();
        Ok(())
    }

    /// Keys of a table that should be there, or were told to be, and are not among those that are.
    pub(super) fn missing(
        &self,
        table: &dyn Table,
        is_there: impl Fn(&ResourceKey) -> bool,
    ) -> Vec<ResourceKey> {
        if table.comes_and_goes() {
            return Vec::new();
        }
        let kind = table.abilities().kind;
        let names = self.baseline.rows(table.section()).into_iter().flat_map(Rows::keys);
        let known = names.filter_map(|name| ResourceKey::new(kind, name).ok());
        let told = self.differing.keys().filter(|key| key.kind() == kind).cloned();
        let all: BTreeSet<ResourceKey> = known.chain(told).filter(|key| !is_there(key)).collect();
        all.into_iter().collect()
    }

    /// Holds one row against the baseline, and against what was told of it; says whether that is news.
    pub(super) fn compare(
        &mut self,
        table: &dyn Table,
        key: &ResourceKey,
        row: Option<&Row>,
    ) -> bool {
        match self.judge(table, key, row) {
            Judged::Nothing => false,
            Judged::Joins => {
                let text = row.map_or_else(Box::default, |row| row.text.as_str().into());
                self.joining.push((table.section(), key.name().into(), text));
                false
            }
            Judged::Same => self.differing.remove(key).is_some(),
            Judged::Differs(found) => {
                let told = self.differing.insert(key.clone(), found.new.clone());
                told != Some(found.new)
            }
        }
    }

    /// What appeared joins the baseline.
    pub(super) fn join(&mut self) -> Result<(), ProviderError> {
        let mut taken: BTreeMap<&str, (Section, Rows)> = BTreeMap::new();
        for (section, name, text) in std::mem::take(&mut self.joining) {
            let known = || self.baseline.rows(section).cloned().unwrap_or_default();
            let rows = taken.entry(section.name()).or_insert_with(|| (section, known()));
            rows.1.insert(name, text);
        }
        if taken.is_empty() {
            return Ok(());
        }
        self.baseline.set(taken.into_values().collect())
    }

    /// A value that was accepted is the baseline from now on.
    pub(super) fn rebase(
        &mut self,
        table: &dyn Table,
        key: &ResourceKey,
        value: &Value,
    ) -> Result<(), ProviderError> {
        let text = if *value == Value::Absent {
            None
        } else {
            let now = table.read(key)?;
            let is_now = |now: &Row| self.veil.value(table, key, Some(now)) == *value;
            match now.filter(is_now) {
                Some(now) => Some(now.text),
                None => self.wanted(table, key, value)?,
            }
        };
        let section = table.section();
        let mut rows = self.baseline.rows(section).cloned().unwrap_or_default();
        match text {
            Some(text) => drop(rows.insert(key.name().into(), text.into())),
            None => drop(rows.remove(key.name())),
        }
        self.baseline.set(vec![(section, rows)])
    }

    fn judge(&self, table: &dyn Table, key: &ResourceKey, now: Option<&Row>) -> Judged {
        let Some(rows) = self.baseline.rows(table.section()) else { return Judged::Nothing };
        if !self.watches(table, key) || table.fixed(key).is_some() {
            return Judged::Nothing;
        }
        let before = rows.get(key.name());
        match (before, now) {
            (None, Some(_)) if table.comes_and_goes() => return Judged::Joins,
            (_, None) if table.comes_and_goes() => return Judged::Nothing,
            (None, None) => return Judged::Same,
            (Some(before), Some(now)) if **before == *now.text => return Judged::Same,
            _ => {}
        }
        let is_shut = now.is_some_and(|now| now.is_shut);
        let old = before.map(|text| self.veil.value_of(table, key, text, is_shut));
        let new = self.veil.value(table, key, now);
        let (key, old) = (key.clone(), old.unwrap_or(Value::Absent));
        Judged::Differs(Box::new(Found { key, old, new }))
    }
}

impl Judged {
    fn found(self) -> Option<Found> {
        match self {
            Self::Differs(found) => Some(*found),
            Self::Nothing | Self::Joins | Self::Same => None,
        }
    }
}

/// All rows that can be read, one after the other.
fn rows<'a>(
    table: &'a dyn Table,
) -> Result<Box<dyn Iterator<Item = (ResourceKey, Row)> + 'a>, ProviderError> {
    let read = |key: ResourceKey| {
        let row = table.read(&key).ok()??;
        Some((key, row))
    };
    Ok(match table.list()? {
        Listing::Rows(rows) => Box::new(rows.into_iter()),
        Listing::Keys(keys) => Box::new(keys.take(MAX_KEYS).filter_map(read)),
    })
}

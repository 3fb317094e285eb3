//! A base for dimensions that are a table: keys with one row each, which somebody lists, reads and writes.
//!
//! A dimension says in a [`Table`] how its rows are listed, read and written, and what values they stand for. From
//! [`Tables`] it has the baseline and its file, the scan, the look at declared keys and at everything else in turn, the
//! check that a key still is what was observed and becomes what was asked for, acceptance of a change, and keyed digests of
//! what users cannot read.
//!
//! Parts: `baseline` (what every row should be, on disk), `veil` (rows as values), `watch` (rows against the baseline),
//! `write` (all or nothing), `moving` (rows that move each other), `sweep` (a few keys at a time), `tables` (all of it as a provider).
//!
//! Absences: nothing here knows a kind, and nothing is notified: tables are looked at.

use std::collections::{BTreeMap, BTreeSet};

use pact_schemas::resource::{ResourceKey, Value};

use super::abilities::Abilities;
use super::{Holders, ProviderError};

mod baseline;
mod moving;
mod sweep;
mod tables;
mod veil;
mod watch;
mod write;

#[cfg(test)]
pub(crate) use sweep::{SLICE_KEYS, SWEEP_INTERVAL};
pub(crate) use tables::{Options, Tables};

/// One dimension's rows, or those of one of its kinds.
pub(crate) trait Table: Send {
    /// What its keys can.
    fn abilities(&self) -> &'static Abilities;

    /// Where the baseline's file has its rows.
    fn section(&self) -> Section;

    /// What is there now.
    fn list(&self) -> Result<Listing, ProviderError>;

    /// One row now; `None`: there is none.
    fn read(&self, key: &ResourceKey) -> Result<Option<Row>, ProviderError>;

    /// Makes the row so, or removes it (`None`); whoever asks reads it back. Asked only where it is something else, and where
    /// the refusal among the abilities says nothing against it.
    fn write(&self, key: &ResourceKey, wanted: Option<&str>) -> Result<(), ProviderError>;

    /// The value that the text of a row stands for.
    fn value(&self, text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    /// The text of the row that a value asks for; `None`: there is to be none. A withheld value is never asked for.
    fn text(&self, key: &ResourceKey, want: &Value) -> Result<Option<String>, ProviderError> {
        match want {
            Value::Text(text) => Ok(Some(text.clone())),
            Value::Absent => Ok(None),
            _ => Err(ProviderError::WrongValue { key: key.clone() }),
        }
    }

    /// Domain of keyed digests, with its NUL, for rows that users cannot read; `None`: every row may be told.
    fn veil(&self) -> Option<&'static [u8]> {
        None
    }

    /// Rows come and go with something else: one that appears joins the baseline as it is, one that vanishes leaves it.
    /// Else both are drift.
    fn comes_and_goes(&self) -> bool {
        false
    }

    /// Whether a key is a setting at all, not something that changes by itself.
    fn is_setting(&self, _key: &ResourceKey) -> bool {
        true
    }

    /// The row of a key that nothing can change, whatever the baseline says; it never is drift.
    fn fixed(&self, _key: &ResourceKey) -> Option<Row> {
        None
    }

    /// Rows whose being set makes this one what it is.
    fn movers(&self, _key: &ResourceKey) -> Vec<Mover> {
        Vec::new()
    }

    /// Rows that this one, when it is written, gives the value that it gives everybody.
    fn moved(&self, _key: &ResourceKey) -> Vec<ResourceKey> {
        Vec::new()
    }

    /// Who uses each of these keys now. Every key is in the answer.
    fn holders(&self, keys: &BTreeSet<ResourceKey>) -> Holders {
        keys.iter().map(|key| (key.clone(), Ok(Vec::new()))).collect()
    }
}

/// A row that moves another.
#[derive(Debug)]
pub(crate) struct Mover {
    /// Which.
    pub(crate) key: ResourceKey,
    /// What it makes of the other.
    pub(crate) effect: Effect,
    /// Only where it is declared: else it is the one that follows.
    pub(crate) only_declared: bool,
}

/// What a row makes of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Zero, unless it is zero itself: of both one counts.
    Zero,
    /// What it is itself.
    Same,
    /// A switch that is off where it is on.
    Opposite,
}

impl Effect {
    /// The other's text; `None`: it says nothing of it.
    fn of(self, text: &str) -> Option<&str> {
        match (self, text) {
            (Self::Same, text) => Some(text),
            (Self::Opposite, "0") => Some("1"),
            (Self::Zero, "0") => None,
            (Self::Zero | Self::Opposite, _) => Some("0"),
        }
    }
}

/// A row as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Normalised: two rows are the same when their texts are.
    pub(crate) text: String,
    /// Users of the node cannot read it.
    pub(crate) is_shut: bool,
}

/// Keys of a table, one after the other.
pub(crate) type Keys = Box<dyn Iterator<Item = ResourceKey> + Send>;

/// What is in a table now.
pub(crate) enum Listing {
    /// All rows, for a table that is cheap to read as a whole: it is compared at each look.
    Rows(BTreeMap<ResourceKey, Row>),
    /// Keys whose rows are read one by one: they are gone through in slices. Costs nothing before the first is asked for.
    Keys(Keys),
}

/// Where the baseline's file has the rows of a table, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// An object of this name: texts by name.
    Texts(&'static str),
    /// A list of this name: names alone, of rows whose text is always empty.
    Names(&'static str),
}

impl Section {
    const fn name(self) -> &'static str {
        match self {
            Self::Texts(name) | Self::Names(name) => name,
        }
    }
}

#[cfg(test)]
mod tests;

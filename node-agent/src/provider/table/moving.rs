//! Rows that move each other: one was set, the others follow.

use pact_schemas::resource::ResourceKey;

use super::watch::Watch;
use super::{Effect, Row, Table};
use crate::provider::ProviderError;

impl Watch {
    /// Whether a row is what it is because another was set that is declared, or that is drift itself. What is declared is
    /// never only moved.
    pub(super) fn is_moved(&self, table: &dyn Table, key: &ResourceKey, text: &str) -> bool {
        if self.declared.contains(key) {
            return false;
        }
        table.movers(key).into_iter().any(|mover| {
            let Ok(Some(row)) = table.read(&mover.key) else { return false };
            let is_declared = self.declared.contains(&mover.key);
            let is_set = is_declared
                || (!mover.only_declared && self.text(table, &mover.key) != Some(&row.text));
            is_set && mover.effect.of(&row.text) == Some(text)
        })
    }

    /// Writes a row. Where another was set instead of it before, that one is set; those that only follow and are declared, or
    /// were something else in the baseline that comes back, are what they were.
    pub(super) fn set(
        &self,
        table: &dyn Table,
        key: &ResourceKey,
        was: Option<&Row>,
        wanted: Option<&str>,
    ) -> Result<(), ProviderError> {
        if let Some((setter, text)) = self.setter(table, key, wanted) {
            let row = table.read(&setter)?;
            self.write(table, &setter, row.as_ref(), Some(text))?;
            let now = table.read(key)?.map(|row| row.text);
            if now.as_deref() == wanted {
                return Ok(());
            }
        }
        let before: Vec<_> = table
            .moved(key)
            .into_iter()
            .filter_map(|key| Some((table.read(&key).ok()??.text, key)))
            .collect();
        let written = self.write(table, key, was, wanted);
        let is_back = self.text(table, key) == wanted;
        for (before, key) in &before {
            let should_be = if written.is_err() || self.declared.contains(key) {
                Some(before.as_str())
            } else {
                self.text(table, key).filter(|_| is_back)
            };
            let Some(should_be) = should_be else { continue };
            let is_so = |row: &Row| row.text == should_be;
            if table.read(key)?.as_ref().is_none_or(is_so) {
                continue;
            }
            if let Err(error) = table.write(key, Some(should_be)) {
                tracing::warn!(%key, %error, "it was moved along and cannot be put back");
            }
        }
        written
    }

    /// Which row counted instead of this one, with its text, when this one is to be zero again.
    fn setter(
        &self,
        table: &dyn Table,
        key: &ResourceKey,
        wanted: Option<&str>,
    ) -> Option<(ResourceKey, &str)> {
        table.movers(key).into_iter().find_map(|mover| {
            let counts = mover.effect == Effect::Zero && !self.declared.contains(&mover.key);
            let text = self.text(table, &mover.key).filter(|_| counts)?;
            (mover.effect.of(text) == wanted).then_some((mover.key, text))
        })
    }

    /// What the baseline says of a row.
    fn text(&self, table: &dyn Table, key: &ResourceKey) -> Option<&str> {
        self.baseline.rows(table.section())?.get(key.name()).map(|text| &**text)
    }
}

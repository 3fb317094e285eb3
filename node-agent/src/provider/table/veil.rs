//! Rows as values: what users of the node cannot read, or what is named a secret, is told by a keyed digest only.

use pact_schemas::resource::{KeyPatterns, ResourceKey, Value};

use super::{Row, Table};
use crate::provider::secret::NodeKey;

/// What hides rows.
pub(super) struct Veil {
    key: NodeKey,
    /// Whose rows never leave the node, whoever can read them.
    secret: KeyPatterns,
}

impl Veil {
    pub(super) const fn new(key: NodeKey, secret: KeyPatterns) -> Self {
        Self { key, secret }
    }

    /// The value of a row, as it may be told.
    pub(super) fn value(&self, table: &dyn Table, key: &ResourceKey, row: Option<&Row>) -> Value {
        row.map_or(Value::Absent, |row| self.value_of(table, key, &row.text, row.is_shut))
    }

    /// The value of the row that a text stands for.
    pub(super) fn value_of(
        &self,
        table: &dyn Table,
        key: &ResourceKey,
        text: &str,
        is_shut: bool,
    ) -> Value {
        let is_hidden = is_shut || self.secret.matches(key);
        let digest = if is_hidden { self.digest(table, key, text) } else { None };
        digest.map_or_else(|| table.value(text), Value::Withheld)
    }

    /// The keyed digest of a text; `None`: rows of this table are never withheld.
    pub(super) fn digest(
        &self,
        table: &dyn Table,
        key: &ResourceKey,
        text: &str,
    ) -> Option<[u8; 32]> {
        let domain = table.veil()?;
        Some(self.key.digest(domain, &[key.as_str().as_bytes(), b"\0", text.as_bytes()]))
    }
}

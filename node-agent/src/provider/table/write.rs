//! Writing a row: it becomes what was asked for, or stays what it was.
//!
//! What a system makes of a value shows when the row is read back: `0x3f` reads `63`, of `6 3` only the `6` is taken. Such a
//! row would never be as declared, and nobody could tell later whose it is; so it is put back.

use std::io;

use pact_schemas::resource::{ResourceKey, Value};

use super::watch::Watch;
use super::{Row, Table};
use crate::provider::ProviderError;

impl Watch {
    /// Writes a row and reads it back; `was`: what it is now.
    pub(super) fn write(
        &self,
        table: &dyn Table,
        key: &ResourceKey,
        was: Option<&Row>,
        wanted: Option<&str>,
    ) -> Result<(), ProviderError> {
        let written = table.write(key, wanted);
        let now = table.read(key)?;
        if written.is_ok() && text(now.as_ref()) == wanted {
            return Ok(());
        }
        let mut source = None;
        if text(now.as_ref()) != text(was) {
            source = Some(self.turned(table, key, now.as_ref()));
            let restored = table.write(key, text(was)).and_then(|()| table.read(key));
            if !restored.is_ok_and(|row| text(row.as_ref()) == text(was)) {
                tracing::error!(%key, "what it was cannot be written back");
            }
        }
        written.and_then(|()| Err(ProviderError::Refused { key: key.clone(), source }))
    }

    /// What the system has made of a value, as far as it may be told.
    fn turned(&self, table: &dyn Table, key: &ResourceKey, now: Option<&Row>) -> io::Error {
        io::Error::other(match self.veil.value(table, key, now) {
            Value::Text(text) => format!("it reads {text:?} once it is written; declare it so"),
            _ => "it reads otherwise once it is written".to_owned(),
        })
    }
}

fn text(row: Option<&Row>) -> Option<&str> {
    row.map(|row| row.text.as_str())
}

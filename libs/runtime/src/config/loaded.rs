//! A configuration whose layers are settled.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::key::{Key, Schema};
use super::problem::{ConfigError, Origin, Problem};
use super::value::inline;

/// A value and where it came from.
#[derive(Debug)]
pub(super) struct Effective {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The effective value of every key, with its origin.
#[derive(Debug)]
pub struct Loaded {
    schema: &'static Schema,
    values: BTreeMap<&'static str, Effective>,
}

impl Loaded {
    pub(super) fn new(schema: &'static Schema, values: BTreeMap<&'static str, Effective>) -> Self {
        Self { schema, values }
    }

    /// The binary's own config struct: nested tables by the dots of the paths, unset optional keys absent.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let mut root = Table::new();
        for (path, effective) in &self.values {
            insert(&mut root, path, effective.value.clone());
        }
        Value::Table(root)
            .try_into()
            .map_err(|error: toml::de::Error| self.shape(&error.to_string()))
    }

    /// The effective configuration as TOML, one key a line, each with its origin; secrets as `<set>`.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for key in self.schema.keys {
            // Writing to a string cannot fail.
            let _infallible = match self.values.get(key.path) {
                Some(effective) => {
                    let shown = shown(key, &effective.value);
                    writeln!(out, "{} = {shown}   # {}", key.path, effective.origin)
                }
                None => writeln!(out, "# {} is not set", key.path),
            };
        }
        out
    }

    /// Where a key's value came from; `None` when it is not set.
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        self.values.get(path).map(|effective| &effective.origin)
    }

    /// The files that values came from.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self
            .values
            .values()
            .filter_map(|effective| match &effective.origin {
                Origin::File { path, .. } => Some(path.to_path_buf()),
                _ => None,
            })
            .collect();
        files.sort();
        files.dedup();
        files
    }

    /// The address behind a [`super::KeyKind::Address`] key; `None` when it is not set.
    pub fn address(&self, path: &str) -> Option<SocketAddr> {
        let effective = self.values.get(path)?;
        effective.value.as_str()?.parse().ok()
    }

    /// The error for a value that is well-formed and makes no sense; `reason` says why and what would be accepted.
    pub fn reject(&self, path: &str, reason: impl Into<String>) -> ConfigError {
        Problem::Rejected {
            origin: self.origin(path).cloned().unwrap_or(Origin::Default),
            key: path.to_owned(),
            reason: reason.into(),
        }
        .into()
    }

    /// serde's complaint, put at the key it names. It ends with "in `a.b.c`".
    fn shape(&self, complaint: &str) -> ConfigError {
        let complaint = complaint.trim_end();
        let (message, place) = complaint
            .rsplit_once("\nin `")
            .map_or((complaint, None), |(message, place)| (message, place.strip_suffix('`')));
        let key = place.and_then(|place| {
            self.schema.keys.iter().find(|key| {
                place
                    .strip_prefix(key.path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        });
        match (key, place) {
            (Some(key), _) if key.secret => self.reject(key.path, "is not accepted"),
            (Some(key), Some(place)) if place != key.path => {
                self.reject(key.path, format!("{message} in `{place}`"))
            }
            (Some(key), _) => self.reject(key.path, message),
            (None, _) => Problem::Shape {
                file_name: self.schema.file_name,
                message: complaint.replace('\n', " "),
            }
            .into(),
        }
    }
}

fn shown(key: &Key, value: &Value) -> String {
    if key.secret { "<set>".to_owned() } else { inline(value) }
}

fn insert(root: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            root.insert(path.to_owned(), value);
        }
        Some((table, rest)) => {
            let inner = root.entry(table).or_insert_with(|| Value::Table(Table::new()));
            // The schema's check refuses a path that is a key and a table.
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

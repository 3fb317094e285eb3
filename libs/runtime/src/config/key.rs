//! What a binary declares: its keys, their kinds, and the names derived from them.

use super::problem::Problem;
use super::value;

/// Everything that a binary can be configured with.
#[derive(Debug)]
pub struct Schema {
    /// Name of the file under [`super::CONFIG_FOLDER`], e.g. `journal.toml`.
    pub file_name: &'static str,
    /// Prefix of the binary's variables, e.g. `PACT_JOURNAL`; a `_` follows, written here or not. Every variable that begins with
    /// it must be known.
    pub env_prefix: &'static str,
    /// Variables under the prefix that something else reads; a trailing `*` stands for a family. Empty for services.
    pub other_environment: &'static [&'static str],
    /// The keys. Those of one table stand together; the order is that of `--print-config` and the example file.
    pub keys: &'static [Key],
}

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted path in the file, e.g. `journal.raft.snapshot_interval`.
    pub path: &'static str,
    /// What values it takes.
    pub kind: KeyKind,
    /// What holds when no layer sets it.
    pub default: Default,
    /// Name of the variable, where it is not the derived one (see [`Schema::variable`]).
    pub env: Option<&'static str>,
    /// Counts only in files and is never shown.
    pub secret: bool,
    /// What it is for, in sentences, for the person who edits the file.
    pub doc: &'static str,
    /// A value as a TOML literal for the example file; needed for required keys.
    pub example: Option<&'static str>,
}

impl Key {
    /// A key with the derived variable name, not secret, without an example.
    pub const fn new(
        path: &'static str,
        kind: KeyKind,
        default: Default,
        doc: &'static str,
    ) -> Self {
        Self { path, kind, default, env: None, secret: false, doc, example: None }
    }

    /// Takes its value from this variable instead of the derived one.
    #[must_use]
    pub const fn env(mut self, variable: &'static str) -> Self {
        self.env = Some(variable);
        self
    }

    /// Counts only in files and is never shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// A value as a TOML literal (`"\"a string\""`, `3`, `["a", "b"]`) for the example file.
    #[must_use]
    pub const fn example(mut self, literal: &'static str) -> Self {
        self.example = Some(literal);
        self
    }
}

/// What holds when no layer sets a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// The binary does not start without a value.
    Required,
    /// May stay unset; the field of the config struct is an `Option`.
    Optional,
    /// This TOML literal: `"\"/var/lib/pact\""`, `10000`, `true`, `[]`.
    Value(&'static str),
}

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyKind {
    /// A string that is not empty.
    String,
    /// A path that is not empty. Relative ones are relative to the working folder.
    Path,
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds, both included.
    Integer {
        /// The least value accepted.
        min: i64,
        /// The greatest value accepted.
        max: i64,
    },
    /// A number within bounds, both included. Whole numbers are accepted.
    Float {
        /// The least value accepted.
        min: f64,
        /// The greatest value accepted.
        max: f64,
    },
    /// Whole seconds within bounds, both included; see [`super::seconds`].
    Seconds {
        /// The least value accepted.
        min: i64,
        /// The greatest value accepted.
        max: i64,
    },
    /// A list of strings. A single string counts as a list of one. In a variable or flag: comma-separated, or TOML.
    StringList,
    /// One of these strings.
    Enum(&'static [&'static str]),
    /// An IP address and port to listen on: `127.0.0.1:9091`, `[::]:9091`.
    Address,
    /// A table, or a list of tables, whose inside the config struct checks (give it `deny_unknown_fields`). Files only.
    Table,
}

impl Schema {
    /// The name of the variable that sets a key: the key's own, else the prefix and the path in capitals, dots and
    /// dashes as `_`. A path that begins with the binary's own table does not repeat it:
    /// `journal.raft.members` under `PACT_JOURNAL` is `PACT_JOURNAL_RAFT_MEMBERS`.
    pub fn variable(&self, key: &Key) -> String {
        if let Some(name) = key.env {
            return name.to_owned();
        }
        let path = capitals(key.path);
        let prefix = self.prefix();
        let own_table = prefix.rsplit_once('_').map_or(prefix, |(_, last)| last);
        match path.strip_prefix(own_table).and_then(|rest| rest.strip_prefix('_')) {
            Some(rest) => format!("{prefix}_{rest}"),
            None => format!("{prefix}_{path}"),
        }
    }

    /// The prefix without its last `_`.
    pub(super) fn prefix(&self) -> &'static str {
        self.env_prefix.trim_end_matches('_')
    }

    /// The key with this path.
    pub fn find(&self, path: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.path == path)
    }

    /// Whether some key lies in the table of this path.
    pub(super) fn has_table(&self, path: &str) -> bool {
        self.tables().any(|table| table == path)
    }

    /// The tables of the keys, parents too, with repetitions.
    pub(super) fn tables(&self) -> impl Iterator<Item = &'static str> {
        self.keys
            .iter()
            .flat_map(|key| key.path.match_indices('.').filter_map(|(dot, _)| key.path.get(..dot)))
    }

    /// Mistakes in the schema itself, which the first load of any kind reports.
    pub(super) fn faults(&self) -> Vec<Problem> {
        let mut faults = Vec::new();
        for (index, key) in self.keys.iter().enumerate() {
            let mut fault = |fault: &'static str| {
                faults.push(Problem::Schema { key: key.path.to_owned(), fault });
            };
            let earlier = self.keys.get(..index).unwrap_or_default();
            if earlier.iter().any(|other| other.path == key.path) {
                fault("is declared twice");
            }
            if earlier.iter().any(|other| self.variable(other) == self.variable(key)) {
                fault("has the variable of another key");
            }
            if self.has_table(key.path) {
                fault("is a key and a table");
            }
            if let Default::Value(literal) = key.default
                && value::from_literal(key.kind, literal).is_none()
            {
                fault("has a default that its kind refuses");
            }
            match key.example {
                Some(literal) if value::from_literal(key.kind, literal).is_none() => {
                    fault("has an example that its kind refuses");
                }
                None if key.default == Default::Required => {
                    fault("is required and has no example");
                }
                Some(_) | None => {}
            }
        }
        faults
    }
}

fn capitals(path: &str) -> String {
    path.replace(['.', '-'], "_").to_ascii_uppercase()
}

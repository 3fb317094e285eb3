//! The layers, one over the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CONFIG_FOLDER;
use super::file;
use super::key::{Default, Key, Schema};
use super::loaded::{Effective, Loaded};
use super::nearest::nearest;
use super::problem::{ConfigError, Origin, Problem};
use super::value;

const SET_FLAG: &str = "--set";

/// Collects the layers of a configuration and loads them.
#[derive(Debug)]
pub struct Loader {
    schema: &'static Schema,
    files: Vec<(Arc<Path>, bool)>,
    environment: Vec<(String, String)>,
    flags: Vec<Assignment>,
}

#[derive(Debug)]
struct Assignment {
    flag: String,
    path: String,
    /// `None` for a `--set` without `=`.
    value: Option<String>,
}

impl Loader {
    /// Defaults only.
    pub fn new(schema: &'static Schema) -> Self {
        Self { schema, files: Vec::new(), environment: Vec::new(), flags: Vec::new() }
    }

    /// Adds a file over the files before it. One that need not exist may be absent, but never unreadable.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>, must_exist: bool) -> Self {
        self.files.push((Arc::from(path.as_ref()), must_exist));
        self
    }

    /// Adds the environment, usually [`crate::environment()`]. Variables without the schema's prefix are skipped,
    /// except those that keys name; empty ones count as not set.
    #[must_use]
    pub fn env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Adds the text after `--set`: `key=value`.
    #[must_use]
    pub fn set(mut self, assignment: &str) -> Self {
        let (path, value) = match assignment.split_once('=') {
            Some((path, value)) => (path, Some(value.to_owned())),
            None => (assignment, None),
        };
        self.flags.push(Assignment {
            flag: SET_FLAG.to_owned(),
            path: path.trim().to_owned(),
            value,
        });
        self
    }

    /// Adds a value as `--set key=value` does.
    #[must_use]
    pub fn flag(self, path: impl Into<String>, value: impl Into<String>) -> Self {
        self.named_flag(SET_FLAG, path, value)
    }

    /// Adds the value of a flag with a name of its own, e.g. `--vcluster`.
    #[must_use]
    pub fn named_flag(
        mut self,
        flag: impl Into<String>,
        path: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        self.flags.push(Assignment {
            flag: flag.into(),
            path: path.into(),
            value: Some(value.into()),
        });
        self
    }

    /// Loads all layers; `Err` names everything that is wrong with any of them.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let mut load =
            Load { schema: self.schema, values: BTreeMap::new(), problems: self.schema.faults() };
        load.defaults();
        for (path, must_exist) in &self.files {
            load.file(path, *must_exist);
        }
        for (variable, value) in self.environment {
            load.variable(variable, &value);
        }
        for assignment in self.flags {
            load.assignment(assignment);
        }
        // Where to say that a missing key belongs: the file that counts most.
        let file = self.files.last().map_or_else(
            || Path::new(CONFIG_FOLDER).join(self.schema.file_name),
            |(path, _)| path.to_path_buf(),
        );
        load.required(&file);
        if load.problems.is_empty() {
            Ok(Loaded::new(self.schema, load.values))
        } else {
            Err(ConfigError::new(load.problems))
        }
    }
}

struct Load {
    schema: &'static Schema,
    values: BTreeMap<&'static str, Effective>,
    problems: Vec<Problem>,
}

impl Load {
    fn defaults(&mut self) {
        for key in self.schema.keys {
            if let Default::Value(literal) = key.default
                && let Some(value) = value::from_literal(key.kind, literal)
            {
                self.set(key, value, Origin::Default);
            }
        }
    }

    fn file(&mut self, path: &Arc<Path>, must_exist: bool) {
        let layer = file::read(self.schema, path, must_exist);
        for setting in layer.settings {
            let origin = Origin::File { path: Arc::clone(path), line: setting.line };
            self.set(setting.key, setting.value, origin);
        }
        self.problems.extend(layer.problems);
    }

    fn variable(&mut self, variable: String, text: &str) {
        let key = self.schema.keys.iter().find(|key| self.schema.variable(key) == variable);
        match key {
            Some(_) if text.is_empty() => {}
            Some(key) => self.text(key, text, Origin::Environment { variable }),
            None if self.is_ours(&variable) => {
                let names: Vec<_> =
                    self.schema.keys.iter().map(|key| self.schema.variable(key)).collect();
                self.problems.push(Problem::UnknownVariable {
                    nearest: nearest(&variable, names.iter().map(String::as_str)),
                    variable,
                });
            }
            None => {}
        }
    }

    /// Whether a variable that is no key should have been one.
    fn is_ours(&self, variable: &str) -> bool {
        let prefixed =
            variable.strip_prefix(self.schema.prefix()).is_some_and(|rest| rest.starts_with('_'));
        let elsewhere = self.schema.other_environment.iter().any(|name| {
            name.strip_suffix('*').map_or(*name == variable, |family| variable.starts_with(family))
        });
        prefixed && !elsewhere
    }

    fn assignment(&mut self, assignment: Assignment) {
        let Assignment { flag, path, value } = assignment;
        let origin = Origin::Flag { flag };
        match (self.schema.find(&path), value) {
            (_, None) => self.problems.push(Problem::NotAnAssignment { key: path }),
            (Some(key), Some(text)) => self.text(key, &text, origin),
            (None, Some(_)) => {
                let known = self.schema.keys.iter().map(|key| key.path);
                self.problems.push(Problem::UnknownKey {
                    origin,
                    nearest: nearest(&path, known),
                    key: path,
                });
            }
        }
    }

    /// A value from the environment or a flag.
    fn text(&mut self, key: &'static Key, text: &str, origin: Origin) {
        if key.secret {
            self.problems.push(Problem::SecretOutsideFile { origin, key: key.path.to_owned() });
            return;
        }
        // U+FFFD stands for bytes that were not UTF-8; no key means it.
        let readable = !text.contains(char::REPLACEMENT_CHARACTER);
        match value::from_text(key.kind, text).filter(|_| readable) {
            Some(value) => self.set(key, value, origin),
            None => self.problems.push(Problem::NotAccepted {
                origin,
                key: key.path.to_owned(),
                found: value::shorten(&format!("{text:?}")),
                accepted: value::accepted(key.kind),
            }),
        }
    }

    fn required(&mut self, file: &Path) {
        let unread = |problem: &Problem| {
            matches!(
                problem,
                Problem::Syntax { .. } | Problem::Unreadable { .. } | Problem::TooLarge { .. }
            )
        };
        // A file that could not be read may well set them.
        if self.problems.iter().any(unread) {
            return;
        }
        for key in self.schema.keys {
            let is_named = |problem: &Problem| match problem {
                Problem::NotAccepted { key: named, .. }
                | Problem::SecretOutsideFile { key: named, .. } => named == key.path,
                _ => false,
            };
            // A value that was refused is one problem, not two.
            if key.default == Default::Required
                && !self.values.contains_key(key.path)
                && !self.problems.iter().any(is_named)
            {
                self.problems.push(missing(self.schema, key, file.to_owned()));
            }
        }
    }

    fn set(&mut self, key: &'static Key, value: toml::Value, origin: Origin) {
        self.values.insert(key.path, Effective { value, origin });
    }
}

fn missing(schema: &Schema, key: &'static Key, file: PathBuf) -> Problem {
    let path = key.path.to_owned();
    if key.secret {
        Problem::MissingSecret { key: path, file, doc: key.doc }
    } else {
        Problem::Missing { key: path, file, variable: schema.variable(key), doc: key.doc }
    }
}

//! One configuration file against the schema.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::key::{Key, Schema};
use super::nearest::nearest;
use super::problem::{Origin, Problem};
use super::value;

/// A configuration file is written by hand; more than this is a mistake (a log, a database) and would only cost memory.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// A value that a file sets, with its line.
pub(super) struct Setting {
    pub(super) key: &'static Key,
    pub(super) value: toml::Value,
    pub(super) line: usize,
}

/// What one file says, and what is wrong with it.
#[derive(Default)]
pub(super) struct FileLayer {
    pub(super) settings: Vec<Setting>,
    pub(super) problems: Vec<Problem>,
}

/// Reads a file. One that is absent and need not exist is an empty layer.
pub(super) fn read(schema: &'static Schema, path: &Arc<Path>, must_exist: bool) -> FileLayer {
    match read_text(path) {
        Ok(text) => parse(schema, path, &text),
        Err(Problem::Unreadable { kind, .. }) if kind == io::ErrorKind::NotFound && !must_exist => {
            FileLayer::default()
        }
        Err(problem) => FileLayer { problems: vec![problem], ..FileLayer::default() },
    }
}

fn read_text(path: &Path) -> Result<String, Problem> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| Problem::Unreadable { file: path.to_owned(), kind: error.kind() })?;
    if text.len() as u64 > FILE_LIMIT_BYTES {
        return Err(Problem::TooLarge { file: path.to_owned(), limit_bytes: FILE_LIMIT_BYTES });
    }
    Ok(text)
}

fn parse(schema: &'static Schema, path: &Arc<Path>, text: &str) -> FileLayer {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut walk = Walk { schema, path, text, layer: FileLayer::default(), lines: Vec::new() };
    if errors.is_empty() {
        walk.table("", table.into_inner());
    } else {
        // What follows a syntax error is guesswork: report these alone.
        for error in errors {
            let line = walk.line(error.span().map_or(text.len(), |span| span.start));
            let message = error.message().to_owned();
            let origin = walk.origin(line);
            walk.problem(line, Problem::Syntax { origin, message });
        }
    }
    walk.finish()
}

struct Walk<'a> {
    schema: &'static Schema,
    path: &'a Arc<Path>,
    text: &'a str,
    layer: FileLayer,
    /// Line of each problem, to report them from top to bottom.
    lines: Vec<usize>,
}

impl Walk<'_> {
    fn table(&mut self, prefix: &str, table: DeTable<'_>) {
        for (name, value) in table {
            let line = self.line(name.span().start);
            let name = name.into_inner();
            let path = if prefix.is_empty() {
                name.clone().into_owned()
            } else {
                format!("{prefix}.{name}")
            };
            // A quoted name with a dot is one name, not a path that happens to look known.
            let known = !name.contains('.');
            match (self.schema.find(&path), value.into_inner()) {
                (Some(key), value) if known => self.value(key, line, value),
                (_, DeValue::Table(inner)) if known && self.schema.has_table(&path) => {
                    self.table(&path, inner);
                }
                (_, value) if known && self.schema.has_table(&path) => {
                    let found = value::describe(value::from_parsed(value).as_ref(), true);
                    let problem = Problem::NotAccepted {
                        origin: self.origin(line),
                        key: path,
                        found,
                        accepted: "a table".to_owned(),
                    };
                    self.problem(line, problem);
                }
                _ => self.unknown(line, path),
            }
        }
    }

    fn value(&mut self, key: &'static Key, line: usize, parsed: DeValue<'_>) {
        let raw = value::from_parsed(parsed);
        match raw.clone().and_then(|raw| value::accept(key.kind, raw)) {
            Some(value) => self.layer.settings.push(Setting { key, value, line }),
            None => {
                let problem = Problem::NotAccepted {
                    origin: self.origin(line),
                    key: key.path.to_owned(),
                    found: value::describe(raw.as_ref(), key.secret),
                    accepted: value::accepted(key.kind),
                };
                self.problem(line, problem);
            }
        }
    }

    fn unknown(&mut self, line: usize, path: String) {
        let known = self.schema.keys.iter().map(|key| key.path).chain(self.schema.tables());
        let problem = Problem::UnknownKey {
            origin: self.origin(line),
            nearest: nearest(&path, known),
            key: path,
        };
        self.problem(line, problem);
    }

    fn problem(&mut self, line: usize, problem: Problem) {
        let at = self.lines.partition_point(|earlier| *earlier <= line);
        self.lines.insert(at, line);
        self.layer.problems.insert(at, problem);
    }

    fn origin(&self, line: usize) -> Origin {
        Origin::File { path: Arc::clone(self.path), line }
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    fn finish(self) -> FileLayer {
        self.layer
    }
}

//! What every row should be: one JSON file (`baseline.json`, 0600), replaced as a whole.
//!
//! ```text
//! {format 1, release, <section of a table>: {name: text, ...} or [name, ...], ...}
//! ```
//! It belongs to one release of what the tables are of (the kernel): another one has other rows and other defaults, so its
//! first scan takes a new baseline. So does the first scan of a table that the file knows nothing of.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Section;
use crate::durable;
use crate::provider::ProviderError;

/// Twenty thousand rows with their names.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Of this file.
const FORMAT: u32 = 1;

/// Texts by name.
pub(super) type Rows = BTreeMap<Box<str>, Box<str>>;

/// The baseline and its file.
#[derive(Debug)]
pub(super) struct Baseline {
    path: PathBuf,
    release: String,
    /// By the name of the section. What is missing is taken by the next scan.
    rows: BTreeMap<&'static str, (Section, Rows)>,
}

/// As it is read.
#[derive(Deserialize)]
struct Read {
    format: u32,
    release: String,
    #[serde(flatten)]
    sections: BTreeMap<String, ReadRows>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ReadRows {
    Texts(Rows),
    Names(Vec<Box<str>>),
}

/// As it is written.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    release: &'a str,
    #[serde(flatten)]
    sections: BTreeMap<&'a str, WrittenRows<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WrittenRows<'a> {
    Texts(&'a Rows),
    Names(Vec<&'a str>),
}

impl Baseline {
    /// Reads these sections of the file in this folder.
    pub(super) fn open(
        folder: &Path,
        release: String,
        sections: &[Section],
    ) -> Result<Self, ProviderError> {
        let path = folder.join("baseline.json");
        let damaged = || ProviderError::Damaged { path: path.clone() };
        let bytes = match durable::read_bounded(&path, MAX_FILE_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(damaged()),
            other => other.map_err(|error| ProviderError::io("read", &path, error))?,
        };
        let mut rows = BTreeMap::new();
        if let Some(bytes) = bytes {
            let mut found: Read = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
            if found.format != FORMAT {
                return Err(damaged());
            }
            for section in sections.iter().filter(|_| found.release == release) {
                let Some(read) = found.sections.remove(section.name()) else { continue };
                let read = read.of(*section).ok_or_else(damaged)?;
                rows.insert(section.name(), (*section, read));
            }
        }
        Ok(Self { path, release, rows })
    }

    /// The rows of a section; `None`: the next scan takes them.
    pub(super) fn rows(&self, section: Section) -> Option<&Rows> {
        self.rows.get(section.name()).map(|(_, rows)| rows)
    }

    /// Makes these the rows of their sections. On disk when it returns.
    pub(super) fn set(&mut self, taken: Vec<(Section, Rows)>) -> Result<(), ProviderError> {
        let mut rows = self.rows.clone();
        rows.extend(taken.into_iter().map(|(section, rows)| (section.name(), (section, rows))));
        let sections =
            rows.values().map(|(section, rows)| (section.name(), written(*section, rows)));
        let file = Written { format: FORMAT, release: &self.release, sections: sections.collect() };
        serde_json::to_vec(&file)
            .map_err(io::Error::from)
            .and_then(|bytes| durable::replace(&self.path, &bytes, durable::PRIVATE))
            .map_err(|error| ProviderError::io("write", &self.path, error))?;
        self.rows = rows;
        Ok(())
    }
}

fn written(section: Section, rows: &Rows) -> WrittenRows<'_> {
    match section {
        Section::Texts(_) => WrittenRows::Texts(rows),
        Section::Names(_) => WrittenRows::Names(rows.keys().map(|name| &**name).collect()),
    }
}

impl ReadRows {
    /// As the rows of this section; `None`: they are written otherwise.
    fn of(self, section: Section) -> Option<Rows> {
        match (section, self) {
            (Section::Texts(_), Self::Texts(rows)) => Some(rows),
            (Section::Names(_), Self::Names(names)) => {
                Some(names.into_iter().map(|name| (name, Box::default())).collect())
            }
            _ => None,
        }
    }
}

//! The TOML specification of contracts §7, read with lines and accepted values.
//!
//! A specification says for each vCluster what is declared, what is taken out, its
//! policy, its blacklist and how conflicts were decided. Everything is checked here,
//! before anybody is asked for anything: no part of a specification is ever accepted
//! and ignored, no key is read in two ways, and every error says file, line, key and
//! what is accepted.
//!
//! - `reader`: tables with known keys, lines, nearest names.
//! - `policy`: `[vcluster.<name>.policy]`.
//! - `sections`, `files`, `services`: what becomes [`Declared`].
//! - [`render_overlay`]: the other way, for `promote`.
//!
//! Absences: nothing here opens a file or asks the journal.

mod files;
mod policy;
mod reader;
mod render;
mod sections;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::reader::{Reader, Span};
use crate::ErrorCode;
use crate::id::VclusterId;
use crate::resource::{
    Change, KeyPatterns, Kind, MAX_CONTENT_BYTES, ResourceKey, Value, change_set,
};
use crate::v1::{self, VclusterPolicy};

pub use self::policy::POLICY_KEYS;
pub use self::render::{Contents, render_overlay};

/// Largest specification, in bytes: it travels in one message of the bus on its way. With it, what is declared stays far under
/// the 10 MB that an overlay may have.
pub const MAX_SPEC_BYTES: usize = 1024 * 1024;

/// Most keys that one specification declares and removes.
pub const MAX_KEYS: usize = change_set::MAX_CHANGES;

/// Sections of a vCluster.
const SECTIONS: [&str; 11] = [
    "remove",
    "sysctl",
    "modules",
    "mounts",
    "files",
    "network",
    "packages",
    "services",
    "policy",
    "blacklist",
    "conflicts",
];

/// A specification, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spec {
    /// What is said of each vCluster; never empty, and none says nothing.
    pub vclusters: BTreeMap<VclusterId, VclusterSpec>,
}

/// What a specification says of one vCluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VclusterSpec {
    /// What is to be.
    pub declared: BTreeMap<ResourceKey, Declared>,
    /// Keys that are no longer declared, in key order; none of them is in `declared`.
    pub remove: Vec<ResourceKey>,
    /// Kinds whose section is there, even if it is empty: what `--replace` is about.
    pub sections: BTreeSet<Kind>,
    /// The policy table.
    pub policy: Option<VclusterPolicy>,
    /// The blacklist's patterns; an empty list clears it.
    pub blacklist: Option<Vec<String>>,
    /// Decisions about keys that nodes have values of their own for.
    pub conflicts: BTreeMap<ResourceKey, ConflictChoice>,
}

/// One declared key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What it is to be.
    pub value: Value,
    /// Contents of a regular file, to be stored as a blob before the value is declared.
    pub content: Option<Vec<u8>>,
}

/// What happens where a node has a value of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConflictChoice {
    /// The overlay's value goes to all nodes.
    Overwrite,
    /// Nodes that have a value of their own keep it.
    KeepLocal,
}

impl ConflictChoice {
    /// As in a specification.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overwrite => "overwrite",
            Self::KeepLocal => "keep-local",
        }
    }
}

impl fmt::Display for ConflictChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<ConflictChoice> for v1::ConflictChoice {
    fn from(choice: ConflictChoice) -> Self {
        match choice {
            ConflictChoice::Overwrite => Self::Overwrite,
            ConflictChoice::KeepLocal => Self::KeepLocal,
        }
    }
}

impl VclusterSpec {
    /// What the overlay is told, in key order: `new` is declared, without `new` the key is taken out.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let declared = self.declared.iter().map(|(key, declared)| (key, Some(&declared.value)));
        let removed = self.remove.iter().map(|key| (key, None));
        let mut changes: Vec<Change> = declared
            .chain(removed)
            .map(|(key, new)| Change { key: key.clone(), old: None, new: new.cloned() })
            .collect();
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        changes
    }

    /// Whether it says anything about resources, beside policy, blacklist and decisions.
    #[must_use]
    pub fn has_resources(&self) -> bool {
        !self.declared.is_empty() || !self.remove.is_empty() || !self.sections.is_empty()
    }
}

impl Spec {
    /// Reads a specification.
    ///
    /// # Errors
    /// `PACT_INVALID_SPEC` naming file, line, key and what is accepted; `PACT_TOO_LARGE` for more than [`MAX_SPEC_BYTES`] or
    /// [`MAX_KEYS`].
    pub fn parse(file: &str, text: &str) -> Result<Self, v1::Error> {
        let reader = Reader::new(file, text)?;
        let root = reader.parse()?;
        let mut spec = Self::default();
        for (key, value) in root.get_ref() {
            if key.get_ref() != "vcluster" {
                return Err(reader.unknown(key, "table", &["vcluster"], "[vcluster.<name>.…]"));
            }
            for (name, sections) in reader.table("vcluster", value)? {
                let id = VclusterId::new(name.get_ref())
                    .map_err(|e| reader.at(name.span(), e.to_string()))?;
                let read = Vcluster::read(&reader, &id, sections)?;
                if read != VclusterSpec::default() {
                    spec.vclusters.insert(id, read);
                }
            }
        }
        if spec.vclusters.is_empty() {
            return Err(ErrorCode::InvalidSpec.error(format!(
                "{file} declares nothing; expected [vcluster.<name>.<section>] with one of {}",
                SECTIONS.join(", ")
            )));
        }
        spec.check_count(file)?;
        Ok(spec)
    }

    fn check_count(&self, file: &str) -> Result<(), v1::Error> {
        let count: usize = self.vclusters.values().map(|v| v.declared.len() + v.remove.len()).sum();
        if count > MAX_KEYS {
            return Err(ErrorCode::TooLarge
                .error(format!("{file} has {count} keys; at most {MAX_KEYS} are accepted"))
                .next("split it, and apply the parts one after the other"));
        }
        Ok(())
    }

    /// Reads what `group set-policy --file` takes for this vCluster: bare policy keys, or one `[vcluster.<name>.policy]` table
    /// that names it and nothing else.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub fn parse_policy(
        file: &str,
        text: &str,
        vcluster: &VclusterId,
    ) -> Result<VclusterPolicy, v1::Error> {
        let reader = Reader::new(file, text)?;
        let root = reader.parse()?;
        let Some((key, _)) = root.get_ref().iter().find(|(key, _)| key.get_ref() == "vcluster")
        else {
            return policy::read(&reader, root.get_ref());
        };
        let refuse = |what: &str| {
            let message = format!(
                "{what}; accepted: bare policy keys, or the table [vcluster.{vcluster}.policy] alone"
            );
            Err(reader.at(key.span(), message))
        };
        if root.get_ref().len() > 1 {
            return refuse("policy keys stand beside [vcluster.…]");
        }
        let mut spec = Self::parse(file, text)?;
        let Some(named) = spec.vclusters.remove(vcluster) else {
            return refuse(&format!("vCluster {vcluster} is not the one that is named"));
        };
        let rest = VclusterSpec { policy: None, ..named.clone() };
        match named.policy {
            Some(policy) if spec.vclusters.is_empty() && rest == VclusterSpec::default() => {
                Ok(policy)
            }
            _ => refuse("there is more, or something else, than one policy table"),
        }
    }
}

/// What is being read of one vCluster.
struct Vcluster<'r> {
    reader: &'r Reader<'r>,
    spec: VclusterSpec,
    /// Where each key was declared or removed.
    places: BTreeMap<ResourceKey, Span>,
}

impl<'r> Vcluster<'r> {
    fn read(
        reader: &'r Reader<'r>,
        id: &VclusterId,
        value: &'r Spanned<DeValue<'r>>,
    ) -> Result<VclusterSpec, v1::Error> {
        let path = format!("vcluster.{id}");
        let mut vcluster = Self { reader, spec: VclusterSpec::default(), places: BTreeMap::new() };
        let sections = reader.table(&path, value)?;
        for (section, value) in sections {
            let name: &str = section.get_ref();
            let path = format!("{path}.{name}");
            match name {
                "remove" => vcluster.read_remove(&path, value)?,
                "sysctl" => sections::sysctl(&mut vcluster, &path, value)?,
                "modules" => sections::modules(&mut vcluster, &path, value)?,
                "mounts" => sections::mounts(&mut vcluster, &path, value)?,
                "files" => files::read(&mut vcluster, &path, value)?,
                "network" => sections::network(&mut vcluster, &path, value)?,
                "packages" => sections::packages(&mut vcluster, &path, value)?,
                "services" => services::read(&mut vcluster, &path, value)?,
                "policy" => {
                    let table = reader.table(&path, value)?;
                    vcluster.spec.policy = Some(policy::read(reader, table)?);
                }
                "blacklist" => vcluster.read_blacklist(&path, value)?,
                // After the others: decisions are about declared keys.
                "conflicts" => {}
                _ => {
                    let what = format!("section of vCluster {id}");
                    return Err(reader.unknown(section, &what, &SECTIONS, &SECTIONS.join(", ")));
                }
            }
        }
        vcluster.read_conflicts(&format!("{path}.conflicts"), sections)?;
        vcluster.spec.remove.sort();
        Ok(vcluster.spec)
    }

    /// The table of one section, whose kind is thereby named.
    fn section(
        &mut self,
        kind: Kind,
        path: &str,
        value: &'r Spanned<DeValue<'r>>,
    ) -> Result<&'r DeTable<'r>, v1::Error> {
        self.spec.sections.insert(kind);
        self.reader.table(path, value)
    }

    fn key(
        &self,
        kind: Kind,
        path: &str,
        name: &str,
        span: Span,
    ) -> Result<ResourceKey, v1::Error> {
        let key = ResourceKey::new(kind, name)
            .map_err(|e| self.reader.at(span.clone(), format!("{path}: {e}")))?;
        if matches!(kind, Kind::File | Kind::Mount) && key.name() == "/" {
            return Err(self
                .reader
                .at(span, format!("{path}: the root itself cannot be declared")));
        }
        Ok(key)
    }

    fn declare(
        &mut self,
        key: ResourceKey,
        span: Span,
        declared: Declared,
    ) -> Result<(), v1::Error> {
        self.claim(&key, span)?;
        self.spec.declared.insert(key, declared);
        Ok(())
    }

    /// Each key is said something about once: declared or removed.
    fn claim(&mut self, key: &ResourceKey, span: Span) -> Result<(), v1::Error> {
        if let Some(first) = self.places.get(key) {
            let line = self.reader.line(first);
            let message = format!("{key} is declared or removed twice, first on line {line}");
            return Err(self.reader.at(span, format!("{message}; accepted: once")));
        }
        self.places.insert(key.clone(), span);
        Ok(())
    }

    fn read_remove(
        &mut self,
        path: &str,
        value: &'r Spanned<DeValue<'r>>,
    ) -> Result<(), v1::Error> {
        let accepted = "a list of keys such as \"sysctl/vm.swappiness\" or \"file//etc/motd\"";
        for (text, span) in self.reader.texts(path, value, accepted, MAX_KEYS)? {
            let key: ResourceKey = text.parse().map_err(|e| {
                self.reader.at(span.clone(), format!("{path}: {e}; accepted: {accepted}"))
            })?;
            self.claim(&key, span)?;
            self.spec.remove.push(key);
        }
        Ok(())
    }

    fn read_blacklist(
        &mut self,
        path: &str,
        value: &'r Spanned<DeValue<'r>>,
    ) -> Result<(), v1::Error> {
        let fields = self.reader.fields(path, value, &["patterns"])?;
        let accepted =
            "a list of at most 256 patterns such as \"/opt/scratch/**\" or \"sysctl/vm.*\"";
        let patterns = fields.required("patterns", accepted)?;
        let path = format!("{path}.patterns");
        let texts = self.reader.texts(&path, patterns, accepted, crate::resource::MAX_PATTERNS)?;
        for (text, span) in &texts {
            KeyPatterns::parse_blacklist(&[text]).map_err(|e| {
                self.reader.at(span.clone(), format!("{path}: {e}; accepted: {accepted}"))
            })?;
        }
        self.spec.blacklist = Some(texts.into_iter().map(|(text, _)| text).collect());
        Ok(())
    }

    fn read_conflicts(&mut self, path: &str, sections: &'r DeTable<'r>) -> Result<(), v1::Error> {
        let found = sections.iter().find(|(name, _)| name.get_ref() == "conflicts");
        let Some((_, value)) = found else {
            return Ok(());
        };
        for (name, choice) in self.reader.table(path, value)? {
            let path = format!("{path}.{:?}", name.get_ref());
            let key: ResourceKey = name
                .get_ref()
                .parse()
                .map_err(|e| self.reader.at(name.span(), format!("{path}: {e}")))?;
            if !self.spec.declared.contains_key(&key) {
                let message =
                    format!("{path}: accepted: keys that this vCluster's sections declare");
                return Err(self.reader.at(name.span(), message));
            }
            let choice = match choice.get_ref().as_str() {
                Some("overwrite") => ConflictChoice::Overwrite,
                Some("keep-local") => ConflictChoice::KeepLocal,
                _ => {
                    let message = format!("{path}: accepted: \"overwrite\" or \"keep-local\"");
                    return Err(self.reader.at(choice.span(), message));
                }
            };
            self.spec.conflicts.insert(key, choice);
        }
        Ok(())
    }
}

/// What a file may hold, as errors say it.
fn content_limit() -> String {
    format!("at most {MAX_CONTENT_BYTES} bytes of contents")
}

#[cfg(test)]
mod tests;

//! An overlay as TOML, for `promote`: what [`Spec::parse`](super::Spec::parse) reads back as the same declarations.
//!
//! What a specification cannot say, or what is one node's own (addresses, host
//! names), becomes a comment that names the key and the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::ConflictChoice;
use super::{sections, services};
use crate::id::VclusterId;
use crate::resource::{FileKind, FileValue, KeyPattern, Kind, ResourceKey, State, Value, unescape};

/// What is one node's own, whatever its value: never part of a vCluster's overlay.
const OF_ONE_NODE: [&str; 6] = [
    "sysctl/kernel.hostname",
    "sysctl/kernel.domainname",
    "/etc/hostname",
    "/etc/HOSTNAME",
    "/etc/machine-id",
    "/etc/ssh/ssh_host_*",
];

/// Finds the contents of a file by their SHA-256.
pub type Contents<'a> = &'a dyn Fn(&[u8; 32]) -> Option<Vec<u8>>;

/// The specification that declares `state` as the overlay of `vcluster`, with the decisions about conflicts.
///
/// What cannot be written becomes a comment; so does a file whose contents `contents` does not find.
#[must_use]
pub fn render_overlay(
    vcluster: &VclusterId,
    state: &State,
    contents: Contents<'_>,
    conflicts: &BTreeMap<ResourceKey, ConflictChoice>,
) -> String {
    let mut page = Page { vcluster, contents, out: String::new(), omitted: Vec::new() };
    let own: Vec<KeyPattern> =
        OF_ONE_NODE.iter().filter_map(|pattern| KeyPattern::new(pattern).ok()).collect();
    let mut written = BTreeSet::new();
    for kind in Kind::ALL {
        let mut entries = Vec::new();
        for (key, value) in state.iter().filter(|(key, _)| key.kind() == kind) {
            if own.iter().any(|pattern| pattern.matches(key)) {
                page.omit(key, "belongs to one node");
                continue;
            }
            match page.entry(key, value) {
                Ok(entry) => {
                    written.insert(key);
                    entries.push((key, value, entry));
                }
                Err(reason) => page.omit(key, reason),
            }
        }
        page.section(kind, &entries);
        page.out.extend(page.omitted.drain(..));
    }
    page.conflicts(&written, conflicts);
    page.out
}

/// A key with its value and what is written for it.
type Entry<'s> = (&'s ResourceKey, &'s Value, String);

struct Page<'a> {
    vcluster: &'a VclusterId,
    contents: Contents<'a>,
    out: String,
    omitted: Vec<String>,
}

impl Page<'_> {
    fn omit(&mut self, key: &ResourceKey, reason: &str) {
        self.omitted.push(format!("# not written: {key}: {reason}\n"));
    }

    fn header(&mut self, section: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        let vcluster = self.vcluster;
        self.line(format_args!("[vcluster.{vcluster}.{section}]\n"));
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.out.write_fmt(text);
    }

    fn section(&mut self, kind: Kind, entries: &[Entry<'_>]) {
        if entries.is_empty() {
            return;
        }
        match kind {
            Kind::Sysctl => self.pairs("sysctl", entries),
            Kind::Module => self.modules(entries),
            Kind::Mount => self.pairs("mounts", entries),
            Kind::Net => self.pairs("network", entries),
            Kind::Package => self.pairs("packages", entries),
            Kind::File => self.tables("files", entries),
            Kind::Service => self.tables("services", entries),
            Kind::Gpu => {}
        }
    }

    /// One line for each key.
    fn pairs(&mut self, section: &str, entries: &[Entry<'_>]) {
        self.header(section);
        for (key, _, entry) in entries {
            let name = quoted(&plain_name(key));
            self.line(format_args!("{name} = {entry}\n"));
        }
    }

    /// One table for each key.
    fn tables(&mut self, section: &str, entries: &[Entry<'_>]) {
        for (key, _, entry) in entries {
            self.header(&format!("{section}.{}", quoted(&plain_name(key))));
            self.out.push_str(entry);
        }
    }

    fn modules(&mut self, entries: &[Entry<'_>]) {
        self.header("modules");
        for (list, is_absent) in [("load", false), ("unload", true)] {
            let names: Vec<&str> = entries
                .iter()
                .filter(|(_, value, _)| value.is_absent() == is_absent)
                .map(|(.., entry)| entry.as_str())
                .collect();
            if !names.is_empty() {
                self.line(format_args!("{list} = [{}]\n", names.join(", ")));
            }
        }
    }

    fn conflicts(
        &mut self,
        written: &BTreeSet<&ResourceKey>,
        conflicts: &BTreeMap<ResourceKey, ConflictChoice>,
    ) {
        let (said, unsaid): (Vec<_>, Vec<_>) =
            conflicts.iter().partition(|(key, _)| written.contains(key));
        if !said.is_empty() {
            self.header("conflicts");
        }
        for (key, choice) in said {
            self.line(format_args!("{} = \"{choice}\"\n", quoted(key.as_str())));
        }
        for (key, choice) in unsaid {
            self.line(format_args!("# not written: {key}: {choice}, but the key is not above\n"));
        }
    }

    /// What is written for one key, or why nothing is.
    fn entry(&self, key: &ResourceKey, value: &Value) -> Result<String, &'static str> {
        if std::str::from_utf8(&key.plain_name()).is_err() {
            return Err("its name is not UTF-8");
        }
        match (key.kind(), value) {
            (_, Value::Withheld(_)) => Err("its contents are withheld"),
            (Kind::Sysctl, Value::Text(text))
                if !text.chars().any(char::is_control) && sections::is_read(key.name(), text) =>
            {
                Ok(quoted(text))
            }
            (Kind::Package, Value::Text(text)) => Ok(quoted(text)),
            (Kind::Module, Value::Boolean(true) | Value::Absent) => Ok(quoted(key.name())),
            (Kind::Mount | Kind::Net, Value::Absent) => Ok("{ absent = true }".to_owned()),
            (Kind::File, Value::Absent) => Ok("absent = true\n".to_owned()),
            (Kind::Mount, Value::Attributes(attributes)) => inline(attributes, &MOUNT, &MOUNT[..2]),
            (Kind::Net, Value::Attributes(attributes)) => self.interface(attributes),
            (Kind::File, Value::File(file)) => self.file(file),
            (Kind::Service, Value::Attributes(attributes)) => service(attributes),
            (Kind::Gpu, _) => Err("a specification has no section for GPUs"),
            _ => Err("a specification cannot say this value"),
        }
    }

    fn interface(&self, attributes: &BTreeMap<String, Value>) -> Result<String, &'static str> {
        inline(attributes, &["mtu", "up"], &[])
            .map_err(|_| "addresses and other attributes belong to one node")
    }

    fn file(&self, file: &FileValue) -> Result<String, &'static str> {
        let mut out = match file.kind {
            FileKind::Regular => {
                let known = file.sha256.filter(|_| file.content_kept);
                let bytes = known.and_then(|sha256| (self.contents)(&sha256));
                contents(&bytes.ok_or("only the digest of its contents is known")?)
            }
            FileKind::Directory => "directory = true\n".to_owned(),
            FileKind::Symlink => {
                let target = file.link_target.as_deref().and_then(unescape);
                let target = target.and_then(|target| String::from_utf8(target).ok());
                let target = target.ok_or("the target of the link is not UTF-8")?;
                format!("link_target = {}\n", quoted(&target))
            }
            FileKind::Special => return Err("devices, sockets and pipes cannot be declared"),
        };
        if file.kind != FileKind::Symlink {
            let _ = writeln!(out, "mode = \"{:04o}\"", file.mode);
        }
        let (owner, group) = (quoted(&file.owner), quoted(&file.group));
        let _ = write!(out, "owner = {owner}\ngroup = {group}\n");
        Ok(out)
    }
}

/// Attributes of a mount; the first two are always there.
const MOUNT: [&str; 4] = ["type", "source", "options", "read_only"];

/// The plain name of a key that was found to be UTF-8.
fn plain_name(key: &ResourceKey) -> String {
    String::from_utf8_lossy(&key.plain_name()).into_owned()
}

/// `{ a = 1, … }` of attributes that are all known.
fn inline(
    attributes: &BTreeMap<String, Value>,
    known: &[&str],
    needed: &[&str],
) -> Result<String, &'static str> {
    if attributes.keys().any(|name| !known.contains(&name.as_str())) {
        return Err("it has attributes that a specification cannot say");
    }
    if attributes.is_empty() || needed.iter().any(|name| !attributes.contains_key(*name)) {
        return Err("it lacks attributes that a specification has to say");
    }
    let pairs: Option<Vec<String>> = known
        .iter()
        .filter_map(|name| Some((name, attributes.get(*name)?)))
        .map(|(name, value)| Some(format!("{name} = {}", scalar(value)?)))
        .collect();
    let pairs = pairs.ok_or("it has attributes that a specification cannot say")?;
    Ok(format!("{{ {} }}", pairs.join(", ")))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(quoted(text)),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn service(attributes: &BTreeMap<String, Value>) -> Result<String, &'static str> {
    const CANNOT: &str = "it has attributes that a specification cannot say";
    let check_name = |name: &str| format!("health_check_{name}");
    let known = services::KEYS.into_iter().map(str::to_owned);
    let known: Vec<String> =
        known.chain(services::HEALTH_CHECK_KEYS.into_iter().map(check_name)).collect();
    if attributes.keys().any(|name| !known.contains(name)) {
        return Err(CANNOT);
    }
    let mut out = String::new();
    for name in services::KEYS {
        let Some(value) = attributes.get(name) else {
            continue;
        };
        let text = if matches!(name, "args" | "depends_on") {
            let items = value.as_list().ok_or(CANNOT)?;
            let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
            format!("[{}]", items.join(", "))
        } else {
            scalar(value).ok_or(CANNOT)?
        };
        let _ = writeln!(out, "{name} = {text}");
    }
    let mut check = Vec::new();
    for name in services::HEALTH_CHECK_KEYS {
        if let Some(value) = attributes.get(&check_name(name)) {
            check.push(format!("{name} = {}", scalar(value).ok_or(CANNOT)?));
        }
    }
    if !check.is_empty() {
        let _ = writeln!(out, "health_check = {{ {} }}", check.join(", "));
    }
    Ok(out)
}

/// Contents as text where they are, in lines where there are several; else as base64.
fn contents(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.contains('\n') => {
            format!("content = \"\"\"\n{}\"\"\"\n", escaped(text, true))
        }
        Ok(text) => format!("content = {}\n", quoted(text)),
        Err(_) => format!("content_base64 = \"{}\"\n", data_encoding::BASE64.encode(bytes)),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text, false))
}

/// Quotes, backslashes and control characters escaped; line feeds and tabs stay where there may be several lines.
fn escaped(text: &str, is_multi_line: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' | '\t' if is_multi_line => out.push(c),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

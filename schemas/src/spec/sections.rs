//! `sysctl`, `modules`, `mounts`, `network` and `packages` of a vCluster.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::reader::{Fields, Span, integer};
use super::{Declared, MAX_KEYS, Vcluster};
use crate::resource::{Kind, Value};
use crate::v1;

/// Longest value of a kernel parameter: one page.
const MAX_SYSCTL_BYTES: usize = 4096;

/// Longest version of a package.
const MAX_VERSION_BYTES: usize = 256;

/// Longest source or option list of a mount: one page, as mount(2) takes.
const MAX_MOUNT_TEXT_BYTES: usize = 4096;

/// MTU of an interface: the least of IPv4, the most of a loopback.
const MTU: (i64, i64) = (68, 65_536);

/// What stands under the name of a section or a key.
type Found<'r> = &'r Spanned<DeValue<'r>>;

/// A value without contents.
pub(super) fn plain(value: Value) -> Declared {
    Declared { value, content: None }
}

/// A text that has no control characters and at least one byte.
pub(super) fn is_line(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Reads `sysctl`.
pub(super) fn sysctl<'r>(
    vcluster: &mut Vcluster<'r>,
    path: &str,
    value: Found<'r>,
) -> Result<(), v1::Error> {
    for (name, value) in vcluster.section(Kind::Sysctl, path, value)? {
        let path = format!("{path}.{:?}", name.get_ref());
        let refuse = |accepted: &str| {
            vcluster.reader.at(value.span(), format!("{path}: accepted: {accepted}"))
        };
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            whole @ DeValue::Integer(_) => integer(whole)
                .ok_or_else(|| refuse("a whole number of 64 bits, or a text"))?
                .to_string(),
            DeValue::Table(_) => {
                return Err(refuse(
                    "a text; the whole name is one quoted key, as in \"vm.swappiness\" = \"10\"",
                ));
            }
            _ => return Err(refuse("a text or a whole number")),
        };
        let folded = Value::sysctl(&text);
        let fits =
            |text: &str| text.len() <= MAX_SYSCTL_BYTES && !text.chars().any(char::is_control);
        if !folded.as_text().is_some_and(fits) {
            return Err(refuse("a text of at most 4,096 bytes without control characters"));
        }
        let written = folded.as_text().unwrap_or_default();
        if let Some((word, read)) = misread(name.get_ref(), written) {
            return Err(refuse(&format!(
                "{read} instead of {word:?}, which the kernel reads as {read}"
            )));
        }
        let key = vcluster.key(Kind::Sysctl, &path, name.get_ref(), name.span())?;
        if !is_parameter(name.get_ref()) {
            let accepted = "accepted: a name as sysctl(8) shows it, such as \"vm.swappiness\": lower-case, and without '='";
            return Err(vcluster.reader.at(name.span(), format!("{path}: {accepted}")));
        }
        vcluster.declare(key, name.span(), plain(folded))?;
    }
    Ok(())
}

/// A number that the kernel reads as another than it looks, hexadecimal or octal, with that one in plain decimals: it would
/// never read as it was declared. Masks of processors are hexadecimal throughout.
fn misread<'t>(name: &str, text: &'t str) -> Option<(&'t str, String)> {
    if name.ends_with("mask") || name.ends_with("bitmap") {
        return None;
    }
    text.split(' ').find_map(|word| {
        let (sign, number) = word.strip_prefix('-').map_or(("", word), |number| ("-", number));
        let rest = number.strip_prefix('0').filter(|rest| !rest.is_empty());
        let read = match rest?.strip_prefix(['x', 'X']) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => u64::from_str_radix(rest?, 8),
        };
        Some((word, format!("{sign}{}", read.ok()?)))
    })
}

/// Whether a specification may say this of a parameter.
pub(super) fn is_read(name: &str, text: &str) -> bool {
    is_parameter(name) && misread(name, text).is_none()
}

/// Whether a kernel could have a parameter of this name. Names of interfaces and of binary formats are their owners'; all
/// others are lower-case.
fn is_parameter(name: &str) -> bool {
    let is_plain = |part: &str| {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-/".contains(&b);
        part.bytes().all(good)
    };
    let mut before = "";
    name.split('.').all(|part| {
        let is_owners = matches!(before, "conf" | "neigh" | "binfmt_misc");
        before = part;
        is_owners || is_plain(part)
    })
}

/// Reads `modules`.
pub(super) fn modules<'r>(
    vcluster: &mut Vcluster<'r>,
    path: &str,
    value: Found<'r>,
) -> Result<(), v1::Error> {
    vcluster.section(Kind::Module, path, value)?;
    let fields = vcluster.reader.fields(path, value, &["load", "unload"])?;
    for (list, wanted) in [("load", Value::Boolean(true)), ("unload", Value::Absent)] {
        let Some(value) = fields.get(list) else {
            continue;
        };
        let path = fields.path_of(list);
        for (name, span) in vcluster.reader.texts(
            &path,
            value,
            "a list of module names such as \"nfs\"",
            MAX_KEYS,
        )? {
            let key = vcluster.key(Kind::Module, &path, &name, span.clone())?;
            vcluster.declare(key, span, plain(wanted.clone()))?;
        }
    }
    Ok(())
}

/// Reads `mounts`.
pub(super) fn mounts<'r>(
    vcluster: &mut Vcluster<'r>,
    path: &str,
    value: Found<'r>,
) -> Result<(), v1::Error> {
    for (name, value) in vcluster.section(Kind::Mount, path, value)? {
        let path = format!("{path}.{:?}", name.get_ref());
        let known = ["type", "source", "options", "read_only", "absent"];
        let fields = vcluster.reader.fields(&path, value, &known)?;
        let wanted = if is_absent(&fields)? { Value::Absent } else { mount(&fields)? };
        let key = vcluster.key(Kind::Mount, &path, name.get_ref(), name.span())?;
        vcluster.declare(key, name.span(), plain(wanted))?;
    }
    Ok(())
}

fn mount(fields: &Fields<'_>) -> Result<Value, v1::Error> {
    let mut attributes = BTreeMap::new();
    let is_word = |text: &str| is_line(text, 64) && !text.contains(char::is_whitespace);
    let type_rule = "a type of file system such as \"nfs\" or \"tmpfs\"";
    let source_rule = "a source such as \"storage02:/datasets\" or, for \"tmpfs\", \"tmpfs\"";
    let kind = fields.text("type", type_rule, is_word)?;
    let source = fields.text("source", source_rule, |t| is_line(t, MAX_MOUNT_TEXT_BYTES))?;
    let options_rule = "options as mount(8) takes them, with commas and without blanks; not ro and rw, \
                        which read_only says";
    let options = fields.text("options", options_rule, |text| {
        is_line(text, MAX_MOUNT_TEXT_BYTES)
            && !text.contains(char::is_whitespace)
            && !text.split(',').any(|option| matches!(option, "" | "ro" | "rw"))
    })?;
    let kind = kind.ok_or_else(|| fields.missing("type", type_rule))?;
    let source = source.ok_or_else(|| fields.missing("source", source_rule))?;
    attributes.insert("type".to_owned(), Value::Text(kind));
    attributes.insert("source".to_owned(), Value::Text(source));
    if let Some(options) = options {
        attributes.insert("options".to_owned(), Value::Text(options));
    }
    let read_only = fields.truth("read_only")?.unwrap_or(false);
    attributes.insert("read_only".to_owned(), Value::Boolean(read_only));
    Ok(Value::Attributes(attributes))
}

/// `absent = true`, and nothing beside it.
pub(super) fn is_absent(fields: &Fields<'_>) -> Result<bool, v1::Error> {
    let is_absent = fields.flag("absent")?;
    if is_absent && fields.names().count() > 1 {
        return Err(fields.refuse("absent", "absent = true alone, without other keys"));
    }
    Ok(is_absent)
}

/// Reads `network`.
pub(super) fn network<'r>(
    vcluster: &mut Vcluster<'r>,
    path: &str,
    value: Found<'r>,
) -> Result<(), v1::Error> {
    for (name, value) in vcluster.section(Kind::Net, path, value)? {
        let path = format!("{path}.{:?}", name.get_ref());
        let known = ["mtu", "up", "absent", "addresses"];
        let fields = vcluster.reader.fields(&path, value, &known)?;
        if fields.get("addresses").is_some() {
            return Err(fields.refuse(
                "addresses",
                "mtu, up, absent; an address here would be the same address on every node of the vCluster",
            ));
        }
        let wanted = if is_absent(&fields)? { Value::Absent } else { interface(&fields)? };
        let key = vcluster.key(Kind::Net, &path, name.get_ref(), name.span())?;
        vcluster.declare(key, name.span(), plain(wanted))?;
    }
    Ok(())
}

fn interface(fields: &Fields<'_>) -> Result<Value, v1::Error> {
    let mut attributes = BTreeMap::new();
    if let Some(mtu) = fields.whole("mtu", MTU.0, MTU.1)? {
        attributes.insert("mtu".to_owned(), Value::Integer(mtu));
    }
    if let Some(up) = fields.truth("up")? {
        attributes.insert("up".to_owned(), Value::Boolean(up));
    }
    if attributes.is_empty() {
        return Err(fields.refuse_whole("says nothing; accepted: mtu, up, or absent = true"));
    }
    Ok(Value::Attributes(attributes))
}

/// Reads `packages`.
pub(super) fn packages<'r>(
    vcluster: &mut Vcluster<'r>,
    path: &str,
    value: Found<'r>,
) -> Result<(), v1::Error> {
    for (name, value) in vcluster.section(Kind::Package, path, value)? {
        let path = format!("{path}.{:?}", name.get_ref());
        let version = value.get_ref().as_str().filter(|text| is_line(text, MAX_VERSION_BYTES));
        let Some(version) = version else {
            let message = format!("{path}: accepted: a version as text, such as \"12.4\"");
            return Err(vcluster.reader.at(value.span(), message));
        };
        let wanted = Value::Text(version.to_owned());
        let key = vcluster.key(Kind::Package, &path, name.get_ref(), name.span())?;
        let span: Span = name.span();
        vcluster.declare(key, span, plain(wanted))?;
    }
    Ok(())
}

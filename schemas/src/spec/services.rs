//! `services.<name>` of a vCluster.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::Vcluster;
use super::reader::Fields;
use super::sections::{is_line, plain};
use crate::argv::Argv;
use crate::resource::{Kind, MAX_TEXT_BYTES, ResourceKey, Value};
use crate::v1;

/// Every key of a service, as in contracts §7.
pub(super) const KEYS: [&str; 8] = [
    "binary",
    "args",
    "restart",
    "restart_delay_seconds",
    "depends_on",
    "order",
    "cgroup_memory_max",
    "health_check",
];

/// Every key of its health check; attributes have `health_check_` before it.
pub(super) const HEALTH_CHECK_KEYS: [&str; 3] = ["type", "url", "interval_seconds"];

/// Most services that one may depend on.
const MAX_DEPENDENCIES: usize = 256;

/// A day: what is restarted later than that is not supervised.
const DAY_SECONDS: i64 = 86_400;

/// Longest URL.
const MAX_URL_BYTES: usize = 2048;

/// Longest path of a program.
const MAX_PATH_BYTES: usize = 4095;

type Attributes = BTreeMap<String, Value>;

/// Reads `services`.
pub(super) fn read<'r>(
    vcluster: &mut Vcluster<'r>,
    path: &str,
    value: &'r Spanned<DeValue<'r>>,
) -> Result<(), v1::Error> {
    for (name, value) in vcluster.section(Kind::Service, path, value)? {
        let path = format!("{path}.{:?}", name.get_ref());
        let fields = vcluster.reader.fields(&path, value, &KEYS)?;
        let key = vcluster.key(Kind::Service, &path, name.get_ref(), name.span())?;
        let mut attributes = service(&fields, &key)?;
        if let Some(check) = fields.get("health_check") {
            let path = fields.path_of("health_check");
            let fields = vcluster.reader.fields(&path, check, &HEALTH_CHECK_KEYS)?;
            health_check(&fields, &mut attributes)?;
        }
        vcluster.declare(key, name.span(), plain(Value::Attributes(attributes)))?;
    }
    Ok(())
}

fn service(fields: &Fields<'_>, key: &ResourceKey) -> Result<Attributes, v1::Error> {
    let mut attributes = Attributes::new();
    let binary_rule = "the absolute path of a program, such as \"/usr/sbin/chronyd\"";
    let is_path =
        |text: &str| is_line(text, MAX_PATH_BYTES) && ResourceKey::new(Kind::File, text).is_ok();
    let binary = fields.text("binary", binary_rule, is_path)?;
    let binary = binary.ok_or_else(|| fields.missing("binary", binary_rule))?;
    attributes.insert("binary".to_owned(), Value::Text(binary));
    let no_nul = |text: &str| !text.contains('\0');
    let args = fields.list("args", "texts without zero bytes", Argv::MAX_WORDS, no_nul)?;
    if let Some(args) = args {
        attributes.insert("args".to_owned(), bounded(fields, "args", &args)?);
    }
    let restart = ["always", "on-failure", "never"];
    put_text(&mut attributes, "restart", {
        let rule = "\"always\", \"on-failure\" or \"never\"";
        fields.text("restart", rule, |text| restart.contains(&text))?
    });
    put_whole(&mut attributes, "restart_delay_seconds", {
        fields.whole("restart_delay_seconds", 0, DAY_SECONDS)?
    });
    let is_other =
        |text: &str| ResourceKey::new(Kind::Service, text).is_ok_and(|other| other != *key);
    let others =
        fields.list("depends_on", "names of other services", MAX_DEPENDENCIES, is_other)?;
    if let Some(others) = others {
        attributes.insert("depends_on".to_owned(), bounded(fields, "depends_on", &others)?);
    }
    put_whole(&mut attributes, "order", fields.whole("order", 0, 1_000_000)?);
    let memory_rule = "a number of bytes as text, with K, M, G or T or without, such as \"64M\"";
    put_text(&mut attributes, "cgroup_memory_max", {
        fields.text("cgroup_memory_max", memory_rule, is_memory)?
    });
    Ok(attributes)
}

fn health_check(fields: &Fields<'_>, attributes: &mut Attributes) -> Result<(), v1::Error> {
    let type_rule = "\"http\"";
    let kind = fields.text("type", type_rule, |text| text == "http")?;
    let kind = kind.ok_or_else(|| fields.missing("type", type_rule))?;
    let url_rule = "a URL that begins with http:// or https://";
    let is_url = |text: &str| {
        let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        is_line(text, MAX_URL_BYTES)
            && !text.contains(char::is_whitespace)
            && host.is_some_and(|host| !host.is_empty())
    };
    let url = fields.text("url", url_rule, is_url)?;
    let url = url.ok_or_else(|| fields.missing("url", url_rule))?;
    put_text(attributes, "health_check_type", Some(kind));
    put_text(attributes, "health_check_url", Some(url));
    put_whole(attributes, "health_check_interval_seconds", {
        fields.whole("interval_seconds", 1, DAY_SECONDS)?
    });
    Ok(())
}

fn is_memory(text: &str) -> bool {
    let digits = text.strip_suffix(['K', 'M', 'G', 'T']).unwrap_or(text);
    (1..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && digits.bytes().any(|b| b != b'0')
}

/// A list as an attribute, which is at most as long as a value may be.
fn bounded(fields: &Fields<'_>, name: &str, items: &[String]) -> Result<Value, v1::Error> {
    let list = Value::list(items);
    if list.as_text().is_some_and(|text| text.len() > MAX_TEXT_BYTES) {
        return Err(fields.refuse(name, "a list of at most 64 KiB in all"));
    }
    Ok(list)
}

fn put_text(attributes: &mut Attributes, name: &str, text: Option<String>) {
    attributes.extend(text.map(|text| (name.to_owned(), Value::Text(text))));
}

fn put_whole(attributes: &mut Attributes, name: &str, number: Option<i64>) {
    attributes.extend(number.map(|number| (name.to_owned(), Value::Integer(number))));
}

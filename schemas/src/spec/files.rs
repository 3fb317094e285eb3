//! `files` of a vCluster.

use data_encoding::BASE64;
use ring::digest::{SHA256, digest};
use toml::Spanned;
use toml::de::DeValue;

use super::reader::Fields;
use super::sections::{is_absent, plain};
use super::{Declared, Vcluster, content_limit};
use crate::resource::{FileKind, FileValue, Kind, MAX_CONTENT_BYTES, Value, escape};
use crate::v1;

/// What a path's table may say.
const KEYS: [&str; 8] =
    ["content", "content_base64", "link_target", "directory", "absent", "mode", "owner", "group"];

/// What it has to say one of.
const SOURCES: [&str; 5] = ["content", "content_base64", "link_target", "directory", "absent"];

/// Longest target of a link: a path.
const MAX_TARGET_BYTES: usize = 4095;

/// Longest name of a user or group.
const MAX_OWNER_BYTES: usize = 256;

/// Reads `files`.
pub(super) fn read<'r>(
    vcluster: &mut Vcluster<'r>,
    path: &str,
    value: &'r Spanned<DeValue<'r>>,
) -> Result<(), v1::Error> {
    for (name, value) in vcluster.section(Kind::File, path, value)? {
        let path = format!("{path}.{:?}", name.get_ref());
        let fields = vcluster.reader.fields(&path, value, &KEYS)?;
        let declared = declared(&fields)?;
        let key = vcluster.key(Kind::File, &path, name.get_ref(), name.span())?;
        vcluster.declare(key, name.span(), declared)?;
    }
    Ok(())
}

fn declared(fields: &Fields<'_>) -> Result<Declared, v1::Error> {
    if is_absent(fields)? {
        return Ok(plain(Value::Absent));
    }
    let given: Vec<&str> =
        SOURCES.into_iter().filter(|source| fields.get(source).is_some()).collect();
    match given.as_slice() {
        ["content"] => {
            let text = fields.text("content", &content_limit(), fits)?.unwrap_or_default();
            regular(fields, text.into_bytes())
        }
        ["content_base64"] => {
            let rule = format!("standard base64 with padding, {}", content_limit());
            let text = fields.text("content_base64", &rule, |_| true)?.unwrap_or_default();
            let bytes = BASE64.decode(text.as_bytes()).ok().filter(|bytes| is_small(bytes.len()));
            regular(fields, bytes.ok_or_else(|| fields.refuse("content_base64", &rule))?)
        }
        ["link_target"] => link(fields),
        ["directory"] => {
            fields.flag("directory")?;
            Ok(plain(Value::File(file(fields, FileKind::Directory, 0o755)?)))
        }
        _ => Err(fields.refuse_whole(&format!("accepted: exactly one of {}", SOURCES.join(", ")))),
    }
}

fn fits(text: &str) -> bool {
    is_small(text.len())
}

fn is_small(bytes: usize) -> bool {
    u64::try_from(bytes).is_ok_and(|bytes| bytes <= MAX_CONTENT_BYTES)
}

fn regular(fields: &Fields<'_>, content: Vec<u8>) -> Result<Declared, v1::Error> {
    let sha256 = crate::convert::bytes(digest(&SHA256, &content).as_ref(), "SHA-256").ok();
    let size_bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
    let value = FileValue {
        sha256,
        size_bytes,
        content_kept: true,
        ..file(fields, FileKind::Regular, 0o644)?
    };
    Ok(Declared { value: Value::File(value), content: Some(content) })
}

/// The mode of a link is never looked at: Linux gives all of them 0777.
fn link(fields: &Fields<'_>) -> Result<Declared, v1::Error> {
    let rule = "the path that the link points to, at most 4,095 bytes without zero bytes";
    let good = |text: &str| (1..=MAX_TARGET_BYTES).contains(&text.len()) && !text.contains('\0');
    let target = fields.text("link_target", rule, good)?.unwrap_or_default();
    if fields.get("mode").is_some() {
        return Err(fields.refuse("mode", "no mode, since a link has none of its own"));
    }
    let value = FileValue {
        link_target: Some(escape(target.as_bytes())),
        ..file(fields, FileKind::Symlink, 0o777)?
    };
    Ok(plain(Value::File(value)))
}

/// A number that is written another way than nodes tell it, or that is nobody's.
fn is_odd_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let read = text.parse::<u32>().ok().filter(|number| *number != u32::MAX);
    is_number && read.is_none_or(|number| number.to_string() != text)
}

fn file(fields: &Fields<'_>, kind: FileKind, mode: u32) -> Result<FileValue, v1::Error> {
    let mode_rule = "three or four octal digits as text, such as \"0644\"";
    let is_octal = |text: &str| {
        (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b))
    };
    let given = fields.text("mode", mode_rule, is_octal)?;
    let name_rule =
        "a name or number without blanks, ':' and '/', and a number without sign and leading zeros";
    let is_name = |text: &str| {
        (1..=MAX_OWNER_BYTES).contains(&text.len())
            && !text.contains(|c: char| c.is_whitespace() || c.is_control() || ":/".contains(c))
            && !is_odd_number(text)
    };
    let root = || "root".to_owned();
    Ok(FileValue {
        kind,
        sha256: None,
        size_bytes: 0,
        mode: given.and_then(|text| u32::from_str_radix(&text, 8).ok()).unwrap_or(mode),
        owner: fields.text("owner", name_rule, is_name)?.unwrap_or_else(root),
        group: fields.text("group", name_rule, is_name)?.unwrap_or_else(root),
        link_target: None,
        content_kept: false,
    })
}

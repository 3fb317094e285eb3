//! What a resource is, or is to be.

use std::collections::BTreeMap;

use crate::convert::{self, WireError};
use crate::v1;

/// Largest file whose contents are kept: one blob of the journal.
pub const MAX_CONTENT_BYTES: u64 = 256 * 1024;

/// Longest text or binary value: sixteen times what a kernel parameter can hold.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Most attributes of one resource; the largest section of the specification has ten.
const MAX_ATTRIBUTES: usize = 64;

/// Longest name of an attribute.
const MAX_ATTRIBUTE_NAME_BYTES: usize = 64;

/// Longest name of a user or group.
const MAX_OWNER_BYTES: usize = 256;

/// Longest escaped target of a symbolic link: three bytes for each of a path.
const MAX_LINK_BYTES: usize = 3 * 4096;

/// What a resource is, or is to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A kernel parameter's value, a package's version.
    Text(String),
    /// A number.
    Integer(i64),
    /// A truth: a loaded module is `true`.
    Boolean(bool),
    /// Bytes that are no text.
    Binary(Vec<u8>),
    /// A file.
    File(FileValue),
    /// The resource does not exist, or is to be removed.
    Absent,
    /// Not readable by an unprivileged user of the node: a digest under a key that stays on the node.
    Withheld([u8; 32]),
    /// Mounts, services, interfaces: texts, integers and truths by name; lists are texts ([`Value::list`]).
    Attributes(BTreeMap<String, Value>),
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A file with contents.
    Regular,
    /// A folder, without what is in it.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Device, socket, pipe: reported, never made.
    Special,
}

/// A file, its contents by digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileValue {
    /// What it is.
    pub kind: FileKind,
    /// Of the contents; set exactly for regular files.
    pub sha256: Option<[u8; 32]>,
    /// Of the contents; 0 for everything but regular files.
    pub size_bytes: u64,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// Name of the owner, or the number where it has none.
    pub owner: String,
    /// Name of the group, or the number where it has none.
    pub group: String,
    /// Target of a symbolic link, escaped as keys are; set exactly for links.
    pub link_target: Option<String>,
    /// The contents are a blob in the journal: regular files of at most [`MAX_CONTENT_BYTES`].
    pub content_kept: bool,
}

impl Value {
    /// The value of a kernel parameter: blanks folded to single ones.
    #[must_use]
    pub fn sysctl(raw: &str) -> Self {
        Self::Text(raw.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// A list as the text of an attribute: a JSON array.
    #[must_use]
    pub fn list<T: AsRef<str>>(items: &[T]) -> Self {
        let items = items.iter().map(|item| item.as_ref().into()).collect();
        Self::Text(serde_json::Value::Array(items).to_string())
    }

    /// The items of a list; `None` for everything else.
    #[must_use]
    pub fn as_list(&self) -> Option<Vec<String>> {
        match self {
            Self::Text(text) => serde_json::from_str(text).ok(),
            _ => None,
        }
    }

    /// The text; `None` for everything else.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The file; `None` for everything else.
    #[must_use]
    pub fn as_file(&self) -> Option<&FileValue> {
        match self {
            Self::File(file) => Some(file),
            _ => None,
        }
    }

    /// The attributes; `None` for everything else.
    #[must_use]
    pub fn as_attributes(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Attributes(attributes) => Some(attributes),
            _ => None,
        }
    }

    /// Whether the resource does not exist, or is to be removed.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl TryFrom<v1::Value> for Value {
    type Error = WireError;

    fn try_from(wire: v1::Value) -> Result<Self, WireError> {
        use v1::value::Value as Wire;
        Ok(match convert::required(wire.value, "Value.value")? {
            Wire::Text(text) => Self::Text(bounded(text, "Value.text")?),
            Wire::Integer(number) => Self::Integer(number),
            Wire::Boolean(truth) => Self::Boolean(truth),
            Wire::Binary(bytes) if bytes.len() <= MAX_TEXT_BYTES => Self::Binary(bytes),
            Wire::Binary(_) => {
                return Err(WireError::Bounds {
                    field: "Value.binary",
                    rule: "has more than 64 KiB",
                });
            }
            Wire::File(file) => Self::File(file.try_into()?),
            Wire::Absent(_) => Self::Absent,
            Wire::Withheld(withheld) => {
                Self::Withheld(convert::bytes(&withheld.keyed_digest, "Withheld.keyed_digest")?)
            }
            Wire::Attributes(attributes) => Self::Attributes(read_attributes(attributes)?),
        })
    }
}

fn bounded(text: String, field: &'static str) -> Result<String, WireError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(WireError::Bounds { field, rule: "has more than 64 KiB" });
    }
    Ok(text)
}

/// Names in ascending order, each once: the only encoding of these attributes.
fn read_attributes(wire: v1::Attributes) -> Result<BTreeMap<String, Value>, WireError> {
    if wire.attributes.len() > MAX_ATTRIBUTES {
        return Err(WireError::Bounds { field: "Attributes.attributes", rule: "are more than 64" });
    }
    let mut attributes: BTreeMap<String, Value> = BTreeMap::new();
    for v1::Attribute { name, value } in wire.attributes {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=MAX_ATTRIBUTE_NAME_BYTES).contains(&name.len()) || !name.bytes().all(good) {
            let rule = "is not 1 to 64 of a-z, 0-9 and '_'";
            return Err(WireError::Bounds { field: "Attribute.name", rule });
        }
        if attributes.last_key_value().is_some_and(|(last, _)| *last >= name) {
            let rule = "is not after the name before it";
            return Err(WireError::Bounds { field: "Attribute.name", rule });
        }
        let value = Value::try_from(convert::required(value, "Attribute.value")?)?;
        if !matches!(value, Value::Text(_) | Value::Integer(_) | Value::Boolean(_)) {
            let rule = "is no text, integer or boolean";
            return Err(WireError::Bounds { field: "Attribute.value", rule });
        }
        attributes.insert(name, value);
    }
    Ok(attributes)
}

impl From<&Value> for v1::Value {
    fn from(value: &Value) -> Self {
        use v1::value::Value as Wire;
        let value = match value {
            Value::Text(text) => Wire::Text(text.clone()),
            Value::Integer(number) => Wire::Integer(*number),
            Value::Boolean(truth) => Wire::Boolean(*truth),
            Value::Binary(bytes) => Wire::Binary(bytes.clone()),
            Value::File(file) => Wire::File(file.into()),
            Value::Absent => Wire::Absent(v1::Absent {}),
            Value::Withheld(digest) => {
                Wire::Withheld(v1::Withheld { keyed_digest: digest.to_vec() })
            }
            Value::Attributes(attributes) => Wire::Attributes(v1::Attributes {
                attributes: attributes
                    .iter()
                    .map(|(name, value)| v1::Attribute {
                        name: name.clone(),
                        value: Some(value.into()),
                    })
                    .collect(),
            }),
        };
        Self { value: Some(value) }
    }
}

impl TryFrom<v1::FileValue> for FileValue {
    type Error = WireError;

    fn try_from(wire: v1::FileValue) -> Result<Self, WireError> {
        let bounds = |field, rule| Err(WireError::Bounds { field, rule });
        let kind = match convert::enumeration::<v1::FileKind>(wire.kind, "FileValue.kind")? {
            v1::FileKind::Unspecified => {
                return Err(WireError::Missing { field: "FileValue.kind" });
            }
            v1::FileKind::Regular => FileKind::Regular,
            v1::FileKind::Directory => FileKind::Directory,
            v1::FileKind::Symlink => FileKind::Symlink,
            v1::FileKind::Special => FileKind::Special,
        };
        let is_regular = kind == FileKind::Regular;
        let sha256 = match (is_regular, wire.sha256.is_empty()) {
            (true, _) => Some(convert::bytes(&wire.sha256, "FileValue.sha256")?),
            (false, true) => None,
            (false, false) => return bounds("FileValue.sha256", "is set for no regular file"),
        };
        if !is_regular && wire.size_bytes != 0 {
            return bounds("FileValue.size_bytes", "is set for no regular file");
        }
        if wire.mode > 0o7777 {
            return bounds("FileValue.mode", "is more than 7777 (octal)");
        }
        for (name, field) in [(&wire.owner, "FileValue.owner"), (&wire.group, "FileValue.group")] {
            let name = convert::text(name, field)?;
            if name.len() > MAX_OWNER_BYTES || name.chars().any(char::is_control) {
                return bounds(field, "is not 1 to 256 bytes without control characters");
            }
        }
        let is_link = kind == FileKind::Symlink;
        if wire.link_target.is_some() != is_link {
            return bounds("FileValue.link_target", "is set exactly for symbolic links");
        }
        if let Some(target) = &wire.link_target
            && (target.is_empty()
                || target.len() > MAX_LINK_BYTES
                || super::unescape(target).is_none_or(|plain| super::escape(&plain) != *target))
        {
            return bounds("FileValue.link_target", "is not an escaped path");
        }
        if wire.content_kept && (!is_regular || wire.size_bytes > MAX_CONTENT_BYTES) {
            return bounds("FileValue.content_kept", "is set for no regular file up to 256 KiB");
        }
        Ok(Self {
            kind,
            sha256,
            size_bytes: wire.size_bytes,
            mode: wire.mode,
            owner: wire.owner,
            group: wire.group,
            link_target: wire.link_target,
            content_kept: wire.content_kept,
        })
    }
}

impl From<&FileValue> for v1::FileValue {
    fn from(file: &FileValue) -> Self {
        let kind = match file.kind {
            FileKind::Regular => v1::FileKind::Regular,
            FileKind::Directory => v1::FileKind::Directory,
            FileKind::Symlink => v1::FileKind::Symlink,
            FileKind::Special => v1::FileKind::Special,
        };
        Self {
            sha256: file.sha256.map(|digest| digest.to_vec()).unwrap_or_default(),
            size_bytes: file.size_bytes,
            mode: file.mode,
            owner: file.owner.clone(),
            group: file.group.clone(),
            link_target: file.link_target.clone(),
            kind: kind.into(),
            content_kept: file.content_kept,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(kind: FileKind) -> FileValue {
        FileValue {
            kind,
            sha256: (kind == FileKind::Regular).then_some([7; 32]),
            size_bytes: if kind == FileKind::Regular { 12 } else { 0 },
            mode: 0o644,
            owner: "root".into(),
            group: "root".into(),
            link_target: (kind == FileKind::Symlink).then(|| "../a%0A".into()),
            content_kept: kind == FileKind::Regular,
        }
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            ".{0,20}".prop_map(Value::Text),
            any::<i64>().prop_map(Value::Integer),
            any::<bool>().prop_map(Value::Boolean),
        ]
    }

    pub(in crate::resource) fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            scalar(),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Binary),
            Just(Value::Absent),
            any::<[u8; 32]>().prop_map(Value::Withheld),
            proptest::sample::select(vec![
                FileKind::Regular,
                FileKind::Directory,
                FileKind::Symlink,
                FileKind::Special
            ])
            .prop_map(|kind| Value::File(file(kind))),
            proptest::collection::btree_map("[a-z][a-z0-9_]{0,8}", scalar(), 0..5)
                .prop_map(Value::Attributes),
        ]
    }

    proptest! {
        #[test]
        fn values_survive_the_wire(value in value()) {
            prop_assert_eq!(Value::try_from(v1::Value::from(&value)).unwrap(), value);
        }

        #[test]
        fn lists_survive_as_text(items in proptest::collection::vec(".{0,8}", 0..5)) {
            prop_assert_eq!(Value::list(&items).as_list().unwrap(), items);
        }
    }

    #[test]
    fn kernel_parameters_are_folded() {
        assert_eq!(
            Value::sysctl("4096\t131072  6291456\n"),
            Value::Text("4096 131072 6291456".into())
        );
        assert_eq!(Value::sysctl(" \n"), Value::Text(String::new()));
        assert_eq!(Value::list(&["-d", "a \"b\""]), Value::Text(r#"["-d","a \"b\""]"#.into()));
        assert_eq!(Value::Text("-d".into()).as_list(), None);
    }

    type Break = fn(&mut v1::FileValue);

    #[test]
    fn a_file_that_is_not_whole_is_refused() {
        let breaks: &[(FileKind, &str, Break)] = &[
            (FileKind::Regular, "kind missing", |f| f.kind = 0),
            (FileKind::Regular, "kind unknown", |f| f.kind = 9),
            (FileKind::Regular, "no digest", |f| f.sha256.clear()),
            (FileKind::Regular, "short digest", |f| f.sha256.truncate(31)),
            (FileKind::Directory, "digest of a folder", |f| f.sha256 = vec![1; 32]),
            (FileKind::Directory, "size of a folder", |f| f.size_bytes = 1),
            (FileKind::Regular, "mode", |f| f.mode = 0o100_644),
            (FileKind::Regular, "no owner", |f| f.owner.clear()),
            (FileKind::Regular, "odd group", |f| f.group = "a\nb".into()),
            (FileKind::Regular, "link target", |f| f.link_target = Some("x".into())),
            (FileKind::Symlink, "no link target", |f| f.link_target = None),
            (FileKind::Symlink, "plain link target", |f| f.link_target = Some("a\n".into())),
            (FileKind::Symlink, "kept link", |f| f.content_kept = true),
            (FileKind::Regular, "kept and large", |f| f.size_bytes = MAX_CONTENT_BYTES + 1),
        ];
        for (kind, what, break_it) in breaks {
            let mut wire = v1::FileValue::from(&file(*kind));
            assert!(FileValue::try_from(wire.clone()).is_ok());
            break_it(&mut wire);
            assert!(FileValue::try_from(wire).is_err(), "{what}");
        }
    }

    #[test]
    fn a_value_that_is_not_whole_is_refused() {
        use v1::value::Value as Wire;
        let attribute = |name: &str, value: Value| v1::Attribute {
            name: name.into(),
            value: Some((&value).into()),
        };
        let attributes = |attributes| Wire::Attributes(v1::Attributes { attributes });
        let truth = Value::Boolean(true);
        let nested = Value::Attributes(BTreeMap::new());
        for bad in [
            Wire::Text("a".repeat(MAX_TEXT_BYTES + 1)),
            Wire::Binary(vec![0; MAX_TEXT_BYTES + 1]),
            Wire::Withheld(v1::Withheld { keyed_digest: vec![0; 31] }),
            attributes(vec![attribute("", truth.clone())]),
            attributes(vec![attribute("A", truth.clone())]),
            attributes(vec![attribute("b", truth.clone()), attribute("a", truth.clone())]),
            attributes(vec![attribute("a", truth.clone()), attribute("a", truth.clone())]),
            attributes(vec![attribute("a", nested)]),
            attributes(vec![attribute("a", Value::Absent)]),
            attributes(vec![v1::Attribute { name: "a".into(), value: None }]),
            attributes((0..65).map(|i| attribute(&format!("a{i:02}"), truth.clone())).collect()),
        ] {
            assert!(Value::try_from(v1::Value { value: Some(bad.clone()) }).is_err(), "{bad:?}");
        }
        assert!(Value::try_from(v1::Value { value: None }).is_err());
    }
}

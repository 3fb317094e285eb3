//! Values as they are held for many keys: half of what they take as values of their own, and shared.
//!
//! Most of what is declared or differs is files, and most files are root's. A [`Value`] has room for the largest file in each value,
//! and texts of its own for each owner; what is held has none of that, and becomes a value again when somebody looks at it. A
//! declared value is held once, by its document, by what is in force and by the memory of what was adopted.

use std::sync::Arc;

use pact_schemas::resource::{FileKind, FileValue, Value};

/// Whom almost every file of a system belongs to.
const ROOT: &str = "root";

/// A value; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing is there.
    Absent,
    /// A keyed digest.
    Withheld(Arc<[u8; 32]>),
    /// A file.
    File(Arc<HeldFile>),
    /// Everything else: kernel parameters, mounts, interfaces; there are few.
    Other(Arc<Value>),
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldFile {
    sha256: Option<[u8; 32]>,
    kind: FileKind,
    content_kept: bool,
    mode: u32,
    size_bytes: u64,
    /// `None`: root's, group root.
    owners: Option<Arc<Owners>>,
    link_target: Option<Box<str>>,
}

/// Owner and group.
#[derive(Debug, PartialEq, Eq)]
struct Owners {
    owner: Box<str>,
    group: Box<str>,
}

impl Held {
    /// Holds a value; what `beside` has too is held once.
    pub(crate) fn new(value: Value, beside: Option<&Self>) -> Self {
        match value {
            Value::Absent => Self::Absent,
            Value::Withheld(digest) => Self::Withheld(Arc::new(digest)),
            Value::File(file) => {
                let known = match beside {
                    Some(Self::File(file)) => file.owners.as_ref(),
                    _ => None,
                };
                Self::File(Arc::new(HeldFile::new(file, known)))
            }
            other => Self::Other(Arc::new(other)),
        }
    }

    /// The value.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Absent => Value::Absent,
            Self::Withheld(digest) => Value::Withheld(**digest),
            Self::File(file) => Value::File(file.value()),
            Self::Other(value) => (**value).clone(),
        }
    }

    /// Whether it is this value.
    pub(crate) fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Absent, Value::Absent) => true,
            (Self::Withheld(held), Value::Withheld(digest)) => **held == *digest,
            (Self::File(held), Value::File(file)) => held.is(file),
            (Self::Other(held), value) => **held == *value,
            _ => false,
        }
    }

    /// What the contents are found by that the journal has, and their size in bytes.
    pub(crate) fn content(&self) -> Option<([u8; 32], u64)> {
        match self {
            Self::File(file) if file.content_kept => Some((file.sha256?, file.size_bytes)),
            _ => None,
        }
    }

    /// What its contents are found by.
    pub(crate) fn digest(&self) -> Option<[u8; 32]> {
        match self {
            Self::Withheld(digest) => Some(**digest),
            Self::File(file) => file.sha256,
            Self::Absent | Self::Other(_) => None,
        }
    }
}

impl HeldFile {
    fn new(file: FileValue, known: Option<&Arc<Owners>>) -> Self {
        let is_known =
            |known: &&Arc<Owners>| *known.owner == *file.owner && *known.group == *file.group;
        let is_roots = file.owner == ROOT && file.group == ROOT;
        let owners = match known.filter(is_known) {
            Some(known) => Some(Arc::clone(known)),
            None if is_roots => None,
            None => Some(Arc::new(Owners { owner: file.owner.into(), group: file.group.into() })),
        };
        Self {
            sha256: file.sha256,
            kind: file.kind,
            content_kept: file.content_kept,
            mode: file.mode,
            size_bytes: file.size_bytes,
            owners,
            link_target: file.link_target.map(Into::into),
        }
    }

    fn owners(&self) -> (&str, &str) {
        self.owners.as_ref().map_or((ROOT, ROOT), |owners| (&owners.owner, &owners.group))
    }

    fn value(&self) -> FileValue {
        let (owner, group) = self.owners();
        FileValue {
            kind: self.kind,
            sha256: self.sha256,
            size_bytes: self.size_bytes,
            mode: self.mode,
            owner: owner.to_owned(),
            group: group.to_owned(),
            link_target: self.link_target.as_deref().map(ToOwned::to_owned),
            content_kept: self.content_kept,
        }
    }

    fn is(&self, file: &FileValue) -> bool {
        self.sha256 == file.sha256
            && self.kind == file.kind
            && self.content_kept == file.content_kept
            && self.mode == file.mode
            && self.size_bytes == file.size_bytes
            && self.owners() == (&file.owner, &file.group)
            && self.link_target.as_deref() == file.link_target.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Pairwise different.
    fn values() -> Vec<Value> {
        let file = FileValue {
            kind: FileKind::Regular,
            sha256: Some([1; 32]),
            size_bytes: 3,
            mode: 0o644,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            link_target: None,
            content_kept: true,
        };
        let link = FileValue {
            kind: FileKind::Symlink,
            sha256: None,
            link_target: Some("a".to_owned()),
            ..file.clone()
        };
        let files = [
            file.clone(),
            FileValue { sha256: Some([2; 32]), ..file.clone() },
            FileValue { size_bytes: 4, ..file.clone() },
            FileValue { mode: 0o600, ..file.clone() },
            FileValue { owner: "bin".to_owned(), ..file.clone() },
            FileValue { group: "bin".to_owned(), ..file.clone() },
            FileValue { content_kept: false, ..file.clone() },
            FileValue { kind: FileKind::Directory, ..file },
            FileValue { link_target: Some("b".to_owned()), ..link.clone() },
            link,
        ];
        let attributes = BTreeMap::from([("mtu".to_owned(), Value::Integer(9000))]);
        let others = [
            Value::Absent,
            Value::Withheld([1; 32]),
            Value::Withheld([2; 32]),
            Value::Text("1".to_owned()),
            Value::Integer(1),
            Value::Boolean(true),
            Value::Binary(vec![1]),
            Value::Attributes(attributes),
        ];
        files.into_iter().map(Value::File).chain(others).collect()
    }

    #[test]
    fn what_is_held_is_the_value_and_no_other() {
        let values = values();
        for one in &values {
            for beside in &values {
                let beside = Held::new(beside.clone(), None);
                let held = Held::new(one.clone(), Some(&beside));
                assert_eq!(held.value(), *one);
                for other in &values {
                    assert_eq!(held.is(other), one == other, "{one:?} {other:?}");
                    let kept = one.as_file().filter(|file| file.content_kept);
                    let content = kept.and_then(|file| Some((file.sha256?, file.size_bytes)));
                    assert_eq!(held.content(), content);
                    assert_eq!(held == Held::new(other.clone(), None), one == other);
                }
            }
        }
    }

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Held>(), 16);
        assert!(size_of::<HeldFile>() <= 72, "{}", size_of::<HeldFile>());
        assert!(size_of::<Value>() > 100, "a value is small: nothing is to be gained");
    }
}

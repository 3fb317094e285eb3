//! What a file shall become, in numbers; and how a file that users cannot read is packed to be kept.

use pact_schemas::resource::{FileKind, FileValue, ResourceKey, Value, unescape};

use super::bytes::Reader;
use super::look::{Looker, sha256};
use super::names;
use super::record::{Print, Record};
use crate::provider::ProviderError;

/// What a file shall become.
pub(super) struct Wanted {
    pub(super) record: Record,
    /// Of a regular file.
    pub(super) sha256: [u8; 32],
    /// Where they are at hand already.
    pub(super) contents: Option<Vec<u8>>,
}

impl Wanted {
    /// As it is declared.
    pub(super) fn of(key: &ResourceKey, file: &FileValue) -> Result<Self, ProviderError> {
        let record = record_of(key, file)?;
        Ok(Self { sha256: record.digest, record, contents: None })
    }

    /// What a keyed digest stands for; `None`: what was kept is not that, or not whole.
    pub(super) fn kept(payload: &[u8], digest: &[u8; 32], looker: &Looker) -> Option<Self> {
        let (record, contents) = unpack(payload)?;
        let is_regular = record.kind == FileKind::Regular;
        let sha256 = if is_regular { sha256(contents) } else { [0; 32] };
        let contents = is_regular.then(|| contents.to_vec());
        (looker.keyed(&record, &sha256) == *digest).then_some(Self { record, sha256, contents })
    }
}

/// What is kept of a withheld file: the record, then the contents.
pub(super) fn pack(record: &Record) -> Vec<u8> {
    let mut meta = Vec::new();
    let record = Record { print: Print::UNKNOWN, digest: [0; 32], ..record.clone() };
    record.encode(&mut meta);
    meta
}

/// The record and the contents of a withheld file.
pub(super) fn unpack(payload: &[u8]) -> Option<(Record, &[u8])> {
    let mut from = Reader::new(payload);
    let record = Record::decode(&mut from)?;
    Some((record, from.rest()))
}

/// A file as it is wanted, in numbers.
pub(super) fn record_of(key: &ResourceKey, file: &FileValue) -> Result<Record, ProviderError> {
    let unknown =
        |name: &str| ProviderError::UnknownOwner { key: key.clone(), name: name.to_owned() };
    let link = file.link_target.as_deref().map_or(Some(Vec::new()), unescape);
    Ok(Record {
        mode: file.mode,
        uid: names::uid(&file.owner).ok_or_else(|| unknown(&file.owner))?,
        gid: names::gid(&file.group).ok_or_else(|| unknown(&file.group))?,
        size: file.size_bytes,
        digest: file.sha256.unwrap_or_default(),
        link: link.ok_or_else(|| ProviderError::WrongValue { key: key.clone() })?,
        ..blank(file.kind)
    })
}

/// Nothing but a kind.
pub(super) const fn blank(kind: FileKind) -> Record {
    Record {
        kind,
        withheld: false,
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        digest: [0; 32],
        link: Vec::new(),
        print: Print::UNKNOWN,
    }
}

/// Whether both values are the same state of a file, also where one of them is withheld.
pub(super) fn is_same(looker: &Looker, key: &ResourceKey, left: &Value, right: &Value) -> bool {
    if left == right {
        return true;
    }
    let keyed = |value: &Value| match value {
        Value::Withheld(digest) => Some(*digest),
        Value::File(file) => record_of(key, file).ok().map(|mut record| {
            if record.kind == FileKind::Symlink {
                // Links have no mode of their own.
                record.mode = 0o777;
            }
            looker.keyed(&record, &record.digest)
        }),
        _ => None,
    };
    let left = keyed(left);
    left.is_some() && left == keyed(right)
}

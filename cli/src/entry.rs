//! Entries whose hash was checked: the only kind that is shown.

use pact_runtime::Timestamp;
use pact_schemas::convert;
use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;
use prost::Message as _;
use ring::digest::{Context, SHA256, digest};

use crate::failure::Failure;

/// First byte of what a leaf hash covers (RFC 6962).
const LEAF: [u8; 1] = [0];

/// An entry and the hash that its bytes have.
#[derive(Debug, Clone)]
pub(crate) struct VerifiedEntry {
    pub(crate) entry: v1::Entry,
    pub(crate) time: Timestamp,
    pub(crate) kind: v1::EntryKind,
    /// 64 hex digits.
    pub(crate) hash: String,
    /// The entry's own; or those of its chunks, once they were checked.
    pub(crate) changes: Vec<v1::Change>,
}

/// Chunks of an entry: an overlay of 10 MB, with room.
const MAX_CHUNKS: usize = 64;

impl VerifiedEntry {
    /// Checks the hash, then decodes.
    pub(crate) fn new(record: &v1::EntryRecord) -> Result<Self, Failure> {
        let mut context = Context::new(&SHA256);
        context.update(&LEAF);
        context.update(&record.entry);
        let hash = context.finish();
        let malformed = |why: String| Failure::new(ErrorCode::Malformed, why);
        let entry = v1::Entry::decode(record.entry.as_slice());
        if hash.as_ref() != record.hash.as_slice() {
            let which = entry.map_or_else(|_| "an entry".into(), |e| format!("entry {}", e.seq));
            return Err(Failure::new(
                ErrorCode::BadSignature,
                format!("{which} does not match its hash; nothing of it is shown"),
            )
            .because("the entry was changed after it was recorded, or on the way here")
            .next("ask another gateway, and keep this one's answer for the inquiry"));
        }
        let entry = entry.map_err(|_| malformed("an entry does not decode".to_owned()))?;
        let time = convert::unix_nanos(entry.time.as_ref(), "Entry.time")
            .map(Timestamp::from_unix_nanos)
            .map_err(v1::Error::from)?;
        let kind = convert::enumeration(entry.kind, "Entry.kind").map_err(v1::Error::from)?;
        let hash = data_encoding::HEXLOWER.encode(hash.as_ref());
        let changes = entry.changes.clone();
        Ok(Self { entry, time, kind, hash, changes })
    }

    /// Adds the changes of its chunks; none given: they stay missing. Each has to have the hash that the entry says.
    pub(crate) fn with_chunks(mut self, chunks: &[Vec<u8>]) -> Result<Self, Failure> {
        let named = &self.entry.change_chunks;
        if chunks.is_empty() || named.is_empty() {
            return Ok(self);
        }
        let fits = |(named, bytes): (&v1::BlobRef, &Vec<u8>)| {
            digest(&SHA256, bytes).as_ref() == named.sha256.as_slice()
        };
        if named.len() != chunks.len()
            || named.len() > MAX_CHUNKS
            || !named.iter().zip(chunks).all(fits)
        {
            return Err(Failure::new(
                ErrorCode::BadSignature,
                format!("the changes of entry {} do not match their hashes", self.entry.seq),
            )
            .because("they were changed after they were recorded, or on the way here")
            .next("ask another gateway, and keep this one's answer for the inquiry"));
        }
        let set = v1::ChangeSet::decode(chunks.concat().as_slice()).map_err(|_| {
            Failure::new(ErrorCode::Malformed, "the changes of an entry do not decode")
        })?;
        self.changes = set.changes;
        Ok(self)
    }

    /// Bytes of changes that the entry names and that are not here.
    pub(crate) fn missing_bytes(&self) -> Option<u64> {
        let size = self.entry.change_chunks.iter().map(|chunk| u64::from(chunk.size_bytes)).sum();
        (size > 0 && self.changes.is_empty()).then_some(size)
    }

    /// Checks all of them; one that does not hold spoils the answer.
    pub(crate) fn all(records: &[v1::EntryRecord]) -> Result<Vec<Self>, Failure> {
        records.iter().map(Self::new).collect()
    }

    /// The kind's name, e.g. `ExecRequested`.
    pub(crate) fn kind_name(&self) -> String {
        camel(self.kind.as_str_name().trim_start_matches("ENTRY_KIND_"))
    }
}

/// `EXEC_REQUESTED` as `ExecRequested`.
fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            format!("{first}{}", rest.to_ascii_lowercase())
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// A record as the journal hands it out.
    pub(crate) fn record(entry: &v1::Entry) -> v1::EntryRecord {
        let bytes = entry.encode_to_vec();
        let mut context = Context::new(&SHA256);
        context.update(&LEAF);
        context.update(&bytes);
        v1::EntryRecord { entry: bytes, hash: context.finish().as_ref().to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> v1::Entry {
        v1::Entry {
            version: 1,
            seq: 7,
            time: Some(prost_types::Timestamp { seconds: 1_772_600_767, nanos: 0 }),
            kind: v1::EntryKind::ExecRequested.into(),
            ..v1::Entry::default()
        }
    }

    #[test]
    fn one_changed_bit_is_noticed() {
        let record = samples::record(&entry());
        assert_eq!(VerifiedEntry::new(&record).unwrap().kind_name(), "ExecRequested");
        for index in 0..record.entry.len() {
            let mut changed = record.clone();
            changed.entry[index] ^= 1;
            let failure = VerifiedEntry::new(&changed).unwrap_err();
            assert_eq!(failure.code(), Some(ErrorCode::BadSignature));
        }
    }

    #[test]
    fn changes_in_chunks_are_checked_before_they_are_shown() {
        let change = v1::Change { key: "sysctl/vm.swappiness".into(), old: None, new: None };
        let chunk = v1::ChangeSet { changes: vec![change], chunks: Vec::new() }.encode_to_vec();
        let named = v1::BlobRef {
            sha256: digest(&SHA256, &chunk).as_ref().to_vec(),
            size_bytes: u32::try_from(chunk.len()).unwrap(),
        };
        let entry = v1::Entry { change_chunks: vec![named], ..entry() };
        let verified = || VerifiedEntry::new(&samples::record(&entry)).unwrap();
        assert_eq!(verified().missing_bytes(), Some(chunk.len() as u64));
        let whole = verified().with_chunks(std::slice::from_ref(&chunk)).unwrap();
        assert_eq!((whole.changes.len(), whole.missing_bytes()), (1, None));
        let mut forged = chunk.clone();
        forged[0] ^= 1;
        for chunks in [vec![forged], vec![chunk.clone(), chunk]] {
            let failure = verified().with_chunks(&chunks).unwrap_err();
            assert_eq!(failure.code(), Some(ErrorCode::BadSignature));
        }
    }

    #[test]
    fn an_unknown_kind_or_a_missing_time_is_refused() {
        let unknown = v1::Entry { kind: 4242, ..entry() };
        assert!(VerifiedEntry::new(&samples::record(&unknown)).is_err());
        let timeless = v1::Entry { time: None, ..entry() };
        assert!(VerifiedEntry::new(&samples::record(&timeless)).is_err());
    }
}

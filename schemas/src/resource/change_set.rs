//! Changes as they travel: inline, or as chunks where that would be too large.

use prost::Message as _;
use ring::digest::{SHA256, digest};

use super::change::Change;
use crate::convert::WireError;
use crate::v1::{self, BlobRef};

/// Most changes in one set: an overlay's bound.
pub const MAX_CHANGES: usize = 20_000;

/// Largest encoded set: an overlay's bound.
pub const MAX_ENCODED_BYTES: usize = 10_000_000;

/// Largest set that travels inline: several fit into a message beside everything else.
pub const MAX_INLINE_BYTES: usize = 64 * 1024;

/// Size of a chunk, the last one excepted: the journal's largest blob.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Why a set is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeSetError {
    /// Too many keys.
    #[error("{count} changes are too many: at most {MAX_CHANGES} are accepted")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Too large.
    #[error("{bytes} bytes of changes are too many: at most {MAX_ENCODED_BYTES} are accepted")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Over 64 KiB inline, or inline and in chunks at once.
    #[error("the changes are not inline up to {MAX_INLINE_BYTES} bytes, nor in chunks")]
    Form,
    /// A chunk that nobody has.
    #[error("a chunk of the changes is not stored")]
    ChunkMissing {
        /// Its SHA-256.
        sha256: Vec<u8>,
    },
    /// A chunk that is not what its reference says.
    #[error("chunk {number} of the changes is not what it is said to be")]
    ChunkWrong {
        /// From 1.
        number: usize,
    },
    /// Not in ascending key order, each key once.
    #[error("the changes are not in key order, or name {key} twice")]
    Order {
        /// The key.
        key: String,
    },
    /// A change that is not whole.
    #[error("the changes are malformed")]
    Malformed(#[from] WireError),
}

/// The set on the wire and the chunks that it refers to, which the caller stores as blobs.
#[must_use]
pub fn pack(changes: &[Change]) -> (v1::ChangeSet, Vec<Vec<u8>>) {
    pack_within(inline(changes), MAX_INLINE_BYTES)
}

/// As [`pack`], of a set that is inline and in key order, with another bound for what stays inline: at most the usual one.
#[must_use]
pub fn pack_within(whole: v1::ChangeSet, inline_bytes: usize) -> (v1::ChangeSet, Vec<Vec<u8>>) {
    if whole.encoded_len() <= inline_bytes.min(MAX_INLINE_BYTES) {
        return (whole, Vec::new());
    }
    let chunks: Vec<Vec<u8>> =
        whole.encode_to_vec().chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect();
    let references = chunks.iter().map(|chunk| reference(chunk)).collect();
    (v1::ChangeSet { changes: Vec::new(), chunks: references }, chunks)
}

/// Whether these changes can travel at all.
///
/// # Errors
/// [`ChangeSetError::TooMany`], [`ChangeSetError::TooLarge`], [`ChangeSetError::Order`] for a key that comes twice.
pub fn check(changes: &[Change]) -> Result<(), ChangeSetError> {
    if changes.len() > MAX_CHANGES {
        return Err(ChangeSetError::TooMany { count: changes.len() });
    }
    let whole = inline(changes);
    if whole.encoded_len() > MAX_ENCODED_BYTES {
        return Err(ChangeSetError::TooLarge { bytes: whole.encoded_len() });
    }
    in_order(whole.changes.iter().map(|change| change.key.as_str()))
}

/// The changes of a set; `chunk` finds the bytes of a reference.
///
/// # Errors
/// [`ChangeSetError`] for what is too large, missing, not in order or not whole.
pub fn unpack(
    set: &v1::ChangeSet,
    chunk: impl FnMut(&BlobRef) -> Option<Vec<u8>>,
) -> Result<Vec<Change>, ChangeSetError> {
    let whole = unpack_wire(set.clone(), chunk)?.changes;
    whole.into_iter().map(|change| Ok(Change::try_from(change)?)).collect()
}

/// The set with all of its changes inline, in key order, which are not looked at further; `chunk` finds the bytes of a reference.
///
/// # Errors
/// [`ChangeSetError`] for what is too large, missing or not in order.
pub fn unpack_wire(
    set: v1::ChangeSet,
    chunk: impl FnMut(&BlobRef) -> Option<Vec<u8>>,
) -> Result<v1::ChangeSet, ChangeSetError> {
    let whole = if !set.chunks.is_empty() {
        join(&set, chunk)?
    } else if set.encoded_len() > MAX_INLINE_BYTES {
        return Err(ChangeSetError::Form);
    } else {
        set
    };
    if whole.changes.len() > MAX_CHANGES {
        return Err(ChangeSetError::TooMany { count: whole.changes.len() });
    }
    in_order(whole.changes.iter().map(|change| change.key.as_str()))?;
    Ok(whole)
}

fn inline(changes: &[Change]) -> v1::ChangeSet {
    let mut in_order: Vec<&Change> = changes.iter().collect();
    in_order.sort_by(|a, b| a.key.cmp(&b.key));
    v1::ChangeSet { changes: in_order.into_iter().map(Into::into).collect(), chunks: Vec::new() }
}

fn reference(chunk: &[u8]) -> BlobRef {
    BlobRef {
        sha256: digest(&SHA256, chunk).as_ref().to_vec(),
        size_bytes: u32::try_from(chunk.len()).unwrap_or(u32::MAX),
    }
}

fn in_order<'a>(keys: impl Iterator<Item = &'a str>) -> Result<(), ChangeSetError> {
    let mut last: Option<&str> = None;
    for key in keys {
        if last.is_some_and(|last| last >= key) {
            return Err(ChangeSetError::Order { key: key.chars().take(120).collect() });
        }
        last = Some(key);
    }
    Ok(())
}

/// The set that the chunks are, each checked against its digest before the next is asked for.
fn join(
    set: &v1::ChangeSet,
    mut chunk: impl FnMut(&BlobRef) -> Option<Vec<u8>>,
) -> Result<v1::ChangeSet, ChangeSetError> {
    if !set.changes.is_empty() {
        return Err(ChangeSetError::Form);
    }
    let mut bytes = Vec::new();
    for (i, reference_) in set.chunks.iter().enumerate() {
        let wrong = ChangeSetError::ChunkWrong { number: i + 1 };
        let size = usize::try_from(reference_.size_bytes).unwrap_or(usize::MAX);
        if size == 0 || size > CHUNK_BYTES {
            return Err(wrong);
        }
        if bytes.len() + size > MAX_ENCODED_BYTES {
            return Err(ChangeSetError::TooLarge { bytes: bytes.len() + size });
        }
        let found = chunk(reference_)
            .ok_or_else(|| ChangeSetError::ChunkMissing { sha256: reference_.sha256.clone() })?;
        if reference(&found) != *reference_ {
            return Err(wrong);
        }
        bytes.extend_from_slice(&found);
    }
    let joined = v1::ChangeSet::decode(bytes.as_slice())
        .map_err(|_| WireError::Decode { what: "ChangeSet" })?;
    if joined.chunks.is_empty() { Ok(joined) } else { Err(ChangeSetError::Form) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::resource::{Kind, ResourceKey, Value, value::tests::value};

    fn set_of(keys: usize, value_bytes: usize) -> Vec<Change> {
        (0..keys)
            .map(|i| Change {
                key: ResourceKey::new(Kind::Sysctl, &format!("a.{i:06}")).unwrap(),
                old: None,
                new: Some(Value::Text("v".repeat(value_bytes))),
            })
            .collect()
    }

    fn finder(chunks: &[Vec<u8>]) -> impl FnMut(&BlobRef) -> Option<Vec<u8>> {
        let stored: BTreeMap<Vec<u8>, Vec<u8>> =
            chunks.iter().map(|chunk| (reference(chunk).sha256, chunk.clone())).collect();
        move |wanted| stored.get(&wanted.sha256).cloned()
    }

    #[test]
    fn small_sets_are_inline_and_large_ones_in_chunks() {
        for (keys, bytes, chunks) in
            [(0, 0, 0), (1, 10, 0), (100, 600, 0), (200, 600, 1), (1000, 600, 3)]
        {
            let changes = set_of(keys, bytes);
            check(&changes).unwrap();
            let (set, stored) = pack(&changes);
            assert_eq!(stored.len(), chunks, "{keys} keys");
            assert_eq!(set.chunks.len(), chunks);
            assert!(set.encoded_len() <= MAX_INLINE_BYTES);
            assert!(stored.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
            assert_eq!(unpack(&set, finder(&stored)).unwrap(), changes);
        }
    }

    #[test]
    fn what_may_stay_inline_can_be_less() {
        let changes = set_of(3, 10);
        let (whole, _) = pack(&changes);
        let (inline, none) = pack_within(whole.clone(), whole.encoded_len());
        assert_eq!((&inline, none.len()), (&whole, 0));
        let (set, stored) = pack_within(whole.clone(), whole.encoded_len() - 1);
        assert_eq!((set.changes.len(), stored.len()), (0, 1));
        assert_eq!(unpack_wire(set, finder(&stored)).unwrap(), whole);
        let large = super::inline(&set_of(200, 600));
        assert_eq!(pack_within(large, usize::MAX).1.len(), 1);
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let most = set_of(MAX_CHANGES, 1);
        check(&most).unwrap();
        let (set, stored) = pack(&most);
        assert_eq!(unpack(&set, finder(&stored)).unwrap().len(), MAX_CHANGES);
        let more = set_of(MAX_CHANGES + 1, 1);
        let (set, stored) = pack(&more);
        let too_many = ChangeSetError::TooMany { count: MAX_CHANGES + 1 };
        assert_eq!(check(&more), Err(too_many.clone()));
        assert_eq!(unpack(&set, finder(&stored)), Err(too_many));
        let large = set_of(200, 60_000);
        let (set, stored) = pack(&large);
        assert!(matches!(check(&large), Err(ChangeSetError::TooLarge { .. })));
        assert!(matches!(unpack(&set, finder(&stored)), Err(ChangeSetError::TooLarge { .. })));
        let (mut set, _) = pack(&set_of(100, 600));
        set.changes.extend(pack(&set_of(100, 600)).0.changes);
        assert_eq!(unpack(&set, |_| None), Err(ChangeSetError::Form));
    }

    #[test]
    fn what_is_not_what_it_says_is_refused() {
        let (set, stored) = pack(&set_of(1000, 600));
        assert!(matches!(unpack(&set, |_| None), Err(ChangeSetError::ChunkMissing { .. })));
        let mut seen = 0;
        let changed = unpack(&set, |reference| {
            seen += 1;
            let mut chunk = finder(&stored)(reference)?;
            if seen == 2 {
                chunk[17] ^= 1;
            }
            Some(chunk)
        });
        assert_eq!(changed, Err(ChangeSetError::ChunkWrong { number: 2 }));
        let mut sized = set.clone();
        sized.chunks[0].size_bytes -= 1;
        assert_eq!(unpack(&sized, finder(&stored)), Err(ChangeSetError::ChunkWrong { number: 1 }));
        let mut both = set.clone();
        both.changes = pack(&set_of(1, 1)).0.changes;
        assert_eq!(unpack(&both, finder(&stored)), Err(ChangeSetError::Form));
        let nested = vec![set.encode_to_vec()];
        let outer = v1::ChangeSet { changes: vec![], chunks: vec![reference(&nested[0])] };
        assert_eq!(unpack(&outer, finder(&nested)), Err(ChangeSetError::Form));
        let (mut small, _) = pack(&set_of(2, 1));
        small.changes.reverse();
        assert!(matches!(unpack(&small, |_| None), Err(ChangeSetError::Order { .. })));
        small.changes[1] = small.changes[0].clone();
        assert!(matches!(unpack(&small, |_| None), Err(ChangeSetError::Order { .. })));
        let twice = [set_of(1, 1), set_of(1, 2)].concat();
        assert!(matches!(check(&twice), Err(ChangeSetError::Order { .. })));
        small.changes.truncate(1);
        small.changes[0].new = Some(v1::Value { value: None });
        assert!(matches!(unpack(&small, |_| None), Err(ChangeSetError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn every_set_comes_back_in_key_order(
            values in proptest::collection::vec((value(), proptest::option::of(value())), 0..12),
        ) {
            let changes: Vec<Change> = values
                .into_iter()
                .enumerate()
                .map(|(i, (old, new))| Change {
                    key: ResourceKey::new(Kind::File, &format!("/{i:02}")).unwrap(),
                    old: Some(old),
                    new,
                })
                .collect();
            let turned: Vec<Change> = changes.iter().rev().cloned().collect();
            let (set, stored) = pack(&turned);
            prop_assert_eq!(unpack(&set, finder(&stored)).unwrap(), changes);
        }
    }
}

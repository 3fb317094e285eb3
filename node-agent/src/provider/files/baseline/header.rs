//! The header of a baseline: its generation, the roots and ignored patterns that it was taken under, and how many frames
//! follow that each name a file system and where it was.

use pact_schemas::resource::KeyPatterns;

use super::{put_path, take_path};
use crate::provider::files::bytes::Reader;
use crate::provider::files::mounts::Identity;
use crate::provider::files::scope::Scope;

/// A header as it was read.
pub(super) struct Header {
    pub(super) generation: u64,
    pub(super) scope: Scope,
    /// Frames with file systems that follow; `None`: it was written before those were recorded.
    pub(super) mounts: Option<u32>,
}

pub(super) fn encode(generation: u64, scope: &Scope, mounts: usize) -> Vec<u8> {
    let mut out = generation.to_be_bytes().to_vec();
    let patterns = scope.ignored().as_slice();
    put_list(scope.roots().iter().map(|root| &**root), &mut out);
    put_list(patterns.iter().map(|pattern| pattern.as_str().as_bytes()), &mut out);
    // Bounded far below by `MAX_KNOWN`.
    out.extend_from_slice(&u32::try_from(mounts).unwrap_or(u32::MAX).to_be_bytes());
    out
}

/// `path, type, source, place, volume, boot, u64 device`.
pub(super) fn encode_mount(path: &[u8], identity: &Identity) -> Vec<u8> {
    let Identity { kind, source, place, volume, boot, device } = identity;
    let mut out = Vec::new();
    for part in [path, kind, source, place, volume, boot] {
        put_path(part, &mut out);
    }
    out.extend_from_slice(&device.to_be_bytes());
    out
}

pub(super) fn decode_mount(payload: &[u8]) -> Option<(Vec<u8>, Identity)> {
    let mut from = Reader::new(payload);
    let mut part = || take_path(&mut from).map(<[u8]>::to_vec);
    let path = part()?;
    let (kind, source, place, volume, boot) = (part()?, part()?, part()?, part()?, part()?);
    let device = from.u64()?;
    from.is_empty().then_some((path, Identity { kind, source, place, volume, boot, device }))
}

fn put_list<'a>(items: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    // Both lists are bounded far below by the configuration.
    out.extend_from_slice(&u16::try_from(items.len()).unwrap_or(u16::MAX).to_be_bytes());
    items.take(usize::from(u16::MAX)).for_each(|item| put_path(item, out));
}

pub(super) fn decode(payload: &[u8]) -> Option<Header> {
    let mut from = Reader::new(payload);
    let generation = from.u64()?;
    let roots = take_list(&mut from)?.into_iter().map(Box::from).collect();
    let texts = take_list(&mut from)?;
    let texts = texts.into_iter().map(std::str::from_utf8).collect::<Result<Vec<_>, _>>().ok()?;
    // Not `parse`: several lists of patterns may have been joined beyond the bound of one.
    let patterns = texts
        .into_iter()
        .map(pact_schemas::resource::KeyPattern::new)
        .collect::<Result<Vec<_>, _>>()
        .ok()?;
    let mounts = if from.is_empty() { None } else { Some(from.u32()?) };
    let scope = Scope::of_bytes(roots, KeyPatterns::from(patterns));
    from.is_empty().then_some(Header { generation, scope, mounts })
}

fn take_list<'a>(from: &mut Reader<'a>) -> Option<Vec<&'a [u8]>> {
    let count = from.u16()?;
    (0..count).map(|_| take_path(from)).collect()
}

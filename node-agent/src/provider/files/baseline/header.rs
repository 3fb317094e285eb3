//! The header of a baseline: its generation, and the roots and ignored patterns that it was taken under.

use pact_schemas::resource::KeyPatterns;

use super::{put_path, take_path};
use crate::provider::files::bytes::Reader;
use crate::provider::files::scope::Scope;

pub(super) fn encode(generation: u64, scope: &Scope) -> Vec<u8> {
    let mut out = generation.to_be_bytes().to_vec();
    let patterns = scope.ignored().as_slice();
    put_list(scope.roots().iter().map(|root| &**root), &mut out);
    put_list(patterns.iter().map(|pattern| pattern.as_str().as_bytes()), &mut out);
    out
}

fn put_list<'a>(items: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    // Both lists are bounded far below by the configuration.
    out.extend_from_slice(&u16::try_from(items.len()).unwrap_or(u16::MAX).to_be_bytes());
    items.take(usize::from(u16::MAX)).for_each(|item| put_path(item, out));
}

pub(super) fn decode(payload: &[u8]) -> Option<(u64, Scope)> {
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
    from.is_empty().then(|| (generation, Scope::of_bytes(roots, KeyPatterns::from(patterns))))
}

fn take_list<'a>(from: &mut Reader<'a>) -> Option<Vec<&'a [u8]>> {
    let count = from.u16()?;
    (0..count).map(|_| take_path(from)).collect()
}

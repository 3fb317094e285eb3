//! Records in the order of their paths: the file's, with the changes since laid over them.

use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::Bound;

use super::{Baseline, PathBytes};
use crate::provider::ProviderError;
use crate::provider::files::order;
use crate::provider::files::record::Record;

type Changes<'a> = Peekable<btree_map::Range<'a, PathBytes, Option<Record>>>;

/// Goes through the baseline with one block in memory.
pub(in crate::provider::files) struct Stream<'a> {
    baseline: &'a Baseline,
    next_block: usize,
    block: Peekable<std::vec::IntoIter<(Vec<u8>, Record)>>,
    changes: Changes<'a>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(baseline: &'a Baseline, from: Option<&[u8]>) -> Self {
        let start = from.map_or(Bound::Unbounded, |path| Bound::Included(PathBytes(path.into())));
        let whole = baseline.whole.as_ref();
        let next_block = from.and_then(|path| whole?.block_of(path)).unwrap_or(0);
        let changes = baseline.changes.range((start, Bound::Unbounded)).peekable();
        let mut stream =
            Self { baseline, next_block, block: Vec::new().into_iter().peekable(), changes };
        if let Some(from) = from
            && let Some(whole) = whole
            && let Ok(records) = baseline.records(whole, next_block)
        {
            // A block that cannot be read is found out by `next`.
            let rest: Vec<_> =
                records.into_iter().filter(|(at, _)| order::compare(at, from).is_ge()).collect();
            stream.block = rest.into_iter().peekable();
            stream.next_block += 1;
        }
        stream
    }

    /// The next record; `None` at the end.
    pub(in crate::provider::files) fn next(
        &mut self,
    ) -> Result<Option<(Vec<u8>, Record)>, ProviderError> {
        loop {
            self.fill()?;
            let order = match (self.block.peek(), self.changes.peek()) {
                (None, None) => return Ok(None),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((kept, _)), Some((changed, _))) => order::compare(kept, &changed.0),
            };
            if order.is_lt() {
                return Ok(self.block.next());
            }
            if order.is_eq() {
                self.block.next();
            }
            if let Some((path, Some(record))) = self.changes.next() {
                return Ok(Some((path.0.to_vec(), record.clone())));
            }
        }
    }

    fn fill(&mut self) -> Result<(), ProviderError> {
        let Some(whole) = &self.baseline.whole else { return Ok(()) };
        while self.block.peek().is_none() && self.next_block < whole.blocks.len() {
            self.block = self.baseline.records(whole, self.next_block)?.into_iter().peekable();
            self.next_block += 1;
        }
        Ok(())
    }
}

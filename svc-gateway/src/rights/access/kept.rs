//! Records that wait for the journal, within bounds.

use std::collections::VecDeque;

/// Records kept while the journal is away; most have a few hundred bytes.
const MAX_KEPT: usize = 16_384;

/// Bytes of the kept records: what 16,384 of 2 KiB take.
const MAX_KEPT_BYTES: usize = 32 * 1024 * 1024;

/// Records in the order in which they came, each with its size.
#[derive(Debug)]
pub(super) struct Kept<R> {
    records: VecDeque<(R, usize)>,
    bytes: usize,
}

impl<R> Kept<R> {
    pub(super) const fn new() -> Self {
        Self { records: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Takes a new one; the oldest make room for it. Returns how many those were: they are lost.
    pub(super) fn add(&mut self, record: R, bytes: usize) -> usize {
        let mut lost = 0;
        while self.len() >= MAX_KEPT || self.bytes + bytes > MAX_KEPT_BYTES {
            if self.next().is_none() {
                break;
            }
            lost += 1;
        }
        self.last(record, bytes);
        lost
    }

    /// The oldest, with its size.
    pub(super) fn next(&mut self) -> Option<(R, usize)> {
        let (record, bytes) = self.records.pop_front()?;
        self.bytes -= bytes;
        Some((record, bytes))
    }

    /// Puts one back that is to be the next.
    pub(super) fn first(&mut self, record: R, bytes: usize) {
        self.bytes += bytes;
        self.records.push_front((record, bytes));
    }

    /// Puts one behind all others.
    pub(super) fn last(&mut self, record: R, bytes: usize) {
        self.bytes += bytes;
        self.records.push_back((record, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let mut kept = Kept::new();
        for record in 0..MAX_KEPT {
            assert_eq!(kept.add(record, 100), 0);
        }
        assert_eq!(kept.add(MAX_KEPT, 100), 1);
        assert_eq!((kept.len(), kept.next()), (MAX_KEPT, Some((1, 100))));
    }

    #[test]
    fn few_but_large_ones_are_bounded_too() {
        let (mut kept, half) = (Kept::new(), MAX_KEPT_BYTES / 2);
        assert_eq!((kept.add(1, half), kept.add(2, half), kept.add(3, half)), (0, 0, 1));
        assert_eq!(kept.add(4, MAX_KEPT_BYTES), 2);
        assert_eq!(kept.add(5, MAX_KEPT_BYTES * 2), 1, "one is kept, whatever its size");
        assert_eq!((kept.len(), kept.bytes), (1, MAX_KEPT_BYTES * 2));
    }

    #[test]
    fn the_order_is_kept_when_some_are_put_back() {
        let mut kept = Kept::new();
        kept.add(1, 10);
        kept.add(2, 10);
        let (oldest, bytes) = kept.next().unwrap();
        kept.first(oldest, bytes);
        assert_eq!(kept.next(), Some((1, 10)));
        kept.last(1, 10);
        assert_eq!((kept.next(), kept.next(), kept.next()), (Some((2, 10)), Some((1, 10)), None));
        assert_eq!(kept.bytes, 0);
    }
}

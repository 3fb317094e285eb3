//! What was shown, so that a decision is about exactly that, page by page, whatever changes meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use pact_runtime::Timestamp;
use pact_schemas::Seq;

use super::set::{DriftSet, Item, MAX_ITEMS};

/// Looks that are remembered: a person looks, perhaps a second one beside, and then decides. Items are shared with the set.
const KEPT: usize = 8;

/// Items that are remembered in all looks but the last: two of the largest. Those that have changed since are not shared.
const MAX_KEPT_ITEMS: usize = 2 * MAX_ITEMS;

/// The drift as it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Its digest.
    pub(crate) digest: [u8; 32],
    /// In key order.
    pub(crate) items: Vec<Arc<Item>>,
    /// Head of the journal in the configuration that was compared with.
    pub(crate) config_seq: Option<Seq>,
    /// When.
    pub(crate) taken: Timestamp,
}

/// The last snapshots that somebody saw.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    kept: VecDeque<Arc<Snapshot>>,
}

impl Snapshots {
    /// Takes the drift of now. The same drift, compared with the same configuration, is the same snapshot.
    pub(crate) fn take(
        &mut self,
        set: &DriftSet,
        config_seq: Option<Seq>,
        now: Timestamp,
    ) -> Arc<Snapshot> {
        let digest = set.digest();
        self.kept.retain(|kept| kept.digest != digest);
        let items = set.items().cloned().collect();
        let snapshot = Arc::new(Snapshot { digest, items, config_seq, taken: now });
        self.kept.push_back(Arc::clone(&snapshot));
        let items =
            |kept: &VecDeque<Arc<Snapshot>>| kept.iter().map(|one| one.items.len()).sum::<usize>();
        while self.kept.len() > KEPT || (self.kept.len() > 1 && items(&self.kept) > MAX_KEPT_ITEMS)
        {
            self.kept.pop_front();
        }
        snapshot
    }

    /// What the contents are found by that keys had when they were shown.
    pub(crate) fn digests(&self) -> impl Iterator<Item = [u8; 32]> {
        self.kept.iter().flat_map(|kept| kept.items.iter().flat_map(|item| item.digests()))
    }

    /// What was shown under this digest.
    pub(crate) fn get(&self, digest: &[u8]) -> Option<Arc<Snapshot>> {
        self.kept.iter().find(|kept| kept.digest == digest).cloned()
    }
}

#[cfg(test)]
mod tests {
    use pact_schemas::resource::Value;

    use super::super::set::Seen;
    use super::*;

    #[test]
    fn the_last_eight_are_found_by_digest_as_they_were() {
        let mut set = DriftSet::default();
        let mut snapshots = Snapshots::default();
        let at = Timestamp::from_unix_nanos(1);
        let seen = Seen { at, session: None };
        let mut digests = Vec::new();
        for value in 0..=KEPT as i64 {
            set.observe(
                &"sysctl/a".parse().unwrap(),
                Some(Value::Integer(-1)),
                Value::Integer(value),
                seen,
            );
            digests.push(snapshots.take(&set, None, at).digest);
        }
        assert!(snapshots.get(&digests[0]).is_none());
        for (value, digest) in digests.iter().enumerate().skip(1) {
            let snapshot = snapshots.get(digest).unwrap();
            assert_eq!(snapshot.items[0].actual(), Value::Integer(value as i64));
        }
        // Looking again at the same drift forgets nothing else.
        for _ in 0..20 {
            snapshots.take(&set, None, at);
        }
        assert!(snapshots.get(&digests[1]).is_some());
        assert!(snapshots.get(&[0; 32]).is_none());
    }

    #[test]
    fn large_looks_push_each_other_out_and_the_last_stays() {
        let (mut set, mut snapshots) = (DriftSet::default(), Snapshots::default());
        let at = Timestamp::from_unix_nanos(1);
        let seen = Seen { at, session: None };
        let mut digests = Vec::new();
        for round in 0..3 {
            for number in 0..=(MAX_ITEMS * 2 / 3) as i64 {
                let key = format!("sysctl/k{number}").parse().unwrap();
                set.observe(&key, Some(Value::Integer(-1)), Value::Integer(round), seen);
            }
            digests.push(snapshots.take(&set, None, at).digest);
        }
        let are_kept = digests.iter().map(|digest| snapshots.get(digest).is_some());
        assert_eq!(are_kept.collect::<Vec<_>>(), [false, true, true]);
    }
}

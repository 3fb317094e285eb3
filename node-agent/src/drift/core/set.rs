//! The drift set: every key that differs from what it should be, since when, and by whose command.

use std::borrow::Borrow;
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use pact_runtime::Timestamp;
use pact_schemas::Seq;
use pact_schemas::resource::{self, Change, ResourceKey, Value};

use crate::held::Held;

/// Keys that are kept: as many as can be decided on at once. More than this is no set of decisions but another machine: the rest is
/// counted, and looked at again by later scans.
pub(crate) const MAX_ITEMS: usize = resource::change_set::MAX_CHANGES;

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The key.
    pub(crate) key: ResourceKey,
    wanted: Held,
    actual: Held,
    /// Since when it is not what it should be.
    pub(crate) since: Timestamp,
    /// The command that was running, alone, when it changed last.
    pub(crate) session: Option<Seq>,
}

impl Item {
    /// What it should be.
    pub(crate) fn wanted(&self) -> Value {
        self.wanted.value()
    }

    /// What it is.
    pub(crate) fn actual(&self) -> Value {
        self.actual.value()
    }

    /// Whether it is this.
    pub(crate) fn is(&self, actual: &Value) -> bool {
        self.actual.is(actual)
    }

    /// Whether what it is may not be shown outside the node.
    pub(crate) fn is_withheld(&self) -> bool {
        matches!(self.actual, Held::Withheld(_))
    }

    /// What the contents are found by that it should have, and that it has.
    pub(crate) fn digests(&self) -> impl Iterator<Item = [u8; 32]> {
        [self.wanted.digest(), self.actual.digest()].into_iter().flatten()
    }

    /// Counted, but never opening a window.
    pub(crate) fn is_report_only(&self) -> bool {
        self.key.dimension().is_report_only()
    }

    /// As a change from what should be to what is.
    pub(crate) fn change(&self) -> Change {
        let (old, new) = (Some(self.wanted()), Some(self.actual()));
        Change { key: self.key.clone(), old, new }
    }
}

/// When and how a value was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The time.
    pub(crate) at: Timestamp,
    /// The only command that was running.
    pub(crate) session: Option<Seq>,
}

/// An item that is found by its key, which it has already.
#[derive(Debug)]
struct ByKey(Arc<Item>);

impl Borrow<ResourceKey> for ByKey {
    fn borrow(&self) -> &ResourceKey {
        &self.0.key
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

/// All keys that differ.
#[derive(Debug, Default)]
pub(crate) struct DriftSet {
    items: BTreeSet<ByKey>,
    report_only: usize,
    /// How many keys were left out because there were too many, as far as the last scan could tell.
    left_out: usize,
    /// Of the items as they are; `None`: to be computed.
    digest: Cell<Option<[u8; 32]>>,
}

impl DriftSet {
    /// Takes what a key should be (`None`: it is what it should be, or nobody's business) and what it is. Returns whether
    /// the set is another now.
    pub(crate) fn observe(
        &mut self,
        key: &ResourceKey,
        wanted: Option<Value>,
        actual: Value,
        seen: Seen,
    ) -> bool {
        let Some(wanted) = wanted else { return self.remove(key) };
        let known = self.get(key);
        if known.is_some_and(|item| item.wanted.is(&wanted) && item.actual.is(&actual)) {
            return false;
        }
        if known.is_none() && self.items.len() >= MAX_ITEMS {
            let was = self.is_truncated();
            self.left_out = self.left_out.max(1);
            return !was;
        }
        // Another declaration of a key that nobody touched is nobody's new change.
        let is_touched = known.is_none_or(|item| !item.actual.is(&actual));
        let (since, session) = match known {
            Some(item) if is_touched => (item.since, seen.session),
            Some(item) => (item.since, item.session),
            None => (seen.at, seen.session),
        };
        let wanted = Held::new(wanted, None);
        let actual = Held::new(actual, Some(&wanted));
        self.insert(Item { key: key.clone(), wanted, actual, since, session });
        true
    }

    /// What was known of an item before a restart: since when, by whom.
    pub(crate) fn remember(&mut self, key: &ResourceKey, since: Timestamp, session: Option<Seq>) {
        if let Some(ByKey(mut item)) = self.items.take(key) {
            let known = Arc::make_mut(&mut item);
            (known.since, known.session) = (since, session);
            self.items.insert(ByKey(item));
        }
    }

    fn insert(&mut self, item: Item) {
        self.digest.take();
        let is_report_only = item.is_report_only();
        if self.items.replace(ByKey(Arc::new(item))).is_none() && is_report_only {
            self.report_only += 1;
        }
    }

    /// The key is as it should be, or nobody's business any more.
    pub(crate) fn remove(&mut self, key: &ResourceKey) -> bool {
        match self.items.take(key) {
            Some(ByKey(item)) => {
                self.digest.take();
                self.report_only -= usize::from(item.is_report_only());
                true
            }
            None => false,
        }
    }

    /// Before a full scan: the next look decides anew whether there is more than fits.
    pub(crate) fn begin_scan(&mut self) {
        self.left_out = 0;
    }

    /// After a full scan that found so many keys: those that are not here were left out, if any was.
    pub(crate) fn end_scan(&mut self, found: usize) {
        if self.is_truncated() || found > MAX_ITEMS {
            self.left_out = found.saturating_sub(self.items.len()).max(1);
        }
    }

    /// The item of a key.
    pub(crate) fn get(&self, key: &ResourceKey) -> Option<&Arc<Item>> {
        self.items.get(key).map(|ByKey(item)| item)
    }

    /// In key order.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.items.iter().map(|ByKey(item)| item)
    }

    /// Every key.
    pub(crate) fn keys(&self) -> Vec<ResourceKey> {
        self.items().map(|item| item.key.clone()).collect()
    }

    /// Keys that open a window.
    pub(crate) fn counted(&self) -> usize {
        self.items.len() - self.report_only
    }

    /// Keys that do not.
    pub(crate) fn report_only(&self) -> usize {
        self.report_only
    }

    /// All keys.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// How many more keys differ than are kept.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }

    /// Whether there are more than are kept.
    pub(crate) fn is_truncated(&self) -> bool {
        self.left_out > 0
    }

    /// What `commit --expect` names.
    pub(crate) fn digest(&self) -> [u8; 32] {
        if let Some(known) = self.digest.get() {
            return known;
        }
        let digest = resource::drift_digest_in_order(self.items().map(|item| item.change()));
        self.digest.set(Some(digest));
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ResourceKey {
        text.parse().unwrap()
    }

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    fn seen(at: i64, session: u64) -> Seen {
        let session = (session > 0).then(|| Seq::new(session).unwrap());
        Seen { at: Timestamp::from_unix_nanos(at), session }
    }

    #[test]
    fn a_key_is_in_the_set_for_as_long_as_it_differs() {
        let mut set = DriftSet::default();
        let (a, b) = (key("sysctl/a"), key("package/b"));
        assert!(!set.observe(&a, None, text("2"), seen(1, 0)));
        assert!(set.observe(&a, Some(text("1")), text("2"), seen(2, 7)));
        assert!(!set.observe(&a, Some(text("1")), text("2"), seen(3, 0)), "the same again");
        assert!(set.observe(&b, Some(text("1")), text("2"), seen(4, 0)));
        assert_eq!((set.counted(), set.report_only(), set.len()), (1, 1, 2));
        let item = set.get(&a).unwrap();
        assert_eq!((item.since.unix_nanos(), item.session), (2, Seq::new(7).ok()));
        // Changed again: since when stays, by whom does not.
        assert!(set.observe(&a, Some(text("1")), text("3"), seen(5, 8)));
        let item = set.get(&a).unwrap();
        assert_eq!((item.since.unix_nanos(), item.session), (2, Seq::new(8).ok()));
        // Declared otherwise: nobody changed the node.
        assert!(set.observe(&a, Some(text("9")), text("3"), seen(6, 9)));
        let item = set.get(&a).unwrap();
        assert_eq!(item.session, Seq::new(8).ok());
        assert!(set.observe(&a, None, text("3"), seen(7, 0)));
        assert!(set.remove(&b));
        assert_eq!((set.counted(), set.report_only(), set.len()), (0, 0, 0));
    }

    #[test]
    fn the_set_is_bounded_and_says_so() {
        let mut set = DriftSet::default();
        for number in 0..MAX_ITEMS {
            set.observe(&key(&format!("sysctl/k{number}")), Some(text("1")), text("2"), seen(1, 0));
        }
        assert!(!set.is_truncated());
        assert!(set.observe(&key("sysctl/one-more"), Some(text("1")), text("2"), seen(1, 0)));
        assert!(!set.observe(&key("sysctl/two-more"), Some(text("1")), text("2"), seen(1, 0)));
        assert!(set.is_truncated());
        assert_eq!(set.len(), MAX_ITEMS);
        set.end_scan(MAX_ITEMS + 7);
        assert_eq!((set.len(), set.left_out()), (MAX_ITEMS, 7));
        set.begin_scan();
        set.end_scan(MAX_ITEMS);
        assert_eq!((set.is_truncated(), set.left_out()), (false, 0));
    }

    #[test]
    fn the_digest_is_that_of_the_changes_in_key_order() {
        let mut set = DriftSet::default();
        let empty = set.digest();
        set.observe(&key("sysctl/b"), Some(text("1")), text("2"), seen(1, 0));
        set.observe(&key("sysctl/a"), Some(text("1")), text("2"), seen(2, 0));
        assert_ne!(set.digest(), empty);
        let changes: Vec<Change> = set.items().map(|item| item.change()).collect();
        assert_eq!(
            changes.iter().map(|c| c.key.to_string()).collect::<Vec<_>>(),
            ["sysctl/a", "sysctl/b"]
        );
        assert_eq!(set.digest(), resource::drift_digest(&changes));
        // Whatever changes an item changes it.
        let mut seen_digests = vec![empty, set.digest()];
        set.observe(&key("sysctl/a"), Some(text("1")), text("3"), seen(2, 0));
        seen_digests.push(set.digest());
        set.observe(&key("sysctl/a"), Some(text("0")), text("3"), seen(2, 0));
        seen_digests.push(set.digest());
        set.remember(&key("sysctl/a"), Timestamp::from_unix_nanos(9), None);
        assert_eq!(set.digest(), *seen_digests.last().unwrap(), "since when is not part of it");
        let different: BTreeSet<_> = seen_digests.iter().collect();
        assert_eq!(different.len(), seen_digests.len());
        set.remove(&key("sysctl/a"));
        set.remove(&key("sysctl/b"));
        assert_eq!(set.digest(), empty);
    }
}

//! The drift set: every key that differs from what it should be, since when, and by whose command.

use std::collections::BTreeMap;
use std::sync::Arc;

use pact_runtime::Timestamp;
use pact_schemas::Seq;
use pact_schemas::resource::{self, Change, ResourceKey, Value};

/// Keys that are kept. More than this is no set of decisions but another machine: the rest is found by a later scan.
pub(crate) const MAX_ITEMS: usize = resource::change_set::MAX_CHANGES;

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The key.
    pub(crate) key: ResourceKey,
    /// What it should be.
    pub(crate) old: Value,
    /// What it is.
    pub(crate) new: Value,
    /// Since when it is not what it should be.
    pub(crate) since: Timestamp,
    /// The command that was running, alone, when it changed last.
    pub(crate) session: Option<Seq>,
}

impl Item {
    /// Counted, but never opening a window.
    pub(crate) fn is_report_only(&self) -> bool {
        self.key.dimension().is_report_only()
    }

    /// As a change from what should be to what is.
    pub(crate) fn change(&self) -> Change {
        Change { key: self.key.clone(), old: Some(self.old.clone()), new: Some(self.new.clone()) }
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

/// All keys that differ.
#[derive(Debug, Default)]
pub(crate) struct DriftSet {
    items: BTreeMap<ResourceKey, Arc<Item>>,
    report_only: usize,
    /// Keys were left out because there were too many.
    is_truncated: bool,
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
        let known = self.items.get(key);
        if known.is_some_and(|item| item.old == wanted && item.new == actual) {
            return false;
        }
        if known.is_none() && self.items.len() >= MAX_ITEMS {
            let was = std::mem::replace(&mut self.is_truncated, true);
            return !was;
        }
        // Another declaration of a key that nobody touched is nobody's new change.
        let is_touched = known.is_none_or(|item| item.new != actual);
        let item = Item {
            key: key.clone(),
            old: wanted,
            new: actual,
            since: known.map_or(seen.at, |item| item.since),
            session: if is_touched { seen.session } else { known.and_then(|item| item.session) },
        };
        self.insert(item);
        true
    }

    /// What was known of an item before a restart: since when, by whom.
    pub(crate) fn remember(&mut self, key: &ResourceKey, since: Timestamp, session: Option<Seq>) {
        if let Some(item) = self.items.get_mut(key) {
            let item = Arc::make_mut(item);
            (item.since, item.session) = (since, session);
        }
    }

    fn insert(&mut self, item: Item) {
        let is_report_only = item.is_report_only();
        if self.items.insert(item.key.clone(), Arc::new(item)).is_none() && is_report_only {
            self.report_only += 1;
        }
    }

    /// The key is as it should be, or nobody's business any more.
    pub(crate) fn remove(&mut self, key: &ResourceKey) -> bool {
        match self.items.remove(key) {
            Some(item) => {
                self.report_only -= usize::from(item.is_report_only());
                true
            }
            None => false,
        }
    }

    /// Before a full scan: the next look decides anew whether there is more than fits.
    pub(crate) fn begin_scan(&mut self) {
        self.is_truncated = false;
    }

    /// The item of a key.
    pub(crate) fn get(&self, key: &ResourceKey) -> Option<&Arc<Item>> {
        self.items.get(key)
    }

    /// In key order.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.items.values()
    }

    /// Every key.
    pub(crate) fn keys(&self) -> Vec<ResourceKey> {
        self.items.keys().cloned().collect()
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

    /// Whether there are more than are kept.
    pub(crate) fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// As changes, in key order.
    pub(crate) fn changes(&self) -> Vec<Change> {
        self.items.values().map(|item| item.change()).collect()
    }

    /// What `commit --expect` names.
    pub(crate) fn digest(&self) -> [u8; 32] {
        resource::drift_digest(&self.changes())
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
        set.begin_scan();
        assert!(!set.is_truncated());
    }

    #[test]
    fn the_digest_is_that_of_the_changes_in_key_order() {
        let mut set = DriftSet::default();
        let empty = set.digest();
        set.observe(&key("sysctl/b"), Some(text("1")), text("2"), seen(1, 0));
        set.observe(&key("sysctl/a"), Some(text("1")), text("2"), seen(2, 0));
        assert_ne!(set.digest(), empty);
        let changes = set.changes();
        assert_eq!(
            changes.iter().map(|c| c.key.to_string()).collect::<Vec<_>>(),
            ["sysctl/a", "sysctl/b"]
        );
        assert_eq!(set.digest(), resource::drift_digest(&changes));
        set.remove(&key("sysctl/a"));
        set.remove(&key("sysctl/b"));
        assert_eq!(set.digest(), empty);
    }
}

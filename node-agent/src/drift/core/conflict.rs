//! Keys that node and journal both changed while they were out of touch.
//!
//! A key is in conflict when it differs on the node, undecided, when both come together again, and its declared value is another
//! than before they parted and than the node's. That a connection is gone is noticed late, so that drift of just before counts too. Nothing is written to it until an admin decides (commit: the node's value; rollback: the journal's) or the
//! window ends (the journal's).

use std::collections::BTreeMap;

use pact_schemas::resource::{Change, ResourceKey, Value};
use pact_schemas::v1::ConflictDecision;

use super::compare::matches;
use super::set::DriftSet;
use crate::declared::Wanted;

/// One key in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// What the journal declares.
    pub(crate) journal: Value,
    /// What the node has.
    pub(crate) local: Value,
}

impl Conflict {
    /// As it is reported: old = the journal's value, new = the node's.
    pub(crate) fn change(&self, key: &ResourceKey) -> Change {
        Change { key: key.clone(), old: Some(self.journal.clone()), new: Some(self.local.clone()) }
    }
}

/// All keys in conflict.
pub(crate) type Conflicts = BTreeMap<ResourceKey, Conflict>;

/// The conflicts that the state which is declared on return makes with undecided drift.
pub(crate) fn detect(set: &DriftSet, before: &Wanted, declared: &Wanted) -> Conflicts {
    let of_item = |item: &super::set::Item| {
        let held = declared.get(&item.key)?;
        let journal = held.value();
        let is_new = before.get(&item.key) != Some(held) && !matches(&journal, &item.wanted());
        let local = item.actual();
        let differs = !matches(&journal, &local);
        (is_new && differs).then(|| {
            let conflict = Conflict { journal, local };
            (item.key.clone(), conflict)
        })
    };
    set.items().filter_map(|item| of_item(item)).collect()
}

/// What became of a conflict, now that the key is `actual` and should be `wanted`, and whether that is the same
/// (`is_settled`); `None`: nobody has decided.
/// A value that the node got meanwhile takes the place of the local one.
pub(crate) fn judge(
    conflict: &mut Conflict,
    wanted: Option<&Value>,
    actual: &Value,
    is_settled: bool,
) -> Option<ConflictDecision> {
    if !is_settled {
        conflict.local = actual.clone();
        if let Some(wanted) = wanted {
            conflict.journal = wanted.clone();
        }
        return None;
    }
    let is_local = matches(actual, &conflict.local) && !matches(&conflict.journal, actual);
    Some(if is_local { ConflictDecision::Local } else { ConflictDecision::Journal })
}

#[cfg(test)]
mod tests {
    use pact_runtime::Timestamp;

    use super::super::set::Seen;
    use super::*;
    use crate::held::Held;

    fn value(number: i64) -> Value {
        Value::Integer(number)
    }

    /// One key: declared before, on the node, declared on return; `None`: not declared.
    fn found(before: Option<i64>, local: i64, after: Option<i64>) -> Option<Conflict> {
        let key: ResourceKey = "sysctl/a".parse().unwrap();
        let state = |declared: Option<i64>| {
            let held = declared.map(|declared| Held::new(value(declared), None));
            held.map(|held| (key.clone(), held)).into_iter().collect::<Wanted>()
        };
        let mut set = DriftSet::default();
        let seen = Seen { at: Timestamp::from_unix_nanos(1), session: None };
        // 0 is the baseline.
        let should_be = Some(before.unwrap_or(0)).filter(|should_be| *should_be != local);
        set.observe(&key, should_be.map(value), value(local), seen);
        detect(&set, &state(before), &state(after)).remove(&key)
    }

    #[test]
    fn a_conflict_needs_both_sides_to_have_moved_apart() {
        let conflict =
            |journal, local| Some(Conflict { journal: value(journal), local: value(local) });
        for (before, local, after, expected) in [
            (Some(1), 2, Some(3), conflict(3, 2)),
            (Some(1), 2, Some(1), None), // the journal did not move
            (Some(1), 2, Some(2), None), // both agree
            (Some(1), 1, Some(3), None), // the node did not move
            (Some(1), 2, None, None),    // not declared any more
            (None, 2, Some(3), conflict(3, 2)),
            (None, 2, Some(0), None), // declared as it was
        ] {
            assert_eq!(found(before, local, after), expected, "{before:?} {local} {after:?}");
        }
    }

    #[test]
    fn who_won_is_seen_from_what_both_sides_say_now() {
        let new = || Conflict { journal: value(3), local: value(2) };
        let mut conflict = new();
        assert_eq!(judge(&mut conflict, Some(&value(3)), &value(2), false), None);
        assert_eq!(conflict, new());
        assert_eq!(
            judge(&mut new(), Some(&value(2)), &value(2), true),
            Some(ConflictDecision::Local)
        );
        assert_eq!(
            judge(&mut new(), Some(&value(3)), &value(3), true),
            Some(ConflictDecision::Journal)
        );
        // Changed once more on the node, then committed.
        assert_eq!(judge(&mut conflict, Some(&value(3)), &value(5), false), None);
        assert_eq!(
            judge(&mut conflict, Some(&value(5)), &value(5), true),
            Some(ConflictDecision::Local)
        );
        // Nobody declares it any more: what the node has stays.
        assert_eq!(judge(&mut new(), None, &value(2), true), Some(ConflictDecision::Local));
    }
}

//! Whole states, and what lies between two of them.

use std::collections::BTreeMap;

use super::change::Change;
use super::key::ResourceKey;
use super::value::Value;

/// Values by key: an overlay, a delta, or what a node has.
pub type State = BTreeMap<ResourceKey, Value>;

/// What leads from one state to another, in key order.
#[must_use]
pub fn changes(from: &State, to: &State) -> Vec<Change> {
    let mut changes: Vec<Change> = to
        .iter()
        .filter(|(key, new)| from.get(*key) != Some(*new))
        .map(|(key, new)| Change {
            key: key.clone(),
            old: from.get(key).cloned(),
            new: Some(new.clone()),
        })
        .collect();
    let gone = from.iter().filter(|(key, _)| !to.contains_key(*key));
    changes.extend(gone.map(|(key, old)| Change {
        key: key.clone(),
        old: Some(old.clone()),
        new: None,
    }));
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

/// Carries out changes: `new` is the value of the key, without it the key is gone.
pub fn advance(state: &mut State, changes: &[Change]) {
    for change in changes {
        match &change.new {
            Some(new) => state.insert(change.key.clone(), new.clone()),
            None => state.remove(&change.key),
        };
    }
}

/// What a node is to be: its vCluster's overlay, and over it the node's own delta.
/// A declared [`Value::Absent`] stays: it is wanted that the resource does not exist.
#[must_use]
pub fn effective(overlay: &State, delta: &State) -> State {
    let mut state = overlay.clone();
    state.extend(delta.iter().map(|(key, value)| (key.clone(), value.clone())));
    state
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state() -> impl Strategy<Value = State> {
        let key = "(sysctl/a\\.[abc]|file//[abc]|net/[ab])".prop_map(|t| t.parse().unwrap());
        let value = prop_oneof![
            Just(Value::Absent),
            (0..3_i64).prop_map(Value::Integer),
            "[xy]".prop_map(Value::Text),
        ];
        proptest::collection::btree_map(key, value, 0..7)
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_state_to_the_other_and_back(from in state(), to in state()) {
            let forth = changes(&from, &to);
            let mut walked = from.clone();
            advance(&mut walked, &forth);
            prop_assert_eq!(&walked, &to);
            prop_assert!(forth.windows(2).all(|w| w[0].key < w[1].key));
            prop_assert!(forth.iter().all(|c| c.old != c.new));
            prop_assert!(forth.iter().all(|c| c.old.as_ref() == from.get(&c.key)));
            let back: Vec<Change> = forth
                .iter()
                .map(|c| Change { key: c.key.clone(), old: c.new.clone(), new: c.old.clone() })
                .collect();
            prop_assert_eq!(changes(&to, &from), back);
            prop_assert!(changes(&from, &from).is_empty());
        }

        #[test]
        fn the_delta_wins_and_the_overlay_fills(overlay in state(), delta in state()) {
            let both = effective(&overlay, &delta);
            for (key, value) in &both {
                prop_assert_eq!(Some(value), delta.get(key).or_else(|| overlay.get(key)));
            }
            prop_assert!(overlay.keys().chain(delta.keys()).all(|key| both.contains_key(key)));
            prop_assert_eq!(effective(&both, &delta), both);
        }
    }
}

//! Properties of declared state over random histories.

use std::collections::{BTreeMap, BTreeSet};

use pact_schemas::convert::{self, Scope};
use pact_schemas::resource::{Change, ResourceKey, Value, advance, change_set};
use pact_schemas::v1::{self, AssignMode, Command, EntryKind, action::Action};
use pact_schemas::{NodeId, VclusterId};
use prop::sample::Index;
use proptest::prelude::*;

use super::{DeclaredScope, HeldKeys, ScopeMark, size_of};
use crate::action::Trial;
use crate::memory::Memory;
use crate::plan::plan;
use crate::samples::{Commands, assign, held, overlay, rollback_of, site};
use crate::strategies::{declaring, rolling_back};
use crate::working::Working;

/// What happens in a history; rollbacks are resolved when their time has come.
#[derive(Debug, Clone)]
enum Step {
    Do(Box<Action>),
    /// Of a node's or a vCluster's state to one of its past.
    Back(Scope, Index),
    /// Minutes that pass before a tick.
    Wait(u16),
}

const NODES: &str = "[abc]";
const VCLUSTERS: &str = "(ml|hpc)";

fn node(name: &str) -> Scope {
    Scope::Node(NodeId::new(name).unwrap())
}

fn vcluster(name: &str) -> Scope {
    Scope::Vcluster(VclusterId::new(name).unwrap())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let moved = (NODES, VCLUSTERS, any::<bool>()).prop_map(|(node, to, into)| {
        if into {
            assign(&node, Some(&to), AssignMode::Move)
        } else {
            assign(&node, Some(&to), AssignMode::Assign)
        }
    });
    let left = NODES.prop_map(|node| assign(&node, None, AssignMode::Unassign));
    let back = prop_oneof![NODES.prop_map(|n| node(&n)), VCLUSTERS.prop_map(|v| vcluster(&v))];
    let step = prop_oneof![
        8 => declaring(NODES, VCLUSTERS).prop_map(|action| Step::Do(Box::new(action))),
        1 => moved.prop_map(|action| Step::Do(Box::new(action))),
        1 => left.prop_map(|action| Step::Do(Box::new(action))),
        1 => rolling_back(NODES, VCLUSTERS).prop_map(|action| Step::Do(Box::new(action))),
        3 => (back, any::<Index>()).prop_map(|(scope, to)| Step::Back(scope, to)),
        2 => (1..40_u16).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..50)
}

fn scopes() -> Vec<DeclaredScope> {
    let mut scopes = vec![overlay("ml"), overlay("hpc")];
    for vcluster in ["ml", "hpc"] {
        let of = |node: &str| {
            DeclaredScope::Delta(VclusterId::new(vcluster).unwrap(), NodeId::new(node).unwrap())
        };
        scopes.extend(["a", "b", "c"].map(of));
    }
    scopes
}

/// The scope of declared state that a rollback of `scope` restores now.
fn restored(state: &Memory, scope: &Scope) -> Option<DeclaredScope> {
    match scope {
        Scope::Vcluster(vcluster) => Some(DeclaredScope::Overlay(vcluster.clone())),
        Scope::Node(node) => {
            let vcluster = convert::vcluster_of(&state.nodes[node]).unwrap()?;
            Some(DeclaredScope::Delta(vcluster, node.clone()))
        }
        Scope::Global => None,
    }
}

fn newest(state: &Memory, scope: &DeclaredScope) -> u64 {
    Working::new(state).scope_mark(scope).seq
}

fn command(state: &Memory, commands: &mut Commands, step: &Step) -> Command {
    match step {
        Step::Do(action) => state.judging(commands.make(*action.clone())),
        Step::Back(scope, to) => {
            let base = restored(state, scope).map_or(0, |scope| newest(state, &scope));
            let head = usize::try_from(state.head.seq).unwrap();
            let to_seq = to.index(head) as u64 + 1;
            state.judging(commands.make(Action::Rollback(rollback_of(scope, to_seq, base))))
        }
        Step::Wait(minutes) => {
            commands.now_nanos += i64::from(*minutes) * 60_000_000_000;
            commands.bare(Action::Tick(v1::Tick {}))
        }
    }
}

fn time_of(command: &Command) -> i64 {
    pact_schemas::convert::unix_nanos(command.time.as_ref(), "time").unwrap()
}

/// Values with their ends, without the entries that declared them.
fn values(held: &HeldKeys) -> BTreeMap<ResourceKey, (Value, Option<i64>)> {
    let value = |h: &super::Held| (h.value.clone(), h.expires_nanos);
    held.iter().map(|(key, held)| (key.clone(), value(held))).collect()
}

fn changes_of(state: &Memory, entry: &v1::Entry) -> Vec<Change> {
    let (changes, chunks) = (entry.changes.clone(), entry.change_chunks.clone());
    let set = v1::ChangeSet { changes, chunks };
    change_set::unpack(&set, |chunk| Working::new(state).chunk(chunk)).unwrap()
}

fn entries_after(state: &Memory, seq: u64) -> Vec<v1::Entry> {
    state.decoded().into_iter().filter(|entry| entry.seq > seq).collect()
}

proptest! {
    #[test]
    fn the_past_stays_what_it_was_and_rollback_brings_it_back(steps in steps()) {
        let (mut state, mut commands) = site();
        let mut past: BTreeMap<u64, Vec<HeldKeys>> = BTreeMap::new();
        let all = |state: &Memory| scopes().iter().map(|s| held(state, s)).collect::<Vec<_>>();
        // Entries of the beginning: nothing was declared yet.
        (1..=state.head.seq).for_each(|seq| drop(past.insert(seq, all(&state))));
        for step in &steps {
            let command = command(&state, &mut commands, step);
            let goal = match step {
                Step::Back(scope, _) => restored(&state, scope),
                Step::Do(_) | Step::Wait(_) => None,
            };
            let before = state.head.seq;
            let time = time_of(&command);
            let action = command.action.clone().unwrap().action.unwrap();
            let outcome = state.apply(&[command]).remove(0).outcome.unwrap();
            let accepted = matches!(outcome, v1::outcome::Outcome::Committed(_));
            (before + 1..=state.head.seq).for_each(|seq| drop(past.insert(seq, all(&state))));
            if let (Some(goal), Action::Rollback(rollback), true) = (goal, action, accepted) {
                let at = scopes().iter().position(|s| *s == goal).unwrap();
                let mut expected = values(&past[&rollback.to_seq.unwrap()][at]);
                expected.retain(|_, (_, end)| end.is_none_or(|end| end > time));
                prop_assert_eq!(values(&held(&state, &goal)), expected);
            }
        }
        let work = Working::new(&state);
        for (seq, were) in &past {
            for (scope, was) in scopes().iter().zip(were) {
                // Several entries of one command share their state; its last entry has it.
                let last = past.range(seq..).take_while(|(_, w)| *w == were).last().unwrap().0;
                prop_assert_eq!(&work.held_at(scope, *last), was, "{:?} at {}", scope, seq);
            }
        }
    }

    #[test]
    fn a_plan_says_what_apply_does(steps in steps()) {
        let (mut state, mut commands) = site();
        for step in &steps {
            let command = command(&state, &mut commands, step);
            let action = command.action.clone().unwrap().action.unwrap();
            let is_planned = matches!(action, Action::ApplySpec(_) | Action::CommitDelta(_) | Action::Rollback(_));
            let planned = plan(&state, &action, Trial { time_nanos: time_of(&command), by_platform_admin: true });
            let (before, was) = (state.head.seq, scopes().iter().map(|s| held(&state, s)).collect::<Vec<_>>());
            let outcome = state.apply(&[command]).remove(0).outcome.unwrap();
            if !is_planned {
                continue;
            }
            match outcome {
                v1::outcome::Outcome::Rejected(error) => {
                    prop_assert_eq!(planned.refused, Some(error));
                }
                v1::outcome::Outcome::Committed(_) => {
                    prop_assert!(planned.refused.is_none());
                    let made = entries_after(&state, before);
                    prop_assert_eq!(made.len(), planned.scopes.len());
                    for (entry, planned) in made.iter().zip(&planned.scopes) {
                        prop_assert_eq!(&changes_of(&state, entry), &planned.changes);
                        prop_assert_eq!(entry.scope.clone(), Some((&planned.scope).into()));
                        let Some(into) = &planned.into else { continue };
                        let at = scopes().iter().position(|s| s == into).unwrap();
                        let mut walked: BTreeMap<_, _> =
                            was[at].iter().map(|(k, h)| (k.clone(), h.value.clone())).collect();
                        advance(&mut walked, &planned.changes);
                        let now: BTreeMap<_, _> =
                            held(&state, into).into_iter().map(|(k, h)| (k, h.value)).collect();
                        prop_assert_eq!(walked, now);
                    }
                }
            }
        }
    }

    #[test]
    fn indexes_and_records_say_what_is_declared(steps in steps()) {
        let (mut state, mut commands) = site();
        for step in &steps {
            let command = command(&state, &mut commands, step);
            let time = time_of(&command).max(state.head.time_nanos);
            let is_tick = matches!(step, Step::Wait(_));
            state.apply(&[command]);
            let (mut nodes, mut ends) = (BTreeSet::new(), BTreeSet::new());
            for scope in scopes() {
                let held = held(&state, &scope);
                let mark = Working::new(&state).scope_mark(&scope);
                let size_bytes = held.iter().map(|(key, held)| size_of(key, &held.value)).sum();
                let keys = u32::try_from(held.len()).unwrap();
                prop_assert_eq!(mark, ScopeMark { seq: mark.seq, keys, size_bytes });
                prop_assert!(held.values().all(|held| held.seq <= mark.seq));
                for (key, held) in &held {
                    prop_assert!(!(is_tick && held.is_over(time)), "expired and still declared");
                    if let DeclaredScope::Delta(vcluster, node) = &scope {
                        nodes.insert((vcluster.clone(), key.clone(), node.clone()));
                    }
                    ends.extend(held.expires_nanos.map(|end| (end, scope.clone(), key.clone())));
                }
                match &scope {
                    DeclaredScope::Overlay(vcluster) => {
                        let record = &state.vclusters[vcluster];
                        prop_assert_eq!((record.overlay_seq, record.overlay_keys), (mark.seq, keys));
                    }
                    DeclaredScope::Delta(vcluster, node) => {
                        let record = &state.nodes[node];
                        if record.vcluster.as_deref() == Some(vcluster.as_str()) {
                            prop_assert_eq!(record.delta_seq, mark.seq);
                        }
                    }
                }
            }
            prop_assert_eq!(&state.delta_nodes, &nodes);
            prop_assert_eq!(&state.expiries, &ends);
        }
        let expired = state.decoded().into_iter().filter(|e| e.kind() == EntryKind::DeltaExpired);
        prop_assert!(expired.clone().all(|e| !e.changes.is_empty() && e.changes.iter().all(|c| c.new.is_none())));
    }
}

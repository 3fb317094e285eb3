//! Properties of `apply` over random commands.

use pact_schemas::v1::{self, AssignMode, NodeState, VclusterPolicy, action::Action};
use proptest::prelude::*;

use super::memory::Memory;
use super::record::leaf_hash;
use super::samples::{Commands, assign, ended, exec, policy, register};
use super::strategies::{declaring, rolling_back};

fn name() -> impl Strategy<Value = String> {
    (0..4_u8).prop_map(|n| format!("n{n}"))
}

fn actions() -> impl Strategy<Value = Action> {
    let revoke = |node| Action::RevokeNode(v1::RevokeNode { node, judged: Vec::new() });
    prop_oneof![
        4 => (name(), 0..6_u8).prop_map(|(node, mac)| register(&node, mac)),
        2 => "v[ab]".prop_map(|v| policy(&v, VclusterPolicy::default())),
        4 => (name(), "v[abc]", 0..3_u8).prop_map(|(node, v, mode)| match mode {
            0 => assign(&node, Some(&v), AssignMode::Assign),
            1 => assign(&node, Some(&v), AssignMode::Move),
            _ => assign(&node, None, AssignMode::Unassign),
        }),
        4 => (name(), name()).prop_map(|(a, b)| exec(&format!("{a},{b}"), &["id"])),
        4 => (name(), prop_oneof![Just('a'), Just('b')], 0..4_u64, 0..12_u64)
            .prop_map(|(node, spool, number, seq)| ended(&node, spool, number, seq)),
        1 => name().prop_map(revoke),
        6 => declaring("n[0-3]", "v[abc]"),
        2 => rolling_back("n[0-3]", "v[abc]"),
        2 => Just(Action::Tick(v1::Tick {})),
    ]
}

fn commands(actions: Vec<(Action, bool)>) -> Vec<v1::Command> {
    let mut made = Commands::new();
    actions
        .into_iter()
        .map(|(action, has_id)| {
            if matches!(action, Action::Tick(_)) {
                // Long enough for deltas to end.
                made.now_nanos += 600_000_000_000;
            }
            if has_id { made.make(action) } else { made.bare(action) }
        })
        .collect()
}

/// The commands as a gateway made them that judged each right in time, one in nine too early; and
/// what became of them one by one.
fn judged(commands: Vec<v1::Command>, state: &mut Memory) -> (Vec<v1::Command>, Vec<v1::Outcome>) {
    let at_first = Memory::default();
    let commands = commands.into_iter().enumerate().map(|(number, command)| {
        let judged_by = if number % 9 == 8 { &at_first } else { &*state };
        let command = judged_by.judging(command);
        let outcome = state.apply(std::slice::from_ref(&command)).remove(0);
        (command, outcome)
    });
    commands.unzip()
}

proptest! {
    #[test]
    fn batching_changes_nothing(actions in prop::collection::vec((actions(), any::<bool>()), 1..60), size in 1..20_usize) {
        let commands = commands(actions);
        let (mut single, mut batched) = (Memory::default(), Memory::default());
        let (commands, one_by_one) = judged(commands, &mut single);
        let in_batches: Vec<_> = commands.chunks(size).flat_map(|chunk| batched.apply(chunk)).collect();
        prop_assert_eq!(one_by_one, in_batches);
        prop_assert_eq!(single.head, batched.head);
        prop_assert_eq!(&single.entries, &batched.entries);
        prop_assert_eq!(&single.nodes, &batched.nodes);
        prop_assert_eq!(&single.hardware, &batched.hardware);
        prop_assert_eq!(&single.vclusters, &batched.vclusters);
        prop_assert_eq!(&single.postings, &batched.postings);
        prop_assert_eq!(&single.requests, &batched.requests);
        prop_assert_eq!(single.horizon, batched.horizon);
        prop_assert_eq!(&single.declared, &batched.declared);
        prop_assert_eq!(&single.scope_marks, &batched.scope_marks);
        prop_assert_eq!(&single.delta_nodes, &batched.delta_nodes);
        prop_assert_eq!(&single.expiries, &batched.expiries);
        prop_assert_eq!(&single.blobs, &batched.blobs);
        prop_assert_eq!(&single.uploads, &batched.uploads);
    }

    #[test]
    fn every_command_twice_is_every_command_once(actions in prop::collection::vec(actions(), 1..40)) {
        let commands = commands(actions.into_iter().map(|action| (action, true)).collect());
        let (mut once, mut twice) = (Memory::default(), Memory::default());
        let (commands, _) = judged(commands, &mut once);
        for command in &commands {
            twice.apply(&[command.clone(), command.clone()]);
        }
        prop_assert_eq!(once.head, twice.head);
        prop_assert_eq!(&once.entries, &twice.entries);
        prop_assert_eq!(&once.declared, &twice.declared);
    }

    #[test]
    fn what_is_folded_is_consistent(actions in prop::collection::vec((actions(), any::<bool>()), 1..60)) {
        let mut state = Memory::default();
        let (commands, _) = judged(commands(actions), &mut Memory::default());
        commands.chunks(7).for_each(|chunk| drop(state.apply(chunk)));
        let revoked = i32::from(NodeState::Revoked);
        for (vcluster, record) in &state.vclusters {
            let members = state.nodes.values().filter(|n| n.vcluster.as_deref() == Some(vcluster.as_str())).count();
            prop_assert_eq!(u32::try_from(members).unwrap(), record.node_count);
        }
        for (hardware, holder) in &state.hardware {
            let record = &state.nodes[holder];
            prop_assert!(record.state != revoked);
            let mac = hardware.strip_prefix("mac:").unwrap().to_owned();
            prop_assert!(record.identity.as_ref().unwrap().macs.contains(&mac));
        }
        let mut previous = [0; 32];
        for (seq, (stored, entry)) in (1..).zip(state.entries.iter().zip(state.decoded())) {
            prop_assert_eq!(entry.seq, seq);
            prop_assert_eq!(&entry.previous_hash, &previous);
            previous = leaf_hash(&stored.entry);
        }
        prop_assert_eq!(state.head.hash, previous);
        prop_assert_eq!(state.horizon.remembered, state.requests.len() as u64);
    }
}

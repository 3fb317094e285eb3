//! The rows say what the state in maps says, now and of the past, before and after a restart and a snapshot.

#[path = "../../../../libs/journal-core/src/strategies.rs"]
mod strategies;

use std::sync::Arc;

use openraft::RaftSnapshotBuilder as _;
use openraft::entry::FromAppData as _;
use openraft::storage::RaftStateMachine as _;
use openraft::testing::log_id;
use pact_journal_core::memory::Memory;
use pact_journal_core::samples::{Commands, assign, policy, register};
use pact_journal_core::samples::{commit, delta_of, overlay};
use pact_journal_core::view::StateView;
use pact_schemas::convert::Scope;
use pact_schemas::v1::{self, Command, action::Action};
use proptest::prelude::*;
use proptest::test_runner::Config;

use self::strategies::{declaring, rolling_back};
use super::*;
use crate::consensus::types::{CommandBatch, Entry};
use crate::store::machine::StateMachine;
use crate::store::state::StateCell;

fn open(folder: &std::path::Path) -> (Arc<StateCell>, StateMachine) {
    let cell = Arc::new(StateCell::open(&folder.join("state")).unwrap());
    let machine = StateMachine::open(Arc::clone(&cell), &folder.join("snapshot")).unwrap();
    (cell, machine)
}

fn entry(index: u64, commands: Vec<Command>) -> Entry {
    let mut entry = Entry::from_app_data(CommandBatch::encode(&v1::CommandBatch { commands }));
    entry.log_id = log_id(1, 1, index);
    entry
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Everything that is asked of declared state.
fn compare(rows: &dyn Rows, memory: &Memory) {
    for scope in [
        overlay("ml"),
        overlay("ml-x"),
        delta_of("ml", "a"),
        delta_of("ml", "ab"),
        delta_of("ml-x", "a"),
        delta_of("ml-x", "ab"),
    ] {
        for seq in 0..=memory.head.seq + 1 {
            let held: Vec<_> = held_after(rows, &scope, seq, None).collect();
            assert_eq!(held, memory.declared_after(&scope, seq, None, usize::MAX));
            assert_eq!(scope_mark(rows, &scope, seq), StateView::scope_mark(memory, &scope, seq));
            for (key, _) in &held {
                assert_eq!(newest(rows, &scope, key, seq), memory.declared(&scope, key, seq));
                let after: Vec<_> = held_after(rows, &scope, seq, Some(key)).collect();
                assert_eq!(after, memory.declared_after(&scope, seq, Some(key), usize::MAX));
                let from: Vec<_> = held_from(rows, &scope, seq, key.as_str()).collect();
                assert_eq!(from.len(), after.len() + 1);
                assert_eq!(
                    delta_nodes(rows, scope.vcluster(), key),
                    memory.delta_nodes(scope.vcluster(), key)
                );
            }
        }
    }
    for until in [0, i64::MAX] {
        for limit in [1, usize::MAX] {
            assert_eq!(expiring(rows, until, limit), memory.expiring(until, limit));
        }
    }
}

fn beginning() -> Vec<Action> {
    vec![
        register("a", 1),
        register("ab", 2),
        policy("ml", v1::VclusterPolicy::default()),
        policy("ml-x", v1::VclusterPolicy::default()),
        assign("a,ab", Some("ml"), v1::AssignMode::Assign),
    ]
}

/// The command of an action, which the state in maps has applied.
fn made(memory: &mut Memory, commands: &mut Commands, action: Action) -> Command {
    let command = memory.judging(commands.make(action));
    memory.apply(std::slice::from_ref(&command));
    command
}

fn histories() -> impl Strategy<Value = Vec<Action>> {
    let moved =
        ("ab?", "ml(-x)?").prop_map(|(node, to)| assign(&node, Some(&to), v1::AssignMode::Move));
    let action = prop_oneof![
        6 => declaring("ab?", "ml(-x)?"),
        1 => rolling_back("ab?", "ml(-x)?"),
        2 => moved,
        1 => Just(Action::Tick(v1::Tick {})),
    ];
    prop::collection::vec(action, 1..30)
}

proptest! {
    // Each case makes databases on disk.
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    #[test]
    fn two_members_with_the_same_log_have_the_same_rows(actions in histories()) {
        let folder = tempfile::tempdir().unwrap();
        let (mut memory, mut commands) = (Memory::default(), Commands::new());
        let log: Vec<Command> = beginning()
            .into_iter()
            .chain(actions)
            .map(|action| {
                if matches!(action, Action::Tick(_)) {
                    commands.now_nanos += 1_000_000_000_000;
                }
                made(&mut memory, &mut commands, action)
            })
            .collect();
        block_on(async {
            let (cell, mut machine) = open(folder.path());
            // The same commands in other batches.
            for (index, batch) in (1..).zip(log.chunks(4)) {
                machine.apply([entry(index, batch.to_vec())]).await.unwrap();
            }
            let state = cell.load();
            assert_eq!(crate::store::query::read_head(&state), memory.head);
            compare(&*state, &memory);
            compare(&Frozen::of(&state), &memory);
            let built = machine.build_snapshot().await.unwrap();
            drop((state, cell, machine));
            let (cell, _machine) = open(folder.path());
            compare(&*cell.load(), &memory);
            let other = tempfile::tempdir().unwrap();
            let (cell, mut machine) = open(other.path());
            machine.install_snapshot(&built.meta, built.snapshot).await.unwrap();
            compare(&*cell.load(), &memory);
        });
    }
}

#[tokio::test]
async fn a_moment_is_not_changed_by_what_is_applied_later() {
    let folder = tempfile::tempdir().unwrap();
    let (cell, mut machine) = open(folder.path());
    let mut commands = Commands::new();
    let mut told = cell.configured();
    let mut memory = Memory::default();
    let begin = beginning().into_iter().map(|action| made(&mut memory, &mut commands, action));
    let begin: Vec<Command> = begin.collect();
    machine.apply([entry(1, begin)]).await.unwrap();
    let state = cell.load();
    let moment = Frozen::of(&state);
    let delta = commands.make(commit("a", "ml", &[("sysctl/a", "1")]));
    machine.apply([entry(2, vec![delta])]).await.unwrap();
    let scope = delta_of("ml", "a");
    let count = |rows: &dyn Rows| held_after(rows, &scope, u64::MAX, None).count();
    assert_eq!((count(&moment), count(&*state)), (0, 1));
    let record = |rows: &dyn Rows| crate::store::query::node_in(rows, "a").unwrap().delta_seq;
    assert_eq!((record(&moment), record(&*state) > 0), (0, true));

    // Whoever announces configurations is told once it can be read.
    let first = told.recv().await.unwrap();
    assert!(first.contains_key(&Scope::Vcluster("ml".parse().unwrap())));
    let second = told.recv().await.unwrap();
    let of_node: Vec<_> = second.keys().map(ToString::to_string).collect();
    assert_eq!(of_node, ["node:a"]);
}

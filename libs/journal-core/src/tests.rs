//! Rules of the journal, one by one.

mod actions;
mod audience;
mod events;
mod exec;
mod judged;
mod members;
mod nodes;
mod policies;
mod requests;

use pact_schemas::v1::{
    self, AssignMode, EntryKind, NodeState, VclusterPolicy, action::Action, entry::Payload,
};
use pact_schemas::{ErrorCode, NodeId, RequestId};
use prost::Message as _;

use super::memory::Memory;
use super::record::{Posting, leaf_hash, sha256};
use super::requests::{MAX_AHEAD, REMEMBERED_FOR, digest, recall};
use super::samples::{
    Commands, START_NANOS, assign, committed, ended, exec, judged, policy, refused, register,
    revoke,
};

fn code(outcome: &v1::Outcome) -> ErrorCode {
    refused(outcome).known_code()
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// One node per name, registered.
fn with_nodes(names: &[&str]) -> (Memory, Commands) {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    for (mac, name) in (1_u8..).zip(names) {
        let command = commands.make(register(name, mac));
        committed(&state.apply(&[command])[0]);
    }
    (state, commands)
}

fn one(state: &mut Memory, command: v1::Command) -> v1::Outcome {
    let command = state.judging(command);
    state.apply(&[command]).remove(0)
}

#[test]
fn entry_bytes_and_hashes_are_those_of_the_golden_file() {
    let (mut state, mut commands) = with_nodes(&["node-1", "node-2"]);
    let batch = [
        commands.make(policy(
            "ml",
            VclusterPolicy { exec_whitelist: vec!["nvidia-smi".to_owned()], ..Default::default() },
        )),
        commands.make(judged(
            assign("node-[1-2]", Some("ml"), AssignMode::Assign),
            &[(None, "node-[1-2]")],
        )),
        commands.make(judged(exec("node-[1-2]", &["uname", "-a"]), &[(Some("ml"), "node-[1-2]")])),
    ];
    for outcome in state.apply(&batch) {
        committed(&outcome);
    }
    one(&mut state, commands.bare(ended("node-1", 'a', 1, 6)));
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let lines = state
        .entries
        .iter()
        .map(|stored| format!("{} {}\n", hex(&stored.hash), hex(&stored.entry)));
    let made: String = lines.chain([format!("root {}\n", hex(&state.tree.root()))]).collect();
    if made != include_str!("../tests/golden/entries.txt") {
        let path = std::env::temp_dir().join("entries.txt");
        std::fs::write(&path, &made).unwrap();
        panic!(
            "entry bytes changed: what is on disks and in proofs would no longer verify. Made: {}",
            path.display()
        );
    }
}

#[test]
fn entries_are_linked_and_time_never_goes_back() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    commands.now_nanos -= 3_600_000_000_000;
    committed(&one(&mut state, commands.make(exec("a", &["id"]))));
    let mut previous = vec![0; 32];
    let mut time = 0;
    for (stored, entry) in state.entries.iter().zip(state.decoded()) {
        assert_eq!(entry.previous_hash, previous);
        assert_eq!(stored.hash.as_ref(), leaf_hash(&stored.entry));
        let at = pact_schemas::convert::unix_nanos(entry.time.as_ref(), "time").unwrap();
        assert!(at >= time);
        (previous, time) = (stored.hash.to_vec(), at);
    }
    assert_eq!(state.head.hash.to_vec(), previous);
    assert_eq!(state.tree.size(), 2);
}

#[test]
fn members_are_announced_when_they_change() {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let announce = |address: &str| {
        Action::AnnounceMembers(v1::AnnounceMembers {
            members: vec![v1::MemberAddress {
                id: 1,
                address: address.to_owned(),
                ..Default::default()
            }],
            ended: None,
        })
    };
    assert_eq!(committed(&one(&mut state, commands.bare(announce("a:9444")))), (1, 1, false));
    assert_eq!(committed(&one(&mut state, commands.bare(announce("a:9444")))), (0, 0, false));
    assert_eq!(committed(&one(&mut state, commands.bare(announce("b:9444")))), (2, 2, false));
}

#[test]
fn an_unknown_command_stops_instead_of_being_skipped() {
    let state = Memory::default();
    let mut command = Commands::new().bare(Action::Tick(v1::Tick {}));
    command.version = 2;
    assert!(super::apply::apply_batch(&state, &[command.clone()]).is_err());
    command.version = 1;
    command.action = Some(v1::Action::decode([0xfa, 0x07, 0x00].as_slice()).unwrap());
    assert!(super::apply::apply_batch(&state, &[command]).is_err());
}

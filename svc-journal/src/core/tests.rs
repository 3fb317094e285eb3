use pact_schemas::v1::{
    self, AssignMode, EntryKind, NodeState, VclusterPolicy, action::Action, entry::Payload,
};
use pact_schemas::{ErrorCode, NodeId};
use prost::Message as _;

use super::memory::{
    Commands, Memory, START_NANOS, assign, committed, ended, exec, policy, refused, register,
};
use super::records::{Posting, leaf_hash, sha256};
use super::requests::{MAX_AHEAD, REMEMBERED_FOR};

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
        commands.make(assign("node-[1-2]", Some("ml"), AssignMode::Assign)),
        commands.make(exec("node-[1-2]", &["uname", "-a"])),
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
    if made != include_str!("../../tests/golden/entries.txt") {
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
fn a_retry_gets_the_first_outcome_and_refusals_are_not_remembered() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let command = commands.make(exec("a", &["id"]));
    // Twice in one batch and once later: one entry.
    let outcomes = state.apply(&[command.clone(), command.clone()]);
    assert_eq!((committed(&outcomes[0]), committed(&outcomes[1])), ((2, 2, false), (2, 2, true)));
    let later = v1::Command {
        time: Some(pact_schemas::convert::timestamp(START_NANOS + 9_000_000_000)),
        ..command.clone()
    };
    assert_eq!(committed(&one(&mut state, later)), (2, 2, true));
    let mut other = command.clone();
    other.action = Some(v1::Action { action: Some(exec("a", &["rm"])) });
    assert_eq!(code(&one(&mut state, other)), ErrorCode::Conflict);
    let mut stolen = command;
    stolen.author.as_mut().unwrap().subject = "mallory".to_owned();
    assert_eq!(code(&one(&mut state, stolen)), ErrorCode::Conflict);

    let command = commands.make(exec("b", &["id"]));
    assert_eq!(code(&one(&mut state, command.clone())), ErrorCode::NotFound);
    committed(&one(&mut state, commands.make(register("b", 9))));
    assert_eq!(committed(&one(&mut state, command)), (4, 4, false));
    assert_eq!(state.horizon.remembered, 4);
}

#[test]
fn ids_beyond_the_horizon_and_from_the_future_are_refused() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let old = commands.make(exec("a", &["id"]));
    commands.now_nanos += i64::try_from(REMEMBERED_FOR.as_nanos()).unwrap() + 5_000_000;
    let ahead = commands.make(exec("a", &["id"]));
    committed(&one(&mut state, commands.make(exec("a", &["id"]))));
    assert_eq!(code(&one(&mut state, old)), ErrorCode::RequestIdRefused);
    // Its id is from now, the leader says it is more than five minutes earlier; entry time holds it to the last entry's.
    let (mut early, _) = with_nodes(&["a"]);
    let mut command = ahead;
    let now = commands.now_nanos - i64::try_from(MAX_AHEAD.as_nanos()).unwrap() - 10_000_000;
    command.time = Some(pact_schemas::convert::timestamp(now));
    let outcome = one(&mut early, command);
    assert_eq!(code(&outcome), ErrorCode::RequestIdRefused);
    assert!(refused(&outcome).next_step.contains("clock"));

    let before = state.horizon;
    committed(&one(&mut state, commands.bare(Action::Tick(v1::Tick {}))));
    assert_eq!((before.remembered, state.horizon.remembered), (2, 1));
    assert!(state.horizon.unix_milliseconds > before.unix_milliseconds);
    assert_eq!(state.requests.len(), 1);
}

#[test]
fn nodes_are_registered_once_and_hardware_belongs_to_one() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    assert_eq!(code(&one(&mut state, commands.make(register("a", 2)))), ErrorCode::Conflict);
    let outcome = one(&mut state, commands.make(register("b", 1)));
    assert_eq!(code(&outcome), ErrorCode::Conflict);
    assert!(refused(&outcome).message.contains("belongs to node a"));
    let mut replace = register("a", 3);
    if let Action::RegisterNode(register) = &mut replace {
        register.replace = true;
    }
    committed(&one(&mut state, commands.make(replace)));
    committed(&one(&mut state, commands.make(register("b", 1))));
    committed(&one(
        &mut state,
        commands.make(Action::RevokeNode(v1::RevokeNode { node: "b".to_owned() })),
    ));
    assert_eq!(code(&one(&mut state, commands.make(exec("a,b", &["id"])))), ErrorCode::NodeRevoked);
    committed(&one(&mut state, commands.make(register("c", 1))));
    assert_eq!(code(&one(&mut state, commands.make(register("b", 1)))), ErrorCode::Conflict);
    committed(&one(&mut state, commands.make(register("b", 7))));
    assert_eq!(state.nodes[&node("b")].state, i32::from(NodeState::Registered));
}

fn enrol(name: &str, expected: u64, renewal: bool) -> Action {
    Action::EnrolNode(v1::EnrolNode {
        node: name.to_owned(),
        certificate_serial: format!("{expected:02x}"),
        certificate_not_after: Some(pact_schemas::convert::timestamp(START_NANOS)),
        bus_user: "UA".to_owned(),
        agent_version: "0.1.0".to_owned(),
        expected_state_seq: expected,
        renewal,
    })
}

fn liveness(name: &str, state: NodeState, expected: u64) -> Action {
    Action::SetLiveness(v1::SetLiveness {
        node: name.to_owned(),
        state: state.into(),
        expected_state_seq: expected,
    })
}

#[test]
fn of_two_claimants_of_a_node_one_is_enrolled() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    assert_eq!(code(&one(&mut state, commands.make(enrol("a", 1, true)))), ErrorCode::Conflict);
    let outcomes =
        state.apply(&[commands.make(enrol("a", 1, false)), commands.make(enrol("a", 1, false))]);
    assert_eq!(committed(&outcomes[0]), (2, 2, false));
    assert_eq!(code(&outcomes[1]), ErrorCode::Conflict);
    committed(&one(&mut state, commands.make(enrol("a", 2, true))));
    assert_eq!(state.nodes[&node("a")].state_seq, 2, "a renewal is no new identity");
    committed(&one(&mut state, commands.make(liveness("a", NodeState::Inactive, 2))));
    assert_eq!(
        code(&one(&mut state, commands.make(liveness("a", NodeState::Active, 2)))),
        ErrorCode::Conflict
    );
    committed(&one(&mut state, commands.make(liveness("a", NodeState::Active, 4))));
    assert_eq!(
        committed(&one(&mut state, commands.make(liveness("a", NodeState::Active, 5)))),
        (0, 0, false)
    );
    let kinds: Vec<i32> = state.decoded().iter().map(|e| e.kind).collect();
    let expected = [
        EntryKind::NodeRegistered,
        EntryKind::NodeEnrolled,
        EntryKind::NodeRenewed,
        EntryKind::NodeInactive,
        EntryKind::NodeActive,
    ];
    assert_eq!(kinds, expected.map(i32::from));
}

#[test]
fn every_bus_user_of_a_node_is_known_until_it_expires() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let user = |key: &str, expected: u64, renewal: bool| {
        let Action::EnrolNode(enrol) = enrol("a", expected, renewal) else { panic!() };
        let end = START_NANOS + 3 * 86_400_000_000_000;
        Action::EnrolNode(v1::EnrolNode {
            bus_user: key.to_owned(),
            certificate_not_after: Some(pact_schemas::convert::timestamp(end)),
            ..enrol
        })
    };
    let shown = |state: &Memory| -> Vec<(String, bool)> {
        let users = &state.nodes[&node("a")].live_bus_users;
        users.iter().map(|u| (u.key.clone(), u.ended)).collect()
    };
    committed(&one(&mut state, commands.make(user("U1", 1, false))));
    committed(&one(&mut state, commands.make(user("U2", 2, true))));
    assert_eq!(shown(&state), [("U1".to_owned(), false), ("U2".to_owned(), false)]);
    committed(&one(&mut state, commands.make(user("U3", 2, false))));
    let ended = |key: &str| (key.to_owned(), true);
    assert_eq!(shown(&state), [ended("U1"), ended("U2"), ("U3".to_owned(), false)]);
    let revoke = Action::RevokeNode(v1::RevokeNode { node: "a".to_owned() });
    committed(&one(&mut state, commands.make(revoke)));
    assert_eq!(shown(&state), [ended("U1"), ended("U2"), ended("U3")]);
    // A node that is brought back does not bring back what it had.
    committed(&one(&mut state, commands.make(register("a", 1))));
    assert_eq!(shown(&state), [ended("U1"), ended("U2"), ended("U3")]);
}

#[test]
fn assignments_are_all_or_nothing_and_counted() {
    let (mut state, mut commands) = with_nodes(&["a", "b", "c"]);
    assert_eq!(
        code(&one(&mut state, commands.make(assign("a", Some("ml"), AssignMode::Assign)))),
        ErrorCode::NotFound
    );
    committed(&one(&mut state, commands.make(policy("ml", VclusterPolicy::default()))));
    committed(&one(&mut state, commands.make(policy("hpc", VclusterPolicy::default()))));
    let before = state.head;
    assert_eq!(
        code(&one(&mut state, commands.make(assign("a,x", Some("ml"), AssignMode::Assign)))),
        ErrorCode::NotFound
    );
    assert_eq!(state.head, before);
    assert_eq!(
        committed(&one(&mut state, commands.make(assign("a,b", Some("ml"), AssignMode::Assign)))),
        (6, 7, false)
    );
    assert_eq!(
        code(&one(&mut state, commands.make(assign("b,c", Some("ml"), AssignMode::Assign)))),
        ErrorCode::Conflict
    );
    committed(&one(&mut state, commands.make(assign("b", Some("hpc"), AssignMode::Move))));
    committed(&one(&mut state, commands.make(assign("a", None, AssignMode::Unassign))));
    assert_eq!(
        code(&one(&mut state, commands.make(assign("a", Some("ml"), AssignMode::Move)))),
        ErrorCode::Conflict
    );
    let count = |name: &str| state.vclusters[&name.parse().unwrap()].node_count;
    assert_eq!((count("ml"), count("hpc")), (0, 1));
    let ml = &state.postings[&Posting::Vcluster("ml".parse().unwrap())];
    assert_eq!(ml.as_slice(), [4, 6, 7, 8, 9], "both sides of a move see it");
}

#[test]
fn exec_takes_what_all_vclusters_of_its_targets_allow() {
    let (mut state, mut commands) = with_nodes(&["a", "b", "c"]);
    let list = |names: &[&str]| VclusterPolicy {
        exec_whitelist: names.iter().map(|n| (*n).to_owned()).collect(),
        ..Default::default()
    };
    committed(&one(&mut state, commands.make(policy("ml", list(&["gdb", "perf"])))));
    committed(&one(&mut state, commands.make(policy("hpc", list(&["perf", "strace"])))));
    committed(&one(&mut state, commands.make(assign("a", Some("ml"), AssignMode::Assign))));
    committed(&one(&mut state, commands.make(assign("b", Some("hpc"), AssignMode::Assign))));
    for (targets, expected) in
        [("a", vec!["gdb", "perf"]), ("a,b", vec!["perf"]), ("a,b,c", vec![]), ("c", vec![])]
    {
        let command = commands.make(exec(targets, &["perf"]));
        let id = command.request_id.clone().unwrap().parse().unwrap();
        committed(&one(&mut state, command));
        assert_eq!(state.requests[&id].exec_whitelist, expected, "{targets}");
    }
    let scopes: Vec<_> = state.decoded().iter().skip(7).map(|e| e.scope.clone().unwrap()).collect();
    assert_eq!(scopes[0].scope, Some(v1::scope::Scope::Node("a".to_owned())));
    assert_eq!(scopes[1].scope, Some(v1::scope::Scope::Global(v1::Global {})));
    let anonymous = commands.bare(exec("a", &["perf"]));
    assert_eq!(code(&one(&mut state, anonymous)), ErrorCode::InvalidArgument);
    assert_eq!(code(&one(&mut state, commands.make(exec("a", &[])))), ErrorCode::InvalidArgument);
}

#[test]
fn one_regulated_target_makes_all_of_them_strict() {
    let (mut state, mut commands) = with_nodes(&["a", "b", "c"]);
    let regulated = VclusterPolicy { regulated: Some(true), ..Default::default() };
    committed(&one(&mut state, commands.make(policy("bio", regulated))));
    committed(&one(&mut state, commands.make(policy("ml", VclusterPolicy::default()))));
    committed(&one(&mut state, commands.make(assign("a", Some("bio"), AssignMode::Assign))));
    committed(&one(&mut state, commands.make(assign("b", Some("ml"), AssignMode::Assign))));
    for (targets, strict) in
        [("a", true), ("b", false), ("c", false), ("b,c", false), ("a,b", true)]
    {
        let command = commands.make(exec(targets, &["id"]));
        let id = command.request_id.clone().unwrap().parse().unwrap();
        committed(&one(&mut state, command));
        assert_eq!(state.requests[&id].require_strict, strict, "{targets}");
    }
}

#[test]
fn events_come_once_and_in_order() {
    let (mut state, mut commands) = with_nodes(&["a", "b"]);
    let request = committed(&one(&mut state, commands.make(exec("a", &["id"])))).0;
    let gap = one(&mut state, commands.bare(ended("a", 'a', 2, request)));
    assert_eq!((code(&gap), refused(&gap).expected_number), (ErrorCode::SpoolGap, Some(1)));
    let batch =
        [commands.bare(ended("a", 'a', 1, request)), commands.bare(ended("a", 'a', 1, request))];
    let outcomes = state.apply(&batch);
    assert_eq!((committed(&outcomes[0]), committed(&outcomes[1])), ((4, 4, false), (0, 0, false)));
    // A second outcome of the same run is acknowledged and makes nothing.
    assert_eq!(
        committed(&one(&mut state, commands.bare(ended("a", 'a', 2, request)))),
        (0, 0, false)
    );
    // So does what an older spool sends again after a newer one began.
    assert_eq!(
        committed(&one(&mut state, commands.bare(ended("a", 'b', 1, request)))),
        (0, 0, false)
    );
    assert_eq!(
        committed(&one(&mut state, commands.bare(ended("a", 'a', 1, request)))),
        (0, 0, false)
    );
    // A node that was not asked is seen.
    committed(&one(&mut state, commands.bare(ended("b", 'c', 1, request))));
    let last = state.decoded().pop().unwrap();
    assert!(
        matches!(last.payload, Some(Payload::Denied(denied)) if denied.code == "PACT_GRANT_FOR_OTHER")
    );
    let finished = state.decoded().remove(3);
    assert_eq!((finished.parent, finished.kind), (Some(request), EntryKind::ExecFinished.into()));
    assert_eq!(state.nodes[&node("a")].spool_number, 1);
    assert_eq!(
        code(&one(&mut state, commands.bare(ended("x", 'a', 1, request)))),
        ErrorCode::NotFound
    );
}

#[test]
fn chunks_are_stored_under_their_hash_or_not_at_all() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let plain = b"output of a command".repeat(100);
    let put = |sha: [u8; 32], size: usize| {
        Action::PutBlob(v1::PutBlob {
            sha256: sha.to_vec(),
            compressed: zstd::bulk::compress(&plain, 1).unwrap(),
            size_bytes: u32::try_from(size).unwrap(),
        })
    };
    let sha = sha256(&[&plain]);
    assert_eq!(committed(&one(&mut state, commands.bare(put(sha, plain.len())))), (0, 0, false));
    assert_eq!(committed(&one(&mut state, commands.bare(put(sha, plain.len())))), (0, 0, false));
    for bad in [put([0; 32], plain.len()), put(sha, plain.len() - 1), put(sha, plain.len() + 1)] {
        assert_eq!(code(&one(&mut state, commands.bare(bad))), ErrorCode::BadSignature);
    }
    assert_eq!(
        code(&one(&mut state, commands.bare(put(sha, 300_000)))),
        ErrorCode::InvalidArgument
    );
    assert_eq!(state.blobs.len(), 1);
}

#[test]
fn chunks_that_no_event_names_are_bounded_and_do_not_shut_a_node_out() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let mut number = 0_u64;
    let mut put = |commands: &mut Commands, subject: &str| {
        number += 1;
        // What does not compress: counted is what is stored.
        let mut plain = vec![0; 250_000];
        let mut word = number;
        for byte in &mut plain {
            word = word
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = word.to_be_bytes()[0];
        }
        let mut command = commands.bare(Action::PutBlob(v1::PutBlob {
            sha256: sha256(&[&plain]).to_vec(),
            compressed: zstd::bulk::compress(&plain, 1).unwrap(),
            size_bytes: 250_000,
        }));
        let author = command.author.as_mut().unwrap();
        subject.clone_into(&mut author.subject);
        author.kind = v1::PrincipalKind::Node.into();
        command
    };
    assert_eq!(code(&one(&mut state, put(&mut commands, "node:b"))), ErrorCode::NotFound);
    committed(&one(&mut state, put(&mut commands, "node:a")));
    assert!(state.unnamed[&node("a")].bytes >= 250_000);
    let most = 512 * 1024 * 1024;
    state.unnamed.get_mut(&node("a")).unwrap().bytes = most - 1;
    let refused_chunk = put(&mut commands, "node:a");
    assert_eq!(code(&one(&mut state, refused_chunk.clone())), ErrorCode::RateLimited);
    assert_eq!(state.blobs.len(), 1);
    // A day later they count no more.
    let mut later = refused_chunk.clone();
    let day = 86_400_000_000_000;
    later.time = Some(pact_schemas::convert::timestamp(commands.now_nanos + day));
    let since = state.unnamed[&node("a")].since_nanos;
    committed(&one(&mut state, later));
    assert!(state.unnamed[&node("a")].since_nanos >= since + day);
    // Nor once an event names chunks.
    state.unnamed.get_mut(&node("a")).unwrap().bytes = most;
    let report = vec![v1::BlobRef { sha256: vec![7; 32], size_bytes: 1 }];
    committed(&one(
        &mut state,
        commands.bare(Action::NodeEvent(v1::NodeEvent {
            node: "a".to_owned(),
            spool_id: "a".repeat(32),
            number: 1,
            recorded: Some(pact_schemas::convert::timestamp(START_NANOS)),
            body: Some(v1::node_event::Body::CapabilityChange(v1::CapabilityChange {
                node: String::new(),
                report,
            })),
        })),
    ));
    committed(&one(&mut state, put(&mut commands, "node:a")));
}

#[test]
fn regulated_implies_two_persons() {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let regulated = VclusterPolicy { regulated: Some(true), ..Default::default() };
    committed(&one(&mut state, commands.make(policy("bio", regulated.clone()))));
    let contrary = VclusterPolicy { two_person_approval: Some(false), ..Default::default() };
    assert_eq!(
        code(&one(&mut state, commands.make(policy("bio", contrary)))),
        ErrorCode::InvalidSpec
    );
    let more = VclusterPolicy { ai_exec_allowed: Some(true), ..Default::default() };
    committed(&one(&mut state, commands.make(policy("bio", more))));
    let kept = state.vclusters[&"bio".parse().unwrap()].policy.clone().unwrap();
    assert_eq!(
        (kept.regulated, kept.two_person_approval, kept.ai_exec_allowed),
        (Some(true), Some(true), Some(true))
    );
}

#[test]
fn a_list_is_emptied_by_its_name_alone() {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let full = VclusterPolicy {
        exec_whitelist: vec!["gdb".to_owned()],
        shell_whitelist: vec!["gdb".to_owned()],
        auto_converge_categories: vec!["services".to_owned()],
        require_ack_categories: vec!["gpu".to_owned()],
        ..Default::default()
    };
    committed(&one(&mut state, commands.make(policy("ml", full.clone()))));
    let clear = |names: &[&str]| VclusterPolicy {
        cleared_lists: names.iter().map(|n| (*n).to_owned()).collect(),
        ..Default::default()
    };
    let stored = |state: &Memory| state.vclusters[&"ml".parse().unwrap()].policy.clone().unwrap();
    committed(&one(&mut state, commands.make(policy("ml", VclusterPolicy::default()))));
    assert_eq!(stored(&state), full, "an empty list says nothing");
    for bad in [
        clear(&["exec_list"]),
        VclusterPolicy { exec_whitelist: vec!["a".to_owned()], ..clear(&["exec_whitelist"]) },
    ] {
        let outcome = one(&mut state, commands.make(policy("ml", bad)));
        assert_eq!(code(&outcome), ErrorCode::InvalidArgument);
    }
    committed(&one(&mut state, commands.make(policy("ml", clear(&["exec_whitelist"])))));
    assert_eq!(stored(&state), VclusterPolicy { exec_whitelist: Vec::new(), ..full });
    let rest = ["shell_whitelist", "auto_converge_categories", "require_ack_categories"];
    committed(&one(&mut state, commands.make(policy("ml", clear(&rest)))));
    assert_eq!(stored(&state), VclusterPolicy::default());
}

#[test]
fn members_are_announced_when_they_change() {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let announce = |address: &str| {
        Action::AnnounceMembers(v1::AnnounceMembers {
            members: vec![v1::MemberAddress { id: 1, address: address.to_owned(), joined: false }],
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

use super::*;

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
        commands
            .make(Action::RevokeNode(v1::RevokeNode { node: "b".to_owned(), judged: Vec::new() })),
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
    let revoke = Action::RevokeNode(v1::RevokeNode { node: "a".to_owned(), judged: Vec::new() });
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
fn registrations_have_a_node_and_something_to_recognise_it_by() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let with = |node: &str, identity: Option<&[&str]>, replace| {
        let identity = identity.map(|macs| v1::HardwareIdentity {
            macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
            ..v1::HardwareIdentity::default()
        });
        let (node, judged) = (node.to_owned(), Vec::new());
        Action::RegisterNode(v1::RegisterNode { node, identity, replace, judged })
    };
    let mac = "0c:42:a1:00:00:09";
    for (action, wanted) in [
        (with("*", Some(&[mac]), false), ErrorCode::Malformed),
        (with("b", Some(&["0c:42"]), false), ErrorCode::InvalidArgument),
        (with("b", Some(&[]), false), ErrorCode::InvalidArgument),
        (with("b", None, false), ErrorCode::Malformed),
    ] {
        assert_eq!(code(&one(&mut state, commands.make(action.clone()))), wanted, "{action:?}");
    }
    // The ids of a node that exists may be replaced one by one.
    committed(&one(&mut state, commands.make(with("a", Some(&[]), true))));
    committed(&one(&mut state, commands.make(with("b", Some(&[mac]), false))));
}

#[test]
fn assignments_name_a_vcluster_exactly_when_they_need_one() {
    use AssignMode as Mode;
    let (mut state, mut commands) = with_nodes(&["a"]);
    committed(&one(&mut state, commands.make(policy("ml", VclusterPolicy::default()))));
    for (mode, vcluster) in [
        (Mode::Assign, None),
        (Mode::Unassign, Some("ml")),
        (Mode::Move, Some("M L")),
        (Mode::Unspecified, Some("ml")),
    ] {
        let outcome = one(&mut state, commands.make(assign("a", vcluster, mode)));
        let refusal = code(&outcome);
        assert!(
            matches!(refusal, ErrorCode::InvalidArgument | ErrorCode::Malformed),
            "{mode:?} {vcluster:?}: {refusal:?}"
        );
    }
    let nobody = commands.make(assign("", None, Mode::Unassign));
    assert_eq!(code(&state.apply(&[nobody])[0]), ErrorCode::InvalidArgument);
    committed(&one(&mut state, commands.make(assign("a", Some("ml"), Mode::Assign))));
}

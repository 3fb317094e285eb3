use pact_schemas::convert::Scope;

use super::*;
use crate::samples::{commit, rollback_of};

/// Nodes a and b in ml, c in hpc, d in none.
fn site() -> (Memory, Commands) {
    crate::samples::site()
}

fn of(name: &str) -> Scope {
    Scope::Node(node(name))
}

fn extend(targets: &str) -> Action {
    Action::ExtendWindow(v1::ExtendWindow {
        targets: targets.to_owned(),
        minutes: 15,
        judged: Vec::new(),
    })
}

fn blacklist(scope: &Scope) -> Action {
    Action::ChangeBlacklist(v1::ChangeBlacklist {
        scope: Some(scope.into()),
        add: vec!["/opt/**".to_owned()],
        remove: Vec::new(),
        judged: Vec::new(),
    })
}

/// New hardware ids for a node that exists.
fn replace(name: &str) -> Action {
    let Action::RegisterNode(new) = register(name, 9) else { panic!() };
    Action::RegisterNode(v1::RegisterNode { replace: true, judged: Vec::new(), ..new })
}

fn revoke(name: &str) -> Action {
    Action::RevokeNode(v1::RevokeNode { node: name.to_owned(), judged: Vec::new() })
}

fn discard(name: &str) -> Action {
    Action::Rollback(v1::Rollback {
        to_seq: None,
        discard_drift: true,
        drift_digest: vec![5; 32],
        ..rollback_of(&of(name), 1, 0)
    })
}

#[test]
fn what_was_judged_in_a_vcluster_is_not_done_in_another() {
    let (mut state, mut commands) = site();
    let base =
        committed(&one(&mut state, commands.make(commit("a", "ml", &[("sysctl/a", "1")])))).1;
    let back = Action::Rollback(rollback_of(&of("a"), base, base));
    let actions = [
        exec("a,b", &["id"]),
        extend("a,b"),
        back,
        discard("a"),
        blacklist(&of("a")),
        replace("a"),
        revoke("a"),
        assign("a,b", None, AssignMode::Unassign),
        assign("a,b", Some("hpc"), AssignMode::Move),
    ];
    // Judged where the nodes are; then one of them is moved.
    let proposed: Vec<v1::Command> =
        actions.iter().map(|action| state.judging(commands.make(action.clone()))).collect();
    let before = state.head.seq;
    committed(&one(&mut state, commands.make(assign("a", Some("hpc"), AssignMode::Move))));
    let moved = state.head;
    for command in &proposed {
        let outcome = state.apply(std::slice::from_ref(command)).remove(0);
        let error = refused(&outcome);
        assert_eq!(
            (error.known_code(), error.node.as_str()),
            (ErrorCode::Conflict, "a"),
            "{error}"
        );
        assert_eq!(error.message, "node a moved from vCluster ml to vCluster hpc meanwhile");
        assert!(error.next_step.starts_with("run it again"), "{error}");
        assert_eq!(state.head, moved, "nothing is changed");
    }
    // Out of its vCluster, and into one.
    let command = state.judging(commands.make(exec("b", &["id"])));
    committed(&one(&mut state, commands.make(assign("b", None, AssignMode::Unassign))));
    let outcome = state.apply(&[command]).remove(0);
    assert!(refused(&outcome).message.contains("from vCluster ml to no vCluster"), "{outcome:?}");
    let command = state.judging(commands.make(assign("b,d", Some("ml"), AssignMode::Assign)));
    committed(&one(&mut state, commands.make(assign("d", Some("hpc"), AssignMode::Assign))));
    let outcome = state.apply(&[command]).remove(0);
    assert!(refused(&outcome).message.contains("from no vCluster to vCluster hpc"), "{outcome:?}");
    // A move and what was judged before it, in one batch of the log.
    let stale = state.judging(commands.make(exec("a", &["id"])));
    let batch = [state.judging(commands.make(assign("a", Some("ml"), AssignMode::Move))), stale];
    let outcomes = state.apply(&batch);
    committed(&outcomes[0]);
    assert_eq!(code(&outcomes[1]), ErrorCode::Conflict);
    assert!(before < state.head.seq);
}

#[test]
fn every_target_is_judged_exactly_once() {
    let (mut state, mut commands) = site();
    let all = [(Some("ml"), "a,b"), (Some("hpc"), "c"), (None, "d")];
    let split = [(Some("ml"), "b"), (None, "d"), (Some("hpc"), "c"), (Some("ml"), "a")];
    for scopes in [&all[..], &split[..]] {
        committed(&one(&mut state, commands.make(judged(exec("a,b,c,d", &["id"]), scopes))));
    }
    let before = state.head;
    let many = vec![(Some("ml"), "a"); 65];
    for (scopes, expected) in [
        (&[][..], ErrorCode::Malformed),
        (&all[..2], ErrorCode::Malformed),
        (&[(Some("ml"), "a,b"), (Some("hpc"), "b,c"), (None, "d")], ErrorCode::Malformed),
        (&[(Some("ml"), "a,b"), (Some("hpc"), "c"), (None, "e")], ErrorCode::Malformed),
        (&[(Some("ml"), "a,b"), (Some("hpc"), "c"), (None, "d,e")], ErrorCode::Malformed),
        (&[(Some("ml"), ""), (Some("hpc"), "c"), (None, "d")], ErrorCode::Malformed),
        (&[(Some(""), "a,b"), (Some("hpc"), "c"), (None, "d")], ErrorCode::Malformed),
        (&many[..], ErrorCode::Malformed),
        (&[(Some("hpc"), "a,b,c"), (None, "d")], ErrorCode::Conflict),
        (&[(None, "a,b,c,d")], ErrorCode::Conflict),
    ] {
        let action = judged(exec("a,b,c,d", &["id"]), scopes);
        let outcome = state.apply(&[commands.make(action)]).remove(0);
        assert_eq!(code(&outcome), expected, "{scopes:?}");
        assert_eq!(state.head, before);
    }
    // Nothing takes the place of what is missing.
    for action in [
        extend("a"),
        discard("a"),
        Action::Rollback(rollback_of(&of("a"), 1, 0)),
        blacklist(&of("a")),
        replace("a"),
        revoke("a"),
        assign("d", Some("ml"), AssignMode::Assign),
    ] {
        let outcome = state.apply(&[commands.make(action)]).remove(0);
        assert_eq!(code(&outcome), ErrorCode::Malformed, "{outcome:?}");
    }
    // An action on a vCluster names it.
    let ml = Scope::Vcluster("ml".parse().unwrap());
    for action in [blacklist(&ml), Action::Rollback(rollback_of(&ml, 1, 0))] {
        let outcome = state.apply(&[commands.make(judged(action.clone(), &[(Some("ml"), "a")]))]);
        assert_eq!(code(&outcome[0]), ErrorCode::Malformed);
        committed(&state.apply(&[commands.make(action)])[0]);
    }
}

#[test]
fn a_retry_after_a_move_is_the_same_request() {
    let (mut state, mut commands) = site();
    let command = state.judging(commands.make(assign("a", Some("hpc"), AssignMode::Move)));
    let first = committed(&state.apply(std::slice::from_ref(&command))[0]);
    // The answer was lost: it is asked again, and judged where the node is now.
    let action = judged(assign("a", Some("hpc"), AssignMode::Move), &[(Some("hpc"), "a")]);
    let retry = v1::Command { action: Some(v1::Action { action: Some(action) }), ..command };
    assert_eq!(committed(&state.apply(std::slice::from_ref(&retry))[0]), (first.0, first.1, true));
    let other = judged(assign("a", Some("ml"), AssignMode::Move), &[(Some("hpc"), "a")]);
    let other = v1::Command { action: Some(v1::Action { action: Some(other) }), ..retry };
    assert!(refused(&state.apply(&[other])[0]).message.contains("another request"));
}

#[test]
fn what_two_persons_decide_is_asked_again_when_it_is_applied() {
    let (mut state, mut commands) = site();
    let approval = VclusterPolicy { exec_requires_approval: Some(true), ..Default::default() };
    let request = state.judging(commands.make(exec("a,c", &["id"])));
    committed(&one(&mut state, commands.make(policy("hpc", approval))));
    let outcome = state.apply(&[request]).remove(0);
    assert_eq!(code(&outcome), ErrorCode::Unimplemented);
    assert!(refused(&outcome).message.contains("vCluster hpc"), "{outcome:?}");
    committed(&one(&mut state, commands.make(exec("a", &["id"]))));

    let two = VclusterPolicy { two_person_approval: Some(true), ..Default::default() };
    committed(&one(&mut state, commands.make(policy("ml", two))));
    // Regulated or not is another question than who may run a command.
    committed(&one(&mut state, commands.make(exec("a", &["id"]))));
    for action in [
        assign("d", Some("ml"), AssignMode::Assign),
        assign("c", Some("ml"), AssignMode::Move),
        assign("a", Some("hpc"), AssignMode::Move),
        assign("a", None, AssignMode::Unassign),
    ] {
        let before = state.head;
        let outcome = one(&mut state, commands.make(action));
        assert_eq!(code(&outcome), ErrorCode::Unimplemented, "{outcome:?}");
        assert_eq!(state.head, before);
    }
}

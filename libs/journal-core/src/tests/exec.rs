use pact_schemas::convert::Scope;

use super::*;

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
fn a_command_with_too_many_arguments_is_not_requested() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let before = state.decoded().len();
    let refused = one(&mut state, commands.make(exec("a", &["id"; 1_025])));
    assert_eq!(code(&refused), ErrorCode::InvalidArgument);
    assert_eq!(state.decoded().len(), before);
    committed(&one(&mut state, commands.make(exec("a", &["id"; 1_024]))));
}

#[test]
fn one_regulated_target_makes_all_of_them_strict() {
    let (mut state, mut commands) = with_nodes(&["a", "b", "c"]);
    let regulated = VclusterPolicy { regulated: Some(true), ..Default::default() };
    committed(&one(&mut state, commands.make(policy("bio", VclusterPolicy::default()))));
    committed(&one(&mut state, commands.make(policy("ml", VclusterPolicy::default()))));
    committed(&one(&mut state, commands.make(assign("a", Some("bio"), AssignMode::Assign))));
    committed(&one(&mut state, commands.make(assign("b", Some("ml"), AssignMode::Assign))));
    committed(&one(&mut state, commands.make(policy("bio", regulated))));
    for (targets, strict) in
        [("a", true), ("b", false), ("c", false), ("b,c", false), ("a,b", true)]
    {
        let command = commands.make(exec(targets, &["id"]));
        let id = command.request_id.clone().unwrap().parse().unwrap();
        committed(&one(&mut state, command));
        assert_eq!(state.requests[&id].require_strict, strict, "{targets}");
    }
}

/// Who sees an entry: vClusters, and whether everybody does.
fn seen(state: &Memory, seq: u64) -> (Vec<&str>, bool) {
    let stored = &state.entries[usize::try_from(seq).unwrap() - 1];
    (stored.vclusters.iter().map(String::as_str).collect(), stored.global)
}

#[test]
fn an_outcome_is_seen_by_those_who_asked_wherever_the_node_is() {
    let (mut state, mut commands) = crate::samples::site();
    let asked = committed(&one(&mut state, commands.make(exec("a", &["id"])))).0;
    let mixed = committed(&one(&mut state, commands.make(exec("a,c,d", &["id"])))).0;
    committed(&one(&mut state, commands.make(assign("a", Some("hpc"), AssignMode::Move))));
    committed(&one(&mut state, commands.make(assign("d", Some("hpc"), AssignMode::Assign))));
    assert_eq!(seen(&state, asked), (vec!["ml"], false));
    assert_eq!(seen(&state, mixed), (vec!["hpc", "ml"], false), "not by everybody");
    for (name, number, parent, by) in [
        ("a", 1, asked, vec!["ml"]),
        ("a", 2, mixed, vec!["ml"]),
        ("c", 1, mixed, vec!["hpc"]),
        ("d", 1, mixed, vec![]),
    ] {
        let seq = committed(&one(&mut state, commands.bare(ended(name, '1', number, parent)))).0;
        assert_eq!(seen(&state, seq), (by, false), "{name} of {parent}");
    }
}

#[test]
fn a_refusal_is_seen_by_those_whom_it_concerned() {
    let (mut state, mut commands) = crate::samples::site();
    let denied = |scope: &Scope, target: &str, vclusters: &[&str]| {
        Action::RecordDenied(v1::RecordDenied {
            scope: Some(scope.into()),
            denied: Some(v1::Denied {
                operation: "exec".to_owned(),
                target: target.to_owned(),
                code: "PACT_NOT_AUTHORISED".to_owned(),
                reason: String::new(),
            }),
            vclusters: vclusters.iter().map(|v| (*v).to_owned()).collect(),
        })
    };
    let of_a = Scope::Node(node("a"));
    committed(&one(&mut state, commands.make(assign("a", Some("hpc"), AssignMode::Move))));
    for (scope, target, vclusters, by) in [
        (&of_a, "a", &["ml"][..], (vec!["ml"], false)),
        (&Scope::Global, "a,c", &["hpc", "ml"], (vec!["hpc", "ml"], false)),
        (&Scope::Global, "d,e", &[], (vec![], false)),
        (&Scope::Global, "", &[], (vec![], true)),
    ] {
        let command = commands.make(denied(scope, target, vclusters));
        let seq = committed(&one(&mut state, command)).0;
        assert_eq!(seen(&state, seq), by, "{target}");
    }
}

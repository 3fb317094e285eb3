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

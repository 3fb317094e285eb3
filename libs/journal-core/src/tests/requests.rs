use super::*;

#[test]
fn a_retry_gets_the_first_outcome_and_refusals_are_not_remembered() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let command = state.judging(commands.make(exec("a", &["id"])));
    // Twice in one batch and once later: one entry.
    let outcomes = state.apply(&[command.clone(), command.clone()]);
    assert_eq!((committed(&outcomes[0]), committed(&outcomes[1])), ((2, 2, false), (2, 2, true)));
    let later = v1::Command {
        time: Some(pact_schemas::convert::timestamp(START_NANOS + 9_000_000_000)),
        ..command.clone()
    };
    assert_eq!(committed(&one(&mut state, later)), (2, 2, true));
    let mut other = command.clone();
    other.action = Some(v1::Action::from(exec("a", &["rm"])));
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
    let first: RequestId = old.request_id.as_deref().unwrap().parse().unwrap();
    assert_eq!(recall(&state, first).unwrap_err().known_code(), ErrorCode::RequestIdRefused);
    assert_eq!(code(&one(&mut state, old)), ErrorCode::RequestIdRefused);
    // Its id is from now, the leader says it is more than five minutes earlier; entry time holds it
    // to the last entry's.
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
fn what_became_of_a_request_is_told_by_its_id_alone() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let asked = state.judging(commands.make(exec("a", &["id"])));
    let id: RequestId = asked.request_id.as_deref().unwrap().parse().unwrap();
    assert_eq!(recall(&state, id).unwrap(), None);
    let (first_seq, last_seq, _) = committed(&one(&mut state, asked));
    // Node a has the first MAC address.
    for mac in 100..200 {
        committed(&one(&mut state, commands.make(register(&format!("b{mac}"), mac))));
    }
    let memory = recall(&state, id).unwrap().unwrap();
    assert_eq!((memory.first_seq, memory.last_seq), (first_seq, last_seq));
}

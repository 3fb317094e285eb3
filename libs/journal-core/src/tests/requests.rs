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
    assert_eq!(recalled(&state, &old).unwrap_err().known_code(), ErrorCode::RequestIdRefused);
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

/// What is remembered of the request that this command is of.
fn recalled(
    state: &Memory,
    command: &v1::Command,
) -> Result<Option<crate::record::RequestMemory>, v1::Error> {
    let id: RequestId = command.request_id.as_deref().unwrap().parse().unwrap();
    let (author, action) = (command.author.as_ref().unwrap(), command.action.as_ref().unwrap());
    recall(state, id, digest(author, action)?)
}

#[test]
fn what_became_of_a_request_is_told_to_whoever_made_it() {
    let (mut state, mut commands) = with_nodes(&["a"]);
    let asked = state.judging(commands.make(exec("a", &["id"])));
    assert_eq!(recalled(&state, &asked).unwrap(), None);
    let (first_seq, last_seq, _) = committed(&one(&mut state, asked.clone()));
    // Node a has the first MAC address.
    for mac in 100..200 {
        committed(&one(&mut state, commands.make(register(&format!("b{mac}"), mac))));
    }
    let memory = recalled(&state, &asked).unwrap().unwrap();
    assert_eq!((memory.first_seq, memory.last_seq), (first_seq, last_seq));
    let mut stolen = asked;
    stolen.author.as_mut().unwrap().subject = "mallory".to_owned();
    assert_eq!(recalled(&state, &stolen).unwrap_err().known_code(), ErrorCode::Conflict);
}

#[test]
fn a_retry_is_known_by_what_was_asked_for_and_by_whom() {
    let (mut state, mut commands) = with_nodes(&["a", "b"]);
    let extend = |targets: &str| {
        let (targets, judged) = (targets.to_owned(), Vec::new());
        Action::ExtendWindow(v1::ExtendWindow { targets, minutes: 15, judged })
    };
    let with = |command: &v1::Command, action: Action| {
        let mut command = command.clone();
        command.action.as_mut().unwrap().action = Some(action);
        command
    };
    let first = commands.asked("extend [ab] 15", extend("a,b"));
    let made = committed(&one(&mut state, first.clone()));
    // The window of b has closed since.
    assert_eq!(committed(&one(&mut state, with(&first, extend("a")))), (made.0, made.1, true));
    assert!(recalled(&state, &first).unwrap().is_some());
    // The same action, of which something else was asked for.
    let other = commands.asked("extend [ab] 20", extend("a,b"));
    let other = v1::Command { request_id: first.request_id.clone(), ..other };
    assert_eq!(code(&one(&mut state, other.clone())), ErrorCode::Conflict);
    assert_eq!(recalled(&state, &other).unwrap_err().known_code(), ErrorCode::Conflict);
    let mut stolen = first.clone();
    stolen.author.as_mut().unwrap().issuer = "https://other.example".to_owned();
    assert_eq!(code(&one(&mut state, stolen)), ErrorCode::Conflict);
    let mut cut = first;
    cut.action.as_mut().unwrap().asked_sha256.pop();
    assert_eq!(code(&one(&mut state, cut)), ErrorCode::Malformed);
}

use pact_schemas::v1::change_members::Change;

use super::*;

fn announce(ids: &[u64], ended: Option<(u64, &str)>) -> Action {
    Action::AnnounceMembers(v1::AnnounceMembers {
        members: ids.iter().map(|id| member(*id, &format!("h{id}:9444"))).collect(),
        ended: ended.map(|(seq, why)| v1::MemberChangeEnd { seq, failure: why.to_owned() }),
    })
}

fn member(id: u64, address: &str) -> v1::MemberAddress {
    v1::MemberAddress { id, address: address.to_owned(), ..Default::default() }
}

fn add(id: u64, address: &str) -> Action {
    Action::ChangeMembers(v1::ChangeMembers { change: Some(Change::Add(member(id, address))) })
}

fn remove(id: u64) -> Action {
    Action::ChangeMembers(v1::ChangeMembers { change: Some(Change::Remove(id)) })
}

fn with_members(ids: &[u64]) -> (Memory, Commands) {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    committed(&one(&mut state, commands.bare(announce(ids, None))));
    (state, commands)
}

fn last(state: &Memory) -> v1::Entry {
    state.decoded().pop().unwrap()
}

#[test]
fn a_change_is_an_entry_of_who_asked_and_its_end_is_the_outcome() {
    let (mut state, mut commands) = with_members(&[1, 2, 3]);
    let asked = commands.make(remove(3));
    assert_eq!(committed(&one(&mut state, asked.clone())), (2, 2, false));
    let entry = last(&state);
    assert_eq!(
        (entry.kind(), entry.author.unwrap().subject),
        (EntryKind::MembershipChanged, "alice".to_owned())
    );
    assert!(entry.message.contains("remove member 3"), "{}", entry.message);
    // A retry is answered, another change waits.
    assert_eq!(committed(&one(&mut state, asked)), (2, 2, true));
    assert_eq!(code(&one(&mut state, commands.make(add(4, "h4:9444")))), ErrorCode::Conflict);
    // What ended before ends nothing.
    assert_eq!(
        committed(&one(&mut state, commands.bare(announce(&[1, 2, 3], Some((1, "")))))).0,
        0
    );
    assert!(state.members.change.is_some());

    assert_eq!(committed(&one(&mut state, commands.bare(announce(&[1, 2], Some((2, "")))))).0, 3);
    assert_eq!((last(&state).parent, state.members.change.clone()), (Some(2), None));
    let removed = v1::RemovedMember { id: 3, address: "h3:9444".to_owned(), seq: 3 };
    assert_eq!(state.members.removed, [removed]);
    assert_eq!(committed(&one(&mut state, commands.bare(announce(&[1, 2], Some((2, "")))))).0, 0);

    // The number is gone for good, the host may come back.
    let refused = one(&mut state, commands.make(add(3, "h3:9444")));
    assert!(super::refused(&refused).message.contains("never used again"), "{refused:?}");
    assert_eq!(code(&one(&mut state, commands.make(remove(3)))), ErrorCode::NotFound);
    assert_eq!(
        code(&one(&mut state, commands.bare(announce(&[1, 2, 3], None)))),
        ErrorCode::InvalidArgument
    );
    committed(&one(&mut state, commands.make(add(4, "h3:9444"))));
}

#[test]
fn a_change_that_is_given_up_leaves_its_number_free() {
    let (mut state, mut commands) = with_members(&[1, 2, 3]);
    committed(&one(&mut state, commands.make(add(4, "h4:9444"))));
    let given_up = announce(&[1, 2, 3], Some((2, "nobody answers")));
    committed(&one(&mut state, commands.bare(given_up)));
    assert!(last(&state).message.contains("given up: add member 4"), "{}", last(&state).message);
    assert_eq!(state.members.ended.as_ref().unwrap().failure, "nobody answers");
    committed(&one(&mut state, commands.make(add(4, "h4:9444"))));
    committed(&one(&mut state, commands.bare(announce(&[1, 2, 3, 4], Some((4, ""))))));
    assert!(state.members.removed.is_empty() && state.members.members.len() == 4);
}

#[test]
fn changes_that_make_no_sense_are_refused() {
    let (mut state, mut commands) = with_members(&[1, 2, 3]);
    for (action, expected) in [
        (add(0, "h:9444"), ErrorCode::InvalidArgument),
        (add(4, "h"), ErrorCode::InvalidArgument),
        (add(4, "h:0"), ErrorCode::InvalidArgument),
        (add(4, "a b:9444"), ErrorCode::InvalidArgument),
        (add(2, "h4:9444"), ErrorCode::Conflict),
        (add(4, "h2:9444"), ErrorCode::Conflict),
        (remove(4), ErrorCode::NotFound),
        (Action::ChangeMembers(v1::ChangeMembers { change: None }), ErrorCode::Malformed),
    ] {
        let outcome = one(&mut state, commands.make(action.clone()));
        assert_eq!(code(&outcome), expected, "{action:?}");
    }
    let ops = commands.make_as("pact-ops-ml", remove(3));
    assert_eq!(code(&one(&mut state, ops)), ErrorCode::NotAuthorised);
    assert_eq!(state.entries.len(), 1, "nothing was written down");

    let (mut state, mut commands) = with_members(&[1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(code(&one(&mut state, commands.make(add(8, "h8:9444")))), ErrorCode::TooLarge);
    let (mut state, mut commands) = with_members(&[1]);
    assert_eq!(code(&one(&mut state, commands.make(remove(1)))), ErrorCode::Conflict);
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    assert_eq!(code(&one(&mut state, commands.make(add(4, "h:1")))), ErrorCode::Conflict);
}

//! An entry is seen by those whom it concerned when it was made; what came of it by the same.

use pact_schemas::convert::Scope;

use super::*;
use crate::samples::{revoke, site};

/// The vClusters whose members see the last entry, and whether everybody does.
fn audience(state: &Memory) -> (Vec<&str>, bool) {
    let last = state.entries.last().unwrap();
    (last.vclusters.iter().map(String::as_str).collect(), last.global)
}

fn to(vcluster: &str) -> Action {
    assign("a", Some(vcluster), AssignMode::Move)
}

/// A report of node a, which is no outcome of anything, as of this time.
fn report(number: u64, recorded_nanos: i64) -> Action {
    Action::NodeEvent(v1::NodeEvent {
        node: "a".to_owned(),
        spool_id: "a".repeat(32),
        number,
        recorded: Some(pact_schemas::convert::timestamp(recorded_nanos)),
        body: Some(v1::node_event::Body::Deferred(v1::Deferred::default())),
    })
}

#[test]
fn the_outcome_of_a_command_is_seen_by_those_who_asked_for_it() {
    let (mut state, mut commands) = site();
    let first = committed(&one(&mut state, commands.make(exec("a", &["id"])))).0;
    assert_eq!(audience(&state), (vec!["ml"], false));
    committed(&one(&mut state, commands.make(to("hpc"))));
    let second = committed(&one(&mut state, commands.make(exec("a", &["id"])))).0;
    committed(&one(&mut state, commands.bare(ended("a", 'a', 1, first))));
    assert_eq!(audience(&state), (vec!["ml"], false), "not by those to whom it was moved");
    committed(&one(&mut state, commands.bare(ended("a", 'a', 2, second))));
    assert_eq!(audience(&state), (vec!["hpc"], false));
}

#[test]
fn a_mixed_target_widens_nothing() {
    let (mut state, mut commands) = site();
    let seq = committed(&one(&mut state, commands.make(exec("a,c,d", &["id"])))).0;
    assert_eq!(audience(&state), (vec!["hpc", "ml"], false));
    for (node, seen_by) in [("a", vec!["ml"]), ("c", vec!["hpc"]), ("d", vec![])] {
        committed(&one(&mut state, commands.bare(ended(node, 'a', 1, seq))));
        assert_eq!(audience(&state), (seen_by, false), "{node}");
    }
    let accessed = |audience| {
        Action::RecordAccess(v1::RecordAccess {
            scope: Some((&Scope::Global).into()),
            accessed: Some(v1::Accessed {
                operation: "diff".to_owned(),
                target: "a,c".to_owned(),
                count: 1,
                minute: Some(pact_schemas::convert::timestamp(START_NANOS)),
            }),
            audience,
        })
    };
    committed(&one(&mut state, commands.make(accessed(None))));
    assert_eq!(audience(&state), (vec![], true));
    let both = v1::Audience { vclusters: vec!["ml".to_owned(), "hpc".to_owned()] };
    committed(&one(&mut state, commands.make(accessed(Some(both)))));
    assert_eq!(audience(&state), (vec!["hpc", "ml"], false));
    let odd = v1::Audience { vclusters: vec!["M L".to_owned()] };
    assert_eq!(code(&one(&mut state, commands.make(accessed(Some(odd))))), ErrorCode::Malformed);
}

#[test]
fn what_a_node_spooled_before_it_was_moved_is_seen_by_those_whose_it_was() {
    let (mut state, mut commands) = site();
    let then = commands.now_nanos;
    committed(&one(&mut state, commands.make(to("hpc"))));
    let (first, now) = (commands.now_nanos - 1, commands.now_nanos + 1);
    committed(&one(&mut state, commands.bare(report(1, then))));
    assert_eq!(audience(&state), (vec!["ml"], false));
    committed(&one(&mut state, commands.bare(report(2, first))));
    assert_eq!(audience(&state), (vec!["ml"], false));
    committed(&one(&mut state, commands.bare(report(3, now))));
    assert_eq!(audience(&state), (vec!["hpc"], false));
    // Whose it was outlasts a revocation.
    committed(&one(&mut state, commands.make(revoke("a"))));
    committed(&one(&mut state, commands.make(register("a", 1))));
    committed(&one(&mut state, commands.bare(report(4, now))));
    assert_eq!(audience(&state), (vec!["hpc"], false));
}

#[test]
fn what_is_forgotten_is_shown_to_nobody() {
    let (mut state, mut commands) = site();
    let seq = committed(&one(&mut state, commands.make(exec("a", &["id"])))).0;
    for vcluster in ["hpc", "ml"].into_iter().cycle().take(8) {
        committed(&one(&mut state, commands.make(to(vcluster))));
    }
    assert_eq!(state.nodes[&node("a")].former_places.len(), 8);
    committed(&one(&mut state, commands.bare(ended("a", 'a', 1, seq))));
    assert_eq!(audience(&state), (vec![], false), "by platform admins alone");
}

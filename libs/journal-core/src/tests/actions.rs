use pact_schemas::operation::Operation;
use pact_schemas::v1::change_members::Change;

use super::*;
use crate::action::{Origin, is_granted, origin};

fn patterns(add: &[&str], remove: &[&str]) -> Action {
    let owned = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect();
    Action::ChangeBlacklist(v1::ChangeBlacklist {
        add: owned(add),
        remove: owned(remove),
        ..Default::default()
    })
}

fn members(change: Change) -> Action {
    Action::ChangeMembers(v1::ChangeMembers { change: Some(change) })
}

/// What gateways propose, once for each operation that asks for it.
fn proposed() -> Vec<Action> {
    vec![
        Action::ExecRequest(v1::ExecRequest::default()),
        Action::RegisterNode(v1::RegisterNode::default()),
        assign("a", Some("ml"), AssignMode::Assign),
        assign("a", None, AssignMode::Unassign),
        assign("a", Some("ml"), AssignMode::Move),
        Action::RevokeNode(v1::RevokeNode::default()),
        Action::PutBlob(v1::PutBlob::default()),
        Action::SetPolicy(v1::SetPolicy::default()),
        Action::ApplySpec(v1::ApplySpec::default()),
        Action::CommitDelta(v1::CommitDelta::default()),
        Action::Rollback(v1::Rollback::default()),
        Action::ExtendWindow(v1::ExtendWindow::default()),
        patterns(&["/opt/**"], &[]),
        patterns(&[], &["/opt/**"]),
        members(Change::Add(v1::MemberAddress::default())),
        members(Change::Remove(3)),
    ]
}

#[test]
fn gateways_propose_as_operations_of_the_table() {
    for action in proposed() {
        let Origin::Gateway(operations) = origin(&action) else { panic!("{action:?}") };
        assert!(!operations.is_empty(), "{action:?}");
        for name in operations {
            assert!(Operation::find(name).is_some(), "{name} of {action:?}");
        }
    }
}

#[test]
fn what_could_mean_two_operations_is_proposed_as_none() {
    for action in [
        assign("a", None, AssignMode::Unspecified),
        patterns(&[], &[]),
        patterns(&["/opt/**"], &["/srv/**"]),
        Action::ChangeMembers(v1::ChangeMembers::default()),
    ] {
        assert_eq!(origin(&action), Origin::Gateway(&[]), "{action:?}");
    }
}

#[test]
fn nodes_act_by_grants_of_exec_extend_and_planned_rollbacks_alone() {
    let granted: Vec<Action> = proposed().into_iter().filter(is_granted).collect();
    assert!(matches!(granted.as_slice(), [Action::ExecRequest(_), Action::ExtendWindow(_)]));
    let plan_sha256 = vec![7; 32];
    assert!(is_granted(&Action::Rollback(v1::Rollback { plan_sha256, ..Default::default() })));
}

//! Rules of declared state, one by one.

mod commits;
mod reports;
mod root;
mod scopes;
mod specs;

use pact_schemas::convert::Scope;
use pact_schemas::resource::change_set;
use pact_schemas::v1::{
    self, AssignMode, EntryKind, OnConflict, VclusterPolicy, action::Action, entry::Payload,
};
use pact_schemas::{ErrorCode, NodeId, VclusterId};

use super::{MAX_SCOPE_KEYS, ScopeMark};
use crate::memory::Memory;
use crate::record::sha256;
use crate::samples::{
    Commands, apply, assign, change, commit, committed, delta, delta_of, file, held, overlay,
    packed, policy, put, refused, revoke, rollback_of, shown, site, spec, text, update,
};

const SECOND: i64 = 1_000_000_000;

fn one(state: &mut Memory, command: v1::Command) -> v1::Outcome {
    let command = state.judging(command);
    state.apply(&[command]).remove(0)
}

/// The last sequence of an accepted action.
fn done(state: &mut Memory, commands: &mut Commands, action: Action) -> u64 {
    committed(&one(state, commands.make(action))).1
}

fn refusal(state: &mut Memory, commands: &mut Commands, action: Action) -> v1::Error {
    let before = (state.head, state.declared.clone());
    let outcome = one(state, commands.make(action));
    assert_eq!(before, (state.head, state.declared.clone()), "a refusal changes nothing");
    refused(&outcome).clone()
}

fn code(state: &mut Memory, commands: &mut Commands, action: Action) -> ErrorCode {
    refusal(state, commands, action).known_code()
}

/// A plan by the right of a platform admin.
fn as_admin(state: &Memory, commands: &Commands, action: &Action) -> crate::plan::Plan {
    let trial = crate::action::Trial { time_nanos: commands.now_nanos, by_platform_admin: true };
    crate::plan::plan(state, action, trial)
}

fn vcluster(state: &Memory, name: &str) -> v1::VclusterRecord {
    state.vclusters[&VclusterId::new(name).unwrap()].clone()
}

fn node(state: &Memory, name: &str) -> v1::NodeRecord {
    state.nodes[&NodeId::new(name).unwrap()].clone()
}

fn last(state: &Memory) -> v1::Entry {
    state.decoded().pop().unwrap()
}

fn tick(state: &mut Memory, commands: &mut Commands, after_seconds: i64) {
    commands.now_nanos += after_seconds * SECOND;
    committed(&one(state, commands.bare(Action::Tick(v1::Tick {}))));
}

fn of_node(name: &str) -> Scope {
    Scope::Node(NodeId::new(name).unwrap())
}

fn of_vcluster(name: &str) -> Scope {
    Scope::Vcluster(VclusterId::new(name).unwrap())
}

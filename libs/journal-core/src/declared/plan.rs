//! What an action would do: shown by the read `plan`, and carried out by `apply`.

use pact_schemas::NodeId;
use pact_schemas::convert::Scope;
use pact_schemas::resource::{Change, ResourceKey, Value};
use pact_schemas::v1::{self, action};

use super::{Declared, DeclaredScope, apply_spec, blacklist, commit, rollback};
use crate::refusal::Refusal;
use crate::view::StateView;
use crate::working::Working;

/// A node's delta beside the overlay's new value of the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaBeside {
    /// Whose delta.
    pub node: NodeId,
    /// Of which key.
    pub key: ResourceKey,
    /// What the node declares.
    pub node_value: Value,
    /// What the overlay is to declare.
    pub overlay_value: Value,
    /// What the specification itself says about the key; `None`: nothing.
    pub(super) decided: Option<Differing>,
}

/// What becomes of deltas that differ from a new overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Differing {
    /// They end.
    Overwrite,
    /// They stay and shadow it.
    Keep,
}

/// What becomes of one scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Of the entry.
    pub scope: Scope,
    /// In key order, as the entry will have them.
    pub changes: Vec<Change>,
    /// Deltas that differ from the new overlay.
    pub conflicts: Vec<DeltaBeside>,
    /// Deltas that say the same as the new overlay, and end.
    pub absorbed: Vec<DeltaBeside>,
    /// Keys of the past that had expired since.
    pub(super) expired: Vec<ResourceKey>,
    /// Where the rows go; `None` when nothing declared changes.
    pub(super) into: Option<DeclaredScope>,
    /// What is written.
    pub(super) rows: Vec<(ResourceKey, Declared)>,
}

impl Planned {
    /// Nothing declared changes.
    pub(super) fn nothing(scope: Scope) -> Self {
        Self {
            scope,
            changes: Vec::new(),
            conflicts: Vec::new(),
            absorbed: Vec::new(),
            expired: Vec::new(),
            into: None,
            rows: Vec::new(),
        }
    }

    /// These rows, which the entry shows as these changes.
    pub(super) fn rows(
        into: DeclaredScope,
        changes: Vec<Change>,
        rows: Vec<(ResourceKey, Declared)>,
    ) -> Self {
        Self { changes, rows, into: Some(into.clone()), ..Self::nothing(into.to_scope()) }
    }
}

/// What an action would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Scope by scope, as far as it could be planned.
    pub scopes: Vec<Planned>,
    /// Why it would be refused.
    pub refused: Option<v1::Error>,
}

/// Plans an action, and tries it on a copy that is thrown away. Whether the caller may ask is not looked at.
pub fn plan(view: &dyn StateView, action: &action::Action, time_nanos: i64) -> Plan {
    let mut work = Working::new(view);
    let mut scopes = Vec::new();
    let tried = try_out(&mut work, action, time_nanos, &mut scopes);
    Plan { scopes, refused: tried.err().map(v1::Error::from) }
}

fn try_out(
    work: &mut Working<'_>,
    action: &action::Action,
    time_nanos: i64,
    scopes: &mut Vec<Planned>,
) -> Result<(), Refusal> {
    match action {
        action::Action::ApplySpec(spec) => {
            *scopes = apply_spec::plan(work, spec, true, time_nanos)?;
            apply_spec::carry_out(work, spec, scopes)
        }
        action::Action::CommitDelta(commit) => {
            *scopes = vec![commit::plan(work, commit, time_nanos)?];
            scopes.iter().try_for_each(|planned| commit::carry_out(work, commit, planned))
        }
        action::Action::Rollback(rollback) => {
            *scopes = vec![rollback::plan(work, rollback, time_nanos)?];
            scopes.iter().try_for_each(|planned| rollback::carry_out(work, rollback, planned))
        }
        action::Action::ChangeBlacklist(change) => {
            *scopes = vec![blacklist::plan(work, change)?];
            blacklist::apply(work, change)
        }
        _ => Err(Refusal::Argument {
            field: "PlanRequest.action",
            rule: "must be ApplySpec, CommitDelta, Rollback or ChangeBlacklist",
        }),
    }
}

//! What becomes of a scope: planned by an action, shown by the read `plan`, and carried out by
//! `apply`.

use pact_schemas::NodeId;
use pact_schemas::convert::Scope;
use pact_schemas::resource::{Change, ResourceKey, Value};

use crate::declared::{Declared, DeclaredScope};

/// A node's delta beside the overlay's new value of the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeltaBeside {
    /// Whose delta.
    pub(crate) node: NodeId,
    /// Of which key.
    pub(crate) key: ResourceKey,
    /// What the node declares.
    pub(crate) node_value: Value,
    /// What the overlay is to declare.
    pub(crate) overlay_value: Value,
    /// What the specification itself says about the key; `None`: nothing.
    pub(crate) decided: Option<Differing>,
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
pub(crate) struct Planned {
    /// Of the entry.
    pub(crate) scope: Scope,
    /// In key order, as the entry will have them.
    pub(crate) changes: Vec<Change>,
    /// Deltas that differ from the new overlay.
    pub(crate) conflicts: Vec<DeltaBeside>,
    /// Deltas that say the same as the new overlay, and end.
    pub(crate) absorbed: Vec<DeltaBeside>,
    /// Keys of the past that had expired since.
    pub(crate) expired: Vec<ResourceKey>,
    /// Where the rows go; `None` when nothing declared changes.
    pub(crate) into: Option<DeclaredScope>,
    /// What is written.
    pub(crate) rows: Vec<(ResourceKey, Declared)>,
}

impl Planned {
    /// Nothing declared changes.
    pub(crate) fn nothing(scope: Scope) -> Self {
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
    pub(crate) fn rows(
        into: DeclaredScope,
        changes: Vec<Change>,
        rows: Vec<(ResourceKey, Declared)>,
    ) -> Self {
        Self { changes, rows, into: Some(into.clone()), ..Self::nothing(into.to_scope()) }
    }
}

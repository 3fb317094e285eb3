//! What nodes are to be: overlays of vClusters and deltas of nodes, as rows that are never
//! overwritten.
//!
//! Absences: a row is never changed, so that every state of the past can be read.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use pact_schemas::convert::Scope;
use pact_schemas::resource::{ResourceKey, Value};
use pact_schemas::v1;
use pact_schemas::{NodeId, VclusterId};
use prost::Message as _;

/// Keys of one scope: a document of them is checked and compared as a whole, on the smallest node.
pub(crate) const MAX_SCOPE_KEYS: u32 = 20_000;
/// Bytes of the declared keys of one scope, as [`size_of`] counts them. With the largest policy (2
/// MiB) and blacklist beside them, a document stays under the 10 MB that a node takes.
pub(crate) const MAX_SCOPE_BYTES: u64 = 7 * 1024 * 1024;
/// Bytes of one encoded value: the longest text fits, contents are blobs, and a page holds several.
pub(crate) const MAX_VALUE_BYTES: usize = 128 * 1024;
/// What a declared key costs in a document beside key and value: sequence, time, tags and lengths.
const KEY_OVERHEAD_BYTES: usize = 64;

/// Whose declared state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeclaredScope {
    /// The overlay of a vCluster.
    Overlay(VclusterId),
    /// The deltas of a node in a vCluster: in another one it has others.
    Delta(VclusterId, NodeId),
}

impl DeclaredScope {
    /// The vCluster that it belongs to.
    pub fn vcluster(&self) -> &VclusterId {
        match self {
            Self::Overlay(vcluster) | Self::Delta(vcluster, _) => vcluster,
        }
    }

    /// The scope of its entries.
    pub fn to_scope(&self) -> Scope {
        match self {
            Self::Overlay(vcluster) => Scope::Vcluster(vcluster.clone()),
            Self::Delta(_, node) => Scope::Node(node.clone()),
        }
    }
}

/// What an entry said about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// `None`: declared no longer.
    pub value: Option<Value>,
    /// Unix nanoseconds at which it ends by itself.
    pub expires_nanos: Option<i64>,
}

impl Declared {
    /// No longer declared.
    pub const ENDED: Self = Self { value: None, expires_nanos: None };
}

/// A declared key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The entry that declared it.
    pub seq: u64,
    /// What it is to be.
    pub value: Value,
    /// Unix nanoseconds at which it ends by itself.
    pub expires_nanos: Option<i64>,
}

impl Held {
    /// The live key of a row.
    pub fn of(seq: u64, row: Declared) -> Option<Self> {
        let expires_nanos = row.expires_nanos;
        row.value.map(|value| Self { seq, value, expires_nanos })
    }

    /// Whether its time is over, though no entry has said so yet.
    pub fn is_over(&self, time_nanos: i64) -> bool {
        self.expires_nanos.is_some_and(|end| end <= time_nanos)
    }
}

/// What a scope declares, in key order.
pub(crate) type HeldKeys = BTreeMap<ResourceKey, Held>;

/// Where a scope stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeMark {
    /// The entry that changed it last; 0: none.
    pub seq: u64,
    /// Keys that it declares.
    pub keys: u32,
    /// Their size, as [`size_of`] counts.
    pub size_bytes: u64,
}

/// The end of a declared key: time, scope, key.
pub type Expiry = (i64, DeclaredScope, ResourceKey);

/// An upper bound of what a declared key takes in a document.
pub(crate) fn size_of(key: &ResourceKey, value: &Value) -> u64 {
    let bytes = key.as_str().len() + v1::Value::from(value).encoded_len() + KEY_OVERHEAD_BYTES;
    bytes as u64
}

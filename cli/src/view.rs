//! What the gateway's messages look like to the user, as text and as JSON.

pub(crate) mod capability;
pub(crate) mod change;
pub(crate) mod cluster;
pub(crate) mod drift;
pub(crate) mod entry;
pub(crate) mod entry_detail;
pub(crate) mod group;
pub(crate) mod node;
pub(crate) mod value;

use pact_runtime::Timestamp;
use pact_schemas::convert;

/// A time of the wire; `None` when it is absent or out of range.
pub(crate) fn at(value: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    convert::unix_nanos(value, "time").ok().map(Timestamp::from_unix_nanos)
}

/// The same as JSON has it.
pub(crate) fn time(value: Option<&prost_types::Timestamp>) -> Option<String> {
    at(value).map(|at| at.to_string())
}

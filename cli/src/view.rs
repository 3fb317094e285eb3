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
pub(crate) fn time(value: Option<&prost_types::Timestamp>) -> Option<String> {
    let nanos = convert::unix_nanos(value, "time").ok()?;
    Some(Timestamp::from_unix_nanos(nanos).to_string())
}

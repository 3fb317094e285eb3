//! `#[serde(with = "pact_runtime::config::seconds")]` for the `Duration` behind a [`super::KeyKind::Seconds`] key.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Whole seconds to a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

/// A duration to whole seconds, rounded down.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

//! From wire messages to values that are known to be whole.
//!
//! A protobuf field may be missing and an enumeration may hold a number that this
//! version does not know. Both are refused here, once, with the field's name.

use crate::ErrorCode;
use crate::id::{IdError, NodeId, VclusterId};
use crate::v1;

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field that must be set is not.
    #[error("{field} is missing")]
    Missing {
        /// Message and field, e.g. `Proposal.attestation`.
        field: &'static str,
    },
    /// An enumeration value that this version does not know.
    #[error("{field} has the unknown value {value}")]
    Unknown {
        /// Message and field.
        field: &'static str,
        /// The number on the wire.
        value: i32,
    },
    /// An id that breaks its rule.
    #[error("{field}: {source}")]
    Id {
        /// Message and field.
        field: &'static str,
        /// The id and its rule.
        source: IdError,
    },
    /// A value outside its bounds.
    #[error("{field} {rule}")]
    Bounds {
        /// Message and field.
        field: &'static str,
        /// What is accepted.
        rule: &'static str,
    },
    /// Bytes that are no message.
    #[error("{what} does not decode")]
    Decode {
        /// The message.
        what: &'static str,
    },
}

impl From<WireError> for v1::Error {
    fn from(error: WireError) -> Self {
        ErrorCode::Malformed
            .error(error.to_string())
            .next("use the same version of pact on both sides")
    }
}

impl From<v1::action::Action> for v1::Action {
    fn from(action: v1::action::Action) -> Self {
        Self { action: Some(action), ..Self::default() }
    }
}

/// A field that must be set.
///
/// # Errors
/// [`WireError::Missing`].
pub fn required<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { field })
}

/// A text that must not be empty.
///
/// # Errors
/// [`WireError::Missing`].
pub fn text<'a>(value: &'a str, field: &'static str) -> Result<&'a str, WireError> {
    if value.is_empty() { Err(WireError::Missing { field }) } else { Ok(value) }
}

/// An id, checked.
///
/// # Errors
/// [`WireError::Id`].
pub fn id<T: std::str::FromStr<Err = IdError>>(
    value: &str,
    field: &'static str,
) -> Result<T, WireError> {
    value.parse().map_err(|source| WireError::Id { field, source })
}

/// An enumeration value: known, and not the zero value.
///
/// # Errors
/// [`WireError::Missing`] for 0, [`WireError::Unknown`] for numbers of other versions.
pub fn enumeration<T: TryFrom<i32>>(value: i32, field: &'static str) -> Result<T, WireError> {
    if value == 0 {
        return Err(WireError::Missing { field });
    }
    T::try_from(value).map_err(|_| WireError::Unknown { field, value })
}

/// The vCluster that a node is in. A name that cannot be read is not "in none": what is declared there would be taken off
/// the node.
///
/// # Errors
/// [`WireError::Id`].
pub fn vcluster_of(record: &v1::NodeRecord) -> Result<Option<VclusterId>, WireError> {
    record.vcluster.as_deref().map(|name| id(name, "NodeRecord.vcluster")).transpose()
}

/// Exactly `N` bytes.
///
/// # Errors
/// [`WireError::Bounds`].
pub fn bytes<const N: usize>(value: &[u8], field: &'static str) -> Result<[u8; N], WireError> {
    value.try_into().map_err(|_| WireError::Bounds { field, rule: "has the wrong length" })
}

/// Unix nanoseconds of a timestamp that is set and in range.
///
/// # Errors
/// [`WireError::Missing`], [`WireError::Bounds`].
pub fn unix_nanos(
    value: Option<&prost_types::Timestamp>,
    field: &'static str,
) -> Result<i64, WireError> {
    let t = required(value, field)?;
    let rule = "is not a time between 1678 and 2262 with 0 to 999,999,999 nanoseconds";
    if !(0..1_000_000_000).contains(&t.nanos) {
        return Err(WireError::Bounds { field, rule });
    }
    t.seconds
        .checked_mul(1_000_000_000)
        .and_then(|n| n.checked_add(i64::from(t.nanos)))
        .ok_or(WireError::Bounds { field, rule })
}

/// The timestamp of these Unix nanoseconds.
#[must_use]
pub fn timestamp(unix_nanos: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(unix_nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
    prost_types::Timestamp { seconds: unix_nanos.div_euclid(1_000_000_000), nanos }
}

/// Where an entry or a policy applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One node.
    Node(NodeId),
    /// One vCluster.
    Vcluster(VclusterId),
    /// The whole site.
    Global,
}

impl TryFrom<&v1::Scope> for Scope {
    type Error = WireError;

    fn try_from(wire: &v1::Scope) -> Result<Self, WireError> {
        match required(wire.scope.as_ref(), "Scope.scope")? {
            v1::scope::Scope::Node(node) => Ok(Self::Node(id(node, "Scope.node")?)),
            v1::scope::Scope::Vcluster(vc) => Ok(Self::Vcluster(id(vc, "Scope.vcluster")?)),
            v1::scope::Scope::Global(_) => Ok(Self::Global),
        }
    }
}

impl From<&Scope> for v1::Scope {
    fn from(scope: &Scope) -> Self {
        let scope = match scope {
            Scope::Node(node) => v1::scope::Scope::Node(node.to_string()),
            Scope::Vcluster(vc) => v1::scope::Scope::Vcluster(vc.to_string()),
            Scope::Global => v1::scope::Scope::Global(v1::Global {}),
        };
        Self { scope: Some(scope) }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node:{node}"),
            Self::Vcluster(vc) => write!(f, "vc:{vc}"),
            Self::Global => f.write_str("global"),
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("node", node)) => {
                node.parse().map(Self::Node).map_err(|e: IdError| e.to_string())
            }
            Some(("vc", vc)) => vc.parse().map(Self::Vcluster).map_err(|e: IdError| e.to_string()),
            None if text == "global" => Ok(Self::Global),
            _ => Err(format!("{text:?} is not a scope; accepted: node:<id>, vc:<name>, global")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_missing_or_unknown_gets_through() {
        assert!(Scope::try_from(&v1::Scope { scope: None }).is_err());
        assert!(enumeration::<v1::NodeState>(0, "x").is_err());
        assert_eq!(
            enumeration::<v1::NodeState>(99, "x"),
            Err(WireError::Unknown { field: "x", value: 99 })
        );
        assert!(unix_nanos(None, "t").is_err());
        assert!(unix_nanos(Some(&prost_types::Timestamp { seconds: 1, nanos: -1 }), "t").is_err());
        assert!(
            unix_nanos(Some(&prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), "t").is_err()
        );
    }

    #[test]
    fn an_unreadable_vcluster_is_not_none() {
        let of = |name: Option<&str>| {
            let vcluster = name.map(str::to_owned);
            vcluster_of(&v1::NodeRecord { vcluster, ..v1::NodeRecord::default() })
        };
        assert_eq!(of(None), Ok(None));
        assert_eq!(of(Some("ml")).unwrap().unwrap().as_str(), "ml");
        for bad in ["", "M L"] {
            let error = of(Some(bad)).unwrap_err().to_string();
            assert!(error.starts_with("NodeRecord.vcluster: "), "{error}");
        }
    }

    #[test]
    fn scopes_and_times_go_both_ways() {
        for text in ["node:n1", "vc:ml", "global"] {
            let scope: Scope = text.parse().unwrap();
            assert_eq!(scope.to_string(), text);
            assert_eq!(Scope::try_from(&v1::Scope::from(&scope)).unwrap(), scope);
        }
        for nanos in [0, -1, 1_700_000_000_123_456_789] {
            assert_eq!(unix_nanos(Some(&timestamp(nanos)), "t").unwrap(), nanos);
        }
        assert!("node".parse::<Scope>().is_err() && "vc:A".parse::<Scope>().is_err());
    }
}

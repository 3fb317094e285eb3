//! The state of a node, as the journal has it.

use std::fmt;
use std::str::FromStr;

use crate::convert::{WireError, enumeration};
use crate::v1;

/// A state that is known. The wire has two more: none at all, and numbers of other versions; both are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// Known by its hardware; its agent has never enrolled, or it was brought back.
    Registered,
    /// Its agent is on the bus.
    Active,
    /// Its agent was enrolled and does not answer.
    Inactive,
    /// Decommissioned.
    Revoked,
}

impl NodeState {
    const ALL: [Self; 4] = [Self::Registered, Self::Active, Self::Inactive, Self::Revoked];

    /// The state of a record.
    ///
    /// # Errors
    /// [`WireError`] for a record without a state, or with one of another version.
    pub fn of(record: &v1::NodeRecord) -> Result<Self, WireError> {
        Self::from_wire(record.state, "NodeRecord.state")
    }

    /// The state in a field of a message.
    ///
    /// # Errors
    /// [`WireError`] for 0 and for numbers of other versions.
    pub fn from_wire(value: i32, field: &'static str) -> Result<Self, WireError> {
        match enumeration(value, field)? {
            v1::NodeState::Unspecified => Err(WireError::Missing { field }),
            v1::NodeState::Registered => Ok(Self::Registered),
            v1::NodeState::Active => Ok(Self::Active),
            v1::NodeState::Inactive => Ok(Self::Inactive),
            v1::NodeState::Revoked => Ok(Self::Revoked),
        }
    }

    /// As shown, asked for and told to the policy.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Revoked => "revoked",
        }
    }
}

impl From<NodeState> for v1::NodeState {
    fn from(state: NodeState) -> Self {
        match state {
            NodeState::Registered => Self::Registered,
            NodeState::Active => Self::Active,
            NodeState::Inactive => Self::Inactive,
            NodeState::Revoked => Self::Revoked,
        }
    }
}

impl From<NodeState> for i32 {
    fn from(state: NodeState) -> Self {
        v1::NodeState::from(state).into()
    }
}

/// A text that names no state of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no state of a node")]
pub struct UnknownState {
    /// The text, cut at 80 characters.
    pub text: String,
}

impl FromStr for NodeState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| UnknownState { text: text.chars().take(80).collect() })
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_go_both_ways() {
        for state in NodeState::ALL {
            assert_eq!(NodeState::from_wire(state.into(), "x"), Ok(state));
            assert_eq!(state.to_string().parse(), Ok(state));
        }
    }

    #[test]
    fn what_is_no_state_is_an_error_and_never_a_default() {
        let record = |state| v1::NodeRecord { state, ..v1::NodeRecord::default() };
        let field = "NodeRecord.state";
        assert_eq!(NodeState::of(&record(0)), Err(WireError::Missing { field }));
        assert_eq!(NodeState::of(&record(9)), Err(WireError::Unknown { field, value: 9 }));
        assert_eq!(
            "Active".parse::<NodeState>().unwrap_err().to_string(),
            "\"Active\" is no state of a node"
        );
    }
}

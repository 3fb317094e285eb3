//! Whether a node restores anything by itself: the enforcement mode.

use std::fmt;
use std::str::FromStr;

use crate::convert::WireError;

/// The enforcement mode of a node or of a vCluster's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It reports and waits.
    Observe,
    /// It applies what is newly declared, and undoes drift when its window ends.
    Enforce,
}

impl Mode {
    /// What is accepted, in files and on the wire.
    pub const NAMES: &'static [&'static str] = &[Self::Observe.as_str(), Self::Enforce.as_str()];

    /// As configured, shown and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }

    /// The mode in a field of a message.
    ///
    /// # Errors
    /// [`WireError`] for an empty text and for one that is no mode.
    pub fn from_wire(text: &str, field: &'static str) -> Result<Self, WireError> {
        if text.is_empty() {
            return Err(WireError::Missing { field });
        }
        text.parse().map_err(|UnknownMode| WireError::Bounds { field, rule: UnknownMode::RULE })
    }
}

/// A text that is no mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", Self::RULE)]
pub struct UnknownMode;

impl UnknownMode {
    const RULE: &'static str = "must be observe or enforce";
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        [Self::Observe, Self::Enforce].into_iter().find(|m| m.as_str() == text).ok_or(UnknownMode)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_mode_is_an_error_and_never_a_default() {
        for name in Mode::NAMES {
            assert_eq!(Mode::from_wire(name, "x").unwrap().to_string(), *name);
        }
        assert_eq!(Mode::from_wire("", "x"), Err(WireError::Missing { field: "x" }));
        for bad in ["Observe", "enforced", "bypass"] {
            let error = Mode::from_wire(bad, "DiffReply.enforcement_mode").unwrap_err();
            assert_eq!(error.to_string(), "DiffReply.enforcement_mode must be observe or enforce");
        }
    }
}

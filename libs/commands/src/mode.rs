//! How strictly the list decides.

use std::str::FromStr;

/// How the agent uses the list (`[agent.shell] whitelist_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only what the list accepts runs.
    Strict,
    /// Everything runs; what is off the list comes with the refusal it would have met.
    Learning,
    /// Everything runs. Development only.
    Bypass,
}

/// A mode that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("whitelist mode {given:?} is not one of strict, learning, bypass")]
pub struct UnknownMode {
    /// The word given.
    pub given: String,
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "strict" => Ok(Self::Strict),
            "learning" => Ok(Self::Learning),
            "bypass" => Ok(Self::Bypass),
            _ => Err(UnknownMode { given: text.to_owned() }),
        }
    }
}

impl Mode {
    /// The word that `FromStr` reads.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Learning => "learning",
            Self::Bypass => "bypass",
        }
    }
}

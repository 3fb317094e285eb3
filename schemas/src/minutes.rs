//! By how much a commit window is extended at once.

use std::fmt;
use std::time::Duration;

use crate::convert::WireError;

/// Whole minutes, from one to a day: whoever needs more than a day comes back and says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minutes(u32);

impl Minutes {
    /// A day.
    pub const MAX: u32 = 1_440;

    /// The number of minutes.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Minutes {
    type Error = WireError;

    fn try_from(minutes: u32) -> Result<Self, WireError> {
        if (1..=Self::MAX).contains(&minutes) {
            Ok(Self(minutes))
        } else {
            Err(WireError::Bounds { field: "minutes", rule: "must be between 1 and 1,440" })
        }
    }
}

impl From<Minutes> for Duration {
    fn from(minutes: Minutes) -> Self {
        Self::from_secs(u64::from(minutes.0) * 60)
    }
}

impl fmt::Display for Minutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_extended_by_one_minute_to_a_day() {
        for minutes in [1, 1_440] {
            assert_eq!(Minutes::try_from(minutes).unwrap().get(), minutes);
        }
        for minutes in [0, 1_441, u32::MAX] {
            let error = Minutes::try_from(minutes).unwrap_err();
            assert_eq!(error.to_string(), "minutes must be between 1 and 1,440");
        }
        let quarter = Minutes::try_from(15).unwrap();
        assert_eq!(
            (Duration::from(quarter).as_secs(), quarter.to_string()),
            (900, "15".to_owned())
        );
    }
}

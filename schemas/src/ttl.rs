//! How long a node's delta lives before it ends by itself.

use std::fmt;

use crate::convert::WireError;

/// The life of a delta in whole seconds. A shorter one would end before anybody has looked at it; a longer one is
/// no exception any more and belongs into the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(u64);

impl Ttl {
    /// Shortest life: a quarter of an hour.
    pub const MIN_SECONDS: u64 = 900;
    /// Longest life: ten days.
    pub const MAX_SECONDS: u64 = 864_000;

    /// The seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Unix nanoseconds of the end of a life that begins at `unix_nanos`; `None` where no timestamp is left.
    #[must_use]
    pub fn end(self, unix_nanos: i64) -> Option<i64> {
        let nanos = i64::try_from(self.0).ok()?.checked_mul(1_000_000_000)?;
        unix_nanos.checked_add(nanos)
    }
}

impl TryFrom<u64> for Ttl {
    type Error = WireError;

    fn try_from(seconds: u64) -> Result<Self, WireError> {
        if (Self::MIN_SECONDS..=Self::MAX_SECONDS).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            let rule = "must be between 900 and 864,000";
            Err(WireError::Bounds { field: "ttl_seconds", rule })
        }
    }
}

impl From<Ttl> for u64 {
    fn from(ttl: Ttl) -> Self {
        ttl.0
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_quarter_of_an_hour_to_ten_days() {
        for seconds in [900, 864_000] {
            assert_eq!(Ttl::try_from(seconds).unwrap().seconds(), seconds);
        }
        for seconds in [0, 899, 864_001, u64::MAX] {
            let error = Ttl::try_from(seconds).unwrap_err();
            assert_eq!(error.to_string(), "ttl_seconds must be between 900 and 864,000");
        }
        assert_eq!(Ttl::try_from(900).unwrap().to_string(), "900 s");
    }

    #[test]
    fn a_life_ends_after_its_seconds_where_time_goes_that_far() {
        let ttl = Ttl::try_from(900).unwrap();
        assert_eq!(ttl.end(7), Some(900_000_000_007));
        assert_eq!(ttl.end(i64::MAX), None);
    }
}

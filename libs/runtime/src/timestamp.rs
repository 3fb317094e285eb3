//! A point in time, as pact stores, sends and shows it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_MILLI: u32 = 1_000_000;

/// Nanoseconds since 1970-01-01T00:00:00Z, without leap seconds; reaches from 1677 to 2262.
///
/// Shown and serialised as RFC 3339 in UTC with milliseconds (`2026-03-04T05:06:07.089Z`), which cuts off what is
/// finer; wire and disk carry [`Timestamp::unix_nanos`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since the Unix epoch; `None` outside the range.
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        seconds.checked_mul(NANOS_PER_SECOND).map(Self)
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    /// This much later; `None` past the year 2262.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanos = i64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Self)
    }

    /// This much earlier; `None` before the year 1677.
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        let nanos = i64::try_from(duration.as_nanos()).ok()?;
        self.0.checked_sub(nanos).map(Self)
    }

    /// How long after `earlier` this is; `None` when it is before.
    pub fn duration_since(self, earlier: Self) -> Option<Duration> {
        let nanos = i128::from(self.0) - i128::from(earlier.0);
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0))
            .map_err(|_out_of_range| fmt::Error)?;
        let text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.nanosecond() / NANOS_PER_MILLI
        );
        f.pad(&text)
    }
}

/// Why a text is not a [`Timestamp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Not a date and time of RFC 3339.
    #[error("expected a time such as 2026-03-04T05:06:07Z")]
    NotRfc3339,
    /// Before 1677 or after 2262.
    #[error("the year must lie between 1678 and 2261")]
    OutOfRange,
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Accepts any offset and any number of fractional digits; keeps nanoseconds.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let time =
            OffsetDateTime::parse(text, &Rfc3339).map_err(|_parse| TimestampError::NotRfc3339)?;
        i64::try_from(time.unix_timestamp_nanos())
            .map(Self)
            .map_err(|_range| TimestampError::OutOfRange)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLI: i64 = NANOS_PER_MILLI as i64;

    proptest! {
        #[test]
        fn display_and_parse_round_trip_to_the_millisecond(nanos: i64) {
            // The very first millisecond of the range rounds down to before it.
            prop_assume!(nanos > i64::MIN + MILLI);
            let shown = Timestamp(nanos).to_string();
            let back: Timestamp = shown.parse().unwrap();
            prop_assert_eq!(back.unix_nanos(), nanos.div_euclid(MILLI) * MILLI);
            prop_assert_eq!(back.to_string(), shown);
        }

        #[test]
        fn shown_times_sort_like_times(a: i64, b: i64) {
            let (a, b) = (Timestamp(a), Timestamp(b));
            prop_assert!((a <= b) == (a.to_string() <= b.to_string()) || a.to_string() == b.to_string());
        }

        #[test]
        fn adding_is_undone_by_duration_since(start: i32, nanos: u32) {
            let start = Timestamp::from_unix_seconds(i64::from(start)).unwrap();
            let step = Duration::from_nanos(u64::from(nanos));
            let later = start.checked_add(step).unwrap();
            prop_assert_eq!(later.duration_since(start), Some(step));
            prop_assert_eq!(later.checked_sub(step), Some(start));
        }
    }

    #[test]
    fn shows_utc_with_milliseconds() {
        let time: Timestamp = "2026-03-04T06:06:07.0899+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-03-04T05:06:07.089Z");
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(-1).unix_seconds(), -1);
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(json, "\"2026-03-04T05:06:07.089Z\"");
    }

    #[test]
    fn refuses_what_is_not_a_time() {
        assert_eq!("yesterday".parse::<Timestamp>(), Err(TimestampError::NotRfc3339));
        assert_eq!("2500-01-01T00:00:00Z".parse::<Timestamp>(), Err(TimestampError::OutOfRange));
        assert_eq!(Timestamp(0).duration_since(Timestamp(1)), None);
        assert_eq!(Timestamp(i64::MAX).checked_add(Duration::from_nanos(1)), None);
    }
}

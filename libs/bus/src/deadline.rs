//! How long a message may be acted upon.
//!
//! A message that waited in a buffer while the server was away is delivered late, to somebody who cannot know that.
//! So each carries the moment (by the calendar) after which nobody may act on it any more. A process whose
//! calendar is not to be believed says so with [`ClockTrust`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use pact_runtime::Clock;

/// Header with the last moment at which the message may be acted upon, in Unix milliseconds, decimal.
pub const DEADLINE_HEADER: &str = "Pact-Deadline";

/// The longest time that anything may take: the `resp` right of decisions §1 ends then, so no answer could be sent.
pub const MAX_DEADLINE: Duration = Duration::from_secs(120);

/// For requests without a deadline (other clients, or a caller without a calendar).
const UNSTATED_DEADLINE: Duration = Duration::from_secs(30);

/// A moment by which work must be done. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Deadline {
    at: Duration,
    clock: Clock,
}

impl Deadline {
    /// The moment `limit` from now.
    #[must_use]
    pub fn after(limit: Duration, clock: &Clock) -> Self {
        Self { at: clock.monotonic().saturating_add(limit), clock: clock.clone() }
    }

    /// The time that is left; zero once it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.at.saturating_sub(self.clock.monotonic())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// Whether this process's calendar may judge deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockTrust {
    /// It is right, as on a management host under NTP.
    #[default]
    Wall,
    /// It is wrong by a known amount: true time = wall clock + offset.
    Offset {
        /// May be negative.
        milliseconds: i64,
    },
    /// It says nothing, as on a node before its first signed time. Requests then go out without a deadline and
    /// incoming deadlines are not judged; the bound of each method still holds.
    Unknown,
}

/// Why a message must not be acted upon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Expired,
    Malformed,
}

/// The calendar by which deadlines are written and judged.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    clock: Clock,
    trust: Arc<Mutex<ClockTrust>>,
}

impl Calendar {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, trust: Arc::default() }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn set_trust(&self, trust: ClockTrust) {
        *self.trust.lock().unwrap_or_else(PoisonError::into_inner) = trust;
    }

    fn now_milliseconds(&self) -> Option<i64> {
        let wall = self.clock.now().unix_nanos().div_euclid(1_000_000);
        match *self.trust.lock().unwrap_or_else(PoisonError::into_inner) {
            ClockTrust::Wall => Some(wall),
            ClockTrust::Offset { milliseconds } => Some(wall.saturating_add(milliseconds)),
            ClockTrust::Unknown => None,
        }
    }

    /// The headers of a message that must not be acted upon after `limit`.
    pub(crate) fn headers(&self, limit: Duration) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(now) = self.now_milliseconds() {
            let limit = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
            headers.insert(DEADLINE_HEADER, now.saturating_add(limit).to_string());
        }
        headers
    }

    /// How long a message that has just arrived may be worked on.
    pub(crate) fn judge(&self, headers: Option<&HeaderMap>) -> Result<Duration, Refusal> {
        let Some(value) = headers.and_then(|headers| headers.get(DEADLINE_HEADER)) else {
            return Ok(UNSTATED_DEADLINE);
        };
        let deadline: i64 = value.as_str().parse().map_err(|_| Refusal::Malformed)?;
        let Some(now) = self.now_milliseconds() else {
            return Ok(MAX_DEADLINE);
        };
        match u64::try_from(deadline.saturating_sub(now)) {
            Ok(left) if left > 0 => Ok(Duration::from_millis(left).min(MAX_DEADLINE)),
            _ => Err(Refusal::Expired),
        }
    }
}

#[cfg(test)]
mod tests {
    use pact_runtime::Timestamp;

    use super::*;

    #[test]
    fn a_deadline_is_obeyed_to_the_millisecond_and_bounded() {
        let (clock, hand) = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000).unwrap());
        let calendar = Calendar::new(clock);
        let headers = calendar.headers(Duration::from_secs(2));
        assert_eq!(calendar.judge(Some(&headers)), Ok(Duration::from_secs(2)));
        hand.advance(Duration::from_millis(1999));
        assert_eq!(calendar.judge(Some(&headers)), Ok(Duration::from_millis(1)));
        hand.advance(Duration::from_millis(1));
        assert_eq!(calendar.judge(Some(&headers)), Err(Refusal::Expired));

        let far = calendar.headers(Duration::MAX);
        assert_eq!(calendar.judge(Some(&far)), Ok(MAX_DEADLINE));
        assert_eq!(calendar.judge(None), Ok(UNSTATED_DEADLINE));
        let mut nonsense = HeaderMap::new();
        nonsense.insert(DEADLINE_HEADER, "soon");
        assert_eq!(calendar.judge(Some(&nonsense)), Err(Refusal::Malformed));
    }

    #[test]
    fn a_node_with_a_wrong_calendar_agrees_once_it_knows_its_offset() {
        let (right, _) = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000).unwrap());
        let (wrong, _) = Clock::manual(Timestamp::from_unix_seconds(1_700_009_000).unwrap());
        let (service, node) = (Calendar::new(right), Calendar::new(wrong));
        let from_service = service.headers(Duration::from_secs(5));
        assert_eq!(node.judge(Some(&from_service)), Err(Refusal::Expired));
        node.set_trust(ClockTrust::Unknown);
        assert_eq!(node.judge(Some(&from_service)), Ok(MAX_DEADLINE));
        assert!(node.headers(Duration::from_secs(5)).is_empty());
        node.set_trust(ClockTrust::Offset { milliseconds: -9_000_000 });
        assert_eq!(node.judge(Some(&from_service)), Ok(Duration::from_secs(5)));
        let from_node = node.headers(Duration::from_secs(3));
        assert_eq!(service.judge(Some(&from_node)), Ok(Duration::from_secs(3)));
    }
}

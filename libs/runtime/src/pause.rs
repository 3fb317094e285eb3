//! Waits between attempts.

use std::time::Duration;

use crate::Clock;

/// Waits between attempts: doubled from the first to the longest, the upper half of each random, so that the nodes of a
/// site do not all come at once.
#[derive(Debug, Clone)]
pub struct Pause {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pause {
    /// The first wait is at most `first`, no wait is longer than `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next wait.
    pub fn next(&mut self, clock: &Clock) -> Duration {
        let most = self.next;
        self.next = most.saturating_mul(2).min(self.longest);
        let [random] = clock.random_bytes();
        most / 2 + (most / 2) * u32::from(random) / 255
    }

    /// Something worked: begin again with the first.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again() {
        let (clock, _hand) = Clock::manual(Timestamp::from_unix_nanos(0));
        let mut pause = Pause::new(Duration::from_secs(1), Duration::from_secs(3));
        for most in [1, 2, 3, 3].map(Duration::from_secs) {
            let wait = pause.next(&clock);
            assert!(most / 2 <= wait && wait <= most, "{wait:?} of {most:?}");
        }
        pause.reset();
        assert!(pause.next(&clock) <= Duration::from_secs(1));
    }
}

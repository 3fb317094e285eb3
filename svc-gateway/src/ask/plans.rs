//! Room in this process's memory for the plans of rollbacks and promotions.
//!
//! A plan may have ten million bytes, and a command may concern every node of a site. A node's changes are in memory only while
//! they are handed to that node, and of all commands together only so many are at once.

use std::sync::Arc;

use pact_runtime::Clock;
use pact_schemas::ErrorCode;
use pact_schemas::resource::change_set::MAX_ENCODED_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ask::nodes::Until;
use crate::error::Answer;

/// Encoded bytes of the plans that are in memory at once: six of the largest. Decoded they take about three times as much.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What a permit is for.
const UNIT_BYTES: usize = 1024;

/// The room. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Plans {
    room: Arc<Semaphore>,
    clock: Clock,
}

impl Plans {
    /// All of it is free.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_BYTES / UNIT_BYTES)), clock }
    }

    /// Waits for room for this many bytes, as long as the command has time. Given back when the permit is dropped.
    ///
    /// # Errors
    /// `PACT_BUSY` when other commands have it for all that time.
    pub(crate) async fn room(&self, bytes: usize, until: &Until) -> Answer<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, MAX_BYTES / UNIT_BYTES);
        let waited = Arc::clone(&self.room).acquire_many_owned(u32::try_from(units).unwrap_or(1));
        let waited = self.clock.timeout(until.left(), waited).await;
        // Never closed: nothing closes it.
        waited.ok().and_then(Result::ok).ok_or_else(|| {
            ErrorCode::Busy
                .error("there is no room for the plan of this rollback")
                .because("other commands of this gateway have large plans, too")
                .next("run it again in a moment")
        })
    }
}

/// How many plans of this size are at once no more than one of the largest.
pub(crate) fn at_once(bytes: usize) -> usize {
    (MAX_ENCODED_BYTES / bytes.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pact_runtime::Timestamp;

    use super::*;

    #[tokio::test]
    async fn plans_wait_for_room_until_the_time_is_over() {
        let (clock, hand) = Clock::manual(Timestamp::from_unix_nanos(0));
        let (plans, until) = (Plans::new(clock.clone()), Until::new(&clock));
        let mut held = Vec::new();
        for _ in 0..MAX_BYTES / MAX_ENCODED_BYTES {
            held.push(plans.room(MAX_ENCODED_BYTES, &until).await.unwrap());
        }
        let (late, ()) = tokio::join!(plans.room(MAX_ENCODED_BYTES, &until), async {
            hand.wait_for_sleepers(1).await;
            hand.advance(Duration::from_secs(60));
        });
        assert_eq!(late.unwrap_err().known_code(), ErrorCode::Busy);
        let until = Until::new(&clock);
        held.pop();
        // Small ones find room beside them, and one that is larger than all of it is not refused for ever.
        let small = plans.room(1, &until).await.unwrap();
        let next = plans.room(MAX_ENCODED_BYTES - UNIT_BYTES, &until).await.unwrap();
        drop((small, next, held));
        drop(plans.room(10 * MAX_BYTES, &until).await.unwrap());
    }

    #[test]
    fn small_plans_are_many_at_once_and_large_ones_one() {
        assert_eq!(at_once(MAX_ENCODED_BYTES), 1);
        assert_eq!(at_once(2 * MAX_ENCODED_BYTES), 1);
        assert!(at_once(0) > 1_000);
    }
}

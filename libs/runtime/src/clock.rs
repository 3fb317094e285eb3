//! The only reader of clocks and randomness.
//!
//! Everything that needs the time, an id or a nonce takes a [`Clock`] as a value, so that tests can drive it and
//! nothing deterministic can reach for one by accident (`clippy.toml` bans the direct calls).
//!
//! Three times, not interchangeable: [`Clock::now`] is what calendars say and may jump; [`Clock::monotonic`] never
//! goes back but stands still while the machine sleeps; [`Clock::boot_time`] counts sleep too and is what grants and
//! plane time are measured against. No two machines share the last two.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::time::ClockId;
use tokio::sync::watch;
use uuid::Uuid;

use crate::process::abort;
use crate::timestamp::Timestamp;

/// Random bytes of a UUIDv7 beside its 48 bits of milliseconds.
const UUID_RANDOM_BYTES: usize = 10;

/// A source of time, ids and randomness; cheap to clone.
#[derive(Clone)]
pub struct Clock {
    source: Source,
}

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<Manual>),
}

struct Manual {
    times: watch::Sender<Times>,
    sleepers: watch::Sender<usize>,
}

#[derive(Clone, Copy)]
struct Times {
    wall: Timestamp,
    elapsed: Duration,
}

/// The time limit of [`Clock::timeout`] passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {} ms", limit.as_millis())]
pub struct TimedOut {
    /// The limit that passed.
    pub limit: Duration,
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self { source: Source::System }
    }

    /// A clock that only moves when told to, and the hand that moves it. Randomness stays real.
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let manual = Arc::new(Manual {
            times: watch::Sender::new(Times { wall: start, elapsed: Duration::ZERO }),
            sleepers: watch::Sender::new(0),
        });
        let clock = Self { source: Source::Manual(Arc::clone(&manual)) };
        (clock, ManualClock { manual })
    }

    /// The time of day. May jump in both directions.
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System => wall_time(),
            Source::Manual(manual) => manual.times.borrow().wall,
        }
    }

    /// Time since some moment early in this process (`CLOCK_MONOTONIC`). Never goes back.
    pub fn monotonic(&self) -> Duration {
        static EPOCH: OnceLock<Duration> = OnceLock::new();
        match &self.source {
            Source::System => {
                let now = read_clock(ClockId::CLOCK_MONOTONIC);
                now.saturating_sub(*EPOCH.get_or_init(|| now))
            }
            Source::Manual(manual) => manual.times.borrow().elapsed,
        }
    }

    /// Time since the machine booted, sleep included (`CLOCK_BOOTTIME`). Never goes back within one boot.
    pub fn boot_time(&self) -> Duration {
        match &self.source {
            Source::System => read_clock(ClockId::CLOCK_BOOTTIME),
            Source::Manual(manual) => manual.times.borrow().elapsed,
        }
    }

    /// Waits this long. With a manual clock: until the hand has moved this far.
    pub async fn sleep(&self, duration: Duration) {
        match &self.source {
            Source::System => tokio::time::sleep(duration).await,
            Source::Manual(manual) => manual.sleep(duration).await,
        }
    }

    /// Runs `work` for at most `limit`.
    pub async fn timeout<F: Future>(
        &self,
        limit: Duration,
        work: F,
    ) -> Result<F::Output, TimedOut> {
        tokio::select! {
            biased; // what is ready counts even when the limit passed at the same moment
            output = work => Ok(output),
            () = self.sleep(limit) => Err(TimedOut { limit }), // `work` is dropped: the caller gave up
        }
    }

    /// A new id whose first 48 bits are the milliseconds of [`Clock::now`], the rest random.
    pub fn new_uuid_v7(&self) -> Uuid {
        // Before 1970 there are no such ids; the random part still makes this one unique.
        let millis = u64::try_from(self.now().unix_nanos() / 1_000_000).unwrap_or(0);
        let random: [u8; UUID_RANDOM_BYTES] = self.random_bytes();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// Bytes from the operating system's secure source.
    ///
    /// Aborts the process when the system has none: a weak nonce or key must never exist.
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        #[allow(clippy::disallowed_methods)] // the only caller
        let filled = getrandom::fill(&mut bytes);
        match filled {
            Ok(()) => bytes,
            Err(error) => abort(&format!("the operating system gives no randomness: {error}")),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::System => "Clock::system",
            Source::Manual(_) => "Clock::manual",
        })
    }
}

/// The hand of a manual clock. For tests.
#[derive(Clone)]
pub struct ManualClock {
    manual: Arc<Manual>,
}

impl ManualClock {
    /// Moves all three times forward and wakes the sleepers whose time has come.
    pub fn advance(&self, step: Duration) {
        self.manual.times.send_modify(|times| {
            times.elapsed += step;
            times.wall = times.wall.checked_add(step).unwrap_or(times.wall);
        });
    }

    /// Sets the time of day alone, forward or back, as an administrator or a broken NTP server would.
    pub fn set_wall(&self, wall: Timestamp) {
        self.manual.times.send_modify(|times| times.wall = wall);
    }

    /// Waits until at least `count` tasks are asleep on this clock: then `advance` is sure to reach them.
    pub async fn wait_for_sleepers(&self, count: usize) {
        let mut sleepers = self.manual.sleepers.subscribe();
        // Cannot fail: `self` holds the sender.
        let _held = sleepers.wait_for(|asleep| *asleep >= count).await;
    }
}

impl Manual {
    async fn sleep(&self, duration: Duration) {
        let mut times = self.times.subscribe();
        let wake_at = times.borrow().elapsed.saturating_add(duration);
        let _asleep = Asleep::new(&self.sleepers);
        // Cannot fail: `self` holds the sender.
        let _held = times.wait_for(|times| times.elapsed >= wake_at).await;
    }
}

/// Counts a sleeper for as long as its future lives, also when it is dropped half-way.
struct Asleep<'a>(&'a watch::Sender<usize>);

impl<'a> Asleep<'a> {
    fn new(sleepers: &'a watch::Sender<usize>) -> Self {
        sleepers.send_modify(|count| *count += 1);
        Self(sleepers)
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

fn wall_time() -> Timestamp {
    let since_epoch = read_clock(ClockId::CLOCK_REALTIME);
    match i64::try_from(since_epoch.as_nanos()) {
        Ok(nanos) => Timestamp::from_unix_nanos(nanos),
        Err(_) => abort("the system clock is past the year 2262"),
    }
}

/// Reads a clock that is never negative on a running machine.
fn read_clock(id: ClockId) -> Duration {
    #[allow(clippy::disallowed_methods)] // the only reader of clocks
    let time = nix::time::clock_gettime(id);
    match time {
        Ok(time) => Duration::from(time),
        Err(error) => abort(&format!("cannot read the system clock: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn manual_clock_moves_only_when_told() {
        let (clock, hand) = Clock::manual(START);
        assert_eq!(clock.now(), START);
        hand.advance(MINUTE);
        assert_eq!(clock.now(), START.checked_add(MINUTE).unwrap());
        assert_eq!(clock.monotonic(), MINUTE);
        hand.set_wall(START);
        assert_eq!(clock.now(), START);
        assert_eq!(clock.boot_time(), MINUTE, "a wall jump moves no other clock");
    }

    #[tokio::test]
    async fn manual_sleep_ends_exactly_on_time() {
        let (clock, hand) = Clock::manual(START);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(MINUTE).await;
                clock.monotonic()
            }
        });
        hand.wait_for_sleepers(1).await;
        hand.advance(MINUTE - Duration::from_nanos(1));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance(Duration::from_nanos(1));
        assert_eq!(sleeper.await.unwrap(), MINUTE);
    }

    #[tokio::test]
    async fn timeout_gives_up_and_leaves_no_sleeper() {
        let (clock, hand) = Clock::manual(START);
        let waiting = tokio::spawn({
            let clock = clock.clone();
            async move { clock.timeout(MINUTE, std::future::pending::<()>()).await }
        });
        hand.wait_for_sleepers(1).await;
        hand.advance(MINUTE);
        assert_eq!(waiting.await.unwrap(), Err(TimedOut { limit: MINUTE }));
        assert_eq!(*hand.manual.sleepers.borrow(), 0);
        assert_eq!(clock.timeout(MINUTE, async { 7 }).await, Ok(7));
    }

    #[test]
    fn system_clock_runs() {
        let clock = Clock::system();
        let (monotonic, boot) = (clock.monotonic(), clock.boot_time());
        assert!(clock.now() > START);
        assert!(clock.monotonic() >= monotonic);
        assert!(clock.boot_time() >= boot && boot > Duration::ZERO);
    }

    #[test]
    fn ids_carry_the_clock_and_differ() {
        let (clock, _hand) = Clock::manual(START);
        let (first, second) = (clock.new_uuid_v7(), clock.new_uuid_v7());
        assert_ne!(first, second);
        assert_eq!(first.get_version_num(), 7);
        let (seconds, _) = first.get_timestamp().unwrap().to_unix();
        assert_eq!(i64::try_from(seconds).unwrap(), START.unix_seconds());
        assert_ne!(clock.random_bytes::<32>(), clock.random_bytes::<32>());
    }
}

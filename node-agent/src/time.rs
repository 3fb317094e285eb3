//! Plane time: what the journal says the time is. The node's own wall clock decides nothing about grants.
//!
//! `plane time = CLOCK_BOOTTIME + offset`; the offset is fixed by a signed answer to a random challenge, on every connect
//! and hourly (decisions §3). The first fix of a boot is remembered in `<state_dir>/plane-time.json` under the boot id: a
//! restart of the agent keeps it, a restart of the machine does not.
//!
//! Nothing here runs a grant or refuses one; `pact_identity::grant` does, with the two times given here.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pact_bus::{CallError, ClockTrust};
use pact_identity::plane_time::{CHALLENGE_BYTES, TimeError};
use pact_identity::{Verifier, verify_time};
use pact_runtime::{CancellationToken, Clock, Timestamp};
use pact_schemas::id::IdError;
use pact_schemas::v1;

use crate::boot::BootId;
use crate::durable::{self, PRIVATE};
use crate::uplink::{Pause, Uplink, names};

/// How long a fix is good: crystals drift by a few seconds a day, and grants have 5 s of leeway.
const FIX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Fixes are renewed this often.
const FIX_INTERVAL: Duration = Duration::from_secs(3600);

/// An answer that took longer says too little: its moment is known only to half of this.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(4);

/// Waits after a failed attempt.
const RETRY: Pause = Pause::new(Duration::from_millis(500), Duration::from_secs(60));

/// 2025-01-01, before this program existed: no answer can be earlier.
const FLOOR: Timestamp = Timestamp::from_unix_nanos(1_735_689_600_000_000_000);

/// How far an answer may be behind the one before: members agree to 2 s, and the moment of an answer is known to 2 s.
const DISAGREEMENT: Duration = Duration::from_secs(5);

/// Far above what the file holds.
const MAX_FILE_BYTES: u64 = 4096;

/// What is known about the time during this boot.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Fix {
    boot_id: BootId,
    /// Plane time of this boot's first fix, Unix nanoseconds.
    first_fix: i64,
    /// Plane time minus CLOCK_BOOTTIME, nanoseconds.
    offset: i64,
    /// CLOCK_BOOTTIME of the last fix, nanoseconds.
    fixed_at: i64,
}

/// The time that grants are judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlaneTime {
    /// Now.
    pub(crate) now: Timestamp,
    /// When this boot first learnt it.
    pub(crate) first_fix: Timestamp,
}

/// The plane clock; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PlaneClock {
    clock: Clock,
    boot: BootId,
    path: Arc<Path>,
    state: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Known {
    fix: Option<Fix>,
    /// No later answer may be before this.
    floor: Timestamp,
}

/// Why there is no new fix.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FixError {
    #[error("the journal did not answer the time challenge")]
    Call(#[from] CallError),
    #[error("the journal's answer to the time challenge is refused")]
    Refused(#[from] TimeError),
    #[error("the answer took {} ms, which says too little about the time", .0.as_millis())]
    TooSlow(Duration),
    #[error("the fix cannot be kept in {}", path.display())]
    Store {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Name(#[from] IdError),
}

impl PlaneClock {
    /// What an earlier run of the agent learnt. A file that does not parse counts as none: it only costs a new fix.
    pub(crate) fn open(path: &Path, boot: BootId, clock: Clock) -> std::io::Result<Self> {
        let bytes = durable::read_bounded(path, MAX_FILE_BYTES)?;
        let known: Option<Fix> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let last_seen = known.as_ref().map(|fix| fix.offset.saturating_add(fix.fixed_at));
        let floor = last_seen.map_or(FLOOR, |seen| floor(Timestamp::from_unix_nanos(seen)));
        let fix = known.filter(|fix| fix.boot_id == boot);
        let state = Arc::new(Mutex::new(Known { fix, floor }));
        Ok(Self { clock, boot, path: path.into(), state })
    }

    /// The time, or `None` when no fix of the last 24 hours is known.
    pub(crate) fn now(&self) -> Option<PlaneTime> {
        let boot_time = self.boot_time();
        let known = self.lock();
        let fix = known.fix.as_ref()?;
        let age = u64::try_from(boot_time.saturating_sub(fix.fixed_at)).ok()?;
        (Duration::from_nanos(age) <= FIX_LIFETIME).then(|| PlaneTime {
            now: Timestamp::from_unix_nanos(boot_time.saturating_add(fix.offset)),
            first_fix: Timestamp::from_unix_nanos(fix.first_fix),
        })
    }

    /// The time for records: plane time, or the wall clock where it is not known.
    pub(crate) fn best(&self) -> Timestamp {
        self.now().map_or_else(|| self.clock.now(), |time| time.now)
    }

    /// How this machine's wall clock is to be read.
    pub(crate) fn trust(&self) -> ClockTrust {
        match self.now() {
            None => ClockTrust::Unknown,
            Some(time) => {
                let behind = time.now.unix_nanos().saturating_sub(self.clock.now().unix_nanos());
                ClockTrust::Offset { milliseconds: behind / 1_000_000 }
            }
        }
    }

    /// Takes an answer that was asked for at `asked` and came at this moment.
    fn fix(&self, answer: Timestamp, asked: Duration) -> Result<(), FixError> {
        let round_trip = self.clock.boot_time().saturating_sub(asked);
        if round_trip > LONGEST_ROUND_TRIP {
            return Err(FixError::TooSlow(round_trip));
        }
        let middle = nanos(asked + round_trip / 2);
        let fix = {
            let known = self.lock();
            let offset = answer.unix_nanos().saturating_sub(middle);
            let first_fix = known.fix.as_ref().map_or(answer.unix_nanos(), |fix| fix.first_fix);
            Fix { boot_id: self.boot.clone(), first_fix, offset, fixed_at: middle }
        };
        // On disk before it counts: a restart of the agent must not find an earlier first fix than was used.
        let store = |source| FixError::Store { path: self.path.to_path_buf(), source };
        let text = serde_json::to_vec(&fix).map_err(|error| store(error.into()))?;
        durable::replace(&self.path, &text, PRIVATE).map_err(store)?;
        let mut known = self.lock();
        known.floor = known.floor.max(floor(answer));
        known.fix = Some(fix);
        Ok(())
    }

    fn floor(&self) -> Timestamp {
        self.lock().floor
    }

    fn boot_time(&self) -> i64 {
        nanos(self.clock.boot_time())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The earliest answer that is believed after this one.
fn floor(answer: Timestamp) -> Timestamp {
    answer.checked_sub(DISAGREEMENT).unwrap_or(FLOOR).max(FLOOR)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Keeps the plane clock fixed, until `stop`.
pub(crate) async fn run(
    plane: PlaneClock,
    uplink: Uplink,
    verifier: Arc<Verifier>,
    stop: CancellationToken,
) {
    let mut connections = uplink.connections();
    let mut pause = RETRY;
    uplink.bus().set_clock_trust(plane.trust());
    let mut wait = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return, // cancel-safe: a token
            () = connections.next() => {} // cancel-safe
            () = sleep(&plane.clock, wait) => {} // cancel-safe: nothing is lost when it starts again
        }
        let next = match attempt(&plane, &uplink, &verifier).await {
            Ok(()) => {
                pause.reset();
                FIX_INTERVAL
            }
            // The next connection is another attempt.
            Err(FixError::Call(CallError::Disconnected | CallError::Interrupted { .. })) => {
                pause.next(&plane.clock)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::warn!(cause, known = plane.now().is_some(), "no new time fix: {error}");
                pause.next(&plane.clock)
            }
        };
        uplink.bus().set_clock_trust(plane.trust());
        wait = Some(next);
    }
}

async fn sleep(clock: &Clock, wait: Option<Duration>) {
    match wait {
        Some(wait) => clock.sleep(wait).await,
        None => std::future::pending().await,
    }
}

async fn attempt(plane: &PlaneClock, uplink: &Uplink, verifier: &Verifier) -> Result<(), FixError> {
    let challenge: [u8; CHALLENGE_BYTES] = plane.clock.random_bytes();
    let request = v1::TimeRequest { challenge: challenge.to_vec() };
    let asked = plane.clock.boot_time();
    let signed: v1::SignedTime =
        uplink.call(names::method("time")?, &request, LONGEST_ROUND_TRIP).await?;
    let answer = verify_time(&signed, verifier, uplink.node(), &challenge, plane.floor())?;
    let was_known = plane.now().is_some();
    plane.fix(answer, asked)?;
    if !was_known {
        tracing::info!(plane_time = %answer, "the plane's time is known");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Timestamp = Timestamp::from_unix_nanos(1_000_000_000_000_000_000);
    const PLANE: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn time_runs_with_the_boot_clock_and_ends_a_day_after_the_last_fix() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plane-time.json");
        let boot = BootId::read().unwrap();
        let (clock, hand) = Clock::manual(WALL);
        let plane = PlaneClock::open(&path, boot, clock.clone()).unwrap();
        assert_eq!((plane.now(), plane.trust()), (None, ClockTrust::Unknown));
        assert_eq!(plane.best(), WALL);
        plane.fix(PLANE, clock.boot_time()).unwrap();
        hand.advance(HOUR);
        hand.set_wall(WALL);
        let later = PLANE.checked_add(HOUR).unwrap();
        assert_eq!(plane.now(), Some(PlaneTime { now: later, first_fix: PLANE }));
        plane.fix(later, clock.boot_time()).unwrap();
        hand.advance(24 * HOUR);
        assert_eq!(plane.now().unwrap().first_fix, PLANE);
        hand.advance(Duration::from_nanos(1));
        assert_eq!(plane.now(), None);
    }

    #[test]
    fn a_restart_of_the_agent_keeps_the_first_fix_and_a_reboot_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plane-time.json");
        let (clock, _hand) = Clock::manual(WALL);
        let open = |boot| PlaneClock::open(&path, boot, clock.clone()).unwrap();
        open(BootId::read().unwrap()).fix(PLANE, clock.boot_time()).unwrap();
        assert_eq!(open(BootId::read().unwrap()).now().unwrap().first_fix, PLANE);
        let rebooted = open(BootId::other());
        assert_eq!(rebooted.now(), None);
        assert_eq!(rebooted.floor(), floor(PLANE));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(open(BootId::read().unwrap()).now(), None);
    }

    #[test]
    fn a_slow_answer_fixes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(WALL);
        let path = folder.path().join("plane-time.json");
        let plane = PlaneClock::open(&path, BootId::other(), clock.clone()).unwrap();
        let asked = clock.boot_time();
        hand.advance(Duration::from_secs(2));
        plane.fix(PLANE, asked).unwrap();
        assert_eq!(plane.now().unwrap().now, PLANE.checked_add(Duration::from_secs(1)).unwrap());
        hand.advance(Duration::from_secs(4));
        assert!(matches!(plane.fix(PLANE, asked), Err(FixError::TooSlow(_))));
    }
}

//! Plane time: what the journal says the time is. The node's own wall clock decides nothing about grants.
//!
//! `plane time = CLOCK_BOOTTIME + offset`; the offset is fixed by signed answers to random challenges, on every connect
//! and hourly (decisions §3). Which answers are believed is [`hearing`]'s rule: no single member moves a clock that runs. The
//! first fix of a boot is remembered in `<state_dir>/plane-time.json` under the boot id: a restart of the agent keeps it, a
//! restart of the machine does not. When members correct the clock, the first fix moves with it.
//!
//! Nothing here runs a grant or refuses one; `pact_identity::grant` does, with the two times given here.

mod hearing;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pact_bus::{CallError, ClockTrust};
use pact_identity::plane_time::{CHALLENGE_BYTES, TimeError};
use pact_identity::signing::domain;
use pact_identity::{SignatureError, SignerName, SignerRole, Verifier, verify_time};
use pact_runtime::{CancellationToken, Clock, Timestamp};
use pact_schemas::id::IdError;
use pact_schemas::v1;
use tokio::sync::Notify;

use crate::boot::BootId;
use crate::durable::{self, PRIVATE};
use crate::uplink::{Pause, Uplink, names};
use hearing::{Answer, Hearing, Verdict};

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

/// Between two questions while the answers do not suffice: they span what one member alone needs to move a clock that runs.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// And while there is no time at all, for the first [`HURRIED`] questions: nothing is granted to a node that has none.
const ASK_AT_ONCE: Duration = Duration::from_millis(10);

/// Twice what one member needs to be believed.
const HURRIED: u32 = 16;

/// Questions in a row before the journal is left in peace for a while.
const MAX_QUESTIONS: u32 = 40;

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
    /// Told when a fix was taken.
    settled: Arc<Notify>,
}

#[derive(Debug)]
struct Known {
    fix: Option<Fix>,
    /// Plane time of the last fix of an earlier boot.
    seen_before: Option<Timestamp>,
    hearing: Hearing,
}

/// A member's word.
#[derive(Debug)]
struct Heard {
    signer: SignerName,
    time: Timestamp,
}

/// Why there is no new fix.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FixError {
    #[error("the journal did not answer the time challenge")]
    Call(#[from] CallError),
    #[error("the journal's answer to the time challenge is refused")]
    Refused(#[from] TimeError),
    #[error("the signature of the journal's answer is refused")]
    Signature(#[from] SignatureError),
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
        let (fix, seen_before) = match known {
            Some(fix) if fix.boot_id == boot => (Some(fix), None),
            Some(fix) => {
                (None, Some(Timestamp::from_unix_nanos(fix.offset.saturating_add(fix.fixed_at))))
            }
            None => (None, None),
        };
        let state = Arc::new(Mutex::new(Known { fix, seen_before, hearing: Hearing::default() }));
        Ok(Self { clock, boot, path: path.into(), state, settled: Arc::new(Notify::new()) })
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

    /// The time; where there is none, the fix that is on its way is waited for, at most this long.
    pub(crate) async fn known_within(&self, limit: Duration) -> Option<PlaneTime> {
        let mut settled = pin!(self.settled.notified());
        settled.as_mut().enable();
        match self.now() {
            Some(time) => Some(time),
            None => {
                self.clock.timeout(limit, settled).await.ok()?;
                self.now()
            }
        }
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

    /// Takes an answer that was asked for at `asked` and came at this moment; says whether it settles the time.
    fn hear(&self, heard: Heard, asked: Duration) -> Result<bool, FixError> {
        let round_trip = self.clock.boot_time().saturating_sub(asked);
        if round_trip > LONGEST_ROUND_TRIP {
            return Err(FixError::TooSlow(round_trip));
        }
        let at = nanos(asked + round_trip / 2);
        let offset = heard.time.unix_nanos().saturating_sub(at);
        let fix = {
            let mut known = self.lock();
            let clock = known.fix.as_ref().map(|fix| fix.offset);
            let seen = known.seen_before.map(|seen| seen.unix_nanos().saturating_sub(at));
            let answer = Answer { signer: heard.signer.clone(), offset, at };
            let verdict = known.hearing.hear(answer, clock, seen);
            if verdict == Verdict::Wait {
                report_contradiction(&heard, clock, offset);
                return Ok(false);
            }
            let first_fix = match known.fix.as_ref() {
                None => at.saturating_add(offset),
                Some(fix) if verdict == Verdict::Follow => fix.first_fix,
                // The same moment of this boot, as the corrected clock has it.
                Some(fix) => fix.first_fix.saturating_add(offset.saturating_sub(fix.offset)),
            };
            Fix { boot_id: self.boot.clone(), first_fix, offset, fixed_at: at }
        };
        // On disk before it counts: a restart of the agent must not find an earlier first fix than was used.
        let store = |source| FixError::Store { path: self.path.to_path_buf(), source };
        let text = serde_json::to_vec(&fix).map_err(|error| store(error.into()))?;
        durable::replace(&self.path, &text, PRIVATE).map_err(store)?;
        let before = self.lock().fix.replace(fix);
        self.settled.notify_waiters();
        if let Some(moved) = before.filter(|before| !hearing::agree(before.offset, offset)) {
            let seconds = offset.saturating_sub(moved.offset) / 1_000_000_000;
            tracing::warn!(
                seconds,
                "the plane's time was corrected: the journal agrees on another"
            );
        }
        Ok(true)
    }

    fn boot_time(&self) -> i64 {
        nanos(self.clock.boot_time())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One member contradicts the clock. Nobody needs to hear it when there is none yet.
fn report_contradiction(heard: &Heard, clock: Option<i64>, offset: i64) {
    let Some(clock) = clock.filter(|clock| !hearing::agree(*clock, offset)) else { return };
    let seconds = offset.saturating_sub(clock) / 1_000_000_000;
    tracing::warn!(
        member = %heard.signer, seconds, "a journal member's clock contradicts the plane's time; asking others"
    );
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
    let mut questions = 0;
    uplink.bus().set_clock_trust(plane.trust());
    let mut wait = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return, // cancel-safe: a token
            () = connections.next() => {} // cancel-safe
            () = sleep(&plane.clock, wait) => {} // cancel-safe: nothing is lost when it starts again
        }
        let next = match attempt(&plane, &uplink, &verifier).await {
            Ok(true) => {
                pause.reset();
                questions = 0;
                FIX_INTERVAL
            }
            Ok(false) if questions < MAX_QUESTIONS => {
                questions += 1;
                let is_hurried = plane.now().is_none() && questions <= HURRIED;
                if is_hurried { ASK_AT_ONCE } else { ASK_AGAIN }
            }
            Ok(false) => {
                questions = 0;
                tracing::error!(
                    "the journal's members do not agree on the time; check their clocks"
                );
                pause.next(&plane.clock)
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

/// Asks once; says whether the time is settled.
async fn attempt(
    plane: &PlaneClock,
    uplink: &Uplink,
    verifier: &Verifier,
) -> Result<bool, FixError> {
    let challenge: [u8; CHALLENGE_BYTES] = plane.clock.random_bytes();
    let request = v1::TimeRequest { challenge: challenge.to_vec() };
    let asked = plane.clock.boot_time();
    let signed: v1::SignedTime =
        uplink.call(names::method("time")?, &request, LONGEST_ROUND_TRIP).await?;
    let heard = heard(&signed, verifier, uplink, &challenge)?;
    let time = heard.time;
    let was_known = plane.now().is_some();
    let is_settled = plane.hear(heard, asked)?;
    if is_settled && !was_known {
        tracing::info!(plane_time = %time, "the plane's time is known");
    }
    Ok(is_settled)
}

/// Who answers, and what.
fn heard(
    signed: &v1::SignedTime,
    verifier: &Verifier,
    uplink: &Uplink,
    challenge: &[u8; CHALLENGE_BYTES],
) -> Result<Heard, FixError> {
    let time = verify_time(signed, verifier, uplink.node(), challenge, FLOOR)?;
    // The same signature once more, for the name in its certificate.
    let signer = verifier.verify(
        &[SignerRole::Grant],
        domain::TIME,
        &signed.payload,
        &signed.signature,
        &signed.certificate,
        time,
    )?;
    Ok(Heard { signer, time })
}

#[cfg(test)]
mod tests {
    use pact_identity::SigningRole;
    use pact_runtime::ManualClock;
    use pact_schemas::MemberId;

    use super::*;

    const WALL: Timestamp = Timestamp::from_unix_nanos(1_000_000_000_000_000_000);
    const PLANE: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    struct World {
        _folder: tempfile::TempDir,
        path: PathBuf,
        clock: Clock,
        hand: ManualClock,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (clock, hand) = Clock::manual(WALL);
            let path = folder.path().join("plane-time.json");
            Self { _folder: folder, path, clock, hand }
        }

        fn open(&self, boot: BootId) -> PlaneClock {
            PlaneClock::open(&self.path, boot, self.clock.clone()).unwrap()
        }

        /// A member says that it is `time` now.
        fn say(&self, plane: &PlaneClock, member: u64, time: Timestamp) -> bool {
            let signer = SigningRole::Grant(MemberId::new(member).unwrap());
            plane.hear(Heard { signer, time }, self.clock.boot_time()).unwrap()
        }

        /// Two members agree.
        fn fix(&self, plane: &PlaneClock, time: Timestamp) {
            let _first = self.say(plane, 1, time);
            assert!(self.say(plane, 2, time));
        }
    }

    #[test]
    fn time_runs_with_the_boot_clock_and_ends_a_day_after_the_last_fix() {
        let world = World::new();
        let plane = world.open(BootId::read().unwrap());
        assert_eq!((plane.now(), plane.trust()), (None, ClockTrust::Unknown));
        assert_eq!(plane.best(), WALL);
        assert!(!world.say(&plane, 1, PLANE));
        assert_eq!(plane.now(), None, "one member alone fixes nothing at once");
        assert!(world.say(&plane, 2, PLANE));
        world.hand.advance(HOUR);
        world.hand.set_wall(WALL);
        let later = PLANE.checked_add(HOUR).unwrap();
        assert_eq!(plane.now(), Some(PlaneTime { now: later, first_fix: PLANE }));
        assert!(world.say(&plane, 1, later));
        world.hand.advance(24 * HOUR);
        assert_eq!(plane.now().unwrap().first_fix, PLANE);
        world.hand.advance(Duration::from_nanos(1));
        assert_eq!(plane.now(), None);
    }

    #[tokio::test]
    async fn a_fix_that_is_on_its_way_is_waited_for_and_not_for_ever() {
        let world = World::new();
        let plane = world.open(BootId::read().unwrap());
        let (late, ()) = tokio::join!(plane.known_within(HOUR), async {
            world.hand.wait_for_sleepers(1).await;
            world.hand.advance(HOUR);
        });
        assert_eq!(late, None);
        let (known, ()) = tokio::join!(plane.known_within(HOUR), async {
            world.hand.wait_for_sleepers(1).await;
            world.fix(&plane, PLANE);
        });
        assert_eq!(known.map(|time| time.first_fix), Some(PLANE));
    }

    #[test]
    fn a_restart_of_the_agent_keeps_the_first_fix_and_a_reboot_does_not() {
        let world = World::new();
        world.fix(&world.open(BootId::read().unwrap()), PLANE);
        let open = |boot| world.open(boot);
        assert_eq!(open(BootId::read().unwrap()).now().unwrap().first_fix, PLANE);
        let rebooted = open(BootId::other());
        assert_eq!(rebooted.now(), None);
        assert_eq!(rebooted.lock().seen_before, Some(PLANE));
        std::fs::write(&world.path, "{").unwrap();
        assert_eq!(open(BootId::read().unwrap()).now(), None);
    }

    #[test]
    fn a_member_that_is_a_year_ahead_locks_nobody_out() {
        let world = World::new();
        let plane = world.open(BootId::read().unwrap());
        let year = 365 * 24 * HOUR;
        let wrong = |now: Timestamp| now.checked_add(year).unwrap();
        world.fix(&plane, PLANE);
        assert!(!world.say(&plane, 3, wrong(PLANE)));
        assert_eq!(plane.now(), Some(PlaneTime { now: PLANE, first_fix: PLANE }));
        world.fix(&plane, PLANE);

        // Two of them were wrong and are mended: the clock comes back, and with it what this boot saw first.
        world.fix(&plane, wrong(PLANE));
        assert_eq!(plane.now().unwrap().first_fix, wrong(PLANE));
        world.hand.advance(HOUR);
        let now = PLANE.checked_add(HOUR).unwrap();
        world.fix(&plane, now);
        assert_eq!(plane.now(), Some(PlaneTime { now, first_fix: PLANE }));

        // The same after a reboot, which remembers the wrong time.
        world.fix(&plane, wrong(now));
        let rebooted = world.open(BootId::other());
        world.fix(&rebooted, now);
        assert_eq!(rebooted.now(), Some(PlaneTime { now, first_fix: now }));
    }

    #[test]
    fn a_slow_answer_says_nothing() {
        let world = World::new();
        let plane = world.open(BootId::other());
        let asked = world.clock.boot_time();
        world.hand.advance(Duration::from_secs(2));
        for member in [1, 2] {
            let signer = SigningRole::Grant(MemberId::new(member).unwrap());
            plane.hear(Heard { signer, time: PLANE }, asked).unwrap();
        }
        assert_eq!(plane.now().unwrap().now, PLANE.checked_add(Duration::from_secs(1)).unwrap());
        world.hand.advance(Duration::from_secs(4));
        let signer = SigningRole::Grant(MemberId::new(1).unwrap());
        let slow = plane.hear(Heard { signer, time: PLANE }, asked);
        assert!(matches!(slow, Err(FixError::TooSlow(_))));
    }
}

//! Plane time: what the journal says the time is. The node's own wall clock decides nothing about grants.
//!
//! `plane time = CLOCK_BOOTTIME + offset`; the offset is fixed by signed answers to random challenges, on every connect
//! and hourly (decisions §3). Which answers are believed is [`hearing`]'s rule: no single member moves a clock that runs. The
//! first fix of a boot is remembered in `<state_dir>/plane-time.json` under the boot id: a restart of the agent keeps it, a
//! restart of the machine does not. When members correct the clock, the first fix moves with it.
//!
//! [`asking`] keeps the clock fixed. [`bound`] is what is left when it is not: the least that plane time can be, for what ends.
//!
//! Nothing here runs a grant or refuses one; `pact_identity::grant` does, with the two times given here.

mod asking;
mod bound;
mod hearing;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pact_bus::{CallError, ClockTrust};
use pact_identity::plane_time::TimeError;
use pact_identity::{SignatureError, SignerName};
use pact_runtime::{Clock, Timestamp};
use tokio::sync::Notify;

pub(crate) use self::asking::run;
use self::bound::Bound;
use self::hearing::{Answer, Hearing, Verdict};
use crate::boot::BootId;
use crate::durable::{self, PRIVATE};

/// How long a fix is good: crystals drift by a few seconds a day, and grants have 5 s of leeway.
const FIX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// An answer that took longer says too little: its moment is known only to half of this.
const LONGEST_ROUND_TRIP: Duration = Duration::from_secs(4);

/// The bound's file, beside that of the fix.
const SEEN_FILE: &str = "plane-seen.json";

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
    /// Where the bound is kept; locked by who writes it.
    seen_path: Arc<Mutex<PathBuf>>,
    state: Arc<Mutex<Known>>,
    /// Told when a fix was taken.
    settled: Arc<Notify>,
}

#[derive(Debug)]
struct Known {
    fix: Option<Fix>,
    /// Plane time of the last fix of an earlier boot.
    seen_before: Option<Timestamp>,
    /// Plane time that has passed, whatever is known of it now.
    passed: Option<Bound>,
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
        let seen_path = path.with_file_name(SEEN_FILE);
        let of_fix = match (&fix, seen_before) {
            (Some(fix), _) => {
                Some(Bound::new(fix.offset.saturating_add(fix.fixed_at), fix.fixed_at))
            }
            (None, seen) => seen.map(|seen| Bound::new(seen.unix_nanos(), 0)),
        };
        let boot_time = nanos(clock.boot_time());
        let passed = match Bound::read(&seen_path, &boot)? {
            Some(kept) => Some(kept.or(of_fix, boot_time)),
            None => of_fix,
        };
        let known = Known { fix, seen_before, passed, hearing: Hearing::default() };
        Ok(Self {
            clock,
            boot,
            path: path.into(),
            seen_path: Arc::new(Mutex::new(seen_path)),
            state: Arc::new(Mutex::new(known)),
            settled: Arc::new(Notify::new()),
        })
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

    /// The least that plane time can be now, also long after the last fix and after a reboot: what ended by it has ended for ever.
    /// `None`: no time was ever known. It goes back only when members correct the plane's time itself.
    pub(crate) fn at_least(&self) -> Option<Timestamp> {
        let boot_time = self.boot_time();
        let passed = self.lock().passed(boot_time)?;
        Some(Timestamp::from_unix_nanos(passed.now(boot_time)))
    }

    /// This much has passed, as something says that was signed in its time.
    pub(crate) fn has_passed(&self, time: Timestamp) {
        let boot_time = self.boot_time();
        let mut known = self.lock();
        let said = Bound::new(time.unix_nanos(), boot_time);
        known.passed = Some(said.or(known.passed, boot_time));
    }

    /// Keeps [`PlaneClock::at_least`] of now: on `Ok`, what has ended by it stays so after a restart and a reboot. Blocks.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn keep_at_least(&self) -> std::io::Result<()> {
        let path = self.seen_path.lock().unwrap_or_else(PoisonError::into_inner);
        let boot_time = self.boot_time();
        let passed = self.lock().passed(boot_time);
        match passed {
            Some(passed) => Bound::new(passed.now(boot_time), boot_time).keep(&path, &self.boot),
            None => Ok(()),
        }
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
        let (before, is_corrected) = {
            let mut known = self.lock();
            let time = at.saturating_add(offset);
            let (passed, is_corrected) = Bound::after_fix(known.passed(at), time, at);
            known.passed = Some(passed);
            (known.fix.replace(fix), is_corrected)
        };
        if is_corrected {
            tracing::warn!("the plane's time was wrong: what ended by it alone counts again");
            self.keep_at_least().map_err(store)?;
        }
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

#[cfg(test)]
impl PlaneClock {
    /// For tests of others: two members say that it is this time now.
    pub(crate) fn set(&self, time: Timestamp) {
        for member in [1, 2] {
            let member = pact_schemas::MemberId::new(member).unwrap();
            let heard = Heard { signer: pact_identity::SigningRole::Grant(member), time };
            let _is_settled = self.hear(heard, self.clock.boot_time()).unwrap();
        }
    }
}

impl Known {
    /// The bound at this moment: the fix for as long as it is good, then what has surely passed since.
    fn passed(&self, boot_time: i64) -> Option<Bound> {
        let good = nanos(FIX_LIFETIME);
        let fixed = self.fix.as_ref().map(|fix| {
            let at = boot_time.min(fix.fixed_at.saturating_add(good));
            Bound::new(at.saturating_add(fix.offset), at)
        });
        match fixed {
            Some(fixed) => Some(fixed.or(self.passed, boot_time)),
            None => self.passed,
        }
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

#[cfg(test)]
mod tests;

//! Whether this member's wall clock may be believed: a member that is more than 2 s off the members' median neither stamps
//! nor signs (decisions §3).
//!
//! Commands carry leader time, which never goes back: one leader whose clock is an hour ahead would move the journal's time for
//! good, expire every grant at once, and keep correct clocks from being believed. So each member asks the others what time
//! they have and compares. What the others said is kept relative to the monotonic clock, so that a step of our own wall clock is
//! seen at the next use and not at the next round.
//!
//! With fewer than a majority of clocks known nothing is known about our own: such a member signs nothing either. It could
//! not commit anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pact_runtime::{CancellationToken, Clock, Timestamp};
use pact_schemas::v1::{self, ReadClockRequest};
use pact_schemas::{ErrorCode, convert};
use tokio::sync::watch;

use super::peers::Peers;
use crate::consensus::types::Raft;

/// Farthest from the median of the members' clocks.
const MAX_OFFSET: Duration = Duration::from_secs(2);
/// Between two rounds of questions.
const ROUND: Duration = Duration::from_secs(5);
/// Between two rounds while too few clocks are known.
const HURRIED_ROUND: Duration = Duration::from_millis(500);
/// Longest answer: half of it is how wrong a clock may be read, which must stay well below [`MAX_OFFSET`].
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// A clock that was not read for this long is not known any more: twelve rounds, in which good clocks drift apart by microseconds.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// What is wrong with a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClockFault {
    /// Too few members have told their time.
    #[error("this member does not know yet whether its clock is right")]
    Unknown {
        /// Clocks that are known, our own included.
        known: usize,
        /// As many are needed.
        needed: usize,
    },
    /// Ahead of the median, or behind it.
    #[error("the clock of this member is {offset} the median of the members' clocks")]
    Off {
        /// By how much.
        offset: Offset,
        /// Whether enough clocks are known for another one to be right.
        is_outvoted: bool,
    },
}

/// Nanoseconds that a clock is ahead of the median.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset(i64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let apart = Duration::from_nanos(self.0.unsigned_abs());
        let side = if self.0 < 0 { "behind" } else { "ahead of" };
        write!(f, "{:.1} s {side}", apart.as_secs_f64())
    }
}

impl ClockFault {
    /// The error for whoever wants something stamped or signed.
    pub(crate) fn error(self, code: ErrorCode) -> v1::Error {
        let error = code.error(self.to_string());
        match self {
            Self::Unknown { known, needed } => error
                .because(format!("{known} of the {needed} clocks that it needs are known"))
                .next("try again; if it lasts, look at `pact cluster` for members that are away"),
            Self::Off { .. } => error
                .because("a member that is more than 2 s off neither stamps nor signs")
                .next("correct its clock (NTP) on its host; another member can be asked meanwhile"),
        }
    }
}

/// How far `own` is from the median of all known clocks, when they are a majority of `members`.
fn judge(own: i64, others: &[i64], members: usize) -> Result<Offset, ClockFault> {
    let needed = members / 2 + 1;
    let mut clocks: Vec<i64> = others.iter().copied().chain([own]).collect();
    if clocks.len() < needed {
        return Err(ClockFault::Unknown { known: clocks.len(), needed });
    }
    clocks.sort_unstable();
    let upper = clocks.get(clocks.len() / 2).copied().unwrap_or(own);
    let lower = clocks.get((clocks.len() - 1) / 2).copied().unwrap_or(own);
    // The middle of two, without an overflow.
    let median = lower.saturating_add(upper.saturating_sub(lower) / 2);
    let offset = Offset(own.saturating_sub(median));
    if Duration::from_nanos(offset.0.unsigned_abs()) > MAX_OFFSET {
        // Where the middle itself is torn nobody is right, and no other leader would be better.
        let do_agree = Duration::from_nanos(upper.abs_diff(lower)) <= MAX_OFFSET;
        return Err(ClockFault::Off { offset, is_outvoted: clocks.len() > 2 && do_agree });
    }
    Ok(offset)
}

/// What the members' clocks say of ours. Clones are one.
#[derive(Clone)]
pub(crate) struct Clocks {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    /// As many as are configured, until the membership is known.
    configured: usize,
    /// Whose clocks count.
    voters: Mutex<BTreeSet<u64>>,
    seen: Mutex<BTreeMap<u64, Seen>>,
    verdict: watch::Sender<Result<(), ClockFault>>,
}

/// Another member's clock.
#[derive(Clone, Copy)]
struct Seen {
    /// Its wall clock less our monotonic one, in nanoseconds.
    beyond_monotonic: i64,
    /// When it was read, by our monotonic clock.
    at: Duration,
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl Clocks {
    /// Of a cluster with this many configured members.
    pub(crate) fn new(clock: Clock, members: usize) -> Self {
        let verdict = judge(0, &[], members).map(|_| ());
        let inner = Inner {
            clock,
            configured: members,
            voters: Mutex::default(),
            seen: Mutex::default(),
            verdict: watch::Sender::new(verdict),
        };
        Self { inner: Arc::new(inner) }
    }

    /// From now on these are the voters; none: they are not known yet.
    fn follow(&self, voters: BTreeSet<u64>) {
        *self.inner.voters.lock().unwrap_or_else(PoisonError::into_inner) = voters;
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<u64, Seen>> {
        // Nothing under this lock can panic half-way through a change.
        self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, if it may be stamped on commands and signed.
    pub(crate) fn now(&self) -> Result<Timestamp, ClockFault> {
        let now = self.inner.clock.now();
        self.offset(now).map(|_| now)
    }

    /// What the last round said, as it changes.
    pub(crate) fn verdict(&self) -> watch::Receiver<Result<(), ClockFault>> {
        self.inner.verdict.subscribe()
    }

    /// Whether another member should lead: our clock is off, and some other one is right.
    pub(crate) fn is_outvoted(&self) -> bool {
        matches!(*self.inner.verdict.borrow(), Err(ClockFault::Off { is_outvoted: true, .. }))
    }

    fn offset(&self, now: Timestamp) -> Result<Offset, ClockFault> {
        let monotonic = self.inner.clock.monotonic();
        let known = |seen: &&Seen| monotonic.saturating_sub(seen.at) <= KNOWN_FOR;
        let at_now = |seen: &Seen| seen.beyond_monotonic.saturating_add(nanos(monotonic));
        let voters = self.inner.voters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counts = |id: &u64| voters.is_empty() || voters.contains(id);
        let seen = self.seen();
        let of_voters = seen.iter().filter(|(id, _)| counts(id)).map(|(_, seen)| seen);
        let others: Vec<i64> = of_voters.filter(known).map(at_now).collect();
        let members = if voters.is_empty() { self.inner.configured } else { voters.len() };
        judge(now.unix_nanos(), &others, members)
    }

    fn note(&self, member: u64, asked: Duration, answered: Duration, told: i64) {
        let way = answered.saturating_sub(asked) / 2;
        let beyond_monotonic = told.saturating_add(nanos(way)).saturating_sub(nanos(answered));
        self.seen().insert(member, Seen { beyond_monotonic, at: answered });
    }

    /// Asks the other members until `stop`.
    ///
    /// openraft hands no leadership over. A leader that is outvoted stops its heartbeats and does not stand for election, so
    /// that the others elect one of them; else one bad clock would make the journal read-only.
    pub(crate) async fn watch(self, peers: Peers, raft: Raft, stop: CancellationToken) {
        loop {
            let voters = raft.metrics().borrow().membership_config.voter_ids().collect();
            self.follow(voters);
            let ids = peers.ids();
            let round = futures_util::future::join_all(ids.iter().map(|id| self.ask(&peers, *id)));
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe
                _answers = round => {} // dropped half-way: what was answered is noted
            }
            let verdict = self.offset(self.inner.clock.now());
            self.tell(verdict);
            raft.runtime_config().heartbeat(!self.is_outvoted());
            raft.runtime_config().elect(!self.is_outvoted());
            let pause = if matches!(verdict, Err(ClockFault::Unknown { .. })) {
                HURRIED_ROUND
            } else {
                ROUND
            };
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe
                () = self.inner.clock.sleep(pause) => {} // cancel-safe
            }
        }
    }

    async fn ask(&self, peers: &Peers, member: u64) {
        let Some(mut client) = peers.client(member) else { return };
        let cluster_id = peers.cluster_id(member);
        let request = ReadClockRequest { cluster_id: cluster_id.clone() };
        let clock = &self.inner.clock;
        let asked = clock.monotonic();
        let Ok(answer) = clock.timeout(ANSWER_TIMEOUT, client.read_clock(request)).await else {
            return;
        };
        let answered = clock.monotonic();
        peers.note(member, &cluster_id, answer.as_ref().err());
        let Ok(reply) = answer.map(tonic::Response::into_inner) else { return };
        peers.set_version(member, reply.peer_version);
        if let Ok(told) = convert::unix_nanos(reply.time.as_ref(), "time") {
            self.note(member, asked, answered, told);
        }
    }

    /// Metric, readiness, and a line in the log for each change.
    fn tell(&self, verdict: Result<Offset, ClockFault>) {
        if let Ok(offset) | Err(ClockFault::Off { offset, .. }) = verdict {
            metrics::gauge!("pact_journal_clock_offset_seconds").set(seconds(offset));
        }
        let before = self.inner.verdict.send_replace(verdict.map(|_| ()));
        let kind = |verdict: &Result<(), ClockFault>| verdict.as_ref().err().map(discriminant);
        if kind(&before) == kind(&verdict.map(|_| ())) {
            return;
        }
        match verdict {
            Err(fault @ ClockFault::Off { .. }) => {
                tracing::error!("{fault}: it stamps and signs nothing until its clock is corrected")
            }
            Err(fault) => tracing::warn!("{fault}: it stamps and signs nothing"),
            Ok(_) => tracing::info!("the clock of this member agrees with the others: it signs"),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a gauge")]
fn seconds(offset: Offset) -> f64 {
    offset.0 as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const NOW: i64 = 1_800_000_000 * SECOND;

    fn at(seconds: &[i64]) -> Vec<i64> {
        seconds.iter().map(|s| NOW + s * SECOND).collect()
    }

    #[test]
    fn who_is_far_from_the_median_is_off_and_who_it_is_far_from_is_not() {
        // (own, others, offset that is refused)
        for (own, others, off) in [
            (0, vec![0, 0], None),
            (2, vec![0, 0], None),
            (3, vec![0, 0], Some(3)),
            (-3, vec![0, 0], Some(-3)),
            (0, vec![0, 3_600], None),
            (3_600, vec![0, 1], Some(3_599)),
            (0, vec![3_600, 3_601], Some(-3_600)),
            (0, vec![1, 0, 900, -900], None),
            // Of two nobody knows who is right: both are equally far.
            (0, vec![4], None),
            (0, vec![6], Some(-3)),
        ] {
            let verdict = judge(NOW + own * SECOND, &at(&others), 3.max(others.len() + 1));
            let is_outvoted = others.len() > 1;
            let expected =
                off.map(|off| ClockFault::Off { offset: Offset(off * SECOND), is_outvoted });
            assert_eq!(verdict.err(), expected, "{own} among {others:?}");
        }
        assert!(judge(i64::MAX, &[i64::MIN, i64::MIN], 3).is_err());
    }

    #[test]
    fn a_majority_of_clocks_must_be_known() {
        assert!(judge(NOW, &[], 1).is_ok());
        assert_eq!(judge(NOW, &[], 3), Err(ClockFault::Unknown { known: 1, needed: 2 }));
        assert!(judge(NOW, &at(&[1]), 3).is_ok());
        assert_eq!(judge(NOW, &at(&[1]), 5), Err(ClockFault::Unknown { known: 2, needed: 3 }));
    }

    #[test]
    fn a_step_of_our_own_clock_is_seen_at_once_and_old_answers_count_for_nothing() {
        let start = Timestamp::from_unix_nanos(NOW);
        let (clock, hand) = Clock::manual(start);
        let clocks = Clocks::new(clock.clone(), 3);
        assert!(matches!(clocks.now(), Err(ClockFault::Unknown { .. })));
        // Asked at 0, answered after 400 ms by clocks that are right: 200 ms on the way back.
        hand.advance(Duration::from_millis(400));
        let told = NOW + SECOND / 5;
        for member in [2, 3] {
            clocks.note(member, Duration::ZERO, Duration::from_millis(400), told);
        }
        assert_eq!(clocks.offset(clock.now()), Ok(Offset(0)));
        hand.advance(Duration::from_secs(59));
        assert_eq!(clocks.now(), Ok(clock.now()));
        hand.set_wall(clock.now().checked_add(Duration::from_secs(10)).unwrap());
        let fault = clocks.now().unwrap_err();
        assert!(fault.to_string().contains("10.0 s ahead"), "{fault}");
        assert!(fault.error(ErrorCode::ClockUnknown).next_step.contains("NTP"));
        hand.advance(Duration::from_secs(2));
        assert!(matches!(clocks.now(), Err(ClockFault::Unknown { known: 1, .. })));
    }
}

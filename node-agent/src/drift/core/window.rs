//! The commit window of a node: how long drift may stand before somebody has to have decided (contracts §4).
//!
//! ```text
//! Idle ──drift──► Open ──deadline──► Expired | Deferred(holders)
//!   ▲               │  ▲                 │
//!   └──no drift─────┴──┼─────no drift────┤
//!                      └─────extend──────┘          Open ⇄ Suspended while an approval is pending
//! ```
//!
//! Time is [`Boot`], i.e. CLOCK_BOOTTIME: no jump of a wall clock ends a window or prolongs it. Across a reboot what was
//! left counts on; the time that the node was down is taken off once plane time tells how long that was.

use std::time::Duration;

use pact_runtime::Timestamp;
use pact_schemas::{convert, v1};

use super::magnitude::Limits;

/// A window that more drift shortens, or that a reboot interrupted, still leaves this much (or the floor, if less).
const LEAST_NOTICE: Duration = Duration::from_secs(60);

/// Minutes before the deadline at which there is a warning, the longer first.
const WARNINGS: [u64; 2] = [5, 1];

/// No extension reaches further than this from now: a week, as long as the longest emergency.
const MAX_AHEAD: Duration = Duration::from_secs(7 * 24 * 3600);

/// A moment of this boot, in nanoseconds of CLOCK_BOOTTIME. Below zero: before the machine started.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub(crate) struct Boot(i64);

impl Boot {
    /// From what the clock shows.
    pub(crate) fn new(boot_time: Duration) -> Self {
        Self(nanos(boot_time))
    }

    /// This much later.
    pub(crate) const fn later(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    /// This much earlier.
    const fn earlier(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }

    /// How long from here to `later`; zero when it has passed.
    pub(crate) fn until(self, later: Self) -> Duration {
        Duration::from_nanos(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

const fn nanos(duration: Duration) -> i64 {
    let nanos = duration.as_nanos();
    if nanos > i64::MAX as u128 { i64::MAX } else { nanos as i64 }
}

/// Now, by the clock that decides and by the one that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// Decides.
    pub(crate) boot: Boot,
    /// Is shown and recorded; may jump.
    pub(crate) time: Timestamp,
}

impl Now {
    fn shown(self, at: Boot) -> Timestamp {
        let ahead = self.time.checked_add(self.boot.until(at));
        ahead.and_then(|time| time.checked_sub(at.until(self.boot))).unwrap_or(self.time)
    }
}

/// A running window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    opened: Timestamp,
    began: Boot,
    deadline: Boot,
    /// The deadline as it is shown, computed once: the same window is always told alike.
    shown: Timestamp,
    /// What extensions added: more drift does not take them away.
    extra: Duration,
    /// Minutes of the last warning, so that none comes twice.
    warned_minutes: u64,
}

impl Open {
    fn new(now: Now, opened: Timestamp, length: Duration) -> Self {
        let deadline = now.boot.later(length);
        // A window that begins within a warning's reach has no such warning.
        let warned = WARNINGS.into_iter().filter(|m| minutes(*m) >= length).min();
        let warned_minutes = warned.unwrap_or(u64::MAX);
        let (began, shown) = (now.boot, now.shown(deadline));
        Self { opened, began, deadline, shown, extra: Duration::ZERO, warned_minutes }
    }

    fn end_at(&mut self, now: Now, deadline: Boot) {
        self.deadline = deadline;
        self.shown = now.shown(deadline);
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Where a window stands.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Idle,
    Open(Open),
    Expired { opened: Timestamp },
    Deferred { opened: Timestamp, holders: Vec<v1::Holder> },
    Suspended { opened: Timestamp, remaining: Duration },
}

/// What the passing of time brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Nothing.
    Nothing,
    /// So many minutes are left.
    Warning {
        /// 5 or 1.
        minutes: u64,
    },
    /// The deadline has passed; the caller says what became of it with [`Window::expire`] or [`Window::defer`].
    Ended,
}

/// There is no window to extend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoWindow;

/// The window of one node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    phase: Phase,
    magnitude: f64,
    /// After a reboot: what is still to be taken off once plane time is known.
    owed: Option<Owed>,
}

/// Time that may have passed while the node was down.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Owed {
    /// Plane time at which `remaining` was left.
    saved: Timestamp,
    remaining: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { phase: Phase::Idle, magnitude: 0.0, owed: None }
    }
}

impl Window {
    /// Takes what the drift is now: `counted` keys of this magnitude. Opens, shortens or closes the window.
    pub(crate) fn drift(&mut self, now: Now, counted: usize, magnitude: f64, limits: Limits) {
        self.magnitude = magnitude;
        if counted == 0 {
            self.phase = Phase::Idle;
            self.owed = None;
            return;
        }
        let length = limits.length(magnitude);
        match &mut self.phase {
            Phase::Idle => self.phase = Phase::Open(Open::new(now, now.time, length)),
            Phase::Open(open) => {
                let wanted = open.began.later(length).later(open.extra).max(least(now, limits));
                if wanted < open.deadline {
                    open.end_at(now, wanted);
                }
            }
            Phase::Expired { .. } | Phase::Deferred { .. } | Phase::Suspended { .. } => {}
        }
    }

    /// What has happened since the last call.
    pub(crate) fn tick(&mut self, now: Now) -> Tick {
        let Phase::Open(open) = &mut self.phase else { return Tick::Nothing };
        if now.boot >= open.deadline {
            return Tick::Ended;
        }
        let left = now.boot.until(open.deadline);
        let due = WARNINGS.into_iter().filter(|m| left <= minutes(*m)).min();
        match due {
            Some(minutes) if minutes < open.warned_minutes => {
                open.warned_minutes = minutes;
                Tick::Warning { minutes }
            }
            _ => Tick::Nothing,
        }
    }

    /// When to call [`Window::tick`] next.
    pub(crate) fn next_tick(&self) -> Option<Boot> {
        let Phase::Open(open) = &self.phase else { return None };
        let warning = WARNINGS.into_iter().find(|minutes| *minutes < open.warned_minutes);
        Some(warning.map_or(open.deadline, |m| open.deadline.earlier(minutes(m))))
    }

    /// The deadline has passed and what is left stays until somebody decides.
    pub(crate) fn expire(&mut self) {
        self.phase = Phase::Expired { opened: self.opened() };
    }

    /// What could be undone is; the rest is held, or cannot be restored now.
    pub(crate) fn defer(&mut self, now: Now, holders: Vec<v1::Holder>) {
        let opened = if self.is_idle() { now.time } else { self.opened() };
        self.phase = Phase::Deferred { opened, holders };
    }

    /// A window of this length from now at the least: drift that nobody has had the time to look at yet.
    pub(crate) fn reopen(&mut self, now: Now, length: Duration) {
        match &mut self.phase {
            Phase::Open(open) if open.deadline >= now.boot.later(length) => {}
            Phase::Suspended { remaining, .. } => *remaining = (*remaining).max(length),
            _ => {
                let opened = if self.is_idle() { now.time } else { self.opened() };
                self.phase = Phase::Open(Open::new(now, opened, length));
            }
        }
    }

    /// More time, by an admin's decision. From Expired and Deferred the window opens again.
    pub(crate) fn extend(
        &mut self,
        now: Now,
        by: Duration,
        limits: Limits,
    ) -> Result<(), NoWindow> {
        let most = now.boot.later(MAX_AHEAD);
        self.owed = None;
        match &mut self.phase {
            Phase::Idle => return Err(NoWindow),
            Phase::Open(open) => {
                let deadline = open.deadline.max(now.boot).later(by).min(most);
                let extended = Open::new(now, open.opened, now.boot.until(deadline));
                *open =
                    Open { began: open.began, extra: open.extra.saturating_add(by), ..extended };
            }
            Phase::Expired { opened } | Phase::Deferred { opened, .. } => {
                let open = Open::new(now, *opened, by.min(MAX_AHEAD));
                let extra = by.saturating_sub(limits.length(self.magnitude));
                self.phase = Phase::Open(Open { extra, ..open });
            }
            Phase::Suspended { remaining, .. } => {
                *remaining = remaining.saturating_add(by).min(MAX_AHEAD);
            }
        }
        Ok(())
    }

    /// An approval is pending: the clock stands still.
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing asks for approval yet"))]
    pub(crate) fn suspend(&mut self, now: Now) {
        if let Phase::Open(open) = &self.phase {
            let remaining = now.boot.until(open.deadline);
            self.phase = Phase::Suspended { opened: open.opened, remaining };
        }
    }

    /// The approval is decided: the clock goes on.
    #[cfg_attr(not(test), expect(dead_code, reason = "nothing asks for approval yet"))]
    pub(crate) fn resume(&mut self, now: Now) {
        if let Phase::Suspended { opened, remaining } = &self.phase {
            self.phase = Phase::Open(Open::new(now, *opened, *remaining));
        }
    }

    /// Whether there is nothing to decide.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether the clock runs.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether something is held back by who uses it.
    pub(crate) fn is_deferred(&self) -> bool {
        matches!(self.phase, Phase::Deferred { .. })
    }

    /// Whether the deadline has passed with drift left.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Expired { .. } | Phase::Deferred { .. })
    }

    fn opened(&self) -> Timestamp {
        match &self.phase {
            Phase::Idle => Timestamp::from_unix_nanos(0),
            Phase::Open(open) => open.opened,
            Phase::Expired { opened }
            | Phase::Deferred { opened, .. }
            | Phase::Suspended { opened, .. } => *opened,
        }
    }

    fn extra(&self) -> Duration {
        match &self.phase {
            Phase::Open(open) => open.extra,
            _ => Duration::ZERO,
        }
    }

    /// As it is told.
    pub(crate) fn status(&self) -> v1::WindowStatus {
        let shown = |time: Timestamp| Some(convert::timestamp(time.unix_nanos()));
        let (state, deadline, holders) = match &self.phase {
            Phase::Idle => (v1::WindowState::Idle, None, Vec::new()),
            Phase::Open(open) => (v1::WindowState::Open, shown(open.shown), Vec::new()),
            Phase::Expired { .. } => (v1::WindowState::Expired, None, Vec::new()),
            Phase::Deferred { holders, .. } => (v1::WindowState::Deferred, None, holders.clone()),
            Phase::Suspended { .. } => (v1::WindowState::Suspended, None, Vec::new()),
        };
        v1::WindowStatus {
            state: state.into(),
            opened: if self.is_idle() { None } else { shown(self.opened()) },
            deadline,
            magnitude: self.magnitude,
            holders,
        }
    }
}

/// The earliest deadline that may be set now.
fn least(now: Now, limits: Limits) -> Boot {
    now.boot.later(LEAST_NOTICE.min(limits.floor))
}

/// A window as it outlives the agent.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    state: SavedState,
    /// Unix nanoseconds, shown only.
    opened: i64,
    magnitude: f64,
    /// The boot whose clock the moments below are of.
    boot_id: String,
    saved: Boot,
    /// Plane time of the saving, Unix nanoseconds, if it was known.
    saved_plane: Option<i64>,
    began: Boot,
    deadline: Boot,
    extra_nanos: u64,
    warned_minutes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedState {
    Idle,
    Open,
    Expired,
    Deferred,
    Suspended,
}

impl Saved {
    /// Whether this is what was `kept` less than `within` ago.
    pub(crate) fn repeats(&self, kept: &Self, within: Duration) -> bool {
        let same = Self { saved: self.saved, saved_plane: self.saved_plane, ..kept.clone() };
        same == *self && kept.saved.until(self.saved) < within
    }
}

impl Window {
    /// What is to outlive the agent. `plane` is plane time, never the wall clock.
    pub(crate) fn save(&self, now: Now, boot_id: &str, plane: Option<Timestamp>) -> Saved {
        // Only a running window depends on when it is written.
        let start = Boot(0);
        let (state, saved, began, deadline, warned_minutes) = match &self.phase {
            Phase::Idle => (SavedState::Idle, start, start, start, 0),
            Phase::Open(open) => {
                (SavedState::Open, now.boot, open.began, open.deadline, open.warned_minutes)
            }
            Phase::Expired { .. } => (SavedState::Expired, start, start, start, 0),
            Phase::Deferred { .. } => (SavedState::Deferred, start, start, start, 0),
            Phase::Suspended { remaining, .. } => {
                (SavedState::Suspended, start, start, start.later(*remaining), 0)
            }
        };
        Saved {
            state,
            opened: self.opened().unix_nanos(),
            magnitude: self.magnitude,
            boot_id: boot_id.to_owned(),
            saved,
            saved_plane: plane.filter(|_| self.is_open()).map(Timestamp::unix_nanos),
            began,
            deadline,
            extra_nanos: u64::try_from(self.extra().as_nanos()).unwrap_or(u64::MAX),
            warned_minutes,
        }
    }

    /// The window that was saved, at this moment of this boot.
    pub(crate) fn restore(saved: &Saved, now: Now, boot_id: &str) -> Self {
        let opened = Timestamp::from_unix_nanos(saved.opened);
        let remaining = saved.saved.until(saved.deadline);
        let mut owed = None;
        let phase = match saved.state {
            SavedState::Idle => Phase::Idle,
            SavedState::Expired => Phase::Expired { opened },
            SavedState::Deferred => Phase::Deferred { opened, holders: Vec::new() },
            SavedState::Suspended => Phase::Suspended { opened, remaining },
            SavedState::Open if saved.boot_id == boot_id => {
                let mut open = Open::new(now, opened, now.boot.until(saved.deadline));
                (open.began, open.warned_minutes) = (saved.began, saved.warned_minutes);
                open.extra = Duration::from_nanos(saved.extra_nanos);
                open.end_at(now, saved.deadline);
                Phase::Open(open)
            }
            SavedState::Open => {
                owed = saved
                    .saved_plane
                    .map(|plane| Owed { saved: Timestamp::from_unix_nanos(plane), remaining });
                let mut open = Open::new(now, opened, remaining);
                open.began = now.boot.earlier(saved.began.until(saved.saved));
                open.extra = Duration::from_nanos(saved.extra_nanos);
                open.warned_minutes = saved.warned_minutes;
                Phase::Open(open)
            }
        };
        Self { phase, magnitude: saved.magnitude, owed }
    }

    /// Plane time is known: takes off what passed while the node was down. Returns whether that changed anything.
    pub(crate) fn settle(&mut self, now: Now, plane: Timestamp, limits: Limits) -> bool {
        let Some(owed) = self.owed.take() else { return false };
        let Phase::Open(open) = &mut self.phase else { return false };
        let passed = plane.duration_since(owed.saved).unwrap_or_default();
        let left = owed.remaining.saturating_sub(passed);
        let deadline = now.boot.later(left).max(least(now, limits));
        if deadline >= open.deadline {
            return false;
        }
        open.end_at(now, deadline);
        true
    }
}

#[cfg(test)]
mod tests;

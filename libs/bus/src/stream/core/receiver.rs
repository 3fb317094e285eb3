//! The caller's side: order, gaps, credits.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{CREDIT_DELAY, MAX_FRAMES, RESEND_INTERVAL};

/// The receiving end of a stream whose frames hold `B`.
#[derive(Debug)]
pub struct ReceiverCore<B> {
    window_bytes: u64,
    /// Number of the next frame in order.
    expected: u64,
    /// In order, not yet taken.
    ready: VecDeque<(B, u64)>,
    ready_bytes: u64,
    taken_bytes: u64,
    /// Beyond a gap.
    early: BTreeMap<u64, Early<B>>,
    early_bytes: u64,
    ended: bool,
    /// (bytes, frame) of the last credit.
    credited: (u64, u64),
    credit_at: Option<Duration>,
    resend_at: Option<Duration>,
    /// A frame found no room: it is asked for again once there is.
    has_refused: bool,
}

#[derive(Debug)]
struct Early<B> {
    body: B,
    bytes: u64,
    is_last: bool,
}

/// What the sender is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverOut {
    /// `bytes` were taken in all; every frame up to `frame` is here.
    Credit {
        /// Bytes.
        bytes: u64,
        /// Frame number.
        frame: u64,
    },
    /// Frames from this number on are missing.
    Resend {
        /// Frame number.
        from: u64,
    },
}

/// The sender breaks the rules; the stream cannot be trusted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Frames are numbered from 1.
    NumberZero,
    /// Something follows the last frame.
    AfterEnd,
}

impl<B> ReceiverCore<B> {
    /// A stream to whose sender `window_bytes` were promised.
    #[must_use]
    pub fn new(window_bytes: u64) -> Self {
        Self {
            window_bytes,
            expected: 1,
            ready: VecDeque::new(),
            ready_bytes: 0,
            taken_bytes: 0,
            early: BTreeMap::new(),
            early_bytes: 0,
            ended: false,
            credited: (0, 0),
            credit_at: None,
            resend_at: None,
            has_refused: false,
        }
    }

    /// A frame arrived. One that is here already, or for which no room was promised, changes nothing.
    pub fn frame(
        &mut self,
        number: u64,
        body: B,
        bytes: u64,
        is_last: bool,
        now: Duration,
    ) -> Result<(), Violation> {
        if number == 0 {
            return Err(Violation::NumberZero);
        }
        if number < self.expected || self.early.contains_key(&number) {
            self.credit_at = Some(now); // our last confirmation was lost
            return Ok(());
        }
        if self.ended {
            return Err(Violation::AfterEnd);
        }
        if !self.has_room(bytes) {
            self.has_refused = true; // not confirmed, so the sender still keeps it
            return Ok(());
        }
        let frame = Early { body, bytes, is_last };
        if number == self.expected {
            self.accept(frame);
            while !self.ended
                && let Some(next) = self.early.remove(&self.expected)
            {
                self.early_bytes -= next.bytes;
                self.accept(next);
            }
            self.plan_credit(now);
            // While a resend comes in, the next one is not asked for before its time.
            self.resend_at = (!self.early.is_empty()).then_some(self.resend_at.unwrap_or(now));
        } else {
            self.early_bytes += bytes;
            self.early.insert(number, frame);
            self.resend_at.get_or_insert(now);
        }
        if self.ended && !self.early.is_empty() { Err(Violation::AfterEnd) } else { Ok(()) }
    }

    /// The next body in order, if it is here.
    pub fn take(&mut self, now: Duration) -> Option<B> {
        let (body, bytes) = self.ready.pop_front()?;
        self.ready_bytes -= bytes;
        self.taken_bytes += bytes;
        self.plan_credit(now);
        let is_half_empty =
            self.ready.len() <= MAX_FRAMES / 2 && self.held_bytes() <= self.window_bytes / 2;
        if self.has_refused && is_half_empty {
            self.has_refused = false;
            self.resend_at = Some(now);
        }
        Some(body)
    }

    /// Whether [`Self::take`] has something.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Something may have been lost just now: compare notes at once.
    pub fn resync(&mut self, now: Duration) {
        self.credit_at = Some(now);
        if !self.ended {
            self.resend_at = Some(now);
        }
    }

    /// What the sender is to be told by now.
    pub fn poll(&mut self, now: Duration) -> Vec<ReceiverOut> {
        let mut out = Vec::new();
        if self.credit_at.is_some_and(|at| at <= now) {
            self.credit_at = None;
            self.credited = (self.taken_bytes, self.expected - 1);
            out.push(ReceiverOut::Credit { bytes: self.credited.0, frame: self.credited.1 });
        }
        if self.resend_at.is_some_and(|at| at <= now) {
            self.resend_at = (!self.early.is_empty()).then_some(now + RESEND_INTERVAL);
            out.push(ReceiverOut::Resend { from: self.expected });
        }
        out
    }

    /// When [`Self::poll`] has something next.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        [self.credit_at, self.resend_at].into_iter().flatten().min()
    }

    /// Whether every frame up to the last one was taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ended && self.ready.is_empty()
    }

    fn accept(&mut self, frame: Early<B>) {
        self.ready_bytes += frame.bytes;
        self.ready.push_back((frame.body, frame.bytes));
        self.expected += 1;
        self.ended |= frame.is_last;
    }

    /// Bytes that are here and not taken.
    pub(super) fn held_bytes(&self) -> u64 {
        self.ready_bytes + self.early_bytes
    }

    /// What a sender within its credit never exceeds: the window, or one frame alone.
    fn has_room(&self, bytes: u64) -> bool {
        let used = self.held_bytes();
        let count = self.ready.len() + self.early.len();
        // One frame more than a sender keeps: the last frame needs no credit.
        count <= MAX_FRAMES && (used == 0 || used.saturating_add(bytes) <= self.window_bytes)
    }

    fn plan_credit(&mut self, now: Duration) {
        let (bytes, frame) = self.credited;
        let is_due = self.ended
            || self.taken_bytes - bytes >= self.window_bytes / 4
            || self.expected - 1 - frame >= u64::try_from(MAX_FRAMES / 4).unwrap_or(1);
        let at = if is_due { now } else { now + CREDIT_DELAY };
        self.credit_at = Some(self.credit_at.map_or(at, |planned| planned.min(at)));
    }
}

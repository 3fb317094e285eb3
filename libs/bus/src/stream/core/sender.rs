//! The agent's side: what may be sent, what must be kept, what must be shown again.

use std::collections::VecDeque;
use std::time::Duration;

use super::{MAX_FRAMES, PROBE_FIRST, PROBE_MAX};

/// The sending end of a stream whose frames are `F` (encoded, cheap to clone).
#[derive(Debug)]
pub struct SenderCore<F> {
    window_bytes: u64,
    next_number: u64,
    /// Bytes of all frames so far, and how many of them the receiver has taken.
    pushed_bytes: u64,
    taken_bytes: u64,
    /// Frames that are not confirmed: consecutive numbers, the last is `next_number - 1`.
    kept: VecDeque<(F, u64)>,
    kept_bytes: u64,
    ended: bool,
    probe_at: Duration,
    probe_wait: Duration,
}

/// A credit or resend that speaks of frames that were never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nothing;

impl<F: Clone> SenderCore<F> {
    /// A stream that may send `window_bytes` before the first credit.
    #[must_use]
    pub fn new(window_bytes: u64) -> Self {
        Self {
            window_bytes,
            next_number: 1,
            pushed_bytes: 0,
            taken_bytes: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            ended: false,
            probe_at: Duration::MAX,
            probe_wait: PROBE_FIRST,
        }
    }

    /// The number of the frame that is pushed next.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Whether a frame with this many bytes may be sent now. A frame larger than the window may go alone.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        if self.ended || self.kept.len() >= MAX_FRAMES {
            return false;
        }
        let outstanding = self.pushed_bytes - self.taken_bytes;
        let fits = |used: u64| used == 0 || used.saturating_add(bytes) <= self.window_bytes;
        fits(outstanding) && fits(self.kept_bytes)
    }

    /// Keeps a frame that is being sent; its number was [`Self::next_number`]. Check [`Self::has_room`] first.
    pub fn push(&mut self, frame: F, bytes: u64, now: Duration) {
        if self.kept.is_empty() {
            self.probe_wait = PROBE_FIRST;
            self.probe_at = now + self.probe_wait;
        }
        self.kept.push_back((frame, bytes));
        self.kept_bytes += bytes;
        self.pushed_bytes += bytes;
        self.next_number += 1;
    }

    /// Keeps the last frame, for which there is always room.
    pub fn end(&mut self, frame: F, now: Duration) {
        self.push(frame, 0, now);
        self.ended = true;
    }

    /// The receiver has taken `bytes` in all and has every frame up to `frame`.
    pub fn credit(&mut self, bytes: u64, frame: u64, now: Duration) -> Result<(), Nothing> {
        if bytes > self.pushed_bytes || frame >= self.next_number {
            return Err(Nothing);
        }
        let before = (self.taken_bytes, self.oldest());
        self.taken_bytes = self.taken_bytes.max(bytes);
        // The newest frame is kept until all bytes are taken: if the credit for them gets lost, there must be
        // something to show, or both sides would wait for each other.
        let spare = usize::from(!self.ended && self.taken_bytes < self.pushed_bytes);
        while self.oldest() <= frame && self.kept.len() > spare {
            if let Some((_, bytes)) = self.kept.pop_front() {
                self.kept_bytes -= bytes;
            }
        }
        if (self.taken_bytes, self.oldest()) != before {
            self.probe_wait = PROBE_FIRST;
            self.probe_at = now + self.probe_wait;
        }
        Ok(())
    }

    /// The frames from this number on, which did not arrive.
    pub fn resend(&mut self, from: u64, now: Duration) -> Result<Vec<F>, Nothing> {
        if from > self.next_number {
            return Err(Nothing);
        }
        let skip = usize::try_from(from.saturating_sub(self.oldest())).unwrap_or(usize::MAX);
        self.probe_at = now + self.probe_wait;
        Ok(self.kept.iter().skip(skip).map(|(frame, _)| frame.clone()).collect())
    }

    /// The newest frame, when it is time to show it: the receiver answers with what it lacks, or with a credit.
    pub fn probe(&mut self, now: Duration) -> Option<F> {
        if self.kept.is_empty() || now < self.probe_at {
            return None;
        }
        self.probe_wait = (self.probe_wait * 2).min(PROBE_MAX);
        self.probe_at = now + self.probe_wait;
        self.kept.back().map(|(frame, _)| frame.clone())
    }

    /// Makes the next [`Self::probe`] due: something may have been lost just now.
    pub fn resync(&mut self, now: Duration) {
        self.probe_wait = PROBE_FIRST;
        self.probe_at = now;
    }

    /// When [`Self::probe`] has something next.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        (!self.kept.is_empty()).then_some(self.probe_at)
    }

    /// Whether the last frame was pushed and every frame is confirmed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ended && self.kept.is_empty()
    }

    /// Number of the oldest frame that is kept, or the next one.
    fn oldest(&self) -> u64 {
        self.next_number - u64::try_from(self.kept.len()).unwrap_or(self.next_number)
    }
}

//! How often refusals are answered in full, and how many of them become entries.
//!
//! First contact needs no credentials, so whoever reaches a gateway could fill the journal with rejections, or try serial
//! numbers until one fits. Counted are refusals alone, for each node and source, in fixed windows of monotonic time: a node
//! that may enrol is not slowed down by what somebody else tries in its name.

use std::collections::HashMap;
use std::time::Duration;

use pact_schemas::ErrorCode;

/// One window of counting.
const WINDOW: Duration = Duration::from_secs(60);

/// Refusals of one node and source in a window; after them it is `PACT_RATE_LIMITED`.
const MAX_REFUSALS: u32 = 10;

/// Rejections recorded in a window, of all nodes: 1,440 × 60 entries a day at worst.
const MAX_RECORDED: u32 = 60;

/// Pairs of node and source that are counted at once; beyond that only the bound of the whole window holds.
const MAX_TRACKED: usize = 10_000;

/// Counters of the present window.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    began: Duration,
    recorded: u32,
    by_origin: HashMap<(String, String), Origin>,
}

#[derive(Debug, Default)]
struct Origin {
    refused: u32,
    recorded: Vec<ErrorCode>,
}

impl Refusals {
    /// Whether contacts for `node` from `source` are not looked at any more.
    pub(crate) fn is_limited(&mut self, node: &str, source: &str, now: Duration) -> bool {
        self.turn(now);
        let origin = self.by_origin.get(&(node.to_owned(), source.to_owned()));
        origin.is_some_and(|origin| origin.refused >= MAX_REFUSALS)
    }

    /// Counts a refusal; whether it is to become an entry: the first of its kind in a window, up to the bound.
    pub(crate) fn refused(
        &mut self,
        node: &str,
        source: &str,
        code: ErrorCode,
        now: Duration,
    ) -> bool {
        self.turn(now);
        let key = (node.to_owned(), source.to_owned());
        if self.by_origin.len() >= MAX_TRACKED && !self.by_origin.contains_key(&key) {
            return false;
        }
        let origin = self.by_origin.entry(key).or_default();
        origin.refused = origin.refused.saturating_add(1);
        if origin.recorded.contains(&code) || self.recorded >= MAX_RECORDED {
            return false;
        }
        origin.recorded.push(code);
        self.recorded += 1;
        true
    }

    fn turn(&mut self, now: Duration) {
        if now.saturating_sub(self.began) >= WINDOW {
            *self = Self { began: now, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: ErrorCode = ErrorCode::HardwareIdentityConflict;

    #[test]
    fn one_source_is_limited_for_a_window_and_others_are_not() {
        let mut refusals = Refusals::default();
        let start = Duration::from_secs(1_000);
        for _ in 0..MAX_REFUSALS {
            assert!(!refusals.is_limited("n1", "10.0.0.1", start));
            refusals.refused("n1", "10.0.0.1", CODE, start);
        }
        assert!(refusals.is_limited("n1", "10.0.0.1", start + WINDOW - Duration::from_nanos(1)));
        assert!(!refusals.is_limited("n1", "10.0.0.2", start));
        assert!(!refusals.is_limited("n2", "10.0.0.1", start));
        assert!(!refusals.is_limited("n1", "10.0.0.1", start + WINDOW));
    }

    #[test]
    fn each_kind_is_recorded_once_a_window_and_all_together_are_bounded() {
        let mut refusals = Refusals::default();
        let now = Duration::from_secs(1);
        assert!(refusals.refused("n1", "a", CODE, now));
        assert!(!refusals.refused("n1", "a", CODE, now));
        assert!(refusals.refused("n1", "a", ErrorCode::AlreadyActive, now));
        assert!(refusals.refused("n1", "a", CODE, now + WINDOW));
        let more =
            (0..100_000_u32).filter(|n| refusals.refused(&n.to_string(), "a", CODE, now + WINDOW));
        assert_eq!(more.count(), usize::try_from(MAX_RECORDED).unwrap() - 1);
        assert_eq!(refusals.by_origin.len(), MAX_TRACKED);
    }
}

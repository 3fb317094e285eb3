//! How often refusals are answered in full, how many of them become entries, and how many contacts are looked at at once.
//!
//! First contact needs no credentials, so whoever reaches a gateway could fill the journal with rejections, try serial numbers
//! until one fits, or keep the service busy. All bounds are those of the address that a contact comes from. Counted are refusals
//! alone, in fixed windows of monotonic time, and none is counted against a node: a node that may enrol is not kept out by what
//! somebody else tries in its name from somewhere else.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use pact_schemas::ErrorCode;

/// One window of counting.
const WINDOW: Duration = Duration::from_secs(60);

/// Refusals of one source in a window; after them it is `PACT_RATE_LIMITED`. More than one misconfigured rack behind one
/// address makes, whose agents come again once a minute.
const MAX_OF_SOURCE: u32 = 100;

/// Refusals of one node and source in a window.
const MAX_OF_ORIGIN: u32 = 10;

/// Rejections recorded in a window, of all sources: 1,440 × 60 entries a day at worst.
const MAX_RECORDED: u32 = 60;

/// Rejections of one source recorded in a window, so that those of others are recorded beside a flood.
const MAX_RECORDED_OF_SOURCE: u32 = 10;

/// Sources that are counted at once; beyond that only the bounds of the whole window hold. Each has at most
/// [`MAX_OF_SOURCE`] nodes.
const MAX_SOURCES: usize = 1_000;

/// Contacts of one source that are looked at at once: an eighth of what the service takes on, and more than one rack boots with.
const MAX_UNDER_WAY_OF_SOURCE: usize = 64;

/// Counters of the present window.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    began: Duration,
    recorded: u32,
    by_source: HashMap<String, Source>,
    under_way: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct Source {
    refused: u32,
    recorded: u32,
    nodes: HashMap<String, Origin>,
}

#[derive(Debug, Default)]
struct Origin {
    refused: u32,
    recorded: HashSet<ErrorCode>,
}

impl Refusals {
    /// Whether contacts for `node` from `source` are not looked at any more.
    pub(crate) fn is_limited(&mut self, node: &str, source: &str, now: Duration) -> bool {
        self.turn(now);
        let Some(source) = self.by_source.get(source) else { return false };
        let origin = source.nodes.get(node);
        source.refused >= MAX_OF_SOURCE
            || origin.is_some_and(|origin| origin.refused >= MAX_OF_ORIGIN)
    }

    /// Counts a refusal; whether it is to become an entry: the first of its kind in a window, up to the bounds.
    pub(crate) fn refused(
        &mut self,
        node: &str,
        source: &str,
        code: ErrorCode,
        now: Duration,
    ) -> bool {
        self.turn(now);
        if self.by_source.len() >= MAX_SOURCES && !self.by_source.contains_key(source) {
            return false;
        }
        let source = self.by_source.entry(source.to_owned()).or_default();
        source.refused = source.refused.saturating_add(1);
        if source.nodes.len() >= MAX_OF_SOURCE as usize && !source.nodes.contains_key(node) {
            return false;
        }
        let origin = source.nodes.entry(node.to_owned()).or_default();
        origin.refused = origin.refused.saturating_add(1);
        let has_room = self.recorded < MAX_RECORDED && source.recorded < MAX_RECORDED_OF_SOURCE;
        if !has_room || !origin.recorded.insert(code) {
            return false;
        }
        source.recorded += 1;
        self.recorded += 1;
        true
    }

    /// Takes a contact of `source` on; `false` when enough of them are under way. Whoever was told `true` calls [`Self::done`].
    pub(crate) fn begin(&mut self, source: &str) -> bool {
        let under_way = self.under_way.entry(source.to_owned()).or_default();
        if *under_way >= MAX_UNDER_WAY_OF_SOURCE {
            return false;
        }
        *under_way += 1;
        true
    }

    /// A contact of `source` is answered, or given up.
    pub(crate) fn done(&mut self, source: &str) {
        if let Some(under_way) = self.under_way.get_mut(source) {
            *under_way = under_way.saturating_sub(1);
            if *under_way == 0 {
                self.under_way.remove(source);
            }
        }
    }

    fn turn(&mut self, now: Duration) {
        if now.saturating_sub(self.began) >= WINDOW {
            let under_way = std::mem::take(&mut self.under_way);
            *self = Self { began: now, under_way, ..Self::default() };
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
        for _ in 0..MAX_OF_ORIGIN {
            assert!(!refusals.is_limited("n1", "10.0.0.1", start));
            refusals.refused("n1", "10.0.0.1", CODE, start);
        }
        assert!(refusals.is_limited("n1", "10.0.0.1", start + WINDOW - Duration::from_nanos(1)));
        assert!(!refusals.is_limited("n1", "10.0.0.2", start));
        assert!(!refusals.is_limited("n2", "10.0.0.1", start));
        assert!(!refusals.is_limited("n1", "10.0.0.1", start + WINDOW));
    }

    #[test]
    fn a_source_that_tries_many_names_is_limited_whatever_the_name() {
        let mut refusals = Refusals::default();
        let now = Duration::from_secs(1);
        let flood = |refusals: &mut Refusals| {
            for n in 0..100_000_u32 {
                refusals.refused(&n.to_string(), "10.0.0.1", CODE, now);
            }
        };
        flood(&mut refusals);
        assert!(refusals.is_limited("never-tried", "10.0.0.1", now));
        assert!(!refusals.is_limited("7", "10.0.0.2", now), "the name is not held against others");
        assert_eq!(refusals.by_source["10.0.0.1"].nodes.len(), 100);
        // Other sources are still counted, and their refusals still recorded.
        assert!(refusals.refused("7", "10.0.0.2", CODE, now));
    }

    #[test]
    fn each_kind_is_recorded_once_a_window_and_all_together_are_bounded() {
        let mut refusals = Refusals::default();
        let now = Duration::from_secs(1);
        assert!(refusals.refused("n1", "a", CODE, now));
        assert!(!refusals.refused("n1", "a", CODE, now));
        assert!(refusals.refused("n1", "a", ErrorCode::AlreadyActive, now));
        assert!(refusals.refused("n1", "a", CODE, now + WINDOW));
        let mut recorded = |source: &str| {
            (0..100_u32)
                .filter(|n| refusals.refused(&n.to_string(), source, CODE, now + WINDOW))
                .count()
        };
        assert_eq!(recorded("a"), 9);
        let all: usize = (0..100_u32).map(|n| recorded(&format!("b{n}"))).sum();
        assert_eq!(all, 50);
        let more: usize = (0..2_000_u32).map(|n| recorded(&format!("c{n}"))).sum();
        assert_eq!(more, 0);
        assert_eq!(refusals.by_source.len(), MAX_SOURCES);
    }

    #[test]
    fn one_source_takes_a_part_of_the_service_alone() {
        let mut refusals = Refusals::default();
        assert_eq!((0..1_000).filter(|_| refusals.begin("a")).count(), MAX_UNDER_WAY_OF_SOURCE);
        assert!(refusals.begin("b"));
        refusals.turn(WINDOW);
        assert!(!refusals.begin("a"), "what is under way outlives a window");
        refusals.done("a");
        assert!(refusals.begin("a") && !refusals.begin("a"));
        refusals.done("b");
        assert!(!refusals.under_way.contains_key("b"));
    }
}

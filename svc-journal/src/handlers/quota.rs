//! How much a node may make the journal keep.
//!
//! Whoever has root on a node has its bus credentials and can report what it likes. What is committed stays for years on every
//! member, so each node has a bucket of bytes on the member that takes its reports, and a bound for each day. Nothing is lost by
//! a refusal: the agent keeps what was refused and sends it again. With three members a node that goes to each of them in turn
//! gets three times as much, which is bounded too.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pact_schemas::{ErrorCode, NodeId, v1};

/// Bytes at once: the outputs of six commands that fill the recording limit of 10 MiB and do not compress, or the capability report
/// of a boot (16 MiB at most) with all that gathered while the journal was away.
const BURST_BYTES: u64 = 64 * 1024 * 1024;
/// What comes back in a second: 15 MiB a minute, or the full bucket in four.
const REFILL_BYTES_PER_SECOND: u64 = 256 * 1024;
/// Bytes in a day: a hundred commands that fill the recording limit.
const DAY_BYTES: u64 = 1024 * 1024 * 1024;
/// The day, of monotonic time, from the first report.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// What an event or a chunk costs beside its bytes: the entry, its rows and its place in the index.
const OVERHEAD_BYTES: u64 = 4 * 1024;
/// Nodes with a bucket: twice the largest site.
const MAX_NODES: usize = 200_000;

/// The buckets of all nodes.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    buckets: Mutex<HashMap<NodeId, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u64,
    filled_at: Duration,
    day_began: Duration,
    day_left: u64,
}

impl Bucket {
    fn new(now: Duration) -> Self {
        Self { left: BURST_BYTES, filled_at: now, day_began: now, day_left: DAY_BYTES }
    }

    fn turn(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at);
        let back = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let back = back.saturating_mul(REFILL_BYTES_PER_SECOND) / 1_000;
        if back > 0 {
            self.left = self.left.saturating_add(back).min(BURST_BYTES);
            self.filled_at = now;
        }
        if now.saturating_sub(self.day_began) >= DAY {
            (self.day_began, self.day_left) = (now, DAY_BYTES);
        }
    }
}

/// What a report costs.
pub(crate) fn cost(bytes: usize) -> u64 {
    OVERHEAD_BYTES.saturating_add(bytes as u64)
}

impl Quotas {
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Bucket>> {
        // Nothing under this lock can panic half-way through a change.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the cost of a report from the node's bucket.
    ///
    /// # Errors
    /// `PACT_RATE_LIMITED` when there is not enough in it; nothing is taken then.
    pub(crate) fn take(&self, node: &NodeId, cost: u64, now: Duration) -> Result<(), v1::Error> {
        let mut buckets = self.lock();
        if buckets.len() >= MAX_NODES && !buckets.contains_key(node) {
            buckets.retain(|_, bucket| now.saturating_sub(bucket.day_began) < DAY);
            if buckets.len() >= MAX_NODES {
                return Err(refused(node, "too many nodes report at once"));
            }
        }
        let bucket = buckets.entry(node.clone()).or_insert_with(|| Bucket::new(now));
        bucket.turn(now);
        if bucket.day_left < cost {
            return Err(refused(node, "it has reported 1 GiB within a day"));
        }
        if bucket.left < cost {
            return Err(refused(
                node,
                "it has reported 64 MiB, and more than 15 MiB a minute since",
            ));
        }
        bucket.left -= cost;
        bucket.day_left -= cost;
        Ok(())
    }

    /// Gives back what was taken for a report that was not committed.
    pub(crate) fn give_back(&self, node: &NodeId, cost: u64) {
        if let Some(bucket) = self.lock().get_mut(node) {
            bucket.left = bucket.left.saturating_add(cost).min(BURST_BYTES);
            bucket.day_left = bucket.day_left.saturating_add(cost).min(DAY_BYTES);
        }
    }
}

fn refused(node: &NodeId, why: &str) -> v1::Error {
    metrics::counter!("pact_journal_reports_refused_total").increment(1);
    ErrorCode::RateLimited
        .error(format!("node {node} reports too much"))
        .because(why)
        .next("nothing is lost: the agent keeps it and sends it again; look at what the node runs")
        .on(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 256 * 1024;

    fn code(result: Result<(), v1::Error>) -> Option<ErrorCode> {
        result.err().map(|error| error.known_code())
    }

    #[test]
    fn a_node_has_a_burst_then_a_rate_then_a_day() {
        let (quotas, node) = (Quotas::default(), "a".parse().unwrap());
        let mut now = Duration::from_secs(5);
        // 50 MB of output at once are normal.
        for _ in 0..200 {
            quotas.take(&node, cost(CHUNK), now).unwrap();
        }
        while code(quotas.take(&node, cost(CHUNK), now)).is_none() {}
        assert_eq!(
            code(quotas.take(&node, cost(CHUNK), now)),
            Some(ErrorCode::RateLimited),
            "the burst is over"
        );
        assert_eq!(code(quotas.take(&"b".parse().unwrap(), cost(CHUNK), now)), None, "for a alone");
        now += Duration::from_secs(2);
        assert_eq!(code(quotas.take(&node, cost(CHUNK), now)), None);
        let mut taken = 0_u64;
        while now < DAY {
            now += Duration::from_secs(10);
            while code(quotas.take(&node, cost(CHUNK), now)).is_none() {
                taken += cost(CHUNK);
            }
        }
        assert!(taken < DAY_BYTES && taken > DAY_BYTES / 2, "{taken}");
        assert_eq!(code(quotas.take(&node, cost(0), now + Duration::from_secs(6))), None);
    }

    #[test]
    fn what_was_not_committed_costs_nothing() {
        let (quotas, node) = (Quotas::default(), "a".parse().unwrap());
        for _ in 0..10_000 {
            quotas.take(&node, cost(CHUNK), Duration::ZERO).unwrap();
            quotas.give_back(&node, cost(CHUNK));
        }
    }
}

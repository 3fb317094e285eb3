//! Rates by key, in a bounded table.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Keys that are remembered: more addresses than a site has nodes would be an attack.
const MAX_KEYS: usize = 131_072;

/// Keys of a full table that are compared to find the one to forget: all of them would be a search for each new key.
const COMPARED: usize = 16;

/// Allows `per_minute` events for each key, as many at once.
///
/// A full table forgets a key, and never refuses a new one: else whoever fills it would keep everybody else out.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    per_minute: f64,
    buckets: HashMap<K, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl<K: Hash + Eq + Clone> Rates<K> {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute: f64::from(per_minute), buckets: HashMap::new() }
    }

    /// Takes one event of this key at `now`; `false`: too many.
    pub(crate) fn take(&mut self, key: K, now: Duration) -> bool {
        if self.buckets.len() >= MAX_KEYS && !self.buckets.contains_key(&key) {
            self.forget_one(now);
        }
        let full = self.per_minute;
        let bucket = self.buckets.entry(key).or_insert(Bucket { left: full, at: now });
        bucket.left = refilled(bucket, full, now);
        bucket.at = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }

    /// Of some keys in no order, the one with the most left: it says the least.
    fn forget_one(&mut self, now: Duration) {
        let left = |bucket: &Bucket| refilled(bucket, self.per_minute, now);
        let idlest = self
            .buckets
            .iter()
            .take(COMPARED)
            .max_by(|(_, a), (_, b)| left(a).total_cmp(&left(b)))
            .map(|(key, _)| key.clone());
        if let Some(key) = idlest {
            self.buckets.remove(&key);
        }
    }
}

fn refilled(bucket: &Bucket, full: f64, now: Duration) -> f64 {
    let elapsed = now.saturating_sub(bucket.at).as_secs_f64();
    (bucket.left + elapsed * full / 60.0).min(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_rate_and_gets_it_back() {
        let mut rates = Rates::new(6);
        let at = |s| Duration::from_secs(s);
        assert!((0..6).all(|_| rates.take("a", at(0))));
        assert!(!rates.take("a", at(0)) && rates.take("b", at(0)));
        assert!(!rates.take("a", at(9)));
        assert!(rates.take("a", at(10)) && !rates.take("a", at(10)));
    }

    #[test]
    fn a_full_table_stays_bounded_and_keeps_nobody_out() {
        let mut rates = Rates::new(2);
        for key in 0..MAX_KEYS {
            assert!(rates.take(key, Duration::ZERO) && rates.take(key, Duration::ZERO));
        }
        for key in MAX_KEYS..MAX_KEYS + 1_000 {
            assert!(rates.take(key, Duration::ZERO), "a new key is not refused by others' events");
            assert_eq!(rates.buckets.len(), MAX_KEYS);
        }
    }
}

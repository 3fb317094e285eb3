//! Rates by key, in a bounded table.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Keys that are remembered: more addresses than a site has nodes would be an attack.
const MAX_KEYS: usize = 131_072;

/// Allows `per_minute` events for each key, as many at once.
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

impl<K: Hash + Eq> Rates<K> {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute: f64::from(per_minute), buckets: HashMap::new() }
    }

    /// Takes one event of this key at `now`; `false`: too many.
    pub(crate) fn take(&mut self, key: K, now: Duration) -> bool {
        if self.buckets.len() >= MAX_KEYS && !self.buckets.contains_key(&key) {
            self.forget_idle(now);
            if self.buckets.len() >= MAX_KEYS {
                return false; // a table full of busy keys is a flood
            }
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

    /// A key that has its whole minute back says nothing.
    fn forget_idle(&mut self, now: Duration) {
        let full = self.per_minute;
        self.buckets.retain(|_, bucket| refilled(bucket, full, now) < full);
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
    fn the_table_is_bounded_and_forgets_the_idle_first() {
        let mut rates = Rates::new(60);
        for key in 0..MAX_KEYS {
            assert!(rates.take(key, Duration::ZERO));
        }
        assert!(!rates.take(MAX_KEYS, Duration::ZERO), "all are busy");
        assert!(rates.take(MAX_KEYS, Duration::from_secs(60)));
        assert_eq!(rates.buckets.len(), 1);
    }
}

//! How much drift there is, and how long a window it gets (contracts §4).

use std::collections::BTreeMap;
use std::time::Duration;

use pact_schemas::resource::Dimension;

use super::set::DriftSet;

/// What windows are computed from: the vCluster's policy, or the agent's file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    /// Window of the least drift.
    pub(crate) base: Duration,
    /// No window is shorter.
    pub(crate) floor: Duration,
    /// How much drift shortens it.
    pub(crate) sensitivity: f64,
}

impl Limits {
    /// The window of drift of this magnitude.
    pub(crate) fn length(&self, magnitude: f64) -> Duration {
        let seconds = self.base.as_secs_f64() / (1.0 + magnitude * self.sensitivity);
        // Not finite only for values that no configuration accepts.
        Duration::try_from_secs_f64(seconds).unwrap_or(self.floor).max(self.floor)
    }
}

/// √Σ(weight × impact × log2(1+n))² over the dimensions that open windows.
pub(crate) fn magnitude(set: &DriftSet) -> f64 {
    let mut counts: BTreeMap<Dimension, u32> = BTreeMap::new();
    for item in set.items().filter(|item| !item.is_report_only()) {
        *counts.entry(item.key.dimension()).or_insert(0) += 1;
    }
    let term = |(dimension, keys): (&Dimension, &u32)| {
        dimension.weight() * dimension.impact() * (1.0 + f64::from(*keys)).log2()
    };
    counts.iter().map(|count| term(count).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use pact_runtime::Timestamp;
    use pact_schemas::resource::Value;

    use super::super::set::Seen;
    use super::*;

    const LIMITS: Limits = Limits {
        base: Duration::from_secs(900),
        floor: Duration::from_secs(120),
        sensitivity: 2.0,
    };

    fn drift(counts: &[(&str, u32)]) -> DriftSet {
        let mut set = DriftSet::default();
        let seen = Seen { at: Timestamp::from_unix_nanos(1), session: None };
        for (kind, count) in counts {
            for number in 0..*count {
                let slash = if *kind == "mount" { "/" } else { "" };
                let key = format!("{kind}/{slash}{number}").parse().unwrap();
                set.observe(&key, Some(Value::Integer(1)), Value::Integer(2), seen);
            }
        }
        set
    }

    #[test]
    fn magnitudes_and_windows_are_those_of_the_contract() {
        for (counts, expected, seconds) in [
            (&[][..], 0.0, 900),
            (&[("sysctl", 1)], 0.05, 818),
            (&[("mount", 1)], 0.2, 642),
            (&[("service", 1)], 0.2, 642),
            (&[("net", 1)], 0.3, 562),
            (&[("sysctl", 3)], 0.10, 750),
            (&[("sysctl", 1), ("module", 2)], 0.10, 750),
            (&[("mount", 3), ("net", 1)], 0.5, 450),
            // Report-only dimensions never shorten a window.
            (&[("package", 500), ("gpu", 8)], 0.0, 900),
            // The floor.
            (&[("mount", 2000), ("net", 2000), ("service", 2000)], 4.521, 120),
        ] {
            let found = magnitude(&drift(counts));
            assert!((found - expected).abs() < 0.001, "{counts:?}: {found}");
            assert_eq!(LIMITS.length(found).as_secs(), seconds, "{counts:?}");
        }
        let mut files = DriftSet::default();
        let seen = Seen { at: Timestamp::from_unix_nanos(1), session: None };
        files.observe(
            &"file//etc/motd".parse().unwrap(),
            Some(Value::Absent),
            Value::Integer(1),
            seen,
        );
        assert_eq!(LIMITS.length(magnitude(&files)).as_secs(), 692);
    }

    #[test]
    fn more_drift_never_lengthens_a_window() {
        let mut last = LIMITS.length(0.0);
        for count in 1..200 {
            let length = LIMITS.length(magnitude(&drift(&[("net", count), ("sysctl", count / 2)])));
            assert!(length <= last && length >= LIMITS.floor);
            last = length;
        }
    }
}

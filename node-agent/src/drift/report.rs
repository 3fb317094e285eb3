//! What the journal is told: drift and window when they are others than before, what the node undid, what it could not, and
//! conflicts. Contents never travel with an event.

use std::collections::BTreeMap;

use pact_runtime::{Timestamp, causes};
use pact_schemas::convert;
use pact_schemas::resource::{Change, ResourceKey, Value};
use pact_schemas::v1::{self, node_event::Body};
use prost::Message;

use super::core::conflict::Conflicts;
use super::core::set::DriftSet;
use super::core::window::Window;
use crate::durable::hex;
use crate::spool::{Spool, SpoolError};
use crate::time::PlaneClock;

/// Changes of one event (docs/formats.md); the others are counted.
pub(crate) const MAX_TOLD_CHANGES: usize = 256;

/// Bytes of changes in one event: with everything beside it a message stays far below the bus's limit.
const MAX_TOLD_BYTES: usize = 256 * 1024;

/// Where events go.
pub(crate) trait Reports: Send {
    /// Spools an event; on `Ok` it is on disk.
    fn report(&mut self, body: Body) -> Result<(), SpoolError>;
    /// Number of the newest event.
    fn head(&self) -> u64;
    /// Events after this number that are still on disk.
    fn since(&mut self, number: u64) -> Result<Vec<Body>, SpoolError>;
    /// Whether there is room for what is about to be done.
    fn check_room(&mut self) -> Result<(), SpoolError>;
}

/// The agent's spool, from the engine's thread.
pub(crate) struct SpoolReports {
    runtime: tokio::runtime::Handle,
    spool: Spool,
    plane: PlaneClock,
}

impl SpoolReports {
    /// Must not be used on the runtime's own threads.
    pub(crate) fn new(runtime: tokio::runtime::Handle, spool: Spool, plane: PlaneClock) -> Self {
        Self { runtime, spool, plane }
    }
}

impl Reports for SpoolReports {
    fn report(&mut self, body: Body) -> Result<(), SpoolError> {
        let recorded = self.plane.best();
        self.runtime.block_on(self.spool.append(recorded, body)).map(drop)
    }

    fn head(&self) -> u64 {
        self.spool.progress().head
    }

    fn since(&mut self, number: u64) -> Result<Vec<Body>, SpoolError> {
        self.runtime.block_on(self.spool.since(number))
    }

    fn check_room(&mut self) -> Result<(), SpoolError> {
        self.runtime.block_on(self.spool.check_room())
    }
}

/// What changed since the last report, and what that report was.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// First 256 keys: what was, what is.
    changed: BTreeMap<ResourceKey, (Value, Value)>,
    omitted: u32,
    /// Digest of the report that was spooled last.
    pub(crate) told: Option<String>,
}

impl Ledger {
    /// A key is `is` now and was `was` when it was looked at before.
    pub(crate) fn note(&mut self, key: &ResourceKey, was: Value, is: Value) {
        if let Some((_, newest)) = self.changed.get_mut(key) {
            *newest = is;
        } else if self.changed.len() < MAX_TOLD_CHANGES {
            self.changed.insert(key.clone(), (was, is));
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// The report of now, when it is not the one that was told last.
    pub(crate) fn due(
        &self,
        set: &DriftSet,
        window: &Window,
        conflicts: &Conflicts,
        now: Timestamp,
    ) -> Option<(v1::DriftChanged, String)> {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut drift = v1::NodeDrift {
            keys: count(set.counted().saturating_add(set.left_out())),
            report_only_keys: count(set.report_only()),
            digest: set.digest().to_vec(),
            window: Some(window.status()),
            reported: None,
            conflicts: count(conflicts.len()),
        };
        let told =
            hex(ring::digest::digest(&ring::digest::SHA256, &drift.encode_to_vec()).as_ref());
        let is_first_and_nothing = self.told.is_none() && set.len() == 0;
        if self.told.as_ref() == Some(&told) || is_first_and_nothing {
            return None;
        }
        drift.reported = Some(convert::timestamp(now.unix_nanos()));
        let changes = self.changed.iter().filter(|(_, (was, is))| was != is);
        let changes = changes.map(|(key, (was, is))| Change {
            key: key.clone(),
            old: Some(was.clone()),
            new: Some(is.clone()),
        });
        let (changes, omitted) = told_changes(changes);
        let omitted_changes = omitted.saturating_add(self.omitted);
        Some((v1::DriftChanged { drift: Some(drift), changes, omitted_changes }, told))
    }

    /// The report with this digest is on disk.
    pub(crate) fn told(&mut self, digest: String) {
        self.told = Some(digest);
        self.changed.clear();
        self.omitted = 0;
    }
}

/// As many changes as an event may have, and how many are left out.
pub(crate) fn told_changes(changes: impl Iterator<Item = Change>) -> (Vec<v1::Change>, u32) {
    let (mut told, mut bytes, mut omitted) = (Vec::new(), 0, 0_u32);
    for change in changes {
        let wire = v1::Change::from(&change);
        bytes += wire.encoded_len();
        if told.len() < MAX_TOLD_CHANGES && bytes <= MAX_TOLD_BYTES {
            told.push(wire);
        } else {
            omitted = omitted.saturating_add(1);
        }
    }
    (told, omitted)
}

/// Says that an event could not be spooled; it is tried again.
pub(crate) fn not_told(error: &SpoolError) {
    tracing::warn!(cause = causes(error), "an event about drift is not spooled yet: {error}");
}

#[cfg(test)]
mod tests {
    use super::super::core::set::Seen;
    use super::*;

    #[test]
    fn the_same_drift_is_told_once_with_what_changed_since() {
        let (mut ledger, mut set) = (Ledger::default(), DriftSet::default());
        let (window, conflicts) = (Window::default(), Conflicts::new());
        let at = Timestamp::from_unix_nanos(5);
        assert!(ledger.due(&set, &window, &conflicts, at).is_none(), "nothing, the first time");
        let key: ResourceKey = "sysctl/a".parse().unwrap();
        let value = Value::Integer;
        let seen = Seen { at, session: None };
        set.observe(&key, Some(value(1)), value(2), seen);
        ledger.note(&key, value(1), value(2));
        set.observe(&key, Some(value(1)), value(3), seen);
        ledger.note(&key, value(2), value(3));
        let (event, digest) = ledger.due(&set, &window, &conflicts, at).unwrap();
        assert_eq!(event.drift.as_ref().unwrap().keys, 1);
        let change = Change { key: key.clone(), old: Some(value(1)), new: Some(value(3)) };
        assert_eq!(event.changes, [v1::Change::from(&change)]);
        ledger.told(digest);
        assert!(ledger.due(&set, &window, &conflicts, at).is_none());
        set.remove(&key);
        ledger.note(&key, value(3), value(1));
        let (event, _) = ledger.due(&set, &window, &conflicts, at).unwrap();
        assert_eq!((event.drift.unwrap().keys, event.changes.len()), (0, 1));
    }

    #[test]
    fn an_event_is_bounded_in_keys_and_bytes() {
        let change = |number: usize, size: usize| Change {
            key: format!("sysctl/k{number}").parse().unwrap(),
            old: Some(Value::Text("x".repeat(size))),
            new: Some(Value::Absent),
        };
        let (told, omitted) = told_changes((0..300).map(|number| change(number, 1)));
        assert_eq!((told.len(), omitted), (256, 44));
        let (told, omitted) = told_changes((0..100).map(|number| change(number, 10_000)));
        assert_eq!((told.len(), omitted), (26, 74));
        let mut ledger = Ledger::default();
        for number in 0..300 {
            let key = format!("sysctl/k{number}").parse().unwrap();
            ledger.note(&key, Value::Absent, Value::Integer(1));
        }
        assert_eq!((ledger.changed.len(), ledger.omitted), (256, 44));
    }
}

//! What is, against what should be: one key, or everything.

use std::collections::BTreeSet;
use std::time::Duration;

use pact_runtime::causes;
use pact_schemas::resource::{ResourceKey, Value};

use super::act::Problem;
use super::core::conflict;
use super::core::set::{MAX_ITEMS, Seen};
use super::engine::{Engine, RETRY_INTERVAL};
use super::worker::Scanned;
use crate::held::Held;
use crate::memory;
use crate::provider::abilities::Notice;
use crate::provider::{ProviderError, abilities_of};

/// Writes that no notification tells (shared mappings, other hosts) are found this often.
pub(super) const RESCAN_INTERVAL: Duration = Duration::from_secs(3600);

/// As soon as there is room again, what did not fit is looked for.
const ROOM_INTERVAL: Duration = Duration::from_secs(5);

/// A change is looked at within this time of its notification.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

impl Engine {
    /// Everything anew.
    pub(super) fn scan(&mut self) {
        self.set.begin_scan();
        let needed = self.needed();
        self.providers.need(&needed);
        // One more than fits is enough to know that there are too many; what is ours is looked at by itself.
        let limit = MAX_ITEMS + 1 + self.wanted.len() + self.bases.len();
        let (scanned, errors) = self.providers.scan(limit);
        for error in errors {
            tracing::warn!(cause = causes(&error), "not everything could be looked at: {error}");
        }
        let mut keys: BTreeSet<ResourceKey> = self.set.keys().into_iter().collect();
        keys.extend(self.wanted.keys().chain(self.bases.keys()).cloned());
        keys.retain(|key| self.providers.silence(key).is_none());
        let differing = self.take_in(scanned, keys);
        self.set.end_scan(differing);
        if self.set.is_truncated() {
            let (kept, left_out) = (self.set.len(), self.set.left_out());
            tracing::warn!(
                kept,
                left_out,
                "more keys differ than can be decided on at once; the rest is looked at again later"
            );
        }
        let again = if self.set.is_truncated() { RETRY_INTERVAL } else { RESCAN_INTERVAL };
        self.rescan_at = self.now().boot.later(again);
        memory::give_back();
    }

    /// Takes in what was found, and looks at those of these other keys that were not. Answers how many undeclared keys differ.
    pub(super) fn take_in(
        &mut self,
        scanned: Vec<Scanned>,
        mut keys: BTreeSet<ResourceKey>,
    ) -> usize {
        let mut differing: usize = scanned.iter().map(|scanned| scanned.beyond).sum();
        for one in scanned.into_iter().flat_map(|scanned| scanned.found) {
            // What is declared may well differ from what was there before; it is looked at by itself.
            if self.is_ours(&one.key) || self.settings.blacklist.matches(&one.key) {
                continue;
            }
            differing += 1;
            keys.remove(&one.key);
            self.saw(&one.key, one.old, one.new);
        }
        keys.iter().for_each(|key| self.look(key));
        differing
    }

    /// Takes in what changed, and reads what nothing tells of: every key that is ours or differs already. Somebody decides on
    /// what this finds.
    pub(super) fn look_anew(&mut self) {
        self.look_around();
        let mut keys: BTreeSet<ResourceKey> = self.set.keys().into_iter().collect();
        keys.extend(self.wanted.keys().chain(self.bases.keys()).cloned());
        for key in keys {
            let notice = abilities_of(key.kind()).map(|kind| kind.notice);
            if notice != Some(Notice::AtOnce) {
                self.look(&key);
            }
        }
    }

    /// What a key should be; `None`: nobody's business.
    pub(super) fn should_be(&mut self, key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        if self.settings.blacklist.matches(key) {
            return Ok(None);
        }
        let declared = self.wanted.get(key).map(Held::value);
        match declared.or_else(|| self.base_of(key)) {
            Some(value) => Ok(Some(value)),
            None => self.providers.baseline(key),
        }
    }

    /// Looks at one key.
    pub(super) fn look(&mut self, key: &ResourceKey) {
        self.compare(key, None);
    }

    /// Looks at one key, or takes what was read of it already.
    pub(super) fn compare(&mut self, key: &ResourceKey, known: Option<Value>) {
        let looked = match self.should_be(key) {
            Ok(Some(wanted)) => {
                let actual = known.map_or_else(|| self.providers.read(key), Ok);
                actual.map(|actual| Some((wanted, actual)))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match looked {
            Ok(Some((wanted, actual))) => self.saw(key, wanted, actual),
            Ok(None) => {
                if let Some(item) = self.set.get(key).cloned() {
                    self.ledger.note(key, item.actual(), item.wanted());
                    self.set.remove(key);
                }
                self.conflicts.remove(key);
                self.problems.remove(key);
            }
            Err(error) => self.cannot(key, &error),
        }
    }

    fn saw(&mut self, key: &ResourceKey, wanted: Value, actual: Value) {
        let is_satisfied = match self.providers.satisfies(key, &wanted, &actual) {
            Ok(is_satisfied) => is_satisfied,
            Err(error) => return self.cannot(key, &error),
        };
        if let Some(known) = self.conflicts.get_mut(key)
            && let Some(decision) = conflict::judge(known, Some(&wanted), &actual, is_satisfied)
            && let Some(known) = self.conflicts.remove(key)
        {
            self.decided.push((decision, key.clone(), known));
        }
        if is_satisfied {
            self.problems.remove(key);
            self.is_back(key);
        }
        let was = self.set.get(key).map_or_else(|| wanted.clone(), |item| item.actual());
        let seen = self.seen(key);
        let differs = (!is_satisfied).then_some(wanted);
        if self.set.observe(key, differs, actual.clone(), seen) {
            self.ledger.note(key, was, actual);
        }
        if self.set.is_truncated() {
            self.look_for_the_rest();
        }
    }

    /// More keys differ than are kept, or did: only a scan can tell.
    fn look_for_the_rest(&mut self) {
        let is_full = self.set.len() >= MAX_ITEMS;
        let wait = if is_full { RETRY_INTERVAL } else { ROOM_INTERVAL };
        self.rescan_at = self.rescan_at.min(self.now().boot.later(wait));
    }

    fn seen(&self, key: &ResourceKey) -> Seen {
        let noticed = self.clock.boot_time().saturating_sub(NOTICED_WITHIN);
        let notice = abilities_of(key.kind()).map(|kind| kind.notice);
        let is_told = notice == Some(Notice::AtOnce);
        let from = if is_told { self.looked_at.max(noticed) } else { self.looked_at };
        Seen { at: self.plane.best(), session: self.sessions.only_since(from) }
    }

    /// Declared keys that cannot be looked at are a problem of the declaration; others are logged.
    pub(super) fn cannot(&mut self, key: &ResourceKey, error: &ProviderError) {
        if let ProviderError::Silent { .. } = error {
            // What was known of it stays known; that it may be otherwise is said of the whole dimension.
            self.providers.miss(key);
        } else if self.wanted.contains_key(key) {
            self.problems.insert(key.clone(), Problem::new(key, error));
        } else {
            tracing::debug!(%key, cause = causes(error), "{error}");
        }
    }
}

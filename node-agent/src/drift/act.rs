//! The only code that changes the node.
//!
//! Order: room in the spool → holders → intent on disk → each key, atomically → the event on disk → the intent is forgotten.
//! What a crash interrupts is finished at the next start, from the intent: a key that is neither what it was nor what it was to
//! become has been changed by somebody else, and stays. So does one that the node may not write by itself any more.
//!
//! Holders are looked for once for all keys, and again for those that are left whenever the last search is older than
//! [`HOLDERS_FRESH`]: a search reads all of `/proc`, and an undo may have thousands of keys. A provider takes as many of the next
//! keys at once as are independent of each other, and writes a key only if it still is what was read when this was decided.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use pact_runtime::causes;
use pact_schemas::ErrorCode;
use pact_schemas::resource::{Change, ResourceKey, Value};
use pact_schemas::v1::{self, ConvergeReason, node_event::Body};

use super::engine::Engine;
use super::report::{not_told, told_changes};
use super::store::{Intent, StoreError, Why};
use crate::held::Held;
use crate::provider::{self, MAX_AT_ONCE, ProviderError, Wish, abilities_of};

/// Holders that are named; whoever looks at more than this looks at the node.
const MAX_HOLDERS: usize = 64;

/// Keys that an event or an answer names as not restorable.
const MAX_NAMED: usize = 256;

/// No key is written on the word of a search for holders that ended longer ago.
const HOLDERS_FRESH: Duration = Duration::from_secs(1);

/// A key that could not be made what it should be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    pub(crate) key: ResourceKey,
    pub(crate) code: ErrorCode,
    pub(crate) reason: String,
    /// It waits for something to change, and is no mistake.
    pub(crate) is_deferred: bool,
}

impl Problem {
    /// What a provider said.
    pub(super) fn new(key: &ResourceKey, error: &ProviderError) -> Self {
        let said = error.to_wire();
        let parts = [said.message, said.cause, said.next_step].into_iter();
        let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
        let (code, is_deferred) = (error.code(), error.is_deferred());
        Self { key: key.clone(), code, reason: parts.join("; "), is_deferred }
    }

    /// As it travels.
    pub(super) fn to_wire(&self) -> v1::KeyProblem {
        v1::KeyProblem {
            key: self.key.to_string(),
            code: self.code.as_str().to_owned(),
            reason: self.reason.clone(),
        }
    }
}

/// Events of a finished intent that are not spooled yet.
#[derive(Debug)]
pub(super) struct Unfinished {
    events: VecDeque<Body>,
}

/// What became of a wish.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Changed: what was, what is.
    pub(super) done: Vec<Change>,
    /// Keys that were as wanted already.
    pub(super) already: usize,
    /// Who uses those that were not touched; of many, some.
    pub(super) held: Vec<v1::Holder>,
    /// Not touched, because somebody uses them.
    held_keys: BTreeSet<ResourceKey>,
    pub(super) problems: Vec<Problem>,
}

impl Outcome {
    /// Something waits for somebody, or for something, to go away.
    pub(super) fn is_held(&self) -> bool {
        !self.held_keys.is_empty() || self.problems.iter().any(|problem| problem.is_deferred)
    }

    /// The keys that wait.
    pub(super) fn left(&self) -> BTreeSet<ResourceKey> {
        let deferred = self.problems.iter().filter(|problem| problem.is_deferred);
        deferred.map(|problem| &problem.key).chain(&self.held_keys).cloned().collect()
    }

    fn hold(&mut self, key: &ResourceKey, holders: Vec<provider::Holder>) {
        let room = MAX_HOLDERS.saturating_sub(self.held.len());
        self.held.extend(holders.into_iter().take(room).map(|holder| to_wire(key, holder)));
        self.held_keys.insert(key.clone());
    }

    fn cannot(&mut self, key: &ResourceKey, error: &ProviderError) {
        self.problems.push(Problem::new(key, error));
    }

    fn refuse(&mut self, key: &ResourceKey, code: ErrorCode, reason: impl Into<String>) {
        let problem = Problem { key: key.clone(), code, reason: reason.into(), is_deferred: false };
        self.problems.push(problem);
    }
}

impl Why {
    const fn converged(self) -> Option<ConvergeReason> {
        match self {
            Self::WindowEnded => Some(ConvergeReason::WindowExpired),
            Self::Category => Some(ConvergeReason::Category),
            Self::Conflict => Some(ConvergeReason::Conflict),
            // Their entries are in the journal already.
            Self::Declared | Self::Rollback { .. } => None,
        }
    }

    const fn rollback_seq(self) -> Option<u64> {
        match self {
            Self::Rollback { seq } => Some(seq),
            _ => None,
        }
    }
}

impl Engine {
    /// Makes keys what is wanted, those that nobody uses.
    pub(super) fn carry_out(&mut self, why: Why, wanted: Vec<(ResourceKey, Value)>) -> Outcome {
        let mut outcome = Outcome::default();
        if wanted.is_empty() {
            return outcome;
        }
        if let Some((code, reason)) = self.hindrance() {
            wanted.iter().for_each(|(key, _)| outcome.refuse(key, code, reason.clone()));
            return outcome;
        }
        let changes = self.prepared(wanted, &mut outcome);
        let intent = Intent { why, spool_head: self.reports.head(), changes };
        if !intent.changes.is_empty() {
            if let Err(error) = self.store.begin(&intent) {
                let reason = format!("{error}: {}", causes(&error));
                tracing::error!("nothing is changed: {reason}");
                let keys = intent.changes.iter().map(|change| &change.key);
                keys.for_each(|key| outcome.refuse(key, ErrorCode::Internal, reason.clone()));
                return outcome;
            }
            self.make_so(intent.changes, &mut outcome);
        }
        self.conclude(why, &outcome, false);
        outcome
    }

    /// Why nothing may be changed now.
    fn hindrance(&mut self) -> Option<(ErrorCode, String)> {
        if !self.powers.can_act {
            let reason = "the agent has no privileges on this node and only observes";
            return Some((ErrorCode::NotAuthorised, reason.to_owned()));
        }
        if !self.retry_unfinished() {
            let reason = "an earlier change is not in the spool yet";
            return Some((ErrorCode::SpoolFull, reason.to_owned()));
        }
        let room = self.reports.check_room().err()?;
        Some((ErrorCode::SpoolFull, room.to_string()))
    }

    /// What has to be changed; notes what is held.
    fn prepared(
        &mut self,
        wanted: Vec<(ResourceKey, Value)>,
        outcome: &mut Outcome,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (key, want) in wanted {
            let abilities = abilities_of(key.kind());
            if let Some(reason) = abilities.and_then(|kind| self.powers.refusal(kind)) {
                outcome.refuse(&key, ErrorCode::NotAuthorised, reason);
                continue;
            }
            match self.compared(&key, &want) {
                Ok((_, true)) => outcome.already += 1,
                Ok((actual, false)) => {
                    changes.push(Change { key, old: Some(actual), new: Some(want) });
                }
                Err(error) => outcome.cannot(&key, &error),
            }
        }
        self.free(changes, outcome)
    }

    /// What a key is, and whether that is what is wanted.
    pub(super) fn compared(
        &mut self,
        key: &ResourceKey,
        want: &Value,
    ) -> Result<(Value, bool), ProviderError> {
        let actual = self.providers.read(key)?;
        let is_satisfied = self.providers.satisfies(key, want, &actual)?;
        Ok((actual, is_satisfied))
    }

    /// Of these changes, those whose keys nobody uses: one search for all of them.
    fn free(&mut self, changes: Vec<Change>, outcome: &mut Outcome) -> Vec<Change> {
        if changes.is_empty() {
            return changes;
        }
        let keys = changes.iter().map(|change| change.key.clone()).collect();
        let mut found = self.providers.holders(&keys);
        let is_free = |change: &Change| match found.remove(&change.key) {
            Some(Ok(holders)) if holders.is_empty() => true,
            Some(Ok(holders)) => {
                outcome.hold(&change.key, holders);
                false
            }
            // Not knowing is not the same as nobody.
            Some(Err(error)) => {
                outcome.cannot(&change.key, &error);
                false
            }
            None => {
                outcome.cannot(&change.key, &unsearched(&change.key));
                false
            }
        };
        changes.into_iter().filter(is_free).collect()
    }

    /// Who would be hurt by a change of these keys, for a list that people read: where that could not be told, the list says
    /// so. What else went wrong comes as problems.
    pub(super) fn would_hurt(
        &mut self,
        keys: &BTreeSet<ResourceKey>,
    ) -> (Vec<v1::Holder>, Vec<Problem>) {
        let (mut hurt, mut problems) = (Vec::new(), Vec::new());
        if keys.is_empty() {
            return (hurt, problems);
        }
        for (key, found) in self.providers.holders(keys) {
            match found {
                Ok(holders) => hurt.extend(holders.into_iter().map(|holder| to_wire(&key, holder))),
                Err(error) => {
                    if let ProviderError::HoldersUnknown { .. } = error {
                        hurt.push(not_told_who(&key, &error));
                    }
                    problems.push(Problem::new(&key, &error));
                }
            }
        }
        (hurt, problems)
    }

    fn make_so(&mut self, changes: Vec<Change>, outcome: &mut Outcome) {
        let mut searched = self.clock.monotonic();
        let mut left = in_order(changes);
        loop {
            if self.clock.monotonic().saturating_sub(searched) >= HOLDERS_FRESH {
                left = self.free(left.into(), outcome).into();
                searched = self.clock.monotonic();
            }
            if left.is_empty() {
                return;
            }
            let made = self.make_first(&left);
            if made.is_empty() {
                // Nothing is done, and nothing would ever be.
                let reason = "its provider did not answer";
                left.iter().for_each(|left| outcome.refuse(&left.key, ErrorCode::Internal, reason));
                return;
            }
            for made in made {
                let Some(change) = left.pop_front() else { return };
                self.made(change, made, outcome);
            }
        }
    }

    /// Makes the first of these changes, and answers for those that it came to.
    fn make_first(&mut self, changes: &VecDeque<Change>) -> Vec<Result<(), ProviderError>> {
        let wishes: Vec<Wish<'_>> = changes.iter().take(MAX_AT_ONCE).map_while(wish).collect();
        self.providers.apply_first(&wishes, self.contents.clone())
    }

    fn made(&mut self, change: Change, made: Result<(), ProviderError>, outcome: &mut Outcome) {
        self.look(&change.key);
        match made {
            Ok(()) => outcome.done.push(change),
            Err(error) => {
                let problem = Problem::new(&change.key, &error);
                tracing::warn!(key = %change.key, "not restored: {}", problem.reason);
                outcome.problems.push(problem);
            }
        }
    }

    /// Digests of everything that may have to be brought back: what is declared, in force or not, what declared keys were
    /// before, and what is undecided.
    pub(super) fn needed(&self) -> BTreeSet<[u8; 32]> {
        let conflicts = self.conflicts.values().flat_map(|found| [&found.journal, &found.local]);
        let mut digests: BTreeSet<_> = conflicts.filter_map(digest_of).collect();
        let declared = self.declared.values().chain(self.wanted.values());
        digests.extend(declared.filter_map(Held::digest));
        // What somebody is about to commit, though it is something else by now.
        let bases = self.bases.values().flat_map(|base| base.observed.iter().chain([&base.ours]));
        digests.extend(bases.filter_map(Held::digest));
        digests.extend(self.set.items().flat_map(|item| item.digests()));
        digests.extend(self.snapshots.digests());
        digests
    }

    /// Spools what is to be told and forgets the intent. `is_told`: an event about it was spooled before a crash.
    fn conclude(&mut self, why: Why, outcome: &Outcome, is_told: bool) {
        let mut events = VecDeque::new();
        if let (Some(reason), false, false) = (why.converged(), outcome.done.is_empty(), is_told) {
            let (changes, omitted_changes) = told_changes(outcome.done.iter().cloned());
            let reason = reason.into();
            events.push_back(Body::Converged(v1::Converged { reason, changes, omitted_changes }));
        }
        let not_restorable = outcome.problems.iter().filter(|problem| problem.is_deferred);
        let not_restorable = not_restorable.map(|problem| problem.key.to_string());
        let deferred = v1::Deferred {
            rollback_seq: why.rollback_seq(),
            holders: outcome.held.clone(),
            not_restorable: not_restorable.take(MAX_NAMED).collect(),
        };
        if outcome.is_held() && self.deferred_told.as_ref() != Some(&deferred) {
            self.deferred_told = Some(deferred.clone());
            events.push_back(Body::Deferred(deferred));
        }
        self.unfinished = Some(Unfinished { events });
        self.retry_unfinished();
    }

    /// Whether nothing is left of an earlier intent.
    pub(super) fn retry_unfinished(&mut self) -> bool {
        let Some(unfinished) = &mut self.unfinished else { return true };
        while let Some(event) = unfinished.events.front() {
            if let Err(error) = self.reports.report(event.clone()) {
                not_told(&error);
                return false;
            }
            unfinished.events.pop_front();
        }
        match self.store.end() {
            Ok(()) => {
                self.unfinished = None;
                true
            }
            Err(error) => {
                tracing::error!(cause = causes(&error), "{error}");
                false
            }
        }
    }

    /// Finishes what was interrupted.
    pub(super) fn recover(&mut self) -> Result<(), StoreError> {
        let Some(intent) = self.store.intent()? else { return Ok(()) };
        tracing::warn!(keys = intent.changes.len(), why = ?intent.why, "finishing what was interrupted");
        self.providers.clean_up(&intent.changes.iter().map(|change| change.key.clone()).collect());
        let mut outcome = Outcome::default();
        let mut open = Vec::new();
        for change in intent.changes {
            let (Some(old), Some(new)) = (&change.old, &change.new) else { continue };
            let compared = self.compared(&change.key, new).and_then(|(actual, is_done)| {
                let is_old = !is_done && self.providers.satisfies(&change.key, old, &actual)?;
                Ok((actual, is_done, is_old))
            });
            match compared {
                Ok((_, true, _)) => outcome.done.push(change),
                // Another file of the agent, or another policy, than when this began.
                Ok(_) if !self.settings.allows(intent.why, &change.key) => {
                    tracing::warn!(key = %change.key, "the node may not write it by itself any more; it stays");
                }
                Ok((actual, _, true)) => open.push(Change { old: Some(actual), ..change }),
                Ok(_) => {
                    tracing::warn!(key = %change.key, "changed by somebody else meanwhile; it stays");
                }
                Err(error) => outcome.cannot(&change.key, &error),
            }
        }
        let open = self.free(open, &mut outcome);
        self.make_so(open, &mut outcome);
        // Events are spooled in the order of intents: one of this kind after the intent's beginning is this intent's.
        let told = self.reports.since(intent.spool_head).unwrap_or_default();
        let is_told = told.iter().any(|event| matches!(event, Body::Converged(_)));
        self.conclude(intent.why, &outcome, is_told);
        Ok(())
    }
}

/// Neither value is missing in an intent.
fn wish(change: &Change) -> Option<Wish<'_>> {
    Some(Wish { key: &change.key, observed: change.old.as_ref()?, want: change.new.as_ref()? })
}

/// What goes before what comes, kinds in the order of their stages, and what is in a folder before the folder: a folder with
/// contents is never removed.
fn in_order(mut changes: Vec<Change>) -> VecDeque<Change> {
    let stage = |change: &Change| abilities_of(change.key.kind()).map(|kind| kind.stage);
    changes.sort_by_key(stage);
    let is_removal = |change: &Change| change.new == Some(Value::Absent);
    let (removed, made): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_removal);
    removed.into_iter().rev().chain(made).collect()
}

fn to_wire(key: &ResourceKey, holder: provider::Holder) -> v1::Holder {
    v1::Holder {
        key: key.to_string(),
        pid: holder.pid,
        command: holder.name,
        how: holder.how.as_str().to_owned(),
    }
}

/// A place on the list of holders for nobody knows whom.
fn not_told_who(key: &ResourceKey, error: &ProviderError) -> v1::Holder {
    let command = "unknown".to_owned();
    v1::Holder { key: key.to_string(), pid: 0, command, how: error.to_string() }
}

/// A provider that says nothing about a key has not said that nobody uses it.
fn unsearched(key: &ResourceKey) -> ProviderError {
    ProviderError::HoldersUnknown { key: key.clone(), within: Duration::ZERO }
}

fn digest_of(value: &Value) -> Option<[u8; 32]> {
    match value {
        Value::Withheld(digest) => Some(*digest),
        Value::File(file) => file.sha256,
        _ => None,
    }
}

/// SHA-256 of an encoded plan.
pub(super) fn plan_sha256(plan: &v1::RollbackPlan) -> [u8; 32] {
    let bytes = prost::Message::encode_to_vec(plan);
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
    sha256
}

//! New declarations: which keys become pact's, which are let go, which are brought about, and which have to wait.

use pact_schemas::resource::{ResourceKey, State, Value, changes};
use pact_schemas::v1::{self, ConflictDecision, node_event::Body};

use super::core::{conflict, magnitude::magnitude};
use super::engine::Engine;
use super::report::told_changes;
use super::store::{Base, Why};
use crate::exec::causes;

impl Engine {
    /// Another state is declared and in force.
    pub(super) fn adopt_state(&mut self, state: State) {
        let differing = changes(&self.wanted, &state);
        self.wanted = state;
        self.problems.retain(|key, _| self.wanted.contains_key(key));
        let mut restore = Vec::new();
        for change in &differing {
            match (&change.old, &change.new) {
                (_, Some(new)) => self.take_on(&change.key, new),
                (Some(old), None) => restore.extend(self.let_go(&change.key, old)),
                (None, None) => {}
            }
        }
        self.keep_bases();
        self.watch_declared();
        let keys: Vec<ResourceKey> = differing.into_iter().map(|change| change.key).collect();
        keys.iter().for_each(|key| self.look(key));
        self.carry_out(Why::Declared, restore);
        self.bring_about(keys);
    }

    /// The journal is back: which keys both sides have changed.
    pub(super) fn find_conflicts(&mut self, state: &State) {
        // What changed a moment ago was not looked at yet.
        self.look_around();
        for (key, conflict) in conflict::detect(&self.set, &self.wanted, state) {
            tracing::warn!(%key, "node and journal both changed this key; it waits for a decision");
            self.conflicts.insert(key, conflict);
        }
        if !self.conflicts.is_empty() {
            // However long ago the change was: nobody could decide before now.
            let length = self.settings.limits.length(magnitude(&self.set));
            let now = self.now();
            self.window.reopen(now, length);
        }
    }

    /// Makes declared keys what they should be, as far as this node does that by itself.
    pub(super) fn bring_about(&mut self, keys: Vec<ResourceKey>) {
        let due: Vec<(ResourceKey, Value)> = keys
            .into_iter()
            .filter(|key| self.settings.enforces(key) && !self.conflicts.contains_key(key))
            .filter(|key| {
                !self.settings.blacklist.matches(key) && !key.dimension().is_report_only()
            })
            .filter_map(|key| {
                let wanted = self.set.get(&key).filter(|_| self.wanted.contains_key(&key))?;
                let wanted = wanted.old.clone();
                Some((key, wanted))
            })
            .collect();
        let outcome = self.carry_out(Why::Declared, due);
        let left = outcome.left();
        for problem in outcome.problems {
            self.problems.insert(problem.key.clone(), problem);
        }
        // Where a window runs, its end tries again.
        if !outcome.held.is_empty() && self.window.is_idle() {
            self.put_off(outcome.held, left);
        }
    }

    /// A key is declared, or declared otherwise. What it was before is kept with its first declaration.
    fn take_on(&mut self, key: &ResourceKey, ours: &Value) {
        if let Some(base) = self.bases.get_mut(key) {
            base.ours = ours.clone();
            return;
        }
        let before = match self.providers.baseline(key) {
            Ok(Some(baseline)) => Ok(baseline),
            // Not under watch: what it is now.
            Ok(None) => self.providers.read(key),
            Err(error) => Err(error),
        };
        let kept = before.and_then(|observed| self.providers.keep(key).map(|()| observed));
        match kept {
            Ok(observed) => {
                self.bases.insert(key.clone(), Base { observed, ours: ours.clone() });
            }
            Err(error) => self.cannot(key, &error),
        }
    }

    /// A key is not declared any more: in enforce mode it becomes again what it was, if nobody else has changed it.
    fn let_go(&mut self, key: &ResourceKey, ours: &Value) -> Option<(ResourceKey, Value)> {
        let base = self.bases.remove(key)?;
        if !self.settings.enforces(key) {
            return None;
        }
        let actual = match self.providers.read(key) {
            Ok(actual) => actual,
            Err(error) => {
                // Its base stays known: what pact wrote can still be taken back.
                tracing::warn!(%key, cause = causes(&error), "a key that is declared no more cannot be read: {error}");
                self.bases.insert(key.clone(), base);
                return None;
            }
        };
        if self.providers.satisfies(key, ours, &actual) {
            return Some((key.clone(), base.observed));
        }
        tracing::warn!(%key, "orphaned: it is declared no more, and is not what was declared; it stays");
        // What it is now is what it should be: there is nobody left who wants anything else.
        if let Err(error) = self.providers.rebase(key, &actual) {
            tracing::warn!(%key, cause = causes(&error), "{error}");
        }
        None
    }

    fn keep_bases(&mut self) {
        if let Err(error) = self.store.keep_bases(&self.bases) {
            tracing::error!(cause = causes(&error), "bases of declared keys are not kept: {error}");
        }
    }

    /// Tells which keys wait for a decision.
    pub(super) fn tell_pending(&mut self) {
        let is_news = |key: &&ResourceKey| !self.told_conflicts.contains(*key);
        let news: Vec<ResourceKey> = self.conflicts.keys().filter(is_news).cloned().collect();
        if news.is_empty() {
            return;
        }
        let changes =
            news.iter().filter_map(|key| self.conflicts.get(key).map(|found| found.change(key)));
        let (changes, omitted) = told_changes(changes);
        if omitted > 0 {
            tracing::warn!(omitted, "more keys are in conflict than one event names");
        }
        let decision = ConflictDecision::Pending.into();
        let event = v1::ConflictChanged { decision, changes };
        match self.reports.report(Body::ConflictChanged(event)) {
            Ok(()) => self.told_conflicts.extend(news),
            Err(error) => super::report::not_told(&error),
        }
    }

    /// Tells which conflicts are over, and how.
    pub(super) fn tell_decided(&mut self) {
        while let Some((decision, _, _)) = self.decided.first() {
            let decision = *decision;
            let alike: Vec<_> = self.decided.iter().filter(|(d, _, _)| *d == decision).collect();
            let changes = alike.iter().map(|(_, key, conflict)| conflict.change(key));
            let (changes, omitted) = told_changes(changes);
            if omitted > 0 {
                tracing::warn!(omitted, "more conflicts were decided than one event names");
            }
            let event = v1::ConflictChanged { decision: decision.into(), changes };
            if let Err(error) = self.reports.report(Body::ConflictChanged(event)) {
                return super::report::not_told(&error);
            }
            for (_, key, _) in &alike {
                self.told_conflicts.remove(key);
            }
            self.decided.retain(|(d, _, _)| *d != decision);
        }
    }
}

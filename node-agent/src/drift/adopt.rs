//! New declarations: which keys become pact's, which are let go, which are brought about, and which have to wait.
//!
//! Order: what is being adopted → what keys were before → intent, writing, event (`act`) → window and conflicts → it is adopted.
//! The first four are on disk before what follows them. After a crash between any two, the next start finds what it had adopted
//! ([`super::bases::adopted`]), compares it with what is declared, and goes through all of it again: each step done twice is the same as once.

use std::collections::BTreeSet;

use pact_schemas::resource::{ResourceKey, Value};

use super::core::{conflict, magnitude::magnitude};
use super::ending::passing;
use super::engine::Engine;
use super::store::Why;
use crate::declared::Wanted;

impl Engine {
    /// Another state is declared and in force.
    pub(super) fn adopt_state(&mut self, state: Wanted) {
        let is_other = |key: &&ResourceKey| self.wanted.get(*key) != state.get(*key);
        for key in self.wanted.keys().chain(state.keys()).filter(is_other) {
            let before = || self.wanted.get(key).cloned();
            self.adopting.entry(key.clone()).or_insert_with(before);
        }
        self.wanted = state;
        let is_ours =
            |key: &ResourceKey| self.wanted.contains_key(key) || self.bases.contains_key(key);
        self.orphaned.clear();
        self.problems.retain(|key, _| is_ours(key));
        self.is_adopted = false;
        self.resume_adoption();
    }

    /// Makes these keys what they should be, declared or let go.
    pub(super) fn settle_keys(&mut self, mut keys: BTreeSet<ResourceKey>) {
        self.put_silent_aside(&mut keys);
        let mut foreign = BTreeSet::new();
        for key in keys.clone() {
            let is_made = match self.wanted.get(&key).cloned() {
                Some(ours) => self.take_on(&key, ours).map(|()| true),
                None => self.let_go(&key),
            };
            match is_made {
                Ok(true) => {}
                Ok(false) => drop(foreign.insert(key)),
                Err(_silent) => {
                    keys.remove(&key);
                    self.put_aside(&key);
                }
            }
        }
        let is_kept = self.keep_adoption();
        self.watch_declared();
        keys.iter().for_each(|key| self.look(key));
        if is_kept {
            // What somebody else has made of a key waits for a decision, like any drift.
            let (left, due): (BTreeSet<_>, _) =
                keys.into_iter().partition(|key| foreign.contains(key));
            left.iter().for_each(|key| drop(self.adopting.remove(key)));
            self.bring_about(due);
        }
        self.is_adopted = is_kept;
        if !is_kept {
            self.come_again();
        }
    }

    /// What a crash kept from being adopted, and what has ended meanwhile.
    pub(super) fn finish_adoption(&mut self) {
        let state = self.in_force();
        if state == self.wanted && self.adopting.is_empty() && self.unsettled().is_empty() {
            return;
        }
        tracing::info!("finishing what was being adopted");
        self.find_conflicts(&state);
        self.adopt_state(state);
    }

    /// The journal is back: which keys both sides have changed.
    pub(super) fn find_conflicts(&mut self, state: &Wanted) {
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

    /// Makes keys what is declared, or what they were before, as far as this node does that by itself. What fails for a reason that
    /// passes is tried again.
    pub(super) fn bring_about(&mut self, keys: BTreeSet<ResourceKey>) {
        let due: Vec<(ResourceKey, Value)> = keys
            .iter()
            .filter(|key| self.brings_about(key) && self.is_ours(key))
            .filter_map(|key| Some((key.clone(), self.set.get(key)?.wanted())))
            .collect();
        let outcome = self.carry_out(Why::Declared, due);
        let (delay, left) = (self.delay(&outcome), outcome.left());
        let passing: BTreeSet<&ResourceKey> =
            passing(&outcome).map(|problem| &problem.key).collect();
        for key in keys.iter().filter(|key| !passing.contains(key)) {
            if self.providers.silence(key).is_none() {
                self.adopting.remove(key);
            }
        }
        if let Some(wait) = delay {
            self.retry_in(wait);
        }
        for problem in outcome.problems {
            self.problems.insert(problem.key.clone(), problem);
        }
        // Where a window runs, its end tries again.
        if !outcome.held.is_empty() && self.window.is_idle() {
            self.put_off(outcome.held, left);
        }
    }

    /// Tries again what could not be adopted.
    pub(super) fn resume_adoption(&mut self) {
        if self.is_adopted && self.adopting.is_empty() {
            return;
        }
        let mut keys: BTreeSet<ResourceKey> = self.adopting.keys().cloned().collect();
        keys.extend(self.unsettled());
        self.settle_keys(keys);
    }
}

//! A provider that does not answer: what is said of it, what waits for it, and what happens when it is back.

use std::collections::BTreeSet;

use pact_schemas::resource::ResourceKey;

use super::act::Problem;
use super::engine::Engine;
use super::worker::{Back, Late, Scanned};
use crate::provider::Poll;

impl Engine {
    /// What does not answer, since when and over what, for people: `kernel: no answer for 42s (reading)`.
    pub(super) fn silent(&self) -> Vec<String> {
        self.providers.silences().map(|error| error.to_string()).collect()
    }

    /// Keys that wait for a provider's answer before they are what is declared.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Problem> {
        let silence =
            move |key: &ResourceKey| Some(Problem::new(key, &self.providers.silence(key)?));
        self.adopting.keys().filter_map(silence)
    }

    /// Takes out what nothing is known of now: it is adopted, whatever it is by then, when its provider is back.
    pub(super) fn put_silent_aside(&mut self, keys: &mut BTreeSet<ResourceKey>) {
        let is_silent = |key: &&ResourceKey| self.providers.silence(key).is_some();
        let silent: Vec<ResourceKey> = keys.iter().filter(is_silent).cloned().collect();
        for key in silent {
            keys.remove(&key);
            self.put_aside(&key);
        }
    }

    /// A key is adopted when its provider is back.
    pub(super) fn put_aside(&mut self, key: &ResourceKey) {
        let before = || self.wanted.get(key).cloned();
        self.adopting.entry(key.clone()).or_insert_with(before);
    }

    /// Takes in what providers say that were silent, and looks at what was missed.
    pub(super) fn welcome_back(&mut self) {
        let back = self.providers.back();
        if back.is_empty() {
            return;
        }
        // They may not have heard of what changed meanwhile.
        self.providers.ignore(&self.settings.blacklist);
        self.watch_declared();
        for one in back {
            self.welcome(one);
        }
        if !self.is_reserved() {
            self.resume_adoption();
        }
    }

    fn welcome(&mut self, back: Back) {
        let Back { kinds, late, mut missed, is_rescan_due } = back;
        let now = self.now().boot;
        if is_rescan_due {
            self.rescan_at = now;
        }
        match late {
            Late::Nothing => {}
            // Older than this: what happened since is told by the provider, as after any other look.
            Late::Read(key, actual) => self.compare(&key, Some(actual)),
            Late::Scanned(Scanned { found, beyond }) => {
                let is_served = |key: &&ResourceKey| kinds.contains(&key.kind());
                let ours = self.set.keys().into_iter();
                let ours = ours.chain(self.wanted.keys().chain(self.bases.keys()).cloned());
                let ours = ours.filter(|key| is_served(&key)).collect();
                self.take_in(vec![Scanned { found, beyond }], ours);
            }
            Late::Polled(Poll::Changed(keys)) => missed.extend(keys),
            Late::Polled(Poll::Rescan) => self.rescan_at = now,
        }
        missed.iter().for_each(|key| self.look(key));
    }
}

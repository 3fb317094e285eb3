//! What keys were before they were declared, and what becomes of them when they are declared no more.
//!
//! A base is on disk before pact writes its key for the first time, and stays until the key is again what it was: an undo that
//! is held, that fails or that is not this node's to make (observe mode, `enforce_keys`, a blacklist) loses nothing. A key that is
//! declared no more and has a base should be its base; so it shows as drift, and who may undo drift undoes it.

use std::collections::BTreeSet;

use pact_runtime::causes;
use pact_schemas::ErrorCode;
use pact_schemas::resource::{ResourceKey, Value};

use super::act::Problem;
use super::answers::MAX_PROBLEMS;
use super::engine::Engine;
use super::store::{Adopting, Base, Why};
use crate::declared::Wanted;
use crate::held::Held;
use crate::provider::ProviderError;

/// Keys that are declared no more and are not yet what they were: as many as a scope can declare. What is let go beyond that stays
/// as it is, and is named.
const MAX_RELEASED: usize = 20_000;

/// Why a key that is declared no more stays as it is.
const ORPHANED: &str = "orphaned: it is declared no more, and stays as it is";

/// What an earlier run had adopted, of what is still declared: what the journal declares now is compared with that.
pub(super) fn adopted(
    bases: &std::collections::BTreeMap<ResourceKey, Base>,
    adopting: &Adopting,
    is_declared: impl Fn(&ResourceKey) -> bool,
) -> Wanted {
    let ours = bases.iter().map(|(key, base)| (key.clone(), base.ours.clone()));
    let mut state: Wanted = ours.filter(|(key, _)| is_declared(key)).collect();
    for (key, before) in adopting.iter().filter(|(key, _)| is_declared(key)) {
        match before {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
    state
}

impl Engine {
    /// A key is declared, or declared otherwise. What it was before is kept with its first declaration. An error: its
    /// provider does not answer, and nothing is kept.
    pub(super) fn take_on(&mut self, key: &ResourceKey, ours: Held) -> Result<(), ProviderError> {
        let known = self.bases.get(key).cloned();
        let observed = match known {
            Some(Base { observed: Some(observed), .. }) => Some(observed.value()),
            known => self.observe_before(key, known.map(|known| known.ours.value()))?,
        };
        self.bases_changed = true;
        self.bases.insert(key.clone(), Base::new(observed, ours));
        Ok(())
    }

    /// What a key is without pact; `None`: that cannot be told (any more).
    fn observe_before(
        &mut self,
        key: &ResourceKey,
        made: Option<Value>,
    ) -> Result<Option<Value>, ProviderError> {
        let before = match self.providers.baseline(key) {
            Ok(Some(baseline)) => Ok(Some(baseline)),
            // Not under watch: what it is now, unless pact has made it so.
            Ok(None) => match made {
                Some(made) => {
                    self.compared(key, &made).map(|(is, is_made)| (!is_made).then_some(is))
                }
                None => self.providers.read(key).map(Some),
            },
            Err(error) => Err(error),
        };
        let kept = before.and_then(|observed| {
            if let Some(observed) = &observed
                && !self.providers.keep(key, observed)?
            {
                tracing::info!(%key, "what it was before it was declared is known, but cannot be brought back");
            }
            Ok(observed)
        });
        match kept {
            Err(error @ ProviderError::Silent { .. }) => Err(error),
            Err(error) => {
                self.cannot(key, &error);
                Ok(None)
            }
            Ok(observed) => Ok(observed),
        }
    }

    /// A key is not declared any more. Its base stays until the key is what it was: what somebody else has made of it is drift
    /// against that. Says whether the key is pact's to make what it was; an error: its provider does not answer.
    pub(super) fn let_go(&mut self, key: &ResourceKey) -> Result<bool, ProviderError> {
        if self.settings.blacklist.matches(key) {
            return Ok(true); // nobody's business for as long as it is on the list
        }
        let Some(base) = self.bases.get(key).cloned() else { return Ok(true) };
        let (actual, is_ours) = match self.compared(key, &base.ours.value()) {
            Ok(compared) => compared,
            Err(error @ ProviderError::Silent { .. }) => return Err(error),
            Err(ProviderError::Unimplemented { .. }) => {
                self.forget(key);
                return Ok(true);
            }
            Err(error) => {
                tracing::warn!(%key, cause = causes(&error), "a key that is declared no more cannot be read: {error}");
                return Ok(true);
            }
        };
        let is_back = match &base.observed {
            Some(observed) => self.providers.satisfies(key, &observed.value(), &actual)?,
            None => false,
        };
        if key.dimension().is_report_only() || is_back {
            self.forget(key);
        } else if base.observed.is_none() || self.released() > MAX_RELEASED {
            self.orphan(key);
        } else {
            return Ok(is_ours);
        }
        Ok(true)
    }

    /// Nobody knows what it was before: what remains is its baseline, if it has one.
    fn orphan(&mut self, key: &ResourceKey) {
        self.forget(key);
        tracing::warn!(%key, "{ORPHANED}");
        if self.orphaned.len() < MAX_PROBLEMS {
            let (code, reason) = (ErrorCode::Conflict, ORPHANED.to_owned());
            self.orphaned.push(Problem { key: key.clone(), code, reason, is_deferred: false });
        }
    }

    fn forget(&mut self, key: &ResourceKey) {
        self.bases_changed |= self.bases.remove(key).is_some();
    }

    /// How many keys have a base and are not declared.
    fn released(&self) -> usize {
        self.bases.len().saturating_sub(self.wanted.len())
    }

    /// Whether pact has to do with a key: it is declared, or was and is not yet what it was.
    pub(super) fn is_ours(&self, key: &ResourceKey) -> bool {
        self.wanted.contains_key(key) || self.bases.contains_key(key)
    }

    /// What a key that is declared no more was before.
    pub(super) fn base_of(&self, key: &ResourceKey) -> Option<Value> {
        self.bases.get(key)?.observed.as_ref().map(Held::value)
    }

    /// The key is what it should be: what it was before is not needed any more, unless it is declared.
    pub(super) fn is_back(&mut self, key: &ResourceKey) {
        if !self.wanted.contains_key(key) {
            self.forget(key);
        }
    }

    /// Keys with a base that are declared otherwise than was adopted, or not at all.
    pub(super) fn unsettled(&self) -> BTreeSet<ResourceKey> {
        let differs =
            |(key, base): &(&ResourceKey, &Base)| self.wanted.get(*key) != Some(&base.ours);
        self.bases.iter().filter(differs).map(|(key, _)| key.clone()).collect()
    }

    /// What is being adopted, and what keys were before, is on disk when this says so; nothing may be written else.
    pub(super) fn keep_adoption(&mut self) -> bool {
        if let Err(error) = self.providers.sync_kept() {
            tracing::error!(
                cause = causes(&error),
                "what declared keys were before may not be kept: {error}"
            );
            return false;
        }
        let adopting = self.store.keep_adopting(&self.adopting);
        if let Err(error) = adopting.and_then(|()| self.keep_bases()) {
            tracing::error!(
                cause = causes(&error),
                "what is being adopted is not on disk: {error}"
            );
            return false;
        }
        true
    }

    /// Writes the bases, if they are others.
    pub(super) fn keep_bases(&mut self) -> Result<(), super::store::StoreError> {
        if self.bases_changed {
            self.store.keep_bases(&self.bases)?;
            self.bases_changed = false;
        }
        Ok(())
    }

    /// Whether this node makes a key what is declared, or what it was before, by itself.
    pub(super) fn brings_about(&self, key: &ResourceKey) -> bool {
        self.settings.allows(Why::Declared, key) && !self.conflicts.contains_key(key)
    }
}

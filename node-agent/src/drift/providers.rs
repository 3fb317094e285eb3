//! Which provider answers for which key.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use pact_runtime::causes;
use pact_schemas::resource::{KeyPatterns, Kind, ResourceKey, Value};

use super::core::compare;
use crate::provider::{Contents, Found, Holders, Poll, Provider, ProviderError, Wish};

/// All providers of the node, one for each kind of key.
pub(crate) struct Providers {
    list: Vec<Box<dyn Provider>>,
}

impl Providers {
    /// These providers; of two with the same kind the first answers.
    pub(crate) fn new(list: Vec<Box<dyn Provider>>) -> Self {
        Self { list }
    }

    fn of(&mut self, key: &ResourceKey) -> Result<&mut dyn Provider, ProviderError> {
        let kind: Kind = key.kind();
        let found = self.list.iter_mut().find(|provider| provider.kinds().contains(&kind));
        match found {
            Some(provider) => Ok(provider.as_mut()),
            None => Err(ProviderError::Unimplemented { dimension: key.dimension() }),
        }
    }

    /// The actual value.
    pub(crate) fn read(&mut self, key: &ResourceKey) -> Result<Value, ProviderError> {
        self.of(key)?.read(key)
    }

    /// Whether what is satisfies what is wanted.
    pub(crate) fn satisfies(&mut self, key: &ResourceKey, want: &Value, actual: &Value) -> bool {
        compare::matches(want, actual)
            || self.of(key).is_ok_and(|provider| provider.satisfies(key, want, actual))
    }

    /// What an undeclared key should be.
    pub(crate) fn baseline(&mut self, key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        match self.of(key) {
            Ok(provider) => provider.baseline(key),
            // Nothing is under watch there.
            Err(ProviderError::Unimplemented { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes another value what an undeclared key should be.
    pub(crate) fn rebase(&mut self, key: &ResourceKey, value: &Value) -> Result<(), ProviderError> {
        self.of(key)?.rebase(key, value)
    }

    /// Makes the first of these keys so, those that still are what was observed: answers of the first wishes.
    pub(crate) fn apply_first(
        &mut self,
        wishes: &[Wish<'_>],
        contents: &dyn Contents,
    ) -> Vec<Result<(), ProviderError>> {
        let Some(first) = wishes.first() else { return Vec::new() };
        let provider = match self.of(first.key) {
            Ok(provider) => provider,
            Err(error) => return vec![Err(error)],
        };
        let kinds = provider.kinds();
        let own = wishes.iter().take_while(|wish| kinds.contains(&wish.key.kind())).count();
        provider.apply_first(wishes.get(..own).unwrap_or_default(), contents)
    }

    /// Removes what an interrupted change of these keys has left beside them.
    pub(crate) fn clean_up(&mut self, keys: &BTreeSet<ResourceKey>) {
        for provider in &mut self.list {
            let kinds = provider.kinds();
            let own = keys.iter().filter(|key| kinds.contains(&key.kind())).cloned().collect();
            provider.clean_up(&own);
        }
    }

    /// Who uses these keys: one search of each provider.
    pub(crate) fn holders(&mut self, keys: &BTreeSet<ResourceKey>) -> Holders {
        let mut rest = keys.clone();
        let mut all = Holders::new();
        for provider in &mut self.list {
            let kinds = provider.kinds();
            let own: BTreeSet<_> =
                rest.iter().filter(|key| kinds.contains(&key.kind())).cloned().collect();
            if !own.is_empty() {
                all.extend(provider.holders(&own));
                rest.retain(|key| !own.contains(key));
            }
        }
        let unknown = |key: ResourceKey| {
            let dimension = key.dimension();
            (key, Err(ProviderError::Unimplemented { dimension }))
        };
        all.extend(rest.into_iter().map(unknown));
        all
    }

    /// Contents that may leave the node.
    pub(crate) fn contents(
        &mut self,
        key: &ResourceKey,
        sha256: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, ProviderError> {
        self.of(key)?.contents(key, sha256)
    }

    /// Keeps this value of the key, so that it can be brought back; `false`: it is not kept.
    pub(crate) fn keep(&mut self, key: &ResourceKey, value: &Value) -> Result<bool, ProviderError> {
        self.of(key)?.keep(key, value)
    }

    /// Makes what was kept last.
    pub(crate) fn sync_kept(&mut self) -> Result<(), ProviderError> {
        self.list.iter_mut().try_for_each(|provider| provider.sync_kept())
    }

    /// Digests whose contents stay kept.
    pub(crate) fn need(&mut self, digests: &BTreeSet<[u8; 32]>) {
        self.list.iter_mut().for_each(|provider| provider.need(digests));
    }

    /// Everything that differs from the baselines. A provider that fails does not hide what the others find.
    pub(crate) fn scan(&mut self, found: &mut dyn FnMut(Found)) -> Vec<ProviderError> {
        self.list.iter_mut().filter_map(|provider| provider.scan(found).err()).collect()
    }

    /// Which keys to watch closely.
    pub(crate) fn declare(&mut self, keys: &BTreeSet<ResourceKey>) {
        for provider in &mut self.list {
            let kinds = provider.kinds();
            let own = keys.iter().filter(|key| kinds.contains(&key.kind())).cloned().collect();
            if let Err(error) = provider.declare(&own) {
                tracing::warn!(
                    cause = causes(&error),
                    "declared keys are not watched closely: {error}"
                );
            }
        }
    }

    /// Which keys are nobody's business.
    pub(crate) fn ignore(&mut self, patterns: &KeyPatterns) {
        for provider in &mut self.list {
            provider.ignore(patterns);
        }
    }

    /// Keys that may have changed; `Rescan` when one provider wants it.
    pub(crate) fn poll(&mut self) -> Poll {
        let mut all = BTreeSet::new();
        let mut is_overflown = false;
        for provider in &mut self.list {
            match provider.poll() {
                Ok(Poll::Changed(keys)) => all.extend(keys),
                Ok(Poll::Rescan) => is_overflown = true,
                Err(error) => {
                    tracing::warn!(cause = causes(&error), "changes may be missed: {error}");
                    is_overflown = true;
                }
            }
        }
        if is_overflown { Poll::Rescan } else { Poll::Changed(all.into_iter().collect()) }
    }

    /// Descriptors that become readable when something changed.
    pub(crate) fn readiness(&self) -> Vec<OwnedFd> {
        let ready = self.list.iter().map(|provider| provider.readiness());
        ready
            .filter_map(|ready| match ready {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!(%error, "changes are found by looking only, not when they happen");
                    None
                }
            })
            .collect()
    }

    /// In which time to poll at the latest.
    pub(crate) fn next_poll(&self) -> Option<Duration> {
        self.list.iter().filter_map(|provider| provider.next_poll()).min()
    }
}

#[cfg(test)]
mod tests {
    use pact_schemas::resource::Dimension;

    use super::*;
    use crate::provider::NoContents;

    #[test]
    fn a_kind_that_no_provider_serves_is_not_under_watch_and_says_so() {
        let mut providers = Providers::new(Vec::new());
        let key = ResourceKey::new(Kind::Service, "chronyd").unwrap();
        assert!(providers.scan(&mut |found| panic!("{found:?}")).is_empty());
        assert_eq!(providers.baseline(&key).unwrap(), None);
        assert!(matches!(
            providers.read(&key),
            Err(ProviderError::Unimplemented { dimension: Dimension::Services })
        ));
        let wish = Wish { key: &key, observed: &Value::Absent, want: &Value::Absent };
        let refused = providers.apply_first(&[wish], &NoContents).remove(0).unwrap_err();
        assert_eq!(refused.to_wire().code, "PACT_UNIMPLEMENTED");
        let held = providers.holders(&BTreeSet::from([key.clone()]));
        assert!(matches!(held[&key], Err(ProviderError::Unimplemented { .. })));
        assert_eq!(providers.poll(), Poll::Changed(Vec::new()));
    }
}

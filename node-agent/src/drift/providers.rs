//! Which provider answers for which key. Each of them is asked on a thread of its own ([`super::worker`]): one that does
//! not answer in time is silent, and what it is asked then is refused at once.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use pact_runtime::{Clock, causes};
use pact_schemas::resource::{KeyPatterns, ResourceKey, Value};

use super::core::compare;
use super::worker::{Back, Doing, Late, Patience, Scanned, Worker};
use crate::provider::{Contents, Holders, Poll, Provider, ProviderError, Wish};

/// A silent provider is asked for its late answer this often.
const SILENCE_INTERVAL: Duration = Duration::from_secs(1);

/// All providers of the node, one for each kind of key.
pub(crate) struct Providers {
    list: Vec<Worker>,
}

impl Providers {
    /// These providers, each on its thread; of two with the same kind the first answers.
    pub(crate) fn new(list: Vec<Box<dyn Provider>>, clock: &Clock) -> io::Result<Self> {
        Self::patient(list, clock, Patience::USUAL)
    }

    pub(super) fn patient(
        list: Vec<Box<dyn Provider>>,
        clock: &Clock,
        patience: Patience,
    ) -> io::Result<Self> {
        let spawn = |provider| Worker::spawn(provider, patience, clock.clone());
        Ok(Self { list: list.into_iter().map(spawn).collect::<Result<_, _>>()? })
    }

    fn of(&mut self, key: &ResourceKey) -> Result<&mut Worker, ProviderError> {
        let found = self.list.iter_mut().find(|worker| worker.serves(key));
        found.ok_or_else(|| ProviderError::Unimplemented { dimension: key.dimension() })
    }

    /// Why nothing is known of this key now; `None`: it can be asked for.
    pub(super) fn silence(&self, key: &ResourceKey) -> Option<ProviderError> {
        self.list.iter().find(|worker| worker.serves(key))?.silence()
    }

    /// The providers that do not answer: what is said of each.
    pub(super) fn silences(&self) -> impl Iterator<Item = ProviderError> {
        self.list.iter().filter_map(Worker::silence)
    }

    /// A key could not be looked at because of that.
    pub(super) fn miss(&mut self, key: &ResourceKey) {
        if let Ok(worker) = self.of(key) {
            worker.miss(key);
        }
    }

    /// Takes the answers that came late: their providers are silent no more.
    pub(super) fn back(&mut self) -> Vec<Back> {
        self.list.iter_mut().filter_map(Worker::back).collect()
    }

    /// The actual value.
    pub(crate) fn read(&mut self, key: &ResourceKey) -> Result<Value, ProviderError> {
        let (own, read) = (key.clone(), key.clone());
        let late = |read: Result<Value, _>| read.map_or(Late::Nothing, |is| Late::Read(own, is));
        self.of(key)?.ask(Doing::Reading, late, move |provider| provider.read(&read))?
    }

    /// Whether what is satisfies what is wanted; an error: only a provider that is silent could tell.
    pub(crate) fn satisfies(
        &mut self,
        key: &ResourceKey,
        want: &Value,
        actual: &Value,
    ) -> Result<bool, ProviderError> {
        if compare::matches(want, actual) {
            return Ok(true);
        }
        let Ok(worker) = self.of(key) else { return Ok(false) };
        let (key, want, actual) = (key.clone(), want.clone(), actual.clone());
        let work = move |provider: &mut dyn Provider| provider.satisfies(&key, &want, &actual);
        worker.ask(Doing::Reading, nothing, work)
    }

    /// What an undeclared key should be.
    pub(crate) fn baseline(&mut self, key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        let own = key.clone();
        match self.of(key) {
            Ok(worker) => {
                worker.ask(Doing::Reading, nothing, move |provider| provider.baseline(&own))?
            }
            // Nothing is under watch there.
            Err(ProviderError::Unimplemented { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the first of these keys so, those that still are what was observed: answers of the first wishes.
    pub(crate) fn apply_first(
        &mut self,
        wishes: &[Wish<'_>],
        contents: impl Contents + Send + 'static,
    ) -> Vec<Result<(), ProviderError>> {
        let Some(first) = wishes.first() else { return Vec::new() };
        let worker = match self.of(first.key) {
            Ok(worker) => worker,
            Err(error) => return vec![Err(error)],
        };
        let own = wishes.iter().take_while(|wish| worker.serves(wish.key));
        let own = own.map(|wish| (wish.key.clone(), wish.observed.clone(), wish.want.clone()));
        let own: Vec<(ResourceKey, Value, Value)> = own.collect();
        let work = move |provider: &mut dyn Provider| {
            let wishes = own.iter().map(|(key, observed, want)| Wish { key, observed, want });
            let wishes: Vec<Wish<'_>> = wishes.collect();
            provider.apply_first(&wishes, &contents)
        };
        worker.ask(Doing::Writing, nothing, work).unwrap_or_else(|error| vec![Err(error)])
    }

    /// Removes what an interrupted change of these keys has left beside them.
    pub(crate) fn clean_up(&mut self, keys: &BTreeSet<ResourceKey>) {
        for worker in &mut self.list {
            let own: BTreeSet<_> = keys.iter().filter(|key| worker.serves(key)).cloned().collect();
            let work = move |provider: &mut dyn Provider| provider.clean_up(&own);
            if let Err(error) = worker.ask(Doing::Writing, nothing, work) {
                tracing::warn!("what was interrupted may have left files behind: {error}");
            }
        }
    }

    /// Who uses these keys: one search of each provider.
    pub(crate) fn holders(&mut self, keys: &BTreeSet<ResourceKey>) -> Holders {
        let mut rest = keys.clone();
        let mut all = Holders::new();
        for worker in &mut self.list {
            let own: BTreeSet<_> = rest.iter().filter(|key| worker.serves(key)).cloned().collect();
            if own.is_empty() {
                continue;
            }
            rest.retain(|key| !own.contains(key));
            let asked = own.clone();
            let work = move |provider: &mut dyn Provider| provider.holders(&asked);
            match worker.ask(Doing::Searching, nothing, work) {
                Ok(found) => all.extend(found),
                Err(_silent) => {
                    let silent = |key| worker.silence().map(|error| (key, Err(error)));
                    all.extend(own.into_iter().filter_map(silent));
                }
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
        let (own, sha256) = (key.clone(), *sha256);
        let work = move |provider: &mut dyn Provider| provider.contents(&own, &sha256);
        self.of(key)?.ask(Doing::Reading, nothing, work)?
    }

    /// Keeps this value of the key, so that it can be brought back; `false`: it is not kept.
    pub(crate) fn keep(&mut self, key: &ResourceKey, value: &Value) -> Result<bool, ProviderError> {
        let (own, value) = (key.clone(), value.clone());
        self.of(key)?.ask(Doing::Keeping, nothing, move |provider| provider.keep(&own, &value))?
    }

    /// Makes what was kept last. What a silent provider keeps is promised to nobody.
    pub(crate) fn sync_kept(&mut self) -> Result<(), ProviderError> {
        let answering = self.list.iter_mut().filter(|worker| worker.silence().is_none());
        let mut synced =
            answering.map(|worker| worker.ask(Doing::Keeping, nothing, |p| p.sync_kept()));
        synced.try_for_each(|synced| synced?)
    }

    /// Digests whose contents stay kept.
    pub(crate) fn need(&mut self, digests: &BTreeSet<[u8; 32]>) {
        for worker in &mut self.list {
            let digests = digests.clone();
            let work = move |provider: &mut dyn Provider| provider.need(&digests);
            // Before each scan: it is said again with the next.
            let _unheard = worker.ask(Doing::Keeping, nothing, work);
        }
    }

    /// What differs from the baselines, of each provider as many keys as this. A provider that fails, or says nothing, does
    /// not hide what the others find.
    pub(super) fn scan(&mut self, limit: usize) -> (Vec<Scanned>, Vec<ProviderError>) {
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        for worker in &mut self.list {
            let work = move |provider: &mut dyn Provider| {
                let mut scanned = Scanned::default();
                let done = provider.scan(&mut |one| match scanned.found.len() < limit {
                    true => scanned.found.push(one),
                    false => scanned.beyond += 1,
                });
                (scanned, done)
            };
            let late = |(scanned, done): (Scanned, Result<(), ProviderError>)| {
                if let Err(error) = done {
                    let cause = causes(&error);
                    tracing::warn!(cause, "not everything could be looked at: {error}");
                }
                Late::Scanned(scanned)
            };
            match worker.ask(Doing::Scanning, late, work) {
                Ok((scanned, done)) => {
                    all.push(scanned);
                    errors.extend(done.err());
                }
                Err(error) => errors.push(error),
            }
        }
        (all, errors)
    }

    /// Which keys to watch closely.
    pub(crate) fn declare(&mut self, keys: &BTreeSet<ResourceKey>) {
        for worker in &mut self.list {
            let own: BTreeSet<_> = keys.iter().filter(|key| worker.serves(key)).cloned().collect();
            let work = move |provider: &mut dyn Provider| provider.declare(&own);
            let done = worker.ask(Doing::Watching, nothing, work);
            if let Err(error) = done.and_then(|done| done) {
                tracing::warn!(
                    cause = causes(&error),
                    "declared keys are not watched closely: {error}"
                );
            }
        }
    }

    /// Which keys are nobody's business.
    pub(crate) fn ignore(&mut self, patterns: &KeyPatterns) {
        for worker in &mut self.list {
            let patterns = patterns.clone();
            let work = move |provider: &mut dyn Provider| provider.ignore(&patterns);
            // A provider that is back is told again.
            let _unheard = worker.ask(Doing::Watching, nothing, work);
        }
    }

    /// Keys that may have changed; `Rescan` when one provider wants it.
    pub(crate) fn poll(&mut self) -> Poll {
        let mut all = BTreeSet::new();
        let mut is_overflown = false;
        for worker in &mut self.list {
            let late = |polled: Result<Poll, _>| Late::Polled(polled.unwrap_or(Poll::Rescan));
            let polled = worker.ask(Doing::Watching, late, |provider| provider.poll());
            match polled.and_then(|polled| polled) {
                Ok(Poll::Changed(keys)) => all.extend(keys),
                Ok(Poll::Rescan) => is_overflown = true,
                Err(ProviderError::Silent { .. }) => {}
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
        let ready = self.list.iter().map(Worker::readiness);
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
        let next = |worker: &Worker| match worker.silence() {
            Some(_) => Some(SILENCE_INTERVAL),
            None => worker.next_poll(),
        };
        self.list.iter().filter_map(next).min()
    }
}

/// A late answer that nobody needs: who looks, looks again.
fn nothing<T>(_late: T) -> Late {
    Late::Nothing
}

#[cfg(test)]
mod tests {
    use pact_runtime::Timestamp;
    use pact_schemas::resource::{Dimension, Kind};

    use super::*;
    use crate::provider::NoContents;

    #[test]
    fn a_kind_that_no_provider_serves_is_not_under_watch_and_says_so() {
        let (clock, _hand) = Clock::manual(Timestamp::from_unix_nanos(0));
        let mut providers = Providers::new(Vec::new(), &clock).unwrap();
        let key = ResourceKey::new(Kind::Service, "chronyd").unwrap();
        let (scanned, errors) = providers.scan(1);
        assert_eq!((scanned.len(), errors.len()), (0, 0));
        assert_eq!(providers.baseline(&key).unwrap(), None);
        assert!(matches!(
            providers.read(&key),
            Err(ProviderError::Unimplemented { dimension: Dimension::Services })
        ));
        let wish = Wish { key: &key, observed: &Value::Absent, want: &Value::Absent };
        let refused = providers.apply_first(&[wish], NoContents).remove(0).unwrap_err();
        assert_eq!(refused.to_wire().code, "PACT_UNIMPLEMENTED");
        let held = providers.holders(&BTreeSet::from([key.clone()]));
        assert!(matches!(held[&key], Err(ProviderError::Unimplemented { .. })));
        assert_eq!(providers.poll(), Poll::Changed(Vec::new()));
    }
}

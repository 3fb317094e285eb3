//! Which provider answers for which key, each on a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use pact_runtime::{Clock, causes};
use pact_schemas::resource::{KeyPatterns, Kind, ResourceKey, Value};

use super::core::compare;
use super::core::set::MAX_ITEMS;
use super::worker::{Patience, Silence, Worker};
use crate::provider::{Contents, Found, Holders, Poll, Provider, ProviderError, Wish};

/// How soon to look whether a provider answers again.
const SILENT_POLL: Duration = Duration::from_secs(1);

/// All providers of the node, one for each kind of key.
pub(crate) struct Providers {
    list: Vec<Worker>,
    patience: Patience,
    ready: Vec<OwnedFd>,
}

/// What a scan found, without what is nobody's business.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// In key order; of many, one more than can be decided on.
    pub(crate) found: BTreeMap<ResourceKey, Found>,
    /// How many there were.
    pub(crate) differing: usize,
    /// Why not everything could be looked at.
    pub(crate) errors: Vec<ProviderError>,
}

impl Scanned {
    fn take(&mut self, one: Found) {
        self.differing += 1;
        // One more than fits is enough to know that there are too many.
        if self.found.len() <= MAX_ITEMS {
            self.found.insert(one.key.clone(), one);
        }
    }

    fn add(&mut self, other: Self) {
        let omitted = other.differing - other.found.len();
        other.found.into_values().for_each(|one| self.take(one));
        self.differing += omitted;
        self.errors.extend(other.errors);
    }
}

/// One key that is to be made so, for the provider's thread.
struct Wished {
    key: ResourceKey,
    observed: Value,
    want: Value,
}

impl Wished {
    fn of(wish: &Wish<'_>) -> Self {
        let (observed, want) = (wish.observed.clone(), wish.want.clone());
        Self { key: wish.key.clone(), observed, want }
    }

    fn wish(&self) -> Wish<'_> {
        Wish { key: &self.key, observed: &self.observed, want: &self.want }
    }
}

impl Providers {
    /// These providers, each with its thread; of two with the same kind the first answers.
    pub(crate) fn start(
        list: Vec<Box<dyn Provider>>,
        clock: &Clock,
        patience: Patience,
    ) -> io::Result<Self> {
        let ready = list.iter().filter_map(|provider| match provider.readiness() {
            Ok(ready) => ready,
            Err(error) => {
                tracing::error!(%error, "changes are found by looking only, not when they happen");
                None
            }
        });
        let ready = ready.collect();
        let list = list.into_iter().map(|provider| Worker::start(provider, clock.clone()));
        Ok(Self { list: list.collect::<io::Result<_>>()?, patience, ready })
    }

    fn of(&mut self, key: &ResourceKey) -> Result<&mut Worker, ProviderError> {
        let kind: Kind = key.kind();
        let found = self.list.iter_mut().find(|worker| worker.kinds().contains(&kind));
        found.ok_or(ProviderError::Unimplemented { dimension: key.dimension() })
    }

    /// The dimensions that do not answer.
    pub(crate) fn silent(&self) -> impl Iterator<Item = Silence> {
        self.list.iter().filter_map(Worker::silence)
    }

    /// Whether a provider answers again: what it was told meanwhile did not reach it.
    pub(crate) fn has_come_back(&mut self) -> bool {
        self.list.iter_mut().fold(false, |any, worker| worker.has_come_back() | any)
    }

    /// Has the provider of this key look at something, and waits for its answer.
    fn look<T: Send + 'static>(
        &mut self,
        doing: &'static str,
        key: &ResourceKey,
        work: impl FnOnce(&mut dyn Provider, &ResourceKey) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let (patience, own) = (self.patience.look, key.clone());
        self.of(key)?.ask(doing, patience, move |provider| work(provider, &own))?
    }

    /// The actual value.
    pub(crate) fn read(&mut self, key: &ResourceKey) -> Result<Value, ProviderError> {
        self.look("reading", key, |provider, key| provider.read(key))
    }

    /// Whether what is satisfies what is wanted.
    pub(crate) fn satisfies(
        &mut self,
        key: &ResourceKey,
        want: &Value,
        actual: &Value,
    ) -> Result<bool, ProviderError> {
        if compare::matches(want, actual) {
            return Ok(true);
        }
        let (want, actual) = (want.clone(), actual.clone());
        let asked = self.look("comparing", key, move |provider, key| {
            Ok(provider.satisfies(key, &want, &actual))
        });
        match asked {
            Err(ProviderError::Unimplemented { .. }) => Ok(false),
            asked => asked,
        }
    }

    /// What an undeclared key should be.
    pub(crate) fn baseline(&mut self, key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        match self.look("reading the baseline", key, |provider, key| provider.baseline(key)) {
            // Nothing is under watch there.
            Err(ProviderError::Unimplemented { .. }) => Ok(None),
            answer => answer,
        }
    }

    /// Makes another value what an undeclared key should be.
    pub(crate) fn rebase(&mut self, key: &ResourceKey, value: &Value) -> Result<(), ProviderError> {
        let value = value.clone();
        self.look("changing the baseline", key, move |provider, key| provider.rebase(key, &value))
    }

    /// Makes the first of these keys so, those that still are what was observed: answers of the first wishes.
    pub(crate) fn apply_first(
        &mut self,
        wishes: &[Wish<'_>],
        contents: impl Contents + Send + 'static,
    ) -> Vec<Result<(), ProviderError>> {
        let Some(first) = wishes.first() else { return Vec::new() };
        let patience = self.patience.change;
        let worker = match self.of(first.key) {
            Ok(worker) => worker,
            Err(error) => return vec![Err(error)],
        };
        let kinds = worker.kinds();
        let own = wishes.iter().take_while(|wish| kinds.contains(&wish.key.kind()));
        let own: Vec<Wished> = own.map(Wished::of).collect();
        let made = worker.ask("changing", patience, move |provider| {
            let wishes: Vec<Wish<'_>> = own.iter().map(Wished::wish).collect();
            provider.apply_first(&wishes, &contents)
        });
        made.unwrap_or_else(|error| vec![Err(error)])
    }

    /// Removes what an interrupted change of these keys has left beside them.
    pub(crate) fn clean_up(&mut self, keys: &BTreeSet<ResourceKey>) {
        let keys = keys.clone();
        self.tell("cleaning up", move |provider| provider.clean_up(&own(provider, &keys)));
    }

    /// Tells every provider something; one that is silent is told again when it is back.
    fn tell(
        &mut self,
        doing: &'static str,
        work: impl Fn(&mut dyn Provider) + Clone + Send + 'static,
    ) {
        for worker in &mut self.list {
            if let Err(error) = worker.ask(doing, self.patience.look, work.clone()) {
                tracing::debug!("{error}");
            }
        }
    }

    /// Who uses these keys: one search of each provider.
    pub(crate) fn holders(&mut self, keys: &BTreeSet<ResourceKey>) -> Holders {
        let mut rest = keys.clone();
        let mut all = Holders::new();
        for worker in &mut self.list {
            let kinds = worker.kinds();
            let own: BTreeSet<_> =
                rest.iter().filter(|key| kinds.contains(&key.kind())).cloned().collect();
            if own.is_empty() {
                continue;
            }
            rest.retain(|key| !own.contains(key));
            let asked = own.clone();
            let looking = "looking for who uses it";
            match worker.ask(looking, self.patience.look, move |provider| provider.holders(&asked))
            {
                Ok(found) => all.extend(found),
                Err(ProviderError::Silent { dimension, doing, lasts }) => {
                    let silent =
                        |key| (key, Err(ProviderError::Silent { dimension, doing, lasts }));
                    all.extend(own.into_iter().map(silent));
                }
                Err(_) => {} // the worker has no other error of its own; a key without an answer is not free
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
        let sha256 = *sha256;
        self.look("reading contents", key, move |provider, key| provider.contents(key, &sha256))
    }

    /// Keeps this value of the key, so that it can be brought back; `false`: it is not kept.
    pub(crate) fn keep(&mut self, key: &ResourceKey, value: &Value) -> Result<bool, ProviderError> {
        let value = value.clone();
        self.look("keeping", key, move |provider, key| provider.keep(key, &value))
    }

    /// Makes what was kept last. A silent provider has kept nothing that anybody was told of.
    pub(crate) fn sync_kept(&mut self) -> Result<(), ProviderError> {
        for worker in self.list.iter_mut().filter(|worker| worker.silence().is_none()) {
            worker.ask("syncing", self.patience.change, |provider| provider.sync_kept())??;
        }
        Ok(())
    }

    /// Digests whose contents stay kept.
    pub(crate) fn need(&mut self, digests: BTreeSet<[u8; 32]>) {
        self.tell("noting what is needed", move |provider| provider.need(&digests));
    }

    /// Everything that differs from the baselines, and is not to be left out; all providers at once. One that fails or does not
    /// answer in time does not hide what the others find; what it finds later is taken by the next scan.
    pub(crate) fn scan(
        &mut self,
        is_left_out: impl Fn(&ResourceKey) -> bool + Clone + Send + 'static,
    ) -> Scanned {
        let mut all = Scanned::default();
        let mut begun = Vec::new();
        for worker in &mut self.list {
            if let Some(late) = worker.late::<Scanned>() {
                all.add(late);
                continue;
            }
            let is_left_out = is_left_out.clone();
            let work = move |provider: &mut dyn Provider| {
                let mut scanned = Scanned::default();
                let looked = provider.scan(&mut |one| {
                    if !is_left_out(&one.key) {
                        scanned.take(one);
                    }
                });
                scanned.errors.extend(looked.err());
                scanned
            };
            match worker.begin("looking at everything", work) {
                Ok(()) => begun.push(worker),
                Err(error) => all.errors.push(error),
            }
        }
        for worker in begun {
            match worker.answer::<Scanned>(self.patience.scan) {
                Ok(scanned) => all.add(scanned),
                Err(error) => all.errors.push(error),
            }
        }
        // Of a late scan: what is left out may be other keys by now.
        all.found.retain(|key, _| !is_left_out(key));
        all
    }

    /// Which keys to watch closely.
    pub(crate) fn declare(&mut self, keys: BTreeSet<ResourceKey>) {
        self.tell("noting what is declared", move |provider| {
            if let Err(error) = provider.declare(&own(provider, &keys)) {
                tracing::warn!(
                    cause = causes(&error),
                    "declared keys are not watched closely: {error}"
                );
            }
        });
    }

    /// Which keys are nobody's business.
    pub(crate) fn ignore(&mut self, patterns: &KeyPatterns) {
        let patterns = patterns.clone();
        self.tell("noting what is ignored", move |provider| provider.ignore(&patterns));
    }

    /// Keys that may have changed; `Rescan` when one provider wants it.
    pub(crate) fn poll(&mut self) -> Poll {
        let mut all = BTreeSet::new();
        let mut is_overflown = false;
        for worker in &mut self.list {
            let polled = worker.ask("polling", self.patience.look, |provider| provider.poll());
            match polled.and_then(|polled| polled) {
                Ok(Poll::Changed(keys)) => all.extend(keys),
                Ok(Poll::Rescan) => is_overflown = true,
                Err(ProviderError::Silent { .. }) => {} // everything is looked at when it is back
                Err(error) => {
                    tracing::warn!(cause = causes(&error), "changes may be missed: {error}");
                    is_overflown = true;
                }
            }
        }
        if is_overflown { Poll::Rescan } else { Poll::Changed(all.into_iter().collect()) }
    }

    /// Descriptors that become readable when something changed; once.
    pub(crate) fn readiness(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.ready)
    }

    /// In which time to poll at the latest.
    pub(crate) fn next_poll(&self) -> Option<Duration> {
        let next = |worker: &Worker| match worker.silence() {
            Some(_) => Some(SILENT_POLL),
            None => worker.next_poll(),
        };
        self.list.iter().filter_map(next).min()
    }
}

/// Of these keys, those of this provider.
fn own(provider: &dyn Provider, keys: &BTreeSet<ResourceKey>) -> BTreeSet<ResourceKey> {
    let kinds = provider.kinds();
    keys.iter().filter(|key| kinds.contains(&key.kind())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use pact_schemas::resource::Dimension;

    use super::*;
    use crate::provider::NoContents;

    #[test]
    fn a_kind_that_no_provider_serves_is_not_under_watch_and_says_so() {
        let mut providers =
            Providers::start(Vec::new(), &Clock::system(), Patience::default()).unwrap();
        let key = ResourceKey::new(Kind::Service, "chronyd").unwrap();
        let scanned = providers.scan(|_| false);
        assert!(scanned.found.is_empty() && scanned.errors.is_empty());
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

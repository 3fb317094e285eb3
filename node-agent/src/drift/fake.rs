//! A provider that is a map, and reports that are a list: for tests of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pact_schemas::resource::{KeyPatterns, Kind, ResourceKey, Value};
use pact_schemas::v1::node_event::Body;

use super::report::Reports;
use crate::provider::{
    Contents, Found, Hold, Holder, Holders, Poll, Provider, ProviderError, Wish,
};
use crate::spool::SpoolError;

/// Where the agent dies: at one of the moments between two of its steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Steps {
    left: Arc<Mutex<Option<usize>>>,
}

impl Steps {
    /// It dies after this many more steps.
    pub(super) fn die_after(&self, steps: usize) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(steps);
    }

    /// It lives.
    pub(super) fn live(&self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// One step is over.
    pub(super) fn step(&self) {
        let is_over = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            match left.as_mut() {
                None => false,
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
            }
        };
        if is_over {
            // No hook: a death that is meant needs no message.
            std::panic::resume_unwind(Box::new("the agent dies here"));
        }
    }
}

/// The node that a fake provider shows.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) actual: BTreeMap<ResourceKey, Value>,
    pub(super) baseline: BTreeMap<ResourceKey, Value>,
    pub(super) held: BTreeSet<ResourceKey>,
    pub(super) refused: BTreeSet<ResourceKey>,
    /// The disk fails: nothing is written.
    pub(super) is_broken: bool,
    pub(super) steps: Steps,
    /// Keys that are made so at once; fewer than two: one.
    pub(super) at_once: usize,
    /// Keys that were cleaned up beside.
    pub(super) cleaned: BTreeSet<ResourceKey>,
    /// Nobody can say who holds what.
    pub(super) unsearched: bool,
    /// What somebody makes of a key between the look at it and the writing of it.
    pub(super) edited: BTreeMap<ResourceKey, Value>,
    /// Values that the node has no room to keep.
    pub(super) unkept: BTreeSet<ResourceKey>,
    /// What was kept is not on disk.
    pub(super) is_kept_lost: bool,
    changed: BTreeSet<ResourceKey>,
    pub(super) applied: Vec<ResourceKey>,
}

/// A handle of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Fake {
    node: Arc<Mutex<Node>>,
}

impl Fake {
    pub(super) fn node(&self) -> MutexGuard<'_, Node> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was there when the agent was installed.
    pub(super) fn was(&self, key: &str, value: i64) {
        let key: ResourceKey = key.parse().unwrap();
        let mut node = self.node();
        node.actual.insert(key.clone(), Value::Integer(value));
        node.baseline.insert(key, Value::Integer(value));
    }

    /// Somebody changes something.
    pub(super) fn set(&self, key: &str, value: i64) {
        let key: ResourceKey = key.parse().unwrap();
        let mut node = self.node();
        node.actual.insert(key.clone(), Value::Integer(value));
        node.changed.insert(key);
    }

    /// Somebody changes something, and nothing tells of it.
    pub(super) fn slip(&self, key: &str, value: i64) {
        self.node().actual.insert(key.parse().unwrap(), Value::Integer(value));
    }

    pub(super) fn get(&self, key: &str) -> i64 {
        match self.node().actual.get(&key.parse().unwrap()) {
            Some(Value::Integer(value)) => *value,
            other => panic!("{key}: {other:?}"),
        }
    }

    pub(super) fn hold(&self, key: &str, is_held: bool) {
        let key = key.parse().unwrap();
        if is_held {
            self.node().held.insert(key);
        } else {
            self.node().held.remove(&key);
        }
    }
}

impl Provider for Fake {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Sysctl, Kind::Mount, Kind::File, Kind::Net, Kind::Service, Kind::Package]
    }

    fn scan(&mut self, found: &mut dyn FnMut(Found)) -> Result<(), ProviderError> {
        let node = self.node();
        for (key, old) in &node.baseline {
            let new = node.actual.get(key).cloned().unwrap_or(Value::Absent);
            if new != *old {
                found(Found { key: key.clone(), old: old.clone(), new });
            }
        }
        Ok(())
    }

    fn read(&mut self, key: &ResourceKey) -> Result<Value, ProviderError> {
        Ok(self.node().actual.get(key).cloned().unwrap_or(Value::Absent))
    }

    fn baseline(&mut self, key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        Ok(self.node().baseline.get(key).cloned())
    }

    fn rebase(&mut self, key: &ResourceKey, value: &Value) -> Result<(), ProviderError> {
        self.node().baseline.insert(key.clone(), value.clone());
        Ok(())
    }

    fn apply(
        &mut self,
        key: &ResourceKey,
        observed: &Value,
        want: &Value,
        _contents: &dyn Contents,
    ) -> Result<(), ProviderError> {
        let mut node = self.node();
        if let Some(value) = node.edited.remove(key) {
            node.actual.insert(key.clone(), value);
        }
        if node.actual.get(key).unwrap_or(&Value::Absent) != observed {
            return Err(ProviderError::Changed { key: key.clone() });
        }
        if node.refused.contains(key) {
            return Err(ProviderError::NotRestorable { key: key.clone(), why: "refused" });
        }
        if node.is_broken {
            let source = std::io::Error::from_raw_os_error(nix::libc::EIO);
            return Err(ProviderError::Io { what: "write", path: "/disk".into(), source });
        }
        node.steps.step();
        node.actual.insert(key.clone(), want.clone());
        node.applied.push(key.clone());
        Ok(())
    }

    fn apply_first(
        &mut self,
        wishes: &[Wish<'_>],
        contents: &dyn Contents,
    ) -> Vec<Result<(), ProviderError>> {
        let at_once = self.node().at_once.max(1);
        let first = wishes.iter().take(at_once);
        first.map(|wish| self.apply(wish.key, wish.observed, wish.want, contents)).collect()
    }

    fn clean_up(&mut self, keys: &BTreeSet<ResourceKey>) {
        self.node().cleaned.extend(keys.iter().cloned());
    }

    fn holders(&mut self, keys: &BTreeSet<ResourceKey>) -> Holders {
        let node = self.node();
        let holder = || Holder { pid: 42, name: "vim".to_owned(), how: Hold::Open };
        let of = |key: &ResourceKey| match node.unsearched {
            true => Err(ProviderError::HoldersUnknown {
                key: key.clone(),
                within: Duration::from_secs(2),
            }),
            false => Ok(node.held.contains(key).then(holder).into_iter().collect()),
        };
        keys.iter().map(|key| (key.clone(), of(key))).collect()
    }

    fn contents(
        &mut self,
        _key: &ResourceKey,
        _sha256: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, ProviderError> {
        Ok(None)
    }

    fn keep(&mut self, key: &ResourceKey, _value: &Value) -> Result<bool, ProviderError> {
        Ok(!self.node().unkept.contains(key))
    }

    fn sync_kept(&mut self) -> Result<(), ProviderError> {
        if self.node().is_kept_lost {
            let source = std::io::Error::from_raw_os_error(nix::libc::EIO);
            return Err(ProviderError::Io { what: "sync", path: "/disk".into(), source });
        }
        Ok(())
    }

    fn declare(&mut self, _keys: &BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        Ok(())
    }

    fn ignore(&mut self, _patterns: &KeyPatterns) {}

    fn poll(&mut self) -> Result<Poll, ProviderError> {
        let changed = std::mem::take(&mut self.node().changed);
        Ok(Poll::Changed(changed.into_iter().collect()))
    }
}

/// A provider of modules that does not return from a call for an hour, or until it is let go on.
#[derive(Debug, Clone, Default)]
pub(super) struct Hanging {
    pub(super) node: Fake,
    /// In which call.
    at: Arc<(Mutex<Option<&'static str>>, Condvar)>,
}

impl Hanging {
    /// From now on it hangs in this call; `None`: in none, and it goes on where it hung.
    pub(super) fn hang(&self, at: Option<&'static str>) {
        *self.at.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
        self.at.1.notify_all();
    }

    fn pass(&self, call: &'static str) {
        let at = self.at.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hour = Duration::from_secs(3600);
        drop(self.at.1.wait_timeout_while(at, hour, |at| *at == Some(call)));
    }
}

impl Provider for Hanging {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Module]
    }

    fn scan(&mut self, found: &mut dyn FnMut(Found)) -> Result<(), ProviderError> {
        self.pass("scan");
        self.node.scan(found)
    }

    fn read(&mut self, key: &ResourceKey) -> Result<Value, ProviderError> {
        self.pass("read");
        self.node.read(key)
    }

    fn baseline(&mut self, key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        self.node.baseline(key)
    }

    fn rebase(&mut self, key: &ResourceKey, value: &Value) -> Result<(), ProviderError> {
        self.node.rebase(key, value)
    }

    fn apply(
        &mut self,
        key: &ResourceKey,
        observed: &Value,
        want: &Value,
        contents: &dyn Contents,
    ) -> Result<(), ProviderError> {
        self.pass("apply");
        self.node.apply(key, observed, want, contents)
    }

    fn holders(&mut self, keys: &BTreeSet<ResourceKey>) -> Holders {
        self.node.holders(keys)
    }

    fn contents(
        &mut self,
        _key: &ResourceKey,
        _sha256: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, ProviderError> {
        Ok(None)
    }

    fn declare(&mut self, _keys: &BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        Ok(())
    }

    fn ignore(&mut self, _patterns: &KeyPatterns) {}

    fn poll(&mut self) -> Result<Poll, ProviderError> {
        self.pass("poll");
        self.node.poll()
    }
}

/// Events in a list that outlives the engine.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    events: Arc<Mutex<Vec<Body>>>,
    is_full: Arc<Mutex<bool>>,
    pub(super) steps: Steps,
}

impl Told {
    pub(super) fn events(&self) -> Vec<Body> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses events, and new work, while set.
    pub(super) fn fill(&self, is_full: bool) {
        *self.is_full.lock().unwrap_or_else(PoisonError::into_inner) = is_full;
    }
}

impl Reports for Told {
    fn report(&mut self, body: Body) -> Result<(), SpoolError> {
        self.check_room()?;
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        self.steps.step();
        Ok(())
    }

    fn head(&self) -> u64 {
        self.events().len() as u64
    }

    fn since(&mut self, number: u64) -> Result<Vec<Body>, SpoolError> {
        Ok(self.events().split_off(usize::try_from(number).unwrap()))
    }

    fn check_room(&mut self) -> Result<(), SpoolError> {
        let is_full = *self.is_full.lock().unwrap_or_else(PoisonError::into_inner);
        if is_full { Err(SpoolError::Full { bytes: 1, limit: 1 }) } else { Ok(()) }
    }
}

//! The `kernel` dimension: parameters (`sysctl/…`) and modules (`module/…`).
//!
//! The kernel notifies of neither. Declared keys and the list of modules are read at each poll, all parameters in a
//! sweep of small slices every five minutes. The baseline holds parameters that somebody may write and that do not
//! change by themselves (`sysctl`); one that appears later, with an interface or a module, joins it as it is, and one
//! that vanishes leaves it: neither is drift.
//!
//! A parameter is never held; a module is by what the kernel counts. Where `/proc/sys` is read-only, this observes only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::resource::{Dimension, KeyPatterns, Kind, ResourceKey, Value};

use super::secret::NodeKey;
use super::{Contents, Found, Holders, Poll, Provider, ProviderError};
use crate::durable;
use module::Modules;
use state::{Baseline, State};
use sweep::Sweep;
use sysctl::Setting;

mod module;
mod state;
mod sweep;
mod sysctl;

/// What the kernel provider needs to know.
#[derive(Debug)]
pub(crate) struct Options {
    /// `/proc`, but for tests.
    pub(crate) proc: PathBuf,
    /// `/lib/modules/<release>`, but for tests.
    pub(crate) modules: PathBuf,
    /// `/sbin/modprobe`, but for tests.
    pub(crate) modprobe: PathBuf,
    /// Whose values never leave the node, whatever their mode.
    pub(crate) secret: KeyPatterns,
    /// What is not under watch.
    pub(crate) ignored: KeyPatterns,
    /// The provider's own folder (`<state>/kernel`, made 0700): the baseline and the key.
    pub(crate) folder: PathBuf,
    /// Time.
    pub(crate) clock: Clock,
}

/// How often declared keys and the list of modules are read when nobody asks more often.
const NEAR_INTERVAL: Duration = Duration::from_secs(10);
/// And at most how often, when somebody does.
const NEAR_PAUSE: Duration = Duration::from_secs(1);
/// Between the ends of two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);
/// Between two slices of a sweep.
const SLICE_PAUSE: Duration = Duration::from_millis(500);
/// Domain of keyed digests, with its NUL.
const DOMAIN: &[u8] = b"pact.v1.withheld.sysctl\0";

/// The provider of parameters and modules.
pub(crate) struct Kernel {
    root: PathBuf,
    modules: Modules,
    release: String,
    state: State,
    key: NodeKey,
    secret: KeyPatterns,
    ignored: KeyPatterns,
    not_settings: KeyPatterns,
    clock: Clock,
    /// Last told values of what is declared, and of what differs from the baseline.
    declared: BTreeMap<ResourceKey, Option<Value>>,
    differing: BTreeMap<ResourceKey, Value>,
    loaded: BTreeSet<Box<str>>,
    near_at: Duration,
    sweep: Sweep,
}

impl Kernel {
    /// Opens what is in the folder. Nothing is watched before the first scan.
    pub(crate) fn open(options: Options) -> Result<Self, ProviderError> {
        let Options { proc, modules, modprobe, secret, ignored, folder, clock } = options;
        durable::private_folder(&folder)
            .map_err(|error| ProviderError::io("make", &folder, error))?;
        let root = proc.join("sys");
        let release = sysctl::read(&root.join("kernel/osrelease"));
        let release = release.ok().flatten().map(|setting| setting.value).unwrap_or_default();
        Ok(Self {
            modules: Modules::new(&proc, &modules, modprobe, clock.clone()),
            state: State::open(&folder, &release)?,
            key: NodeKey::open(&folder.join("key"), &clock)?,
            not_settings: sysctl::not_settings(),
            declared: BTreeMap::new(),
            differing: BTreeMap::new(),
            loaded: BTreeSet::new(),
            near_at: Duration::ZERO,
            sweep: Sweep::idle(clock.monotonic() + SWEEP_INTERVAL),
            root,
            release,
            secret,
            ignored,
            clock,
        })
    }

    fn watches(&self, key: &ResourceKey) -> bool {
        !self.ignored.matches(key) && !self.not_settings.matches(key)
    }

    fn value(&self, key: &ResourceKey, setting: &Setting) -> Value {
        if setting.is_shut || self.secret.matches(key) {
            Value::Withheld(self.digest(key, &setting.value))
        } else {
            Value::Text(setting.value.clone())
        }
    }

    /// The baseline's value, withheld as the present one is.
    fn value_before(&self, key: &ResourceKey, before: &str, now: &Setting) -> Value {
        self.value(key, &Setting { value: before.to_owned(), is_shut: now.is_shut })
    }

    fn digest(&self, key: &ResourceKey, value: &str) -> [u8; 32] {
        self.key.digest(DOMAIN, &[key.as_str().as_bytes(), b"\0", value.as_bytes()])
    }

    fn setting(&self, key: &ResourceKey) -> Result<Option<Setting>, ProviderError> {
        let wrong = || ProviderError::WrongKey { key: key.clone() };
        let path = sysctl::path_of(&self.root, key).ok_or_else(wrong)?;
        sysctl::read(&path).map_err(|error| ProviderError::io("read", path, error))
    }

    /// The text that a wanted value stands for.
    fn wanted(&self, key: &ResourceKey, want: &Value) -> Result<String, ProviderError> {
        match want {
            Value::Text(text) => Ok(sysctl::fold(text)),
            Value::Integer(number) => Ok(number.to_string()),
            Value::Withheld(digest) => {
                let baseline = self.state.baseline.as_ref();
                let kept = baseline.and_then(|baseline| baseline.sysctl.get(key.name()));
                kept.filter(|kept| self.digest(key, kept) == *digest)
                    .map(|kept| kept.to_string())
                    .ok_or_else(|| ProviderError::NotRestorable {
                        key: key.clone(),
                        why: "what its keyed digest stands for is not kept on this node",
                    })
            }
            Value::Absent => Err(ProviderError::NotRestorable {
                key: key.clone(),
                why: "a kernel parameter cannot be removed",
            }),
            _ => Err(ProviderError::WrongValue { key: key.clone() }),
        }
    }

    fn apply_setting(
        &mut self,
        key: &ResourceKey,
        observed: &Value,
        want: &Value,
    ) -> Result<(), ProviderError> {
        let now = self.setting(key)?;
        if matches!((want, &now), (Value::Absent, None)) {
            return Ok(());
        }
        let wanted = self.wanted(key, want)?;
        if matches!(&now, Some(now) if now.value == wanted) {
            return Ok(());
        }
        let actual = now.map_or(Value::Absent, |now| self.value(key, &now));
        if actual != *observed {
            return Err(ProviderError::Changed { key: key.clone() });
        }
        let wrong = || ProviderError::WrongKey { key: key.clone() };
        let path = sysctl::path_of(&self.root, key).ok_or_else(wrong)?;
        sysctl::write(key, &path, &wanted)
    }

    fn is_loaded(&self, name: &str) -> Result<bool, ProviderError> {
        Ok(self.modules.is_builtin(name) || self.modules.loaded()?.contains_key(name))
    }

    fn apply_module(
        &mut self,
        key: &ResourceKey,
        observed: &Value,
        want: &Value,
    ) -> Result<(), ProviderError> {
        let name = key.name();
        let wanted = match want {
            Value::Boolean(wanted) => *wanted,
            Value::Absent => false,
            _ => return Err(ProviderError::WrongValue { key: key.clone() }),
        };
        let is_loaded = self.is_loaded(name)?;
        if is_loaded == wanted {
            return Ok(());
        }
        if module_value(is_loaded) != *observed {
            return Err(ProviderError::Changed { key: key.clone() });
        }
        if wanted {
            self.modules.load(name)?;
        } else if self.modules.is_builtin(name) {
            let why = "it is built into the kernel";
            return Err(ProviderError::NotRestorable { key: key.clone(), why });
        } else {
            self.modules.unload(name)?;
        }
        if self.is_loaded(name)? == wanted {
            Ok(())
        } else {
            Err(ProviderError::Refused { key: key.clone(), source: None })
        }
    }

    /// What the key should be, if it is under watch.
    fn before(&self, key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        let Some(baseline) = self.state.baseline.as_ref().filter(|_| self.watches(key)) else {
            return Ok(None);
        };
        if key.kind() == Kind::Module {
            let was_loaded = baseline.modules.contains(key.name());
            return Ok(Some(module_value(was_loaded || self.modules.is_builtin(key.name()))));
        }
        let Some(before) = baseline.sysctl.get(key.name()) else { return Ok(None) };
        let is_shut = self.setting(key)?.is_some_and(|now| now.is_shut);
        Ok(Some(self.value_before(key, before, &Setting { value: String::new(), is_shut })))
    }

    /// Reads every parameter and module. `told` gets what differs from the baseline, key, before, now.
    fn take_all(&mut self) -> Result<(Baseline, Vec<Found>), ProviderError> {
        let mut taken = Baseline::of(&self.release);
        let mut found = Vec::new();
        let has_baseline = self.state.baseline.is_some();
        let known = self.state.baseline.clone().unwrap_or_default();
        let mut sweep = Sweep::begun();
        while let Some(key) = sweep.next(&self.root) {
            let Ok(Some(now)) = self.setting(&key) else { continue };
            if !self.watches(&key) {
                continue;
            }
            let value = known.sysctl.get(key.name()).cloned();
            if let Some(before) = &value
                && **before != *now.value
            {
                let (old, new) = (self.value_before(&key, before, &now), self.value(&key, &now));
                found.push(Found { key: key.clone(), old, new });
            }
            // What is new joins as it is.
            taken.sysctl.insert(key.name().into(), value.unwrap_or_else(|| now.value.into()));
        }
        self.loaded = self.modules.loaded()?.into_keys().map(String::into).collect();
        taken.modules = if has_baseline { known.modules } else { self.loaded.clone() };
        for name in taken.modules.symmetric_difference(&self.loaded) {
            let Ok(key) = ResourceKey::new(Kind::Module, name) else { continue };
            if self.watches(&key) && !self.modules.is_builtin(name) {
                let is_loaded = self.loaded.contains(name);
                let (old, new) = (module_value(!is_loaded), module_value(is_loaded));
                found.push(Found { key, old, new });
            }
        }
        Ok((taken, found))
    }

    fn near(&mut self, changed: &mut BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        let now: BTreeSet<Box<str>> =
            self.modules.loaded()?.into_keys().map(String::into).collect();
        for name in now.symmetric_difference(&self.loaded) {
            let key = ResourceKey::new(Kind::Module, name).ok();
            changed.extend(key.filter(|key| self.watches(key)));
        }
        self.loaded = now;
        let mut declared = std::mem::take(&mut self.declared);
        for (key, told) in &mut declared {
            // A parameter that cannot be read now is told when it can be.
            let Ok(value) = self.read(key) else { continue };
            if told.as_ref() != Some(&value) {
                *told = Some(value);
                changed.insert(key.clone());
            }
        }
        self.declared = declared;
        Ok(())
    }

    fn slice(&mut self, changed: &mut BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        let started = self.clock.monotonic();
        let mut is_new = Vec::new();
        for _ in 0..sweep::SLICE_KEYS {
            let Some(key) = self.sweep.next(&self.root) else {
                self.sweep = Sweep::idle(self.clock.monotonic() + SWEEP_INTERVAL);
                break;
            };
            self.compare(key, changed, &mut is_new);
            if self.clock.monotonic().saturating_sub(started) >= sweep::SLICE_TIME {
                break;
            }
        }
        if is_new.is_empty() {
            return Ok(());
        }
        let mut baseline = self.state.baseline.clone().unwrap_or_default();
        baseline.sysctl.extend(is_new);
        self.state.set(baseline)
    }

    /// Holds one parameter against the baseline, and against what was told of it.
    fn compare(
        &mut self,
        key: ResourceKey,
        changed: &mut BTreeSet<ResourceKey>,
        is_new: &mut Vec<(Box<str>, Box<str>)>,
    ) {
        let Some(baseline) = self.state.baseline.as_ref().filter(|_| self.watches(&key)) else {
            return;
        };
        let Ok(Some(now)) = self.setting(&key) else { return };
        let Some(before) = baseline.sysctl.get(key.name()) else {
            is_new.push((key.name().into(), now.value.into()));
            return;
        };
        let is_told = if **before == *now.value {
            self.differing.remove(&key).is_none()
        } else {
            let value = self.value(&key, &now);
            self.differing.insert(key.clone(), value.clone()) == Some(value)
        };
        if !is_told {
            changed.insert(key);
        }
    }
}

const fn module_value(is_loaded: bool) -> Value {
    if is_loaded { Value::Boolean(true) } else { Value::Absent }
}

impl Provider for Kernel {
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Sysctl, Kind::Module]
    }

    fn scan(&mut self, found: &mut dyn FnMut(Found)) -> Result<(), ProviderError> {
        let (taken, all) = self.take_all()?;
        if self.state.baseline.as_ref().is_none_or(|known| !taken.is_same(known)) {
            self.state.set(taken)?;
        }
        self.differing = all.iter().map(|one| (one.key.clone(), one.new.clone())).collect();
        self.sweep = Sweep::idle(self.clock.monotonic() + SWEEP_INTERVAL);
        all.into_iter().for_each(found);
        Ok(())
    }

    fn read(&mut self, key: &ResourceKey) -> Result<Value, ProviderError> {
        match key.kind() {
            Kind::Sysctl => {
                let setting = self.setting(key)?;
                Ok(setting.map_or(Value::Absent, |setting| self.value(key, &setting)))
            }
            Kind::Module => Ok(module_value(self.is_loaded(key.name())?)),
            _ => Err(ProviderError::WrongKey { key: key.clone() }),
        }
    }

    fn satisfies(&mut self, key: &ResourceKey, want: &Value, actual: &Value) -> bool {
        if want == actual {
            return true;
        }
        match (want, actual) {
            (Value::Boolean(false), Value::Absent) => true,
            (Value::Text(_) | Value::Integer(_), Value::Text(actual)) => {
                self.wanted(key, want).is_ok_and(|want| want == *actual)
            }
            (Value::Text(_) | Value::Integer(_), Value::Withheld(digest)) => {
                self.wanted(key, want).is_ok_and(|want| self.digest(key, &want) == *digest)
            }
            _ => false,
        }
    }

    fn baseline(&mut self, key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        self.before(key)
    }

    fn rebase(&mut self, key: &ResourceKey, value: &Value) -> Result<(), ProviderError> {
        let mut baseline =
            self.state.baseline.clone().unwrap_or_else(|| Baseline::of(&self.release));
        let name: Box<str> = key.name().into();
        match (key.kind(), value) {
            (Kind::Module, Value::Boolean(true)) => {
                baseline.modules.insert(name);
            }
            (Kind::Module, Value::Boolean(false) | Value::Absent) => {
                baseline.modules.remove(&name);
            }
            (Kind::Sysctl, Value::Absent) => {
                baseline.sysctl.remove(&name);
            }
            (Kind::Sysctl, _) => {
                let now = self.setting(key)?;
                let is_now = now.filter(|now| self.value(key, now) == *value);
                let text = is_now.map_or_else(|| self.wanted(key, value), |now| Ok(now.value))?;
                baseline.sysctl.insert(name, text.into());
            }
            _ => return Err(ProviderError::WrongValue { key: key.clone() }),
        }
        self.state.set(baseline)
    }

    fn apply(
        &mut self,
        key: &ResourceKey,
        observed: &Value,
        want: &Value,
        _contents: &dyn Contents,
    ) -> Result<(), ProviderError> {
        match key.kind() {
            Kind::Sysctl => self.apply_setting(key, observed, want),
            Kind::Module => self.apply_module(key, observed, want),
            _ => Err(ProviderError::WrongKey { key: key.clone() }),
        }
    }

    fn holders(&mut self, keys: &BTreeSet<ResourceKey>) -> Holders {
        let mut loaded = None;
        let mut of = |key: &ResourceKey| match key.kind() {
            Kind::Sysctl => Ok(Vec::new()),
            Kind::Module => {
                // Read once, for the first module that is asked for.
                let known = match loaded.take() {
                    Some(known) => known,
                    None => self.modules.loaded()?,
                };
                let known = loaded.insert(known);
                Ok(known.get(key.name()).map_or_else(Vec::new, module::Loaded::holders))
            }
            _ => Err(ProviderError::WrongKey { key: key.clone() }),
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

    /// Nothing is kept but the baseline: what users cannot read comes back only from there.
    fn keep(&mut self, key: &ResourceKey, value: &Value) -> Result<bool, ProviderError> {
        Ok(!matches!(value, Value::Withheld(_)) || self.wanted(key, value).is_ok())
    }

    fn declare(&mut self, keys: &BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        let mut known = std::mem::take(&mut self.declared);
        let mut declared = BTreeMap::new();
        for key in keys.iter().filter(|key| key.dimension() == Dimension::Kernel) {
            // What is newly declared is read now; the drift task reads it as well, so it is no news later.
            let told = known.remove(key).unwrap_or_else(|| self.read(key).ok());
            declared.insert(key.clone(), told);
        }
        self.declared = declared;
        Ok(())
    }

    fn ignore(&mut self, patterns: &KeyPatterns) {
        self.ignored = patterns.clone();
    }

    fn poll(&mut self) -> Result<Poll, ProviderError> {
        let now = self.clock.monotonic();
        let mut changed = BTreeSet::new();
        if now >= self.near_at {
            self.near_at = now + NEAR_PAUSE;
            self.near(&mut changed)?;
        }
        if self.sweep.is_due(now) {
            self.slice(&mut changed)?;
            self.sweep.pause_until(now + SLICE_PAUSE);
        }
        Ok(Poll::Changed(changed.into_iter().collect()))
    }

    fn next_poll(&self) -> Option<Duration> {
        Some(NEAR_INTERVAL.min(self.sweep.due_in(self.clock.monotonic())))
    }
}

#[cfg(test)]
mod tests;

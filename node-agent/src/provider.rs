//! What is on the node: one provider per dimension finds, changes and restores it.
//!
//! A provider knows the actual value of its keys, the *baseline* (what undeclared keys under watch should be), and how
//! to make a value so. It knows nothing of declarations' origin, windows or policy: the drift task asks and decides.
//! What its kinds of keys can is data (`abilities`): whoever asks that data knows no kind by name.
//!
//! How a provider is driven
//! - All calls come from one thread that may block. `scan` once at the start, again after [`Poll::Rescan`], and about
//!   once an hour, for what no notification tells (writes through a shared mapping or from another host).
//! - [`Provider::readiness`] gives a descriptor that is readable when `poll` has something; besides, `poll` wants to be
//!   called after [`Provider::next_poll`].
//! - [`Poll::Changed`] names keys that may have changed; `read` tells. What a provider itself applied shows up as well.
//! - `satisfies`, not `==`, compares what is wanted with what is.
//! - `keep` before a value is promised to be restorable, for every file of a capture and for a key's `base`; then
//!   `sync_kept`, before anybody is told. `need` before each `scan`: what it names stays kept.
//! - `holders` for all keys of an undo at once, shortly before they are written; `apply` then takes what was observed
//!   along, and changes nothing that is not that any more. `apply_first` where there are several, until none is left.
//! - `clean_up` at the start, with the keys of what was interrupted.
//!
//! Invariants, as absences: nothing here follows a link out of the roots, nothing deletes the only copy of a file, no
//! contents that an unprivileged user could not read leave through a `Value` or through `contents`; nothing is written
//! to a file system that is not the one that was observed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use pact_schemas::resource::{KeyPatterns, Kind, ResourceKey, Value};

pub(crate) mod abilities;
mod error;
pub(crate) mod files;
pub(crate) mod kernel;
mod secret;
mod table;

use abilities::Abilities;
pub(crate) use error::ProviderError;

/// The kinds of keys that this agent observes.
static BUILT: [&Abilities; 3] = [&files::FILE, &kernel::MODULE, &kernel::SYSCTL];

/// What the kinds can that this agent observes.
pub(crate) fn built() -> impl Iterator<Item = &'static Abilities> {
    BUILT.into_iter()
}

/// What keys of this kind can; `None`: this agent does not observe them yet.
pub(crate) fn abilities_of(kind: Kind) -> Option<&'static Abilities> {
    built().find(|abilities| abilities.kind == kind)
}

/// Largest contents that are kept, sent and restored; larger files are known by their digest only.
pub(crate) const MAX_CONTENTS_BYTES: u64 = pact_schemas::resource::MAX_CONTENT_BYTES;

/// The way to the actual state of one dimension. Synchronous: called on a thread that may block.
pub(crate) trait Provider: Send {
    /// The kinds of keys it answers for.
    fn kinds(&self) -> &'static [Kind];

    /// Everything under watch that differs from the baseline now (a full scan); takes the baseline when there is none.
    fn scan(&mut self, found: &mut dyn FnMut(Found)) -> Result<(), ProviderError>;

    /// The actual value of one key now. A key that is not under watch is read as well.
    fn read(&mut self, key: &ResourceKey) -> Result<Value, ProviderError>;

    /// Whether `actual`, as `read` gave it, is what is wanted. Not plain equality: a file declared with mode 0600 reads
    /// as [`Value::Withheld`], and only the provider can tell that it is the declared one.
    fn satisfies(&mut self, _key: &ResourceKey, want: &Value, actual: &Value) -> bool {
        want == actual
    }

    /// What an undeclared key should be: the baseline value, [`Value::Absent`] for what was not there; `None`: not
    /// under watch.
    fn baseline(&mut self, key: &ResourceKey) -> Result<Option<Value>, ProviderError>;

    /// The baseline becomes this value.
    #[allow(dead_code, reason = "the baseline changes by commit alone: the engine asks for none")]
    fn rebase(&mut self, key: &ResourceKey, value: &Value) -> Result<(), ProviderError>;

    /// Makes it so, atomically for each key; `contents` gives the bytes of a file by SHA-256. Doing it again is harmless.
    ///
    /// `observed` is what the key was when this was decided: a key that is neither that nor what is wanted is left as it
    /// is ([`ProviderError::Changed`]). What is replaced or removed is kept first, or nothing is done.
    fn apply(
        &mut self,
        key: &ResourceKey,
        observed: &Value,
        want: &Value,
        contents: &dyn Contents,
    ) -> Result<(), ProviderError>;

    /// Makes the first of these keys so, as many as go at once, each of them as [`Provider::apply`] does. The answers are of
    /// the first wishes, in their order; the others are to be asked for again. At least one, for at least one wish.
    fn apply_first(
        &mut self,
        wishes: &[Wish<'_>],
        contents: &dyn Contents,
    ) -> Vec<Result<(), ProviderError>> {
        let first = wishes.first();
        first
            .map(|wish| self.apply(wish.key, wish.observed, wish.want, contents))
            .into_iter()
            .collect()
    }

    /// Removes what a change of these keys that was interrupted has left beside them, and is nobody's any more.
    fn clean_up(&mut self, _keys: &BTreeSet<ResourceKey>) {}

    /// Who uses each of these keys now: one bounded search for all of them. Every key is in the answer.
    fn holders(&mut self, keys: &BTreeSet<ResourceKey>) -> Holders;

    /// Bytes of a file's present contents, if they have this digest, may leave the node and fit
    /// ([`MAX_CONTENTS_BYTES`]).
    fn contents(
        &mut self,
        key: &ResourceKey,
        sha256: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, ProviderError>;

    /// Keeps this value of the key on the node, root-only, so that `apply` can bring it back also when its contents may
    /// not leave the node. `false`: it is not kept (it does not fit, or the key is something else by now), so that
    /// `apply` may answer [`ProviderError::NotRestorable`]. Lasts after [`Provider::sync_kept`].
    fn keep(&mut self, _key: &ResourceKey, _value: &Value) -> Result<bool, ProviderError> {
        Ok(true)
    }

    /// Makes what was kept last, also after a power loss. Cheap when nothing was.
    fn sync_kept(&mut self) -> Result<(), ProviderError> {
        Ok(())
    }

    /// Digests that declared values, bases of declared keys and undecided drift refer to: their contents stay kept.
    /// Replaces the set of before.
    fn need(&mut self, _digests: &BTreeSet<[u8; 32]>) {}

    /// Which keys to watch closely: the declared ones. Replaces the set of before.
    fn declare(&mut self, keys: &BTreeSet<ResourceKey>) -> Result<(), ProviderError>;

    /// Which keys are not under watch. Replaces the list of before; scan again afterwards.
    fn ignore(&mut self, patterns: &KeyPatterns);

    /// Keys that may have changed since the last call. Never blocks.
    fn poll(&mut self) -> Result<Poll, ProviderError>;

    /// A descriptor that becomes readable when `poll` has something to tell; edge-triggered waiting is enough.
    fn readiness(&self) -> io::Result<Option<OwnedFd>> {
        Ok(None)
    }

    /// In which time `poll` wants to be called even if nothing becomes readable; `None`: it does not.
    fn next_poll(&self) -> Option<Duration> {
        None
    }
}

/// Keys that are asked for at once: what they hold open together is a fraction of what a process may.
pub(crate) const MAX_AT_ONCE: usize = 64;

/// One key that is to be made so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// Which.
    pub(crate) key: &'a ResourceKey,
    /// What it was when this was decided.
    pub(crate) observed: &'a Value,
    /// What it is to be.
    pub(crate) want: &'a Value,
}

/// A key that differs from its baseline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// Which.
    pub(crate) key: ResourceKey,
    /// The baseline's value.
    pub(crate) old: Value,
    /// The actual value.
    pub(crate) new: Value,
}

/// What happened since the last poll.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Poll {
    /// These keys may have changed; in key order, without repetition. Empty: nothing did.
    Changed(Vec<ResourceKey>),
    /// More happened than could be told: scan again.
    Rescan,
}

/// A process that uses a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Its process id; 0 for what is no process (a kernel module that uses another).
    pub(crate) pid: u32,
    /// Its name, as in `/proc/<pid>/comm`.
    pub(crate) name: String,
    /// How it uses it.
    pub(crate) how: Hold,
}

/// How a process uses a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    /// An open file descriptor.
    Open,
    /// Mapped into memory.
    Mapped,
    /// Its working directory.
    WorkingDirectory,
    /// Its root directory.
    Root,
    /// The program it runs.
    Program,
    /// A reference that the kernel counts (modules).
    Reference,
}

impl Hold {
    /// As it is shown and sent.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Mapped => "mapped",
            Self::WorkingDirectory => "cwd",
            Self::Root => "root",
            Self::Program => "exe",
            Self::Reference => "reference",
        }
    }
}

/// Who uses which key; an error: it could not be told.
pub(crate) type Holders = BTreeMap<ResourceKey, Result<Vec<Holder>, ProviderError>>;

/// Contents of files by their SHA-256.
pub(crate) trait Contents {
    /// The bytes with this digest; `None` when they are not at hand.
    fn get(&self, sha256: &[u8; 32]) -> Option<Vec<u8>>;
}

/// No contents at all: for what is restored from what the node keeps itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoContents;

impl Contents for NoContents {
    fn get(&self, _sha256: &[u8; 32]) -> Option<Vec<u8>> {
        None
    }
}

impl Contents for std::collections::BTreeMap<[u8; 32], Vec<u8>> {
    fn get(&self, sha256: &[u8; 32]) -> Option<Vec<u8>> {
        Self::get(self, sha256).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::abilities::Powers;
    use super::*;

    #[test]
    fn each_kind_has_one_place_and_what_is_not_built_has_none() {
        let known = Kind::ALL.into_iter().filter_map(abilities_of);
        assert_eq!(known.count(), built().count());
        assert!(abilities_of(Kind::Service).is_none());
    }

    #[test]
    fn what_is_in_a_tree_that_is_read_only_here_is_refused_by_name() {
        let powers = Powers { can_act: true, read_only: vec!["/proc/sys"] };
        let refusal = |powers: &Powers, kind| powers.refusal(abilities_of(kind).unwrap());
        for kind in [Kind::Sysctl, Kind::Module] {
            let refused = refusal(&powers, kind);
            assert_eq!(refused.as_deref(), Some("/proc/sys is read-only here"));
        }
        assert_eq!(refusal(&powers, Kind::File), None);
        let all = Powers { can_act: true, read_only: Vec::new() };
        assert_eq!(refusal(&all, Kind::Sysctl), None);
    }
}

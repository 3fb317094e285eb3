//! Which entries are wanted: the history of the configuration, or all that was recorded.

use crate::convert::{self, WireError};
use crate::v1::{Entry, EntryFilter, EntryKind};

/// Kinds that one filter may name.
const MAX_KINDS: usize = 64;

/// Longest subject of an author.
const MAX_SUBJECT_BYTES: usize = 512;

impl EntryKind {
    /// Whether an entry of this kind tells what changed. Readings do not, nor does what time alone brings.
    #[must_use]
    pub const fn is_change(self) -> bool {
        !matches!(self, Self::Accessed | Self::NodeRenewed)
    }
}

/// A checked filter.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    filter: EntryFilter,
    since_nanos: Option<i64>,
}

impl TryFrom<EntryFilter> for Wanted {
    type Error = WireError;

    fn try_from(filter: EntryFilter) -> Result<Self, WireError> {
        let bounds = |field, rule| Err(WireError::Bounds { field, rule });
        if filter.kinds.len() > MAX_KINDS {
            return bounds("EntryFilter.kinds", "may name 64 kinds");
        }
        for kind in &filter.kinds {
            convert::enumeration::<EntryKind>(*kind, "EntryFilter.kinds")?;
        }
        if filter.by.len() > MAX_SUBJECT_BYTES {
            return bounds("EntryFilter.by", "may have 512 bytes");
        }
        let since = filter.since.as_ref();
        let since = since.map(|since| convert::unix_nanos(Some(since), "EntryFilter.since"));
        Ok(Self { since_nanos: since.transpose()?, filter })
    }
}

impl Wanted {
    /// Whether an entry is wanted. One of a kind that this version does not know is a change.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        let EntryFilter { kinds, all, by, .. } = &self.filter;
        let is_of_kind = if kinds.is_empty() {
            *all || EntryKind::try_from(entry.kind).is_ok_and(EntryKind::is_change)
        } else {
            kinds.contains(&entry.kind)
        };
        let author = entry.author.as_ref().map_or("", |author| author.subject.as_str());
        is_of_kind && (by.is_empty() || author == by) && !self.is_before(entry)
    }

    /// Whether an entry, and so every older one, is too old.
    #[must_use]
    pub fn is_before(&self, entry: &Entry) -> bool {
        let Some(since) = self.since_nanos else { return false };
        convert::unix_nanos(entry.time.as_ref(), "Entry.time").is_ok_and(|time| time < since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Principal;

    fn entry(kind: EntryKind, by: &str, time_nanos: i64) -> Entry {
        Entry {
            kind: kind.into(),
            author: Some(Principal { subject: by.to_owned(), ..Principal::default() }),
            time: Some(convert::timestamp(time_nanos)),
            ..Entry::default()
        }
    }

    #[test]
    fn without_a_word_the_history_is_what_changed() {
        let read = entry(EntryKind::Accessed, "alice", 5);
        let renewed = entry(EntryKind::NodeRenewed, "pact-enroll", 5);
        let commit = entry(EntryKind::Commit, "alice", 5);
        let takes = |filter: EntryFilter| {
            let wanted = Wanted::try_from(filter).unwrap();
            [&read, &renewed, &commit].map(|entry| wanted.takes(entry))
        };
        let plain = EntryFilter::default();
        assert_eq!(takes(plain.clone()), [false, false, true]);
        assert_eq!(takes(EntryFilter { all: true, ..plain.clone() }), [true, true, true]);
        let kinds = vec![EntryKind::Accessed.into()];
        assert_eq!(takes(EntryFilter { kinds, ..plain.clone() }), [true, false, false]);
        let by = "pact-enroll".to_owned();
        assert_eq!(takes(EntryFilter { all: true, by, ..plain.clone() }), [false, true, false]);
        for (since, is_taken) in [(5, true), (6, false)] {
            let since = Some(convert::timestamp(since));
            assert_eq!(takes(EntryFilter { since, ..plain.clone() })[2], is_taken);
        }
    }

    #[test]
    fn unknown_kinds_and_endless_filters_are_refused() {
        for bad in [
            EntryFilter { kinds: vec![0], ..EntryFilter::default() },
            EntryFilter { kinds: vec![9_999], ..EntryFilter::default() },
            EntryFilter { kinds: vec![1; 65], ..EntryFilter::default() },
            EntryFilter { by: "a".repeat(513), ..EntryFilter::default() },
        ] {
            assert!(Wanted::try_from(bad.clone()).is_err(), "{bad:?}");
        }
    }
}

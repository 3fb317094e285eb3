//! Changes on their way between journal, nodes and clients.

use pact_journal_client::Journal;
use pact_schemas::resource::change_set::MAX_CHANGES;
use pact_schemas::v1::{Change, ChangeSet};
use pact_schemas::{ErrorCode, convert};
use prost::Message as _;

use crate::error::{Answer, bad_reply};

/// Changes that an answer lists in full; the rest is counted (gateway.proto).
pub(crate) const SHOWN_CHANGES: usize = 256;

/// Chunks of one change set: twenty thousand changes with attributes stay far below.
pub(crate) const MAX_CHUNKS: usize = 64;

/// The first changes, and how many there are besides.
pub(crate) fn shown(mut changes: Vec<Change>) -> (Vec<Change>, u32) {
    let omitted = u32::try_from(changes.len().saturating_sub(SHOWN_CHANGES)).unwrap_or(u32::MAX);
    changes.truncate(SHOWN_CHANGES);
    (changes, omitted)
}

/// As [`shown`], within so many bytes.
pub(crate) fn shown_within(changes: Vec<Change>, room: usize) -> (Vec<Change>, u32) {
    let (mut changes, omitted) = shown(changes);
    let mut bytes = 0;
    let mut fits = |change: &Change| {
        bytes += change.encoded_len();
        bytes <= room
    };
    let fitting = changes.iter().take_while(|change| fits(change)).count();
    let more = u32::try_from(changes.len() - fitting).unwrap_or(u32::MAX);
    changes.truncate(fitting);
    (changes, omitted.saturating_add(more))
}

/// All changes of a set; chunks are fetched.
pub(crate) async fn all(journal: &Journal, set: ChangeSet) -> Answer<Vec<Change>> {
    let changes = if set.chunks.is_empty() {
        set.changes
    } else if set.changes.is_empty() && set.chunks.len() <= MAX_CHUNKS {
        let mut bytes = Vec::new();
        for chunk in &set.chunks {
            bytes.extend(super::read::chunk(journal, chunk).await?);
        }
        let whole = ChangeSet::decode(bytes.as_slice())
            .map_err(|_| convert::WireError::Decode { what: "ChangeSet" })?;
        whole.changes
    } else {
        return Err(bad_reply("a node or the journal", "a change set is not as it has to be"));
    };
    if changes.len() > MAX_CHANGES {
        return Err(ErrorCode::TooLarge
            .error(format!("{} changes; at most {MAX_CHANGES} are carried", changes.len())));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_counted() {
        let (all, omitted) = shown(vec![Change::default(); SHOWN_CHANGES]);
        assert_eq!((all.len(), omitted), (SHOWN_CHANGES, 0));
        let (some, omitted) = shown(vec![Change::default(); SHOWN_CHANGES + 3]);
        assert_eq!((some.len(), omitted), (SHOWN_CHANGES, 3));
        let change = Change { key: "x".repeat(98), ..Change::default() };
        assert_eq!(change.encoded_len(), 100);
        let (some, omitted) = shown_within(vec![change; SHOWN_CHANGES + 3], 1_050);
        assert_eq!((some.len(), omitted), (10, 249));
    }
}

//! What one request to the journal may carry, and what becomes of records that do not fit or are refused.

use pact_journal_client::MAX_PROPOSALS;
use pact_schemas::v1::{self, action::Action as Act};
use pact_schemas::{ErrorCode, v1::Error};
use prost::Message as _;

use super::cut;

/// Encoded proposals in one request (journal_rpc.proto); under the largest payload of the bus.
pub(super) const MAX_REQUEST_BYTES: usize = 512 * 1024;

/// What the field of one proposal adds to it: its tag, and a length of at most 4 bytes.
const FIELD_BYTES: usize = 5;

/// Bytes that a proposal takes of a request.
pub(super) fn size(proposal: &v1::Proposal) -> usize {
    proposal.encoded_len() + FIELD_BYTES
}

/// Shortens the target of a record by at least `excess` bytes; `false`: it has no target that is so long.
///
/// The same record is always shortened to the same text.
pub(super) fn shorten(action: &mut v1::Action, excess: usize) -> bool {
    let target = match &mut action.action {
        Some(Act::RecordAccess(record)) => record.accessed.as_mut().map(|a| &mut a.target),
        Some(Act::RecordDenied(record)) => record.denied.as_mut().map(|d| &mut d.target),
        _ => None,
    };
    let Some(target) = target.filter(|target| target.len() >= excess) else { return false };
    *target = cut(target, target.len() - excess);
    true
}

/// What a request that failed as a whole says about its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// Nothing: the journal is away, full or has no leader.
    Away,
    /// One of them is not acceptable.
    Content,
    /// Perhaps something: trying fewer at once tells.
    Unclear,
}

impl Failed {
    pub(super) fn of(error: &Error) -> Self {
        match error.known_code() {
            ErrorCode::Timeout
            | ErrorCode::NoLeader
            | ErrorCode::NotLeader
            | ErrorCode::Unreachable
            | ErrorCode::Busy
            | ErrorCode::StorageFull => Self::Away,
            ErrorCode::TooLarge | ErrorCode::Malformed | ErrorCode::InvalidArgument => {
                Self::Content
            }
            _ => Self::Unclear,
        }
    }
}

/// How many records the next request carries at most: fewer after a failure that may be one record's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Most(usize);

impl Most {
    pub(super) const ALL: Self = Self(MAX_PROPOSALS);

    pub(super) const fn count(self) -> usize {
        self.0
    }

    /// After a request of so many failed.
    pub(super) fn fewer(sent: usize) -> Self {
        Self((sent / 2).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(target: &str) -> v1::Action {
        let denied = v1::Denied { target: target.into(), ..v1::Denied::default() };
        let record = v1::RecordDenied { denied: Some(denied), ..Default::default() };
        v1::Action { action: Some(Act::RecordDenied(record)) }
    }

    #[test]
    fn a_target_is_shortened_at_a_characters_edge_and_always_alike() {
        let mut action = denied("n1,n2,ä");
        assert!(shorten(&mut action, 1));
        assert_eq!(action, denied("n1,n2,"));
        assert!(shorten(&mut action, 6));
        assert_eq!(action, denied(""));
        assert!(!shorten(&mut action, 1), "there is nothing left");
        let mut other = v1::Action { action: Some(Act::PutBlob(v1::PutBlob::default())) };
        assert!(!shorten(&mut other, 0));
    }

    #[test]
    fn the_size_counts_all_that_a_request_holds() {
        let proposal = v1::Proposal { attestation: None, action: vec![7; 100_000] };
        for count in [1, 3] {
            let request = v1::ProposeRequest { proposals: vec![proposal.clone(); count] };
            assert!(request.encoded_len() <= count * size(&proposal));
        }
    }

    #[test]
    fn a_journal_that_is_away_says_nothing_about_records() {
        for code in [ErrorCode::NoLeader, ErrorCode::Timeout, ErrorCode::StorageFull] {
            assert_eq!(Failed::of(&code.error("x")), Failed::Away);
        }
        assert_eq!(Failed::of(&ErrorCode::TooLarge.error("x")), Failed::Content);
        assert_eq!(Failed::of(&ErrorCode::Internal.error("x")), Failed::Unclear);
    }

    #[test]
    fn halving_ends_at_one() {
        assert_eq!(Most::fewer(Most::ALL.count()).count(), MAX_PROPOSALS / 2);
        assert_eq!(Most::fewer(3).count(), 1);
        assert_eq!(Most::fewer(1).count(), 1);
    }
}

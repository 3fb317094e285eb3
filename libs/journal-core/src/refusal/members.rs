//! Why a change of the members is refused.

use pact_schemas::ErrorCode;

/// Why a change of the members is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MembersRefusal {
    #[error("the members of the journal are changed by a platform admin")]
    NotPlatformAdmin,
    #[error("the journal has not written down yet who its members are")]
    Unknown,
    #[error("another change of the members is under way: {what}, entry {seq}")]
    UnderWay { what: String, seq: u64 },
    #[error("{address:?} is no host and port")]
    Address { address: String },
    #[error("member {id} exists, at {address}")]
    Exists { id: u64, address: String },
    #[error("member {id} was removed by entry {seq}, and its number is never used again")]
    NumberUsed { id: u64, seq: u64 },
    #[error("{address} is the address of member {id}")]
    AddressTaken { id: u64, address: String },
    #[error("a journal has at most {limit} members")]
    TooMany { limit: usize },
    #[error("{limit} members have been removed from this journal, and no more can be")]
    TooManyRemoved { limit: usize },
    #[error("there is no member {id}")]
    NoMember { id: u64 },
    #[error("member {id} has been removed by entry {seq} already")]
    Removed { id: u64, seq: u64 },
    #[error("member {id} is the last one")]
    Last { id: u64 },
}

impl MembersRefusal {
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NotPlatformAdmin => ErrorCode::NotAuthorised,
            Self::Address { .. } => ErrorCode::InvalidArgument,
            Self::NoMember { .. } | Self::Removed { .. } => ErrorCode::NotFound,
            Self::TooMany { .. } | Self::TooManyRemoved { .. } => ErrorCode::TooLarge,
            Self::Unknown
            | Self::UnderWay { .. }
            | Self::Exists { .. }
            | Self::NumberUsed { .. }
            | Self::AddressTaken { .. }
            | Self::Last { .. } => ErrorCode::Conflict,
        }
    }

    pub(crate) fn next_step(&self) -> &'static str {
        match self {
            Self::NotPlatformAdmin => "ask a platform admin",
            Self::Unknown => "try again in a few seconds",
            Self::UnderWay { .. } => "look at `pact cluster` and try again when it has ended",
            Self::Address { .. } => "give host and port, as in journal-4.mgmt:9444",
            Self::Exists { .. } | Self::NumberUsed { .. } => {
                "give the new member a number that no member has had, with certificates for it from \
                 `pact-enroll bootstrap --add-member`"
            }
            Self::AddressTaken { .. } => "remove that member first, or give another address",
            Self::TooMany { .. } => "remove a member first",
            Self::NoMember { .. } | Self::Removed { .. } => "look at `pact cluster`",
            Self::Last { .. } => "add another member first",
            Self::TooManyRemoved { .. } => "",
        }
    }
}

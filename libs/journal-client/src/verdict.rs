//! How a failed attempt is judged.

use pact_bus::CallError;
use pact_schemas::{ErrorCode, v1};

/// What another attempt could change.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It will not get better.
    Final(v1::Error),
    /// Another attempt may succeed.
    Again(v1::Error),
    /// Nobody listens at all, or this service is not on the bus.
    Nobody(v1::Error),
}

impl Verdict {
    /// That one member is gone says nothing about the others.
    pub(crate) fn of_one_member(self) -> Self {
        match self {
            Self::Nobody(error) => Self::Again(error),
            verdict => verdict,
        }
    }
}

pub(crate) fn judge(error: CallError) -> Verdict {
    match error {
        CallError::NoResponders { .. } | CallError::Gone { .. } => {
            Verdict::Nobody(silent("no member of the journal is on the bus".to_owned()))
        }
        CallError::Disconnected => {
            Verdict::Nobody(silent("this service is not connected to the bus".to_owned()))
        }
        error @ (CallError::Timeout { .. } | CallError::Interrupted { .. }) => {
            Verdict::Again(silent(error.to_string()))
        }
        CallError::Service(error) => match error.known_code() {
            ErrorCode::NoLeader => Verdict::Again(no_leader()),
            ErrorCode::NotLeader
            | ErrorCode::Timeout
            | ErrorCode::Unreachable
            | ErrorCode::Busy => Verdict::Again(error),
            _ => Verdict::Final(error),
        },
        error => Verdict::Final(error.into()),
    }
}

fn silent(cause: String) -> v1::Error {
    ErrorCode::Timeout
        .error("the journal does not answer")
        .because(cause)
        .next("check that pact-journal and nats-server run: `pact health`")
}

pub(crate) fn no_leader() -> v1::Error {
    ErrorCode::NoLeader
        .error("the journal has no leader")
        .because("fewer than half of its members are up and reach each other")
        .next("see `pact cluster`, then the logs of pact-journal")
}

/// What a client is told: which member does not lead is no concern of theirs.
pub(crate) fn outward(error: v1::Error) -> v1::Error {
    if error.known_code() == ErrorCode::NotLeader { no_leader() } else { error }
}

/// An answer that breaks the contract.
pub(crate) fn bad_reply(what: &str) -> v1::Error {
    ErrorCode::Malformed
        .error(format!("the answer of pact-journal is not whole: {what}"))
        .next("use the same version of pact everywhere")
}

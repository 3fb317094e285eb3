//! What can go wrong on the bus.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pact_schemas::id::IdError;
use pact_schemas::{ErrorCode, v1};

/// What any error of async-nats becomes.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The bus cannot be set up, or a message not be handed to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// No address is configured.
    #[error("no address of the bus is configured")]
    NoUrls,
    /// The address cannot be parsed. It is not shown: it may hold a password.
    #[error("address {position} of the bus is not of the form tls://host:port")]
    InvalidUrl {
        /// Its place in the list, from 1.
        position: usize,
        /// What the parser says.
        #[source]
        source: Option<io::Error>,
    },
    /// The connection would be plain where that is not allowed.
    #[error(
        "refusing a plain connection to the bus at {host}; set the CA and use tls://, or use loopback in a development setup"
    )]
    PlaintextRefused {
        /// The host as configured.
        host: String,
    },
    /// The CA's file cannot be read or holds no certificate.
    #[error("cannot read a CA certificate for the bus from {path}", path = path.display())]
    Ca {
        /// The configured path.
        path: PathBuf,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The TLS library refuses what it was given.
    #[error("cannot set up TLS for the bus")]
    Tls(#[source] rustls::Error),
    /// The credentials file cannot be read or is none.
    #[error("cannot use the bus credentials in {path}", path = path.display())]
    Credentials {
        /// The configured path.
        path: PathBuf,
        /// Why; never the contents.
        #[source]
        source: io::Error,
    },
    /// The inbox prefix cannot begin a subject.
    #[error("{prefix:?} cannot be an inbox prefix")]
    InboxPrefix {
        /// As configured.
        prefix: String,
    },
    /// The first connection could not be prepared.
    #[error("cannot set up the connection to the bus")]
    Connect(#[source] BoxError),
    /// A method or service has a name that no subject can hold.
    #[error("cannot serve a method with this name")]
    Name(#[source] IdError),
    /// A method was declared twice.
    #[error("the method {method} of {pattern} is declared twice")]
    DuplicateMethod {
        /// The subscription.
        pattern: String,
        /// The method.
        method: String,
    },
    /// A service declares a call of another one.
    #[error("{method} is a call of {owner}, which {service} cannot answer")]
    ForeignMethod {
        /// Who declares it.
        service: String,
        /// Whose it is.
        owner: &'static str,
        /// The method.
        method: &'static str,
    },
    /// The services API refuses the registration.
    #[error("cannot register the service {service} on the bus")]
    Register {
        /// Its name.
        service: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The subscription could not be handed to the connection.
    #[error("cannot subscribe to {pattern}")]
    Subscribe {
        /// The subject with its wildcards.
        pattern: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The connection took no message.
    #[error("cannot publish on {subject}")]
    Publish {
        /// The subject.
        subject: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The message is larger than the bus carries.
    #[error("a message of {bytes} bytes on {subject} is over the limit of {limit}")]
    TooLarge {
        /// The subject.
        subject: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// There is no connection at this moment; nothing was sent.
    #[error("not connected to the bus")]
    Disconnected,
    /// There was no connection within this time.
    #[error("no connection to the bus within {} ms", after.as_millis())]
    NotConnected {
        /// The limit.
        after: Duration,
    },
}

/// Why a request has no answer, or which error is the answer. Its text is for users, so it names no subject; see
/// [`CallError::subject`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The other side answered with this error.
    #[error("{}: {}", .0.code, .0.message)]
    Service(v1::Error),
    /// Nobody listens on this subject; nothing was done.
    #[error("nobody answers")]
    NoResponders {
        /// The subject.
        subject: String,
    },
    /// No answer in time; the request may have been carried out.
    #[error("no answer within {} ms", after.as_millis())]
    Timeout {
        /// The subject.
        subject: String,
        /// The limit.
        after: Duration,
    },
    /// There is no connection; nothing was sent.
    #[error("not connected to the bus")]
    Disconnected,
    /// Whoever was asked has left the bus since, and nobody else listens; the request may have been carried out.
    #[error("whoever was asked has left the bus")]
    Gone {
        /// The subject.
        subject: String,
    },
    /// The connection broke while the answer was awaited; the request may have been carried out.
    #[error("the connection to the bus broke while the answer was awaited")]
    Interrupted {
        /// The subject.
        subject: String,
    },
    /// This process already waits for as many answers as it may.
    #[error("{limit} requests are waiting for answers already")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The request is larger than the bus carries; nothing was sent.
    #[error("a request of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// The subject.
        subject: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The answer does not decode or is not whole.
    #[error("the answer is malformed: {what}")]
    Malformed {
        /// The subject.
        subject: String,
        /// What is wrong with it.
        what: &'static str,
        /// What the decoder says.
        #[source]
        source: Option<prost::DecodeError>,
    },
}

impl CallError {
    /// Where the question was sent, for logs.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::NoResponders { subject }
            | Self::Timeout { subject, .. }
            | Self::Gone { subject }
            | Self::Interrupted { subject }
            | Self::TooLarge { subject, .. }
            | Self::Malformed { subject, .. } => Some(subject),
            Self::Service(_) | Self::Disconnected | Self::TooMany { .. } => None,
        }
    }

    /// Whether it is certain that nothing was carried out.
    #[must_use]
    pub fn nothing_done(&self) -> bool {
        matches!(
            self,
            Self::NoResponders { .. }
                | Self::Disconnected
                | Self::TooMany { .. }
                | Self::TooLarge { .. }
        )
    }
}

impl From<CallError> for v1::Error {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Service(error) => error,
            CallError::NoResponders { .. } => ErrorCode::Unreachable
                .error(message)
                .next("check that the service or agent runs and is connected to the bus"),
            CallError::Timeout { .. } => ErrorCode::Timeout
                .error(message)
                .next("look for the outcome with `pact log` before trying again"),
            CallError::Disconnected => ErrorCode::Unreachable
                .error(message)
                .next("check that nats-server runs; the connection is retried every second"),
            CallError::Gone { .. } | CallError::Interrupted { .. } => ErrorCode::Unreachable
                .error(message)
                .next("look for the outcome with `pact log` before trying again"),
            CallError::TooMany { .. } => ErrorCode::Busy.error(message).next("try again"),
            CallError::TooLarge { .. } => ErrorCode::TooLarge.error(message),
            CallError::Malformed { .. } => ErrorCode::Malformed.error(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_the_code_of_the_contract() {
        let subject = || "pact.v1.rpc.journal.entries".to_owned();
        let after = Duration::from_secs(1);
        let cases = [
            (CallError::NoResponders { subject: subject() }, ErrorCode::Unreachable, true),
            (CallError::Timeout { subject: subject(), after }, ErrorCode::Timeout, false),
            (CallError::Disconnected, ErrorCode::Unreachable, true),
            (CallError::Gone { subject: subject() }, ErrorCode::Unreachable, false),
            (CallError::Interrupted { subject: subject() }, ErrorCode::Unreachable, false),
            (CallError::Service(ErrorCode::Conflict.error("x")), ErrorCode::Conflict, false),
        ];
        for (error, code, nothing_done) in cases {
            assert_eq!(error.nothing_done(), nothing_done, "{error}");
            assert!(
                !error.to_string().contains("pact.v1"),
                "{error}: a subject says nothing to users"
            );
            assert_eq!(v1::Error::from(error).known_code(), code);
        }
    }
}

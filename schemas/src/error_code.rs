//! Symbolic error codes, the exit code of each (contracts §1), and the gRPC status
//! under which each travels.
//!
//! The codes are a contract: scripts match on them. A code is never renamed and
//! never changes its exit code.

use std::fmt;

use crate::v1;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, exit $exit:literal, $grpc:ident;)*) => {
        /// A stable symbolic error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of their exit codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as users see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The exit code of `pact` for this failure.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$variant => $exit,)* }
            }

            /// The gRPC status under which the gateway answers.
            #[must_use]
            pub const fn grpc(self) -> tonic::Code {
                match self { $(Self::$variant => tonic::Code::$grpc,)* }
            }

            /// The code with this text; `None` for texts of other versions.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// A defect of pact or of what it runs on.
    Internal = "PACT_INTERNAL", exit 1, Internal;
    /// An argument is missing, unknown or out of its bounds.
    InvalidArgument = "PACT_INVALID_ARGUMENT", exit 1, InvalidArgument;
    /// A specification does not parse or names what does not exist.
    InvalidSpec = "PACT_INVALID_SPEC", exit 1, InvalidArgument;
    /// A configuration file, variable or flag is wrong.
    InvalidConfig = "PACT_INVALID_CONFIG", exit 1, InvalidArgument;
    /// A message does not decode or is not whole.
    Malformed = "PACT_MALFORMED", exit 1, InvalidArgument;
    /// A message, list or file is over its bound.
    TooLarge = "PACT_TOO_LARGE", exit 1, ResourceExhausted;
    /// Part of pact's contract that is not built yet.
    Unimplemented = "PACT_UNIMPLEMENTED", exit 1, Unimplemented;
    /// An external system that is not configured.
    NotConfigured = "PACT_NOT_CONFIGURED", exit 1, FailedPrecondition;
    /// Nothing listens at the endpoint.
    ConnectionRefused = "PACT_CONNECTION_REFUSED", exit 1, Unavailable;
    /// The host name does not resolve.
    Dns = "PACT_DNS", exit 1, Unavailable;
    /// The other side's certificate was not accepted.
    Tls = "PACT_TLS", exit 1, Unavailable;
    /// A vCluster is needed and none was named.
    NoVcluster = "PACT_NO_VCLUSTER", exit 1, InvalidArgument;
    /// A node is needed and none was named.
    NoNode = "PACT_NO_NODE", exit 1, InvalidArgument;
    /// The disk of the journal is full; nothing was written.
    StorageFull = "PACT_STORAGE_FULL", exit 1, ResourceExhausted;
    /// The request id is older than the journal remembers, or from the future.
    RequestIdRefused = "PACT_REQUEST_ID_REFUSED", exit 1, FailedPrecondition;
    /// A signature, certificate or digest does not hold.
    BadSignature = "PACT_BAD_SIGNATURE", exit 1, PermissionDenied;
    /// The node's copy of the grant is for another node.
    GrantForOther = "PACT_GRANT_FOR_OTHER", exit 1, PermissionDenied;
    /// The grant was used before.
    GrantReplayed = "PACT_GRANT_REPLAYED", exit 1, PermissionDenied;
    /// The grant is too old to be started; use a new request id.
    GrantExpired = "PACT_GRANT_EXPIRED", exit 1, FailedPrecondition;
    /// The node has no signed time yet.
    ClockUnknown = "PACT_CLOCK_UNKNOWN", exit 1, FailedPrecondition;
    /// The node's spool is full; nothing new is started.
    SpoolFull = "PACT_SPOOL_FULL", exit 1, ResourceExhausted;
    /// An event came out of order; `expected_number` says what is next.
    SpoolGap = "PACT_SPOOL_GAP", exit 1, FailedPrecondition;

    /// No token, or one that is not accepted.
    Unauthenticated = "PACT_UNAUTHENTICATED", exit 2, Unauthenticated;
    /// The role table has no row for this role in this scope.
    NotAuthorised = "PACT_NOT_AUTHORISED", exit 2, PermissionDenied;
    /// The requester may not approve.
    SelfApproval = "PACT_SELF_APPROVAL", exit 2, PermissionDenied;

    /// A site rule or a vCluster setting says no.
    PolicyDenied = "PACT_POLICY_DENIED", exit 3, PermissionDenied;
    /// The commit window has expired.
    WindowExpired = "PACT_WINDOW_EXPIRED", exit 3, FailedPrecondition;

    /// Someone else changed the same thing since it was looked at.
    Conflict = "PACT_CONFLICT", exit 4, Aborted;
    /// First contact: another agent holds this identity and answers.
    AlreadyActive = "PACT_ALREADY_ACTIVE", exit 4, AlreadyExists;
    /// First contact: the hardware is not what was registered.
    HardwareIdentityConflict = "PACT_HARDWARE_IDENTITY_CONFLICT", exit 4, FailedPrecondition;
    /// The node is revoked.
    NodeRevoked = "PACT_NODE_REVOKED", exit 4, FailedPrecondition;

    /// The deadline passed.
    Timeout = "PACT_TIMEOUT", exit 5, DeadlineExceeded;
    /// The journal has no leader.
    NoLeader = "PACT_NO_LEADER", exit 5, Unavailable;
    /// Another member leads; `leader` says which, if known.
    NotLeader = "PACT_NOT_LEADER", exit 5, Unavailable;
    /// The node or service does not answer.
    Unreachable = "PACT_UNREACHABLE", exit 5, Unavailable;
    /// A queue is full; try again.
    Busy = "PACT_BUSY", exit 5, ResourceExhausted;
    /// Too many attempts; try again later.
    RateLimited = "PACT_RATE_LIMITED", exit 5, ResourceExhausted;

    /// The command is not on the node's list.
    NotWhitelisted = "PACT_NOT_WHITELISTED", exit 6, PermissionDenied;

    /// Some nodes succeeded, some did not.
    Partial = "PACT_PARTIAL", exit 7, Unknown;

    /// Waiting for another admin.
    ApprovalPending = "PACT_APPROVAL_PENDING", exit 8, FailedPrecondition;

    /// No such node, entry, approval, session, group or vCluster.
    NotFound = "PACT_NOT_FOUND", exit 9, NotFound;
    /// The node is not registered.
    NodeNotEnrolled = "PACT_NODE_NOT_ENROLLED", exit 9, NotFound;

    /// Active consumers hold the state; they are listed.
    RollbackFailed = "PACT_ROLLBACK_FAILED", exit 10, FailedPrecondition;

    /// `diff --exit-code` found drift.
    DriftFound = "PACT_DRIFT_FOUND", exit 11, Unknown;

    /// The remote command ended non-zero.
    RemoteFailed = "PACT_REMOTE_FAILED", exit 12, Unknown;
    /// Ctrl-C.
    Interrupted = "PACT_INTERRUPTED", exit 130, Cancelled;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ErrorCode {
    /// An error of this code: what happened.
    #[must_use]
    pub fn error(self, message: impl Into<String>) -> v1::Error {
        v1::Error {
            code: self.as_str().to_owned(),
            message: message.into(),
            ..v1::Error::default()
        }
    }
}

impl v1::Error {
    /// Adds why it happened.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn next(mut self, next_step: impl Into<String>) -> Self {
        self.next_step = next_step.into();
        self
    }

    /// Names the node concerned.
    #[must_use]
    pub fn on(mut self, node: &crate::NodeId) -> Self {
        self.node = node.as_str().to_owned();
        self
    }

    /// The code; texts that this version does not know are a defect of the peer.
    #[must_use]
    pub fn known_code(&self) -> ErrorCode {
        ErrorCode::parse(&self.code).unwrap_or(ErrorCode::Internal)
    }

    /// The gRPC status that carries this error in its details.
    #[must_use]
    pub fn into_status(self) -> tonic::Status {
        use prost::Message as _;
        let details = self.encode_to_vec();
        tonic::Status::with_details(self.known_code().grpc(), self.message, details.into())
    }

    /// The error in a status' details; `None` where the peer is not pact's gateway.
    #[must_use]
    pub fn from_status(status: &tonic::Status) -> Option<Self> {
        use prost::Message as _;
        let error = Self::decode(status.details()).ok()?;
        (!error.code.is_empty()).then_some(error)
    }
}

impl fmt::Display for v1::Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if self.cause.is_empty() { Ok(()) } else { write!(f, " ({})", self.cause) }
    }
}

impl std::error::Error for v1::Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_parse_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
        }
        assert_eq!(ErrorCode::parse("PACT_NO_SUCH_CODE"), None);
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let mut used: Vec<u8> = ErrorCode::ALL.iter().map(|c| c.exit_code()).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130]);
    }

    #[test]
    fn an_error_survives_a_grpc_status() {
        let error =
            ErrorCode::NotFound.error("no node x").because("it is not registered").next("look");
        let status = error.clone().into_status();
        assert_eq!(status.code(), tonic::Code::NotFound);
        assert_eq!(v1::Error::from_status(&status), Some(error));
        assert_eq!(v1::Error::from_status(&tonic::Status::internal("x")), None);
    }
}

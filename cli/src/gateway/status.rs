//! gRPC statuses as failures.

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;
use tonic::{Code, Status};

use crate::failure::Failure;

/// The failure that a status reports. pact's own errors travel in its details; a status without them
/// comes from something in between.
pub(crate) fn failure_of(status: &Status) -> Failure {
    if let Some(error) = v1::Error::from_status(status) {
        return error.into();
    }
    let code = match status.code() {
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::PermissionDenied => ErrorCode::NotAuthorised,
        Code::NotFound => ErrorCode::NotFound,
        Code::DeadlineExceeded => ErrorCode::Timeout,
        Code::Unimplemented => ErrorCode::Unimplemented,
        Code::Aborted | Code::AlreadyExists => ErrorCode::Conflict,
        Code::InvalidArgument | Code::OutOfRange => ErrorCode::InvalidArgument,
        Code::ResourceExhausted => ErrorCode::TooLarge,
        _ if is_connection_loss(status) => {
            return Failure::new(
                ErrorCode::ConnectionRefused,
                "the connection to the gateway was lost",
            )
            .because(status.message())
            .next("try again; if it persists, check the gateway's log");
        }
        _ => ErrorCode::Internal,
    };
    Failure::new(code, format!("the gateway answered: {}", status.message()))
        .because(format!("gRPC status {:?} without pact's details", status.code()))
        .next("check that the endpoint is a pact gateway of this version")
}

/// Whether the connection broke, as opposed to an answer of the gateway.
pub(crate) fn is_connection_loss(status: &Status) -> bool {
    status.details().is_empty()
        && matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
        )
        && (std::error::Error::source(status).is_some() || status.code() == Code::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_details_of_pact_decide_and_otherwise_the_grpc_code() {
        let denied = ErrorCode::PolicyDenied.error("policy: denied: no exec on Sundays");
        assert_eq!(failure_of(&denied.into_status()).exit_code(), 3);
        for (status, exit) in [
            (Status::unauthenticated("x"), 2),
            (Status::permission_denied("x"), 2),
            (Status::deadline_exceeded("x"), 5),
            (Status::not_found("x"), 9),
            (Status::aborted("x"), 4),
            (Status::unimplemented("x"), 1),
            (Status::unavailable("x"), 1),
            (Status::internal("x"), 1),
        ] {
            assert_eq!(failure_of(&status).exit_code(), exit, "{status:?}");
        }
    }

    #[test]
    fn an_answer_of_the_gateway_is_never_taken_for_a_lost_connection() {
        assert!(is_connection_loss(&Status::unavailable("broken pipe")));
        assert!(!is_connection_loss(&ErrorCode::NoLeader.error("no leader").into_status()));
        assert!(!is_connection_loss(&Status::internal("bug")));
    }
}

//! Failures, from where they happen to the gRPC status.

use pact_schemas::convert::WireError;
use pact_schemas::{ErrorCode, v1};

/// What every handler returns before it becomes a status.
pub type Answer<T> = Result<T, v1::Error>;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A certificate cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key is not there, or others can read it.
    #[error(transparent)]
    Secret(#[from] pact_runtime::SecretFileError),
    /// The signing certificate or key is not usable.
    #[error("the signing certificate of the gateway is not usable")]
    Signing(#[from] pact_identity::signing::SetupError),
    /// The signing certificate is for something else.
    #[error("the signing certificate is for {found}; the configuration says {expected}")]
    OtherName {
        /// Site and name in the certificate.
        found: String,
        /// Site and name in the configuration.
        expected: String,
    },
    /// Tokens cannot be verified.
    #[error("tokens cannot be verified")]
    Oidc(#[from] pact_identity::oidc::OidcError),
    /// The policy is not usable.
    #[error(transparent)]
    Policy(#[from] pact_policy::evaluator::StartError),
    /// The bus is not usable.
    #[error(transparent)]
    Bus(#[from] pact_bus::BusError),
    /// The port is not usable.
    #[error(transparent)]
    Listener(#[from] crate::door::listener::ListenError),
    /// The reflection data of this build is broken.
    #[error("the reflection data of this build is not usable")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A message of a client that is not whole: the client's fault, not another version of a service.
pub(crate) fn bad_request(error: WireError) -> v1::Error {
    ErrorCode::InvalidArgument
        .error(error.to_string())
        .next("check the command and the versions of pact")
}

/// A service's answer that is not whole.
pub(crate) fn bad_reply(service: &'static str, what: impl std::fmt::Display) -> v1::Error {
    ErrorCode::Malformed
        .error(format!("the answer of {service} is not whole: {what}"))
        .next("use the same version of pact everywhere")
}

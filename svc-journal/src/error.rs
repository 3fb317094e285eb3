//! Why the journal does not start.

use std::path::PathBuf;

use pact_bus::BusError;
use pact_identity::grant::IssueError;
use pact_identity::signing::SetupError;
use pact_runtime::SecretFileError;
use pact_schemas::SiteName;

use crate::raft::member::StartError;

/// Why the journal does not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file of the configuration.
    #[error("{path}, from the key {key}, cannot be read")]
    File {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key of the configuration.
    #[error("the key file of {key} is not used")]
    Secret {
        /// The configuration key.
        key: &'static str,
        /// Why.
        source: SecretFileError,
    },
    /// The site root or the grant certificate.
    #[error("the certificate of {key} cannot be used")]
    Certificate {
        /// The configuration key.
        key: &'static str,
        /// Why.
        source: SetupError,
    },
    /// A certificate of another site or member.
    #[error("the certificate of {key} is for {found}, this is {expected}")]
    Other {
        /// The configuration key.
        key: &'static str,
        /// Whom it names.
        found: String,
        /// Who this is.
        expected: String,
    },
    /// The grant certificate signs something else.
    #[error("the certificate of journal.grant.cert signs no grants")]
    Issuer(#[from] IssueError),
    /// The member itself.
    #[error("this member does not start")]
    Start(#[from] StartError),
    /// The bus.
    #[error("the bus cannot be used")]
    Bus(#[from] BusError),
}

impl BuildError {
    pub(crate) fn other_site(key: &'static str, found: &SiteName, expected: &SiteName) -> Self {
        Self::Other {
            key,
            found: format!("the site {found}"),
            expected: format!("the site {expected}"),
        }
    }
}

//! Why the agent does not start, or stops.

use std::io;
use std::path::PathBuf;

use pact_bus::BusError;
use pact_identity::signing::SetupError;

use crate::blobs::BlobError;
use crate::boot::NoBootId;
use crate::declared::CacheError;
use crate::drift::OpenError;
use crate::enrol::identity::IdentityError;
use crate::exec::{LedgerError, RecoveryError};
use crate::privileges::PrivilegeError;
use crate::spool::SpoolError;

/// Why the agent does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The trust anchors cannot be used.
    #[error("the site's roots in {} cannot be used (agent.journal.tls_ca)", path.display())]
    Anchors {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SetupError,
    },
    /// Another agent works in the same state folder.
    #[error("another agent works in {}", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Root without root's privileges.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// The boot id is not known.
    #[error(transparent)]
    Boot(#[from] NoBootId),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The recordings cannot be used.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// Used grants and running commands cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What a crash left cannot be settled.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Declared state cannot be kept.
    #[error(transparent)]
    Declared(#[from] CacheError),
    /// Drift cannot be watched.
    #[error(transparent)]
    Drift(#[from] OpenError),
    /// The node's identity cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The bus cannot be set up.
    #[error(transparent)]
    Bus(#[from] BusError),
}

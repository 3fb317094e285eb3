//! Why a provider did not do what it was asked, and what people are told of that.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pact_schemas::resource::{Dimension, ResourceKey};
use pact_schemas::{ErrorCode, v1};

/// Why a provider did not do what it was asked. Nothing was changed then, unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    /// The dimension has no provider yet.
    #[error("{dimension} are not observed by this agent yet")]
    Unimplemented {
        /// Which.
        dimension: Dimension,
    },
    /// The key belongs to another provider, or its name cannot be one of this provider's.
    #[error("{key} is no name of this provider")]
    WrongKey {
        /// Which.
        key: ResourceKey,
    },
    /// The value cannot be one of this key.
    #[error("{key} cannot have a value of this type")]
    WrongValue {
        /// Which.
        key: ResourceKey,
    },
    /// On another file system than the baseline, or in a root that is not there: neither judged nor changed.
    #[error("{key} is left alone: {at:?} {why}")]
    Elsewhere {
        /// Which.
        key: ResourceKey,
        /// The folder of which that is so.
        at: PathBuf,
        /// What is so.
        why: String,
    },
    /// Outside `[agent.observer] roots`: never changed.
    #[error("{key} is outside the roots that this node observes")]
    OutsideRoots {
        /// Which.
        key: ResourceKey,
    },
    /// The value is known, but its contents are nowhere, or it is of a kind that is never made.
    #[error("{key} cannot be restored: {why}")]
    NotRestorable {
        /// Which.
        key: ResourceKey,
        /// Why.
        why: &'static str,
    },
    /// Somebody changed it since it was observed.
    #[error("{key} is not what it was when this was decided: it stays as it is")]
    Changed {
        /// Which.
        key: ResourceKey,
    },
    /// Nobody can say who uses it: the search did not end in time.
    #[error("it could not be told within {} s who uses {key}", within.as_secs())]
    HoldersUnknown {
        /// Which.
        key: ResourceKey,
        /// How long it was searched.
        within: Duration,
    },
    /// The provider has not answered what it was asked: nothing else is asked of it before it does.
    #[error("{dimension}: no answer for {}s ({doing})", waited.as_secs())]
    Silent {
        /// Of which dimension.
        dimension: Dimension,
        /// What it was asked to do, as a participle.
        doing: &'static str,
        /// Since it was asked.
        waited: Duration,
    },
    /// A folder on the way is a link, or no folder.
    #[error("{key} is not reached by folders alone: {at:?} is none")]
    NotBeneath {
        /// Which.
        key: ResourceKey,
        /// The component that is no folder.
        at: PathBuf,
    },
    /// The folder has contents of its own.
    #[error("{key} is a folder that is not empty")]
    NotEmpty {
        /// Which.
        key: ResourceKey,
    },
    /// The quarantine cannot take what would be replaced or removed.
    #[error(
        "{key} is left as it is: the quarantine {folder:?} has no room for its {size_bytes} bytes"
    )]
    NoRoom {
        /// Which.
        key: ResourceKey,
        /// How large it is.
        size_bytes: u64,
        /// The quarantine.
        folder: PathBuf,
    },
    /// Somebody has opened it since it was searched for who uses it.
    #[error("{key} has just been opened by somebody")]
    InUse {
        /// Which.
        key: ResourceKey,
    },
    /// The file system is full (or over quota).
    #[error("no room on the file system of {path:?}")]
    DiskFull {
        /// Where.
        path: PathBuf,
    },
    /// Mounted read-only, or the kernel's tree is not writable here.
    #[error("{path:?} is read-only")]
    ReadOnly {
        /// Where.
        path: PathBuf,
    },
    /// No such user or group on this node.
    #[error("{key} is to belong to {name:?}, which this node does not know")]
    UnknownOwner {
        /// Which.
        key: ResourceKey,
        /// The name.
        name: String,
    },
    /// The kernel did not take the value.
    #[error("{key}: the kernel does not take this value")]
    Refused {
        /// Which.
        key: ResourceKey,
        /// Its reason, where it gave one; none: it was written and reads back differently.
        #[source]
        source: Option<io::Error>,
    },
    /// A program that does the work did not succeed.
    #[error("{program} did not succeed: {said}")]
    Program {
        /// Which.
        program: &'static str,
        /// The end of what it wrote, neutralised; or why it was not run.
        said: String,
    },
    /// A file of the agent is not what was written. Removing it makes the agent take a new baseline.
    #[error("{path:?} is damaged")]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {what} {path:?}")]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl ProviderError {
    /// A failed system call, under the variant that says most about it.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            _ => Self::Io { what, path, source },
        }
    }

    /// Whether undoing is put off until an admin or time has changed something, not wrong in itself.
    pub(crate) const fn is_deferred(&self) -> bool {
        matches!(
            self,
            Self::NotRestorable { .. }
                | Self::Changed { .. }
                | Self::HoldersUnknown { .. }
                | Self::Silent { .. }
                | Self::Elsewhere { .. }
                | Self::NotEmpty { .. }
                | Self::NoRoom { .. }
                | Self::InUse { .. }
                | Self::DiskFull { .. }
                | Self::ReadOnly { .. }
        )
    }

    /// The stable code that it travels under.
    pub(crate) const fn code(&self) -> ErrorCode {
        match self {
            Self::Unimplemented { .. } => ErrorCode::Unimplemented,
            Self::WrongKey { .. } | Self::WrongValue { .. } | Self::UnknownOwner { .. } => {
                ErrorCode::InvalidArgument
            }
            Self::Changed { .. } => ErrorCode::Conflict,
            Self::Silent { .. } => ErrorCode::Timeout,
            Self::OutsideRoots { .. }
            | Self::NotRestorable { .. }
            | Self::HoldersUnknown { .. }
            | Self::Elsewhere { .. }
            | Self::NotBeneath { .. }
            | Self::NotEmpty { .. }
            | Self::NoRoom { .. }
            | Self::InUse { .. }
            | Self::DiskFull { .. }
            | Self::ReadOnly { .. }
            | Self::Refused { .. }
            | Self::Program { .. } => ErrorCode::RollbackFailed,
            Self::Damaged { .. } | Self::Io { .. } => ErrorCode::Internal,
        }
    }

    /// The error for people: what happened, why, and what to do.
    pub(crate) fn to_wire(&self) -> v1::Error {
        let error = self.code().error(self.to_string()).next(self.next_step());
        match std::error::Error::source(self) {
            Some(source) => error.because(source.to_string()),
            None => error,
        }
    }

    const fn next_step(&self) -> &'static str {
        match self {
            Self::Unimplemented { .. } => "leave keys of this kind out",
            Self::WrongKey { .. } | Self::WrongValue { .. } => "correct the declaration",
            Self::OutsideRoots { .. } => "add the folder to [agent.observer] roots",
            Self::NotRestorable { .. } => "restore it by hand, or accept it with a commit",
            Self::Changed { .. } => {
                "look again with `pact diff`; in enforce mode it is tried again"
            }
            Self::HoldersUnknown { .. } | Self::Silent { .. } => {
                "look for processes in state D, and for a file system that does not answer"
            }
            Self::Elsewhere { .. } => {
                "mount what was there; if this is to stay, blacklist the folder and what is in it, lift that again, and commit what differs"
            }
            Self::NotBeneath { .. } => "declare the path without links",
            Self::NotEmpty { .. } => "empty the folder first",
            Self::NoRoom { .. } => {
                "look through the quarantine and remove files from it, or put this key right by hand"
            }
            Self::InUse { .. } => "end who uses it; in enforce mode it is tried again",
            Self::DiskFull { .. } => "make room on the node",
            Self::ReadOnly { .. } => "make it writable, or change it from outside",
            Self::UnknownOwner { .. } => "create the user or group on the node",
            Self::Refused { .. } => "look up which values the kernel takes",
            Self::Program { .. } => "run the program by hand to see more",
            Self::Damaged { .. } => "look for a failing disk; then remove the file",
            Self::Io { .. } => "see the agent's log",
        }
    }
}

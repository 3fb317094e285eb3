//! What can be wrong with a configuration, and where a value came from.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The schema.
    Default,
    /// A configuration file.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A command-line flag.
    Flag {
        /// Its name with dashes.
        flag: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "file {}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::Flag { flag } => write!(f, "flag {flag}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A file that cannot be read.
    #[error("cannot read the file {}: {kind}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        kind: io::ErrorKind,
    },
    /// A file beyond the size limit.
    #[error("the file {} is larger than {limit_bytes} bytes", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// Not TOML, or a key twice.
    #[error("{origin}: {message}")]
    Syntax {
        /// File and line.
        origin: Origin,
        /// What the parser says; it quotes nothing of the file.
        message: String,
    },
    /// A key, table or `--set` name that the schema does not have.
    #[error("{origin}: unknown key `{key}`{}", suggestion(nearest))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// Its dotted path.
        key: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A variable with the binary's prefix that the schema does not have.
    #[error("unknown environment variable {variable}{}", suggestion(nearest))]
    UnknownVariable {
        /// Its name.
        variable: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A value of the wrong type or out of bounds.
    #[error("{origin}: `{key}` cannot be {found}; accepted: {accepted}")]
    NotAccepted {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: String,
        /// The value, shortened; of a secret only its type.
        found: String,
        /// What would be accepted.
        accepted: String,
    },
    /// A value that is well-formed and makes no sense to the binary; see [`super::Loaded::reject`].
    #[error("{origin}: `{key}`: {reason}")]
    Rejected {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: String,
        /// Why, and what would be accepted.
        reason: String,
    },
    /// A required key that no layer sets.
    #[error(
        "`{key}` is not set: {doc} Set it in {} or as {variable}",
        file.display()
    )]
    Missing {
        /// The key.
        key: String,
        /// The file to set it in.
        file: PathBuf,
        /// The variable that sets it too; for secrets the file is the only place.
        variable: String,
        /// What it is for.
        doc: &'static str,
    },
    /// A required secret that no file sets.
    #[error("`{key}` is not set: {doc} Set it in {}", file.display())]
    MissingSecret {
        /// The key.
        key: String,
        /// The file to set it in.
        file: PathBuf,
        /// What it is for.
        doc: &'static str,
    },
    /// A secret where other users of the machine can read it.
    #[error("{origin}: `{key}` is a secret and is read from a file only")]
    SecretOutsideFile {
        /// Where it was found.
        origin: Origin,
        /// The key.
        key: String,
    },
    /// `--set` without `=`.
    #[error("flag --set: expected key=value, found no `=` after `{key}`")]
    NotAnAssignment {
        /// What stands where the key should.
        key: String,
    },
    /// The config struct refuses what the schema accepts.
    #[error("{file_name}: {message}")]
    Shape {
        /// The file of the schema.
        file_name: &'static str,
        /// What serde says.
        message: String,
    },
    /// A mistake in the binary's schema.
    #[error("this binary's own key `{key}` {fault}")]
    Schema {
        /// The key.
        key: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Everything that is wrong with a configuration, at once.
#[derive(Debug)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// From at least one problem.
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// The problems, in the order of the layers.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => only.fmt(f),
            many => {
                write!(f, "{} problems in the configuration:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

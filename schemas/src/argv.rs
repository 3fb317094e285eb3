//! The command line of an exec: program and arguments, bounded once for every way that it takes.

use crate::ErrorCode;
use crate::v1;

/// Program and arguments, which nodes run without a shell.
///
/// The program is never empty, no word holds a zero byte, and both limits hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv(Vec<String>);

/// Why words are no command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArgvError {
    /// There is no program, or it has no name.
    #[error("no command was given")]
    NoProgram,
    /// A word holds a zero byte, which no program can be given.
    #[error("an argument holds a zero byte")]
    ZeroByte,
    /// A limit is passed.
    #[error(
        "the command has {words} arguments of {bytes} bytes; at most {} of {} bytes in all are accepted",
        Argv::MAX_WORDS,
        Argv::MAX_BYTES
    )]
    TooLarge {
        /// The words, with the program.
        words: usize,
        /// The bytes of all of them.
        bytes: usize,
    },
}

impl Argv {
    /// Most words, with the program: far more than anybody types.
    pub const MAX_WORDS: usize = 1_024;
    /// Most bytes of all words together: a grant stays far under a message of the bus, an entry far
    /// under a Raft record, and the kernel takes more.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Takes words that are a command line.
    ///
    /// # Errors
    /// Says what is missing or over a limit.
    pub fn new(words: Vec<String>) -> Result<Self, ArgvError> {
        if words.first().is_none_or(String::is_empty) {
            return Err(ArgvError::NoProgram);
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(ArgvError::ZeroByte);
        }
        let bytes = words.iter().map(String::len).sum();
        if words.len() > Self::MAX_WORDS || bytes > Self::MAX_BYTES {
            return Err(ArgvError::TooLarge { words: words.len(), bytes });
        }
        Ok(Self(words))
    }

    /// The program as given: a name or a path.
    #[must_use]
    pub fn program(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// What follows the program.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        self.0.get(1..).unwrap_or_default()
    }

    /// All words, the program first.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Argv {
    type Error = ArgvError;

    fn try_from(words: Vec<String>) -> Result<Self, ArgvError> {
        Self::new(words)
    }
}

impl ArgvError {
    /// What is accepted, for an error that names the field before it.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::NoProgram => "must begin with a program",
            Self::ZeroByte => "may hold no zero byte",
            Self::TooLarge { .. } => "may have 1,024 arguments and 64 KiB in all",
        }
    }
}

/// For whoever gave the command.
impl From<ArgvError> for v1::Error {
    fn from(error: ArgvError) -> Self {
        let (code, next) = match error {
            ArgvError::NoProgram => {
                (ErrorCode::InvalidArgument, "pact exec <node> -- <command> [arguments]")
            }
            ArgvError::ZeroByte => (ErrorCode::InvalidArgument, ""),
            ArgvError::TooLarge { .. } => (ErrorCode::TooLarge, ""),
        };
        code.error(error.to_string()).next(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(count: usize) -> Vec<String> {
        vec!["x".to_owned(); count]
    }

    #[test]
    fn a_command_line_has_a_program_and_keeps_to_both_limits() {
        let argv = Argv::new(words(Argv::MAX_WORDS)).unwrap();
        assert_eq!((argv.program(), argv.arguments().len()), ("x", 1_023));
        assert_eq!(argv.words(), words(1_024));
        let most = vec!["x".to_owned(), "y".repeat(Argv::MAX_BYTES - 1)];
        assert!(Argv::new(most).is_ok());
        // Arguments may be empty and hold anything else.
        assert!(Argv::new(vec!["echo".to_owned(), String::new(), "\u{1b}\n".to_owned()]).is_ok());
        for (bad, error) in [
            (Vec::new(), ArgvError::NoProgram),
            (vec![String::new()], ArgvError::NoProgram),
            (vec!["a".to_owned(), "b\0".to_owned()], ArgvError::ZeroByte),
            (words(1_025), ArgvError::TooLarge { words: 1_025, bytes: 1_025 }),
            (vec!["x".repeat(65_537)], ArgvError::TooLarge { words: 1, bytes: 65_537 }),
        ] {
            assert_eq!(Argv::try_from(bad), Err(error));
        }
    }

    #[test]
    fn what_is_refused_says_what_is_accepted() {
        let error = Argv::new(words(1_025)).unwrap_err();
        assert_eq!(error.rule(), "may have 1,024 arguments and 64 KiB in all");
        let told = v1::Error::from(error);
        assert_eq!(told.known_code(), ErrorCode::TooLarge);
        assert_eq!(
            told.message,
            "the command has 1025 arguments of 1025 bytes; at most 1024 of 65536 bytes in all are accepted"
        );
        let told = v1::Error::from(ArgvError::NoProgram);
        assert_eq!(told.known_code(), ErrorCode::InvalidArgument);
        assert!(told.next_step.starts_with("pact exec"));
    }
}

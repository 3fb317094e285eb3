//! Why a command line was refused, in words that tell what would be accepted.

use std::fmt;
use std::path::PathBuf;

/// Most characters of a refused argument that are repeated in a message.
const SHOWN_CHARS: usize = 80;
/// Most characters of the list of accepted options in a message.
const ACCEPTED_CHARS: usize = 320;

/// A refused command line: which argument, why, and what is accepted instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    command: String,
    fault: Box<Fault>,
    accepted: String,
}

impl Refusal {
    pub(crate) fn new(command: &str, fault: Fault, accepted: String) -> Self {
        Self { command: shown(command), fault: Box::new(fault), accepted }
    }

    /// The command's name as given, made printable.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// What is wrong.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// The command is acceptable (or listed) but its program is not installed on this node.
    #[must_use]
    pub fn is_not_installed(&self) -> bool {
        matches!(*self.fault, Fault::NotInstalled)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.command, self.fault)?;
        if self.accepted.is_empty() {
            return Ok(());
        }
        let cut: String = self.accepted.chars().take(ACCEPTED_CHARS).collect();
        let more = if cut.len() < self.accepted.len() { " …" } else { "" };
        write!(f, "; accepted: {cut}{more}")
    }
}

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The program has no name, in any mode.
    #[error("the command line is malformed: {0}")]
    Malformed(&'static str),
    /// No grammar and no addition of the site has this name.
    #[error("command is not on the list")]
    NotListed,
    /// Nothing of this name in the trusted directories.
    #[error("no such program in /usr/sbin, /usr/bin, /sbin, /bin on this node")]
    NotInstalled,
    /// A program given by path that is not the one its name finds.
    #[error("{given} is not the program that the name finds in /usr/sbin, /usr/bin, /sbin, /bin")]
    OtherProgram {
        /// The path as given.
        given: String,
    },
    /// An option that the grammar does not have; abbreviations of long options count as unknown.
    #[error("option {option} is not accepted")]
    UnknownOption {
        /// The option as given.
        option: String,
    },
    /// An option that is known and refused.
    #[error("option {option} {why}")]
    RefusedOption {
        /// The option as given.
        option: String,
        /// What it would do.
        why: &'static str,
    },
    /// An option that needs a value has none.
    #[error("option {option} needs {wants}")]
    MissingValue {
        /// The option as given.
        option: String,
        /// The kind of value.
        wants: String,
    },
    /// A value for an option that takes none, or not in this form.
    #[error("option {option} takes no attached value")]
    UnexpectedValue {
        /// The option as given.
        option: String,
    },
    /// An argument of the wrong kind.
    #[error("argument {argument} is not {wants}")]
    WrongKind {
        /// The argument as given.
        argument: String,
        /// What is expected there.
        wants: String,
    },
    /// More arguments than the command may have.
    #[error("argument {argument} is one too many")]
    TooMany {
        /// The first argument too many.
        argument: String,
    },
    /// Fewer arguments than the command needs.
    #[error("it needs {wants}")]
    TooFew {
        /// What is missing.
        wants: String,
    },
    /// A file outside what may be read.
    #[error("argument {argument}: {reason}")]
    File {
        /// The argument as given.
        argument: String,
        /// Why it may not be read.
        reason: FileRefusal,
    },
    /// A condition across several arguments.
    #[error("{0}")]
    Condition(String),
}

/// Why a file may not be given to a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileRefusal {
    /// Empty, too long or with a NUL byte.
    #[error("it is not a usable path")]
    NotAPath,
    /// It lies, or its links lead, outside the readable tree.
    #[error("{} is outside the readable tree (rule {rule})", path.display())]
    Denied {
        /// The path after resolving.
        path: PathBuf,
        /// The rule that denies it.
        rule: String,
    },
    /// No unprivileged user of the node could read it, or come there.
    #[error(
        "{} is withheld: an unprivileged user of the node could not read it, or it is on [agent.observer] secret",
        path.display()
    )]
    Withheld {
        /// The file or the directory that shuts users out.
        path: PathBuf,
    },
    /// `/proc/self` would mean the agent here and the command there.
    #[error(
        "/proc/self names a different process for the command than for this check; give the process id"
    )]
    OwnProcess,
    /// A chain of links without end, or a step that cannot be followed safely.
    #[error("its links cannot be followed")]
    Links,
    /// The file system did not say what it is.
    #[error("{} cannot be examined", path.display())]
    Unexamined {
        /// The step that failed.
        path: PathBuf,
    },
    /// A device, pipe or socket where content is read.
    #[error("it is a {kind}, whose content is not read")]
    Special {
        /// device, pipe or socket
        kind: &'static str,
    },
    /// A directory where a file is needed.
    #[error("it is a directory, and the program would choose files inside it")]
    Directory,
    /// A recursive reader would reach something outside the readable tree.
    #[error("reading it recursively would reach {} (rule {rule}); name a smaller tree", path.display())]
    TreeHolds {
        /// A path, or the start of one, inside the tree.
        path: PathBuf,
        /// The rule that denies it.
        rule: String,
    },
    /// A recursive reader on a tree too large to check.
    #[error("it holds more than {limit} entries; name a smaller tree")]
    TreeTooLarge {
        /// The most entries that are checked.
        limit: usize,
    },
    /// Not in the kernel's list of mounts.
    #[error("it is not a mount point as /proc/mounts lists it")]
    NotAMountPoint,
    /// A mount point that the system stands on.
    #[error("the system stands on this mount point")]
    EssentialMount,
}

/// An argument made printable and short.
pub(crate) fn shown(argument: &str) -> String {
    let cut: String = argument.chars().take(SHOWN_CHARS).collect();
    let more = if cut.len() < argument.len() { "…" } else { "" };
    // Anything but printable ASCII is escaped: bidi overrides and control characters must not reach
    // a terminal.
    let escaped = cut.chars().map(|c| {
        if c.is_ascii_graphic() || c == ' ' {
            c.to_string()
        } else {
            c.escape_unicode().to_string()
        }
    });
    let text: String = escaped.collect();
    if text.is_empty() { "''".to_owned() } else { text + more }
}

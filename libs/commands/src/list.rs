//! The built-in list and what a site adds to it: whether a command line runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use pact_schemas::Argv;

use crate::commands;
use crate::files::FileResolver;
use crate::grammar::Command;
use crate::mode::Mode;
use crate::parse;
use crate::refusal::{Fault, Refusal, shown};

/// Programs that a site may add.
const MAX_ADDITIONS: usize = 256;
/// Longest name of an added program.
const MAX_NAME_BYTES: usize = 64;
/// The whole environment of a listed command. Pagers are off, `TERM` keeps `top -b` content, `HOME`
/// holds no settings.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/"),
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
    ("PAGER", "cat"),
    ("SYSTEMD_PAGER", "cat"),
    ("SYSTEMD_PAGERSECURE", "1"),
    ("SYSTEMD_COLORS", "0"),
    ("LESSSECURE", "1"),
];

/// The judgement of one command line by the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// On the list.
    Allowed {
        /// Absolute path of the program; its last component is the name, which some programs look
        /// at.
        program: PathBuf,
        /// Whether running it changes the node.
        changes_state: bool,
        /// The whole environment to run it with.
        environment: Vec<(String, String)>,
    },
    /// Off the list.
    Refused(Refusal),
}

/// A command line that the mode lets run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Whether running it changes the node; what is off the list counts as changing.
    pub changes_state: bool,
    /// The whole environment to run it with.
    pub environment: Vec<(String, String)>,
    /// In learning mode: why strict mode would have refused it.
    pub off_list: Option<Refusal>,
}

/// A program that cannot be added to the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdditionError {
    /// Not a bare program name.
    #[error("exec_whitelist entry {name} is not a bare program name (letters, digits, . _ + -)")]
    NotABareName {
        /// The entry, made printable.
        name: String,
    },
    /// Too many entries.
    #[error("exec_whitelist has {count} entries; at most {MAX_ADDITIONS} are taken")]
    TooMany {
        /// How many were given.
        count: usize,
    },
}

/// The built-in list and a site's additions.
#[derive(Debug, Clone)]
pub struct Whitelist {
    pub(crate) commands: BTreeMap<&'static str, Command>,
    additions: BTreeSet<String>,
}

impl Whitelist {
    /// The built-in list.
    #[must_use]
    pub fn builtin() -> Self {
        let commands =
            commands::builtin().into_iter().map(|command| (command.name, command)).collect();
        Self { commands, additions: BTreeSet::new() }
    }

    /// Adds programs by bare name, with any arguments (a vCluster's `exec_whitelist`). Naming a
    /// command of the built-in list changes nothing: its grammar stays.
    ///
    /// # Errors
    /// Names the first entry that is not a bare program name; nothing is added then.
    pub fn with_additions(mut self, names: &[String]) -> Result<Self, AdditionError> {
        if names.len() > MAX_ADDITIONS {
            return Err(AdditionError::TooMany { count: names.len() });
        }
        let bare = |name: &str| {
            (1..=MAX_NAME_BYTES).contains(&name.len())
                && !name.starts_with(['-', '.'])
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c))
        };
        if let Some(name) = names.iter().find(|name| !bare(name)) {
            return Err(AdditionError::NotABareName { name: shown(name) });
        }
        self.additions.extend(names.iter().cloned());
        Ok(self)
    }

    /// The names of the list, additions included, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let names: BTreeSet<&str> = self
            .commands
            .keys()
            .copied()
            .chain(self.additions.iter().map(String::as_str))
            .collect();
        names.into_iter().collect()
    }

    /// Judges one command line. Looks at files through `files` only.
    #[must_use]
    pub fn judge(&self, argv: &Argv, files: &dyn FileResolver) -> Verdict {
        match self.examine(argv, files) {
            Ok((program, changes_state)) => {
                Verdict::Allowed { program, changes_state, environment: environment() }
            }
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    /// Decides by mode whether a command line runs. An emergency is decided as `Mode::Learning`.
    ///
    /// # Errors
    /// The refusal: in any mode for what is malformed or not installed, in strict mode for what is off the list.
    pub fn admit(
        &self,
        mode: Mode,
        argv: &Argv,
        files: &dyn FileResolver,
    ) -> Result<Admitted, Refusal> {
        let refusal = match self.examine(argv, files) {
            Ok((program, changes_state)) => {
                return Ok(Admitted {
                    program,
                    changes_state,
                    environment: environment(),
                    off_list: None,
                });
            }
            Err(refusal) => refusal,
        };
        if mode == Mode::Strict || matches!(refusal.fault(), Fault::Malformed(_)) {
            return Err(refusal);
        }
        let given = argv.program();
        let missing = || Refusal::new(given, Fault::NotInstalled, String::new());
        let program = files.locate_program(given).ok_or_else(missing)?;
        let off_list = (mode == Mode::Learning).then_some(refusal);
        Ok(Admitted { program, changes_state: true, environment: environment(), off_list })
    }

    fn examine(&self, argv: &Argv, files: &dyn FileResolver) -> Result<(PathBuf, bool), Refusal> {
        let given = argv.program();
        let name = given.rsplit('/').next().unwrap_or("");
        let refuse = |fault| Refusal::new(given, fault, String::new());
        if name.is_empty() {
            return Err(refuse(Fault::Malformed("the command has no name")));
        }
        let command = self.commands.get(name);
        if command.is_none() && !self.additions.contains(name) {
            return Err(refuse(Fault::NotListed));
        }
        let changes_state = match command {
            Some(command) => {
                let parsed = parse::parse(command, argv.arguments(), files);
                parsed
                    .map_err(|fault| Refusal::new(given, fault, command.accepted()))?
                    .changes_state
            }
            None => true,
        };
        match files.resolve_program(given) {
            Some(program) => Ok((program, changes_state)),
            None if given.contains('/') => Err(refuse(Fault::OtherProgram { given: shown(given) })),
            None => Err(refuse(Fault::NotInstalled)),
        }
    }
}

fn environment() -> Vec<(String, String)> {
    ENVIRONMENT.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

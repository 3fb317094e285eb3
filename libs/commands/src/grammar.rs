//! The vocabulary in which a command of the list is described, and its builder.
//!
//! A description is data: which options exist, what kind of value each takes, which operands
//! follow. Nothing here decides anything; `parse` does, once, for all commands. What a description
//! does not name is off the list, so an option added by a newer release of a program stays refused
//! until somebody has read what it does.

use crate::kinds::{Kind, NAME};
use crate::parse::Parsed;

/// How a program reads its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// `getopt_long`: `-abc`, `-n5`, `-n 5`, `--long`, `--long=5`, options also after operands,
    /// `--` ends them.
    Bundled,
    /// Whole words (`-pm`, `--id=0`), anywhere.
    Words,
    /// Whole words before the first operand only, a doubled dash means the same as a single one
    /// (`ip`).
    WordsFirst,
    /// Every argument is an operand (`echo`).
    Literal,
}

/// What follows an option.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value {
    /// Nothing.
    None,
    /// A value, attached or as the next argument.
    Required(Kind),
    /// A value; after a single-dash spelling only as the next argument (`ps`, for which `-uxe` has
    /// two meanings).
    Separate(Kind),
    /// Perhaps a value, attached only (`--color=never`, `-I10`).
    Attached(Kind),
    /// Perhaps a value, attached or the next argument if it has the right shape (`journalctl -n
    /// 50`).
    Perhaps(Kind),
    /// Known and refused, for this reason.
    Refused(&'static str),
}

/// One option under all its spellings, dashes included; the first spelling names it.
#[derive(Debug, Clone)]
pub(crate) struct Opt {
    pub(crate) names: Vec<&'static str>,
    pub(crate) value: Value,
}

impl Opt {
    /// The spelling by which rules refer to this option.
    pub(crate) fn key(&self) -> &'static str {
        self.names.first().copied().unwrap_or("")
    }
}

/// What may stand where no option stands.
#[derive(Debug, Clone)]
pub(crate) enum Operands {
    /// Between `min` and `max` operands of one kind.
    Each { kind: Kind, min: usize, max: usize },
    /// One operand of kind `first` unless one of the options `unless` was given, then up to `max`
    /// of kind `rest` (`grep`).
    Lead { first: Kind, unless: &'static [&'static str], rest: Kind, max: usize },
    /// A verb and what belongs to it; `or_nothing` when the program has a reading default.
    Verbs { verbs: Vec<Verb>, or_nothing: bool },
    /// Keywords, some with a value, and up to `max_bare` other operands.
    Keywords { words: &'static [(&'static str, Option<Kind>)], bare: Kind, max_bare: usize },
}

/// A verb with its exact spellings: abbreviations that a program would accept are not.
#[derive(Debug, Clone)]
pub(crate) struct Verb {
    pub(crate) names: &'static [&'static str],
    pub(crate) changes_state: bool,
    pub(crate) operands: Operands,
}

/// What running the command does to the node, beyond what a verb says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effect {
    /// Only reads.
    Reads,
    /// Always counts as a change.
    Changes,
    /// Depends on the operands (`sysctl key=value`).
    When(fn(&Parsed) -> bool),
}

/// A condition across several arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// One of these options must be given, unless the command only prints its help or version.
    Needs(&'static [&'static str], &'static str),
    /// At most one side of the pair may be given.
    Excludes(&'static [&'static str], &'static [&'static str], &'static str),
    /// Anything else, with the refusal's text.
    Check(fn(&Parsed) -> Option<String>),
}

/// A command of the list.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) spelling: Spelling,
    pub(crate) options: Vec<Opt>,
    pub(crate) operands: Operands,
    pub(crate) rules: Vec<Rule>,
    pub(crate) effect: Effect,
    /// `-5` is an option of its own (`head`, `tail`, `grep`, `journalctl -b -1`).
    pub(crate) takes_bare_numbers: bool,
    /// Options that make the program descend into directories: its file operands are then judged as
    /// trees.
    pub(crate) recursive: &'static [&'static str],
    /// Options with which the program shows directories themselves, not what is in them.
    pub(crate) shallow: &'static [&'static str],
    /// First words with a grammar of their own (`nvidia-smi topo`).
    pub(crate) subcommands: Vec<Command>,
}

impl Command {
    /// A command without options and operands that only reads.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            spelling: Spelling::Bundled,
            options: Vec::new(),
            operands: none(),
            rules: Vec::new(),
            effect: Effect::Reads,
            takes_bare_numbers: false,
            recursive: &[],
            shallow: &[],
            subcommands: Vec::new(),
        }
    }

    /// Options are whole words.
    pub(crate) fn spelled(mut self, spelling: Spelling) -> Self {
        self.spelling = spelling;
        self
    }

    /// Options without a value; each string holds the spellings of one option.
    pub(crate) fn flags(mut self, options: &[&'static str]) -> Self {
        for names in options {
            self = self.option(names, Value::None);
        }
        self
    }

    /// An option with a value.
    pub(crate) fn value(self, names: &'static str, kind: Kind) -> Self {
        self.option(names, Value::Required(kind))
    }

    /// An option whose value is an argument of its own.
    pub(crate) fn separate(self, names: &'static str, kind: Kind) -> Self {
        self.option(names, Value::Separate(kind))
    }

    /// An option with an optional attached value.
    pub(crate) fn attached(self, names: &'static str, kind: Kind) -> Self {
        self.option(names, Value::Attached(kind))
    }

    /// An option with an optional value, attached or next.
    pub(crate) fn perhaps(self, names: &'static str, kind: Kind) -> Self {
        self.option(names, Value::Perhaps(kind))
    }

    /// Options worth a better explanation than "unknown".
    pub(crate) fn refused(self, names: &'static str, why: &'static str) -> Self {
        self.option(names, Value::Refused(why))
    }

    fn option(mut self, names: &'static str, value: Value) -> Self {
        self.options.push(Opt { names: names.split_whitespace().collect(), value });
        self
    }

    /// Between `min` and `max` operands of one kind.
    pub(crate) fn each(mut self, kind: Kind, min: usize, max: usize) -> Self {
        self.operands = Operands::Each { kind, min, max };
        self
    }

    /// Any other arrangement of operands.
    pub(crate) fn operands(mut self, operands: Operands) -> Self {
        self.operands = operands;
        self
    }

    /// Adds a condition.
    pub(crate) fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sets what running it does.
    pub(crate) fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// `-5` is an option.
    pub(crate) fn bare_numbers(mut self) -> Self {
        self.takes_bare_numbers = true;
        self
    }

    /// These options descend into directories.
    pub(crate) fn recursive(mut self, options: &'static [&'static str]) -> Self {
        self.recursive = options;
        self
    }

    /// These options show directories themselves.
    pub(crate) fn shallow(mut self, options: &'static [&'static str]) -> Self {
        self.shallow = options;
        self
    }

    /// Adds a first word with its own grammar.
    pub(crate) fn sub(mut self, command: Command) -> Self {
        self.subcommands.push(command);
        self
    }

    /// The option of that spelling.
    pub(crate) fn find(&self, spelled: &str) -> Option<&Opt> {
        self.options.iter().find(|option| option.names.contains(&spelled))
    }

    /// The accepted options, verbs and subcommands, for a refusal's text.
    pub(crate) fn accepted(&self) -> String {
        let options = self
            .options
            .iter()
            .filter(|option| !matches!(option.value, Value::Refused(_)))
            .map(Opt::key);
        let verbs = match &self.operands {
            Operands::Verbs { verbs, .. } => verbs.as_slice(),
            Operands::Each { .. } | Operands::Lead { .. } | Operands::Keywords { .. } => &[],
        };
        let verbs = verbs.iter().filter_map(|verb| verb.names.first().copied());
        options
            .chain(verbs)
            .chain(self.subcommands.iter().map(|sub| sub.name))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// No operands.
pub(crate) fn none() -> Operands {
    Operands::Each { kind: NAME, min: 0, max: 0 }
}

/// A verb that only reads.
pub(crate) fn reads(names: &'static [&'static str], kind: Kind, min: usize, max: usize) -> Verb {
    Verb { names, changes_state: false, operands: Operands::Each { kind, min, max } }
}

/// A verb that changes the node.
pub(crate) fn changes(names: &'static [&'static str], operands: Operands) -> Verb {
    Verb { names, changes_state: true, operands }
}

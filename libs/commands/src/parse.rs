//! Reads an argument list by a command's description: the one matcher for all commands.
//!
//! It splits arguments exactly as the described program would (`Spelling`), because every
//! difference between the two readings is a way round the list. It never guesses: an argument that
//! no rule of the description covers is a fault.

use std::iter::Peekable;
use std::slice::Iter;

use crate::disk::FileKind;
use crate::files::{FileResolver, Reads};
use crate::grammar::{Command, Effect, Operands, Opt, Rule, Spelling, Value, Verb};
use crate::kinds::Kind;
use crate::refusal::{Fault, FileRefusal, shown};
use crate::units;

/// Digits of `-NUM` at most.
const MAX_SHORTHAND_DIGITS: usize = 9;
/// The option key under which `-NUM` is recorded.
const SHORTHAND: &str = "-NUM";
/// Options with which a command prints its own help and does nothing else.
const INFORMATIONAL: [&str; 4] = ["--help", "--version", "-h", "-V"];
/// Devices that may be read as content.
const HARMLESS_DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/full"];

/// An argument list that its command's description covers.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// The options in order, by the first spelling of the description.
    pub(crate) options: Vec<(&'static str, Option<String>)>,
    /// What is not an option, in order.
    pub(crate) operands: Vec<String>,
    /// Whether running it changes the node.
    pub(crate) changes_state: bool,
}

impl Parsed {
    /// Whether one of these options was given.
    pub(crate) fn has(&self, keys: &[&str]) -> bool {
        self.options.iter().any(|(key, _)| keys.contains(key))
    }
}

/// Reads `args` (without the command's name) by the description.
pub(crate) fn parse(
    command: &Command,
    args: &[String],
    files: &dyn FileResolver,
) -> Result<Parsed, Fault> {
    if let Some((first, rest)) = args.split_first()
        && let Some(sub) = command.subcommands.iter().find(|sub| sub.name == first)
    {
        return parse(sub, rest, files);
    }
    let mut parsed =
        Reader { command, args: args.iter().peekable(), files, parsed: Parsed::default() }
            .read()?;
    let tree = parsed.has(command.recursive);
    let matcher = Matcher { files, tree, shallow: parsed.has(command.shallow) };
    let verb_changes = matcher.operands(&command.operands, &parsed)?;
    for rule in &command.rules {
        check(*rule, &parsed)?;
    }
    let effect = match command.effect {
        Effect::Reads => false,
        Effect::Changes => true,
        Effect::When(changes) => changes(&parsed),
    };
    parsed.changes_state = verb_changes || effect;
    Ok(parsed)
}

fn check(rule: Rule, parsed: &Parsed) -> Result<(), Fault> {
    match rule {
        Rule::Needs(options, why) => {
            if parsed.has(options) || parsed.has(&INFORMATIONAL) {
                return Ok(());
            }
            Err(Fault::TooFew { wants: format!("{} ({why})", options.join(" or ")) })
        }
        Rule::Excludes(left, right, why) => {
            if !(parsed.has(left) && parsed.has(right)) {
                return Ok(());
            }
            Err(Fault::Condition(format!(
                "{} cannot go with {}: {why}",
                left.join(" "),
                right.join(" ")
            )))
        }
        Rule::Check(condition) => {
            condition(parsed).map_or(Ok(()), |why| Err(Fault::Condition(why)))
        }
    }
}

/// Splits arguments into options and operands.
struct Reader<'a> {
    command: &'a Command,
    args: Peekable<Iter<'a, String>>,
    files: &'a dyn FileResolver,
    parsed: Parsed,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Parsed, Fault> {
        while let Some(arg) = self.args.next() {
            let is_option = arg.len() > 1 && arg.starts_with('-');
            let ends_here = match self.command.spelling {
                Spelling::Literal => true,
                Spelling::WordsFirst => !is_option,
                Spelling::Bundled => arg == "--",
                Spelling::Words => false,
            };
            if ends_here {
                if self.command.spelling != Spelling::Bundled {
                    self.parsed.operands.push(arg.clone());
                }
                self.parsed.operands.extend(self.args.by_ref().cloned());
                break;
            }
            if !is_option {
                self.parsed.operands.push(arg.clone());
            } else if self.is_shorthand(arg) {
                self.parsed.options.push((SHORTHAND, arg.get(1..).map(str::to_owned)));
            } else if self.command.spelling == Spelling::Bundled && !arg.starts_with("--") {
                self.bundle(arg)?;
            } else {
                self.word(arg)?;
            }
        }
        Ok(self.parsed)
    }

    fn is_shorthand(&self, arg: &str) -> bool {
        let digits = arg.get(1..).unwrap_or("");
        self.command.takes_bare_numbers
            && (1..=MAX_SHORTHAND_DIGITS).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// `--long`, `--long=value`, `-word`, `-word value`.
    fn word(&mut self, arg: &str) -> Result<(), Fault> {
        let single = self.command.spelling == Spelling::WordsFirst && arg.starts_with("--");
        let spelled = if single { arg.get(1..).unwrap_or(arg) } else { arg };
        let (name, attached) = match spelled.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (spelled, None),
        };
        // `-w=5` means the value `=5` to getopt; whole words with one dash take no `=` except for
        // `ip -c=…`.
        let option =
            self.command.find(name).ok_or_else(|| Fault::UnknownOption { option: shown(arg) })?;
        if attached.is_some() && matches!(option.value, Value::None) {
            return Err(Fault::UnexpectedValue { option: shown(name) });
        }
        self.take(&option.clone(), name, attached)
    }

    /// `-abc`, `-n5`, `-n 5`.
    fn bundle(&mut self, arg: &str) -> Result<(), Fault> {
        for (at, letter) in arg.char_indices().skip(1) {
            let name = format!("-{letter}");
            let option = self
                .command
                .find(&name)
                .ok_or_else(|| Fault::UnknownOption { option: shown(&name) })?
                .clone();
            let after = arg.get(at + letter.len_utf8()..).filter(|rest| !rest.is_empty());
            if matches!(option.value, Value::None) {
                self.take(&option, &name, None)?;
            } else {
                return self.take(&option, &name, after);
            }
        }
        Ok(())
    }

    fn take(&mut self, option: &Opt, name: &str, attached: Option<&str>) -> Result<(), Fault> {
        let value = match option.value {
            Value::None => None,
            Value::Refused(why) => return Err(Fault::RefusedOption { option: shown(name), why }),
            Value::Separate(_) if attached.is_some() && !name.starts_with("--") => {
                return Err(Fault::UnexpectedValue { option: shown(name) });
            }
            Value::Required(kind) | Value::Separate(kind) => {
                let value = attached.map(str::to_owned).or_else(|| self.args.next().cloned());
                let value = value.ok_or_else(|| Fault::MissingValue {
                    option: shown(name),
                    wants: kind.says(),
                })?;
                Some((kind, value))
            }
            Value::Attached(kind) => attached.map(|value| (kind, value.to_owned())),
            Value::Perhaps(kind) => match attached {
                Some(value) => Some((kind, value.to_owned())),
                None => {
                    self.args.next_if(|next| kind.fits(next)).map(|value| (kind, value.clone()))
                }
            },
        };
        if let Some((kind, value)) = &value {
            Matcher { files: self.files, tree: false, shallow: false }.one(*kind, value)?;
        }
        self.parsed.options.push((option.key(), value.map(|(_, value)| value)));
        Ok(())
    }
}

/// Checks values and operands against their kinds.
struct Matcher<'a> {
    files: &'a dyn FileResolver,
    /// The program descends into directories.
    tree: bool,
    /// The program shows directories themselves, not what is in them.
    shallow: bool,
}

impl Matcher<'_> {
    /// Checks all operands; the answer says whether a verb changes the node.
    fn operands(&self, operands: &Operands, parsed: &Parsed) -> Result<bool, Fault> {
        let given = parsed.operands.as_slice();
        match operands {
            Operands::Lead { first, unless, rest, max } => {
                let files = match given.split_first() {
                    _ if parsed.has(unless) => given,
                    Some((lead, others)) => {
                        self.one(*first, lead)?;
                        others
                    }
                    None if parsed.has(&INFORMATIONAL) => given,
                    None => return Err(Fault::TooFew { wants: first.says() }),
                };
                self.each(*rest, 0, *max, files)?;
                Ok(false)
            }
            Operands::Each { kind, min, max } => {
                let min = if parsed.has(&INFORMATIONAL) { 0 } else { *min };
                self.each(*kind, min, *max, given).map(|()| false)
            }
            Operands::Verbs { verbs, or_nothing } => self.verb(verbs, *or_nothing, parsed),
            Operands::Keywords { .. } => self.rest_of_verb(operands, given).map(|()| false),
        }
    }

    fn verb(&self, verbs: &[Verb], or_nothing: bool, parsed: &Parsed) -> Result<bool, Fault> {
        let mut verbs = verbs;
        let mut or_nothing = or_nothing || parsed.has(&INFORMATIONAL);
        let mut given = parsed.operands.as_slice();
        loop {
            let Some((word, rest)) = given.split_first() else {
                return if or_nothing {
                    Ok(false)
                } else {
                    Err(Fault::TooFew { wants: spellings(verbs) })
                };
            };
            let verb = verbs.iter().find(|verb| verb.names.contains(&word.as_str()));
            let verb = verb.ok_or_else(|| wrong(word, spellings(verbs)))?;
            match &verb.operands {
                Operands::Verbs { verbs: inner, or_nothing: inner_or_nothing } => {
                    (verbs, or_nothing, given) = (inner, *inner_or_nothing, rest);
                }
                last => return self.rest_of_verb(last, rest).map(|()| verb.changes_state),
            }
        }
    }

    fn rest_of_verb(&self, operands: &Operands, given: &[String]) -> Result<(), Fault> {
        match operands {
            Operands::Each { kind, min, max } => self.each(*kind, *min, *max, given),
            Operands::Keywords { words, bare, max_bare } => {
                self.keywords(words, *bare, *max_bare, given)
            }
            // No description nests these below a verb; refusing keeps a mistaken one harmless.
            Operands::Lead { .. } | Operands::Verbs { .. } => {
                Err(Fault::TooFew { wants: "a verb".to_owned() })
            }
        }
    }

    fn keywords(
        &self,
        words: &[(&str, Option<Kind>)],
        bare: Kind,
        max_bare: usize,
        given: &[String],
    ) -> Result<(), Fault> {
        let mut rest = given.iter();
        let mut bare_seen = 0;
        while let Some(arg) = rest.next() {
            match words.iter().find(|(word, _)| word == arg) {
                Some((_, None)) => {}
                Some((word, Some(kind))) => {
                    let value = rest.next().ok_or_else(|| Fault::MissingValue {
                        option: shown(word),
                        wants: kind.says(),
                    })?;
                    self.one(*kind, value)?;
                }
                None if bare_seen < max_bare => {
                    self.one(bare, arg)?;
                    bare_seen += 1;
                }
                None => return Err(Fault::TooMany { argument: shown(arg) }),
            }
        }
        Ok(())
    }

    fn each(&self, kind: Kind, min: usize, max: usize, given: &[String]) -> Result<(), Fault> {
        if let Some(extra) = given.get(max) {
            return Err(Fault::TooMany { argument: shown(extra) });
        }
        if given.len() < min {
            return Err(Fault::TooFew { wants: format!("{min} × {}", kind.says()) });
        }
        if self.tree && given.is_empty() {
            return self.one(kind, ".");
        }
        given.iter().try_for_each(|arg| self.one(kind, arg))
    }

    /// Checks one value or operand.
    fn one(&self, kind: Kind, text: &str) -> Result<(), Fault> {
        if !kind.fits(text) {
            return Err(wrong(text, kind.says()));
        }
        let refused = match kind {
            Kind::Number { .. } | Kind::OneOf(_) | Kind::ListOf(_) | Kind::Shape { .. } => {
                return Ok(());
            }
            Kind::MountPoint => self.files.check_mount_point(text).err(),
            Kind::UnitFiles => units::check_files(text, self.files).err(),
            Kind::Readable
            | Kind::NotADirectory
            | Kind::Inspected
            | Kind::Listed
            | Kind::Metadata => self.file(kind, text).err(),
        };
        refused.map_or(Ok(()), |reason| Err(Fault::File { argument: shown(text), reason }))
    }

    fn file(&self, kind: Kind, text: &str) -> Result<(), FileRefusal> {
        if text == "-" {
            return Ok(());
        }
        let reads = match kind {
            Kind::Metadata => Reads::Nothing,
            Kind::Listed if self.shallow => Reads::Nothing,
            Kind::Listed => Reads::Names,
            _ => Reads::Contents,
        };
        let file = if self.tree {
            self.files.resolve_tree(text, reads)?
        } else {
            self.files.resolve_file(text, reads)?
        };
        let harmless = HARMLESS_DEVICES.contains(&file.path.as_str());
        match (kind, file.kind) {
            (Kind::NotADirectory, FileKind::Directory) => Err(FileRefusal::Directory),
            (Kind::Metadata | Kind::Listed | Kind::Inspected, _)
            | (_, FileKind::Regular | FileKind::Directory | FileKind::Missing) => Ok(()),
            (_, FileKind::Device) if harmless => Ok(()),
            (_, FileKind::Device) => Err(FileRefusal::Special { kind: "device" }),
            (_, FileKind::Pipe) => Err(FileRefusal::Special { kind: "pipe" }),
            (_, FileKind::Socket) => Err(FileRefusal::Special { kind: "socket" }),
        }
    }
}

fn wrong(argument: &str, wants: String) -> Fault {
    Fault::WrongKind { argument: shown(argument), wants }
}

fn spellings(verbs: &[Verb]) -> String {
    let names = verbs.iter().filter_map(|verb| verb.names.first().copied());
    format!("one of {}", names.collect::<Vec<_>>().join(" "))
}

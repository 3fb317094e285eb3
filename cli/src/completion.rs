//! What a shell offers after Tab.
//!
//! The scripts under `completion/` are ours and call `pact __complete <shell>` with what was typed on standard input, so
//! that the two always fit. clap_complete's engine walks the command tree; what it cannot know is added to the
//! tree here: names that the gateway has (`live`), node sets (`set`), and which words are files.
//!
//! What cannot be found here
//! - No prompt, no login, no word on standard error, no exit code but 0: a line that cannot be completed is not.
//! - No wait beyond [`BUDGET`], whatever the gateway, its name or a file does.
//! - No name that is not a valid id: what a gateway answers never reaches a shell as anything else.

mod line;
mod live;
mod set;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::builder::ValueHint;
use clap::{Arg, Command};
use clap_complete::engine::{
    self, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use pact_schemas::operation::OPERATIONS;

use crate::app;
use crate::environment;
use crate::help;
use crate::topics;
use line::Typed;
use live::Live;

/// From the first look at a settings file to the last name: what a person takes for "at once".
pub(crate) const BUDGET: Duration = Duration::from_millis(300);
/// Most names that are offered; of more only the beginnings. Nobody reads longer lists.
pub(crate) const MAX_NAMES: usize = 512;
/// Longest line that is completed.
pub(crate) const MAX_TYPED_BYTES: u64 = 256 * 1024;

/// Commands whose node is one node, not a set (contracts §3).
const ONE_NODE: &[&str] = &["shell", "promote", "enroll", "inspect"];

/// Shells that have a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// What makes the shell ask pact.
    pub(crate) const fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("completion/pact.bash"),
            Self::Zsh => include_str!("completion/pact.zsh"),
            Self::Fish => include_str!("completion/pact.fish"),
        }
    }

    /// Whether it completes names of files by itself, with its own quoting and its own `~`.
    const fn knows_files(self) -> bool {
        matches!(self, Self::Bash | Self::Zsh)
    }
}

/// What an argument takes, by what `--help` shows as its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    NodeSet,
    Node,
    Vcluster,
    /// `node:<id>`, `vc:<name>`, `global`
    Scope,
    /// A row of the operations table.
    Operation,
    /// Words of a command, and topics.
    HelpWords,
    /// Words of a command.
    CommandWords,
    File,
}

impl Kind {
    fn of(argument: &Arg, command: &str, is_one_node: bool) -> Option<Self> {
        let value =
            argument.get_value_names().and_then(|names| names.first()).map_or("", |n| n.as_str());
        match (argument.get_id().as_str(), value) {
            ("vcluster" | "to_vcluster", _) | (_, "GROUP") => Some(Self::Vcluster),
            (_, "NODE" | "NODES" | "NODE_ID") if is_one_node => Some(Self::Node),
            (_, "NODE" | "NODES" | "NODE_ID") => Some(Self::NodeSet),
            ("scope", "FILTER") => Some(Self::Scope),
            (_, "OPERATION") => Some(Self::Operation),
            (_, "WORD") if command == help::HELP => Some(Self::HelpWords),
            (_, "COMMAND") if command == "man" => Some(Self::CommandWords),
            _ if is_file(argument) => Some(Self::File),
            _ => None,
        }
    }
}

fn is_file(argument: &Arg) -> bool {
    matches!(
        argument.get_value_hint(),
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath
    )
}

/// One question of a shell.
#[derive(Debug)]
struct Question {
    shell: Shell,
    typed: Typed,
    live: Live,
    /// The shell should look for files itself.
    wants_files: AtomicBool,
    /// What is offered is not whole: no blank behind it.
    is_open: AtomicBool,
}

/// The answer in the words of the shell's script: for bash and zsh a first line that says what follows.
pub(crate) fn answer(shell: Shell, input: &[u8], environment: BTreeMap<String, String>) -> String {
    let Some(typed) = Typed::read(shell, input) else { return String::new() };
    let has_lattice = environment::LATTICE_ENDPOINT.of(&environment).is_some();
    let words: Vec<OsString> = typed.words.iter().map(OsString::from).collect();
    let before = words.get(..typed.index()).unwrap_or_default();
    let live = Live::new(app::global_args(before), environment);
    let question = Arc::new(Question {
        shell,
        typed,
        live,
        wants_files: AtomicBool::new(false),
        is_open: AtomicBool::new(false),
    });
    let mut tree = bind(app::command(has_lattice), false, &question);
    let folder = std::env::current_dir().ok();
    let found = engine::complete(&mut tree, words, question.typed.index(), folder.as_deref());
    question.render(found.unwrap_or_default())
}

/// The tree with completers for what only pact knows.
fn bind(command: Command, is_one_node: bool, question: &Arc<Question>) -> Command {
    let name = command.get_name().to_owned();
    let is_one_node = is_one_node || ONE_NODE.contains(&name.as_str());
    let command = command.mut_args(|argument| match Kind::of(&argument, &name, is_one_node) {
        Some(Kind::File) if !question.shell.knows_files() => argument,
        Some(kind) => {
            let question = Arc::clone(question);
            argument.add(ArgValueCompleter::new(move |current: &std::ffi::OsStr| {
                current.to_str().map(|text| question.values(kind, text)).unwrap_or_default()
            }))
        }
        None => argument,
    });
    command.mut_subcommands(|below| bind(below, is_one_node, question))
}

impl Question {
    fn values(&self, kind: Kind, current: &str) -> Vec<CompletionCandidate> {
        match kind {
            Kind::Node => self.names("", current, self.live.nodes()),
            Kind::Vcluster => self.names("", current, self.live.vclusters()),
            Kind::NodeSet => self.node_set(current),
            Kind::Scope => self.scope(current),
            Kind::Operation => starting("", current, OPERATIONS.iter().map(|o| o.name)),
            Kind::HelpWords => self.command_words(current, true),
            Kind::CommandWords => self.command_words(current, false),
            Kind::File => self.files("", current),
        }
    }

    /// Names that begin with `current`, behind `prefix`; their beginnings, if there are too many.
    fn names(&self, prefix: &str, current: &str, names: Vec<String>) -> Vec<CompletionCandidate> {
        let matching = names.into_iter().filter(|name| name.starts_with(current)).collect();
        let offered = set::offered(matching, MAX_NAMES);
        if offered.are_beginnings {
            self.is_open.store(true, Ordering::Relaxed);
        }
        starting(prefix, current, offered.words.iter().map(String::as_str))
    }

    fn node_set(&self, current: &str) -> Vec<CompletionCandidate> {
        let Some((before, last)) = set::split_last(current) else { return Vec::new() };
        let behind = |selector: &str| format!("{before}{selector}");
        if let Some(name) = last.strip_prefix("@vc:") {
            return self.names(&behind("@vc:"), name, self.live.vclusters());
        }
        if let Some(state) = last.strip_prefix("@state:") {
            return starting(&behind("@state:"), state, set::STATES.iter().copied());
        }
        if let Some(state) = last.strip_prefix("@lattice:") {
            return starting(&behind("@lattice:"), state, set::LATTICE_STATES.iter().copied());
        }
        if let Some(path) = last.strip_prefix("@file:") {
            return self.files(&behind("@file:"), path);
        }
        if last.starts_with('@') {
            self.is_open.store(true, Ordering::Relaxed);
            return starting(before, last, set::SELECTORS.iter().copied());
        }
        let names = set::without(self.live.nodes(), before);
        self.names(before, last, names)
    }

    fn scope(&self, current: &str) -> Vec<CompletionCandidate> {
        if let Some(name) = current.strip_prefix("vc:") {
            return self.names("vc:", name, self.live.vclusters());
        }
        if let Some(name) = current.strip_prefix("node:") {
            return self.names("node:", name, self.live.nodes());
        }
        let forms = starting("", current, ["global", "node:", "vc:"].into_iter());
        if let [only] = forms.as_slice()
            && only.get_value() != "global"
        {
            self.is_open.store(true, Ordering::Relaxed);
        }
        forms
    }

    fn files(&self, prefix: &str, current: &str) -> Vec<CompletionCandidate> {
        if self.shell.knows_files() {
            self.wants_files.store(true, Ordering::Relaxed);
            return Vec::new();
        }
        let paths = PathCompleter::any().complete(current.as_ref());
        paths.into_iter().map(|path| path.add_prefix(prefix)).collect()
    }

    /// What comes next in `pact help node l…`.
    fn command_words(&self, current: &str, with_topics: bool) -> Vec<CompletionCandidate> {
        let words = self.typed.words.get(1..self.typed.index()).unwrap_or_default().iter();
        let path: Vec<&str> = words
            .map(String::as_str)
            .filter(|w| !w.starts_with('-') && !matches!(*w, help::HELP | "man"))
            .collect();
        let mut tree = app::command(true);
        let Some(command) = help::find(&mut tree, &path) else { return Vec::new() };
        let below: Vec<&str> =
            command.get_subcommands().filter(|c| !c.is_hide_set()).map(Command::get_name).collect();
        let topics = topics::TOPICS.iter().map(|topic| topic.name).chain([topics::LIST]);
        let topics = topics.filter(|_| with_topics && path.is_empty());
        starting("", current, below.iter().copied().chain(topics))
    }

    /// Options are offered where one was begun: elsewhere they would hide what a command is about.
    fn render(&self, found: Vec<CompletionCandidate>) -> String {
        let wants_option = self.typed.current().starts_with('-');
        let mut lines: Vec<String> = Vec::new();
        for candidate in found {
            let Some(value) = candidate.get_value().to_str() else { continue };
            if value.starts_with('-') && !wants_option || value.contains(['\n', '\r']) {
                continue;
            }
            let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
            lines.extend(self.line(value, help.lines().next().unwrap_or_default()));
        }
        let mode = match (
            self.wants_files.load(Ordering::Relaxed),
            self.is_open.load(Ordering::Relaxed),
        ) {
            (true, _) => "files",
            (false, true) => "open",
            (false, false) => "plain",
        };
        match self.shell {
            Shell::Bash | Shell::Zsh => lines.insert(0, mode.to_owned()),
            Shell::Fish => {}
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// A candidate as the script of the shell reads it.
    fn line(&self, value: &str, help: &str) -> Option<String> {
        match self.shell {
            // Bash completes what stands behind the last character that it breaks words at.
            Shell::Bash => value.strip_prefix(self.typed.kept.as_str()).map(str::to_owned),
            Shell::Fish if help.is_empty() => Some(value.to_owned()),
            Shell::Fish => Some(format!("{value}\t{help}")),
            Shell::Zsh => {
                let value = value.replace('\\', "\\\\").replace(':', "\\:");
                Some(if help.is_empty() { value } else { format!("{value}:{help}") })
            }
        }
    }
}

/// Those of the words that begin with `current`, behind `prefix`.
fn starting<'a>(
    prefix: &str,
    current: &str,
    words: impl Iterator<Item = &'a str>,
) -> Vec<CompletionCandidate> {
    let matching = words.filter(|word| word.starts_with(current));
    matching.map(|word| CompletionCandidate::new(format!("{prefix}{word}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds of all arguments, by path and id.
    fn kinds(
        command: &Command,
        path: &str,
        is_one_node: bool,
        found: &mut BTreeMap<String, Option<Kind>>,
    ) {
        let name = command.get_name();
        let is_one_node = is_one_node || ONE_NODE.contains(&name);
        for argument in command.get_arguments() {
            let kind = Kind::of(argument, name, is_one_node);
            found.insert(format!("{path} {}", argument.get_id()), kind);
        }
        for below in command.get_subcommands() {
            kinds(below, &format!("{path} {}", below.get_name()), is_one_node, found);
        }
    }

    #[test]
    fn arguments_are_completed_as_what_they_are() {
        let mut found = BTreeMap::new();
        kinds(&app::command(true), "pact", false, &mut found);
        for (argument, kind) in [
            ("pact vcluster", Some(Kind::Vcluster)),
            ("pact tls_ca", Some(Kind::File)),
            ("pact token", None),
            ("pact exec node", Some(Kind::NodeSet)),
            ("pact exec exclude", Some(Kind::NodeSet)),
            ("pact exec command", None),
            ("pact shell node", Some(Kind::Node)),
            ("pact promote node", Some(Kind::Node)),
            ("pact node inspect node", Some(Kind::Node)),
            ("pact node move to_vcluster", Some(Kind::Vcluster)),
            ("pact group show group", Some(Kind::Vcluster)),
            ("pact log scope", Some(Kind::Scope)),
            ("pact apply spec", Some(Kind::File)),
            ("pact policy explain operation", Some(Kind::Operation)),
            ("pact man dir", Some(Kind::File)),
        ] {
            let known = found.get(argument).unwrap_or_else(|| panic!("{argument}: {found:#?}"));
            assert_eq!(*known, kind, "{argument}");
        }
        // By their names they must be about nodes or vClusters: so must their completion be.
        for (argument, kind) in &found {
            let id = argument.rsplit(' ').next().unwrap();
            if id == "node" || id == "exclude" || id.contains("vcluster") {
                assert!(kind.is_some(), "{argument}");
            }
        }
    }

    #[test]
    fn what_bash_keeps_is_left_out_and_zsh_reads_colons() {
        let question = |shell, kept: &str| Question {
            shell,
            typed: Typed { words: vec!["pact".into(), "x".into()], kept: kept.into() },
            live: Live::new(crate::settings::GlobalArgs::default(), BTreeMap::new()),
            wants_files: AtomicBool::new(false),
            is_open: AtomicBool::new(false),
        };
        let bash = question(Shell::Bash, "@vc:");
        assert_eq!(bash.line("@vc:ml", "help").as_deref(), Some("ml"));
        assert_eq!(bash.line("other", ""), None);
        let zsh = question(Shell::Zsh, "");
        assert_eq!(zsh.line("@vc:ml", "a: b").as_deref(), Some("@vc\\:ml:a: b"));
        assert_eq!(question(Shell::Fish, "").line("a", "b").as_deref(), Some("a\tb"));
    }
}

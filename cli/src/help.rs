//! `pact --help`: the commands in the groups of the CLI reference; `pact help`, beside the commands of every family.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::Failure;
use crate::output::{self, Screen};
use crate::topics;

/// The groups, and the commands of each in order. Every command is in one of them.
const GROUPS: &[(&str, &[&str])] = &[
    ("Authentication", &["login", "logout", "whoami"]),
    ("Read", &["status", "log", "diff", "cap", "watch", "blame"]),
    ("Write", &["commit", "rollback", "apply"]),
    ("Exec", &["exec", "shell", "session"]),
    ("Service", &["service"]),
    ("Diagnostic", &["diag"]),
    ("Admin", &["emergency", "approve", "extend", "promote", "policy"]),
    ("Node enrollment", &["node", "enroll"]),
    ("Node lifecycle", &["drain", "undrain", "cordon", "uncordon", "reboot", "reimage"]),
    ("Group", &["group"]),
    ("Blacklist", &["blacklist"]),
    (
        "Supercharged (pact and lattice)",
        &[
            "jobs",
            "queue",
            "cluster",
            "audit",
            "accounting",
            "health",
            "services",
            "dag",
            "budget",
            "backup",
            "nodes",
        ],
    ),
    ("Help", &["help", "completions", "man"]),
];

/// The tree with its commands shown in groups; what is hidden is left out, and so is a group without commands.
pub(crate) fn grouped(tree: Command) -> Command {
    let template = format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}Options:\n{{options}}{{after-help}}",
        groups(&tree)
    );
    tree.help_template(template)
}

fn groups(tree: &Command) -> String {
    let shown = |name: &str| tree.find_subcommand(name).filter(|command| !command.is_hide_set());
    let longest = tree.get_subcommands().map(|c| c.get_name().len()).max().unwrap_or(0);
    let mut text = String::new();
    for (title, names) in GROUPS {
        let commands: Vec<&Command> = names.iter().filter_map(|name| shown(name)).collect();
        if commands.is_empty() {
            continue;
        }
        text.push_str(&format!("{title} commands:\n"));
        for command in commands {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {:longest$}  {about}\n", command.get_name()));
        }
        text.push('\n');
    }
    text
}

/// The tree with the options of every command in one line of `-h`, by their names; `--help` has them in full.
pub(crate) fn with_global_line(tree: Command, has_lattice: bool) -> Command {
    let is_shown = |argument: &&Arg| {
        argument.is_global_set() && (has_lattice || argument.get_id() != "lattice_endpoint")
    };
    let name = |argument: &Arg| match argument.get_short() {
        Some(short) => format!("-{short}"),
        None => format!("--{}", argument.get_long().unwrap_or_default()),
    };
    let names: Vec<String> = tree.get_arguments().filter(is_shown).map(name).collect();
    ending_with(tree, &format!("Global options: {}", names.join(" ")))
}

fn ending_with(command: Command, line: &str) -> Command {
    let own = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let short = if own.is_empty() { line.to_owned() } else { format!("{line}\n\n{own}") };
    let command = command.after_long_help(own).after_help(short);
    command.mut_subcommands(|below| ending_with(below, line))
}

/// The word that explains.
pub(crate) const HELP: &str = "help";
const WORDS: &str = "words";

const EXAMPLES: &str = "\
Examples:
  pact help
  pact help exec
  pact help node list
  pact help topics
  pact help node-sets";

/// The tree with `help` beside the commands of every family. clap's own knows no topics.
pub(crate) fn explained(tree: Command) -> Command {
    let word = || Arg::new(WORDS).value_name("WORD").num_args(0..).action(ArgAction::Append);
    let own = Command::new(HELP)
        .about("Explain a command or a topic")
        .after_help(EXAMPLES)
        .arg(word().help("A command, a topic, or the word topics for a list of them"));
    let tree = tree.disable_help_subcommand(true).subcommand(own);
    tree.mut_subcommands(|family| below(family, &word()))
}

fn below(family: Command, word: &Arg) -> Command {
    if !family.has_subcommands() {
        return family;
    }
    let family = family.mut_subcommands(|command| below(command, word));
    let help = Command::new(HELP)
        .about("Print this message or the help of the given subcommand(s)")
        .arg(word.clone().help("A command of this family"));
    family.subcommand(help)
}

/// What is to be explained, if `help` was typed: the words before it and behind it.
pub(crate) fn asked(matches: &ArgMatches) -> Option<Vec<String>> {
    let (mut path, mut matches) = (Vec::new(), matches);
    while let Some((name, below)) = matches.subcommand() {
        if name == HELP {
            path.extend(below.get_many::<String>(WORDS).into_iter().flatten().cloned());
            return Some(path);
        }
        path.push(name.to_owned());
        matches = below;
    }
    None
}

/// Shows what these words are about.
pub(crate) fn explain(words: &[String], has_lattice: bool, screen: Screen) -> Result<(), Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let [topics::LIST] = words.as_slice() {
        return output::write_out(&topics::list());
    }
    if let [word] = words.as_slice()
        && let Some(topic) = topics::find(word)
    {
        return output::write_out(&topics::plain(&(topic.content)()));
    }
    let mut tree = crate::command(has_lattice);
    let command = find(&mut tree, &words).ok_or_else(|| {
        Failure::argument(format!("there is no command or topic `{}`", words.join(" ")))
            .next("`pact --help` lists the commands, `pact help topics` the topics")
    })?;
    output::write_out(&screen.styled(&command.render_long_help(), false))
}

/// The command with these words below its root, ready to show its help; the root itself for none.
pub(crate) fn find<'a>(tree: &'a mut Command, words: &[&str]) -> Option<&'a mut Command> {
    tree.build();
    words.iter().try_fold(tree, |command, word| {
        command.find_subcommand_mut(word).filter(|below| !below.get_name().starts_with("__"))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let tree = crate::command(true);
        let shown = tree.get_subcommands().filter(|command| !command.is_hide_set());
        let all: BTreeSet<&str> = shown.map(Command::get_name).collect();
        let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), all);
        assert_eq!(listed.len(), all.len(), "none is listed twice");
    }

    #[test]
    fn what_needs_lattice_is_hidden_without_it() {
        let with = groups(&crate::command(true));
        let without = groups(&crate::command(false));
        assert!(with.contains("  drain ") && with.contains("  jobs "));
        assert!(!without.contains("  drain ") && !without.contains("  jobs "));
        assert!(without.contains("  exec ") && without.contains("  reboot "));
    }
}

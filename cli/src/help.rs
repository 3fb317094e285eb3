//! `pact --help`: the commands in the groups of the CLI reference.

use clap::Command;

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let tree = crate::command(true);
        let all: BTreeSet<&str> = tree.get_subcommands().map(Command::get_name).collect();
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

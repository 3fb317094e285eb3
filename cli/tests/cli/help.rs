//! What `--help` says.

use crate::run::Home;

#[test]
fn the_whole_tree_reads_well() {
    let home =
        Home::bare().with("PACT_LATTICE_ENDPOINT", "http://lattice:1").with("COLUMNS", "100");
    insta::assert_snapshot!("help", home.run(&["--help"]).exits(0).stdout);
    insta::assert_snapshot!("help_exec", home.run(&["exec", "--help"]).exits(0).stdout);
    insta::assert_snapshot!("help_node", home.run(&["node", "--help"]).exits(0).stdout);
    insta::assert_snapshot!("help_log", home.run(&["log", "-h"]).exits(0).stdout);
    // The short help has one line for the options of every command, the long one explains each.
    for (flag, lines) in [("-h", 0), ("--help", 7)] {
        let text = home.run(&["log", flag]).exits(0).stdout;
        let options = ["--endpoint <", "--token <", "--vcluster <", "--output <", "--utc\n"];
        let options = options.iter().chain(&["--lattice-endpoint <", "--tls-ca <"]);
        assert_eq!(options.filter(|option| text.contains(**option)).count(), lines, "{text}");
        assert_eq!(text.contains("Global options: --endpoint "), lines == 0, "{text}");
    }
}

#[test]
fn every_command_has_a_text_and_an_example() {
    fn check(command: &clap::Command, path: &str, examples: &str) {
        for child in
            command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help")
        {
            let path = format!("{path} {}", child.get_name());
            assert!(child.get_about().is_some(), "{path} has no text");
            for argument in child.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {} has no text", argument.get_id());
            }
            let own = child.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = format!("{examples}{own}");
            if child.get_subcommands().next().is_none() {
                assert!(examples.contains(&path), "{path} has no example");
            }
            check(child, &path, &examples);
        }
    }
    check(&pact_cli::command(true), "pact", "");
}

#[test]
fn usage_errors_exit_with_one_and_help_with_zero() {
    let home = Home::bare();
    home.run(&["--version"]).exits(0);
    home.run(&["node", "help"]).exits(0);
    home.run(&["help"]).exits(0);
    let below = home.run(&["node", "help", "list"]).exits(0).stdout;
    assert_eq!(below, home.run(&["help", "node", "list"]).exits(0).stdout);
    let run = home.run(&["nonsense"]).exits(1);
    assert!(run.stderr.contains("unrecognized subcommand 'nonsense'"), "{}", run.stderr);
    home.run(&[]).exits(1);
    let json = home.run(&["log", "-n", "x", "--output", "json"]).exits(1).stderr;
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(object["code"], "PACT_INVALID_ARGUMENT");
}

#[test]
fn help_explains_commands_and_topics() {
    let home = Home::bare().with("COLUMNS", "100");
    let whole = home.run(&["--help"]).exits(0).stdout;
    assert_eq!(home.run(&["help"]).exits(0).stdout, whole);
    assert_eq!(
        home.run(&["help", "node", "list"]).exits(0).stdout,
        home.run(&["node", "list", "--help"]).exits(0).stdout
    );
    for topic in ["topics", "node-sets", "exit-codes", "environment"] {
        let shown = home.run(&["help", topic]).exits(0).stdout;
        insta::assert_snapshot!(format!("help_{}", topic.replace('-', "_")), shown);
    }
    for unknown in
        [["help", "nonsense"].as_slice(), &["help", "node", "sets"], &["help", "__complete"]]
    {
        let stderr = home.run(unknown).exits(1).stderr;
        assert!(stderr.contains("pact help topics"), "{stderr}");
    }
}

#[test]
fn help_needs_no_settings() {
    let home = Home::bare();
    home.file(".config/pact/cli.toml", "nonsense = 1\n");
    home.run(&["whoami"]).exits(1);
    home.run(&["help", "topics"]).exits(0);
    home.run(&["man"]).exits(0);
    home.run(&["completions", "bash"]).exits(0);
}

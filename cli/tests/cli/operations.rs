//! The command tree and the operations table say the same.

use std::collections::BTreeSet;

use pact_schemas::operation::{OPERATIONS, Rpc};

use crate::run::Home;
use crate::site::Site;

/// Commands that stand for an operation of another name.
const ALIASES: &[&str] = &["enroll", "enroll.status"];

/// Commands about pact itself, of which nothing is asked of anybody.
const ABOUT_PACT: &[&str] = &["__complete", "completions", "man"];

/// Paths of everything that can be run, with dots.
fn commands(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
    let below: Vec<&clap::Command> =
        command.get_subcommands().filter(|c| c.get_name() != "help").collect();
    if !path.is_empty() && !command.is_subcommand_required_set() {
        found.insert(path.to_owned());
    }
    for child in below {
        let separator = if path.is_empty() { "" } else { "." };
        commands(child, &format!("{path}{separator}{}", child.get_name()), found);
    }
}

#[test]
fn every_operation_has_a_command_and_every_command_an_operation() {
    let mut typed = BTreeSet::new();
    commands(&pact_cli::command(true), "", &mut typed);
    for other in ALIASES.iter().chain(ABOUT_PACT) {
        assert!(typed.remove(*other), "{other}");
    }
    let listed: BTreeSet<String> = OPERATIONS.iter().map(|o| o.name.to_owned()).collect();
    assert_eq!(typed, listed);
}

#[test]
fn lattice_commands_are_hidden_until_an_endpoint_is_set_and_run_either_way() {
    let hidden = |configured: bool| -> BTreeSet<String> {
        let tree = pact_cli::command(configured);
        let names =
            tree.get_subcommands().filter(|c| c.is_hide_set()).map(|c| c.get_name().to_owned());
        names.collect()
    };
    assert_eq!(hidden(true), BTreeSet::from(["__complete".to_owned()]));
    let contract =
        "jobs queue accounting services dag budget backup nodes drain undrain cordon uncordon";
    let expected: BTreeSet<String> =
        contract.split(' ').chain(["__complete"]).map(ToOwned::to_owned).collect();
    assert_eq!(hidden(false), expected);

    let help = Home::bare().run(&["--help"]).exits(0).stdout;
    assert!(!help.contains("Lattice's node inventory"), "{help}");
    let home = Home::bare().with("PACT_LATTICE_ENDPOINT", "http://lattice:1");
    assert!(home.run(&["--help"]).exits(0).stdout.contains("Lattice's node inventory"));
}

#[test]
fn what_is_not_built_reaches_its_service_which_says_so() {
    let site = Site::start();
    let home = Home::new(&site.endpoint)
        .with("PACT_NODE", "node-042")
        .with("PACT_VCLUSTER", "ml-training")
        .with("PACT_LATTICE_ENDPOINT", "http://lattice:1");
    let lines: &[(&str, &[&str])] = &[
        ("blame", &["blame"]),
        ("shell", &["shell", "node-042"]),
        ("session.play", &["session", "play", "1"]),
        ("service.status", &["service", "status"]),
        ("service.restart", &["service", "restart", "x"]),
        ("service.logs", &["service", "logs", "x"]),
        ("diag", &["diag", "node-042"]),
        ("emergency.start", &["emergency", "start", "-r", "x"]),
        ("emergency.end", &["emergency", "end"]),
        ("approve.list", &["approve", "list"]),
        ("approve.accept", &["approve", "accept", "ap-1"]),
        ("approve.deny", &["approve", "deny", "ap-1", "-m", "x"]),
        ("node.decommission", &["node", "decommission", "node-042"]),
        ("drain", &["drain", "node-042"]),
        ("undrain", &["undrain", "node-042"]),
        ("cordon", &["cordon", "node-042"]),
        ("uncordon", &["uncordon", "node-042"]),
        ("reboot", &["reboot", "node-042"]),
        ("reimage", &["reimage", "node-042"]),
        ("jobs.list", &["jobs", "list"]),
        ("jobs.cancel", &["jobs", "cancel", "x"]),
        ("jobs.inspect", &["jobs", "inspect", "x"]),
        ("queue", &["queue"]),
        ("cluster.ca.status", &["cluster", "ca", "status"]),
        ("cluster.ca.rotate", &["cluster", "ca", "rotate"]),
        ("audit", &["audit"]),
        ("audit.verify", &["audit", "verify"]),
        ("audit.prove", &["audit", "prove", "1"]),
        ("accounting", &["accounting"]),
        ("services.list", &["services", "list"]),
        ("services.lookup", &["services", "lookup", "x"]),
        ("dag.list", &["dag", "list"]),
        ("dag.inspect", &["dag", "inspect", "x"]),
        ("dag.cancel", &["dag", "cancel", "x"]),
        ("budget.tenant", &["budget", "tenant", "x"]),
        ("budget.user", &["budget", "user", "x"]),
        ("backup.create", &["backup", "create", "/x"]),
        ("backup.verify", &["backup", "verify", "/x"]),
        ("backup.restore", &["backup", "restore", "/x", "--confirm"]),
        ("nodes.list", &["nodes", "list"]),
        ("nodes.inspect", &["nodes", "inspect", "x"]),
        ("policy.explain", &["policy", "explain", "exec"]),
        ("policy.test", &["policy", "test", "x"]),
    ];
    for (operation, arguments) in lines {
        let run = home.run(arguments).exits(1);
        assert!(run.stderr.contains("error[PACT_UNIMPLEMENTED]"), "{operation}: {}", run.stderr);
    }
    let invoked = site.seen.invoked.lock().unwrap();
    let sent: Vec<&str> = invoked.iter().map(|r| r.operation.as_str()).collect();
    let expected: Vec<&str> = lines.iter().map(|(operation, _)| *operation).collect();
    assert_eq!(sent, expected);
    let table: BTreeSet<&str> =
        OPERATIONS.iter().filter(|o| o.rpc == Rpc::Invoke).map(|o| o.name).collect();
    assert_eq!(sent.iter().copied().collect::<BTreeSet<_>>(), table);

    let restart = invoked.iter().find(|r| r.operation == "service.restart").unwrap();
    assert_eq!(restart.targets, "node-042");
    assert_eq!(uuid_version(&restart.request_id), '7');
    let arguments: Vec<(&str, &str)> =
        restart.arguments.iter().map(|a| (a.name.as_str(), a.value.as_str())).collect();
    assert!(arguments.contains(&("name", "x")), "{arguments:?}");
    let diag = invoked.iter().find(|r| r.operation == "diag").unwrap();
    assert_eq!(diag.vcluster, None, "fleet mode reacts to the flag alone");
}

fn uuid_version(id: &str) -> char {
    id.chars().nth(14).unwrap()
}

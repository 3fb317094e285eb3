//! Which commands react to `--vcluster`. For the others it is an error: who names a vCluster and is not heard would
//! believe that the command kept to it.

use crate::failure::Failure;

/// Words of the commands that react to the option.
const REACT: &[&[&str]] = &[
    &["accounting"],
    &["approve", "list"],
    &["audit"],
    &["blacklist", "add"],
    &["blacklist", "list"],
    &["blacklist", "remove"],
    &["commit"],
    &["diag"],
    &["emergency", "end"],
    &["emergency", "start"],
    &["jobs", "list"],
    &["log"],
    &["node", "assign"],
    &["node", "list"],
    &["nodes", "list"],
    &["policy", "explain"],
    &["queue"],
    &["rollback"],
    &["services", "list"],
    &["status"],
    &["watch"],
];

/// Refuses the option where it would do nothing. A default from the environment or a file is no such wish.
pub(crate) fn check(command: &[&str], is_given: bool) -> Result<(), Failure> {
    if !is_given || command.is_empty() || REACT.contains(&command) {
        return Ok(());
    }
    let command = command.join(" ");
    Err(Failure::argument(format!("`pact {command}` does not react to --vcluster"))
        .because("what it is about is said by its own arguments")
        .next(match command.as_str() {
            "node move" => "name the vCluster with --to-vcluster".to_owned(),
            _ => "leave the option out; nodes of a vCluster are named @vc:NAME".to_owned(),
        }))
}

#[cfg(test)]
mod tests {
    use pact_schemas::operation::OPERATIONS;

    use super::*;

    #[test]
    fn every_command_that_reacts_is_one_and_the_others_refuse() {
        for command in REACT {
            assert!(OPERATIONS.iter().any(|o| o.command == *command), "{command:?}");
            check(command, true).unwrap();
        }
        let Failure::Reported(error) = check(&["exec"], true).unwrap_err() else { panic!() };
        assert_eq!(error.message, "`pact exec` does not react to --vcluster");
        check(&["exec"], false).unwrap();
    }
}

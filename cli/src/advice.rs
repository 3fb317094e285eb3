//! What an error tells people to do next: never the very command that was just refused, and where nobody said
//! anything of a wrong argument, where the right ones are explained.

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;

/// Said where nothing else is left to try.
const NOTHING_LEFT: &str = "look at the logs of pact's services on a management host";

/// The error, without advice to run `command` (its words below `pact`) again as it was.
pub(crate) fn after(command: &[&str], mut error: v1::Error) -> v1::Error {
    let is_wrong_argument = error.code == ErrorCode::InvalidArgument.as_str();
    if is_wrong_argument && error.next_step.is_empty() && !command.is_empty() {
        return error.next(format!("`pact help {}` explains the arguments", command.join(" ")));
    }
    let refused = format!("pact {}", command.join(" "));
    if command.is_empty() || !names(&error.next_step, &refused) {
        return error;
    }
    let rest: Vec<&str> =
        error.next_step.split(", or ").filter(|part| !names(part, &refused)).collect();
    error.next_step = if rest.is_empty() { NOTHING_LEFT.to_owned() } else { rest.join(", or ") };
    error
}

/// Whether this text names the command as it was: with more words behind it, it is another one.
fn names(text: &str, command: &str) -> bool {
    text.match_indices(command).any(|(at, _)| {
        let rest = text.get(at + command.len()..).unwrap_or_default();
        !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-')
            && rest.strip_prefix(' ').is_none_or(|rest| rest.starts_with("again"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_was_refused_is_no_advice() {
        let after = |command: &[&str], next: &str| {
            after(command, ErrorCode::NotFound.error("x").next(next)).next_step
        };
        let both = "list the nodes with `pact node list`, or register it with `pact node enroll`";
        assert_eq!(after(&["status"], both), both);
        assert_eq!(after(&["node", "enroll"], both), "list the nodes with `pact node list`");
        assert_eq!(after(&["health"], "check that it runs: `pact health`"), NOTHING_LEFT);
        for other in ["`pact log show 42` shows it", "`pact logs`", "`pact log --at 3`"] {
            assert_eq!(after(&["log"], other), other);
        }
        assert_eq!(after(&[], both), both);
    }

    #[test]
    fn a_wrong_argument_always_has_advice() {
        let of = |error: v1::Error| after(&["node", "list"], error).next_step;
        let argument = ErrorCode::InvalidArgument;
        assert_eq!(of(argument.error("x")), "`pact help node list` explains the arguments");
        assert_eq!(of(argument.error("x").next("do this")), "do this");
        assert_eq!(of(ErrorCode::Internal.error("x")), "");
    }
}

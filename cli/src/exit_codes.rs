//! What the exit codes of `pact` mean (contracts §1). Which failure has which code is in
//! [`ErrorCode::exit_code`]; a test compares the two.

use pact_schemas::error_code::ErrorCode;

/// One exit code.
#[derive(Debug)]
pub(crate) struct ExitCode {
    pub(crate) code: u8,
    /// In a word or two.
    pub(crate) short: &'static str,
    /// When it is used.
    pub(crate) when: &'static str,
}

const fn exit(code: u8, short: &'static str, when: &'static str) -> ExitCode {
    ExitCode { code, short, when }
}

/// All of them, in order.
#[rustfmt::skip]
pub(crate) const EXIT_CODES: &[ExitCode] = &[
    exit(0, "success", "What was asked for was done."),
    exit(1, "general", "Wrong arguments, configuration or specification; no connection; not built or not configured."),
    exit(2, "not authenticated or authorised", "No token or a bad one; your roles do not allow it here."),
    exit(3, "policy", "A rule of the site or a setting of the vCluster says no; the commit window has expired."),
    exit(4, "conflict", "Somebody else changed the same thing since you looked, or holds it."),
    exit(5, "timeout", "No answer in time: from the gateway, the journal or the node."),
    exit(6, "command not whitelisted", "The command is not on the node's list."),
    exit(7, "partial", "Several nodes with mixed outcomes; the same failure everywhere has its own code. `pact health`: degraded."),
    exit(8, "approval pending", "Another person has to agree first."),
    exit(9, "not found", "No such node, entry, approval, session, group or vCluster."),
    exit(10, "rollback failed", "Somebody holds the state that would change; nothing was changed there."),
    exit(11, "drift found", "Only `pact diff --exit-code`."),
    exit(12, "remote command failed", "`pact exec`: the command itself failed. With -S its own status instead, and 255 for pact's failures."),
    exit(130, "interrupted", "Ctrl-C; `pact watch` ends with 0."),
];

/// The symbolic codes that end with this exit code.
pub(crate) fn symbols(exit_code: u8) -> Vec<&'static str> {
    let of_this = ErrorCode::ALL.iter().filter(|code| code.exit_code() == exit_code);
    of_this.map(|code| code.as_str()).collect()
}

/// All in one sentence.
pub(crate) fn in_short() -> String {
    let all: Vec<String> = EXIT_CODES.iter().map(|e| format!("{} {}", e.code, e.short)).collect();
    format!("Exit codes: {}.", all.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_exit_code_of_an_error_is_explained_and_no_other() {
        let explained: Vec<u8> = EXIT_CODES.iter().map(|e| e.code).collect();
        let used: BTreeSet<u8> =
            ErrorCode::ALL.iter().map(|code| code.exit_code()).chain([0]).collect();
        assert_eq!(explained, used.into_iter().collect::<Vec<_>>());
        assert!(symbols(0).is_empty());
        assert_eq!(symbols(6), ["PACT_NOT_WHITELISTED"]);
    }
}

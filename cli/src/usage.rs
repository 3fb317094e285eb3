//! A command line that does not parse, as a failure like all others: its code, what is wrong, the form that is
//! expected, and what to do next.

use clap::error::ErrorKind;

use crate::failure::Failure;

/// What clap has against a command line.
pub(crate) fn failure(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::argument("no command is given")
            .because("this is a family of commands: one of them has to be named")
            .next(
                "`pact help` lists all commands, `pact help topics` what is explained at length",
            );
    }
    // clap keeps what it has to say in parts that no caller can put together again; the text is stable and tested.
    let text = error.render().to_string();
    let mut parts = text.split("\n\n");
    let what = sentence(parts.next().unwrap_or_default().trim_start_matches("error: "));
    let mut failure = Failure::argument(what);
    let (mut tips, mut path) = (Vec::new(), "pact".to_owned());
    for part in parts {
        if let Some(usage) = part.trim_start().strip_prefix("Usage: ") {
            let forms: Vec<&str> = usage.lines().map(str::trim).collect();
            path = command_of(forms.first().copied().unwrap_or_default());
            failure = failure.because(format!("the form is `{}`", forms.join("` or `")));
        }
        tips.extend(part.lines().filter_map(|line| line.trim().strip_prefix("tip: ")));
    }
    let help = match path.strip_prefix("pact ") {
        Some(words) => format!("`pact help {words}` explains it"),
        None => "`pact help` lists the commands".to_owned(),
    };
    failure.next(if tips.is_empty() { help } else { format!("{}; {help}", tips.join("; ")) })
}

/// A first line, with the lines below it behind it.
fn sentence(paragraph: &str) -> String {
    let mut lines = paragraph.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    let rest: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    match rest.as_slice() {
        [] => first.to_owned(),
        rest => format!("{first} {}", rest.join(", ")),
    }
}

/// The words of a usage line before its options and arguments.
fn command_of(usage: &str) -> String {
    let is_word = |word: &&str| !word.starts_with(['[', '<', '-']);
    usage.split_whitespace().take_while(is_word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Message, cause and next step.
    fn said(line: &str) -> [String; 3] {
        let error = crate::command(true).try_get_matches_from(line.split(' ')).unwrap_err();
        let Failure::Reported(error) = failure(&error) else { panic!("not reported") };
        assert_eq!(error.code, "PACT_INVALID_ARGUMENT");
        [error.message, error.cause, error.next_step]
    }

    #[test]
    fn what_is_missing_is_named() {
        let [message, cause, next] = said("pact node enroll");
        assert_eq!(
            message,
            "the following required arguments were not provided: --mac <MAC>, <NODE_ID>"
        );
        assert!(cause.starts_with("the form is `pact node enroll --mac <MAC>"), "{cause}");
        assert_eq!(next, "`pact help node enroll` explains it");
        assert!(said("pact commit")[0].ends_with("not provided: -m <MESSAGE>"));
    }

    #[test]
    fn a_wrong_value_names_the_right_ones_and_a_typo_the_nearest_word() {
        let [message, _, _] = said("pact -o xml log");
        assert_eq!(
            message,
            "invalid value 'xml' for '--output <FORMAT>' [possible values: text, wide, json]"
        );
        let [message, cause, next] = said("pact statsu");
        assert_eq!(message, "unrecognized subcommand 'statsu'");
        assert_eq!(cause, "the form is `pact [OPTIONS] <COMMAND>`");
        assert!(next.contains("'status'") && next.ends_with("lists the commands"), "{next}");
        assert_eq!(said("pact node")[0], "no command is given");
        // clap names no command with a value that its parser refuses.
        assert_eq!(said("pact extend 0")[2], "`pact help` lists the commands");
    }
}

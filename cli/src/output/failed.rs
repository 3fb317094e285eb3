//! A failure on stderr: text for people, one object for programs.

use std::io::Write as _;

use pact_schemas::v1;
use serde::Serialize;

use super::{Format, Screen, clean_line};
use crate::advice;
use crate::failure::Failure;

/// Prints the failure, as text or as one JSON object. One that was shown already prints nothing.
pub(crate) fn print_failure(failure: &Failure, screen: Screen) {
    let Failure::Reported(error) = failure else { return };
    let error = advice::after(screen.command, v1::Error::clone(error));
    let text = match screen.format() {
        Format::Text => error_text(&error, screen),
        Format::Json => json(&error, failure.exit_code()),
    };
    // Nobody is left to tell when stderr is closed.
    let _closed = std::io::stderr().lock().write_all(text.as_bytes());
}

/// `error[PACT_X]: what`, cause, next step; each on its own line.
pub(crate) fn error_text(error: &v1::Error, screen: Screen) -> String {
    let node = match error.node.as_str() {
        "" => String::new(),
        node => format!("{}: ", clean_line(node)),
    };
    let head = screen.paint_error(&format!("error[{}]", clean_line(&error.code)));
    let mut text = format!("{head}: {node}{}\n", clean_line(&error.message));
    for (label, line) in [("cause", &error.cause), ("next", &error.next_step)] {
        if !line.is_empty() {
            text.push_str(&format!("  {label}: {}\n", clean_line(line)));
        }
    }
    text
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    schema: &'static str,
    code: &'a str,
    message: &'a str,
    cause: &'a str,
    next: &'a str,
    node: &'a str,
    exit_code: u8,
}

fn json(error: &v1::Error, exit_code: u8) -> String {
    let object = ErrorObject {
        schema: "pact/v1/Error",
        code: &error.code,
        message: &error.message,
        cause: &error.cause,
        next: &error.next_step,
        node: &error.node,
        exit_code,
    };
    let line = serde_json::to_string(&object).unwrap_or_else(|_| error.code.clone());
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use pact_schemas::ErrorCode;

    use super::*;

    const PLAIN: Screen = Screen::NOT_A_TERMINAL;

    #[test]
    fn text_says_what_why_and_what_next_without_control_characters() {
        let error = ErrorCode::NotFound
            .error("no node \u{1b}[31mnode-9")
            .because("it is not\nregistered")
            .next("run `pact node list`");
        assert_eq!(
            error_text(&error, PLAIN),
            "error[PACT_NOT_FOUND]: no node ␛[31mnode-9\n  cause: it is not␊registered\n  next: run `pact node list`\n"
        );
    }

    #[test]
    fn json_is_one_object_on_one_line() {
        let error = ErrorCode::Timeout.error("no answer");
        assert_eq!(
            json(&error, 5),
            "{\"schema\":\"pact/v1/Error\",\"code\":\"PACT_TIMEOUT\",\"message\":\"no answer\",\"cause\":\"\",\"next\":\"\",\"node\":\"\",\"exit_code\":5}\n"
        );
    }
}

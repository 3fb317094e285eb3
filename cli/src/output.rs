//! What the user sees: data on stdout, the rest on stderr.

mod choice;
mod columns;
mod failed;
mod json;
mod sanitize;
mod screen;
mod stream;
mod table;
mod when;

use std::io::Write as _;

pub(crate) use choice::{Choice, Format};
pub(crate) use failed::{error_text, print_failure};
pub(crate) use json::{Envelope, Line, Summary, bytes_as_json, code_of};
pub(crate) use sanitize::{Sanitizer, clean_line};
pub(crate) use screen::Screen;
pub(crate) use stream::StreamWriter;
pub(crate) use table::{Cell, Hue, Table, fields};
pub(crate) use when::short;

use crate::failure::Failure;

/// `1 key`, `2 keys`: of things whose plural has an s.
pub(crate) fn counted(count: impl TryInto<u64>, what: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// Writes finished data to stdout. Its reader may go away at any time.
pub(crate) fn write_out(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| write_failure(&error))
}

/// Why a write to stdout or stderr failed; a closed pipe is the reader's way to say "enough".
pub(crate) fn write_failure(error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Failure::OutputClosed;
    }
    Failure::new(pact_schemas::ErrorCode::Internal, "the output cannot be written")
        .because(error.to_string())
}

//! Answers about several nodes: one exit code, and each failure in its own words.

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{self, Envelope, Format};
use crate::session::{Exit, Session};

/// What came out, node by node.
pub(crate) struct Answered {
    /// Of the envelope.
    pub(crate) schema: &'static str,
    /// What came out, for JSON.
    pub(crate) items: Vec<Value>,
    /// How many of them came out well.
    pub(crate) ok: usize,
    /// The same for people.
    pub(crate) text: String,
    /// What did not.
    pub(crate) errors: Vec<v1::Error>,
}

impl Answered {
    /// Shows all of it. A single failure and nothing else is the failure of the command.
    pub(crate) fn show(self, session: &Session) -> Result<Exit, Failure> {
        let code = exit_code(self.ok, &self.errors);
        let mut errors = self.errors;
        if self.items.is_empty()
            && errors.len() == 1
            && let Some(only) = errors.pop()
        {
            return Err(only.into());
        }
        match session.format() {
            Format::Json => {
                Envelope::counted(self.schema, self.items, &errors, self.ok).write()?;
            }
            Format::Text => output::write_out(&self.text)?,
        }
        for error in errors {
            output::print_failure(&Failure::from(error), session.screen);
        }
        Ok(Exit::with(code))
    }
}

/// All well: 0. All the same failure: its code. Otherwise 7 (contracts §1); but what a rollback could not undo is
/// always 10, whatever else came out well.
pub(crate) fn exit_code(ok: usize, errors: &[v1::Error]) -> u8 {
    let code = |error: &v1::Error| ErrorCode::parse(&error.code).map_or(1, ErrorCode::exit_code);
    let held = ErrorCode::RollbackFailed;
    if errors.iter().any(|error| error.code == held.as_str()) {
        return held.exit_code();
    }
    let mut codes = errors.iter().map(code);
    match codes.next() {
        None => 0,
        Some(first) if ok == 0 && codes.all(|code| code == first) => first,
        Some(_) => ErrorCode::Partial.exit_code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_whether_all_some_or_none_came_out_well() {
        let (timeout, conflict) = (ErrorCode::Timeout.error("x"), ErrorCode::Conflict.error("x"));
        let held = ErrorCode::RollbackFailed.error("x");
        assert_eq!(exit_code(0, &[]), 0);
        assert_eq!(exit_code(2, &[]), 0);
        assert_eq!(exit_code(0, &[timeout.clone(), timeout.clone()]), 5);
        assert_eq!(exit_code(0, &[timeout.clone(), conflict.clone()]), 7);
        assert_eq!(exit_code(1, std::slice::from_ref(&conflict)), 7);
        assert_eq!(exit_code(1, &[held, conflict]), 10);
    }
}

//! Answers about several nodes: one exit code, and each failure in its own words.

use pact_schemas::error_code::ErrorCode;
use pact_schemas::{NodeId, NodeSet, v1};
use serde_json::Value;

use crate::advice;
use crate::failure::Failure;
use crate::output::{self, Envelope, Format, clean_line};
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
        let advised = |error| advice::after(session.screen.command, error);
        let mut errors: Vec<v1::Error> = self.errors.into_iter().map(advised).collect();
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
            Format::Text => {
                output::write_out(&self.text)?;
                errors = folded(errors);
            }
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

/// The same error of many nodes as one, of their set; in the order of their first nodes.
pub(crate) fn folded(errors: Vec<v1::Error>) -> Vec<v1::Error> {
    let mut folded: Vec<(v1::Error, Vec<String>)> = Vec::new();
    for mut error in errors {
        let node = std::mem::take(&mut error.node);
        match folded.iter_mut().find(|(same, nodes)| *same == error && !nodes.is_empty()) {
            Some((_, nodes)) if !node.is_empty() => nodes.push(node),
            _ => folded.push((error, Some(node).filter(|n| !n.is_empty()).into_iter().collect())),
        }
    }
    folded.into_iter().map(|(error, nodes)| v1::Error { node: node_set(&nodes), ..error }).collect()
}

/// `node[001-128]`, or the names as they are where they are no ids.
pub(crate) fn node_set(nodes: &[String]) -> String {
    if let [only] = nodes {
        return clean_line(only);
    }
    let ids = nodes.iter().map(|node| NodeId::new(node)).collect::<Result<Vec<_>, _>>();
    let set = ids.ok().and_then(|ids| NodeSet::new(ids).ok()).map(|set| set.fold());
    set.unwrap_or_else(|| clean_line(&nodes.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_error_of_many_nodes_is_one() {
        let of = |node: &str, code: ErrorCode| {
            let mut error = code.error("no answer").because("why");
            node.clone_into(&mut error.node);
            error
        };
        let (away, denied) = (ErrorCode::Unreachable, ErrorCode::PolicyDenied);
        let errors = vec![of("n1", away), of("n2", denied), of("n3", away), of("n2", away)];
        let nodes: Vec<(String, String)> =
            folded(errors).into_iter().map(|error| (error.code, error.node)).collect();
        let expected = [(away, "n[1-3]"), (denied, "n2")];
        assert_eq!(nodes, expected.map(|(c, n)| (c.as_str().to_owned(), n.to_owned())));
        // Errors about no node stay apart: each is about something else.
        assert_eq!(folded(vec![of("", away), of("", away)]).len(), 2);
        assert_eq!(node_set(&["a b".into(), "c".into()]), "a b,c");
    }

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

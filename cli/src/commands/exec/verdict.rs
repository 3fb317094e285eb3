//! What the outcomes on all nodes mean together: one exit code.

use std::collections::BTreeMap;

use pact_schemas::convert;
use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1;

use super::OWN_FAILURE;
use crate::failure::Failure;
use crate::session::Exit;
use crate::view::entry_detail::exec_outcome;

/// First exit status of a command that a signal ended, as shells count.
const SIGNAL_BASE: i32 = 128;

/// How it ended on one node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    /// The command ran to its end there, whatever that was.
    Finished(v1::ExecFinished),
    /// It could not be asked or did not answer.
    Failed(v1::Error),
}

/// All outcomes, by node.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Sequence of the ExecRequested entry, once accepted.
    pub(super) seq: Option<u64>,
    expected: Vec<String>,
    ended: BTreeMap<String, Ended>,
}

impl Verdict {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The command is recorded and on its way to these nodes.
    pub(super) fn accept(&mut self, accepted: v1::ExecAcceptedBy) {
        self.seq = Some(accepted.seq);
        self.expected = accepted.nodes;
    }

    /// Whether output needs the node's name in front.
    pub(super) fn is_fleet(&self) -> bool {
        self.expected.len() > 1
    }

    /// The end on one node.
    pub(super) fn finish(
        &mut self,
        node: String,
        finished: v1::ExecFinished,
    ) -> Result<(), Failure> {
        let _known: v1::ExecOutcome =
            convert::enumeration(finished.outcome, "ExecFinished.outcome")
                .map_err(v1::Error::from)?;
        self.ended.insert(node, Ended::Finished(finished));
        Ok(())
    }

    /// The failure on one node.
    pub(super) fn fail(&mut self, node: String, error: v1::Error) {
        self.ended.insert(node, Ended::Failed(error));
    }

    /// How it ended on each node, in order.
    pub(super) fn ended(&self) -> impl Iterator<Item = (&String, &Ended)> {
        self.ended.iter()
    }

    /// Nodes of which nothing was heard.
    pub(super) fn missing(&self) -> Vec<&String> {
        self.expected.iter().filter(|n| !self.ended.contains_key(*n)).collect()
    }

    /// The exit code: the common one of all nodes, or 7. With `own_status` the status of the command
    /// itself, and 255 where pact failed or the nodes differ.
    pub(super) fn exit(&self, own_status: bool) -> Result<Exit, Failure> {
        let missing = self.missing();
        if self.ended.is_empty() || !missing.is_empty() {
            return Err(self.unheard(&missing));
        }
        let mut codes = self
            .ended
            .values()
            .map(|ended| if own_status { remote_status(ended) } else { exit_code(ended) });
        let first = codes.next().unwrap_or(OWN_FAILURE);
        let code = match codes.all(|code| code == first) {
            true => first,
            false if own_status => OWN_FAILURE,
            false => ErrorCode::Partial.exit_code(),
        };
        Ok(Exit::with(code))
    }

    fn unheard(&self, missing: &[&String]) -> Failure {
        let Some(seq) = self.seq else {
            return Failure::new(
                ErrorCode::Internal,
                "the gateway ended the call without an answer",
            )
            .next("try again; `pact log` shows whether the command was recorded");
        };
        let names: Vec<&str> = missing.iter().map(|n| n.as_str()).collect();
        Failure::new(
            ErrorCode::Unreachable,
            format!("the outcome of entry {seq} is unknown on {}", names.join(", ")),
        )
        .because("the connection ended before the outcome came; the command may have run")
        .next(format!(
            "`pact log show {seq}` shows the outcome once the node reports it; nothing runs twice"
        ))
    }
}

/// The exit code for one node (contracts §1).
pub(super) fn exit_code(ended: &Ended) -> u8 {
    match ended {
        Ended::Failed(error) => ErrorCode::parse(&error.code).map_or(1, ErrorCode::exit_code),
        Ended::Finished(finished) => code_of(finished).map_or(0, ErrorCode::exit_code),
    }
}

/// The error code of an outcome; `None` for success.
pub(super) fn code_of(finished: &v1::ExecFinished) -> Option<ErrorCode> {
    let named = ErrorCode::parse(&finished.code);
    match finished.outcome() {
        v1::ExecOutcome::Exited if finished.exit_status == Some(0) => None,
        v1::ExecOutcome::Exited | v1::ExecOutcome::Signalled => Some(ErrorCode::RemoteFailed),
        v1::ExecOutcome::NotStarted => named.or(Some(ErrorCode::RemoteFailed)),
        v1::ExecOutcome::TimedOut => named.or(Some(ErrorCode::Timeout)),
        v1::ExecOutcome::Cancelled => named.or(Some(ErrorCode::Interrupted)),
        v1::ExecOutcome::Unknown => named.or(Some(ErrorCode::Unreachable)),
        v1::ExecOutcome::Refused | v1::ExecOutcome::Unspecified => {
            named.or(Some(ErrorCode::Internal))
        }
    }
}

/// What `-S` returns for one node.
fn remote_status(ended: &Ended) -> u8 {
    let Ended::Finished(finished) = ended else { return OWN_FAILURE };
    let status = match finished.outcome() {
        v1::ExecOutcome::Exited => finished.exit_status,
        v1::ExecOutcome::Signalled => finished.signal.map(|signal| SIGNAL_BASE + signal),
        _ => None,
    };
    status.and_then(|s| u8::try_from(s).ok()).unwrap_or(OWN_FAILURE)
}

/// What somebody does who needs a command that the node refuses.
const HOW_TO_ADD: &str = "a program that is not on the list is added by name in the vCluster's spec (`exec_whitelist` in \
                          [vcluster.NAME.policy], then `pact apply`); of a listed one the list decides the arguments";

/// The error to show for a node whose outcome is not success.
pub(super) fn error_of(node: &str, ended: &Ended) -> Option<v1::Error> {
    let mut error = match ended {
        Ended::Failed(error) => error.clone(),
        Ended::Finished(finished) => {
            let code = code_of(finished)?;
            let what = match finished.outcome() {
                v1::ExecOutcome::Exited => {
                    format!("the command ended with {}", exec_outcome(finished).0)
                }
                v1::ExecOutcome::Signalled => {
                    format!("the command was ended by {}", exec_outcome(finished).0)
                }
                v1::ExecOutcome::TimedOut => "the time limit passed; the command was killed".into(),
                v1::ExecOutcome::Cancelled => "the command was cancelled and killed".into(),
                v1::ExecOutcome::NotStarted => "the command could not be started".into(),
                v1::ExecOutcome::Unknown => {
                    "the outcome is unknown: the command was started and its end was not seen"
                        .into()
                }
                v1::ExecOutcome::Refused | v1::ExecOutcome::Unspecified => refused(finished),
            };
            let error = code.error(what).because(cause(finished));
            if code == ErrorCode::NotWhitelisted { error.next(HOW_TO_ADD) } else { error }
        }
    };
    node.clone_into(&mut error.node);
    match Failure::from(error) {
        Failure::Reported(error) => Some(*error),
        Failure::OutputClosed | Failure::Shown(_) => None,
    }
}

fn refused(finished: &v1::ExecFinished) -> String {
    match finished.reason.as_str() {
        "" => "the node refused the command".to_owned(),
        reason => reason.to_owned(),
    }
}

fn cause(finished: &v1::ExecFinished) -> String {
    match finished.outcome() {
        v1::ExecOutcome::Refused | v1::ExecOutcome::Unspecified => String::new(),
        _ => finished.reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(outcome: v1::ExecOutcome, status: Option<i32>, code: &str) -> Ended {
        Ended::Finished(v1::ExecFinished {
            outcome: outcome.into(),
            exit_status: status,
            code: code.to_owned(),
            ..Default::default()
        })
    }

    fn verdict(ends: &[Ended]) -> Verdict {
        let mut verdict = Verdict::new();
        let nodes: Vec<String> = (0..ends.len()).map(|i| format!("node-{i}")).collect();
        verdict.accept(v1::ExecAcceptedBy { seq: 7, nodes: nodes.clone() });
        for (node, end) in nodes.into_iter().zip(ends) {
            match end.clone() {
                Ended::Finished(f) => verdict.finish(node, f).unwrap(),
                Ended::Failed(e) => verdict.fail(node, e),
            }
        }
        verdict
    }

    #[test]
    fn every_way_to_end_has_its_exit_code() {
        use v1::ExecOutcome as O;
        let signalled = Ended::Finished(v1::ExecFinished {
            outcome: O::Signalled.into(),
            signal: Some(9),
            ..Default::default()
        });
        let unreachable = Ended::Failed(ErrorCode::Unreachable.error("x"));
        for (end, code, own) in [
            (finished(O::Exited, Some(0), ""), 0, 0),
            (finished(O::Exited, Some(3), ""), 12, 3),
            (signalled, 12, 137),
            (finished(O::Refused, None, "PACT_NOT_WHITELISTED"), 6, 255),
            (finished(O::Refused, None, "PACT_GRANT_REPLAYED"), 1, 255),
            (finished(O::NotStarted, None, ""), 12, 255),
            (finished(O::TimedOut, None, "PACT_TIMEOUT"), 5, 255),
            (finished(O::Cancelled, None, ""), 130, 255),
            (finished(O::Unknown, None, ""), 5, 255),
            (unreachable, 5, 255),
            (Ended::Failed(ErrorCode::PolicyDenied.error("x")), 3, 255),
        ] {
            let verdict = verdict(std::slice::from_ref(&end));
            assert_eq!(verdict.exit(false).unwrap().code(), code, "{end:?}");
            assert_eq!(verdict.exit(true).unwrap().code(), own, "-S {end:?}");
        }
    }

    #[test]
    fn a_fleet_returns_the_common_code_or_partial() {
        use v1::ExecOutcome as O;
        let good = finished(O::Exited, Some(0), "");
        let (one, two) = (finished(O::Exited, Some(1), ""), finished(O::Exited, Some(2), ""));
        let exit = |ends: &[Ended], own| verdict(ends).exit(own).unwrap().code();
        assert_eq!(exit(&[good.clone(), good.clone()], false), 0);
        assert_eq!(exit(&[one.clone(), two.clone()], false), 12);
        assert_eq!(exit(&[one.clone(), two], true), 255);
        assert_eq!(exit(&[one.clone(), one.clone()], true), 1);
        assert_eq!(exit(&[good, one], false), 7);
    }

    #[test]
    fn a_node_that_was_never_heard_of_makes_the_outcome_unknown() {
        let mut verdict = Verdict::new();
        verdict.accept(v1::ExecAcceptedBy { seq: 7, nodes: vec!["a".into(), "b".into()] });
        verdict.fail("a".into(), ErrorCode::Unreachable.error("x"));
        let Failure::Reported(error) = verdict.exit(false).unwrap_err() else { panic!() };
        assert_eq!(error.message, "the outcome of entry 7 is unknown on b");
        assert!(Verdict::new().exit(false).is_err());
    }

    #[test]
    fn a_refusal_says_the_promised_words() {
        let end = finished(v1::ExecOutcome::Refused, None, "PACT_NOT_WHITELISTED");
        let error = error_of("node-1", &end).unwrap();
        assert!(error.message.starts_with("command not whitelisted"), "{error:?}");
        assert_eq!(error.node, "node-1");
        assert!(error.next_step.contains("exec_whitelist"), "{error:?}");
        assert_eq!(error_of("n", &finished(v1::ExecOutcome::Exited, Some(0), "")), None);
    }

    #[test]
    fn an_outcome_of_a_newer_version_is_refused() {
        let odd = v1::ExecFinished { outcome: 99, ..Default::default() };
        assert!(Verdict::new().finish("n".into(), odd).is_err());
    }
}

//! What came of a command that the node was to run.

use std::collections::BTreeSet;

use pact_schemas::convert::{Scope, enumeration, required};
use pact_schemas::v1::{EntryKind, ExecEnded, ExecFinished, ExecOutcome, entry};
use pact_schemas::{NodeId, NodeSet};

use super::{is_own, named, not_asked, not_sent};
use crate::refusal::Refusal;
use crate::working::{Draft, Working};

/// Pieces of recorded output in one outcome; at 256 KiB each far more than any limit allows.
const MAX_SEGMENTS: usize = 65_536;

/// Takes the outcome of a run that was granted to the node.
pub(super) fn take(
    work: &mut Working<'_>,
    node: &NodeId,
    report: &ExecEnded,
) -> Result<(), Refusal> {
    match judge(work, node, report)? {
        Report::Finished(draft) => {
            let output = report.finished.iter().flat_map(|finished| &finished.output);
            let own = output.map(|segment| is_own(work, node, segment.blob.as_ref()));
            let own: BTreeSet<bool> = own.collect();
            if own.contains(&true) {
                named(work, node);
            }
            let seq = work.draft(*draft);
            if own.contains(&false) {
                let reason = format!("its report about entry {} names", report.grant_seq);
                not_sent(work, node, "exec_ended", &reason);
            }
            work.staged.outcomes.insert((report.grant_seq, node.clone()), seq);
        }
        Report::Repeated => {}
        Report::NotGranted => {
            let reason = format!("entry {} asks this node for no run", report.grant_seq);
            not_asked(work, node, "exec_ended", reason);
        }
    }
    Ok(())
}

/// What a node's report about a run is worth.
enum Report {
    /// The outcome of a run that was granted to the node.
    Finished(Box<Draft>),
    /// The node reported this run before.
    Repeated,
    /// No run of this sequence was granted to the node.
    NotGranted,
}

fn judge(work: &Working<'_>, node: &NodeId, ended: &ExecEnded) -> Result<Report, Refusal> {
    let finished = required(ended.finished.as_ref(), "ExecEnded.finished")?;
    let outcome: ExecOutcome = enumeration(finished.outcome, "ExecFinished.outcome")?;
    if finished.output.len() > MAX_SEGMENTS {
        return Err(Refusal::Argument { field: "output", rule: "may have 65,536 segments" });
    }
    let request = work.entry(ended.grant_seq).and_then(|entry| entry.payload);
    let Some(entry::Payload::ExecRequested(request)) = request else {
        return Ok(Report::NotGranted);
    };
    let granted = NodeSet::parse(&request.targets).is_ok_and(|targets| targets.contains(node));
    if !granted {
        return Ok(Report::NotGranted);
    }
    if work.outcome(ended.grant_seq, node).is_some() {
        return Ok(Report::Repeated);
    }
    let draft = Draft::new(
        EntryKind::ExecFinished,
        Scope::Node(node.clone()),
        format!("exec {} on {node}: {}", ended.grant_seq, told(outcome, finished)),
        entry::Payload::ExecFinished(with_own_output(work, node, finished.clone())),
    );
    let draft = work.outcome_of(ended.grant_seq, node, draft);
    Ok(Report::Finished(Box::new(draft)))
}

/// Without what the node names and has not sent, which counts as cut off.
fn with_own_output(work: &Working<'_>, node: &NodeId, mut finished: ExecFinished) -> ExecFinished {
    let (own, foreign): (Vec<_>, Vec<_>) = std::mem::take(&mut finished.output)
        .into_iter()
        .partition(|segment| is_own(work, node, segment.blob.as_ref()));
    let sizes = foreign.iter().filter_map(|segment| segment.blob.as_ref());
    let cut: u64 = sizes.map(|blob| u64::from(blob.size_bytes)).sum();
    finished.discarded_bytes = finished.discarded_bytes.saturating_add(cut);
    ExecFinished { output: own, ..finished }
}

fn told(outcome: ExecOutcome, finished: &ExecFinished) -> String {
    let number = |n: Option<i32>| n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    match outcome {
        ExecOutcome::Unspecified | ExecOutcome::Unknown => "the outcome is unknown".to_owned(),
        ExecOutcome::Exited => format!("exited with {}", number(finished.exit_status)),
        ExecOutcome::Signalled => format!("ended by signal {}", number(finished.signal)),
        ExecOutcome::TimedOut => "killed at its time limit".to_owned(),
        ExecOutcome::Cancelled => "cancelled".to_owned(),
        ExecOutcome::Refused => "refused by the agent".to_owned(),
        ExecOutcome::NotStarted => "could not be started".to_owned(),
    }
}

//! A command that nodes are to run, and what came of it.

use std::collections::BTreeSet;

use pact_schemas::convert::{Scope, enumeration, required};
use pact_schemas::v1::{
    BlobRef, Command, EntryKind, ExecEnded, ExecFinished, ExecOutcome, ExecRequest, ExecRequested,
    entry,
};
use pact_schemas::{NodeId, NodeSet, VclusterId};

use super::judged;
use super::records::Uploader;
use super::refusal::Refusal;
use super::working::{Draft, Working};

/// Arguments of one command.
const MAX_ARGUMENTS: usize = 1_024;
/// Bytes of all arguments: an entry stays far below a batch, and the kernel takes more.
const MAX_ARGUMENT_BYTES: usize = 64 * 1024;
/// Longest time limit: a week.
const MAX_TIMEOUT_SECONDS: u32 = 7 * 24 * 3600;
/// Characters of a command line that an entry's message shows.
const MESSAGE_CHARACTERS: usize = 200;
/// Pieces of recorded output in one outcome; at 256 KiB each far more than any limit allows.
const MAX_SEGMENTS: usize = 65_536;

/// What a grant says beside the request, as of its commit.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// Additions to the built-in command list that hold on every target.
    pub(crate) exec_whitelist: Vec<String>,
    /// A target is in a regulated vCluster.
    pub(crate) require_strict: bool,
}

/// Records the request. Returns the terms of its grant.
pub(crate) fn request(
    work: &mut Working<'_>,
    command: &Command,
    exec: &ExecRequest,
) -> Result<Terms, Refusal> {
    if command.request_id.is_none() {
        return Err(Refusal::RequestIdMissing);
    }
    check_request(exec)?;
    let targets = NodeSet::parse(&exec.targets)?;
    let placed = judged::placed(work, &targets, &exec.judged)?;
    let vclusters: BTreeSet<Option<VclusterId>> = placed.into_values().collect();
    if let Some(vcluster) = vclusters.iter().flatten().find(|v| needs_approval(work, v)) {
        return Err(Refusal::NeedsApproval { vcluster: vcluster.clone() });
    }
    let terms = Terms {
        exec_whitelist: common_whitelist(work, &vclusters),
        require_strict: vclusters.iter().flatten().any(|vcluster| is_regulated(work, vcluster)),
    };
    let scope = scope_of(&targets, &vclusters);
    let folded = targets.fold();
    let mut draft = Draft::new(
        EntryKind::ExecRequested,
        scope,
        format!("exec on {folded}: {}", shown(&exec.argv)),
        entry::Payload::ExecRequested(ExecRequested {
            targets: folded,
            argv: exec.argv.clone(),
            stdin: exec.stdin,
            timeout_seconds: exec.timeout_seconds,
            output_limit_bytes: exec.output_limit_bytes,
        }),
    );
    draft.vclusters = vclusters.into_iter().flatten().collect();
    draft.nodes = targets.iter().cloned().collect();
    work.draft(draft);
    Ok(terms)
}

fn check_request(exec: &ExecRequest) -> Result<(), Refusal> {
    let argument = |field, rule| Err(Refusal::Argument { field, rule });
    if exec.argv.first().is_none_or(String::is_empty) {
        return argument("argv", "must begin with a program");
    }
    if exec.argv.len() > MAX_ARGUMENTS
        || exec.argv.iter().map(String::len).sum::<usize>() > MAX_ARGUMENT_BYTES
    {
        return argument("argv", "may have 1,024 arguments and 64 KiB in all");
    }
    if exec.argv.iter().any(|a| a.contains('\0')) {
        return argument("argv", "may hold no zero byte");
    }
    if !(1..=MAX_TIMEOUT_SECONDS).contains(&exec.timeout_seconds) {
        return argument("timeout_seconds", "must be between 1 and 604800");
    }
    if exec.output_limit_bytes == 0 {
        return argument("output_limit_bytes", "must be at least 1");
    }
    Ok(())
}

pub(super) fn scope_of(targets: &NodeSet, vclusters: &BTreeSet<Option<VclusterId>>) -> Scope {
    let mut nodes = targets.iter();
    if let (Some(only), None) = (nodes.next(), nodes.next()) {
        return Scope::Node(only.clone());
    }
    let mut vclusters = vclusters.iter();
    match (vclusters.next(), vclusters.next()) {
        (Some(Some(all)), None) => Scope::Vcluster(all.clone()),
        _ => Scope::Global,
    }
}

/// What every vCluster of the targets adds; a target without vCluster adds nothing.
fn common_whitelist(work: &Working<'_>, vclusters: &BTreeSet<Option<VclusterId>>) -> Vec<String> {
    let lists = vclusters.iter().map(|vcluster| -> BTreeSet<String> {
        let record = vcluster.as_ref().and_then(|v| work.vcluster(v));
        record
            .and_then(|r| r.policy)
            .map(|p| p.exec_whitelist.into_iter().collect())
            .unwrap_or_default()
    });
    let common = lists.reduce(|a, b| a.intersection(&b).cloned().collect());
    common.unwrap_or_default().into_iter().collect()
}

/// Whether commands there are a matter of two persons: a regulated vCluster alone does not ask for that.
fn needs_approval(work: &Working<'_>, vcluster: &VclusterId) -> bool {
    let policy = work.vcluster(vcluster).and_then(|record| record.policy);
    policy.is_some_and(|policy| policy.exec_requires_approval == Some(true))
}

fn is_regulated(work: &Working<'_>, vcluster: &VclusterId) -> bool {
    let policy = work.vcluster(vcluster).and_then(|record| record.policy);
    policy.is_some_and(|policy| policy.regulated == Some(true))
}

/// A command line in one line, without characters that could forge another.
fn shown(argv: &[String]) -> String {
    let line = argv.join(" ");
    line.chars()
        .take(MESSAGE_CHARACTERS)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// What a node's report about a run is worth.
pub(crate) enum Report {
    /// The outcome of a run that was granted to the node.
    Finished(Box<Draft>),
    /// The node reported this run before.
    Repeated,
    /// No run of this sequence was granted to the node.
    NotGranted,
}

/// Judges a node's report.
pub(crate) fn ended(
    work: &Working<'_>,
    node: &NodeId,
    ended: &ExecEnded,
) -> Result<Report, Refusal> {
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
    let mut draft = Draft::new(
        EntryKind::ExecFinished,
        Scope::Node(node.clone()),
        format!("exec {} on {node}: {}", ended.grant_seq, told(outcome, finished)),
        entry::Payload::ExecFinished(with_own_output(work, node, finished.clone())),
    );
    draft.parent = Some(ended.grant_seq);
    Ok(Report::Finished(Box::new(draft)))
}

/// Whether the node itself has sent a chunk that it names.
pub(super) fn is_own(work: &Working<'_>, node: &NodeId, chunk: Option<&BlobRef>) -> bool {
    let sha256 = chunk.and_then(|chunk| chunk.sha256.as_slice().try_into().ok());
    sha256.is_some_and(|sha256| work.has_uploaded(&sha256, &Uploader::Node(node.clone())))
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

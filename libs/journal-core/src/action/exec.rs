//! `exec`: a command that nodes are to run.

use std::collections::BTreeSet;

use pact_schemas::v1::action::Action;
use pact_schemas::v1::entry::Payload;
use pact_schemas::v1::{
    EntryKind, ExecAction, ExecRequest, ExecRequested, JudgedScope, VclusterPolicy, grant_payload,
};
use pact_schemas::{Argv, NodeSet, VclusterId};

use super::{Asked, Granted, Origin, Rules, Terms};
use crate::refusal::Refusal;
use crate::rights;
use crate::working::{Draft, Working};

/// Longest time limit: a week.
const MAX_TIMEOUT_SECONDS: u32 = 7 * 24 * 3600;
/// Characters of a command line that an entry's message shows.
const MESSAGE_CHARACTERS: usize = 200;

impl Rules for ExecRequest {
    fn origin(&self) -> Origin {
        Origin::Gateway(&["exec"])
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        asked.once()?;
        request(work, self)
    }

    fn judged_in(&self, judged: Vec<JudgedScope>) -> Option<Action> {
        Some(Action::ExecRequest(Self { judged, ..self.clone() }))
    }

    fn is_granted(&self) -> bool {
        true
    }

    fn granted(&self, done: Payload, terms: Terms) -> Option<Granted> {
        let Payload::ExecRequested(exec) = done else { return None };
        Some(Granted {
            operation: "exec",
            targets: exec.targets,
            action: grant_payload::Action::Exec(ExecAction {
                argv: exec.argv,
                stdin: exec.stdin,
                timeout_seconds: exec.timeout_seconds,
                output_limit_bytes: exec.output_limit_bytes,
                exec_whitelist: terms.exec_whitelist,
                require_strict: terms.require_strict,
            }),
        })
    }
}

/// Records the request.
fn request(work: &mut Working<'_>, exec: &ExecRequest) -> Result<Terms, Refusal> {
    check(exec)?;
    let targets = NodeSet::parse(&exec.targets)?;
    let placed = rights::placed(work, &targets, &exec.judged)?;
    let vclusters: BTreeSet<Option<VclusterId>> = placed.into_values().collect();
    // A regulated vCluster alone does not make commands a matter of two persons.
    let needs_approval =
        |vcluster: &&VclusterId| policy(work, vcluster).exec_requires_approval == Some(true);
    if let Some(vcluster) = vclusters.iter().flatten().find(needs_approval) {
        return Err(Refusal::NeedsApproval { vcluster: vcluster.clone() });
    }
    let is_regulated = |vcluster: &VclusterId| policy(work, vcluster).regulated == Some(true);
    let terms = Terms {
        exec_whitelist: common_whitelist(work, &vclusters),
        require_strict: vclusters.iter().flatten().any(is_regulated),
    };
    let folded = targets.fold();
    work.draft(Draft::on_nodes(
        EntryKind::ExecRequested,
        &targets,
        vclusters,
        &exec.judged,
        format!("exec on {folded}: {}", shown(&exec.argv)),
        Payload::ExecRequested(ExecRequested {
            targets: folded,
            argv: exec.argv.clone(),
            stdin: exec.stdin,
            timeout_seconds: exec.timeout_seconds,
            output_limit_bytes: exec.output_limit_bytes,
        }),
    ));
    Ok(terms)
}

fn check(exec: &ExecRequest) -> Result<(), Refusal> {
    let argument = |field, rule| Err(Refusal::Argument { field, rule });
    if let Err(error) = Argv::new(exec.argv.clone()) {
        return argument("argv", error.rule());
    }
    if !(1..=MAX_TIMEOUT_SECONDS).contains(&exec.timeout_seconds) {
        return argument("timeout_seconds", "must be between 1 and 604800");
    }
    if exec.output_limit_bytes == 0 {
        return argument("output_limit_bytes", "must be at least 1");
    }
    Ok(())
}

fn policy(work: &Working<'_>, vcluster: &VclusterId) -> VclusterPolicy {
    work.vcluster(vcluster).and_then(|record| record.policy).unwrap_or_default()
}

/// What every vCluster of the targets adds; a target without vCluster adds nothing.
fn common_whitelist(work: &Working<'_>, vclusters: &BTreeSet<Option<VclusterId>>) -> Vec<String> {
    let lists = vclusters.iter().map(|vcluster| -> BTreeSet<String> {
        let policy = vcluster.as_ref().map(|vcluster| policy(work, vcluster)).unwrap_or_default();
        policy.exec_whitelist.into_iter().collect()
    });
    let common = lists.reduce(|a, b| a.intersection(&b).cloned().collect());
    common.unwrap_or_default().into_iter().collect()
}

/// A command line in one line, without characters that could forge another.
fn shown(argv: &[String]) -> String {
    let line = argv.join(" ");
    line.chars()
        .take(MESSAGE_CHARACTERS)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

//! `m.<member>.propose`: commands of attested principals.

use pact_identity::{Attestation, PrincipalKind, SignerRole};
use pact_journal_core::action::{Origin, is_granted, origin};
use pact_journal_core::apply::COMMAND_VERSION;
use pact_runtime::Timestamp;
use pact_schemas::v1::{
    self, Action, Command, Outcome, Proposal, ProposalResult, ProposeReply, ProposeRequest, action,
    outcome,
};
use pact_schemas::{ErrorCode, convert};
use prost::Message as _;

use super::grants;
use crate::context::Context;
use crate::raft::batcher::{MAX_BATCH_BYTES, ProposeError};

/// Proposals of one request.
const MAX_PROPOSALS: usize = 256;

/// Checks each proposal, commits those that hold, and answers each with its outcome; what a node is to carry out with its grant.
///
/// # Errors
/// `PACT_NOT_LEADER` with the leader, and whatever concerns the request as a whole. A proposal that is refused has its error
/// in its own result.
pub async fn propose(
    context: &Context,
    request: ProposeRequest,
) -> Result<ProposeReply, v1::Error> {
    if request.proposals.len() > MAX_PROPOSALS || request.encoded_len() > MAX_BATCH_BYTES * 2 {
        return Err(
            ErrorCode::TooLarge.error("a request may hold 256 proposals and 512 KiB of actions")
        );
    }
    if !context.member().is_leader() {
        return Err(ProposeError::NotLeader { leader: context.member().leader() }.into());
    }
    // A wrong clock would also believe attestations that have expired.
    let now = context.member().clocks().now().map_err(ProposeError::Clock)?;
    let checked: Vec<Result<Command, v1::Error>> =
        request.proposals.iter().map(|proposal| check(context, proposal, now)).collect();
    let commands: Vec<Command> =
        checked.iter().filter_map(|command| command.as_ref().ok()).cloned().collect();
    let outcomes =
        if commands.is_empty() { Vec::new() } else { context.member().propose(commands).await? };
    let mut outcomes = outcomes.into_iter();
    let mut results = Vec::with_capacity(checked.len());
    for command in checked {
        results.push(match command {
            Err(refusal) => refused(refusal),
            Ok(command) => match outcomes.next() {
                Some(outcome) => granted(context, &command, outcome),
                None => return Err(ErrorCode::Internal.error("the journal lost an outcome")),
            },
        });
    }
    Ok(ProposeReply { results })
}

fn refused(error: v1::Error) -> ProposalResult {
    ProposalResult {
        outcome: Some(Outcome { outcome: Some(outcome::Outcome::Rejected(error)) }),
        grant: None,
    }
}

/// The command of a proposal whose attestation holds.
fn check(context: &Context, proposal: &Proposal, now: Timestamp) -> Result<Command, v1::Error> {
    let signed = convert::required(proposal.attestation.as_ref(), "Proposal.attestation")?;
    let attestation = Attestation::verify(signed, &context.inner.verifier, &proposal.action, now)
        .map_err(|error| {
        error.code().error("the proposal's attestation is refused").because(error.to_string())
    })?;
    let action = Action::decode(proposal.action.as_slice())
        .map_err(|_| convert::WireError::Decode { what: "Action" })?;
    let kind = convert::required(action.action.as_ref(), "Action.action")?;
    if !may_propose(attestation.signer().role(), attestation.operation().name, kind) {
        let operation = attestation.operation().name;
        return Err(ErrorCode::NotAuthorised
            .error(format!("{} may not propose this as `{operation}`", attestation.signer())));
    }
    let needs_role = attestation.principal().kind() != PrincipalKind::Service;
    if is_granted(kind) && needs_role && attestation.acting_role().is_none() {
        // No node would accept a grant for it, and what no node may do is not committed.
        return Err(
            ErrorCode::NotAuthorised.error("what a node is to carry out is asked for under a role")
        );
    }
    if let action::Action::ChangeMembers(change) = kind {
        context.member().may_change(change, &attestation.request_id())?;
    }
    Ok(Command {
        version: COMMAND_VERSION,
        time: None,
        author: Some(attestation.principal().to_wire()),
        acting_role: attestation.acting_role().map(ToString::to_string).unwrap_or_default(),
        request_id: Some(attestation.request_id().to_string()),
        policy_ref: attestation.policy_ref().to_owned(),
        action: Some(action),
    })
}

/// Who may propose what, and as which operation. What nodes report and what time ends is nobody's to propose.
fn may_propose(signer: SignerRole, operation: &str, kind: &action::Action) -> bool {
    match signer {
        SignerRole::Gateway => origin(kind).is_gateway_for(operation),
        SignerRole::Enroll => origin(kind) == Origin::Enroll,
        _ => false,
    }
}

/// The result of a command: with a grant when a node is to act on it.
fn granted(context: &Context, command: &Command, outcome: Outcome) -> ProposalResult {
    let action = command.action.as_ref().and_then(|action| action.action.as_ref());
    let is_granted = action.is_some_and(is_granted);
    let seq = match &outcome.outcome {
        Some(outcome::Outcome::Committed(committed)) if is_granted => committed.first_seq,
        _ => return ProposalResult { outcome: Some(outcome), grant: None },
    };
    match grants::sign(context, command, seq) {
        Ok(grant) => ProposalResult { outcome: Some(outcome), grant: Some(grant) },
        Err(error) => refused(error),
    }
}

#[cfg(test)]
mod tests {
    use pact_schemas::v1::change_members;

    use super::*;

    #[test]
    fn nobody_proposes_what_is_not_theirs() {
        let actions = [
            action::Action::ExecRequest(v1::ExecRequest::default()),
            action::Action::EnrolNode(v1::EnrolNode::default()),
            action::Action::SetLiveness(v1::SetLiveness::default()),
            action::Action::NodeEvent(v1::NodeEvent::default()),
            action::Action::AnnounceMembers(v1::AnnounceMembers::default()),
            action::Action::Tick(v1::Tick {}),
            action::Action::SetPolicy(v1::SetPolicy::default()),
            action::Action::ApplySpec(v1::ApplySpec::default()),
            action::Action::CommitDelta(v1::CommitDelta::default()),
            action::Action::Rollback(v1::Rollback::default()),
            action::Action::ExtendWindow(v1::ExtendWindow::default()),
            action::Action::ChangeBlacklist(patterns(1, 0)),
            action::Action::ChangeBlacklist(patterns(0, 1)),
            action::Action::ChangeBlacklist(patterns(1, 1)),
            action::Action::RevokeNode(v1::RevokeNode::default()),
            action::Action::PutBlob(v1::PutBlob::default()),
            action::Action::ChangeMembers(change(change_members::Change::Add(
                v1::MemberAddress::default(),
            ))),
            action::Action::ChangeMembers(change(change_members::Change::Remove(3))),
            action::Action::ChangeMembers(v1::ChangeMembers::default()),
        ];
        let allowed = |signer, operation: &str| -> Vec<usize> {
            let by = actions.iter().map(|action| may_propose(signer, operation, action));
            by.enumerate().filter(|(_, may)| *may).map(|(i, _)| i).collect()
        };
        for (operation, expected) in [
            ("exec", vec![0]),
            ("apply", vec![7, 15]),
            ("group.set-policy", vec![6]),
            ("commit", vec![8]),
            ("promote", vec![15]),
            ("rollback", vec![9]),
            ("extend", vec![10]),
            ("blacklist.add", vec![11]),
            ("blacklist.remove", vec![12]),
            ("blacklist.list", vec![]),
            ("node.decommission", vec![14]),
            ("cluster.add", vec![16]),
            ("cluster.remove", vec![17]),
        ] {
            assert_eq!(allowed(SignerRole::Gateway, operation), expected, "{operation}");
        }
        assert_eq!(allowed(SignerRole::Enroll, "node.enroll"), [1, 2]);
        for signer in [SignerRole::Approval, SignerRole::Bridge, SignerRole::Grant] {
            for operation in ["exec", "apply", "commit", "rollback"] {
                assert!(allowed(signer, operation).is_empty());
            }
        }
    }

    fn change(change: change_members::Change) -> v1::ChangeMembers {
        v1::ChangeMembers { change: Some(change) }
    }

    fn patterns(add: usize, remove: usize) -> v1::ChangeBlacklist {
        let some = |count| vec!["/tmp/**".to_owned(); count];
        v1::ChangeBlacklist {
            scope: None,
            add: some(add),
            remove: some(remove),
            judged: Vec::new(),
        }
    }
}

//! What the journal carries out: registrations, assignments, reads of nodes. Looked at here, passed on unchanged.
//!
//! Whether the principal may is the gateway's to know and the attestation's to prove; the journal checks it. Here it is only
//! made sure that an action of the right kind and shape comes by each method.

use pact_bus::RequestContext;
use pact_schemas::convert::{WireError, enumeration, id, required};
use pact_schemas::v1::action::Action;
use pact_schemas::{ErrorCode, NodeId, NodeSet, VclusterId, v1};
use prost::Message as _;

use crate::context::Shared;
use crate::core::hardware::Hardware;

pub(super) async fn register(
    enrolment: Shared,
    context: RequestContext,
    request: v1::NodeProposal,
) -> Result<v1::ProposalResult, v1::Error> {
    let proposal = required(request.proposal, "NodeProposal.proposal")?;
    match action_of(&proposal)? {
        Action::RegisterNode(action) => check_registration(&action)?,
        _ => return Err(wrong_action("register")),
    }
    enrolment.journal.forward(proposal, &context.deadline).await
}

pub(super) async fn assign(
    enrolment: Shared,
    context: RequestContext,
    request: v1::NodeProposal,
) -> Result<v1::ProposalResult, v1::Error> {
    let proposal = required(request.proposal, "NodeProposal.proposal")?;
    match action_of(&proposal)? {
        Action::AssignNode(action) => check_assignment(&action)?,
        _ => return Err(wrong_action("assign")),
    }
    enrolment.journal.forward(proposal, &context.deadline).await
}

pub(super) async fn nodes(
    enrolment: Shared,
    _context: RequestContext,
    request: v1::NodesRequest,
) -> Result<v1::NodesReply, v1::Error> {
    enrolment.journal.nodes(&request).await
}

fn action_of(proposal: &v1::Proposal) -> Result<Action, WireError> {
    required(proposal.attestation.as_ref(), "Proposal.attestation")?;
    let action = v1::Action::decode(proposal.action.as_slice())
        .map_err(|_| WireError::Decode { what: "Proposal.action" })?;
    required(action.action, "Action.action")
}

fn wrong_action(method: &'static str) -> v1::Error {
    ErrorCode::Malformed.error(format!("the proposal holds no action of the method `{method}`"))
}

fn check_registration(action: &v1::RegisterNode) -> Result<(), v1::Error> {
    let node: NodeId = id(&action.node, "RegisterNode.node")?;
    let identity = required(action.identity.as_ref(), "RegisterNode.identity")?;
    let invalid = |message: String| ErrorCode::InvalidArgument.error(message).on(&node);
    let hardware = Hardware::try_from(identity).map_err(|error| invalid(error.to_string()))?;
    // The ids of a node that exists may be replaced one by one.
    if hardware.is_empty() && !action.replace {
        return Err(invalid(
            "a node needs a MAC address, a BMC serial or a hardware id".to_owned(),
        )
        .next("add --mac, --bmc-serial or --hardware-id"));
    }
    Ok(())
}

fn check_assignment(action: &v1::AssignNode) -> Result<(), v1::Error> {
    let mode: v1::AssignMode = enumeration(action.mode, "AssignNode.mode")?;
    NodeSet::parse(&action.targets)
        .map_err(|error| ErrorCode::InvalidArgument.error(error.to_string()))?;
    let vcluster: Option<VclusterId> =
        action.vcluster.as_deref().map(|name| id(name, "AssignNode.vcluster")).transpose()?;
    let wants_vcluster = mode != v1::AssignMode::Unassign;
    if vcluster.is_some() != wants_vcluster {
        let rule = "must be named to assign or move, and only then";
        return Err(WireError::Bounds { field: "AssignNode.vcluster", rule }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), v1::Error>) -> Option<String> {
        result.err().map(|error| error.code)
    }

    #[test]
    fn registrations_have_a_node_and_something_to_recognise_it_by() {
        let with = |node: &str, mac: &str, replace| v1::RegisterNode {
            node: node.to_owned(),
            identity: Some(v1::HardwareIdentity {
                macs: if mac.is_empty() { vec![] } else { vec![mac.to_owned()] },
                ..Default::default()
            }),
            replace,
        };
        assert_eq!(code(check_registration(&with("n1", "0c:42:a1:00:00:01", false))), None);
        assert_eq!(code(check_registration(&with("n1", "", true))), None);
        for (node, mac, wanted) in [
            ("*", "0c:42:a1:00:00:01", "PACT_MALFORMED"),
            ("n1", "0c:42", "PACT_INVALID_ARGUMENT"),
            ("n1", "", "PACT_INVALID_ARGUMENT"),
        ] {
            assert_eq!(code(check_registration(&with(node, mac, false))).as_deref(), Some(wanted));
        }
        let missing = v1::RegisterNode { node: "n1".into(), identity: None, replace: false };
        assert_eq!(code(check_registration(&missing)).as_deref(), Some("PACT_MALFORMED"));
    }

    #[test]
    fn assignments_name_a_vcluster_exactly_when_they_need_one() {
        use v1::AssignMode as Mode;
        for (mode, vcluster, fits) in [
            (Mode::Assign, Some("ml"), true),
            (Mode::Move, Some("ml"), true),
            (Mode::Unassign, None, true),
            (Mode::Assign, None, false),
            (Mode::Unassign, Some("ml"), false),
            (Mode::Move, Some("M L"), false),
            (Mode::Unspecified, Some("ml"), false),
        ] {
            let action = v1::AssignNode {
                targets: "n[1-3]".into(),
                vcluster: vcluster.map(str::to_owned),
                mode: mode.into(),
                judged: Vec::new(),
            };
            assert_eq!(check_assignment(&action).is_ok(), fits, "{mode:?} {vcluster:?}");
        }
        let mode = Mode::Unassign.into();
        let action = v1::AssignNode { mode, ..v1::AssignNode::default() };
        assert!(check_assignment(&action).is_err());
    }
}

//! A node has a certificate and a bus user: at its first contact, or because it renewed them.

use pact_schemas::convert::{self, Scope, id, text};
use pact_schemas::v1::{self, EnrolNode, EntryKind, NodeRecord, entry};
use pact_schemas::{NodeId, NodeState};

use super::{Asked, Origin, Rules, Terms};
use crate::bus_users;
use crate::record::CertificateRow;
use crate::refusal::Refusal;
use crate::rights::based_on;
use crate::working::{Draft, Working};

/// Longest serial, key or version text.
const MAX_ID_BYTES: usize = 256;

impl Rules for EnrolNode {
    fn origin(&self) -> Origin {
        Origin::Enroll
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        enrol(work, self, asked.time_nanos)?;
        Ok(Terms::NONE)
    }
}

/// First contact or renewal: a certificate and a bus user.
fn enrol(work: &mut Working<'_>, enrol: &EnrolNode, time_nanos: i64) -> Result<(), Refusal> {
    let node: NodeId = id(&enrol.node, "EnrolNode.node")?;
    let record = work.live(&node)?;
    based_on(&node, &record, enrol.expected_state_seq)?;
    if enrol.renewal && NodeState::of(&record)? == NodeState::Registered {
        return Err(Refusal::WrongState { node, state: "registered and has nothing to renew" });
    }
    let serial = text(&enrol.certificate_serial, "EnrolNode.certificate_serial")?;
    text(&enrol.bus_user, "EnrolNode.bus_user")?;
    let not_after_nanos = convert::unix_nanos(
        enrol.certificate_not_after.as_ref(),
        "EnrolNode.certificate_not_after",
    )?;
    if [serial, &enrol.bus_user, &enrol.agent_version].iter().any(|t| t.len() > MAX_ID_BYTES) {
        return Err(Refusal::Argument { field: "EnrolNode", rule: "may hold texts of 256 bytes" });
    }
    let seq = work.next_seq();
    let mut live_bus_users = record.live_bus_users.clone();
    bus_users::enrolled(&mut live_bus_users, enrol, not_after_nanos, time_nanos);
    let mut record = NodeRecord {
        live_bus_users,
        certificate_serial: Some(serial.to_owned()),
        certificate_not_after: enrol.certificate_not_after,
        bus_user: Some(enrol.bus_user.clone()),
        agent_version: enrol.agent_version.clone(),
        ..record
    };
    let (kind, what) = if enrol.renewal {
        (EntryKind::NodeRenewed, "renewed")
    } else {
        record.state = NodeState::Active.into();
        record.state_seq = seq;
        record.state_since = Some(convert::timestamp(time_nanos));
        (EntryKind::NodeEnrolled, "enrolled")
    };
    work.staged.nodes.insert(node.clone(), record);
    let row = CertificateRow { node: node.to_string(), not_after_nanos, seq };
    work.staged.certificates.insert(serial.to_owned(), row);
    work.draft(Draft::new(
        kind,
        Scope::Node(node.clone()),
        format!("node {node} {what}"),
        entry::Payload::NodeEnrolled(v1::NodeEnrolled {
            node: node.to_string(),
            certificate_serial: serial.to_owned(),
            certificate_not_after: enrol.certificate_not_after,
            bus_user: enrol.bus_user.clone(),
            agent_version: enrol.agent_version.clone(),
        }),
    ));
    Ok(())
}

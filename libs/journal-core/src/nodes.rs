//! Nodes: registered, enrolled, alive or not, in a vCluster, revoked.

use std::collections::BTreeSet;

use pact_schemas::convert::{self, Scope, enumeration, id, required, text};
use pact_schemas::v1::{
    self, AssignMode, AssignNode, EnrolNode, EntryKind, HardwareIdentity, NodeRecord, NodeState,
    RegisterNode, RevokeNode, SetLiveness, entry,
};
use pact_schemas::{NodeId, NodeSet, VclusterId};

use super::bus_users;
use super::declared::one_person_suffices;
use super::judged;
use super::records::CertificateRow;
use super::refusal::Refusal;
use super::working::{Draft, Working, vcluster_of};

/// Nodes that one assignment may name: one entry is made for each, and a Raft entry has a bound.
pub(crate) const MAX_ASSIGNED: usize = 1_024;
/// MAC addresses, or hardware ids, of one node.
const MAX_HARDWARE_IDS: usize = 64;
/// Longest id, serial or version text.
const MAX_ID_BYTES: usize = 256;

/// The state of a stored record; what was stored was checked before.
pub(crate) fn state_of(record: &NodeRecord) -> NodeState {
    NodeState::try_from(record.state).unwrap_or(NodeState::Unspecified)
}

fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Unspecified => "in an unknown state",
        NodeState::Registered => "registered",
        NodeState::Active => "active",
        NodeState::Inactive => "inactive",
        NodeState::Revoked => "revoked",
    }
}

fn known(work: &Working<'_>, node: &NodeId) -> Result<NodeRecord, Refusal> {
    work.node(node).ok_or_else(|| Refusal::UnknownNode { node: node.clone() })
}

fn not_revoked(node: &NodeId, record: &NodeRecord) -> Result<(), Refusal> {
    if state_of(record) == NodeState::Revoked {
        Err(Refusal::Revoked { node: node.clone() })
    } else {
        Ok(())
    }
}

fn based_on(node: &NodeId, record: &NodeRecord, expected: u64) -> Result<(), Refusal> {
    if record.state_seq == expected {
        return Ok(());
    }
    Err(Refusal::Stale { node: node.clone(), expected, actual: record.state_seq })
}

/// Registers a node, replaces the ids of one, or brings a revoked one back.
pub(crate) fn register(
    work: &mut Working<'_>,
    register: &RegisterNode,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let node: NodeId = id(&register.node, "RegisterNode.node")?;
    let given = required(register.identity.as_ref(), "RegisterNode.identity")?;
    let existing = work.node(&node);
    let revoked = existing.as_ref().is_some_and(|r| state_of(r) == NodeState::Revoked);
    if existing.is_some() && !register.replace && !revoked {
        return Err(Refusal::Exists { node });
    }
    let before = existing.as_ref().and_then(|r| r.identity.clone()).unwrap_or_default();
    let identity = merged(before.clone(), given);
    check_identity(&identity)?;
    for hardware in hardware_keys(&identity) {
        match work.holder(&hardware) {
            Some(holder) if holder != node => {
                return Err(Refusal::HardwareTaken { node, hardware, holder });
            }
            _ => {}
        }
    }
    release(work, &before);
    for hardware in hardware_keys(&identity) {
        work.staged.hardware.insert(hardware, Some(node.clone()));
    }
    let seq = work.next_seq();
    let time = Some(convert::timestamp(time_nanos));
    let record = match existing {
        Some(record) if !revoked => NodeRecord { identity: Some(identity.clone()), ..record },
        existing => NodeRecord {
            node: node.to_string(),
            state: NodeState::Registered.into(),
            identity: Some(identity.clone()),
            registered: time,
            state_since: time,
            registered_seq: seq,
            state_seq: seq,
            // What was handed out before the revocation stays refused until it expires.
            live_bus_users: existing.map(|record| record.live_bus_users).unwrap_or_default(),
            ..NodeRecord::default()
        },
    };
    work.staged.nodes.insert(node.clone(), record);
    work.draft(Draft::new(
        EntryKind::NodeRegistered,
        Scope::Node(node.clone()),
        format!("node {node} registered"),
        entry::Payload::NodeRegistered(v1::NodeRegistered {
            node: node.to_string(),
            identity: Some(identity),
        }),
    ));
    Ok(())
}

/// The ids given replace those of their kind; kinds that are not given stay.
fn merged(before: HardwareIdentity, given: &HardwareIdentity) -> HardwareIdentity {
    let list = |old: Vec<String>, new: &[String]| if new.is_empty() { old } else { new.to_vec() };
    HardwareIdentity {
        macs: list(before.macs, &given.macs),
        bmc_serial: given.bmc_serial.clone().or(before.bmc_serial),
        hardware_ids: list(before.hardware_ids, &given.hardware_ids),
    }
}

fn check_identity(identity: &HardwareIdentity) -> Result<(), Refusal> {
    let argument = |field, rule| Err(Refusal::Argument { field, rule });
    if identity.macs.is_empty() && identity.bmc_serial.is_none() && identity.hardware_ids.is_empty()
    {
        return argument("identity", "must hold a MAC address, a BMC serial or a hardware id");
    }
    if identity.macs.len() > MAX_HARDWARE_IDS || identity.hardware_ids.len() > MAX_HARDWARE_IDS {
        return argument("identity", "may hold 64 MAC addresses and 64 hardware ids");
    }
    if !identity.macs.iter().all(|mac| is_mac(mac)) {
        return argument("macs", "must look like 0c:42:a1:00:00:01");
    }
    let serials = identity.bmc_serial.iter().chain(&identity.hardware_ids);
    if !serials
        .clone()
        .all(|s| (1..=MAX_ID_BYTES).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic()))
    {
        return argument(
            "identity",
            "must be made of 1 to 256 printable characters without blanks",
        );
    }
    let known_kind =
        |h: &String| ["tpm:", "smbios:", "mac:"].iter().any(|kind| h.starts_with(kind));
    if !identity.hardware_ids.iter().all(known_kind) {
        return argument("hardware_ids", "must begin with tpm:, smbios: or mac:");
    }
    Ok(())
}

fn is_mac(mac: &str) -> bool {
    let hex = |pair: &str| {
        pair.len() == 2 && pair.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    mac.split(':').count() == 6 && mac.split(':').all(hex)
}

/// Keys under which the ids of a node are found; `mac:` ids and MAC addresses are the same thing.
fn hardware_keys(identity: &HardwareIdentity) -> BTreeSet<String> {
    let macs = identity.macs.iter().map(|mac| format!("mac:{mac}"));
    let bmc = identity.bmc_serial.iter().map(|serial| format!("bmc:{serial}"));
    macs.chain(bmc).chain(identity.hardware_ids.iter().cloned()).collect()
}

fn release(work: &mut Working<'_>, identity: &HardwareIdentity) {
    for hardware in hardware_keys(identity) {
        work.staged.hardware.insert(hardware, None);
    }
}

/// First contact or renewal: a certificate and a bus user.
pub(crate) fn enrol(
    work: &mut Working<'_>,
    enrol: &EnrolNode,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let node: NodeId = id(&enrol.node, "EnrolNode.node")?;
    let record = known(work, &node)?;
    not_revoked(&node, &record)?;
    based_on(&node, &record, enrol.expected_state_seq)?;
    if enrol.renewal && state_of(&record) == NodeState::Registered {
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

/// Active ⇄ Inactive.
pub(crate) fn set_liveness(
    work: &mut Working<'_>,
    liveness: &SetLiveness,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let node: NodeId = id(&liveness.node, "SetLiveness.node")?;
    let wanted: NodeState = enumeration(liveness.state, "SetLiveness.state")?;
    let record = known(work, &node)?;
    not_revoked(&node, &record)?;
    based_on(&node, &record, liveness.expected_state_seq)?;
    let kind = match (state_of(&record), wanted) {
        (NodeState::Active, NodeState::Inactive) => EntryKind::NodeInactive,
        (NodeState::Inactive, NodeState::Active) => EntryKind::NodeActive,
        (before, after) if before == after => return Ok(()),
        (state, _) => return Err(Refusal::WrongState { node, state: state_name(state) }),
    };
    let seq = work.next_seq();
    let record = NodeRecord {
        state: wanted.into(),
        state_seq: seq,
        state_since: Some(convert::timestamp(time_nanos)),
        ..record
    };
    work.staged.nodes.insert(node.clone(), record);
    work.draft(Draft::new(
        kind,
        Scope::Node(node.clone()),
        format!("node {node} is {}", state_name(wanted)),
        entry::Payload::NodeLiveness(v1::NodeLiveness {
            node: node.to_string(),
            state: wanted.into(),
        }),
    ));
    Ok(())
}

/// Into a vCluster, out of one, or from one to another: all nodes or none.
pub(crate) fn assign(work: &mut Working<'_>, assign: &AssignNode) -> Result<(), Refusal> {
    let mode: AssignMode = enumeration(assign.mode, "AssignNode.mode")?;
    let targets = NodeSet::parse(&assign.targets)?;
    if targets.len() > MAX_ASSIGNED {
        return Err(Refusal::Argument { field: "targets", rule: "may name 1,024 nodes at once" });
    }
    let to = match (&assign.vcluster, mode) {
        (Some(vcluster), AssignMode::Assign | AssignMode::Move) => {
            let vcluster: VclusterId = id(vcluster, "AssignNode.vcluster")?;
            if work.vcluster(&vcluster).is_none() {
                return Err(Refusal::UnknownVcluster { vcluster });
            }
            Some(vcluster)
        }
        (None, AssignMode::Unassign) => None,
        _ => {
            return Err(Refusal::Argument {
                field: "vcluster",
                rule: "must be named to assign or move, and only then",
            });
        }
    };
    judged::placed(work, &targets, &assign.judged)?;
    if let Some(to) = &to {
        one_person_suffices(work, to)?;
    }
    for node in targets.iter() {
        assign_one(work, node, mode, to.as_ref())?;
    }
    Ok(())
}

fn assign_one(
    work: &mut Working<'_>,
    node: &NodeId,
    mode: AssignMode,
    to: Option<&VclusterId>,
) -> Result<(), Refusal> {
    let record = known(work, node)?;
    let from = vcluster_of(&record);
    if let Some(from) = &from {
        one_person_suffices(work, from)?;
    }
    let (kind, what) = match (mode, &from) {
        (AssignMode::Assign, Some(vcluster)) => {
            return Err(Refusal::AssignedAlready {
                node: node.clone(),
                vcluster: vcluster.to_string(),
            });
        }
        (AssignMode::Unassign | AssignMode::Move, None) => {
            return Err(Refusal::NotAssigned { node: node.clone() });
        }
        (AssignMode::Move, Some(vcluster)) if Some(vcluster) == to => {
            return Err(Refusal::AssignedAlready {
                node: node.clone(),
                vcluster: vcluster.to_string(),
            });
        }
        (AssignMode::Unassign, Some(vcluster)) => {
            (EntryKind::NodeUnassigned, format!("taken out of {vcluster}"))
        }
        (AssignMode::Move, Some(vcluster)) => (
            EntryKind::NodeMoved,
            format!("moved from {vcluster} to {}", to.map_or("", VclusterId::as_str)),
        ),
        (AssignMode::Assign | AssignMode::Unspecified, _) => {
            (EntryKind::NodeAssigned, format!("assigned to {}", to.map_or("", VclusterId::as_str)))
        }
    };
    move_count(work, from.as_ref(), to);
    let vcluster = to.map(VclusterId::to_string);
    let delta_seq = work.arrive(node, to, work.next_seq());
    let record = NodeRecord { vcluster: vcluster.clone(), delta_seq, ..record };
    work.staged.nodes.insert(node.clone(), record);
    let mut draft = Draft::new(
        kind,
        Scope::Node(node.clone()),
        format!("node {node} {what}"),
        entry::Payload::NodeAssigned(v1::NodeAssigned {
            node: node.to_string(),
            from_vcluster: from.as_ref().map(VclusterId::to_string),
            to_vcluster: vcluster,
        }),
    );
    // Both sides see it, whichever the node belongs to when somebody looks.
    draft.vclusters = from.into_iter().chain(to.cloned()).collect();
    work.draft(draft);
    Ok(())
}

fn move_count(work: &mut Working<'_>, from: Option<&VclusterId>, to: Option<&VclusterId>) {
    if let Some((vcluster, mut record)) = from.and_then(|v| Some((v, work.vcluster(v)?))) {
        record.node_count = record.node_count.saturating_sub(1);
        work.staged.vclusters.insert(vcluster.clone(), record);
    }
    if let Some((vcluster, mut record)) = to.and_then(|v| Some((v, work.vcluster(v)?))) {
        record.node_count = record.node_count.saturating_add(1);
        work.staged.vclusters.insert(vcluster.clone(), record);
    }
}

/// Out for good, until it is registered again. Its hardware ids are free, its vCluster has it no longer.
pub(crate) fn revoke(
    work: &mut Working<'_>,
    revoke: &RevokeNode,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let node: NodeId = id(&revoke.node, "RevokeNode.node")?;
    let record = known(work, &node)?;
    if state_of(&record) == NodeState::Revoked {
        return Ok(());
    }
    let from = vcluster_of(&record);
    release(work, &record.identity.clone().unwrap_or_default());
    move_count(work, from.as_ref(), None);
    let seq = work.next_seq();
    let mut live_bus_users = record.live_bus_users.clone();
    bus_users::revoked(&mut live_bus_users, time_nanos);
    let record = NodeRecord {
        live_bus_users,
        state: NodeState::Revoked.into(),
        state_seq: seq,
        state_since: Some(convert::timestamp(time_nanos)),
        vcluster: None,
        delta_seq: work.arrive(&node, None, seq),
        ..record
    };
    work.staged.nodes.insert(node.clone(), record);
    let mut draft = Draft::new(
        EntryKind::NodeRevoked,
        Scope::Node(node.clone()),
        format!("node {node} revoked"),
        entry::Payload::NodeRevoked(v1::NodeRevoked { node: node.to_string() }),
    );
    draft.vclusters = from.into_iter().collect();
    work.draft(draft);
    Ok(())
}

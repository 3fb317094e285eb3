//! First contact: may this machine become that node? (contracts §5)

use std::time::Duration;

use pact_runtime::Timestamp;
use pact_schemas::convert::{WireError, id, required, unix_nanos};
use pact_schemas::{ErrorCode, HardwareIdentity, NodeId, NodeState, v1};

use super::hardware::{Mismatch, recognises};

/// After an enrolment another key is not even probed for: the agent that won needs a moment to connect, and until then nobody
/// would answer for it. Measured on the calendar, as the journal's times are: a jump shortens or repeats these seconds.
const SETTLING: Duration = Duration::from_secs(10);

/// A node as the journal knows it, as far as enrolment cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownNode {
    pub(crate) node: NodeId,
    pub(crate) state: NodeState,
    pub(crate) hardware: HardwareIdentity,
    /// Public key of the bus user that it enrolled with.
    pub(crate) bus_user: Option<String>,
    pub(crate) state_seq: u64,
    /// When the journal gave it its state.
    pub(crate) state_since: Timestamp,
    pub(crate) agent_version: String,
}

impl TryFrom<v1::NodeRecord> for KnownNode {
    type Error = WireError;

    fn try_from(wire: v1::NodeRecord) -> Result<Self, WireError> {
        let identity = required(wire.identity.as_ref(), "NodeRecord.identity")?;
        let state_since = unix_nanos(wire.state_since.as_ref(), "NodeRecord.state_since")?;
        Ok(Self {
            state_since: Timestamp::from_unix_nanos(state_since),
            node: id(&wire.node, "NodeRecord.node")?,
            state: NodeState::of(&wire)?,
            hardware: HardwareIdentity::try_from(identity)?,
            bus_user: wire.bus_user,
            state_seq: wire.state_seq,
            agent_version: wire.agent_version,
        })
    }
}

/// What is to be done about a first contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Enrol it, if the node's state is still the one that this was based on.
    Accept,
    /// Another key holds this identity: ask whether its agent still answers, then [`after_probe`].
    Probe,
    /// Refuse it.
    Refuse(Refusal),
}

/// Why a first contact is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such node.
    NotEnrolled,
    /// The node is revoked.
    Revoked,
    /// Another machine.
    Hardware(Mismatch),
    /// An agent with another key holds this identity and answers.
    AlreadyActive,
    /// Another machine was enrolled as this node a moment ago.
    JustEnrolled,
    /// Too many refusals for this node and source.
    RateLimited,
}

/// Judges a contact that presented `hardware` and the bus key `bus_user` for the node `known`.
///
/// The hardware is looked at before the state, so that a stranger learns nothing about whether a node is active.
pub(crate) fn judge(
    known: Option<&KnownNode>,
    hardware: &HardwareIdentity,
    bus_user: &str,
    now: Timestamp,
) -> Verdict {
    let Some(known) = known else {
        return Verdict::Refuse(Refusal::NotEnrolled);
    };
    if let Err(mismatch) = recognises(&known.hardware, hardware) {
        return Verdict::Refuse(Refusal::Hardware(mismatch));
    }
    let is_same_key = known.bus_user.as_deref() == Some(bus_user);
    match known.state {
        NodeState::Registered => Verdict::Accept,
        // Repair, restart, or an answer that was lost. The key itself proves nothing here, but what is handed out for it is of
        // no use to whoever does not hold its seed.
        NodeState::Active | NodeState::Inactive if is_same_key => Verdict::Accept,
        NodeState::Active if is_settling(known.state_since, now) => {
            Verdict::Refuse(Refusal::JustEnrolled)
        }
        // Inactive is no proof that nobody answers: hellos may have been lost.
        NodeState::Active | NodeState::Inactive => Verdict::Probe,
        NodeState::Revoked => Verdict::Refuse(Refusal::Revoked),
    }
}

/// Whether two times of two management hosts lie within [`SETTLING`] of each other.
fn is_settling(since: Timestamp, now: Timestamp) -> bool {
    let apart = now.duration_since(since).or_else(|| since.duration_since(now));
    apart.is_some_and(|apart| apart < SETTLING)
}

/// The verdict once the probe is done.
pub(crate) fn after_probe(old_agent_answers: bool) -> Verdict {
    if old_agent_answers { Verdict::Refuse(Refusal::AlreadyActive) } else { Verdict::Accept }
}

impl Refusal {
    /// The code under which it is answered and recorded.
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::NotEnrolled => ErrorCode::NodeNotEnrolled,
            Self::Revoked => ErrorCode::NodeRevoked,
            Self::Hardware(_) => ErrorCode::HardwareIdentityConflict,
            Self::AlreadyActive => ErrorCode::AlreadyActive,
            Self::JustEnrolled => ErrorCode::Conflict,
            Self::RateLimited => ErrorCode::RateLimited,
        }
    }

    /// One line for entries and logs.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::NotEnrolled => "the node is not registered".to_owned(),
            Self::Revoked => "the node is revoked".to_owned(),
            Self::Hardware(mismatch) => {
                format!("enrollment: hardware mismatch: {}", mismatch.as_str())
            }
            Self::AlreadyActive => {
                "an agent with another key holds this identity and answers".to_owned()
            }
            Self::JustEnrolled => {
                "another machine was enrolled as this node a moment ago".to_owned()
            }
            Self::RateLimited => "too many refused attempts".to_owned(),
        }
    }

    /// The answer to the agent.
    pub(crate) fn error(self, node: &NodeId) -> v1::Error {
        let next = match self {
            Self::NotEnrolled => "register it with `pact node enroll`",
            Self::Revoked => "bring it back with `pact node enroll`",
            Self::Hardware(_) => {
                "compare its hardware with `pact node inspect`; `pact enroll` replaces what is registered"
            }
            Self::AlreadyActive => {
                "find out which machine is the right one, and stop the agent on the other"
            }
            Self::JustEnrolled => "try again in a few seconds",
            Self::RateLimited => "wait a minute",
        };
        self.code().error(self.reason()).next(next).on(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);

    fn hardware(mac: &str) -> HardwareIdentity {
        let wire = v1::HardwareIdentity { macs: vec![mac.to_owned()], ..Default::default() };
        HardwareIdentity::try_from(&wire).unwrap()
    }

    fn known(state: NodeState, bus_user: Option<&str>) -> KnownNode {
        KnownNode {
            node: "n1".parse().unwrap(),
            state,
            hardware: hardware("0c:42:a1:00:00:01"),
            bus_user: bus_user.map(str::to_owned),
            state_seq: 7,
            state_since: SINCE,
            agent_version: String::new(),
        }
    }

    #[test]
    fn a_record_with_a_state_or_an_identity_that_is_not_known_is_no_node() {
        let record = v1::NodeRecord {
            node: "n1".into(),
            state: v1::NodeState::Active.into(),
            identity: Some(v1::HardwareIdentity::default()),
            state_since: Some(prost_types::Timestamp::default()),
            ..Default::default()
        };
        assert_eq!(KnownNode::try_from(record.clone()).unwrap().state, NodeState::Active);
        for state in [0, 9] {
            let error =
                KnownNode::try_from(v1::NodeRecord { state, ..record.clone() }).unwrap_err();
            assert!(error.to_string().starts_with("NodeRecord.state"), "{error}");
        }
        let identity = Some(v1::HardwareIdentity { macs: vec!["A".into()], ..Default::default() });
        assert!(KnownNode::try_from(v1::NodeRecord { identity, ..record }).is_err());
    }

    #[test]
    fn the_decision_table() {
        use NodeState as S;
        let later = SINCE.checked_add(SETTLING).unwrap();
        let (right, wrong) = (hardware("0c:42:a1:00:00:01"), hardware("0c:42:a1:00:00:02"));
        let mismatch = Verdict::Refuse(Refusal::Hardware(Mismatch::Mac));
        assert_eq!(judge(None, &right, "UNEW", later), Verdict::Refuse(Refusal::NotEnrolled));
        for (state, old_key, with_right) in [
            (S::Registered, None, Verdict::Accept),
            (S::Registered, Some("UOLD"), Verdict::Accept),
            (S::Active, Some("UNEW"), Verdict::Accept),
            (S::Active, Some("UOLD"), Verdict::Probe),
            (S::Active, None, Verdict::Probe),
            (S::Inactive, Some("UNEW"), Verdict::Accept),
            (S::Inactive, Some("UOLD"), Verdict::Probe),
            (S::Revoked, Some("UNEW"), Verdict::Refuse(Refusal::Revoked)),
        ] {
            let known = known(state, old_key);
            assert_eq!(
                judge(Some(&known), &right, "UNEW", later),
                with_right,
                "{state:?} {old_key:?}"
            );
            assert_eq!(
                judge(Some(&known), &wrong, "UNEW", later),
                mismatch,
                "{state:?} {old_key:?}"
            );
        }
        assert_eq!(after_probe(true), Verdict::Refuse(Refusal::AlreadyActive));
        assert_eq!(after_probe(false), Verdict::Accept);
    }

    #[test]
    fn the_winner_of_a_race_gets_time_to_connect() {
        let right = hardware("0c:42:a1:00:00:01");
        let at = |state, old_key, nanoseconds: i64| {
            let now = Timestamp::from_unix_nanos(SINCE.unix_nanos() + nanoseconds);
            judge(Some(&known(state, Some(old_key))), &right, "UNEW", now)
        };
        let refused = Verdict::Refuse(Refusal::JustEnrolled);
        let settling = i64::try_from(SETTLING.as_nanos()).unwrap();
        for nanoseconds in [0, settling - 1, 1 - settling] {
            assert_eq!(at(NodeState::Active, "UOLD", nanoseconds), refused);
            assert_eq!(at(NodeState::Active, "UNEW", nanoseconds), Verdict::Accept);
            assert_eq!(at(NodeState::Inactive, "UOLD", nanoseconds), Verdict::Probe);
        }
        for nanoseconds in [settling, -settling] {
            assert_eq!(at(NodeState::Active, "UOLD", nanoseconds), Verdict::Probe);
        }
    }

    #[test]
    fn the_words_of_the_contract() {
        let error = Refusal::Hardware(Mismatch::Mac).error(&"n1".parse().unwrap());
        assert!(error.message.starts_with("enrollment: hardware mismatch"));
        assert_eq!(
            (error.code.as_str(), error.node.as_str()),
            ("PACT_HARDWARE_IDENTITY_CONFLICT", "n1")
        );
        assert_eq!(Refusal::AlreadyActive.code().as_str(), "PACT_ALREADY_ACTIVE");
        assert_eq!(Refusal::NotEnrolled.code().as_str(), "PACT_NODE_NOT_ENROLLED");
    }
}

//! Every NATS subject that pact uses: constructed here, parsed here.
//!
//! ```text
//! pact.v1.rpc.<service>.<method>                 a service, in a queue group
//! pact.v1.rpc.journal.m.<member>.<method>        one journal member
//! pact.v1.node.<node>.rpc.<method>               to the agent
//! pact.v1.node.<node>.stream.<id>.<in|out>       bytes with credits
//! pact.v1.node.<node>.up.<method>                from the agent
//! pact.v1.node.<node>.up.event.<kind>            from the agent's spool
//! pact.v1.config.<vc|node|global>.<id|_>         new declared state
//! pact.v1.audit.<vcluster|_>.<node|_>.<kind>     the audit feed
//! ```

use std::fmt;
use std::str::FromStr;

use crate::id::{EventKind, MemberId, MethodName, NodeId, ServiceName, StreamId, VclusterId};

/// First two tokens of every subject of this version.
pub const PREFIX: &str = "pact.v1";

/// Longest subject that is parsed, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 256;

/// A concrete subject, without wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A method of a service; any instance may answer.
    ServiceRpc {
        /// The service.
        service: ServiceName,
        /// The method.
        method: MethodName,
    },
    /// A method of one journal member.
    MemberRpc {
        /// The member.
        member: MemberId,
        /// The method.
        method: MethodName,
    },
    /// A method of a node's agent.
    NodeRpc {
        /// The node.
        node: NodeId,
        /// The method.
        method: MethodName,
    },
    /// One direction of a byte stream of a node.
    NodeStream {
        /// The node.
        node: NodeId,
        /// The stream.
        stream: StreamId,
        /// To or from the agent.
        direction: Direction,
    },
    /// A request of a node's agent to the services.
    NodeUp {
        /// The node; the only proof of who speaks.
        node: NodeId,
        /// `hello`, `config`, `renew`, `recording`, `time`.
        method: MethodName,
    },
    /// A spooled event of a node.
    NodeEvent {
        /// The node; the only proof of who speaks.
        node: NodeId,
        /// The event's kind.
        kind: EventKind,
    },
    /// Announcement of new declared state.
    Config(ConfigScope),
    /// One entry in the audit feed.
    Audit {
        /// The entry's vCluster, if it has one.
        vcluster: Option<VclusterId>,
        /// The entry's node, if it has one.
        node: Option<NodeId>,
        /// The entry's kind.
        kind: EventKind,
    },
}

/// Direction of a node stream, seen from the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the agent: standard input, credits, cancel.
    In,
    /// From the agent: output.
    Out,
}

/// The scope of a configuration announcement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ConfigScope {
    /// One vCluster's overlay.
    Vcluster(VclusterId),
    /// One node's deltas.
    Node(NodeId),
    /// The site's defaults.
    Global,
}

/// Why a subject was not recognised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject:?} is not a subject of pact")]
pub struct SubjectError {
    /// The subject, cut at [`MAX_SUBJECT_BYTES`] characters.
    pub subject: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceRpc { service, method } => write!(f, "{PREFIX}.rpc.{service}.{method}"),
            Self::MemberRpc { member, method } => {
                write!(f, "{PREFIX}.rpc.journal.m.{member}.{method}")
            }
            Self::NodeRpc { node, method } => write!(f, "{PREFIX}.node.{node}.rpc.{method}"),
            Self::NodeStream { node, stream, direction } => {
                let way = match direction {
                    Direction::In => "in",
                    Direction::Out => "out",
                };
                write!(f, "{PREFIX}.node.{node}.stream.{stream}.{way}")
            }
            Self::NodeUp { node, method } => write!(f, "{PREFIX}.node.{node}.up.{method}"),
            Self::NodeEvent { node, kind } => write!(f, "{PREFIX}.node.{node}.up.event.{kind}"),
            Self::Config(ConfigScope::Vcluster(id)) => write!(f, "{PREFIX}.config.vc.{id}"),
            Self::Config(ConfigScope::Node(id)) => write!(f, "{PREFIX}.config.node.{id}"),
            Self::Config(ConfigScope::Global) => write!(f, "{PREFIX}.config.global._"),
            Self::Audit { vcluster, node, kind } => {
                let vcluster = vcluster.as_ref().map_or("_", VclusterId::as_str);
                let node = node.as_ref().map_or("_", NodeId::as_str);
                write!(f, "{PREFIX}.audit.{vcluster}.{node}.{kind}")
            }
        }
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(subject: &str) -> Result<Self, SubjectError> {
        let refuse = || SubjectError { subject: subject.chars().take(MAX_SUBJECT_BYTES).collect() };
        if subject.len() > MAX_SUBJECT_BYTES {
            return Err(refuse());
        }
        let tokens: Vec<&str> = subject.split('.').collect();
        match tokens.strip_prefix(["pact", "v1"].as_slice()) {
            Some(rest) => parse_tokens(rest).ok_or_else(refuse),
            None => Err(refuse()),
        }
    }
}

fn parse_tokens(tokens: &[&str]) -> Option<Subject> {
    Some(match *tokens {
        ["rpc", "journal", "m", member, method] => {
            Subject::MemberRpc { member: member.parse().ok()?, method: method.parse().ok()? }
        }
        ["rpc", service, method] => {
            Subject::ServiceRpc { service: service.parse().ok()?, method: method.parse().ok()? }
        }
        ["node", node, "rpc", method] => {
            Subject::NodeRpc { node: node.parse().ok()?, method: method.parse().ok()? }
        }
        ["node", node, "stream", stream, way] => Subject::NodeStream {
            node: node.parse().ok()?,
            stream: stream.parse().ok()?,
            direction: match way {
                "in" => Direction::In,
                "out" => Direction::Out,
                _ => return None,
            },
        },
        ["node", node, "up", "event", kind] => {
            Subject::NodeEvent { node: node.parse().ok()?, kind: kind.parse().ok()? }
        }
        ["node", node, "up", method] if method != "event" => {
            Subject::NodeUp { node: node.parse().ok()?, method: method.parse().ok()? }
        }
        ["config", "vc", id] => Subject::Config(ConfigScope::Vcluster(id.parse().ok()?)),
        ["config", "node", id] => Subject::Config(ConfigScope::Node(id.parse().ok()?)),
        ["config", "global", "_"] => Subject::Config(ConfigScope::Global),
        ["audit", vcluster, node, kind] => Subject::Audit {
            vcluster: optional(vcluster)?,
            node: optional(node)?,
            kind: kind.parse().ok()?,
        },
        _ => return None,
    })
}

/// `_` stands for none; anything else must be a valid id.
fn optional<T: FromStr>(token: &str) -> Option<Option<T>> {
    if token == "_" { Some(None) } else { token.parse().ok().map(Some) }
}

/// Subscription patterns of the services (each with wildcards in fixed places).
pub mod pattern {
    use crate::id::{MemberId, NodeId, ServiceName, StreamId};

    use super::PREFIX;

    /// All methods of a service.
    #[must_use]
    pub fn service(service: &ServiceName) -> String {
        format!("{PREFIX}.rpc.{service}.*")
    }

    /// All methods of one journal member.
    #[must_use]
    pub fn member(member: MemberId) -> String {
        format!("{PREFIX}.rpc.journal.m.{member}.*")
    }

    /// All commands to one node's agent.
    #[must_use]
    pub fn node_rpc(node: &NodeId) -> String {
        format!("{PREFIX}.node.{node}.rpc.*")
    }

    /// Control frames of one stream, as the agent subscribes to them.
    #[must_use]
    pub fn stream_in(node: &NodeId, stream: &StreamId) -> String {
        format!("{PREFIX}.node.{node}.stream.{stream}.in")
    }

    /// Every node's spooled events.
    #[must_use]
    pub fn all_events() -> String {
        format!("{PREFIX}.node.*.up.event.*")
    }

    /// One `up` method of every node.
    #[must_use]
    pub fn all_up(method: &str) -> String {
        format!("{PREFIX}.node.*.up.{method}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = String> {
        "[a-z0-9-]{1,20}"
    }

    fn subjects() -> impl Strategy<Value = Subject> {
        let hex = "[0-9a-f]{32}";
        let node = || name().prop_map(|n| NodeId::new(&n).unwrap());
        let method = || name().prop_map(|n| MethodName::new(&format!("x{n}")).unwrap());
        let kind = || name().prop_map(|n| EventKind::new(&n).unwrap());
        prop_oneof![
            (name(), method()).prop_map(|(s, method)| Subject::ServiceRpc {
                service: ServiceName::new(&s).unwrap(),
                method
            }),
            (1u64.., method()).prop_map(|(m, method)| Subject::MemberRpc {
                member: MemberId::new(m).unwrap(),
                method
            }),
            (node(), method()).prop_map(|(node, method)| Subject::NodeRpc { node, method }),
            (node(), hex, any::<bool>()).prop_map(|(node, s, b)| Subject::NodeStream {
                node,
                stream: StreamId::new(&s).unwrap(),
                direction: if b { Direction::In } else { Direction::Out },
            }),
            (node(), method()).prop_map(|(node, method)| Subject::NodeUp { node, method }),
            (node(), kind()).prop_map(|(node, kind)| Subject::NodeEvent { node, kind }),
            node().prop_map(|n| Subject::Config(ConfigScope::Node(n))),
            name()
                .prop_map(|n| Subject::Config(ConfigScope::Vcluster(VclusterId::new(&n).unwrap()))),
            Just(Subject::Config(ConfigScope::Global)),
            (proptest::option::of(name()), proptest::option::of(node()), kind()).prop_map(
                |(v, node, kind)| Subject::Audit {
                    vcluster: v.map(|v| VclusterId::new(&v).unwrap()),
                    node,
                    kind
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn what_is_constructed_is_parsed(subject in subjects()) {
            prop_assert_eq!(subject.to_string().parse::<Subject>().unwrap(), subject);
        }

        #[test]
        fn what_is_parsed_is_constructed(text in "(pact\\.v1\\.)?[a-z0-9._*>-]{0,60}") {
            if let Ok(subject) = text.parse::<Subject>() {
                prop_assert_eq!(subject.to_string(), text);
            }
        }
    }

    #[test]
    fn wildcards_and_foreign_subjects_are_refused() {
        for bad in [
            "pact.v1.node.*.rpc.exec",
            "pact.v1.node.a.up.event",
            "pact.v2.node.a.rpc.exec",
            "pact.v1.rpc.journal.m.0.propose",
            "pact.v1.node.a.stream.zz.in",
            "_INBOX_s.x",
            "",
        ] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}

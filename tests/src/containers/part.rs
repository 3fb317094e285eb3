//! The parts of a cluster, one container each.

use std::fmt;

use crate::site::mac_of;

/// What runs in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// nats-server
    Bus,
    /// A journal member, by its number.
    Journal(u64),
    /// Enrolment.
    Enroll,
    /// Approvals.
    Approval,
    /// The bridge.
    Bridge,
    /// A gateway, by its number.
    Gateway(u64),
    /// The agent of node `n<number>`.
    Agent(u64),
}

/// Where a part keeps something that outlives its container: what is it called, and where it is in the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keep {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) mode: u32,
}

/// Configuration, certificates and keys.
pub(super) const ETC: Keep = Keep { name: "etc", path: "/etc/pact", mode: 0o755 };
const JOURNAL: Keep = Keep { name: "data", path: "/var/lib/pact/journal", mode: 0o700 };
pub(super) const BUS: Keep = Keep { name: "data", path: "/var/lib/nats", mode: 0o700 };
/// A node's agent; its parents can be gone through, for the watched folder's sake.
pub(super) const AGENT: Keep = Keep { name: "data", path: "/var/lib/pact", mode: 0o755 };
/// What the agent watches.
pub(super) const ROOT: Keep = Keep { name: "root", path: "/srv/node", mode: 0o755 };

/// Port of clients and agents at a gateway.
pub(super) const GATEWAY_PORT: u16 = 9443;
/// Port of members among themselves.
pub(super) const PEER_PORT: u16 = 9444;
/// Port of the bus.
pub(super) const BUS_PORT: u16 = 4222;

impl Part {
    /// The service's program, and what its configuration template is called.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Bus => "nats-server",
            Self::Journal(_) => "journal",
            Self::Enroll => "enroll",
            Self::Approval => "approval",
            Self::Bridge => "bridge",
            Self::Gateway(_) => "gateway",
            Self::Agent(_) => "agent",
        }
    }

    /// The command line.
    pub(super) fn command(self) -> Vec<String> {
        let program = self.program();
        let config = format!("{}/{}", ETC.path, self.config());
        match self {
            Self::Bus => vec!["-c".to_owned(), config],
            _ => vec![format!("pact-{program}"), "--config".to_owned(), config],
        }
    }

    /// The hardware address that an agent enrols with.
    pub(super) fn mac(self) -> String {
        let Self::Agent(number) = self else { panic!("{self} is no node") };
        mac_of(usize::try_from(number).expect("small"))
    }

    /// Name of its configuration file.
    pub(super) fn config(self) -> String {
        let ending = if self == Self::Bus { "conf" } else { "toml" };
        format!("{}.{ending}", self.program())
    }

    /// The port of metrics and health, where it has one.
    pub(super) fn metrics_port(self) -> Option<u16> {
        match self {
            Self::Bus | Self::Agent(_) => None,
            Self::Journal(_) => Some(9091),
            Self::Gateway(_) => Some(9092),
            Self::Enroll => Some(9093),
            Self::Approval => Some(9094),
            Self::Bridge => Some(9095),
        }
    }

    /// The ports that this machine reaches.
    pub(super) fn published(self) -> Vec<u16> {
        let client = match self {
            Self::Gateway(_) => Some(GATEWAY_PORT),
            Self::Bus => Some(BUS_PORT),
            _ => None,
        };
        client.into_iter().chain(self.metrics_port()).collect()
    }

    /// What outlives its container.
    pub(super) fn keeps(self) -> Vec<Keep> {
        let data: &[Keep] = match self {
            Self::Bus => &[BUS],
            Self::Journal(_) => &[JOURNAL],
            Self::Agent(_) => &[AGENT, ROOT],
            _ => &[],
        };
        [ETC].into_iter().chain(data.iter().copied()).collect()
    }
}

/// `journal-1`, `enroll`, `n1`: also the node's id.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus => f.write_str("nats"),
            Self::Journal(number) => write!(f, "journal-{number}"),
            Self::Enroll => f.write_str("enroll"),
            Self::Approval => f.write_str("approval"),
            Self::Bridge => f.write_str("bridge"),
            Self::Gateway(number) => write!(f, "gateway-{number}"),
            Self::Agent(number) => write!(f, "n{number}"),
        }
    }
}

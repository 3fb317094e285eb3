//! The command line of the bootstrap.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use pact_identity::{InstanceName, ServiceInstance, ServiceRole};
use pact_schemas::{MemberId, SiteName};

use super::BootstrapError;

/// Longest DNS name.
const MAX_HOST_BYTES: usize = 253;

/// Makes the keys, certificates and bus credentials of a site in a folder; run again, it completes what is missing.
#[derive(Clone, Debug, clap::Args)]
pub struct BootstrapArgs {
    /// The site's folder; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,

    /// Name of the site, part of every certificate's name: 1 to 63 of a-z, 0-9 and '-'
    #[arg(long, value_name = "NAME")]
    pub site: SiteName,

    /// A journal member, e.g. `1:journal-1.mgmt:9444`; 1, 3 or 5 of them, the same on every run
    #[arg(long = "member", value_name = "ID:HOST:PORT", required = true)]
    pub members: Vec<Member>,

    /// A new journal member with a number of its own, for `pact cluster add`, e.g. `4:journal-4.mgmt:9444`; recorded, so it
    /// need not be given again
    #[arg(long = "add-member", value_name = "ID:HOST:PORT")]
    pub added_members: Vec<Member>,

    /// A gateway and the names and addresses by which it is reached, e.g. `gateway-1:mgmt-1.example,10.0.0.1`
    #[arg(long = "gateway", value_name = "NAME:HOST[,HOST…]", required = true)]
    pub gateways: Vec<Gateway>,

    /// Names and addresses by which the bus is reached
    #[arg(long = "bus-host", value_name = "HOST[,HOST…]", required = true, value_delimiter = ',')]
    pub bus_hosts: Vec<Host>,

    /// Where nats-server listens for services and nodes, e.g. `0.0.0.0:4222`
    #[arg(long, value_name = "IP:PORT")]
    pub bus_listen: SocketAddr,
}

impl BootstrapArgs {
    /// What clap cannot judge.
    pub(super) fn check(&self) -> Result<(), BootstrapError> {
        let count = self.members.len();
        if !matches!(count, 1 | 3 | 5) {
            return Err(BootstrapError::MemberCount { count });
        }
        let ids: BTreeSet<MemberId> = self.members.iter().map(|member| member.id).collect();
        let addresses: BTreeSet<String> = self.members.iter().map(Member::address).collect();
        if ids.len() < count || addresses.len() < count {
            return Err(BootstrapError::Twice { what: "member" });
        }
        let mut all = ids;
        if !self.added_members.iter().all(|member| all.insert(member.id)) {
            return Err(BootstrapError::Twice { what: "member" });
        }
        let gateways: BTreeSet<String> = self.gateways.iter().map(Gateway::name).collect();
        if gateways.len() < self.gateways.len() {
            return Err(BootstrapError::Twice { what: "gateway" });
        }
        if self.bus_listen.port() == 0 {
            return Err(BootstrapError::NoBusPort);
        }
        Ok(())
    }
}

/// A host name or an IP address, as it stands in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

/// A text of the command line is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct BadArgument {
    text: String,
    expected: &'static str,
}

impl BadArgument {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), expected }
    }
}

impl Host {
    /// The name or address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it stands before a port: IPv6 in brackets.
    #[must_use]
    pub fn before_port(&self) -> String {
        match self.0.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.0.clone(),
        }
    }
}

impl FromStr for Host {
    type Err = BadArgument;

    fn from_str(text: &str) -> Result<Self, BadArgument> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let is_name = bare.len() <= MAX_HOST_BYTES && bare.split('.').all(label);
        if bare.parse::<IpAddr>().is_ok() || (bare == text && is_name) {
            Ok(Self(bare.to_owned()))
        } else {
            Err(BadArgument::new(text, "a host name or an IP address"))
        }
    }
}

/// A journal member and where its peers reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: MemberId,
    /// Its host, the name in its certificate.
    pub host: Host,
    /// Its port.
    pub port: u16,
}

impl Member {
    fn address(&self) -> String {
        format!("{}:{}", self.host.before_port(), self.port)
    }
}

impl fmt::Display for Member {
    /// As on the command line and in `journal.raft.members`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.address())
    }
}

impl FromStr for Member {
    type Err = BadArgument;

    fn from_str(text: &str) -> Result<Self, BadArgument> {
        let bad = || BadArgument::new(text, "a member of the form 1:journal-1.mgmt:9444");
        let (id, address) = text.split_once(':').ok_or_else(bad)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        match (id.parse(), host.parse(), port.parse::<u16>()) {
            (Ok(id), Ok(host), Ok(port)) if port != 0 => Ok(Self { id, host, port }),
            _ => Err(bad()),
        }
    }
}

/// A gateway and the names in its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its instance; `gateway-1` and `1` are the same one.
    pub instance: InstanceName,
    /// At least one.
    pub hosts: Vec<Host>,
}

impl Gateway {
    /// `gateway-<instance>`: its name in its configuration, on the bus, and of its files.
    #[must_use]
    pub fn name(&self) -> String {
        self.service().to_string()
    }

    /// Its instance on the bus.
    #[must_use]
    pub fn service(&self) -> ServiceInstance {
        ServiceInstance { role: ServiceRole::Gateway, name: self.instance.clone() }
    }
}

impl FromStr for Gateway {
    type Err = BadArgument;

    fn from_str(text: &str) -> Result<Self, BadArgument> {
        let bad = || BadArgument::new(text, "a gateway of the form gateway-1:host[,host…]");
        let (name, hosts) = text.split_once(':').ok_or_else(bad)?;
        let instance = name.strip_prefix("gateway-").unwrap_or(name);
        let instance = instance.parse().map_err(|_| bad())?;
        let hosts = hosts.split(',').map(str::parse).collect::<Result<Vec<Host>, _>>()?;
        Ok(Self { instance, hosts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_read_back_as_written_and_nonsense_is_refused() {
        for text in ["1:journal-1.mgmt:9444", "2:10.0.0.2:9444", "3:[::1]:9444"] {
            assert_eq!(text.parse::<Member>().unwrap().to_string(), text);
        }
        for text in ["", "0:a:1", "1:a", "1:a:0", "1::9444", "1:a b:9444", "x:a:1", "1:::1:9444:"] {
            assert!(text.parse::<Member>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_gateway_has_one_name_however_it_is_written() {
        let long: Gateway = "gateway-1:mgmt-1,10.0.0.1,::1".parse().unwrap();
        assert_eq!((long.name().as_str(), long.hosts.len()), ("gateway-1", 3));
        assert_eq!("1:mgmt-1,10.0.0.1,::1".parse::<Gateway>().unwrap(), long);
        for text in ["gateway-1", "gateway-1:", "A:host", "gateway-1:a,,b", "gateway-:a"] {
            assert!(text.parse::<Gateway>().is_err(), "{text:?}");
        }
    }
}

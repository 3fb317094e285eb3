//! Who the members are: the same list on every one of them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use openraft::BasicNode;
use pact_schemas::v1::MemberAddress;
use pact_schemas::{MemberId, SiteName};
use ring::digest;

/// A member in the configuration: `1:journal-1.mgmt:9444`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredMember {
    /// Its number.
    pub id: MemberId,
    /// Host and port where the others reach it.
    pub address: String,
}

/// The text is no member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no member: a number from 1, the host and the port are expected, as in 1:journal-1.mgmt:9444"
)]
pub struct InvalidMember {
    /// As given.
    pub text: String,
}

impl FromStr for ConfiguredMember {
    type Err = InvalidMember;

    fn from_str(text: &str) -> Result<Self, InvalidMember> {
        let invalid = || InvalidMember { text: text.chars().take(200).collect() };
        let (id, address) = text.split_once(':').ok_or_else(invalid)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let is_host = !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        if !is_host || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(invalid());
        }
        Ok(Self { id: id.parse().map_err(|_| invalid())?, address: address.to_owned() })
    }
}

impl fmt::Display for ConfiguredMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.address)
    }
}

/// Why a list of members is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// A number of members without a use.
    #[error("{count} members are configured; 1, 3 or 5 are possible")]
    Count {
        /// As configured.
        count: usize,
    },
    /// Twice the same number or address.
    #[error("{what} is configured for two members")]
    Twice {
        /// The number or the address.
        what: String,
    },
    /// This process is not in the list.
    #[error("member {own} is not in the list of members")]
    NotListed {
        /// Its number.
        own: MemberId,
    },
}

/// A checked list of members and the place of this process in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    own: MemberId,
    addresses: BTreeMap<u64, String>,
}

impl Members {
    /// Checks a list.
    ///
    /// # Errors
    /// [`MembersError`] unless it names 1, 3 or 5 different members, this one among them.
    pub fn new(own: MemberId, listed: &[ConfiguredMember]) -> Result<Self, MembersError> {
        if ![1, 3, 5].contains(&listed.len()) {
            return Err(MembersError::Count { count: listed.len() });
        }
        let mut addresses: BTreeMap<u64, String> = BTreeMap::new();
        for member in listed {
            if addresses.values().any(|address| *address == member.address) {
                return Err(MembersError::Twice {
                    what: format!("the address {}", member.address),
                });
            }
            if addresses.insert(member.id.get(), member.address.clone()).is_some() {
                return Err(MembersError::Twice { what: format!("the number {}", member.id) });
            }
        }
        if !addresses.contains_key(&own.get()) {
            return Err(MembersError::NotListed { own });
        }
        Ok(Self { own, addresses })
    }

    /// This process.
    pub fn own(&self) -> MemberId {
        self.own
    }

    /// Number and address of every member, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &str)> {
        self.addresses.iter().map(|(id, address)| (*id, address.as_str()))
    }

    /// Whether a member has this number.
    pub fn contains(&self, id: u64) -> bool {
        self.addresses.contains_key(&id)
    }

    /// What tells this cluster from others: SHA-256 over the site and every number and address.
    pub fn cluster_id(&self, site: &SiteName) -> [u8; 32] {
        let mut text = format!("pact.v1.cluster\0{site}\n");
        for (id, address) in self.iter() {
            text.push_str(&format!("{id}:{address}\n"));
        }
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        out
    }

    pub(crate) fn to_raft(&self) -> BTreeMap<u64, BasicNode> {
        self.iter().map(|(id, address)| (id, BasicNode::new(address))).collect()
    }

    pub(crate) fn to_wire(&self, joined: impl Fn(u64) -> bool) -> Vec<MemberAddress> {
        self.iter()
            .map(|(id, address)| MemberAddress {
                id,
                address: address.to_owned(),
                joined: joined(id),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<ConfiguredMember> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_list_names_one_three_or_five_different_members() {
        let own = MemberId::new(2).unwrap();
        let good = list(&["1:a:9444", "2:b.mgmt:9444", "3:[::1]:9444"]);
        let members = Members::new(own, &good).unwrap();
        assert_eq!(members.iter().last(), Some((3, "[::1]:9444")));
        assert_eq!(Members::new(own, &good[..2]), Err(MembersError::Count { count: 2 }));
        assert_eq!(Members::new(own, &good[..1]), Err(MembersError::NotListed { own }));
        for twice in [["1:a:9444", "2:b:9444", "2:c:9444"], ["1:a:9444", "2:b:9444", "3:a:9444"]] {
            assert!(matches!(Members::new(own, &list(&twice)), Err(MembersError::Twice { .. })));
        }
        let site = SiteName::new("alps").unwrap();
        let other = Members::new(own, &list(&["1:a:9444", "2:b.mgmt:9444", "3:c:9444"])).unwrap();
        assert_ne!(members.cluster_id(&site), other.cluster_id(&site));
    }

    #[test]
    fn what_is_no_member_is_refused() {
        for bad in
            ["", "1", "1:host", "0:host:9444", "x:host:9444", "1:ho st:9444", "1:host:0", "1::9444"]
        {
            assert!(bad.parse::<ConfiguredMember>().is_err(), "{bad}");
        }
    }
}

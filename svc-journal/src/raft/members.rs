//! The configured members, and what tells their cluster from others.
//!
//! The list is the one with which a new journal begins, and in which a new member finds the others. Afterwards Raft's committed
//! membership is the truth, and the list is only compared with it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use openraft::BasicNode;
use pact_journal_core::members::{MAX_MEMBERS, is_address};
use pact_journal_core::record::sha256;
use pact_schemas::{MemberId, SiteName};

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
        if !is_address(address) {
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
    /// None, or more than a journal can have.
    #[error("{count} members are configured; 1 to {MAX_MEMBERS} are possible")]
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
    /// [`MembersError`] unless it names 1 to 7 different members, this one among them.
    pub fn new(own: MemberId, listed: &[ConfiguredMember]) -> Result<Self, MembersError> {
        if listed.is_empty() || listed.len() > MAX_MEMBERS {
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

    /// Whether a new journal may begin with them: an even number of members survives no more failures than one less.
    pub(crate) fn may_found(&self) -> bool {
        self.addresses.len() % 2 == 1
    }

    pub(crate) fn cluster_ids(&self, site: &SiteName) -> ClusterIds {
        let of_site = format!("pact.v1.cluster\0{site}\n");
        let mut listed = of_site.clone();
        for (id, address) in self.iter() {
            listed.push_str(&format!("{id}:{address}\n"));
        }
        ClusterIds { of_site: sha256(&[of_site.as_bytes()]), listed: sha256(&[listed.as_bytes()]) }
    }

    pub(crate) fn to_raft(&self) -> BTreeMap<u64, BasicNode> {
        self.iter().map(|(id, address)| (id, BasicNode::new(address))).collect()
    }
}

/// What tells a cluster from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClusterIds {
    /// SHA-256 over the site.
    pub(crate) of_site: [u8; 32],
    /// SHA-256 over the site and every configured number and address: what versions before members could be changed write and
    /// say, and what the members of a new journal must have in common.
    pub(crate) listed: [u8; 32],
}

impl ClusterIds {
    /// Whether somebody who says this is of our cluster.
    pub(crate) fn contains(&self, said: &[u8]) -> bool {
        said == self.of_site || said == self.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<ConfiguredMember> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_list_names_different_members() {
        let own = MemberId::new(2).unwrap();
        let good = list(&["1:a:9444", "2:b.mgmt:9444", "3:[::1]:9444"]);
        let members = Members::new(own, &good).unwrap();
        assert_eq!(members.iter().last(), Some((3, "[::1]:9444")));
        assert_eq!(Members::new(own, &[]), Err(MembersError::Count { count: 0 }));
        let eight: Vec<String> = (1..=8).map(|id| format!("{id}:h{id}:9444")).collect();
        let eight = list(&eight.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(Members::new(own, &eight), Err(MembersError::Count { count: 8 }));
        assert!(members.may_found() && !Members::new(own, &good[..2]).unwrap().may_found());
        assert_eq!(Members::new(own, &good[..1]), Err(MembersError::NotListed { own }));
        for twice in [["1:a:9444", "2:b:9444", "2:c:9444"], ["1:a:9444", "2:b:9444", "3:a:9444"]] {
            assert!(matches!(Members::new(own, &list(&twice)), Err(MembersError::Twice { .. })));
        }
        let site = SiteName::new("alps").unwrap();
        let other = Members::new(own, &list(&["1:a:9444", "2:b.mgmt:9444", "3:c:9444"])).unwrap();
        let (ours, theirs) = (members.cluster_ids(&site), other.cluster_ids(&site));
        assert!(ours.of_site == theirs.of_site && ours.listed != theirs.listed);
        assert!(ours.contains(&ours.of_site) && ours.contains(&ours.listed));
        let jura = members.cluster_ids(&SiteName::new("jura").unwrap());
        assert!(!ours.contains(&theirs.listed) && !ours.contains(&jura.of_site));
        // As every version before has written it into IDENTITY.
        let hex: String = ours.listed.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "d6e66d50c2acb4a981160487c83df5ab1c4487fb5890635ecd259cec60817a90");
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

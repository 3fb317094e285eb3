//! `pact://<site>/<role>/<name>`: who a certificate speaks for, as its URI name.

use std::fmt;
use std::str::FromStr;

use pact_schemas::{MemberId, NodeId, SiteName};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::instance::InstanceName;

/// What kind of statement a signing certificate may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignerRole {
    /// A journal member: grants, plane time and configuration heads.
    Grant,
    /// A gateway: attestations of verified principals, degraded grants.
    Gateway,
    /// svc-enroll: attestations of itself.
    Enroll,
    /// svc-approval: attestations of itself.
    Approval,
    /// svc-bridge: attestations of itself.
    Bridge,
}

impl SignerRole {
    /// The role's segment in the URI.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Gateway => "gateway",
            Self::Enroll => "enroll",
            Self::Approval => "approval",
            Self::Bridge => "bridge",
        }
    }
}

/// For whom a signing certificate is issued, and whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SigningRole {
    /// A journal member.
    Grant(MemberId),
    /// An instance of svc-gateway.
    Gateway(InstanceName),
    /// An instance of svc-enroll.
    Enroll(InstanceName),
    /// An instance of svc-approval.
    Approval(InstanceName),
    /// An instance of svc-bridge.
    Bridge(InstanceName),
}

/// Whose signature was verified: the same shape as what a certificate is issued for.
pub type SignerName = SigningRole;

impl SigningRole {
    /// The role without the name.
    #[must_use]
    pub fn role(&self) -> SignerRole {
        match self {
            Self::Grant(_) => SignerRole::Grant,
            Self::Gateway(_) => SignerRole::Gateway,
            Self::Enroll(_) => SignerRole::Enroll,
            Self::Approval(_) => SignerRole::Approval,
            Self::Bridge(_) => SignerRole::Bridge,
        }
    }
}

impl fmt::Display for SigningRole {
    /// `<role>/<name>`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.role().as_str())?;
        match self {
            Self::Grant(member) => member.fmt(f),
            Self::Gateway(name)
            | Self::Enroll(name)
            | Self::Approval(name)
            | Self::Bridge(name) => name.fmt(f),
        }
    }
}

/// Whom a certificate of the site names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The site root itself: `pact://<site>`.
    Site,
    /// A node's leaf: `pact://<site>/node/<node>`.
    Node(NodeId),
    /// A Raft peer: `pact://<site>/journal/<member>`.
    Peer(MemberId),
    /// A signing certificate.
    Signing(SigningRole),
}

/// The URI name of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PactUri {
    /// The site.
    pub site: SiteName,
    /// Whom it names within the site.
    pub holder: Holder,
}

/// The text is no name of this scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not of the form pact://<site>/<role>/<name>")]
pub struct InvalidUri {
    /// As given, cut at 200 characters.
    pub text: String,
}

impl fmt::Display for PactUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pact://{}", self.site)?;
        match &self.holder {
            Holder::Site => Ok(()),
            Holder::Node(node) => write!(f, "/node/{node}"),
            Holder::Peer(member) => write!(f, "/journal/{member}"),
            Holder::Signing(role) => write!(f, "/{role}"),
        }
    }
}

impl FromStr for PactUri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        parse(text).ok_or_else(|| InvalidUri { text: text.chars().take(200).collect() })
    }
}

fn parse(text: &str) -> Option<PactUri> {
    let mut segments = text.strip_prefix("pact://")?.split('/');
    let site = SiteName::new(segments.next()?).ok()?;
    let holder = match (segments.next(), segments.next(), segments.next()) {
        (None, None, None) => Holder::Site,
        (Some(role), Some(name), None) => holder(role, name)?,
        _ => return None,
    };
    Some(PactUri { site, holder })
}

fn holder(role: &str, name: &str) -> Option<Holder> {
    let instance = || InstanceName::new(name).ok();
    Some(match role {
        "node" => Holder::Node(NodeId::new(name).ok()?),
        "journal" => Holder::Peer(name.parse().ok()?),
        "grant" => Holder::Signing(SigningRole::Grant(name.parse().ok()?)),
        "gateway" => Holder::Signing(SigningRole::Gateway(instance()?)),
        "enroll" => Holder::Signing(SigningRole::Enroll(instance()?)),
        "approval" => Holder::Signing(SigningRole::Approval(instance()?)),
        "bridge" => Holder::Signing(SigningRole::Bridge(instance()?)),
        _ => return None,
    })
}

/// Reads whom a certificate names. This says nothing about whether it is to be believed: the chain is the caller's to check
/// (TLS has done it for a peer; [`crate::Verifier`] does it for signatures).
///
/// # Errors
/// [`InvalidUri`] unless the certificate has exactly one URI name, of this scheme; its text is empty when there is none.
pub fn uri_of_certificate(certificate_der: &[u8]) -> Result<PactUri, InvalidUri> {
    let none = || InvalidUri { text: String::new() };
    let (rest, certificate) = X509Certificate::from_der(certificate_der).map_err(|_| none())?;
    if !rest.is_empty() {
        return Err(none());
    }
    let names = certificate.subject_alternative_name().map_err(|_| none())?.ok_or_else(none)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => uri.parse(),
        _ => Err(none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_written() {
        for text in [
            "pact://alps",
            "pact://alps/node/node-1",
            "pact://alps/journal/3",
            "pact://alps/grant/1",
            "pact://alps/gateway/mgmt-1",
            "pact://alps/enroll/mgmt-1",
            "pact://alps/approval/a",
            "pact://alps/bridge/b",
        ] {
            assert_eq!(text.parse::<PactUri>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_exactly_a_name_is_refused() {
        for text in [
            "",
            "pact://",
            "pact://alps/",
            "pact://alps/node",
            "pact://alps/node/",
            "pact://alps/node/a/b",
            "pact://alps/node/a.b",
            "pact://alps/grant/01",
            "pact://alps/grant/0",
            "pact://alps/root/x",
            "pact://Alps/node/a",
            "spiffe://alps/node/a",
            "pact://alps/node/a?x",
            " pact://alps/node/a",
        ] {
            assert!(text.parse::<PactUri>().is_err(), "{text:?}");
        }
    }
}

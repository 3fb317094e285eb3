//! A verified actor.
//!
//! A [`Principal`] comes from a verified token, from a verified signature that vouches for it, from the process's own signing
//! key, or from a bus subject that the server let through. There is no other constructor: identity never comes from a message
//! body.

use std::collections::BTreeSet;
use std::fmt;

use pact_runtime::Timestamp;
use pact_schemas::{NodeId, SiteName, v1};

use crate::role::{Role, UnknownRole};
use crate::signing::Signer;
use crate::uri::SignerName;

/// Longest subject or issuer, in bytes: the issuer is a URL, the subject at most 255 by OIDC.
pub const MAX_NAME_BYTES: usize = 255;

/// Most roles of one principal that are carried around; sites with more vClusters per person use the platform role.
pub const MAX_ROLES: usize = 256;

/// What kind of actor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// A person, or a machine that acts with a person's roles.
    Human,
    /// A machine identity that may read.
    ServiceAgent,
    /// A machine identity that is an AI.
    ServiceAi,
    /// One of pact's own services.
    Service,
    /// A node.
    Node,
}

impl PrincipalKind {
    /// The kind on the wire.
    #[must_use]
    pub fn to_wire(self) -> v1::PrincipalKind {
        match self {
            Self::Human => v1::PrincipalKind::Human,
            Self::ServiceAgent => v1::PrincipalKind::ServiceAgent,
            Self::ServiceAi => v1::PrincipalKind::ServiceAi,
            Self::Service => v1::PrincipalKind::Service,
            Self::Node => v1::PrincipalKind::Node,
        }
    }

    /// The name in policy input and output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::ServiceAgent => "service-agent",
            Self::ServiceAi => "service-ai",
            Self::Service => "service",
            Self::Node => "node",
        }
    }
}

/// Who acts, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    subject: String,
    issuer: String,
    kind: PrincipalKind,
    roles: BTreeSet<Role>,
    expires: Option<Timestamp>,
}

/// A principal on the wire is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalFault {
    /// There is none.
    #[error("there is no principal")]
    Missing,
    /// Empty, too long, or with control characters.
    #[error("the principal's {field} is empty, longer than {limit} bytes or not plain text", limit = MAX_NAME_BYTES)]
    Name {
        /// `subject` or `issuer`.
        field: &'static str,
    },
    /// Unspecified or unknown.
    #[error("the principal's kind {number} is unknown")]
    Kind {
        /// As on the wire.
        number: i32,
    },
    /// Roles that do not fit the kind.
    #[error("the roles do not fit a principal of kind {kind:?}")]
    Roles {
        /// The kind.
        kind: PrincipalKind,
    },
    /// More than [`MAX_ROLES`].
    #[error("the principal has {count} roles, the limit is {limit}", limit = MAX_ROLES)]
    TooManyRoles {
        /// How many.
        count: usize,
    },
    /// A role that pact does not know.
    #[error("a role of the principal is unknown")]
    Role(#[from] UnknownRole),
}

impl Principal {
    /// Made by token verification.
    pub(crate) fn from_token(
        subject: String,
        issuer: String,
        roles: BTreeSet<Role>,
        expires: Timestamp,
    ) -> Result<Self, PrincipalFault> {
        let kind = kind_by_roles(&roles)?;
        Self { subject, issuer, kind, roles, expires: Some(expires) }.checked()
    }

    /// The service that holds this signing key.
    #[must_use]
    pub fn of_signer(signer: &Signer) -> Self {
        Self::service(signer.site(), signer.name())
    }

    pub(crate) fn service(site: &SiteName, name: &SignerName) -> Self {
        Self {
            subject: service_subject(name),
            issuer: format!("pact://{site}"),
            kind: PrincipalKind::Service,
            roles: BTreeSet::new(),
            expires: None,
        }
    }

    /// The node that published on its own subject tree. The caller took `node` from the subject of a message, which the bus lets
    /// nobody but this node publish on; never from a body.
    #[must_use]
    pub fn node_on_bus(site: &SiteName, node: &NodeId) -> Self {
        Self {
            subject: format!("node:{node}"),
            issuer: format!("pact://{site}"),
            kind: PrincipalKind::Node,
            roles: BTreeSet::new(),
            expires: None,
        }
    }

    /// Made by verifying a signature over the message that holds it; the caller has done that.
    pub(crate) fn from_signed(wire: Option<v1::Principal>) -> Result<Self, PrincipalFault> {
        let wire = wire.ok_or(PrincipalFault::Missing)?;
        let kind = match v1::PrincipalKind::try_from(wire.kind) {
            Ok(v1::PrincipalKind::Human) => PrincipalKind::Human,
            Ok(v1::PrincipalKind::ServiceAgent) => PrincipalKind::ServiceAgent,
            Ok(v1::PrincipalKind::ServiceAi) => PrincipalKind::ServiceAi,
            Ok(v1::PrincipalKind::Service) => PrincipalKind::Service,
            Ok(v1::PrincipalKind::Node) => PrincipalKind::Node,
            Ok(v1::PrincipalKind::Unspecified) | Err(_) => {
                return Err(PrincipalFault::Kind { number: wire.kind });
            }
        };
        if wire.roles.len() > MAX_ROLES {
            return Err(PrincipalFault::TooManyRoles { count: wire.roles.len() });
        }
        let roles =
            wire.roles.iter().map(|role| role.parse()).collect::<Result<BTreeSet<Role>, _>>()?;
        let expected = match kind {
            PrincipalKind::Service | PrincipalKind::Node if roles.is_empty() => kind,
            PrincipalKind::Service | PrincipalKind::Node => {
                return Err(PrincipalFault::Roles { kind });
            }
            _ => kind_by_roles(&roles)?,
        };
        if kind != expected {
            return Err(PrincipalFault::Roles { kind });
        }
        Self { subject: wire.subject, issuer: wire.issuer, kind, roles, expires: None }.checked()
    }

    fn checked(self) -> Result<Self, PrincipalFault> {
        for (field, text) in [("subject", &self.subject), ("issuer", &self.issuer)] {
            if text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control)
            {
                return Err(PrincipalFault::Name { field });
            }
        }
        if self.roles.len() > MAX_ROLES {
            return Err(PrincipalFault::TooManyRoles { count: self.roles.len() });
        }
        Ok(self)
    }

    /// The wire form, for entries and signed messages.
    #[must_use]
    pub fn to_wire(&self) -> v1::Principal {
        v1::Principal {
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
            kind: self.kind.to_wire().into(),
            roles: self.roles.iter().map(ToString::to_string).collect(),
        }
    }

    /// Who, unique at the issuer.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Who says so: the OIDC issuer, or `pact://<site>` for services and nodes.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What kind of actor.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The verified roles.
    #[must_use]
    pub fn roles(&self) -> &BTreeSet<Role> {
        &self.roles
    }

    /// When the token behind it ends; `None` where a signature with an end of its own vouches instead.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Whether both are the same actor, whatever their roles and tokens: same subject at the same issuer.
    #[must_use]
    pub fn is_same_actor(&self, other: &Self) -> bool {
        self.subject == other.subject && self.issuer == other.issuer
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)
    }
}

/// How a service is called in entries and attestations.
pub(crate) fn service_subject(name: &SignerName) -> String {
    format!("service:{name}")
}

/// The kind that roles from a token make. A machine role beside any other role would let an AI act as a person: it is refused.
fn kind_by_roles(roles: &BTreeSet<Role>) -> Result<PrincipalKind, PrincipalFault> {
    let kind = match (roles.contains(&Role::ServiceAi), roles.contains(&Role::ServiceAgent)) {
        (true, _) => PrincipalKind::ServiceAi,
        (false, true) => PrincipalKind::ServiceAgent,
        (false, false) => return Ok(PrincipalKind::Human),
    };
    if roles.len() == 1 { Ok(kind) } else { Err(PrincipalFault::Roles { kind }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(kind: v1::PrincipalKind, roles: &[&str]) -> v1::Principal {
        v1::Principal {
            subject: "alice".into(),
            issuer: "https://idp".into(),
            kind: kind.into(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }

    #[test]
    fn kind_and_roles_must_fit() {
        use v1::PrincipalKind as Kind;
        let fits = |kind, roles: &[&str]| Principal::from_signed(Some(wire(kind, roles))).is_ok();
        assert!(fits(Kind::Human, &["pact-ops-a", "pact-viewer-b"]) && fits(Kind::Human, &[]));
        assert!(
            fits(Kind::ServiceAi, &["pact-service-ai"])
                && fits(Kind::Service, &[])
                && fits(Kind::Node, &[])
        );
        assert!(!fits(Kind::Human, &["pact-service-ai"]));
        assert!(!fits(Kind::ServiceAi, &["pact-service-ai", "pact-platform-admin"]));
        assert!(!fits(Kind::ServiceAi, &[]) && !fits(Kind::Service, &["pact-platform-admin"]));
        assert!(!fits(Kind::Human, &["admin"]) && !fits(Kind::Unspecified, &[]));
    }

    #[test]
    fn names_are_plain_text() {
        for bad in ["", "a\nb", "\u{1b}[31m", &"x".repeat(256)] {
            let named =
                v1::Principal { subject: bad.into(), ..wire(v1::PrincipalKind::Human, &[]) };
            assert_eq!(
                Principal::from_signed(Some(named)),
                Err(PrincipalFault::Name { field: "subject" })
            );
        }
        assert_eq!(Principal::from_signed(None), Err(PrincipalFault::Missing));
    }

    #[test]
    fn the_wire_form_reads_back() {
        let principal =
            Principal::from_signed(Some(wire(v1::PrincipalKind::Human, &["pact-ops-a"]))).unwrap();
        assert_eq!(Principal::from_signed(Some(principal.to_wire())).unwrap(), principal);
    }
}

//! Names of service processes, as they stand in subjects, bus users and certificates.

use std::fmt;
use std::str::FromStr;

/// pact's own services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceRole {
    /// svc-gateway
    Gateway,
    /// svc-journal
    Journal,
    /// svc-enroll
    Enroll,
    /// svc-approval
    Approval,
    /// svc-bridge
    Bridge,
}

impl ServiceRole {
    /// Every role, in a fixed order.
    pub const ALL: [Self; 5] =
        [Self::Gateway, Self::Journal, Self::Enroll, Self::Approval, Self::Bridge];

    /// The service's token in subjects and certificate names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Journal => "journal",
            Self::Enroll => "enroll",
            Self::Approval => "approval",
            Self::Bridge => "bridge",
        }
    }
}

impl fmt::Display for ServiceRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Tells the processes of one service apart, e.g. a host name or a member number: 1 to 40 of a-z, 0-9 and '-'.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceName(Box<str>);

/// The text is no name of an instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no name of a service instance: 1 to 40 of a-z, 0-9 and '-' are")]
pub struct InvalidInstance {
    /// As given, cut at 80 characters.
    pub text: String,
}

impl InstanceName {
    /// Longest name: with the role before it, it still fits into a certificate's common name of 64.
    const MAX_BYTES: usize = 40;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`InvalidInstance`] when it could not stand in a subject.
    pub fn new(text: &str) -> Result<Self, InvalidInstance> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidInstance { text: text.chars().take(80).collect() })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceName {
    type Err = InvalidInstance;
    fn from_str(text: &str) -> Result<Self, InvalidInstance> {
        Self::new(text)
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One process of a service: `<role>-<name>` is its user and its inbox on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceInstance {
    /// Which service.
    pub role: ServiceRole,
    /// Which process of it.
    pub name: InstanceName,
}

impl ServiceInstance {
    /// The instance `name` of `role`.
    ///
    /// # Errors
    /// [`InvalidInstance`] when the name could not stand in a subject.
    pub fn new(role: ServiceRole, name: &str) -> Result<Self, InvalidInstance> {
        Ok(Self { role, name: InstanceName::new(name)? })
    }
}

impl fmt::Display for ServiceInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.role, self.name)
    }
}

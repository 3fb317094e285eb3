//! Roles, as they stand in tokens.

use std::fmt;
use std::str::FromStr;

use pact_schemas::VclusterId;

/// A role of contracts §2.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `pact-platform-admin`: everything everywhere.
    PlatformAdmin,
    /// `pact-ops-{vcluster}`
    Ops(VclusterId),
    /// `pact-viewer-{vcluster}`
    Viewer(VclusterId),
    /// `pact-regulated-{vcluster}`: viewer who may approve.
    Regulated(VclusterId),
    /// `pact-service-agent`
    ServiceAgent,
    /// `pact-service-ai`
    ServiceAi,
}

/// The text is no role of pact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no role of pact")]
pub struct UnknownRole {
    /// As given, cut at 100 characters.
    pub text: String,
}

impl Role {
    /// The vCluster that the role is limited to.
    #[must_use]
    pub fn vcluster(&self) -> Option<&VclusterId> {
        match self {
            Self::Ops(vcluster) | Self::Viewer(vcluster) | Self::Regulated(vcluster) => {
                Some(vcluster)
            }
            Self::PlatformAdmin | Self::ServiceAgent | Self::ServiceAi => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlatformAdmin => f.write_str("pact-platform-admin"),
            Self::Ops(vcluster) => write!(f, "pact-ops-{vcluster}"),
            Self::Viewer(vcluster) => write!(f, "pact-viewer-{vcluster}"),
            Self::Regulated(vcluster) => write!(f, "pact-regulated-{vcluster}"),
            Self::ServiceAgent => f.write_str("pact-service-agent"),
            Self::ServiceAi => f.write_str("pact-service-ai"),
        }
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    /// Exact: no other case, no blanks, no shorter form.
    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let in_vcluster = |prefix, make: fn(VclusterId) -> Self| {
            text.strip_prefix(prefix).and_then(|name| VclusterId::new(name).ok()).map(make)
        };
        match text {
            "pact-platform-admin" => Some(Self::PlatformAdmin),
            "pact-service-agent" => Some(Self::ServiceAgent),
            "pact-service-ai" => Some(Self::ServiceAi),
            _ => in_vcluster("pact-ops-", Self::Ops)
                .or_else(|| in_vcluster("pact-viewer-", Self::Viewer))
                .or_else(|| in_vcluster("pact-regulated-", Self::Regulated)),
        }
        .ok_or_else(|| UnknownRole { text: text.chars().take(100).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_exactly() {
        for text in [
            "pact-platform-admin",
            "pact-ops-ml-training",
            "pact-viewer-a",
            "pact-regulated-gxp-1",
            "pact-service-agent",
            "pact-service-ai",
        ] {
            assert_eq!(text.parse::<Role>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "pact-ops-",
            "pact-ops",
            "pact-ops-*",
            "pact-ops-A",
            "pact-platform-admin ",
            "Pact-Platform-Admin",
            "pact-platform-admin-x",
            "ops-a",
            "pact-service-",
        ] {
            assert!(text.parse::<Role>().is_err(), "{text:?}");
        }
    }
}

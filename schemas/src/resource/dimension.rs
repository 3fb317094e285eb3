//! What kinds of resources there are, and what each counts as.

use std::fmt;
use std::str::FromStr;

/// The kind of a resource: the first part of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A kernel parameter, by its dotted name.
    Sysctl,
    /// A kernel module, by its name with `_`.
    Module,
    /// A mount, by its mount point.
    Mount,
    /// A file, by its path.
    File,
    /// A network interface, by its name.
    Net,
    /// A service, by its name.
    Service,
    /// An installed package, by its name.
    Package,
    /// A GPU and what is set on it.
    Gpu,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Sysctl,
        Self::Module,
        Self::Mount,
        Self::File,
        Self::Net,
        Self::Service,
        Self::Package,
        Self::Gpu,
    ];

    /// The first part of a key, without its `/`.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Sysctl => "sysctl",
            Self::Module => "module",
            Self::Mount => "mount",
            Self::File => "file",
            Self::Net => "net",
            Self::Service => "service",
            Self::Package => "package",
            Self::Gpu => "gpu",
        }
    }

    /// The kind with this prefix.
    #[must_use]
    pub fn of_prefix(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.prefix() == prefix)
    }

    /// What changes of this kind count as.
    #[must_use]
    pub const fn dimension(self) -> Dimension {
        match self {
            Self::Sysctl | Self::Module => Dimension::Kernel,
            Self::Mount => Dimension::Mounts,
            Self::File => Dimension::Files,
            Self::Net => Dimension::Network,
            Self::Service => Dimension::Services,
            Self::Package => Dimension::Packages,
            Self::Gpu => Dimension::Gpu,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix())
    }
}

/// What drift is counted by, and the categories of a vCluster's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Kernel parameters and modules.
    Kernel,
    /// Mounts.
    Mounts,
    /// Files.
    Files,
    /// Network interfaces.
    Network,
    /// Services.
    Services,
    /// Packages: reported, never a reason for a commit window.
    Packages,
    /// GPUs: reported, never a reason for a commit window.
    Gpu,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 7] = [
        Self::Kernel,
        Self::Mounts,
        Self::Files,
        Self::Network,
        Self::Services,
        Self::Packages,
        Self::Gpu,
    ];

    /// The name in policies and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Mounts => "mounts",
            Self::Files => "files",
            Self::Network => "network",
            Self::Services => "services",
            Self::Packages => "packages",
            Self::Gpu => "gpu",
        }
    }

    /// Counted in `diff`, never opening a window (contracts §4).
    #[must_use]
    pub const fn is_report_only(self) -> bool {
        matches!(self, Self::Packages | Self::Gpu)
    }

    /// Weight in the magnitude of drift (contracts §4).
    #[must_use]
    pub const fn weight(self) -> f64 {
        match self {
            Self::Kernel | Self::Gpu => 2.0,
            Self::Mounts | Self::Files | Self::Network | Self::Services | Self::Packages => 1.0,
        }
    }

    /// Impact in the magnitude of drift (contracts §4); 0 for what is report-only.
    #[must_use]
    pub const fn impact(self) -> f64 {
        match self {
            Self::Kernel => 0.025,
            Self::Files => 0.15,
            Self::Mounts | Self::Services => 0.2,
            Self::Network => 0.3,
            Self::Packages | Self::Gpu => 0.0,
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(text: &str) -> Result<Self, UnknownDimension> {
        Self::ALL
            .into_iter()
            .find(|dimension| dimension.as_str() == text)
            .ok_or_else(|| UnknownDimension { text: text.chars().take(80).collect() })
    }
}

/// A text that names no dimension.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no dimension; accepted: kernel, mounts, files, network, services, packages, gpu"
)]
pub struct UnknownDimension {
    /// As given, cut at 80 characters.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_prefix(kind.prefix()), Some(kind));
        }
        for dimension in Dimension::ALL {
            assert_eq!(dimension.as_str().parse(), Ok(dimension));
            assert!(Kind::ALL.iter().any(|kind| kind.dimension() == dimension));
        }
        let refused = "disks".parse::<Dimension>().unwrap_err();
        for dimension in Dimension::ALL {
            assert!(refused.to_string().contains(dimension.as_str()), "{refused}");
        }
    }

    #[test]
    fn only_what_opens_windows_has_an_impact() {
        for dimension in Dimension::ALL {
            assert_eq!(dimension.impact() == 0.0, dimension.is_report_only(), "{dimension}");
        }
        // Contracts §4: one sysctl 0.05, one file 0.15 (log2(1 + 1) is 1).
        let one = |d: Dimension| d.weight() * d.impact();
        assert!((one(Dimension::Kernel) - 0.05).abs() < 1e-12);
        assert!((one(Dimension::Files) - 0.15).abs() < 1e-12);
    }
}

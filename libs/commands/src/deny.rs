//! The deny rules of the readable tree: path patterns, matched against paths that have already been
//! resolved.

use std::path::PathBuf;

/// Deny rules of a site at most; each is tried at every step of every path.
const MAX_RULES: usize = 512;
/// Longest pattern.
const MAX_PATTERN_BYTES: usize = 512;

/// What nobody reads through a listed command. `*` stays within a component, `**` is any number of
/// components.
///
/// Keys, credentials and password hashes anywhere (an image or container root below another path
/// has them too); the parts of `/proc` that show memory and environments or lead into another
/// process's files; kernel memory; files whose mere reading takes something away from others
/// (`kmsg`, `trace_pipe`) or may hang the node.
const DEFAULT_RULES: &[&str] = &[
    "**/etc/shadow*",
    "**/etc/gshadow*",
    "**/etc/sudoers*",
    "**/etc/sudoers*/**",
    "**/etc/security/opasswd*",
    "**/etc/ssh/*_key",
    "**/etc/ssl/private/**",
    "**/etc/pki/**/private/**",
    "**/etc/letsencrypt/**",
    "**/etc/munge/**",
    "**/etc/wireguard/**",
    "**/etc/ppp/*-secrets",
    "**/etc/ipsec.secrets",
    "**/etc/wpa_supplicant/**",
    "**/etc/NetworkManager/system-connections/**",
    "**/etc/kubernetes/**",
    "**/etc/krb5.keytab",
    "**/etc/krb5kdc/**",
    "**/etc/sssd/**",
    "**/etc/tpm2-tss/**",
    "**/etc/credstore*/**",
    "**/etc/docker/key.json",
    "**/etc/ceph/*.keyring",
    "/etc/pact/**/*.pem",
    "/etc/pact/**/private/**",
    "/var/lib/pact/**",
    "/run/pact/*.sock",
    "/run/spire/**",
    "**/.dev/**",
    "**/*.key",
    "**/*.creds",
    "**/*.nk",
    "**/*.seed",
    "**/*.token",
    "**/*.keytab",
    "**/*.p12",
    "**/*.pfx",
    "**/*.jks",
    "**/*.kdbx",
    "**/privkey*.pem",
    "**/*-key.pem",
    "**/*_key.pem",
    "**/id_rsa",
    "**/id_dsa",
    "**/id_ecdsa*",
    "**/id_ed25519*",
    "**/.ssh/**",
    "**/.gnupg/**",
    "**/.aws/**",
    "**/.azure/**",
    "**/.kube/**",
    "**/.docker/**",
    "**/.netrc",
    "**/.pgpass",
    "**/.git-credentials",
    "**/.vault-token",
    "**/.config/pact/**",
    "**/.config/gcloud/**",
    "**/.*_history",
    "/run/secrets/**",
    "/run/credentials/**",
    "/var/backups/**",
    "/var/lib/sss/**",
    "/var/lib/kubelet/**",
    "/var/lib/cloud/**",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/coredump/**",
    "/var/crash/**",
    "/var/spool/abrt/**",
    "**/*.journal",
    "**/*.journal~",
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/vmcore",
    "/proc/kpage*",
    "/proc/keys",
    "/proc/sysrq-trigger",
    "/proc/*/task/**",
    "/sys/kernel/debug/**",
    "/sys/kernel/tracing/**",
    "/sys/fs/bpf/**",
    "/sys/fs/pstore/**",
    "/sys/firmware/efi/efivars/**",
    "/dev/mem",
    "/dev/kmem",
];

/// Entries of `/proc/PID` that show memory or environment, or lead elsewhere.
const PROCESS_ENTRIES: [&str; 17] = [
    "auxv",
    "cwd",
    "environ",
    "exe",
    "fd",
    "fdinfo",
    "map_files",
    "maps",
    "mem",
    "ns",
    "numa_maps",
    "pagemap",
    "root",
    "smaps",
    "smaps_rollup",
    "stack",
    "syscall",
];

/// A pattern that cannot be a deny rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Neither absolute nor floating, or with empty, `.` or `..` components, or too long.
    #[error(
        "readable-tree rule {pattern:?} must start with / or **/ and have no empty, . or .. component"
    )]
    Malformed {
        /// The pattern.
        pattern: String,
    },
    /// Too many of them.
    #[error("more than {MAX_RULES} readable-tree rules")]
    TooMany,
}

/// A set of deny rules.
#[derive(Debug, Clone)]
pub(crate) struct DenyRules {
    rules: Vec<(String, Vec<String>)>,
}

impl Default for DenyRules {
    fn default() -> Self {
        let mut rules = Self { rules: Vec::new() };
        for pattern in DEFAULT_RULES {
            rules.push(pattern);
        }
        for entry in PROCESS_ENTRIES {
            rules.push(&format!("/proc/*/{entry}"));
            rules.push(&format!("/proc/*/{entry}/**"));
        }
        rules
    }
}

impl DenyRules {
    fn push(&mut self, pattern: &str) {
        let parts = pattern.trim_start_matches('/').split('/').map(str::to_owned).collect();
        self.rules.push((pattern.to_owned(), parts));
    }

    /// Adds a rule of the site.
    pub(crate) fn add(&mut self, pattern: &str) -> Result<(), PatternError> {
        let anchored =
            pattern.strip_prefix('/').or_else(|| pattern.starts_with("**/").then_some(pattern));
        let usable = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if pattern.len() > MAX_PATTERN_BYTES || !anchored.is_some_and(usable) {
            return Err(PatternError::Malformed { pattern: pattern.to_owned() });
        }
        if self.rules.len() >= MAX_RULES {
            return Err(PatternError::TooMany);
        }
        self.push(pattern);
        Ok(())
    }

    /// The rule that denies this absolute, resolved path.
    pub(crate) fn denies(&self, path: &str) -> Option<&str> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        self.rules
            .iter()
            .find(|(_, rule)| matches_all(rule, &parts))
            .map(|(pattern, _)| pattern.as_str())
    }

    /// An anchored rule that can deny something below this directory, with the place it points at.
    /// Floating rules (`**/…`) can deny something below any directory; whether they do takes a look
    /// at the entries.
    pub(crate) fn reaches_below(&self, directory: &str) -> Option<(PathBuf, &str)> {
        let parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
        let hit = self.rules.iter().find(|(_, rule)| {
            rule.first().is_some_and(|first| first != "**") && leads_into(rule, &parts)
        });
        // `/etc` and `/` hold what the floating rules are about on every system, readable to this
        // process or not.
        let known =
            matches!(parts.as_slice(), [] | ["etc" | "root" | "home" | "dev" | "proc" | "run"]);
        hit.map(|(pattern, _)| (PathBuf::from(pattern), pattern.as_str()))
            .or_else(|| known.then(|| (PathBuf::from(directory), "no recursion here")))
    }
}

/// Whether the whole path matches the whole rule.
fn matches_all(rule: &[String], path: &[&str]) -> bool {
    match (rule.split_first(), path.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((part, rest)), _) if part == "**" => {
            matches_all(rest, path)
                || path.split_first().is_some_and(|(_, below)| matches_all(rule, below))
        }
        (Some(_), None) => false,
        (Some((part, rest)), Some((name, below))) => {
            matches_part(part, name) && matches_all(rest, below)
        }
    }
}

/// Whether a path that starts with `directory` can match the rule.
fn leads_into(rule: &[String], directory: &[&str]) -> bool {
    match (rule.split_first(), directory.split_first()) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some((part, _)), Some(_)) if part == "**" => true,
        (Some((part, rest)), Some((name, below))) => {
            matches_part(part, name) && leads_into(rest, below)
        }
    }
}

/// Whether a component matches a pattern in which `*` stands for any text.
fn matches_part(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(start) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let Some(end) = pieces.pop() else {
        return true;
    };
    for piece in pieces {
        let Some(at) = left.find(piece) else {
            return false;
        };
        left = left.get(at + piece.len()..).unwrap_or("");
    }
    left.len() >= end.len() && left.ends_with(end)
}

//! The keys of `/etc/pact/agent.toml` (contracts §6).

mod keys;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pact_commands::Mode;
use pact_runtime::config::{ConfigError, Loaded, Origin, seconds};
use pact_schemas::resource::KeyPatterns;
use pact_schemas::{NodeId, v1};

use crate::drift::{self, FileSettings, OwnFiles};

pub use keys::SCHEMA;

/// Keys whose part of the agent is not built yet: they are checked, and named in the log when they are set.
const WITHOUT_EFFECT: &[&str] = &[
    "agent.supervisor.backend",
    "agent.commit_window.emergency_window_seconds",
    "agent.capability.override_path",
    "agent.capability.gpu_poll_interval_seconds",
];

/// The agent's configuration, checked.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[agent]`
    pub agent: AgentConfig,
    /// Keys that somebody set although nothing reads them yet.
    #[serde(skip)]
    pub without_effect: Vec<&'static str>,
    /// The effective value of each key that has one, as `--print-config` shows it; to tell what a reload changes.
    #[serde(skip)]
    pub values: BTreeMap<String, String>,
    /// The globs, read.
    #[serde(skip)]
    patterns: Patterns,
    /// Files that it was read from.
    #[serde(skip)]
    files: Vec<PathBuf>,
}

/// The globs of the file.
#[derive(Debug, Clone, PartialEq, Default)]
struct Patterns {
    enforce_keys: KeyPatterns,
    secret: KeyPatterns,
    blacklist: KeyPatterns,
}

/// `[agent]`
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// This node.
    pub node_id: NodeId,
    /// Whether drift is undone when its window ends, where no vCluster's policy says so.
    pub enforcement_mode: pact_schemas::Mode,
    /// Globs over resource keys.
    pub enforce_keys: Vec<String>,
    /// What survives a reboot.
    pub state_dir: PathBuf,
    /// What users of the node may read.
    pub run_dir: PathBuf,
    /// Where the certificate is put.
    pub certificate_path: PathBuf,
    /// `[agent.journal]`
    pub journal: JournalConfig,
    /// `[agent.bus]`
    #[serde(default)]
    pub bus: BusSection,
    /// `[agent.supervisor]`
    pub supervisor: SupervisorConfig,
    /// `[agent.observer]`
    pub observer: ObserverConfig,
    /// `[agent.shell]`
    pub shell: ShellConfig,
    /// `[agent.commit_window]`
    pub commit_window: CommitWindowConfig,
    /// `[agent.capability]`
    pub capability: CapabilityConfig,
    /// `[agent.blacklist]`
    pub blacklist: BlacklistConfig,
    /// `[agent.identity]`
    pub identity: Option<IdentityConfig>,
}

/// `[agent.journal]`
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalConfig {
    /// Gateways, host:port.
    pub endpoints: Vec<String>,
    /// Whether TLS is used.
    pub tls_enabled: bool,
    /// The site's roots.
    pub tls_ca: PathBuf,
}

/// `[agent.bus]`
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusSection {
    /// Addresses, instead of those told at enrolment.
    pub url: Option<Vec<String>>,
}

/// `[agent.supervisor]`
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisorConfig {
    /// `pact` or `systemd`.
    pub backend: String,
}

/// `[agent.observer]`
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObserverConfig {
    /// Folders to watch.
    pub roots: Vec<PathBuf>,
    /// Globs of what never leaves the node.
    pub secret: Vec<String>,
}

/// `[agent.shell]`
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShellConfig {
    /// Which commands run.
    #[serde(deserialize_with = "whitelist_mode")]
    pub whitelist_mode: Mode,
}

/// `[agent.commit_window]`
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitWindowConfig {
    /// Window of the least drift.
    #[serde(with = "seconds", rename = "base_window_seconds")]
    pub base_window: Duration,
    /// The shortest window.
    #[serde(with = "seconds", rename = "min_window_seconds")]
    pub min_window: Duration,
    /// How much drift shortens it.
    pub drift_sensitivity: f64,
    /// How long an emergency lasts.
    #[serde(with = "seconds", rename = "emergency_window_seconds")]
    pub emergency_window: Duration,
}

/// `[agent.capability]`
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapabilityConfig {
    /// Where the report is written.
    pub manifest_path: Option<PathBuf>,
    /// Values that replace what is found.
    pub override_path: Option<PathBuf>,
    /// How often GPUs are looked at.
    #[serde(with = "seconds", rename = "gpu_poll_interval_seconds")]
    pub gpu_poll_interval: Duration,
}

/// `[agent.blacklist]`
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlacklistConfig {
    /// Globs of what is no drift.
    pub patterns: Vec<String>,
}

/// `[agent.identity]`: what to enrol with instead of this machine's hardware.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// Hardware addresses.
    pub macs: Option<Vec<String>>,
    /// BMC serial number.
    pub bmc_serial: Option<String>,
    /// Hardware ids.
    pub hardware_ids: Option<Vec<String>>,
}

impl Config {
    /// The configuration of these layers.
    ///
    /// # Errors
    /// [`ConfigError`] for what the schema accepts and no agent could work with.
    pub fn new(loaded: &Loaded) -> Result<Self, ConfigError> {
        let mut config: Self = loaded.parse()?;
        config.without_effect = without_effect(loaded);
        config.values = values(&loaded.print());
        config.patterns = Patterns::read(&config.agent, loaded)?;
        config.files = loaded.files();
        let roots = &config.agent.observer.roots;
        if roots.is_empty() || roots.iter().any(|root| !root.is_absolute()) {
            return Err(
                loaded.reject("agent.observer.roots", "at least one absolute folder is needed")
            );
        }
        if config.agent.journal.endpoints.is_empty() {
            return Err(loaded.reject("agent.journal.endpoints", "at least one gateway is needed"));
        }
        for endpoint in &config.agent.journal.endpoints {
            if let Some(fault) = endpoint_fault(endpoint, config.agent.journal.tls_enabled) {
                return Err(
                    loaded.reject("agent.journal.endpoints", format!("{endpoint:?} {fault}"))
                );
            }
        }
        let has_macs =
            |identity: &IdentityConfig| identity.macs.as_ref().is_some_and(|m| !m.is_empty());
        if config.agent.identity.as_ref().is_some_and(|identity| !has_macs(identity)) {
            return Err(
                loaded.reject("agent.identity.macs", "is needed when [agent.identity] is used")
            );
        }
        let window = &config.agent.commit_window;
        if window.min_window > window.base_window {
            let key = "agent.commit_window.min_window_seconds";
            return Err(loaded.reject(key, "is longer than base_window_seconds"));
        }
        Ok(config)
    }
}

/// The values of printed lines `key = value   # origin`.
fn values(printed: &str) -> BTreeMap<String, String> {
    let value = |line: &str| {
        let (key, rest) = line.split_once(" = ")?;
        let (value, _origin) = rest.rsplit_once("   # ")?;
        Some((key.to_owned(), value.to_owned()))
    };
    printed.lines().filter(|line| !line.starts_with('#')).filter_map(value).collect()
}

impl Config {
    /// What the file says about drift.
    pub(crate) fn drift_settings(&self) -> FileSettings {
        let agent = &self.agent;
        FileSettings {
            mode: agent.enforcement_mode,
            enforce_keys: self.patterns.enforce_keys.clone(),
            own: OwnFiles::new(self.own_files()),
            limits: drift::Limits {
                base: agent.commit_window.base_window,
                floor: agent.commit_window.min_window,
                sensitivity: agent.commit_window.drift_sensitivity,
            },
            blacklist: self.patterns.blacklist.as_slice().to_vec(),
        }
    }

    /// What the agent is configured by, trusts, and keeps.
    fn own_files(&self) -> Vec<PathBuf> {
        let agent = &self.agent;
        let mut own = self.files.clone();
        own.extend([
            PathBuf::from("/etc/pact").join(SCHEMA.file_name),
            agent.state_dir.clone(),
            agent.run_dir.clone(),
            agent.certificate_path.clone(),
            agent.journal.tls_ca.clone(),
            agent.manifest_path(),
        ]);
        own.extend(agent.capability.override_path.clone());
        own
    }

    /// What never leaves the node.
    pub(crate) fn secret(&self) -> KeyPatterns {
        self.patterns.secret.clone()
    }
}

impl Patterns {
    fn read(agent: &AgentConfig, loaded: &Loaded) -> Result<Self, ConfigError> {
        let read = |key: &'static str, texts: &[String]| {
            KeyPatterns::parse(texts).map_err(|error| loaded.reject(key, error.to_string()))
        };
        Ok(Self {
            enforce_keys: read("agent.enforce_keys", &agent.enforce_keys)?,
            secret: read("agent.observer.secret", &agent.observer.secret)?,
            blacklist: KeyPatterns::parse_blacklist(&agent.blacklist.patterns)
                .map_err(|error| loaded.reject("agent.blacklist.patterns", error.to_string()))?,
        })
    }
}

fn without_effect(loaded: &Loaded) -> Vec<&'static str> {
    let is_set =
        |path: &&&str| loaded.origin(path).is_some_and(|origin| *origin != Origin::Default);
    WITHOUT_EFFECT.iter().filter(is_set).copied().collect()
}

impl IdentityConfig {
    /// As it is told at enrolment.
    #[must_use]
    pub fn hardware_identity(&self) -> v1::HardwareIdentity {
        v1::HardwareIdentity {
            macs: self.macs.clone().unwrap_or_default(),
            bmc_serial: self.bmc_serial.clone(),
            hardware_ids: self.hardware_ids.clone().unwrap_or_default(),
        }
    }
}

impl AgentConfig {
    /// Where the capability report is written.
    #[must_use]
    pub fn manifest_path(&self) -> PathBuf {
        let default = || self.run_dir.join("capability.json");
        self.capability.manifest_path.clone().unwrap_or_else(default)
    }
}

/// What is wrong with an endpoint.
fn endpoint_fault(endpoint: &str, tls: bool) -> Option<&'static str> {
    let (host, port) = endpoint.rsplit_once(':').unwrap_or((endpoint, ""));
    if host.is_empty() || endpoint.contains('/') || port.parse::<u16>().is_err() {
        return Some("is not of the form host:port");
    }
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = address == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    (!tls && !is_loopback).then_some("is no loopback address, and tls_enabled is false")
}

fn whitelist_mode<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Mode, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use pact_runtime::config::{Loader, example_file};

    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        Config::new(&Loader::new(&SCHEMA).file(&path, true).load()?)
    }

    const LEAST: &str = r#"
        [agent]
        node_id = "n1"
        [agent.journal]
        endpoints = "gw:9443"
        tls_ca = "/etc/pact/ca.crt"
        [agent.observer]
        roots = ["/etc"]
        [agent.shell]
        whitelist_mode = "strict"
    "#;

    #[test]
    fn the_example_file_is_the_key_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/agent.toml");
        if pact_runtime::environment().any(|(name, _)| name == "PACT_REGENERATE") {
            std::fs::write(path, example_file(&SCHEMA)).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(committed, example_file(&SCHEMA), "config/agent.toml is stale");
    }

    #[test]
    fn the_example_loads_and_the_least_is_enough() {
        let example = load(&example_file(&SCHEMA)).unwrap();
        assert_eq!(example.agent.shell.whitelist_mode, Mode::Strict);
        let least = load(LEAST).unwrap().agent;
        assert_eq!(least.manifest_path(), PathBuf::from("/run/pact/capability.json"));
        assert_eq!((least.bus.url, least.identity), (None, None));
    }

    #[test]
    fn what_the_agent_is_configured_by_trusts_and_keeps_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("elsewhere.toml");
        std::fs::write(&path, LEAST.replace("ca.crt", "roots.pem")).unwrap();
        let config = Config::new(&Loader::new(&SCHEMA).file(&path, true).load().unwrap()).unwrap();
        let own = config.drift_settings().own;
        let holds = |path: &str| own.holds(&format!("file/{path}").parse().unwrap());
        for mine in [
            path.to_str().unwrap(),
            "/etc/pact/agent.toml",
            "/etc/pact/roots.pem",
            "/etc/pact/agent.crt",
            "/var/lib/pact/agent/spool/x",
            "/run/pact/node.json",
        ] {
            assert!(holds(mine), "{mine}");
        }
        assert!(!holds("/etc/pact/cli.toml") && !holds("/etc/motd"));
    }

    #[test]
    fn what_is_missing_or_makes_no_sense_is_named() {
        for (from, to, key) in [
            ("whitelist_mode = \"strict\"", "", "agent.shell.whitelist_mode"),
            ("strict", "permissive", "agent.shell.whitelist_mode"),
            ("tls_ca = \"/etc/pact/ca.crt\"", "", "agent.journal.tls_ca"),
            ("\"n1\"", "\"N 1\"", "agent.node_id"),
            ("gw:9443", "https://gw:9443", "agent.journal.endpoints"),
            ("gw:9443", "gw", "agent.journal.endpoints"),
            ("endpoints", "tls_enabled = false\nendpoints", "agent.journal.endpoints"),
            ("endpoints", "endpoint", "did you mean"),
            ("roots = [\"/etc\"]", "", "agent.observer.roots"),
            ("/etc\"]", "etc\"]", "agent.observer.roots"),
            (
                "[agent.shell]",
                "[agent.blacklist]\npatterns = [\"[\"]\n[agent.shell]",
                "agent.blacklist.patterns",
            ),
            ("[agent.observer]", "[agent.observer]\nsecret = [\"\"]", "agent.observer.secret"),
            (
                "[agent.shell]",
                "[agent.identity]\nbmc_serial = \"x\"\n[agent.shell]",
                "agent.identity.macs",
            ),
        ] {
            let error = load(&LEAST.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(key), "{to}: {error}");
        }
    }
}

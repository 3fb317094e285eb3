//! The keys of `/etc/pact/enroll.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pact_bus::settings::BusSettings;
use pact_runtime::config::{ConfigError, Default as When, Key, KeyKind, Loaded, Schema, seconds};
use pact_schemas::SiteName;
use serde::Deserialize;

/// Longest grace period, in seconds: a day.
const MAX_GRACE_SECONDS: i64 = 86_400;

/// Every key of the file.
pub static SCHEMA: Schema = Schema {
    file_name: "enroll.toml",
    env_prefix: "PACT_ENROLL",
    other_environment: &[],
    keys: &[
        required(
            "enroll.site",
            KeyKind::String,
            "Name of the site; keys and certificates are checked against it.",
        )
        .example("\"alps\""),
        required("enroll.name", KeyKind::String, "Name of this instance; keys are made for it.")
            .example("\"enroll-1\""),
        Key::new(
            "enroll.metrics_listen",
            KeyKind::Address,
            When::Value("\"127.0.0.1:9093\""),
            "Where metrics and health are served.",
        ),
        required("enroll.ca.root_cert", KeyKind::Path, "Certificate of the site root.")
            .example("\"/etc/pact/ca.crt\""),
        required(
            "enroll.ca.root_key",
            KeyKind::Path,
            "Its key; each start makes an intermediate with it, in memory.",
        )
        .example("\"/etc/pact/root.key\""),
        BusSettings::urls_key("enroll.bus.urls"),
        Key::new(
            "enroll.bus.agent_urls",
            KeyKind::StringList,
            When::Optional,
            "What agents are told; the servers above when not set.",
        )
        .example("[\"tls://nats-1.hsn:4222\"]"),
        BusSettings::creds_key("enroll.bus.creds", "\"/etc/pact/creds/enroll-1.creds\""),
        required(
            "enroll.bus.system_creds",
            KeyKind::Path,
            "Credentials in the system account, for revocations.",
        )
        .example("\"/etc/pact/creds/enroll-sys.creds\""),
        BusSettings::tls_ca_key("enroll.bus.tls_ca"),
        required(
            "enroll.nats.account_jwt",
            KeyKind::Path,
            "Token of the account of nodes and services, as the bootstrap made it.",
        )
        .example("\"/etc/pact/bus/pact.jwt\""),
        required(
            "enroll.nats.agents_key",
            KeyKind::Path,
            "Scoped key that bus users of nodes are signed with.",
        )
        .example("\"/etc/pact/bus/pact-agents.nk\""),
        required(
            "enroll.nats.operator_signing_key",
            KeyKind::Path,
            "Key that updates of the account (revocations) are signed with.",
        )
        .example("\"/etc/pact/bus/operator-signing.nk\""),
        required(
            "enroll.signing.cert",
            KeyKind::Path,
            "Certificate that this service's own proposals are signed with.",
        )
        .example("\"/etc/pact/signing/enroll-1.crt\""),
        required("enroll.signing.key", KeyKind::Path, "Its key.")
            .example("\"/etc/pact/signing/enroll-1.key\""),
        Key::new(
            "enroll.liveness.grace_seconds",
            KeyKind::Seconds { min: 1, max: MAX_GRACE_SECONDS },
            When::Value("300"),
            "Silence after which a node is asked, and is Inactive when it does not answer.",
        ),
    ],
};

const fn required(path: &'static str, kind: KeyKind, doc: &'static str) -> Key {
    Key::new(path, kind, When::Required, doc)
}

/// The file, checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The only table.
    pub enroll: Settings,
}

/// `[enroll]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the site.
    pub site: SiteName,
    /// Name of this instance.
    pub name: String,
    /// Where metrics and health are served.
    pub metrics_listen: SocketAddr,
    /// The certificate authority.
    pub ca: CaSettings,
    /// The bus.
    pub bus: EnrollBusSettings,
    /// Keys of the bus.
    pub nats: NatsSettings,
    /// Signing certificate.
    pub signing: SigningSettings,
    /// Who is alive.
    pub liveness: LivenessSettings,
}

/// `[enroll.ca]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaSettings {
    /// PEM.
    pub root_cert: PathBuf,
    /// PEM.
    pub root_key: PathBuf,
}

/// `[enroll.bus]`: what every service is told, and what only this one needs. Unknown keys are refused by the key table, since
/// serde cannot tell them from those of the flattened part.
#[derive(Debug, Deserialize)]
pub struct EnrollBusSettings {
    /// As for every service.
    #[serde(flatten)]
    pub shared: BusSettings,
    /// What agents are told.
    pub agent_urls: Option<Vec<String>>,
    /// Credentials file in the system account.
    pub system_creds: PathBuf,
}

/// `[enroll.nats]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    /// Account token.
    pub account_jwt: PathBuf,
    /// Seed of the scoped key.
    pub agents_key: PathBuf,
    /// Seed of an operator signing key.
    pub operator_signing_key: PathBuf,
}

/// `[enroll.signing]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningSettings {
    /// PEM.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// `[enroll.liveness]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LivenessSettings {
    /// The grace period.
    #[serde(with = "seconds", rename = "grace_seconds")]
    pub grace: Duration,
}

impl Config {
    /// The service's configuration, with what only it can judge.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key and where it was set.
    pub fn from_loaded(loaded: &Loaded) -> Result<Self, ConfigError> {
        let config: Self = loaded.parse()?;
        for (key, urls) in [
            ("enroll.bus.urls", Some(&config.enroll.bus.shared.urls)),
            ("enroll.bus.agent_urls", config.enroll.bus.agent_urls.as_ref()),
        ] {
            if urls.is_some_and(|urls| urls.is_empty() || !urls.iter().all(|url| is_tls(url))) {
                return Err(loaded
                    .reject(key, "at least one address of the form tls://host:port is expected"));
            }
        }
        Ok(config)
    }
}

/// Nodes are told addresses that nobody checks for them: TLS, and no password in it.
fn is_tls(url: &str) -> bool {
    url.strip_prefix("tls://")
        .is_some_and(|rest| !rest.is_empty() && !rest.contains(['@', '/', ' ']))
}

#[cfg(test)]
mod tests {
    use pact_runtime::config::{Loader, example_file};

    use super::*;

    #[test]
    fn the_example_file_is_the_key_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/enroll.toml");
        if pact_runtime::environment().any(|(name, _)| name == "PACT_REGENERATE") {
            std::fs::write(path, example_file(&SCHEMA)).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(committed, example_file(&SCHEMA), "config/enroll.toml is stale");
    }

    fn loaded(urls: &str) -> Result<Config, ConfigError> {
        let words = SCHEMA.keys.iter().filter(|key| key.default == When::Required);
        let loader = words.fold(Loader::new(&SCHEMA), |loader, key| loader.flag(key.path, "x"));
        let loader =
            loader.flag("enroll.bus.urls", "tls://a:4222").flag("enroll.bus.agent_urls", urls);
        Config::from_loaded(&loader.load()?)
    }

    #[test]
    fn the_bus_has_the_keys_of_every_service_and_its_own_and_no_others() {
        let bus = loaded("tls://b:1").unwrap().enroll.bus;
        assert_eq!(bus.shared.urls, ["tls://a:4222"]);
        let paths = [&bus.shared.creds, &bus.shared.tls_ca, &bus.system_creds];
        assert!(paths.iter().all(|path| path.as_os_str() == "x"));
        let unknown = Loader::new(&SCHEMA).flag("enroll.bus.url", "tls://a:4222").load();
        assert!(unknown.unwrap_err().to_string().contains("enroll.bus.url"));
    }

    #[test]
    fn nodes_are_told_tls_addresses_only() {
        assert_eq!(loaded("tls://a:1,tls://b:2").unwrap().enroll.bus.agent_urls.unwrap().len(), 2);
        for bad in ["nats://a:1", "tls://user:secret@a:1", "tls://", "a:1"] {
            let error = loaded(bad).unwrap_err().to_string();
            assert!(
                error.contains("enroll.bus.agent_urls") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}

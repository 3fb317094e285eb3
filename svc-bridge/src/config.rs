//! The keys of `/etc/pact/bridge.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use pact_runtime::config::{Default, Key, KeyKind, Schema};
use serde::Deserialize;

/// Every key of the file.
pub static SCHEMA: Schema = Schema {
    file_name: "bridge.toml",
    env_prefix: "PACT_BRIDGE",
    other_environment: &[],
    keys: &[
        Key::new(
            "bridge.name",
            KeyKind::String,
            Default::Required,
            "Name of this instance; its bus credentials are made for it.",
        )
        .example("\"bridge-1\""),
        Key::new(
            "bridge.metrics_listen",
            KeyKind::Address,
            Default::Value("\"127.0.0.1:9095\""),
            "Where metrics and health are served.",
        ),
        Key::new(
            "bridge.bus.urls",
            KeyKind::StringList,
            Default::Required,
            "The servers of the bus.",
        )
        .example("[\"tls://nats-1.mgmt:4222\"]"),
        Key::new(
            "bridge.bus.creds",
            KeyKind::Path,
            Default::Required,
            "Bus credentials of this instance, from `pact-enroll bootstrap`.",
        )
        .example("\"/etc/pact/creds/bridge-1.creds\""),
        Key::new(
            "bridge.bus.tls_ca",
            KeyKind::Path,
            Default::Required,
            "The site root; the only authority the bus is believed by.",
        )
        .example("\"/etc/pact/ca.crt\""),
    ],
};

/// The file, checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The only table.
    pub bridge: Settings,
}

/// `[bridge]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of this instance.
    pub name: String,
    /// Where metrics and health are served.
    pub metrics_listen: SocketAddr,
    /// The bus.
    pub bus: BusSettings,
}

/// `[bridge.bus]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusSettings {
    /// The servers.
    pub urls: Vec<String>,
    /// Credentials file.
    pub creds: PathBuf,
    /// The site root.
    pub tls_ca: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_is_the_key_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/bridge.toml");
        if pact_runtime::environment().any(|(name, _)| name == "PACT_REGENERATE") {
            std::fs::write(path, pact_runtime::config::example_file(&SCHEMA)).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            committed,
            pact_runtime::config::example_file(&SCHEMA),
            "config/bridge.toml is stale"
        );
    }
}

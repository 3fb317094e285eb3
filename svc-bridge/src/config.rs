//! The keys of `/etc/pact/bridge.toml`.

use pact_bus::settings::{BusSettings, InstanceSettings};
use pact_runtime::config::Schema;
use serde::Deserialize;

/// Every key of the file.
pub static SCHEMA: Schema = Schema {
    file_name: "bridge.toml",
    env_prefix: "PACT_BRIDGE",
    other_environment: &[],
    keys: &[
        InstanceSettings::name_key("bridge.name", "\"bridge-1\""),
        InstanceSettings::metrics_listen_key("bridge.metrics_listen", "\"127.0.0.1:9095\""),
        BusSettings::urls_key("bridge.bus.urls"),
        BusSettings::creds_key("bridge.bus.creds", "\"/etc/pact/creds/bridge-1.creds\""),
        BusSettings::tls_ca_key("bridge.bus.tls_ca"),
    ],
};

/// The file, checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The only table.
    pub bridge: InstanceSettings,
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

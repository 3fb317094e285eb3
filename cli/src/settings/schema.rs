//! The keys of `cli.toml` as data, and the files that settings come from.

use pact_runtime::config::{Default as KeyDefault, Key, KeyKind, Schema};

/// Read after the user's own file, for everybody on the machine.
pub(crate) const SITE_FILE: &str = "/etc/pact/cli.toml";
/// Written by the agent of the node that this machine is.
pub(crate) const NODE_FILE: &str = "/run/pact/node.json";
/// Longest `timeout_seconds`: longer waits are streams, which have no limit.
const MAX_TIMEOUT_SECONDS: i64 = 3600;

/// The keys of `cli.toml`.
pub(crate) static SCHEMA: Schema = Schema {
    file_name: "cli.toml",
    env_prefix: "PACT_CLI",
    other_environment: &[],
    keys: &[
        Key::new(
            "endpoint",
            KeyKind::StringList,
            KeyDefault::Optional,
            "Gateways, tried in this order. Plain http is accepted for this machine only. Without any: this machine, https first.",
        )
        .env("PACT_ENDPOINT")
        .example("[\"https://journal.example.com:9443\"]"),
        Key::new(
            "default_vcluster",
            KeyKind::String,
            KeyDefault::Optional,
            "The vCluster of commands that are given none.",
        )
        .env("PACT_VCLUSTER")
        .example("\"ml-training\""),
        Key::new(
            "output_format",
            KeyKind::Enum(&["text", "wide", "json"]),
            KeyDefault::Value("\"text\""),
            "Text for people, the same with all columns of tables, or JSON for programs.",
        )
        .env("PACT_OUTPUT"),
        Key::new(
            "timeout_seconds",
            KeyKind::Seconds { min: 1, max: MAX_TIMEOUT_SECONDS },
            KeyDefault::Value("30"),
            "How long to wait for an answer. Streams are not bounded by it.",
        ),
        Key::new(
            "token_path",
            KeyKind::Path,
            KeyDefault::Optional,
            "File with the bearer token, mode 0600.",
        )
        .example("\"~/.config/pact/token\""),
        Key::new(
            "tls_ca",
            KeyKind::Path,
            KeyDefault::Value("\"/etc/pact/ca.crt\""),
            "The only certificate authority that gateways are accepted from.",
        )
        .env("PACT_TLS_CA"),
    ],
};

//! The keys of `/etc/pact/gateway.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pact_bus::settings::BusSettings;
use pact_runtime::config::{Default as When, Key, KeyKind, Schema, seconds};
use serde::Deserialize;

/// Longest time limit of a command, in seconds: a day.
const MAX_EXEC_SECONDS: i64 = 86_400;

/// Every key of the file.
pub static SCHEMA: Schema = Schema {
    file_name: "gateway.toml",
    env_prefix: "PACT_GATEWAY",
    other_environment: &[],
    keys: &[
        Key::new(
            "gateway.site",
            KeyKind::String,
            When::Optional,
            "Name of the site; when set, the signing certificate must be for it.",
        )
        .example("\"alps\""),
        required("gateway.name", KeyKind::String, "Name of this instance; keys are made for it.")
            .example("\"gateway-1\""),
        Key::new(
            "gateway.listen",
            KeyKind::Address,
            When::Value("\"[::]:9443\""),
            "Where clients and nodes connect, with TLS.",
        ),
        Key::new(
            "gateway.metrics_listen",
            KeyKind::Address,
            When::Value("\"127.0.0.1:9092\""),
            "Where metrics and health are served.",
        ),
        Key::new(
            "gateway.allow_plaintext_loopback",
            KeyKind::Bool,
            When::Value("false"),
            "Also speak without TLS to loopback addresses; for development.",
        ),
        required("gateway.tls.cert", KeyKind::Path, "Server certificate, PEM.")
            .example("\"/etc/pact/tls/gateway-1.crt\""),
        required("gateway.tls.key", KeyKind::Path, "Its key, PEM.")
            .example("\"/etc/pact/tls/gateway-1.key\""),
        required(
            "gateway.signing.cert",
            KeyKind::Path,
            "Certificate that proposals are signed with.",
        )
        .example("\"/etc/pact/signing/gateway-1.crt\""),
        required("gateway.signing.key", KeyKind::Path, "Its key, PEM.")
            .example("\"/etc/pact/signing/gateway-1.key\""),
        BusSettings::urls_key("gateway.bus.urls"),
        BusSettings::creds_key("gateway.bus.creds", "\"/etc/pact/creds/gateway-1.creds\""),
        BusSettings::tls_ca_key("gateway.bus.tls_ca"),
        required(
            "gateway.oidc.issuer",
            KeyKind::String,
            "`iss` of the tokens that are accepted, exactly.",
        )
        .example("\"https://idp.example.com\""),
        required(
            "gateway.oidc.audience",
            KeyKind::String,
            "`aud` of the tokens that are accepted.",
        )
        .example("\"pact\""),
        required(
            "gateway.oidc.jwks_file",
            KeyKind::Path,
            "The issuer's public keys, JWKS; read again on SIGHUP.",
        )
        .example("\"/etc/pact/jwks.json\""),
        Key::new(
            "gateway.oidc.role_claims",
            KeyKind::StringList,
            When::Value("[\"roles\", \"pact_role\"]"),
            "Claims that hold roles: names, or JSON pointers.",
        ),
        Key::new(
            "gateway.oidc.max_token_lifetime_seconds",
            KeyKind::Integer { min: 60, max: 2_592_000 },
            When::Value("900"),
            "Longest life of a token that is accepted.",
        ),
        Key::new(
            "gateway.policy.site_bundle",
            KeyKind::Path,
            When::Optional,
            "Folder with the site's own Rego rules, which can only deny more; read again on SIGHUP.",
        ),
        Key::new(
            "gateway.exec.timeout_seconds",
            KeyKind::Seconds { min: 1, max: MAX_EXEC_SECONDS },
            When::Value("300"),
            "Time limit of a command whose caller names none.",
        ),
        Key::new(
            "gateway.exec.max_timeout_seconds",
            KeyKind::Seconds { min: 1, max: MAX_EXEC_SECONDS },
            When::Value("86400"),
            "Longest time limit that a caller may name.",
        ),
        Key::new(
            "gateway.exec.output_limit_bytes",
            KeyKind::Integer { min: 4096, max: 1 << 30 },
            When::Value("10485760"),
            "Output of one command that is streamed and recorded; the rest is cut.",
        ),
        Key::new(
            "gateway.exec.streams_per_user",
            KeyKind::Integer { min: 1, max: 10_000 },
            When::Value("50"),
            "Commands and watches that one person or program may have open at once.",
        ),
        Key::new(
            "gateway.enrollment.per_address_per_minute",
            KeyKind::Integer { min: 1, max: 1_000_000 },
            When::Value("600"),
            "First contacts from one address in a minute; a boot storm behind one address must fit.",
        ),
        Key::new(
            "gateway.enrollment.per_hardware_id_per_minute",
            KeyKind::Integer { min: 1, max: 100_000 },
            When::Value("12"),
            "First contacts with one hardware identity from one address in a minute.",
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
    pub gateway: Settings,
}

/// `[gateway]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the site, to be compared with the signing certificate.
    pub site: Option<String>,
    /// Name of this instance.
    pub name: String,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where metrics and health are served.
    pub metrics_listen: SocketAddr,
    /// Plaintext to loopback.
    pub allow_plaintext_loopback: bool,
    /// Server certificate.
    pub tls: KeyFiles,
    /// Signing certificate.
    pub signing: KeyFiles,
    /// The bus.
    pub bus: BusSettings,
    /// Tokens.
    pub oidc: OidcSettings,
    /// Site rules.
    #[serde(default)]
    pub policy: PolicySettings,
    /// Limits of commands.
    pub exec: ExecSettings,
    /// Rates of first contacts.
    pub enrollment: EnrollmentSettings,
}

/// A certificate and its key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFiles {
    /// PEM.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// `[gateway.oidc]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// `iss`
    pub issuer: String,
    /// `aud`
    pub audience: String,
    /// Public keys.
    pub jwks_file: PathBuf,
    /// Claims with roles.
    pub role_claims: Vec<String>,
    /// Longest life of a token.
    pub max_token_lifetime_seconds: u64,
}

/// `[gateway.policy]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// Folder with Rego rules.
    pub site_bundle: Option<PathBuf>,
}

/// `[gateway.exec]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSettings {
    /// Time limit of a command whose caller names none.
    #[serde(with = "seconds", rename = "timeout_seconds")]
    pub timeout: Duration,
    /// Longest time limit.
    #[serde(with = "seconds", rename = "max_timeout_seconds")]
    pub max_timeout: Duration,
    /// Streamed and recorded output, in bytes.
    pub output_limit_bytes: u64,
    /// Open streams of one principal.
    pub streams_per_user: usize,
}

/// `[gateway.enrollment]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollmentSettings {
    /// By source address.
    pub per_address_per_minute: u32,
    /// By hardware identity, for each source address on its own.
    pub per_hardware_id_per_minute: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_is_the_key_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/gateway.toml");
        if pact_runtime::environment().any(|(name, _)| name == "PACT_REGENERATE") {
            std::fs::write(path, pact_runtime::config::example_file(&SCHEMA)).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            committed,
            pact_runtime::config::example_file(&SCHEMA),
            "config/gateway.toml is stale"
        );
    }

    #[test]
    fn each_missing_security_setting_is_named() {
        let error = pact_runtime::config::Loader::new(&SCHEMA).load().unwrap_err().to_string();
        for key in [
            "tls.cert",
            "signing.key",
            "bus.creds",
            "bus.tls_ca",
            "oidc.issuer",
            "oidc.audience",
            "jwks_file",
        ] {
            assert!(error.contains(key), "{key} in {error}");
        }
    }
}

//! The keys of `/etc/pact/journal.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use pact_bus::settings::BusSettings;
use pact_runtime::config::{ConfigError, Default, Key, KeyKind, Loaded, Schema};
use pact_schemas::{MemberId, SiteName};
use serde::Deserialize;

use crate::raft::members::{ConfiguredMember, Members};

/// Every key of the file.
pub static SCHEMA: Schema = Schema {
    file_name: "journal.toml",
    env_prefix: "PACT_JOURNAL",
    other_environment: &[],
    keys: &[
        Key::new(
            "journal.site",
            KeyKind::String,
            Default::Required,
            "The site; its root has signed all certificates.",
        )
        .example("\"alps\""),
        Key::new(
            "journal.member",
            KeyKind::Integer { min: 1, max: 1_000_000 },
            Default::Required,
            "Which of the members this is.",
        )
        .example("1"),
        Key::new(
            "journal.data_dir",
            KeyKind::Path,
            Default::Value("\"/var/lib/pact/journal\""),
            "Folder of both databases; it belongs to this member alone.",
        ),
        Key::new(
            "journal.metrics_listen",
            KeyKind::Address,
            Default::Value("\"127.0.0.1:9091\""),
            "Where metrics and health are served.",
        ),
        Key::new(
            "journal.raft.members",
            KeyKind::StringList,
            Default::Required,
            "Members with which a new journal begins, the same 1, 3 or 5 \"<number>:<host>:<port>\" on each; of a new member: itself \
             and members in which it finds the journal. Afterwards the journal says who its members are (`pact cluster`).",
        )
        .example(
            "[\"1:journal-1.mgmt:9444\", \"2:journal-2.mgmt:9444\", \"3:journal-3.mgmt:9444\"]",
        ),
        Key::new(
            "journal.raft.listen",
            KeyKind::Address,
            Default::Value("\"[::]:9444\""),
            "Where this member listens for the others.",
        ),
        Key::new(
            "journal.raft.snapshot_interval",
            KeyKind::Integer { min: 100, max: 10_000_000 },
            Default::Value("10000"),
            "Log entries (batches of commands) between snapshots; a snapshot is made at most once a minute.",
        ),
        Key::new(
            "journal.tls.cert",
            KeyKind::Path,
            Default::Required,
            "Certificate of this member for the others, from `pact-enroll bootstrap`.",
        )
        .example("\"/etc/pact/journal/peer.crt\""),
        Key::new("journal.tls.key", KeyKind::Path, Default::Required, "Its key.")
            .example("\"/etc/pact/journal/peer.key\""),
        Key::new(
            "journal.tls.ca",
            KeyKind::Path,
            Default::Required,
            "The site root; the only authority that is believed.",
        )
        .example("\"/etc/pact/ca.crt\""),
        Key::new(
            "journal.grant.cert",
            KeyKind::Path,
            Default::Required,
            "Certificate with which this member signs grants and plane time.",
        )
        .example("\"/etc/pact/journal/grant.crt\""),
        Key::new("journal.grant.key", KeyKind::Path, Default::Required, "Its key.")
            .example("\"/etc/pact/journal/grant.key\""),
        BusSettings::urls_key("journal.bus.urls"),
        BusSettings::creds_key("journal.bus.creds", "\"/etc/pact/creds/journal-1.creds\""),
        BusSettings::tls_ca_key("journal.bus.tls_ca"),
    ],
};

/// The file, checked.
#[derive(Debug)]
pub struct Config {
    /// The site.
    pub site: SiteName,
    /// All members, and which of them this is.
    pub members: Members,
    /// The rest.
    pub settings: Settings,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    journal: Settings,
}

/// `[journal]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    site: String,
    member: u64,
    /// Folder of both databases.
    pub data_dir: PathBuf,
    /// Where metrics and health are served.
    pub metrics_listen: SocketAddr,
    /// Raft.
    pub raft: RaftSettings,
    /// Certificate for the other members.
    pub tls: TlsSettings,
    /// Certificate for grants and plane time.
    pub grant: GrantSettings,
    /// The bus.
    pub bus: BusSettings,
}

/// `[journal.raft]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaftSettings {
    members: Vec<String>,
    /// Where this member listens for the others.
    pub listen: SocketAddr,
    /// Log entries between snapshots.
    pub snapshot_interval: u64,
}

/// `[journal.tls]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Certificate file.
    pub cert: PathBuf,
    /// Key file.
    pub key: PathBuf,
    /// The site root.
    pub ca: PathBuf,
}

/// `[journal.grant]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantSettings {
    /// Certificate file.
    pub cert: PathBuf,
    /// Key file.
    pub key: PathBuf,
}

impl Config {
    /// Checks what was loaded.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn new(loaded: &Loaded) -> Result<Self, ConfigError> {
        let settings = loaded.parse::<File>()?.journal;
        let site = SiteName::new(&settings.site)
            .map_err(|error| loaded.reject("journal.site", error.to_string()))?;
        let own = MemberId::new(settings.member)
            .map_err(|error| loaded.reject("journal.member", error.to_string()))?;
        let members = "journal.raft.members";
        let listed = settings.raft.members.iter().map(|text| text.parse::<ConfiguredMember>());
        let listed = listed
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| loaded.reject(members, error.to_string()))?;
        let members = Members::new(own, &listed)
            .map_err(|error| loaded.reject(members, error.to_string()))?;
        Ok(Self { site, members, settings })
    }
}

#[cfg(test)]
mod tests {
    use pact_runtime::config::Loader;

    use super::*;

    fn load(overrides: &[&str]) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pact_runtime::config::example_file(&SCHEMA)).unwrap();
        let loader = overrides
            .iter()
            .fold(Loader::new(&SCHEMA).file(file.path(), true), |loader, set| loader.set(set));
        Config::new(&loader.load()?)
    }

    #[test]
    fn the_example_file_is_the_key_table_and_loads() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/journal.toml");
        if pact_runtime::environment().any(|(name, _)| name == "PACT_REGENERATE") {
            std::fs::write(path, pact_runtime::config::example_file(&SCHEMA)).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            committed,
            pact_runtime::config::example_file(&SCHEMA),
            "config/journal.toml is stale"
        );
    }

    #[test]
    fn what_makes_no_cluster_is_refused_by_its_key() {
        for (set, key) in [
            ("journal.raft.members=1:a:9444,1:b:9444", "journal.raft.members"),
            ("journal.raft.members=one", "journal.raft.members"),
            ("journal.member=9", "journal.raft.members"),
            ("journal.site=Alps!", "journal.site"),
        ] {
            let error = load(&[set]).unwrap_err().to_string();
            assert!(error.contains(key), "{set}: {error}");
        }
        let good =
            ["journal.site=alps", "journal.member=1", "journal.raft.members=1:localhost:9444"];
        assert_eq!(load(&good).unwrap().members.iter().count(), 1);
    }
}

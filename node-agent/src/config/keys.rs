//! The keys as data; `config/agent.toml` is made from them.

use pact_runtime::config::{Default, Key, KeyKind, Schema};

/// Names that [`Mode`] reads.
const WHITELIST_MODES: &[&str] = &["strict", "learning", "bypass"];

/// A day: no window is longer.
const MAX_WINDOW_SECONDS: i64 = 86_400;

/// Everything that the agent can be configured with.
pub static SCHEMA: Schema = Schema {
    file_name: "agent.toml",
    env_prefix: "PACT_AGENT",
    other_environment: &[],
    keys: &[
        Key::new(
            "agent.node_id",
            KeyKind::String,
            Default::Required,
            "Name of this node, as registered with `pact node enroll`: 1 to 63 of a-z, 0-9 and '-'.",
        )
        .example("\"node-001\""),
        Key::new(
            "agent.enforcement_mode",
            KeyKind::Enum(pact_schemas::Mode::NAMES),
            Default::Value("\"observe\""),
            "Whether drift that nobody commits is undone when its window ends. A vCluster's policy wins. Read again on \
             SIGHUP.",
        ),
        Key::new(
            "agent.enforce_keys",
            KeyKind::StringList,
            Default::Value("[\"**\"]"),
            "Globs over resource keys that this node may write, by itself or for a rollback, e.g. \"sysctl/*\" or \
             \"/etc/**\". Nothing else is ever written. Read again on SIGHUP.",
        ),
        Key::new(
            "agent.state_dir",
            KeyKind::Path,
            Default::Value("\"/var/lib/pact/agent\""),
            "Folder of identity, spool, used grants and recordings. Should survive a reboot: on a diskless node \
             events that the journal does not have yet are lost with it.",
        ),
        Key::new(
            "agent.run_dir",
            KeyKind::Path,
            Default::Value("\"/run/pact\""),
            "Folder of what users of the node may read: node.json and capability.json.",
        ),
        Key::new(
            "agent.certificate_path",
            KeyKind::Path,
            Default::Value("\"/etc/pact/agent.crt\""),
            "Where the node's certificate is put for others to read, after each enrolment.",
        ),
        Key::new(
            "agent.journal.endpoints",
            KeyKind::StringList,
            Default::Required,
            "Gateways that the agent enrols through, host:port; tried in turn.",
        )
        .example("[\"mgmt-1:9443\", \"mgmt-2:9443\"]"),
        Key::new(
            "agent.journal.tls_enabled",
            KeyKind::Bool,
            Default::Value("true"),
            "Whether gateways and bus are reached over TLS. Plain connections go to loopback addresses only.",
        ),
        Key::new(
            "agent.journal.tls_ca",
            KeyKind::Path,
            Default::Required,
            "The site's roots (PEM). The only anchor for gateways, bus, grants and time.",
        )
        .example("\"/etc/pact/ca.crt\""),
        Key::new(
            "agent.bus.url",
            KeyKind::StringList,
            Default::Optional,
            "Addresses of the bus. Not set: those told at enrolment.",
        )
        .example("[\"tls://mgmt-1:4222\"]"),
        Key::new(
            "agent.supervisor.backend",
            KeyKind::Enum(&["pact", "systemd"]),
            Default::Value("\"systemd\""),
            "What starts and stops declared services.",
        ),
        Key::new(
            "agent.observer.roots",
            KeyKind::StringList,
            Default::Required,
            "Folders whose files are watched: absolute paths. There is no default until whole file systems can be watched.",
        )
        .example("[\"/etc\"]"),
        Key::new(
            "agent.observer.secret",
            KeyKind::StringList,
            Default::Value("[]"),
            "Globs of files whose contents never leave the node, e.g. \"/etc/ssl/private/**\".",
        ),
        Key::new(
            "agent.shell.whitelist_mode",
            KeyKind::Enum(WHITELIST_MODES),
            Default::Required,
            "Which commands run: strict (the list only), learning (all; what is off the list is marked), bypass \
             (all, development only). There is no default: the choice is the site's. Read again on SIGHUP.",
        )
        .example("\"strict\""),
        Key::new(
            "agent.commit_window.base_window_seconds",
            KeyKind::Seconds { min: 60, max: MAX_WINDOW_SECONDS },
            Default::Value("900"),
            "Commit window of the least drift.",
        ),
        Key::new(
            "agent.commit_window.min_window_seconds",
            KeyKind::Seconds { min: 10, max: MAX_WINDOW_SECONDS },
            Default::Value("120"),
            "No commit window is shorter.",
        ),
        Key::new(
            "agent.commit_window.drift_sensitivity",
            KeyKind::Float { min: 0.0, max: 100.0 },
            Default::Value("2.0"),
            "How much drift shortens the window.",
        ),
        Key::new(
            "agent.commit_window.emergency_window_seconds",
            KeyKind::Seconds { min: 60, max: 7 * MAX_WINDOW_SECONDS },
            Default::Value("14400"),
            "How long an emergency may last before it is stale.",
        ),
        Key::new(
            "agent.capability.manifest_path",
            KeyKind::Path,
            Default::Optional,
            "Where the capability report is written. Not set: capability.json in the run_dir.",
        )
        .example("\"/run/pact/capability.json\""),
        Key::new(
            "agent.capability.override_path",
            KeyKind::Path,
            Default::Optional,
            "TOML file with values that replace what the agent finds out.",
        )
        .example("\"/etc/pact/capability-override.toml\""),
        Key::new(
            "agent.capability.gpu_poll_interval_seconds",
            KeyKind::Seconds { min: 1, max: 3600 },
            Default::Value("30"),
            "How often GPUs are looked at.",
        ),
        Key::new(
            "agent.blacklist.patterns",
            KeyKind::StringList,
            Default::Value(
                "[\"/tmp/**\", \"/var/log/**\", \"/proc/**\", \"/sys/**\", \"/dev/**\", \"/run/user/**\", \
                 \"/run/pact/**\", \"/run/lattice/**\"]",
            ),
            "Globs of what is no drift; replaces the default list. vCluster and node lists are added.",
        ),
        Key::new(
            "agent.identity.macs",
            KeyKind::StringList,
            Default::Optional,
            "Development and tests: hardware addresses to enrol with, instead of this machine's.",
        )
        .example("[\"02:00:00:00:00:01\"]"),
        Key::new(
            "agent.identity.bmc_serial",
            KeyKind::String,
            Default::Optional,
            "Development and tests: BMC serial number to enrol with, beside agent.identity.macs.",
        )
        .example("\"BMC-0001\""),
        Key::new(
            "agent.identity.hardware_ids",
            KeyKind::StringList,
            Default::Optional,
            "Development and tests: hardware ids to enrol with, beside agent.identity.macs.",
        )
        .example("[\"smbios:0001\"]"),
    ],
};

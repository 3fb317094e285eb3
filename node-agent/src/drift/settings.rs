//! What decides about drift: the agent's file, and over it the vCluster's policy.

use std::collections::BTreeSet;

use pact_schemas::Mode;
use pact_schemas::resource::{Dimension, KeyPattern, KeyPatterns, ResourceKey};

use super::core::magnitude::Limits;
use super::own::OwnFiles;
use super::store::Why;
use crate::declared::Declared;

/// What the agent's own file says.
#[derive(Debug, Clone)]
pub(crate) struct FileSettings {
    /// `[agent] enforcement_mode`
    pub(crate) mode: Mode,
    /// `[agent] enforce_keys`
    pub(crate) enforce_keys: KeyPatterns,
    /// What is never written, whatever is declared.
    pub(crate) own: OwnFiles,
    /// `[agent.commit_window]`
    pub(crate) limits: Limits,
    /// `[agent.blacklist] patterns`
    pub(crate) blacklist: Vec<KeyPattern>,
}

/// What is in force.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) limits: Limits,
    pub(crate) blacklist: KeyPatterns,
    enforce_keys: KeyPatterns,
    own: OwnFiles,
    auto_converge: BTreeSet<Dimension>,
    require_ack: BTreeSet<Dimension>,
}

impl Settings {
    /// The file's settings under this policy.
    pub(crate) fn new(file: &FileSettings, declared: &Declared) -> Self {
        let policy = declared.policy();
        let limits = Limits {
            base: policy.base_window.unwrap_or(file.limits.base),
            floor: policy.min_window.unwrap_or(file.limits.floor),
            sensitivity: policy.sensitivity.unwrap_or(file.limits.sensitivity),
        };
        let blacklist = file.blacklist.iter().chain(declared.blacklist()).cloned();
        Self {
            mode: policy.mode.unwrap_or(file.mode),
            limits,
            blacklist: blacklist.collect::<Vec<_>>().into(),
            enforce_keys: file.enforce_keys.clone(),
            own: file.own.clone(),
            auto_converge: policy.auto_converge.clone(),
            require_ack: policy.require_ack.clone(),
        }
    }

    /// Why this node writes a key for nobody, neither by itself nor for an admin.
    pub(crate) fn barred(&self, key: &ResourceKey) -> Option<&'static str> {
        if self.own.holds(key) {
            Some("not written: the agent's own, which its enrolment and renewal alone write")
        } else if !self.enforce_keys.matches(key) {
            Some("not written: outside enforce_keys")
        } else {
            None
        }
    }

    /// Whether the node may write this key by itself.
    pub(crate) fn enforces(&self, key: &ResourceKey) -> bool {
        self.mode == Mode::Enforce && self.barred(key).is_none()
    }

    /// Whether drift of this key is undone when its window ends.
    pub(crate) fn undoes(&self, key: &ResourceKey) -> bool {
        let dimension = key.dimension();
        self.enforces(key)
            && !dimension.is_report_only()
            && !self.require_ack.contains(&dimension)
            && !self.blacklist.matches(key)
    }

    /// Whether this node may write a key for this reason now; an admin's rollback asks neither mode nor blacklist.
    pub(crate) fn allows(&self, why: Why, key: &ResourceKey) -> bool {
        match why {
            Why::Rollback { .. } => self.barred(key).is_none(),
            Why::Declared => {
                self.enforces(key)
                    && !key.dimension().is_report_only()
                    && !self.blacklist.matches(key)
            }
            Why::WindowEnded | Why::Conflict => self.undoes(key),
            Why::Category => self.undoes_at_once(key),
        }
    }

    /// Whether drift of this key is undone at once.
    pub(crate) fn undoes_at_once(&self, key: &ResourceKey) -> bool {
        self.undoes(key) && self.auto_converge.contains(&key.dimension())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pact_schemas::v1::{DeclaredDocument, Scope, VclusterPolicy, scope};
    use pact_schemas::{NodeId, Seq, VclusterId, convert};
    use prost::Message;

    use super::*;
    use crate::declared::Document;

    fn declared(policy: VclusterPolicy, blacklist: &[&str]) -> Declared {
        let wire = Scope { scope: Some(scope::Scope::Vcluster("ml".into())) };
        let document = DeclaredDocument {
            version: 1,
            scope: Some(wire.clone()),
            seq: 1,
            policy: Some(policy),
            blacklist: blacklist.iter().map(|pattern| (*pattern).to_owned()).collect(),
            keys: Vec::new(),
        };
        let document = Document::decode(&document.encode_to_vec(), &wire, 1).unwrap();
        let scope = convert::Scope::Vcluster(VclusterId::new("ml").unwrap());
        let node = NodeId::new("n1").unwrap();
        Declared::new(&node, Seq::new(1).unwrap(), vec![(scope, document)]).unwrap()
    }

    fn file(mode: Mode) -> FileSettings {
        let pattern = |text: &str| KeyPattern::new(text).unwrap();
        FileSettings {
            mode,
            enforce_keys: vec![pattern("sysctl/*"), pattern("/etc/**")].into(),
            own: OwnFiles::new(["/etc/pact/agent.toml".into()]),
            limits: Limits {
                base: Duration::from_secs(900),
                floor: Duration::from_secs(120),
                sensitivity: 2.0,
            },
            blacklist: vec![pattern("/tmp/**")],
        }
    }

    #[test]
    fn the_policy_wins_where_it_speaks_and_blacklists_add_up() {
        let nothing =
            Settings::new(&file(Mode::Enforce), &declared(VclusterPolicy::default(), &[]));
        assert_eq!((nothing.mode, nothing.limits), (Mode::Enforce, file(Mode::Enforce).limits));
        let policy = VclusterPolicy {
            enforcement_mode: Some("observe".into()),
            base_commit_window_seconds: Some(60),
            min_window_seconds: Some(30),
            drift_sensitivity: Some(1.0),
            ..Default::default()
        };
        let settings = Settings::new(&file(Mode::Enforce), &declared(policy, &["/opt/**"]));
        assert_eq!(settings.mode, Mode::Observe);
        assert_eq!(settings.limits.base, Duration::from_secs(60));
        assert_eq!((settings.limits.floor.as_secs(), settings.limits.sensitivity), (30, 1.0));
        for (key, expected) in
            [("file//tmp/x", true), ("file//opt/x", true), ("file//etc/x", false)]
        {
            assert_eq!(settings.blacklist.matches(&key.parse().unwrap()), expected, "{key}");
        }
    }

    #[test]
    fn what_may_be_written_depends_on_mode_key_and_category() {
        let policy = VclusterPolicy {
            enforcement_mode: Some("enforce".into()),
            auto_converge_categories: vec!["kernel".into(), "files".into()],
            require_ack_categories: vec!["files".into()],
            ..Default::default()
        };
        let declared = declared(policy, &[]);
        let settings = Settings::new(&file(Mode::Observe), &declared);
        let judge = |key: &str| {
            let key = key.parse().unwrap();
            (settings.enforces(&key), settings.undoes(&key), settings.undoes_at_once(&key))
        };
        assert_eq!(judge("sysctl/vm.x"), (true, true, true));
        // Applied when declared, but drift waits for a person.
        assert_eq!(judge("file//etc/motd"), (true, false, false));
        assert_eq!(judge("file//home/x"), (false, false, false));
        assert_eq!(judge("net/eth0"), (false, false, false));
        let allows = |why| {
            ["sysctl/vm.x", "file//etc/motd", "file//home/x", "package/x"]
                .map(|key| settings.allows(why, &key.parse().unwrap()))
        };
        assert_eq!(allows(Why::Declared), [true, true, false, false]);
        for why in [Why::WindowEnded, Why::Conflict, Why::Category] {
            assert_eq!(allows(why), [true, false, false, false], "{why:?}");
        }
        assert_eq!(allows(Why::Rollback { seq: 1 }), [true, true, false, false]);
        // In `enforce_keys`, and still nobody's to write.
        let own = "file//etc/pact/agent.toml".parse().unwrap();
        assert!(settings.barred(&own).is_some_and(|why| why.contains("the agent's own")));
        for why in [Why::Declared, Why::WindowEnded, Why::Rollback { seq: 1 }] {
            assert!(!settings.allows(why, &own), "{why:?}");
        }
    }
}

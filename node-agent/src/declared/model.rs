//! Declared documents as values, and what is in force at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pact_runtime::Timestamp;
use pact_schemas::convert::{self, Scope, WireError};
use pact_schemas::resource::{
    Dimension, KeyError, KeyPattern, MAX_PATTERNS, PatternError, ResourceKey, Value,
};
use pact_schemas::{Digest, Mode, NodeId, Seq, VclusterId, v1};

use crate::held::Held;

/// Version of the document that this build reads.
const VERSION: u32 = 1;

/// Keys of one scope: ten times a large overlay.
const MAX_KEYS: usize = 100_000;

/// Why a document is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    /// A message is not whole.
    #[error("the declared document is malformed")]
    Malformed(#[from] WireError),
    /// A version that this build does not read.
    #[error("the declared document has version {found}; this build reads {VERSION}")]
    Version {
        /// As found.
        found: u32,
    },
    /// A key breaks its rule.
    #[error("the declared document has a key that is none")]
    Key(#[from] KeyError),
    /// A pattern breaks its rule.
    #[error("the declared document has a pattern that is none")]
    Pattern(#[from] PatternError),
    /// More than can be.
    #[error("the declared document has {found} {what}; the limit is {limit}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// As found.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// More contents than a node keeps.
    #[error(
        "the files that are declared have {bytes} bytes of contents; a node keeps at most {limit}"
    )]
    TooLarge {
        /// As declared.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// A key stands twice, or out of order.
    #[error("the keys of the declared document are not in order at {key}")]
    Order {
        /// Where.
        key: ResourceKey,
    },
    /// The policy has a value that this build does not know.
    #[error("the vCluster's policy has {field} = {value:?}, which this build does not know")]
    Policy {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// The documents are not those of this node.
    #[error("the configuration is not that of this node: {fault}")]
    Foreign {
        /// What is wrong.
        fault: &'static str,
    },
}

/// What a vCluster's policy says to its nodes; `None`: the agent's own file decides.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Policy {
    /// Whether drift is undone when its window ends.
    pub(crate) mode: Option<Mode>,
    /// Window of the least drift.
    pub(crate) base_window: Option<Duration>,
    /// The shortest window.
    pub(crate) min_window: Option<Duration>,
    /// How much drift shortens it.
    pub(crate) sensitivity: Option<f64>,
    /// Drift here is undone at once.
    pub(crate) auto_converge: BTreeSet<Dimension>,
    /// Drift here is never undone by itself.
    pub(crate) require_ack: BTreeSet<Dimension>,
}

/// Declared values that are in force.
pub(crate) type Wanted = BTreeMap<ResourceKey, Held>;

/// One declared key.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    value: Held,
    expires: Option<Timestamp>,
}

/// The document of one scope.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Document {
    policy: Policy,
    blacklist: Vec<KeyPattern>,
    rows: BTreeMap<ResourceKey, Row>,
}

/// Everything that is declared for this node, as of one point of the journal.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Declared {
    head: Option<Seq>,
    vcluster: Option<VclusterId>,
    overlay: Document,
    deltas: Document,
}

impl Document {
    /// The document in these bytes, which are those that the head names.
    pub(crate) fn decode(
        bytes: &[u8],
        expected: &v1::Scope,
        seq: u64,
    ) -> Result<Self, DocumentError> {
        let wire = <v1::DeclaredDocument as prost::Message>::decode(bytes)
            .map_err(|_| WireError::Decode { what: "DeclaredDocument" })?;
        if wire.version != VERSION {
            return Err(DocumentError::Version { found: wire.version });
        }
        if wire.scope.as_ref() != Some(expected) || wire.seq != seq {
            return Err(DocumentError::Foreign {
                fault: "another scope or sequence than its head",
            });
        }
        bounded("keys", wire.keys.len(), MAX_KEYS)?;
        bounded("blacklist patterns", wire.blacklist.len(), MAX_PATTERNS)?;
        let patterns = wire.blacklist.iter().map(|pattern| KeyPattern::new(pattern));
        let mut rows = BTreeMap::new();
        for declared in wire.keys {
            let key: ResourceKey = declared.key.parse()?;
            let row = Row::try_from(declared)?;
            if rows.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(DocumentError::Order { key });
            }
            rows.insert(key, row);
        }
        Ok(Self {
            policy: wire.policy.map(Policy::try_from).transpose()?.unwrap_or_default(),
            blacklist: patterns.collect::<Result<_, _>>()?,
            rows,
        })
    }

    fn in_force(&self, passed: Option<Timestamp>) -> impl Iterator<Item = (ResourceKey, Held)> {
        let rows = self.rows.iter().filter(move |(_, row)| !row.is_over(passed));
        rows.map(|(key, row)| (key.clone(), row.value.clone()))
    }
}

fn bounded(what: &'static str, found: usize, limit: usize) -> Result<(), DocumentError> {
    if found > limit { Err(DocumentError::TooMany { what, found, limit }) } else { Ok(()) }
}

impl Row {
    /// Where no time was ever known nothing is over.
    fn is_over(&self, passed: Option<Timestamp>) -> bool {
        self.expires.zip(passed).is_some_and(|(expires, passed)| expires <= passed)
    }
}

impl TryFrom<v1::DeclaredKey> for Row {
    type Error = DocumentError;

    fn try_from(wire: v1::DeclaredKey) -> Result<Self, DocumentError> {
        let at = wire.expires.as_ref();
        let expires = at
            .map(|time| convert::unix_nanos(Some(time), "DeclaredKey.expires"))
            .transpose()?
            .map(Timestamp::from_unix_nanos);
        let value = convert::required(wire.value, "DeclaredKey.value")?;
        Ok(Self { value: Held::new(Value::try_from(value)?, None), expires })
    }
}

impl TryFrom<v1::VclusterPolicy> for Policy {
    type Error = DocumentError;

    fn try_from(wire: v1::VclusterPolicy) -> Result<Self, DocumentError> {
        let known = |mode: &str| mode.parse().map_err(|_| unknown("enforcement_mode", mode));
        let mode: Option<Mode> = wire.enforcement_mode.as_deref().map(known).transpose()?;
        let sensitivity = wire.drift_sensitivity;
        if let Some(bad) = sensitivity.filter(|s| !s.is_finite() || *s < 0.0) {
            return Err(unknown("drift_sensitivity", &bad.to_string()));
        }
        let seconds = |value: Option<u32>| value.map(|s| Duration::from_secs(u64::from(s)));
        let dimensions = |field, names: Vec<String>| {
            names
                .iter()
                .map(|name| name.parse().map_err(|_| unknown(field, name)))
                .collect::<Result<BTreeSet<Dimension>, _>>()
        };
        Ok(Self {
            mode,
            base_window: seconds(wire.base_commit_window_seconds),
            min_window: seconds(wire.min_window_seconds),
            sensitivity,
            auto_converge: dimensions("auto_converge_categories", wire.auto_converge_categories)?,
            require_ack: dimensions("require_ack_categories", wire.require_ack_categories)?,
        })
    }
}

fn unknown(field: &'static str, value: &str) -> DocumentError {
    DocumentError::Policy { field, value: value.chars().take(80).collect() }
}

impl Declared {
    /// What the documents of one head say together.
    pub(crate) fn new(
        node: &NodeId,
        head: Seq,
        documents: Vec<(Scope, Document)>,
    ) -> Result<Self, DocumentError> {
        let mut declared = Self { head: Some(head), ..Self::default() };
        let mut has_deltas = false;
        for (scope, document) in documents {
            match scope {
                Scope::Vcluster(vcluster) if declared.vcluster.is_none() => {
                    declared.vcluster = Some(vcluster);
                    declared.overlay = document;
                }
                Scope::Node(found) if found == *node && !has_deltas => {
                    has_deltas = true;
                    declared.deltas = document;
                }
                Scope::Vcluster(_) | Scope::Node(_) | Scope::Global => {
                    return Err(DocumentError::Foreign { fault: "a scope that is not its own" });
                }
            }
        }
        Ok(declared)
    }

    /// Head of the journal that this is of; `None`: nothing was ever fetched.
    pub(crate) fn head(&self) -> Option<Seq> {
        self.head
    }

    /// The journal went on and declares the same.
    pub(crate) fn reached(&mut self, head: Option<Seq>) {
        self.head = self.head.max(head);
    }

    /// The node's vCluster.
    pub(crate) fn vcluster(&self) -> Option<&VclusterId> {
        self.vcluster.as_ref()
    }

    /// The vCluster's policy.
    pub(crate) fn policy(&self) -> &Policy {
        &self.overlay.policy
    }

    /// Patterns of the vCluster and of the node.
    pub(crate) fn blacklist(&self) -> impl Iterator<Item = &KeyPattern> {
        self.overlay.blacklist.iter().chain(&self.deltas.blacklist)
    }

    /// What is in force: overlay ⊕ deltas, minus what is over. `passed` is the least that plane time can be: it goes on without the
    /// journal and never back ([`PlaneClock::at_least`]), so that what is over stays over.
    ///
    /// [`PlaneClock::at_least`]: crate::time::PlaneClock::at_least
    pub(crate) fn in_force(&self, passed: Option<Timestamp>) -> Wanted {
        let mut wanted: Wanted = self.overlay.in_force(passed).collect();
        wanted.extend(self.deltas.in_force(passed));
        wanted
    }

    /// When something ends that is in force when `passed` has passed.
    pub(crate) fn next_expiry(&self, passed: Timestamp) -> Option<Timestamp> {
        let rows = self.overlay.rows.values().chain(self.deltas.rows.values());
        rows.filter_map(|row| row.expires).filter(|expires| *expires > passed).min()
    }

    /// Every declared value, in force or not.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Held> {
        self.overlay.rows.values().chain(self.deltas.rows.values()).map(|row| &row.value)
    }

    /// Contents that are needed, each with a place that declares it.
    pub(crate) fn contents(&self, node: &NodeId) -> BTreeMap<Digest, Needed> {
        let mut needed = BTreeMap::new();
        let vcluster = self.vcluster.clone().map(Scope::Vcluster);
        let scopes = [(vcluster, &self.overlay), (Some(Scope::Node(node.clone())), &self.deltas)];
        for (scope, document) in scopes {
            let Some(scope) = scope else { continue };
            for (key, row) in &document.rows {
                if let Some((sha256, size_bytes)) = row.value.content() {
                    let scope = scope.clone();
                    needed.insert(sha256.into(), Needed { scope, key: key.clone(), size_bytes });
                }
            }
        }
        needed
    }
}

/// Contents of a declared file.
#[derive(Debug, Clone)]
pub(crate) struct Needed {
    /// Where they are declared.
    pub(crate) scope: Scope,
    /// For which file.
    pub(crate) key: ResourceKey,
    /// How much there is.
    pub(crate) size_bytes: u64,
}

#[cfg(test)]
pub(crate) mod tests {
    use prost::Message;

    use super::*;

    fn key(name: &str, value: i64, expires: Option<i64>) -> v1::DeclaredKey {
        v1::DeclaredKey {
            key: name.to_owned(),
            value: Some((&Value::Integer(value)).into()),
            seq: 3,
            expires: expires.map(|seconds| convert::timestamp(seconds * 1_000_000_000)),
        }
    }

    fn scope(scope: v1::scope::Scope) -> v1::Scope {
        v1::Scope { scope: Some(scope) }
    }

    fn overlay(keys: Vec<v1::DeclaredKey>) -> v1::DeclaredDocument {
        v1::DeclaredDocument {
            version: VERSION,
            scope: Some(scope(v1::scope::Scope::Vcluster("ml".into()))),
            seq: 4,
            policy: Some(v1::VclusterPolicy {
                enforcement_mode: Some("enforce".into()),
                base_commit_window_seconds: Some(60),
                auto_converge_categories: vec!["kernel".into()],
                ..Default::default()
            }),
            blacklist: vec!["/opt/scratch/**".into()],
            keys,
        }
    }

    fn decode(wire: &v1::DeclaredDocument) -> Result<Document, DocumentError> {
        Document::decode(&wire.encode_to_vec(), wire.scope.as_ref().unwrap(), wire.seq)
    }

    fn at(seconds: i64) -> Option<Timestamp> {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn deltas_are_over_the_overlay_until_plane_time_ends_them() {
        let node = NodeId::new("n1").unwrap();
        let deltas = v1::DeclaredDocument {
            version: VERSION,
            scope: Some(scope(v1::scope::Scope::Node("n1".into()))),
            seq: 9,
            keys: vec![key("sysctl/a", 2, Some(1000)), key("sysctl/c", 3, None)],
            ..Default::default()
        };
        let documents = vec![
            (
                Scope::Vcluster(VclusterId::new("ml").unwrap()),
                decode(&overlay(vec![key("sysctl/a", 1, None), key("sysctl/b", 1, None)])).unwrap(),
            ),
            (Scope::Node(node.clone()), decode(&deltas).unwrap()),
        ];
        let declared = Declared::new(&node, Seq::new(10).unwrap(), documents.clone()).unwrap();
        let values = |now| {
            let state = declared.in_force(now);
            ["sysctl/a", "sysctl/b", "sysctl/c"].map(|key| {
                match state[&key.parse::<ResourceKey>().unwrap()].value() {
                    Value::Integer(value) => value,
                    other => panic!("{other:?}"),
                }
            })
        };
        assert_eq!(values(None), [2, 1, 3]);
        assert_eq!(values(at(999)), [2, 1, 3]);
        assert_eq!(values(at(1000)), [1, 1, 3]);
        assert_eq!(declared.next_expiry(at(10).unwrap()), at(1000));
        assert_eq!(declared.next_expiry(at(1000).unwrap()), None);
        assert_eq!(declared.policy().mode, Some(Mode::Enforce));
        assert_eq!(declared.policy().base_window, Some(Duration::from_secs(60)));
        assert_eq!(declared.blacklist().count(), 1);
        let other = NodeId::new("n2").unwrap();
        assert!(Declared::new(&other, Seq::new(10).unwrap(), documents.clone()).is_err());
        let twice = vec![documents[0].clone(), documents[0].clone()];
        assert!(Declared::new(&node, Seq::new(10).unwrap(), twice).is_err());
    }

    #[test]
    fn what_is_not_understood_is_refused_as_a_whole() {
        let good = overlay(vec![key("sysctl/a", 1, None)]);
        decode(&good).unwrap();
        let altered = |change: fn(&mut v1::DeclaredDocument)| {
            let mut wire = good.clone();
            change(&mut wire);
            decode(&wire).unwrap_err();
        };
        altered(|wire| wire.version = 2);
        altered(|wire| wire.keys[0].value = None);
        altered(|wire| wire.keys[0].key = "sysctls/a".into());
        altered(|wire| wire.keys.push(wire.keys[0].clone()));
        altered(|wire| wire.blacklist.push("[".into()));
        altered(|wire| wire.policy.as_mut().unwrap().enforcement_mode = Some("perhaps".into()));
        altered(|wire| wire.policy.as_mut().unwrap().drift_sensitivity = Some(f64::NAN));
        altered(|wire| wire.policy.as_mut().unwrap().require_ack_categories = vec!["all".into()]);
        let other = scope(v1::scope::Scope::Node("n1".into()));
        assert!(Document::decode(&good.encode_to_vec(), &other, 4).is_err());
        assert!(Document::decode(&good.encode_to_vec(), good.scope.as_ref().unwrap(), 5).is_err());
    }
}

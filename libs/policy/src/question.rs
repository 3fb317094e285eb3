//! What is asked: the one input shape of every policy.

use std::collections::{BTreeMap, BTreeSet};

use pact_runtime::Timestamp;
use pact_schemas::operation::{Effect, Operation};
use pact_schemas::v1::VclusterPolicy;
use pact_schemas::{NodeId, NodeState, VclusterId};
use serde::Serialize;
use serde_json::json;

/// Largest input as JSON, in bytes: some ten thousand targets, or a full command line and some thousand. Larger
/// requests are refused, so that no site rule ever sees a part of them only.
pub const MAX_INPUT_BYTES: usize = 2 * 1024 * 1024;

/// What kind of actor asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskerKind {
    /// A person.
    Human,
    /// A machine identity that may read.
    ServiceAgent,
    /// A machine identity that is an AI.
    ServiceAi,
    /// One of pact's own services: has no rights here.
    Service,
    /// A node: has no rights here.
    Node,
}

/// Who asks, as verified by the caller.
#[derive(Debug, Clone, Serialize)]
pub struct Asker {
    /// Unique at the issuer.
    pub subject: String,
    /// Who vouches for the subject.
    pub issuer: String,
    /// The kind.
    pub kind: AskerKind,
    /// Verified role names, e.g. `pact-ops-ml-training`.
    pub roles: Vec<String>,
}

/// One node that the operation acts on.
#[derive(Debug, Clone)]
pub struct Target {
    /// The node.
    pub node: NodeId,
    /// Its vCluster; `None`: unassigned.
    pub vcluster: Option<VclusterId>,
    /// Its state.
    pub state: NodeState,
}

/// The settings of a vCluster that decisions depend on, with the documented defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VclusterRules {
    /// A regulated vCluster; implies two-person approval.
    pub regulated: bool,
    /// Changes need a second person.
    pub two_person_approval: bool,
    /// Commands need a second person.
    pub exec_requires_approval: bool,
    /// AI identities may run commands.
    pub ai_exec_allowed: bool,
    /// Emergencies may be started.
    pub emergency_allowed: bool,
    /// Reading commands pass while the journal is away.
    pub degraded_exec: bool,
    /// `observe` or `enforce`, where the vCluster says so.
    pub enforcement_mode: Option<String>,
}

impl From<&VclusterPolicy> for VclusterRules {
    fn from(policy: &VclusterPolicy) -> Self {
        let regulated = policy.regulated.unwrap_or(false);
        Self {
            regulated,
            two_person_approval: regulated || policy.two_person_approval.unwrap_or(false),
            exec_requires_approval: policy.exec_requires_approval.unwrap_or(false),
            ai_exec_allowed: policy.ai_exec_allowed.unwrap_or(false),
            emergency_allowed: policy.emergency_allowed.unwrap_or(true),
            degraded_exec: policy.degraded_exec.unwrap_or(false),
            enforcement_mode: policy.enforcement_mode.clone(),
        }
    }
}

/// One request for a decision.
#[derive(Debug, Clone)]
pub struct Question {
    /// Who asks.
    pub asker: Asker,
    /// What for.
    pub operation: &'static Operation,
    /// On which nodes; empty where the operation acts on none.
    pub targets: Vec<Target>,
    /// On which vClusters that were named.
    pub vclusters: Vec<VclusterId>,
    /// The command, for `exec`.
    pub argv: Vec<String>,
    /// The settings of every vCluster in `vclusters` and `targets`. A vCluster that a change touches and that is
    /// not in here is a refusal.
    pub rules: BTreeMap<VclusterId, VclusterRules>,
    /// When.
    pub time: Timestamp,
}

impl Question {
    /// The `input` document of the policies, as JSON text:
    ///
    /// ```text
    /// principal {subject, issuer, kind, roles}, operation, least, scope_rule, effect,
    /// targets [{node, vcluster|null, state}], target_vclusters, has_unassigned_targets, vclusters,
    /// command [argv], vcluster_policies {name: {regulated, …}}, time (RFC 3339)
    /// ```
    #[must_use]
    pub fn input(&self) -> String {
        let present: BTreeSet<&str> = self
            .targets
            .iter()
            .filter_map(|t| t.vcluster.as_ref())
            .map(VclusterId::as_str)
            .collect();
        let targets: Vec<serde_json::Value> = self
            .targets
            .iter()
            .map(|t| {
                json!({
                    "node": t.node.as_str(),
                    "vcluster": t.vcluster.as_ref().map(VclusterId::as_str),
                    "state": t.state.as_str(),
                })
            })
            .collect();
        json!({
            "principal": self.asker,
            "operation": self.operation.name,
            "least": self.operation.least.as_str(),
            "scope_rule": self.operation.scope.as_str(),
            "effect": effect_name(self.operation.effect),
            "targets": targets,
            "target_vclusters": present,
            "has_unassigned_targets": self.targets.iter().any(|t| t.vcluster.is_none()),
            "vclusters": self.vclusters,
            "command": self.argv,
            "vcluster_policies": self.rules,
            "time": self.time,
        })
        .to_string()
    }
}

/// The name of an effect in policy data and input.
pub(crate) fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Reads => "reads",
        Effect::Writes => "writes",
    }
}

//! What is answered.

use regorus::Value;

/// Most reasons that are passed on; a site rule could make one for each of thousands of nodes.
pub const MAX_REASONS: usize = 20;

/// Longest reason, in characters: it ends in an error message and in an entry.
pub const MAX_REASON_CHARS: usize = 500;

/// Why it is a no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyKind {
    /// The role table has no row for this role in this scope (exit code 2).
    NoRole,
    /// A site rule or a vCluster setting says no (exit code 3).
    Rule,
    /// No answer could be had: an error, an undefined result, a passed deadline (exit code 3).
    Undecided,
}

/// The answer to a [`crate::Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow {
        /// The role that the right rests on; `None` where any verified principal may.
        acting_role: Option<String>,
        /// The bundles that decided, e.g. `default@1f2e…+site@3c4d…`.
        policy_ref: String,
    },
    /// No.
    Deny {
        /// Of which kind.
        kind: DenyKind,
        /// In words, at least one.
        reasons: Vec<String>,
        /// The bundles that decided.
        policy_ref: String,
    },
    /// Only after a second person has agreed.
    NeedsApproval {
        /// The role that the request rests on.
        acting_role: Option<String>,
        /// In words, at least one.
        reasons: Vec<String>,
        /// The bundles that decided.
        policy_ref: String,
    },
}

impl Decision {
    /// A refusal because no answer could be had.
    pub(crate) fn undecided(policy_ref: String, reason: impl Into<String>) -> Self {
        Self::Deny { kind: DenyKind::Undecided, reasons: vec![reason.into()], policy_ref }
    }

    /// The name in metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Allow { .. } => "allow",
            Self::NeedsApproval { .. } => "needs_approval",
            Self::Deny { kind: DenyKind::NoRole, .. } => "no_role",
            Self::Deny { kind: DenyKind::Rule, .. } => "rule",
            Self::Deny { kind: DenyKind::Undecided, .. } => "undecided",
        }
    }

    /// Reads what `data.pact.decision.result` holds; anything unexpected is a refusal.
    pub(crate) fn from_default(result: &Value, policy_ref: &str) -> Self {
        let policy_ref = policy_ref.to_owned();
        let text = |key: &str| {
            let value = result.as_object().ok()?.get(&Value::from(key))?;
            value.as_string().ok().map(|s| s.to_string())
        };
        let reasons = || {
            let listed = result.as_object().ok().and_then(|o| o.get(&Value::from("reasons")));
            let listed = listed.and_then(|v| v.as_array().ok());
            let texts: Vec<String> = listed
                .into_iter()
                .flat_map(|a| a.iter())
                .filter_map(reason)
                .take(MAX_REASONS)
                .collect();
            if texts.is_empty() { vec!["the policy gave no reason".to_owned()] } else { texts }
        };
        let acting_role = text("acting_role");
        match (text("effect").as_deref(), text("kind").as_deref()) {
            (Some("allow"), None) => Self::Allow { acting_role, policy_ref },
            (Some("needs-approval"), None) => {
                Self::NeedsApproval { acting_role, reasons: reasons(), policy_ref }
            }
            (Some("deny"), Some("no-role")) => {
                Self::Deny { kind: DenyKind::NoRole, reasons: reasons(), policy_ref }
            }
            (Some("deny"), Some("rule")) => {
                Self::Deny { kind: DenyKind::Rule, reasons: reasons(), policy_ref }
            }
            _ => Self::undecided(policy_ref, "the default policy gave no answer"),
        }
    }
}

/// The reason in one member of a `deny` set: a text, or an object with a text at `reason`. Anything else still
/// denies, without words.
pub(crate) fn reason(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.to_string(),
        Value::Object(fields) => fields.get(&Value::from("reason"))?.as_string().ok()?.to_string(),
        _ => return None,
    };
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(plain.take(MAX_REASON_CHARS).collect())
}

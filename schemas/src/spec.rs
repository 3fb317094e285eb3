//! The TOML specification of contracts §7, read with lines and accepted values.
//!
//! Built so far: `[vcluster.<name>.policy]`. The other sections are known by name
//! and refused as not built yet, so that no part of a specification is ever
//! accepted and ignored.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::ErrorCode;
use crate::id::VclusterId;
use crate::v1::{self, VclusterPolicy};

/// Largest specification, in bytes.
pub const MAX_SPEC_BYTES: usize = 1024 * 1024;

/// Sections of a vCluster that the contract has beside `policy`.
const OTHER_SECTIONS: [&str; 9] = [
    "remove",
    "sysctl",
    "modules",
    "mounts",
    "files",
    "network",
    "packages",
    "services",
    "blacklist",
];

/// Most names in one list of a policy.
const MAX_LIST: usize = 1024;

/// A specification, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The policy table of each vCluster that has one; never empty.
    pub policies: BTreeMap<VclusterId, VclusterPolicy>,
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn at(&self, span: std::ops::Range<usize>, message: String) -> v1::Error {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        ErrorCode::InvalidSpec.error(format!("{}:{line}: {message}", self.file))
    }

    fn table<'t, 'i>(
        &self,
        key: &str,
        value: &'t Spanned<DeValue<'i>>,
    ) -> Result<&'t DeTable<'i>, v1::Error> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            other => {
                Err(self.at(value.span(), format!("{key} is a {}, not a table", other.type_str())))
            }
        }
    }
}

impl Spec {
    /// Reads a specification.
    ///
    /// # Errors
    /// `PACT_INVALID_SPEC` naming file, line, key and what is accepted;
    /// `PACT_UNIMPLEMENTED` for sections that are not built yet.
    pub fn parse(file: &str, text: &str) -> Result<Self, v1::Error> {
        if text.len() > MAX_SPEC_BYTES {
            return Err(ErrorCode::TooLarge.error(format!(
                "{file} is {} bytes; at most {MAX_SPEC_BYTES} are accepted",
                text.len()
            )));
        }
        let reader = Reader { file, text };
        let root = DeTable::parse(text).map_err(|e| {
            reader.at(e.span().unwrap_or(0..0), format!("not TOML: {}", e.message()))
        })?;
        let mut policies = BTreeMap::new();
        for (key, value) in root.get_ref() {
            if key.get_ref() != "vcluster" {
                let message =
                    format!("unknown table {:?}; accepted: [vcluster.<name>.…]", key.get_ref());
                return Err(reader.at(key.span(), message));
            }
            for (name, sections) in reader.table("vcluster", value)? {
                let id = VclusterId::new(name.get_ref())
                    .map_err(|e| reader.at(name.span(), e.to_string()))?;
                if let Some(policy) =
                    read_sections(&reader, &id, reader.table(name.get_ref(), sections)?)?
                {
                    policies.insert(id, policy);
                }
            }
        }
        if policies.is_empty() {
            return Err(ErrorCode::InvalidSpec
                .error(format!("{file} declares nothing; expected [vcluster.<name>.policy]")));
        }
        Ok(Self { policies })
    }

    /// Reads what `group set-policy --file` takes: bare policy keys, or one
    /// `[vcluster.<name>.policy]` table that names this vCluster.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub fn parse_policy(file: &str, text: &str) -> Result<VclusterPolicy, v1::Error> {
        let reader = Reader { file, text };
        let root = DeTable::parse(text).map_err(|e| {
            reader.at(e.span().unwrap_or(0..0), format!("not TOML: {}", e.message()))
        })?;
        read_policy(&reader, root.get_ref())
    }
}

fn read_sections(
    reader: &Reader<'_>,
    vcluster: &VclusterId,
    sections: &DeTable<'_>,
) -> Result<Option<VclusterPolicy>, v1::Error> {
    let mut policy = None;
    for (section, value) in sections {
        let name: &str = section.get_ref();
        if name == "policy" {
            policy = Some(read_policy(reader, reader.table("policy", value)?)?);
        } else if OTHER_SECTIONS.contains(&name) {
            let where_ = reader.at(section.span(), String::new()).message;
            return Err(ErrorCode::Unimplemented
                .error(format!("{where_}[vcluster.{vcluster}.{name}] cannot be applied yet"))
                .because("this version applies policy tables only")
                .next("apply the policy table alone, without the other sections"));
        } else {
            let message = format!(
                "unknown section {name:?} of vCluster {vcluster}; accepted: policy, {}",
                OTHER_SECTIONS.join(", ")
            );
            return Err(reader.at(section.span(), message));
        }
    }
    Ok(policy)
}

/// The categories of contracts §7.
const CATEGORIES: [&str; 7] =
    ["kernel", "mounts", "files", "network", "services", "packages", "gpu"];

fn read_policy(reader: &Reader<'_>, table: &DeTable<'_>) -> Result<VclusterPolicy, v1::Error> {
    let mut policy = VclusterPolicy::default();
    for (key, value) in table {
        let name: &str = key.get_ref();
        set_policy_key(&mut policy, name, value.get_ref()).map_err(|accepted| {
            reader.at(value.span(), format!("policy key {name:?}: {accepted}"))
        })?;
        // On the wire an empty list is no list; that it is to become empty is said beside it.
        if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
            policy.cleared_lists.push(name.to_owned());
        }
    }
    if policy.regulated == Some(true) {
        if policy.two_person_approval == Some(false) {
            return Err(ErrorCode::InvalidSpec.error(format!(
                "{}: regulated = true implies two_person_approval = true; remove the contrary",
                reader.file
            )));
        }
        policy.two_person_approval = Some(true);
    }
    Ok(policy)
}

/// Sets one key; the error says what is accepted.
fn set_policy_key(p: &mut VclusterPolicy, key: &str, value: &DeValue<'_>) -> Result<(), String> {
    match key {
        "enforcement_mode" => p.enforcement_mode = Some(one_of(value, &["observe", "enforce"])?),
        "drift_sensitivity" => p.drift_sensitivity = Some(number(value, 0.0, 100.0)?),
        "base_commit_window_seconds" => {
            p.base_commit_window_seconds = Some(whole(value, 60, 86_400)?)
        }
        "min_window_seconds" => p.min_window_seconds = Some(whole(value, 10, 86_400)?),
        "emergency_window_seconds" => p.emergency_window_seconds = Some(whole(value, 60, 604_800)?),
        "emergency_allowed" => p.emergency_allowed = Some(truth(value)?),
        "regulated" => p.regulated = Some(truth(value)?),
        "two_person_approval" => p.two_person_approval = Some(truth(value)?),
        "approval_timeout_seconds" => p.approval_timeout_seconds = Some(whole(value, 60, 86_400)?),
        "exec_requires_approval" => p.exec_requires_approval = Some(truth(value)?),
        "exec_whitelist" => p.exec_whitelist = programs(value)?,
        "shell_whitelist" => p.shell_whitelist = programs(value)?,
        "shell_privileged" => p.shell_privileged = Some(truth(value)?),
        "auto_converge_categories" => p.auto_converge_categories = categories(value)?,
        "require_ack_categories" => p.require_ack_categories = categories(value)?,
        "audit_retention_days" => p.audit_retention_days = Some(whole(value, 1, 36_500)?),
        "ai_exec_allowed" => p.ai_exec_allowed = Some(truth(value)?),
        "degraded_exec" => p.degraded_exec = Some(truth(value)?),
        _ => return Err(format!("is unknown; accepted keys: {}", POLICY_KEYS.join(", "))),
    }
    Ok(())
}

/// Every key of a policy table, as in contracts §7.
pub const POLICY_KEYS: [&str; 18] = [
    "enforcement_mode",
    "drift_sensitivity",
    "base_commit_window_seconds",
    "min_window_seconds",
    "emergency_window_seconds",
    "emergency_allowed",
    "regulated",
    "two_person_approval",
    "approval_timeout_seconds",
    "exec_requires_approval",
    "exec_whitelist",
    "shell_whitelist",
    "shell_privileged",
    "auto_converge_categories",
    "require_ack_categories",
    "audit_retention_days",
    "ai_exec_allowed",
    "degraded_exec",
];

/// The keys among them that are lists, which `VclusterPolicy.cleared_lists` may name.
pub const POLICY_LISTS: [&str; 4] =
    ["exec_whitelist", "shell_whitelist", "auto_converge_categories", "require_ack_categories"];

fn truth(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "accepted: true or false".to_owned())
}

fn whole(value: &DeValue<'_>, min: u32, max: u32) -> Result<u32, String> {
    let number = match value {
        DeValue::Integer(i) => u32::from_str_radix(i.as_str(), i.radix()).ok(),
        _ => None,
    };
    number
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| format!("accepted: a whole number from {min} to {max}"))
}

fn number(value: &DeValue<'_>, min: f64, max: f64) -> Result<f64, String> {
    let number: Option<f64> = match value {
        DeValue::Integer(i) if i.radix() == 10 => i.as_str().parse().ok(),
        DeValue::Float(f) => f.as_str().parse().ok(),
        _ => None,
    };
    number
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| format!("accepted: a number from {min} to {max}"))
}

fn one_of(value: &DeValue<'_>, accepted: &[&str]) -> Result<String, String> {
    value
        .as_str()
        .filter(|text| accepted.contains(text))
        .map(str::to_owned)
        .ok_or_else(|| format!("accepted: {}", accepted.join(" or ")))
}

fn list(
    value: &DeValue<'_>,
    accepted: &str,
    good: impl Fn(&str) -> bool,
) -> Result<Vec<String>, String> {
    let refuse = || format!("accepted: a list of at most {MAX_LIST} of {accepted}");
    let array = value.as_array().filter(|a| a.len() <= MAX_LIST).ok_or_else(refuse)?;
    array
        .iter()
        .map(|item| {
            item.get_ref().as_str().filter(|t| good(t)).map(str::to_owned).ok_or_else(refuse)
        })
        .collect()
}

fn programs(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    list(value, "program names without a path", |t| {
        (1..=64).contains(&t.len())
            && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
            && !t.starts_with(['-', '.'])
    })
}

fn categories(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    list(value, &CATEGORIES.join(", "), |t| CATEGORIES.contains(&t))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_table_is_read() {
        let spec = Spec::parse(
            "s.toml",
            "[vcluster.ml.policy]\nregulated = true\nexec_whitelist = [\"lstopo\"]\ndrift_sensitivity = 2\n",
        )
        .unwrap();
        let policy = &spec.policies[&VclusterId::new("ml").unwrap()];
        assert_eq!(policy.two_person_approval, Some(true));
        assert_eq!(policy.exec_whitelist, ["lstopo"]);
        assert_eq!(policy.drift_sensitivity, Some(2.0));
    }

    #[test]
    fn a_list_that_is_given_empty_is_cleared_and_one_that_is_not_given_is_kept() {
        let policy = |text| Spec::parse_policy("p.toml", text).unwrap();
        let cleared =
            policy("exec_whitelist = []\nrequire_ack_categories = []\nregulated = false\n");
        assert_eq!(cleared.cleared_lists, ["exec_whitelist", "require_ack_categories"]);
        assert!(cleared.exec_whitelist.is_empty());
        assert_eq!(policy("exec_whitelist = [\"lstopo\"]\n").cleared_lists, [""; 0]);
        let every = POLICY_LISTS.map(|name| format!("{name} = []\n")).concat();
        let mut every = policy(&every).cleared_lists;
        every.sort_unstable_by_key(|name| POLICY_LISTS.iter().position(|list| list == name));
        assert_eq!(every, POLICY_LISTS);
    }

    #[test]
    fn errors_name_file_line_key_and_what_is_accepted() {
        let cases = [
            (
                "[vcluster.ml.policy]\n\nregulated = 1\n",
                "s.toml:3: policy key \"regulated\": accepted: true or false",
            ),
            (
                "[vcluster.ml.policy]\nregulatd = true\n",
                "s.toml:2: policy key \"regulatd\": is unknown",
            ),
            ("[vcluster.ML]\n", "s.toml:1: \"ML\" is not a valid vCluster name"),
            ("[vcluster.ml.sysctls]\n", "s.toml:1: unknown section \"sysctls\""),
            ("[cluster.ml]\n", "s.toml:1: unknown table \"cluster\""),
            (
                "[vcluster.ml.policy]\nexec_whitelist = [\"/bin/sh\"]\n",
                "program names without a path",
            ),
            ("x = \n", "not TOML"),
            ("", "declares nothing"),
        ];
        for (text, want) in cases {
            let error = Spec::parse("s.toml", text).unwrap_err();
            assert!(error.message.contains(want), "{text:?}: {error}");
            assert_eq!(error.code, "PACT_INVALID_SPEC");
        }
    }

    #[test]
    fn sections_that_are_not_built_are_not_ignored() {
        let error = Spec::parse("s.toml", "[vcluster.ml.sysctl]\n\"vm.x\" = \"1\"\n").unwrap_err();
        assert_eq!(error.code, "PACT_UNIMPLEMENTED");
        assert!(error.message.starts_with("s.toml:1:"), "{error}");
    }

    #[test]
    fn every_listed_key_is_settable() {
        for key in POLICY_KEYS {
            let refusal =
                set_policy_key(&mut VclusterPolicy::default(), key, &DeValue::Boolean(true));
            assert!(!refusal.is_err_and(|r| r.contains("unknown")), "{key}");
        }
    }
}

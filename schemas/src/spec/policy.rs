//! `[vcluster.<name>.policy]`: the only reader of a policy table.

use toml::de::{DeTable, DeValue};

use super::reader::Reader;
use crate::Mode;
use crate::v1::{self, VclusterPolicy};

/// Most names in one list of a policy.
const MAX_LIST: usize = 1024;

/// The categories of contracts §7.
const CATEGORIES: [&str; 7] =
    ["kernel", "mounts", "files", "network", "services", "packages", "gpu"];

/// The key whose value names keys that go back to their default.
const UNSET: &str = "unset";

/// Reads a policy table; lists that are emptied, and keys that are unset, are named.
pub(super) fn read(reader: &Reader<'_>, table: &DeTable<'_>) -> Result<VclusterPolicy, v1::Error> {
    let mut policy = VclusterPolicy::default();
    for (key, value) in table {
        let name: &str = key.get_ref();
        if name == UNSET {
            let names = unset(table, value.get_ref()).map_err(|accepted| {
                reader.at(value.span(), format!("policy key {name:?}: {accepted}"))
            })?;
            policy.cleared_lists.extend(names);
            continue;
        }
        if !POLICY_KEYS.contains(&name) {
            return Err(reader.unknown(key, "policy key", &POLICY_KEYS, &POLICY_KEYS.join(", ")));
        }
        set_key(&mut policy, name, value.get_ref()).map_err(|accepted| {
            reader.at(value.span(), format!("policy key {name:?}: {accepted}"))
        })?;
        if value.get_ref().as_array().is_some_and(|list| list.is_empty()) {
            policy.cleared_lists.push(name.to_owned());
        }
    }
    if policy.regulated == Some(true) {
        if policy.two_person_approval == Some(false) {
            let contrary = table.iter().find(|(key, _)| key.get_ref() == "two_person_approval");
            let span = contrary.map_or(0..0, |(_, value)| value.span());
            let message = "policy key \"two_person_approval\": regulated = true implies \
                           two_person_approval = true; accepted: true, or leave the key out";
            return Err(reader.at(span, message));
        }
        policy.two_person_approval = Some(true);
    }
    Ok(policy)
}

/// Keys of policies that the same table does not give.
fn unset(table: &DeTable<'_>, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let is_given = |name: &str| table.iter().any(|(key, _)| key.get_ref() == name);
    list(value, "policy keys that the table does not give", |name| {
        POLICY_KEYS.contains(&name) && !is_given(name)
    })
}

/// Sets one key; the error says what is accepted.
fn set_key(p: &mut VclusterPolicy, key: &str, value: &DeValue<'_>) -> Result<(), String> {
    match key {
        "enforcement_mode" => p.enforcement_mode = Some(one_of(value, Mode::NAMES)?),
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
        _ => return Err("no policy key".to_owned()),
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
    fn every_listed_key_is_settable() {
        for key in POLICY_KEYS {
            let refusal = set_key(&mut VclusterPolicy::default(), key, &DeValue::Boolean(true));
            assert!(!refusal.is_err_and(|r| r.contains("no policy key")), "{key}");
        }
    }
}

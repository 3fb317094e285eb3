//! Policies of vClusters: how given keys are merged into them, and how large a vCluster may be.

use pact_schemas::convert::{Scope, id, required};
use pact_schemas::v1::{EntryKind, PolicyUpdate, VclusterPolicy, VclusterRecord, entry};
use pact_schemas::{Mode, VclusterId};
use prost::Message as _;

use crate::checks::MAX_TEXT_BYTES;
use crate::refusal::Refusal;
use crate::working::{Draft, Working};

/// Policies that one command may set.
const MAX_UPDATES: usize = 64;
/// Words of one list in a policy.
const MAX_LIST: usize = 1_024;
/// Bytes of an encoded vCluster: half of a reply, so that one always fits and two often do.
const MAX_VCLUSTER_BYTES: usize = 256 * 1024;

/// Merges policy keys into those of each vCluster, which comes into being with its first policy.
pub(crate) fn set(work: &mut Working<'_>, updates: &[PolicyUpdate]) -> Result<(), Refusal> {
    if updates.is_empty() || updates.len() > MAX_UPDATES {
        return Err(Refusal::Argument {
            field: "SetPolicy.updates",
            rule: "must name 1 to 64 vClusters",
        });
    }
    for update in updates {
        let vcluster: VclusterId = id(&update.vcluster, "PolicyUpdate.vcluster")?;
        let given = required(update.policy.as_ref(), "PolicyUpdate.policy")?;
        let seq = work.next_seq();
        let record = work.vcluster(&vcluster).unwrap_or_else(|| VclusterRecord {
            vcluster: vcluster.to_string(),
            created_seq: seq,
            ..VclusterRecord::default()
        });
        let policy = merged(&vcluster, record.policy.clone().unwrap_or_default(), given)?;
        let before = record.clone();
        let record = VclusterRecord { policy: Some(policy.clone()), policy_seq: seq, ..record };
        check_size(&vcluster, &before, &record)?;
        work.staged.vclusters.insert(vcluster.clone(), record);
        work.staged.configured.insert(Scope::Vcluster(vcluster.clone()), seq);
        work.draft(Draft::new(
            EntryKind::PolicyUpdate,
            Scope::Vcluster(vcluster.clone()),
            format!("policy of {vcluster} set"),
            entry::Payload::PolicyUpdate(PolicyUpdate {
                vcluster: vcluster.to_string(),
                policy: Some(policy),
            }),
        ));
    }
    Ok(())
}

/// Whether a vCluster is small enough to be sent around with every question about it. One that is
/// too large may become smaller.
pub(crate) fn check_size(
    vcluster: &VclusterId,
    before: &VclusterRecord,
    after: &VclusterRecord,
) -> Result<(), Refusal> {
    let bytes = after.encoded_len();
    if bytes <= MAX_VCLUSTER_BYTES || bytes < before.encoded_len() {
        return Ok(());
    }
    let policy = after.policy.clone().unwrap_or_default();
    let lists = [
        ("exec_whitelist", &policy.exec_whitelist),
        ("shell_whitelist", &policy.shell_whitelist),
        ("auto_converge_categories", &policy.auto_converge_categories),
        ("require_ack_categories", &policy.require_ack_categories),
        ("blacklist", &after.blacklist),
    ];
    let sized = lists.map(|(name, list)| (list.iter().map(String::len).sum::<usize>(), name));
    let (list_bytes, list) = sized.into_iter().max().unwrap_or_default();
    Err(Refusal::VclusterTooLarge { vcluster: vcluster.clone(), bytes, list, list_bytes })
}

/// Keys that are given win; lists are replaced when they are given and not empty; what is named as
/// cleared goes back to its default.
fn merged(
    vcluster: &VclusterId,
    old: VclusterPolicy,
    new: &VclusterPolicy,
) -> Result<VclusterPolicy, Refusal> {
    check_policy(new)?;
    let old = cleared(old, new)?;
    let list = |old: Vec<String>, new: &[String]| if new.is_empty() { old } else { new.to_vec() };
    let mut policy = VclusterPolicy {
        enforcement_mode: new.enforcement_mode.clone().or(old.enforcement_mode),
        drift_sensitivity: new.drift_sensitivity.or(old.drift_sensitivity),
        base_commit_window_seconds: new
            .base_commit_window_seconds
            .or(old.base_commit_window_seconds),
        min_window_seconds: new.min_window_seconds.or(old.min_window_seconds),
        emergency_window_seconds: new.emergency_window_seconds.or(old.emergency_window_seconds),
        emergency_allowed: new.emergency_allowed.or(old.emergency_allowed),
        regulated: new.regulated.or(old.regulated),
        two_person_approval: new.two_person_approval.or(old.two_person_approval),
        approval_timeout_seconds: new.approval_timeout_seconds.or(old.approval_timeout_seconds),
        exec_requires_approval: new.exec_requires_approval.or(old.exec_requires_approval),
        exec_whitelist: list(old.exec_whitelist, &new.exec_whitelist),
        shell_whitelist: list(old.shell_whitelist, &new.shell_whitelist),
        shell_privileged: new.shell_privileged.or(old.shell_privileged),
        auto_converge_categories: list(old.auto_converge_categories, &new.auto_converge_categories),
        require_ack_categories: list(old.require_ack_categories, &new.require_ack_categories),
        audit_retention_days: new.audit_retention_days.or(old.audit_retention_days),
        ai_exec_allowed: new.ai_exec_allowed.or(old.ai_exec_allowed),
        degraded_exec: new.degraded_exec.or(old.degraded_exec),
        // Of the update alone: nothing is left to clear in what is stored.
        cleared_lists: Vec::new(),
    };
    if policy.regulated == Some(true) {
        if new.two_person_approval == Some(false) {
            return Err(Refusal::RegulatedNeedsTwo { vcluster: vcluster.clone() });
        }
        policy.two_person_approval = Some(true);
    }
    Ok(policy)
}

/// Without the keys that `new` unsets. A key that is unset and given has two meanings, so it is
/// refused.
fn cleared(mut old: VclusterPolicy, new: &VclusterPolicy) -> Result<VclusterPolicy, Refusal> {
    let argument = |rule| Err(Refusal::Argument { field: "VclusterPolicy.cleared_lists", rule });
    macro_rules! unset {
        ($name:ident, $($scalar:ident)*; $($list:ident)*) => {
            match $name.as_str() {
                $(stringify!($scalar) => {
                    old.$scalar = None;
                    new.$scalar.is_some()
                })*
                $(stringify!($list) => {
                    old.$list.clear();
                    !new.$list.is_empty()
                })*
                _ => return argument("must name keys of the policy"),
            }
        };
    }
    for name in &new.cleared_lists {
        let is_given = unset!(
            name,
            enforcement_mode drift_sensitivity base_commit_window_seconds min_window_seconds
            emergency_window_seconds emergency_allowed regulated two_person_approval
            approval_timeout_seconds exec_requires_approval shell_privileged audit_retention_days
            ai_exec_allowed degraded_exec;
            exec_whitelist shell_whitelist auto_converge_categories require_ack_categories
        );
        if is_given {
            return argument("must not name a key that is given");
        }
    }
    Ok(old)
}

fn check_policy(policy: &VclusterPolicy) -> Result<(), Refusal> {
    let argument = |field, rule| Err(Refusal::Argument { field, rule });
    if let Some(mode) = &policy.enforcement_mode {
        Mode::from_wire(mode, "enforcement_mode").map_err(Refusal::argument)?;
    }
    if policy.drift_sensitivity.is_some_and(|s| !s.is_finite() || s < 0.0) {
        return argument("drift_sensitivity", "must be a number from 0");
    }
    let lists = [
        &policy.exec_whitelist,
        &policy.shell_whitelist,
        &policy.auto_converge_categories,
        &policy.require_ack_categories,
    ];
    let word =
        |w: &String| !w.is_empty() && w.len() <= MAX_TEXT_BYTES && !w.contains(char::is_control);
    if !lists.iter().all(|l| l.len() <= MAX_LIST && l.iter().all(word)) {
        return argument("policy lists", "may hold 1,024 words of 1,024 bytes");
    }
    Ok(())
}

//! Policies of vClusters, and what is recorded of refusals and reading.

use pact_schemas::convert::{self, Scope, id, required, text};
use pact_schemas::v1::{
    EntryKind, PolicyUpdate, RecordAccess, RecordDenied, RejectEnrolment, SetPolicy,
    VclusterPolicy, VclusterRecord, entry,
};
use pact_schemas::{NodeId, VclusterId};
use prost::Message as _;

use super::declared::one_person_suffices;
use super::refusal::Refusal;
use super::working::{Draft, Working};

/// Policies that one command may set.
const MAX_UPDATES: usize = 64;
/// Words of one list in a policy.
const MAX_LIST: usize = 1_024;
/// Longest text that is recorded of a refusal.
const MAX_TEXT_BYTES: usize = 1_024;
/// Bytes of an encoded vCluster: half of a reply, so that one always fits and two often do.
const MAX_VCLUSTER_BYTES: usize = 256 * 1024;

/// [`set_policy`] as a command of its own: of a platform admin, and where one person suffices.
pub(crate) fn set_policy_alone(
    work: &mut Working<'_>,
    set: &SetPolicy,
    may_set: bool,
) -> Result<(), Refusal> {
    if !may_set {
        return Err(Refusal::NotPlatformAdmin);
    }
    for update in &set.updates {
        one_person_suffices(work, &id(&update.vcluster, "PolicyUpdate.vcluster")?)?;
    }
    set_policy(work, set)
}

/// Merges policy keys into those of each vCluster, which comes into being with its first policy.
pub(crate) fn set_policy(work: &mut Working<'_>, set: &SetPolicy) -> Result<(), Refusal> {
    if set.updates.is_empty() || set.updates.len() > MAX_UPDATES {
        return Err(Refusal::Argument {
            field: "SetPolicy.updates",
            rule: "must name 1 to 64 vClusters",
        });
    }
    for update in &set.updates {
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

/// Whether a vCluster is small enough to be sent around with every question about it. One that is too large may become smaller.
pub(super) fn check_size(
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

/// Keys that are given win; lists are replaced when they are given and not empty, and emptied when they are named as cleared.
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

/// Without the lists that `new` clears. A list that is cleared and given has two meanings, so it is refused.
fn cleared(mut old: VclusterPolicy, new: &VclusterPolicy) -> Result<VclusterPolicy, Refusal> {
    let argument = |rule| Err(Refusal::Argument { field: "VclusterPolicy.cleared_lists", rule });
    for name in &new.cleared_lists {
        let (list, given) = match name.as_str() {
            "exec_whitelist" => (&mut old.exec_whitelist, &new.exec_whitelist),
            "shell_whitelist" => (&mut old.shell_whitelist, &new.shell_whitelist),
            "auto_converge_categories" => {
                (&mut old.auto_converge_categories, &new.auto_converge_categories)
            }
            "require_ack_categories" => {
                (&mut old.require_ack_categories, &new.require_ack_categories)
            }
            _ => return argument("must name lists of the policy"),
        };
        if !given.is_empty() {
            return argument("must not name a list that is given");
        }
        list.clear();
    }
    Ok(old)
}

fn check_policy(policy: &VclusterPolicy) -> Result<(), Refusal> {
    let argument = |field, rule| Err(Refusal::Argument { field, rule });
    if policy.enforcement_mode.as_deref().is_some_and(|m| !["observe", "enforce"].contains(&m)) {
        return argument("enforcement_mode", "must be observe or enforce");
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

fn short(value: &str, field: &'static str) -> Result<(), Refusal> {
    text(value, field)?;
    if value.len() > MAX_TEXT_BYTES {
        return Err(Refusal::Argument { field, rule: "may have 1,024 bytes" });
    }
    Ok(())
}

/// A refusal that a verified principal met.
pub(crate) fn denied(work: &mut Working<'_>, record: &RecordDenied) -> Result<(), Refusal> {
    let scope = Scope::try_from(required(record.scope.as_ref(), "RecordDenied.scope")?)?;
    let denied = required(record.denied.as_ref(), "RecordDenied.denied")?;
    short(&denied.operation, "Denied.operation")?;
    short(&denied.code, "Denied.code")?;
    if denied.target.len() > MAX_TEXT_BYTES * 4 || denied.reason.len() > MAX_TEXT_BYTES {
        return Err(Refusal::Argument {
            field: "Denied",
            rule: "may hold a target of 4 KiB and a reason of 1 KiB",
        });
    }
    let message = format!("{} denied: {}", denied.operation, denied.code);
    work.draft(Draft::new(
        EntryKind::Denied,
        scope,
        message,
        entry::Payload::Denied(denied.clone()),
    ));
    Ok(())
}

/// Reading, aggregated by the gateway.
pub(crate) fn accessed(work: &mut Working<'_>, record: &RecordAccess) -> Result<(), Refusal> {
    let scope = Scope::try_from(required(record.scope.as_ref(), "RecordAccess.scope")?)?;
    let accessed = required(record.accessed.as_ref(), "RecordAccess.accessed")?;
    short(&accessed.operation, "Accessed.operation")?;
    convert::unix_nanos(accessed.minute.as_ref(), "Accessed.minute")?;
    if accessed.count == 0 || accessed.target.len() > MAX_TEXT_BYTES * 4 {
        return Err(Refusal::Argument {
            field: "Accessed",
            rule: "must count from 1 and name a target of 4 KiB at most",
        });
    }
    let message = format!("{} {} times", accessed.operation, accessed.count);
    work.draft(Draft::new(
        EntryKind::Accessed,
        scope,
        message,
        entry::Payload::Accessed(accessed.clone()),
    ));
    Ok(())
}

/// A first contact that was refused. Whoever made it may have claimed any name.
pub(crate) fn enrolment_rejected(
    work: &mut Working<'_>,
    reject: &RejectEnrolment,
) -> Result<(), Refusal> {
    let rejected = required(reject.rejected.as_ref(), "RejectEnrolment.rejected")?;
    short(&rejected.code, "EnrolmentRejected.code")?;
    if [&rejected.node, &rejected.reason, &rejected.source].iter().any(|t| t.len() > MAX_TEXT_BYTES)
    {
        return Err(Refusal::Argument {
            field: "EnrolmentRejected",
            rule: "may hold texts of 1 KiB",
        });
    }
    let known = NodeId::new(&rejected.node).ok().filter(|node| work.node(node).is_some());
    let message = format!("enrolment rejected: {}", rejected.code);
    let payload = entry::Payload::EnrolmentRejected(rejected.clone());
    let scope = known.map_or(Scope::Global, Scope::Node);
    work.draft(Draft::new(EntryKind::EnrolmentRejected, scope, message, payload));
    Ok(())
}

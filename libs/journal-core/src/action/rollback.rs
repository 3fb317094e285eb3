//! `rollback`: a scope as it was right after an entry, or a node's present drift discarded.

use pact_schemas::NodeId;
use pact_schemas::convert::{Scope, bytes, required, vcluster_of};
use pact_schemas::resource::{Change, KeyPatterns, ResourceKey, change_set};
use pact_schemas::v1::action::Action;
use pact_schemas::v1::entry::Payload;
use pact_schemas::v1::{self, EntryKind, JudgedScope, PlanAction, Rollback, grant_payload};

use super::{Asked, Granted, Origin, Rules, Terms, Trial};
use crate::checks::{message, named};
use crate::declared::{Declared, DeclaredScope, HeldKeys};
use crate::planned::Planned;
use crate::refusal::Refusal;
use crate::rights::{self, gives_no_root, is_platform_admin, one_person_suffices};
use crate::working::{Draft, Working};

impl Rules for Rollback {
    fn origin(&self) -> Origin {
        Origin::Gateway(&["rollback"])
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        asked.once()?;
        let planned = [plan(work, self, asked.time_nanos)?];
        gives_no_root(work, is_platform_admin(asked.command), &planned)?;
        planned.iter().try_for_each(|planned| carry_out(work, self, planned))?;
        Ok(Terms::NONE)
    }

    fn judged_in(&self, judged: Vec<JudgedScope>) -> Option<Action> {
        Some(Action::Rollback(Self { judged, ..self.clone() }))
    }

    fn try_out(
        &self,
        work: &mut Working<'_>,
        trial: Trial,
        scopes: &mut Vec<Planned>,
    ) -> Result<(), Refusal> {
        *scopes = vec![plan(work, self, trial.time_nanos)?];
        gives_no_root(work, trial.by_platform_admin, scopes)?;
        scopes.iter().try_for_each(|planned| carry_out(work, self, planned))
    }

    /// Without a plan, nodes take it from their configuration.
    fn is_granted(&self) -> bool {
        !self.plan_sha256.is_empty()
    }

    fn granted(&self, done: Payload, _terms: Terms) -> Option<Granted> {
        let Payload::RollbackDone(done) = done else { return None };
        Some(Granted {
            operation: "rollback",
            targets: done.targets,
            action: grant_payload::Action::Plan(PlanAction { sha256: self.plan_sha256.clone() }),
        })
    }
}

/// What becomes of the scope.
fn plan(work: &Working<'_>, rollback: &Rollback, time_nanos: i64) -> Result<Planned, Refusal> {
    let argument = |field, rule| Err(Refusal::Argument { field, rule });
    let scope = Scope::try_from(required(rollback.scope.as_ref(), "Rollback.scope")?)?;
    match (&scope, rollback.to_seq, rollback.discard_drift) {
        (Scope::Node(node), None, true) => plan_discard(work, rollback, node),
        (_, Some(to_seq), false) => {
            let into = declared_scope(work, &scope, &rollback.judged)?;
            if matches!(scope, Scope::Node(_)) {
                bytes::<32>(&rollback.plan_sha256, "Rollback.plan_sha256")?;
            } else if !rollback.plan_sha256.is_empty() {
                return argument("Rollback.plan_sha256", "is for the scope of a node only");
            }
            plan_restore(work, rollback, into, to_seq, time_nanos)
        }
        (_, None, true) => argument("Rollback.discard_drift", "is for the scope of a node only"),
        (_, Some(_), true) | (_, None, false) => {
            argument("Rollback", "must name an entry or discard drift, not both")
        }
    }
}

fn declared_scope(
    work: &Working<'_>,
    scope: &Scope,
    judged: &[JudgedScope],
) -> Result<DeclaredScope, Refusal> {
    match scope {
        Scope::Node(node) => {
            let (record, vcluster) = work.assigned(node)?;
            rights::node_still_there(node, &record, judged)?;
            Ok(DeclaredScope::Delta(vcluster, node.clone()))
        }
        Scope::Vcluster(vcluster) if work.vcluster(vcluster).is_some() => {
            rights::nothing_judged(judged)?;
            Ok(DeclaredScope::Overlay(vcluster.clone()))
        }
        Scope::Vcluster(vcluster) => Err(Refusal::UnknownVcluster { vcluster: vcluster.clone() }),
        Scope::Global => Err(Refusal::Argument {
            field: "Rollback.scope",
            rule: "must be a node or a vCluster: entries of other kinds need one to be named",
        }),
    }
}

fn plan_discard(
    work: &Working<'_>,
    rollback: &Rollback,
    node: &NodeId,
) -> Result<Planned, Refusal> {
    bytes::<32>(&rollback.drift_digest, "Rollback.drift_digest")?;
    bytes::<32>(&rollback.plan_sha256, "Rollback.plan_sha256")?;
    KeyPatterns::parse(&rollback.keys)?;
    let record = work.live(node)?;
    rights::node_still_there(node, &record, &rollback.judged)?;
    if let Some(vcluster) = vcluster_of(&record)? {
        one_person_suffices(work, &vcluster)?;
    }
    Ok(Planned::nothing(Scope::Node(node.clone())))
}

fn plan_restore(
    work: &Working<'_>,
    rollback: &Rollback,
    into: DeclaredScope,
    to_seq: u64,
    time_nanos: i64,
) -> Result<Planned, Refusal> {
    let meant = KeyPatterns::parse(&rollback.keys)?;
    one_person_suffices(work, into.vcluster())?;
    if !(1..=work.head().seq).contains(&to_seq) {
        return Err(Refusal::UnknownEntry { seq: to_seq });
    }
    let newest = work.scope_mark(&into).seq;
    if newest != rollback.base_seq {
        let (scope, seen) = (into.to_scope(), rollback.base_seq);
        return Err(Refusal::ScopeChanged { scope, seen, newest });
    }
    let (ended, past): (HeldKeys, HeldKeys) =
        work.held_at(&into, to_seq).into_iter().partition(|(_, held)| held.is_over(time_nanos));
    let now = work.held_at(&into, u64::MAX);
    let is_meant = |key: &ResourceKey| rollback.keys.is_empty() || meant.matches(key);
    let mut planned = Planned::rows(into, Vec::new(), Vec::new());
    planned.expired = ended.into_keys().filter(is_meant).collect();
    for (key, held) in past.iter().filter(|(key, _)| is_meant(key)) {
        let old = now.get(key);
        let row = Declared { value: Some(held.value.clone()), expires_nanos: held.expires_nanos };
        if old.is_some_and(|o| o.value == held.value && o.expires_nanos == held.expires_nanos) {
            continue;
        }
        planned.rows.push((key.clone(), row));
        let old = old.map(|old| old.value.clone());
        if old.as_ref() != Some(&held.value) {
            planned.changes.push(Change { key: key.clone(), old, new: Some(held.value.clone()) });
        }
    }
    for (key, held) in now.iter().filter(|(key, _)| !past.contains_key(*key) && is_meant(key)) {
        planned.rows.push((key.clone(), Declared::ENDED));
        let old = Some(held.value.clone());
        planned.changes.push(Change { key: key.clone(), old, new: None });
    }
    planned.changes.sort_by(|a, b| a.key.cmp(&b.key));
    change_set::check(&planned.changes)?;
    Ok(planned)
}

/// Carries a plan out.
fn carry_out(
    work: &mut Working<'_>,
    rollback: &Rollback,
    planned: &Planned,
) -> Result<(), Refusal> {
    let targets = match &planned.scope {
        Scope::Node(node) => node.to_string(),
        // The nodes of a vCluster take their new configuration; none is asked to act.
        Scope::Vcluster(_) | Scope::Global => String::new(),
    };
    let otherwise = match rollback.to_seq {
        Some(seq) => {
            let count = planned.changes.len();
            format!("{} rolled back to entry {seq}: {count} keys changed", planned.scope)
        }
        None => format!("drift of {} discarded", planned.scope),
    };
    let mut draft = Draft::new(
        EntryKind::Rollback,
        planned.scope.clone(),
        message(&rollback.message, otherwise)?,
        Payload::RollbackDone(v1::RollbackDone {
            to_seq: rollback.to_seq,
            drift_digest: match rollback.to_seq {
                Some(_) => Vec::new(),
                None => rollback.drift_digest.clone(),
            },
            targets,
            expired_keys: named(planned.expired.iter()),
        }),
    );
    work.attach(&mut draft, &planned.changes)?;
    let seq = work.draft(draft);
    match &planned.into {
        Some(scope) => work.declare(scope, seq, planned.rows.clone()),
        None => Ok(()),
    }
}

//! `apply`: a specification. Overlays, merged key by key, with their policies; all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use pact_schemas::convert::{Scope, enumeration, id};
use pact_schemas::nodeset::MAX_TEXT_BYTES;
use pact_schemas::resource::{Change, Kind, ResourceKey, Value, change_set};
use pact_schemas::v1::{
    self, ApplySpec, EntryKind, OnConflict, OverlayUpdate, VclusterPolicy, VclusterRecord, entry,
};
use pact_schemas::{NodeId, NodeSet, VclusterId};

use super::{Asked, Origin, Rules, Terms, Trial, blacklist};
use crate::checks::{SHOWN_KEYS, declarable, read_changes, shown, value_of};
use crate::declared::{Declared, DeclaredScope};
use crate::planned::{DeltaBeside, Differing, Planned};
use crate::policy;
use crate::record::Uploader;
use crate::refusal::Refusal;
use crate::rights::{gives_no_root, is_platform_admin, one_person_suffices};
use crate::working::{Draft, Working};

/// Overlays of one specification; one entry is made for each.
const MAX_OVERLAYS: usize = 64;
/// Node deltas that one specification may meet: ending them is one write of the state.
const MAX_DELTAS: usize = 100_000;

impl Rules for ApplySpec {
    fn origin(&self) -> Origin {
        Origin::Gateway(&["apply"])
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        let by_admin = is_platform_admin(asked.command);
        let planned = plan(work, self, by_admin, asked.time_nanos)?;
        gives_no_root(work, by_admin, &planned)?;
        carry_out(work, self, &planned)?;
        Ok(Terms::NONE)
    }

    fn try_out(
        &self,
        work: &mut Working<'_>,
        trial: Trial,
        scopes: &mut Vec<Planned>,
    ) -> Result<(), Refusal> {
        *scopes = plan(work, self, trial.by_platform_admin, trial.time_nanos)?;
        gives_no_root(work, trial.by_platform_admin, scopes)?;
        carry_out(work, self, scopes)
    }
}

/// What becomes of each overlay. `may_create`: of a platform admin, who also sets policies.
fn plan(
    work: &Working<'_>,
    spec: &ApplySpec,
    may_create: bool,
    time_nanos: i64,
) -> Result<Vec<Planned>, Refusal> {
    let argument = |field, rule| Err(Refusal::Argument { field, rule });
    if spec.overlays.len() > MAX_OVERLAYS {
        return argument("ApplySpec.overlays", "may name 64 vClusters");
    }
    if spec.overlays.is_empty() && spec.policies.is_empty() {
        return argument("ApplySpec", "must declare something");
    }
    if !spec.policies.is_empty() && !may_create {
        return Err(Refusal::NotPlatformAdmin);
    }
    let mut created = BTreeSet::new();
    for update in &spec.policies {
        let vcluster: VclusterId = id(&update.vcluster, "PolicyUpdate.vcluster")?;
        one_person_suffices(work, &vcluster)?;
        created.insert(vcluster);
    }
    let (mut seen, mut deltas) = (BTreeSet::new(), 0);
    let mut planned = Vec::with_capacity(spec.overlays.len());
    for update in &spec.overlays {
        let vcluster: VclusterId = id(&update.vcluster, "OverlayUpdate.vcluster")?;
        let exists = work.vcluster(&vcluster).is_some() || created.contains(&vcluster);
        if !exists && !may_create {
            return Err(Refusal::UnknownVcluster { vcluster });
        }
        one_person_suffices(work, &vcluster)?;
        if !seen.insert(vcluster.clone()) {
            return argument("ApplySpec.overlays", "may name each vCluster once");
        }
        let overlay = plan_overlay(work, vcluster, update, time_nanos)?;
        deltas += overlay.conflicts.len() + overlay.absorbed.len();
        if deltas > MAX_DELTAS {
            return Err(Refusal::TooManyDeltas { limit: MAX_DELTAS });
        }
        planned.push(overlay);
    }
    Ok(planned)
}

fn plan_overlay(
    work: &Working<'_>,
    vcluster: VclusterId,
    update: &OverlayUpdate,
    time_nanos: i64,
) -> Result<Planned, Refusal> {
    let scope = DeclaredScope::Overlay(vcluster.clone());
    let wanted = wanted(work, &scope, update)?;
    let decided = decided(update)?;
    let mut planned = Planned::rows(scope.clone(), Vec::new(), Vec::new());
    for (key, new) in wanted {
        if let Some(value) = &new {
            declarable(work, &Uploader::Gateways, &key, value)?;
            let met = beside(work, &vcluster, &key, value, time_nanos)
                .map(|met| DeltaBeside { decided: decided.get(&key).copied(), ..met });
            let (absorbed, conflicts): (Vec<_>, Vec<_>) =
                met.partition(|met| met.node_value == met.overlay_value);
            planned.absorbed.extend(absorbed);
            planned.conflicts.extend(conflicts);
            if planned.conflicts.len() + planned.absorbed.len() > MAX_DELTAS {
                return Err(Refusal::TooManyDeltas { limit: MAX_DELTAS });
            }
        }
        let old = value_of(work.held(&scope, &key));
        if old != new {
            let row = Declared { value: new.clone(), expires_nanos: None };
            planned.rows.push((key.clone(), row));
            planned.changes.push(Change { key, old, new });
        }
    }
    change_set::check(&planned.changes)?;
    Ok(planned)
}

/// What the update says about each key; `None`: it is taken out.
fn wanted(
    work: &Working<'_>,
    scope: &DeclaredScope,
    update: &OverlayUpdate,
) -> Result<BTreeMap<ResourceKey, Option<Value>>, Refusal> {
    let (by, field) = (Uploader::Gateways, "OverlayUpdate.changes");
    let given = read_changes(work, &by, update.changes.as_ref(), field)?;
    let mut wanted = BTreeMap::new();
    for Change { key, old, new } in given {
        if old.is_some() || matches!(new, Some(Value::Withheld(_))) {
            return Err(Refusal::Argument {
                field: "OverlayUpdate.changes",
                rule: "may hold neither old nor withheld values",
            });
        }
        wanted.insert(key, new);
    }
    let replaced = replaced(update)?;
    if !replaced.is_empty() {
        for key in work.held_at(scope, u64::MAX).into_keys() {
            if replaced.contains(&key.kind()) {
                wanted.entry(key).or_insert(None);
            }
        }
    }
    Ok(wanted)
}

fn replaced(update: &OverlayUpdate) -> Result<BTreeSet<Kind>, Refusal> {
    let unknown = Refusal::Argument {
        field: "OverlayUpdate.replace",
        rule: "must be of sysctl, module, mount, file, net, service, package, gpu",
    };
    update.replace.iter().map(|kind| Kind::of_prefix(kind).ok_or(unknown.clone())).collect()
}

/// What the specification says about single keys.
fn decided(update: &OverlayUpdate) -> Result<BTreeMap<ResourceKey, Differing>, Refusal> {
    let lists = [(&update.overwrite, Differing::Overwrite), (&update.keep, Differing::Keep)];
    let mut decided = BTreeMap::new();
    for (key, decision) in lists.into_iter().flat_map(|(list, d)| list.iter().map(move |k| (k, d)))
    {
        let key: ResourceKey = key.parse().map_err(|_| Refusal::Argument {
            field: "OverlayUpdate.overwrite, keep",
            rule: "must name resource keys in their one spelling",
        })?;
        if decided.insert(key, decision).is_some() {
            return Err(Refusal::Argument {
                field: "OverlayUpdate.overwrite, keep",
                rule: "must name each key once",
            });
        }
    }
    Ok(decided)
}

/// The deltas of the same key that its new value meets: of the nodes that are in the vCluster.
/// Others wait there, and are nobody's to decide about before their node comes back.
fn beside(
    work: &Working<'_>,
    vcluster: &VclusterId,
    key: &ResourceKey,
    value: &Value,
    time_nanos: i64,
) -> impl Iterator<Item = DeltaBeside> {
    let is_here = |node: &NodeId| {
        work.node(node).and_then(|r| r.vcluster).as_deref() == Some(vcluster.as_str())
    };
    work.delta_nodes(vcluster, key).into_iter().filter(is_here).filter_map(move |node| {
        let delta = DeclaredScope::Delta(vcluster.clone(), node.clone());
        // A delta whose time is over is not in the way: the next tick ends it.
        let held = work.held(&delta, key).filter(|held| !held.is_over(time_nanos))?;
        Some(DeltaBeside {
            node,
            key: key.clone(),
            node_value: held.value,
            overlay_value: value.clone(),
            decided: None,
        })
    })
}

/// Carries a plan out.
fn carry_out(work: &mut Working<'_>, spec: &ApplySpec, planned: &[Planned]) -> Result<(), Refusal> {
    let on_conflict: OnConflict = enumeration(spec.on_conflict, "ApplySpec.on_conflict")?;
    let otherwise = match on_conflict {
        OnConflict::Overwrite => Some(Differing::Overwrite),
        OnConflict::Keep => Some(Differing::Keep),
        OnConflict::Refuse | OnConflict::Unspecified => None,
    };
    let undecided = planned.iter().flat_map(|planned| &planned.conflicts);
    let undecided: Vec<&DeltaBeside> =
        undecided.filter(|delta| delta.decided.or(otherwise).is_none()).collect();
    if !undecided.is_empty() {
        return Err(differs(&undecided));
    }
    if !spec.policies.is_empty() {
        policy::set(work, &spec.policies)?;
    }
    for (update, planned) in spec.overlays.iter().zip(planned) {
        carry_out_one(work, update, planned, otherwise)?;
    }
    Ok(())
}

fn differs(conflicts: &[&DeltaBeside]) -> Refusal {
    let nodes: BTreeSet<&NodeId> = conflicts.iter().map(|conflict| &conflict.node).collect();
    let mut deltas: Vec<String> = conflicts
        .iter()
        .take(SHOWN_KEYS)
        .map(|conflict| format!("{} {}", conflict.node, shown(&conflict.key)))
        .collect();
    if conflicts.len() > SHOWN_KEYS {
        deltas.push(format!("and {} more", conflicts.len() - SHOWN_KEYS));
    }
    Refusal::DeltasDiffer {
        count: conflicts.len(),
        nodes: folded(nodes.into_iter()),
        deltas: deltas.join(", "),
    }
}

/// A folded node set, or the number of nodes where that is longer than node sets may be.
fn folded<'a>(nodes: impl Iterator<Item = &'a NodeId>) -> String {
    let Ok(set) = NodeSet::new(nodes.cloned()) else { return String::new() };
    let text = set.fold();
    if text.len() <= MAX_TEXT_BYTES { text } else { format!("{} nodes", set.len()) }
}

fn carry_out_one(
    work: &mut Working<'_>,
    update: &OverlayUpdate,
    planned: &Planned,
    otherwise: Option<Differing>,
) -> Result<(), Refusal> {
    let Some(scope) = &planned.into else { return Ok(()) };
    let vcluster = scope.vcluster();
    let seq = work.next_seq();
    create(work, vcluster, seq);
    work.declare(scope, seq, planned.rows.clone())?;
    let ends = |delta: &&DeltaBeside| delta.decided.or(otherwise) == Some(Differing::Overwrite);
    let overwritten: Vec<&DeltaBeside> = planned.conflicts.iter().filter(ends).collect();
    let absorbed: Vec<&DeltaBeside> = planned.absorbed.iter().collect();
    let mut ended: BTreeMap<&NodeId, Vec<(ResourceKey, Declared)>> = BTreeMap::new();
    for delta in absorbed.iter().chain(&overwritten) {
        ended.entry(&delta.node).or_default().push((delta.key.clone(), Declared::ENDED));
    }
    let nodes: Vec<NodeId> = ended.keys().map(|node| (*node).clone()).collect();
    for (node, rows) in ended {
        work.declare(&DeclaredScope::Delta(vcluster.clone(), node.clone()), seq, rows)?;
    }
    let names = |deltas: &[&DeltaBeside]| {
        folded(deltas.iter().map(|delta| &delta.node).collect::<BTreeSet<_>>().into_iter())
    };
    let mut draft = Draft::new(
        EntryKind::OverlayApplied,
        Scope::Vcluster(vcluster.clone()),
        format!("specification applied to {vcluster}: {} keys changed", planned.changes.len()),
        entry::Payload::OverlayApplied(v1::OverlayApplied {
            vcluster: vcluster.to_string(),
            replaced: update.replace.clone(),
            absorbed: names(&absorbed),
            overwritten: names(&overwritten),
            keys: work.scope_mark(scope).keys,
        }),
    );
    draft.nodes = nodes;
    work.attach(&mut draft, &planned.changes)?;
    work.draft(draft);
    match &update.blacklist {
        Some(list) => blacklist::replace(work, vcluster, &list.patterns),
        None => Ok(()),
    }
}

/// A vCluster comes into being with the first specification that names it.
fn create(work: &mut Working<'_>, vcluster: &VclusterId, seq: u64) {
    if work.vcluster(vcluster).is_some() {
        return;
    }
    let record = VclusterRecord {
        vcluster: vcluster.to_string(),
        policy: Some(VclusterPolicy::default()),
        created_seq: seq,
        policy_seq: seq,
        ..VclusterRecord::default()
    };
    work.staged.vclusters.insert(vcluster.clone(), record);
}

//! `blacklist.add`, `blacklist.remove`: keys that drift is not looked for at, as patterns of a
//! vCluster or a node.

use pact_schemas::VclusterId;
use pact_schemas::convert::{Scope, required, vcluster_of};
use pact_schemas::resource::KeyPatterns;
use pact_schemas::v1::action::Action;
use pact_schemas::v1::{self, ChangeBlacklist, EntryKind, JudgedScope, entry};

use super::{Asked, Origin, Rules, Terms, Trial};
use crate::planned::Planned;
use crate::policy;
use crate::refusal::Refusal;
use crate::rights::{self, one_person_suffices};
use crate::working::{Draft, Working};

impl Rules for ChangeBlacklist {
    fn origin(&self) -> Origin {
        Origin::Gateway(match (self.add.is_empty(), self.remove.is_empty()) {
            (false, true) => &["blacklist.add"],
            (true, false) => &["blacklist.remove"],
            (true, true) | (false, false) => &[],
        })
    }

    fn apply(&self, work: &mut Working<'_>, _asked: &Asked<'_>) -> Result<Terms, Refusal> {
        let planned = plan(work, self)?;
        carry_out(work, self, planned.scope)?;
        Ok(Terms::NONE)
    }

    fn judged_in(&self, judged: Vec<JudgedScope>) -> Option<Action> {
        Some(Action::ChangeBlacklist(Self { judged, ..self.clone() }))
    }

    fn try_out(
        &self,
        work: &mut Working<'_>,
        _trial: Trial,
        scopes: &mut Vec<Planned>,
    ) -> Result<(), Refusal> {
        let planned = plan(work, self)?;
        let scope = planned.scope.clone();
        *scopes = vec![planned];
        carry_out(work, self, scope)
    }
}

/// Adds and removes patterns. What is so already makes no entry.
fn carry_out(
    work: &mut Working<'_>,
    change: &ChangeBlacklist,
    scope: Scope,
) -> Result<(), Refusal> {
    let old = present(work, &scope);
    let mut new: Vec<String> =
        old.iter().filter(|pattern| !change.remove.contains(pattern)).cloned().collect();
    new.extend(change.add.iter().cloned());
    set(work, scope, old, new)
}

/// Whose list it is. Nothing declared changes.
fn plan(work: &Working<'_>, change: &ChangeBlacklist) -> Result<Planned, Refusal> {
    let scope = Scope::try_from(required(change.scope.as_ref(), "ChangeBlacklist.scope")?)?;
    if change.add.is_empty() && change.remove.is_empty() {
        return Err(Refusal::Argument { field: "ChangeBlacklist", rule: "must name a pattern" });
    }
    let vcluster = match &scope {
        Scope::Vcluster(vcluster) if work.vcluster(vcluster).is_none() => {
            return Err(Refusal::UnknownVcluster { vcluster: vcluster.clone() });
        }
        Scope::Vcluster(vcluster) => {
            rights::nothing_judged(&change.judged)?;
            Some(vcluster.clone())
        }
        Scope::Node(node) => {
            let record = work.live(node)?;
            rights::node_still_there(node, &record, &change.judged)?;
            vcluster_of(&record)?
        }
        Scope::Global => {
            return Err(Refusal::Argument {
                field: "ChangeBlacklist.scope",
                rule: "must be a node or a vCluster",
            });
        }
    };
    if let Some(vcluster) = vcluster {
        one_person_suffices(work, &vcluster)?;
    }
    Ok(Planned::nothing(scope))
}

/// Sets the whole list of a vCluster, as a specification does.
pub(super) fn replace(
    work: &mut Working<'_>,
    vcluster: &VclusterId,
    patterns: &[String],
) -> Result<(), Refusal> {
    let scope = Scope::Vcluster(vcluster.clone());
    let old = present(work, &scope);
    set(work, scope, old, patterns.to_vec())
}

fn present(work: &Working<'_>, scope: &Scope) -> Vec<String> {
    match scope {
        Scope::Vcluster(vcluster) => work.vcluster(vcluster).map(|record| record.blacklist),
        Scope::Node(node) => work.node(node).map(|record| record.blacklist),
        Scope::Global => None,
    }
    .unwrap_or_default()
}

/// Sorted and each once, so that equal lists are equal bytes.
fn set(
    work: &mut Working<'_>,
    scope: Scope,
    old: Vec<String>,
    mut new: Vec<String>,
) -> Result<(), Refusal> {
    new.sort();
    new.dedup();
    KeyPatterns::parse_blacklist(&new)?;
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|pattern| !those.contains(pattern)).cloned().collect()
    };
    let (added, removed) = (only(&new, &old), only(&old, &new));
    if added.is_empty() && removed.is_empty() {
        return Ok(());
    }
    let message =
        format!("blacklist of {scope}: {} patterns added, {} removed", added.len(), removed.len());
    let payload = entry::Payload::BlacklistChanged(v1::BlacklistChanged { added, removed });
    let seq = work.draft(Draft::new(EntryKind::BlacklistChanged, scope.clone(), message, payload));
    match &scope {
        Scope::Vcluster(vcluster) => {
            if let Some(mut record) = work.vcluster(vcluster) {
                let before = record.clone();
                record.blacklist = new;
                policy::check_size(vcluster, &before, &record)?;
                work.staged.vclusters.insert(vcluster.clone(), record);
            }
        }
        Scope::Node(node) => {
            if let Some(mut record) = work.node(node) {
                record.blacklist = new;
                work.staged.nodes.insert(node.clone(), record);
            }
        }
        Scope::Global => {}
    }
    work.staged.configured.insert(scope, seq);
    Ok(())
}

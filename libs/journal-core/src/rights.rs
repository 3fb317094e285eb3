//! Rights that the journal itself asks about, whoever was asked before.
//!
//! - Policies and members of the journal are a platform admin's, and so are keys that give root,
//!   whatever action declares them.
//! - Where two persons decide, one does not suffice.
//! - The right to act on nodes was judged where they are now. The gateway asks the policy, then
//!   proposes; a `move` may be committed in between. So an action on nodes says in which vCluster
//!   each of them was when the right was judged, and is refused when that is no longer so.

use pact_schemas::convert::{WireError, vcluster_of};
use pact_schemas::judged::{self, Places};
use pact_schemas::resource::{Change, KeyPatterns, ResourceKey, Value, gives_root};
use pact_schemas::v1::{Command, JudgedScope, NodeRecord, Principal, PrincipalKind};
use pact_schemas::{NodeId, NodeSet, VclusterId};

use crate::checks::{SHOWN_KEYS, shown};
use crate::declared::DeclaredScope;
use crate::planned::Planned;
use crate::refusal::Refusal;
use crate::working::Working;

/// Why a key gives root that is on nobody's list but the vCluster's.
const OF_SITE: &str = "it is among the vCluster's root_keys";

/// Versions of a key that are looked through for one that a platform admin declared.
const MAX_VERSIONS: usize = 64;

/// Whether a command may make vClusters, set policies and declare keys that give root.
pub(crate) fn is_platform_admin(command: &Command) -> bool {
    is_by_admin(command.author.as_ref())
}

/// Whatever lesser role sufficed for the operation. Services speak for themselves and have no role.
fn is_by_admin(author: Option<&Principal>) -> bool {
    author.is_some_and(|author| {
        author.kind() == PrincipalKind::Service
            || author.roles.iter().any(|role| role == "pact-platform-admin")
    })
}

/// Refuses plans that write what gives root, unless a platform admin asks. A key that is declared no
/// more becomes what it was before anybody declared it, and a value that a platform admin declared
/// there before is a platform admin's: both are everybody's to bring back.
///
/// # Errors
/// [`Refusal::GivesRoot`] naming the keys.
pub(crate) fn gives_no_root(
    work: &Working<'_>,
    by_admin: bool,
    planned: &[Planned],
) -> Result<(), Refusal> {
    if by_admin {
        return Ok(());
    }
    let mut keys = Vec::new();
    for (scope, changes) in planned.iter().filter_map(|p| Some((p.into.as_ref()?, &p.changes))) {
        let policy = work.vcluster(scope.vcluster()).and_then(|record| record.policy);
        let of_site = KeyPatterns::parse(&policy.unwrap_or_default().root_keys)?;
        for Change { key, old, new } in changes {
            let Some(value) = new else { continue };
            let reason = gives_root(key, old.as_ref(), Some(value));
            let reason = reason.or_else(|| of_site.matches(key).then_some(OF_SITE));
            if let Some(reason) = reason
                && !is_an_admins(work, scope, key, value)
            {
                keys.push(format!("{} ({reason})", shown(key)));
            }
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let count = keys.len();
    keys.truncate(SHOWN_KEYS);
    if count > SHOWN_KEYS {
        keys.push(format!("and {} more", count - SHOWN_KEYS));
    }
    Err(Refusal::GivesRoot { count, keys: keys.join(", ") })
}

/// Whether a platform admin declared this value of the key in this scope.
fn is_an_admins(
    work: &Working<'_>,
    scope: &DeclaredScope,
    key: &ResourceKey,
    value: &Value,
) -> bool {
    let mut at_seq = u64::MAX;
    for _ in 0..MAX_VERSIONS {
        let Some((seq, row)) = work.declared_at(scope, key, at_seq) else { return false };
        let is_it = row.value.as_ref() == Some(value);
        if is_it && work.entry(seq).is_some_and(|entry| is_by_admin(entry.author.as_ref())) {
            return true;
        }
        at_seq = seq.saturating_sub(1);
    }
    false
}

/// Refuses what needs a second person, for as long as nobody can be asked.
pub(crate) fn one_person_suffices(
    work: &Working<'_>,
    vcluster: &VclusterId,
) -> Result<(), Refusal> {
    let policy = work.vcluster(vcluster).and_then(|record| record.policy).unwrap_or_default();
    if policy.regulated == Some(true) || policy.two_person_approval == Some(true) {
        return Err(Refusal::NeedsApproval { vcluster: vcluster.clone() });
    }
    Ok(())
}

/// Refuses what was decided about an older state of the node (compare and set).
pub(crate) fn based_on(node: &NodeId, record: &NodeRecord, expected: u64) -> Result<(), Refusal> {
    if record.state_seq == expected {
        return Ok(());
    }
    Err(Refusal::Stale { node: node.clone(), expected, actual: record.state_seq })
}

/// Where the targets are, which all exist and are not revoked.
///
/// # Errors
/// Also when one of them is in another vCluster than the one where the right was judged.
pub(crate) fn placed(
    work: &Working<'_>,
    targets: &NodeSet,
    judged: &[JudgedScope],
) -> Result<Places, Refusal> {
    let mut places = Places::new();
    for node in targets.iter() {
        places.insert(node.clone(), vcluster_of(&work.live(node)?)?);
    }
    still_there(&places, judged)?;
    Ok(places)
}

/// Refuses an action of which a target is in another vCluster than the one where the right was
/// judged.
fn still_there(places: &Places, judged: &[JudgedScope]) -> Result<(), Refusal> {
    let judged = judged::read(judged, &places.keys().cloned().collect());
    for (node, then) in judged.map_err(WireError::from)? {
        let now = places.get(&node).cloned().flatten();
        if now != then {
            return Err(Refusal::Moved { node, then, now });
        }
    }
    Ok(())
}

/// As [`still_there`], of one node and its record.
pub(crate) fn node_still_there(
    node: &NodeId,
    record: &NodeRecord,
    judged: &[JudgedScope],
) -> Result<(), Refusal> {
    still_there(&Places::from([(node.clone(), vcluster_of(record)?)]), judged)
}

/// An action on a vCluster is judged there, one on a node that is not there nowhere.
pub(crate) fn nothing_judged(judged: &[JudgedScope]) -> Result<(), Refusal> {
    if judged.is_empty() {
        return Ok(());
    }
    let (field, rule) = ("Action.judged", "is for nodes that exist only");
    Err(Refusal::Wire(WireError::Bounds { field, rule }))
}

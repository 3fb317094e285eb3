//! What time alone ends: remembered request ids, and deltas, with an entry for each. The leader
//! ticks by itself.

use std::collections::BTreeMap;

use pact_schemas::convert::Scope;
use pact_schemas::resource::{Change, ResourceKey};
use pact_schemas::v1::{self, EntryKind, Tick, entry};
use prost::Message as _;

use super::{Asked, Origin, Rules, Terms};
use crate::declared::{Declared, DeclaredScope};
use crate::refusal::Refusal;
use crate::requests;
use crate::working::{Draft, Working};

/// Keys that one tick ends, so that a tick is no longer than a full batch. The next one goes on.
pub(crate) const EXPIRED_PER_TICK: usize = 4_096;
/// Bytes of changes after which a tick stops: entries of one batch are one row.
const BYTES_PER_TICK: usize = 2 * 1024 * 1024;

impl Rules for Tick {
    fn origin(&self) -> Origin {
        Origin::Unproposed
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        requests::forget(work, asked.time_nanos);
        expire(work, asked.time_nanos)?;
        Ok(Terms::NONE)
    }
}

/// Ends deltas that are over, a bounded number at a time, the earliest first.
fn expire(work: &mut Working<'_>, time_nanos: i64) -> Result<(), Refusal> {
    let mut due: BTreeMap<DeclaredScope, Vec<Change>> = BTreeMap::new();
    let mut bytes = 0;
    for (_, scope, key) in work.expired(time_nanos, EXPIRED_PER_TICK) {
        let Some(held) = work.held(&scope, &key).filter(|held| held.is_over(time_nanos)) else {
            continue;
        };
        let change = Change { key, old: Some(held.value), new: None };
        bytes += v1::Change::from(&change).encoded_len();
        due.entry(scope).or_default().push(change);
        if bytes > BYTES_PER_TICK {
            break;
        }
    }
    for (scope, mut changes) in due {
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        end(work, &scope, &changes)?;
    }
    Ok(())
}

fn end(work: &mut Working<'_>, scope: &DeclaredScope, changes: &[Change]) -> Result<(), Refusal> {
    // Only deltas have a time: a specification lasts until the next one.
    let DeclaredScope::Delta(vcluster, node) = scope else { return Ok(()) };
    let mut draft = Draft::new(
        EntryKind::DeltaExpired,
        Scope::Node(node.clone()),
        format!("{} keys of node {node} in {vcluster} expired", changes.len()),
        entry::Payload::DeltaExpired(v1::DeltaExpired {
            node: node.to_string(),
            vcluster: vcluster.to_string(),
        }),
    );
    draft.vclusters.insert(vcluster.clone());
    draft.is_closed = true;
    work.attach(&mut draft, changes)?;
    let rows: Vec<(ResourceKey, Declared)> =
        changes.iter().map(|change| (change.key.clone(), Declared::ENDED)).collect();
    let seq = work.draft(draft);
    work.declare(scope, seq, rows)
}

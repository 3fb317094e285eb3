//! The read `plan`: what an action would do, by the code that does it, in pages.

use pact_schemas::ErrorCode;
use pact_schemas::resource::{Change, ResourceKey};
use pact_schemas::v1::action::Action;
use pact_schemas::v1::{self, ChangeSet, DeltaConflict, PlanReply, PlannedScope};

use crate::action::{Trial, rules};
use crate::planned::{DeltaBeside, Planned};
use crate::view::StateView;
use crate::working::Working;

/// Deltas that a plan lists, of each kind.
const MAX_LISTED_DELTAS: usize = 256;

/// What an action would do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Scope by scope, as far as it could be planned.
    pub(crate) scopes: Vec<Planned>,
    /// Why it would be refused.
    pub(crate) refused: Option<v1::Error>,
}

/// Plans an action, and tries it on a copy that is thrown away. What a platform admin alone may is
/// refused to others here as there; whether the caller may ask at all is not looked at.
pub fn plan(view: &dyn StateView, action: &Action, trial: Trial) -> Plan {
    let mut work = Working::new(view);
    let mut scopes = Vec::new();
    let tried = rules(action).try_out(&mut work, trial, &mut scopes);
    Plan { scopes, refused: tried.err().map(v1::Error::from) }
}

impl Plan {
    /// As much as there is room for; what is left out is counted. `after` is the last key of the
    /// page before, of a plan whose first page the caller has.
    ///
    /// # Errors
    /// `PACT_INVALID_ARGUMENT` for a later page of a plan that has one page alone.
    pub fn page(
        mut self,
        after: Option<&ResourceKey>,
        room_bytes: usize,
    ) -> Result<PlanReply, v1::Error> {
        if let Some(after) = after {
            self.go_on(after)?;
        }
        let mut room = room_bytes;
        let scopes = self.scopes.iter().map(|scope| to_planned_scope(scope, &mut room)).collect();
        Ok(PlanReply { scopes, refused: self.refused })
    }

    /// Leaves the changes of later keys.
    fn go_on(&mut self, after: &ResourceKey) -> Result<(), v1::Error> {
        match self.scopes.as_mut_slice() {
            [] => Ok(()), // it would be refused, and that is said
            [one] if one.conflicts.is_empty() && one.absorbed.is_empty() => {
                one.changes.retain(|change| change.key > *after);
                Ok(())
            }
            _ => Err(ErrorCode::InvalidArgument
                .error("PlanRequest.after is for plans of one scope that meet no deltas")),
        }
    }
}

fn to_planned_scope(planned: &Planned, room: &mut usize) -> PlannedScope {
    let conflicts = fitting(&planned.conflicts, MAX_LISTED_DELTAS, room, delta);
    let absorbed = fitting(&planned.absorbed, MAX_LISTED_DELTAS, room, delta);
    let changes = fitting(&planned.changes, usize::MAX, room, |change: &Change| change.into());
    let left_out = |all: usize, listed: usize| u32::try_from(all - listed).unwrap_or(u32::MAX);
    PlannedScope {
        scope: Some(v1::Scope::from(&planned.scope)),
        omitted_changes: left_out(planned.changes.len(), changes.len()),
        omitted_deltas: left_out(
            planned.conflicts.len() + planned.absorbed.len(),
            conflicts.len() + absorbed.len(),
        ),
        changes: Some(ChangeSet { changes, chunks: Vec::new() }),
        conflicts,
        absorbed,
    }
}

fn delta(delta: &DeltaBeside) -> DeltaConflict {
    DeltaConflict {
        node: delta.node.to_string(),
        key: delta.key.as_str().to_owned(),
        node_value: Some(v1::Value::from(&delta.node_value)),
        overlay_value: Some(v1::Value::from(&delta.overlay_value)),
    }
}

fn fitting<T, M: prost::Message>(
    items: &[T],
    limit: usize,
    room: &mut usize,
    to_wire: impl Fn(&T) -> M,
) -> Vec<M> {
    let mut fitting = Vec::new();
    for message in items.iter().take(limit).map(to_wire) {
        let Some(left) = room.checked_sub(message.encoded_len()) else { break };
        *room = left;
        fitting.push(message);
    }
    fitting
}

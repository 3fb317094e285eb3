//! `extend`: more time before the commit windows of some nodes end. The nodes know their windows; the grant tells them.

use std::collections::BTreeSet;

use pact_schemas::v1::{self, Command, EntryKind, ExtendWindow, entry};
use pact_schemas::{NodeSet, VclusterId};

use crate::exec::scope_of;
use crate::judged;
use crate::refusal::Refusal;
use crate::working::{Draft, Working};

/// Longest extension at once: a day, as grants have it.
const MAX_MINUTES: u32 = 1_440;

/// Records the extension.
pub(crate) fn apply(
    work: &mut Working<'_>,
    command: &Command,
    extend: &ExtendWindow,
) -> Result<(), Refusal> {
    if command.request_id.is_none() {
        return Err(Refusal::RequestIdMissing);
    }
    if !(1..=MAX_MINUTES).contains(&extend.minutes) {
        return Err(Refusal::Argument { field: "minutes", rule: "must be between 1 and 1,440" });
    }
    let targets = NodeSet::parse(&extend.targets)?;
    let placed = judged::placed(work, &targets, &extend.judged)?;
    let vclusters: BTreeSet<Option<VclusterId>> = placed.into_values().collect();
    let folded = targets.fold();
    let mut draft = Draft::new(
        EntryKind::WindowExtended,
        scope_of(&targets, &vclusters),
        format!("commit window of {folded} extended by {} minutes", extend.minutes),
        entry::Payload::WindowExtended(v1::WindowExtended {
            targets: folded,
            minutes: extend.minutes,
        }),
    );
    draft.vclusters = vclusters.into_iter().flatten().collect();
    draft.nodes = targets.iter().cloned().collect();
    work.draft(draft);
    Ok(())
}

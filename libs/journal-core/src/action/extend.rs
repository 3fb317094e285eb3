//! `extend`: more time before the commit windows of some nodes end. The nodes know their windows;
//! the grant tells them.

use pact_schemas::v1::action::Action;
use pact_schemas::v1::entry::Payload;
use pact_schemas::v1::{
    EntryKind, ExtendAction, ExtendWindow, JudgedScope, WindowExtended, grant_payload,
};
use pact_schemas::{Minutes, NodeSet};

use super::{Asked, Granted, Origin, Rules, Terms};
use crate::refusal::Refusal;
use crate::rights;
use crate::working::{Draft, Working};

impl Rules for ExtendWindow {
    fn origin(&self) -> Origin {
        Origin::Gateway(&["extend"])
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        asked.once()?;
        let minutes = Minutes::try_from(self.minutes).map_err(Refusal::argument)?;
        let targets = NodeSet::parse(&self.targets)?;
        let placed = rights::placed(work, &targets, &self.judged)?;
        let folded = targets.fold();
        work.draft(Draft::on_nodes(
            EntryKind::WindowExtended,
            &targets,
            placed.into_values().collect(),
            &self.judged,
            format!("commit window of {folded} extended by {minutes} minutes"),
            Payload::WindowExtended(WindowExtended { targets: folded, minutes: minutes.get() }),
        ));
        Ok(Terms::NONE)
    }

    fn judged_in(&self, judged: Vec<JudgedScope>) -> Option<Action> {
        Some(Action::ExtendWindow(Self { judged, ..self.clone() }))
    }

    fn is_granted(&self) -> bool {
        true
    }

    fn granted(&self, done: Payload, _terms: Terms) -> Option<Granted> {
        let Payload::WindowExtended(extended) = done else { return None };
        Some(Granted {
            operation: "extend",
            targets: extended.targets,
            action: grant_payload::Action::Extend(ExtendAction { minutes: extended.minutes }),
        })
    }
}

//! A first contact that was refused. Whoever made it may have claimed any name.

use pact_schemas::NodeId;
use pact_schemas::convert::{Scope, required};
use pact_schemas::v1::{EntryKind, RejectEnrolment, entry};

use super::{Asked, Origin, Rules, Terms};
use crate::checks::{MAX_TEXT_BYTES, short};
use crate::refusal::Refusal;
use crate::working::{Draft, Working};

impl Rules for RejectEnrolment {
    fn origin(&self) -> Origin {
        Origin::Enroll
    }

    fn apply(&self, work: &mut Working<'_>, _asked: &Asked<'_>) -> Result<Terms, Refusal> {
        let rejected = required(self.rejected.as_ref(), "RejectEnrolment.rejected")?;
        short(&rejected.code, "EnrolmentRejected.code")?;
        if [&rejected.node, &rejected.reason, &rejected.source]
            .iter()
            .any(|t| t.len() > MAX_TEXT_BYTES)
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
        Ok(Terms::NONE)
    }
}

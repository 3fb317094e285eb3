//! A refusal that a verified principal met. It is recorded under the operation that was refused.

use pact_schemas::convert::{Scope, required};
use pact_schemas::v1::{EntryKind, RecordDenied, entry};

use super::{Asked, Origin, Rules, Terms};
use crate::checks::{MAX_TEXT_BYTES, about, short};
use crate::refusal::Refusal;
use crate::working::{Draft, Working};

impl Rules for RecordDenied {
    fn origin(&self) -> Origin {
        Origin::AnyOfGateway
    }

    fn apply(&self, work: &mut Working<'_>, _asked: &Asked<'_>) -> Result<Terms, Refusal> {
        let scope = Scope::try_from(required(self.scope.as_ref(), "RecordDenied.scope")?)?;
        let denied = required(self.denied.as_ref(), "RecordDenied.denied")?;
        short(&denied.operation, "Denied.operation")?;
        short(&denied.code, "Denied.code")?;
        if denied.target.len() > MAX_TEXT_BYTES * 4 || denied.reason.len() > MAX_TEXT_BYTES {
            return Err(Refusal::Argument {
                field: "Denied",
                rule: "may hold a target of 4 KiB and a reason of 1 KiB",
            });
        }
        let message = format!("{} denied: {}", denied.operation, denied.code);
        let payload = entry::Payload::Denied(denied.clone());
        let draft = Draft::new(EntryKind::Denied, scope, message, payload);
        work.draft(about(draft, &self.vclusters, &denied.target)?);
        Ok(Terms::NONE)
    }
}

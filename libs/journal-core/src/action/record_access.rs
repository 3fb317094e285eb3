//! Reading, aggregated by the gateway. It is recorded under the operation that read.

use pact_schemas::convert::{self, Scope, required};
use pact_schemas::v1::{EntryKind, RecordAccess, entry};

use super::{Asked, Origin, Rules, Terms};
use crate::checks::{MAX_TEXT_BYTES, about, short};
use crate::refusal::Refusal;
use crate::working::{Draft, Working};

impl Rules for RecordAccess {
    fn origin(&self) -> Origin {
        Origin::AnyOfGateway
    }

    fn apply(&self, work: &mut Working<'_>, _asked: &Asked<'_>) -> Result<Terms, Refusal> {
        let scope = Scope::try_from(required(self.scope.as_ref(), "RecordAccess.scope")?)?;
        let accessed = required(self.accessed.as_ref(), "RecordAccess.accessed")?;
        short(&accessed.operation, "Accessed.operation")?;
        convert::unix_nanos(accessed.minute.as_ref(), "Accessed.minute")?;
        if accessed.count == 0 || accessed.target.len() > MAX_TEXT_BYTES * 4 {
            return Err(Refusal::Argument {
                field: "Accessed",
                rule: "must count from 1 and name a target of 4 KiB at most",
            });
        }
        let message = format!("{} {} times", accessed.operation, accessed.count);
        let payload = entry::Payload::Accessed(accessed.clone());
        let draft = Draft::new(EntryKind::Accessed, scope, message, payload);
        work.draft(about(draft, &self.vclusters, &accessed.target)?);
        Ok(Terms::NONE)
    }
}

//! Grants for something other than a command: verified and used up exactly as those of commands are.

use pact_identity::{Grant, GrantedAction};
use pact_schemas::{ErrorCode, v1};

use super::{Engine, clock_unknown, not_taken};

impl Engine {
    /// Verifies a grant, lets `check` look at what it is for, and uses it up. On `Ok` its use is on disk.
    pub(crate) async fn take_grant(
        &self,
        signed: &v1::SignedGrant,
        check: impl FnOnce(&GrantedAction) -> Result<(), v1::Error> + Send,
    ) -> Result<Grant, v1::Error> {
        let parts = &self.parts;
        let time = parts.plane.now().ok_or_else(clock_unknown)?;
        let grant = self.verified(signed, time)?;
        check(grant.action())?;
        let (seq, expires) = (grant.seq(), grant.expires());
        let taken = parts
            .ledger
            .call(move |ledger| ledger.take(seq, expires, time.now))
            .await
            .map_err(|gone| ErrorCode::Internal.error(gone.to_string()))?;
        taken.map_err(|error| not_taken(&error))?;
        Ok(grant)
    }
}

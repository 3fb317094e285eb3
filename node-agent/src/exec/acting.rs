//! Grants for something other than a command: verified and used up exactly as those of commands are, by the same clock.

use std::time::Duration;

use pact_identity::{Grant, GrantedAction};
use pact_schemas::{ErrorCode, v1};

use super::{Engine, clock_unknown, not_taken};
use crate::time::PlaneTime;

/// How long a grant waits for the first fix of an agent that has just come: it takes some ten answers of the journal. Shorter
/// than the leeway within which a grant may be older than the first fix.
const FIX_PATIENCE: Duration = Duration::from_millis(1_500);

impl Engine {
    /// The time that a grant is judged by; that of an agent which has just come is waited for.
    ///
    /// # Errors
    /// `PACT_CLOCK_UNKNOWN` when there is none by then.
    pub(super) async fn time_of_judgement(&self) -> Result<PlaneTime, v1::Error> {
        self.parts.plane.known_within(FIX_PATIENCE).await.ok_or_else(clock_unknown)
    }

    /// Verifies a grant, lets `check` look at what it is for, and uses it up. On `Ok` its use is on disk.
    pub(crate) async fn take_grant(
        &self,
        signed: &v1::SignedGrant,
        check: impl FnOnce(&GrantedAction) -> Result<(), v1::Error> + Send,
    ) -> Result<Grant, v1::Error> {
        let parts = &self.parts;
        let time = self.time_of_judgement().await?;
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

//! What handlers hold.

use std::sync::Arc;

use pact_identity::{GrantIssuer, Verifier};
use pact_runtime::{Clock, Timestamp};
use pact_schemas::{ErrorCode, SiteName, v1};

use crate::handlers::Documents;
use crate::handlers::quota::Quotas;
use crate::raft::clocks::ClockFault;
use crate::raft::member::Member;

/// Everything that a handler needs. Clones are one.
#[derive(Clone)]
pub struct Context {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) member: Member,
    pub(crate) site: SiteName,
    /// Checks attestations against the site root.
    pub(crate) verifier: Verifier,
    /// This member's key for grants and plane time.
    pub(crate) issuer: GrantIssuer,
    pub(crate) clock: Clock,
    /// What nodes may still report.
    pub(crate) quotas: Quotas,
    /// Documents of declared state that nodes ask for.
    pub(crate) documents: Documents,
}

impl Context {
    /// A context of a running member.
    pub fn new(member: Member, verifier: Verifier, issuer: GrantIssuer, clock: Clock) -> Self {
        let site = member.config().site.clone();
        Self {
            inner: Arc::new(Inner {
                member,
                site,
                verifier,
                issuer,
                clock,
                quotas: Quotas::default(),
                documents: Documents::default(),
            }),
        }
    }

    pub(crate) fn member(&self) -> &Member {
        &self.inner.member
    }

    /// The time, if this member may sign anything that depends on it.
    pub(crate) fn signing_time(&self) -> Result<Timestamp, v1::Error> {
        self.member().clocks().now().map_err(|fault| fault.error(ErrorCode::ClockUnknown))
    }

    /// The time that a head of a configuration is issued at. Nodes take none that is a minute old, so a clock that is known to be
    /// wrong is no good; one that nobody contradicts is, or a member that is cut off would leave its nodes without.
    pub(crate) fn issue_time(&self) -> Result<Timestamp, v1::Error> {
        match self.member().clocks().now() {
            Ok(now) => Ok(now),
            Err(ClockFault::Unknown { .. }) => Ok(self.inner.clock.now()),
            Err(fault @ ClockFault::Off { .. }) => Err(fault.error(ErrorCode::ClockUnknown)),
        }
    }

    /// Waits until this member has applied everything that was acknowledged before, unless the caller does not care.
    pub(crate) async fn current(&self, stale: bool) -> Result<(), v1::Error> {
        if stale { Ok(()) } else { self.member().linearizable().await }
    }
}

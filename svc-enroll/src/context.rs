//! What every handler works with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pact_bus::Bus;
use pact_runtime::{Clock, Timestamp};
use pact_schemas::SiteName;

use crate::authority::Authority;
use crate::core::liveness::LivenessTable;
use crate::core::refusals::Refusals;
use crate::journal::Journal;
use crate::revocation::Revoker;

/// The service's parts; shared by all handlers and the sweep.
pub(crate) struct Enrolment {
    pub(crate) site: SiteName,
    pub(crate) clock: Clock,
    pub(crate) bus: Bus,
    pub(crate) journal: Journal,
    pub(crate) authority: Authority,
    pub(crate) revoker: Revoker,
    /// What agents are told.
    pub(crate) agent_urls: Vec<String>,
    /// Until when this service's own signatures are believed.
    pub(crate) signing_ends: Timestamp,
    liveness: Mutex<LivenessTable>,
    refusals: Mutex<Refusals>,
}

/// Shared by all requests.
pub(crate) type Shared = Arc<Enrolment>;

/// The parts that [`Enrolment::new`] is made of.
pub(crate) struct Parts {
    pub(crate) site: SiteName,
    pub(crate) clock: Clock,
    pub(crate) bus: Bus,
    pub(crate) journal: Journal,
    pub(crate) authority: Authority,
    pub(crate) revoker: Revoker,
    pub(crate) agent_urls: Vec<String>,
    pub(crate) signing_ends: Timestamp,
    pub(crate) liveness: LivenessTable,
}

impl Enrolment {
    pub(crate) fn new(parts: Parts) -> Shared {
        Arc::new(Self {
            site: parts.site,
            clock: parts.clock,
            bus: parts.bus,
            journal: parts.journal,
            authority: parts.authority,
            revoker: parts.revoker,
            agent_urls: parts.agent_urls,
            signing_ends: parts.signing_ends,
            liveness: Mutex::new(parts.liveness),
            refusals: Mutex::default(),
        })
    }

    /// The hello table. Never held across an await.
    pub(crate) fn liveness(&self) -> MutexGuard<'_, LivenessTable> {
        // Nothing under this lock can panic half-way through a change.
        self.liveness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of refusals. Never held across an await.
    pub(crate) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        // As above.
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

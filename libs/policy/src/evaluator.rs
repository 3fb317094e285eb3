//! The evaluator: bundles in use, threads, deadline, reload.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pact_runtime::Clock;

use crate::bundle::{Bundle, BundleError, Limits};
use crate::decision::Decision;
use crate::pool::Pool;
use crate::question::Question;

/// Why there is no evaluator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A bundle is not usable.
    #[error("the policy bundle is refused")]
    Bundle(#[from] BundleError),
    /// No threads.
    #[error("cannot start the policy threads")]
    Threads(#[source] io::Error),
}

/// Answers questions; cheap to clone.
#[derive(Clone)]
pub struct Evaluator {
    bundle: Arc<ArcSwap<Bundle>>,
    site: Option<Arc<PathBuf>>,
    limits: Limits,
    pool: Pool,
    clock: Clock,
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluator").field("policy_ref", &self.policy_ref()).finish_non_exhaustive()
    }
}

impl Evaluator {
    /// Compiles the default bundle and, if one is named, the site's folder, and starts the threads.
    ///
    /// # Errors
    /// [`StartError`]; a bundle's error names file and line.
    pub fn start(site: Option<PathBuf>, limits: Limits, clock: Clock) -> Result<Self, StartError> {
        let bundle = load(site.as_ref(), limits)?;
        let pool = Pool::start().map_err(StartError::Threads)?;
        tracing::info!(policy_ref = bundle.policy_ref(), "policy");
        let bundle = Arc::new(ArcSwap::from_pointee(bundle));
        Ok(Self { bundle, site: site.map(Arc::new), limits, pool, clock })
    }

    /// Reads the site's folder again. On an error the bundle in use stays.
    ///
    /// Compiles in the caller's thread: call it from `spawn_blocking`.
    ///
    /// # Errors
    /// [`BundleError`] with file and line.
    pub fn reload(&self) -> Result<String, BundleError> {
        let bundle = load(self.site.as_deref(), self.limits)?;
        let policy_ref = bundle.policy_ref().to_owned();
        self.bundle.store(Arc::new(bundle));
        Ok(policy_ref)
    }

    /// What decisions refer to at present.
    #[must_use]
    pub fn policy_ref(&self) -> String {
        self.bundle.load().policy_ref().to_owned()
    }

    /// Decides, within [`Limits::answer`]. Whatever goes wrong is a refusal.
    pub async fn decide(&self, question: &Question) -> Decision {
        let bundle = self.bundle.load_full();
        let policy_ref = bundle.policy_ref().to_owned();
        let decision = match self.pool.submit(bundle, question.input()) {
            None => Decision::undecided(policy_ref, "too many decisions are waiting; try again"),
            Some(answer) => match self.clock.timeout(self.limits.answer, answer).await {
                Ok(Ok(decision)) => decision,
                Ok(Err(_gone)) => Decision::undecided(policy_ref, "the policy engine ended"),
                Err(late) => {
                    let reason = format!("no decision within {} ms", late.limit.as_millis());
                    Decision::undecided(policy_ref, reason)
                }
            },
        };
        metrics::counter!("pact_policy_decisions_total", "result" => decision.name()).increment(1);
        decision
    }
}

fn load(site: Option<&PathBuf>, limits: Limits) -> Result<Bundle, BundleError> {
    match site {
        Some(folder) => Bundle::with_site(folder, limits),
        None => Bundle::default_only(limits),
    }
}

//! Who leads, as far as is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pact_runtime::Clock;
use pact_schemas::{MemberId, v1};

/// The member that led last, shared by all clones of a client.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    clock: Clock,
    state: Arc<Mutex<State>>,
    is_missing: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<MemberId>,
    /// Questions since it was known, and when the first of them was asked.
    search: Option<Search>,
}

#[derive(Debug)]
struct Search {
    since: std::time::Duration,
    questions: u32,
}

impl Leader {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, state: Arc::default(), is_missing: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known(&self) -> Option<MemberId> {
        self.lock().known
    }

    /// Whether members said last that none leads, or could not do without one.
    pub(crate) fn is_missing(&self) -> bool {
        self.is_missing.load(Ordering::Relaxed)
    }

    /// A member did what needs a leader, or said that there is none.
    pub(crate) fn missing(&self, is_missing: bool) {
        self.is_missing.store(is_missing, Ordering::Relaxed);
    }

    /// Somebody is about to ask who leads.
    pub(crate) fn asking(&self) {
        let mut state = self.lock();
        let since = self.clock.monotonic();
        let search = state.search.get_or_insert(Search { since, questions: 0 });
        search.questions += 1;
        let questions = search.questions;
        drop(state);
        metrics::counter!("pact_journal_leader_searches_total").increment(1);
        if questions == 1 {
            tracing::info!("looking for the journal's leader");
        }
    }

    /// What a member has said about who leads.
    pub(crate) fn found(&self, member: MemberId) {
        let mut state = self.lock();
        let before = state.known.replace(member);
        let search = state.search.take();
        drop(state);
        if before == Some(member) {
            return;
        }
        let (took, questions) = search.map_or_else(Default::default, |search| {
            (self.clock.monotonic().saturating_sub(search.since), search.questions)
        });
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            leader = member.get(),
            questions,
            milliseconds,
            "the journal's leader is found"
        );
    }

    /// The attempt at `member` failed: it is not believed to lead any more.
    pub(crate) fn lost(&self, member: MemberId, why: &v1::Error) {
        let mut state = self.lock();
        // Somebody else may have found the next one meanwhile.
        if state.known == Some(member) {
            state.known = None;
            drop(state);
            tracing::info!(
                member = member.get(),
                code = why.code,
                cause = why.cause,
                "{}; the journal's leader is looked for again",
                why.message
            );
        }
    }
}

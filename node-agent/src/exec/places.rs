//! The node's places for commands: how many run at once, and how many of them are one principal's.
//!
//! Nobody takes a node for themselves: a principal has a share of the places. The last ones are for platform admins and
//! emergencies, so that whoever has to set things right is never kept waiting by commands of others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pact_identity::{Grant, Role};
use pact_schemas::{ErrorCode, v1};

/// Commands at once. A node serves its jobs first; one more is answered `PACT_BUSY`.
const PLACES: usize = 16;

/// Of these, commands of one principal at most: half, so that two may work and a third is not shut out by one.
const SHARE: usize = 8;

/// Of these, kept for platform admins and emergencies.
const RESERVE: usize = 4;

/// The places; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    /// One for each running command, [`PLACES`] at most.
    taken: Vec<Taken>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Taken {
    issuer: String,
    subject: String,
    /// The reserve is there for it.
    is_preferred: bool,
}

/// A command's place. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place {
    state: Arc<Mutex<State>>,
    taken: Taken,
}

impl Places {
    /// Takes a place for the command of a grant.
    ///
    /// # Errors
    /// `PACT_BUSY`: the principal has its share, no place is left for it, or [`Places::close`] was called.
    pub(super) fn take(&self, grant: &Grant) -> Result<Place, v1::Error> {
        let principal = grant.principal();
        let is_admin = principal.roles().contains(&Role::PlatformAdmin);
        let is_preferred = is_admin || grant.emergency().is_some();
        let (issuer, subject) = (principal.issuer().to_owned(), principal.subject().to_owned());
        self.take_for(Taken { issuer, subject, is_preferred })
    }

    /// No place is taken any more.
    pub(super) fn close(&self) {
        lock(&self.state).is_closed = true;
    }

    fn take_for(&self, wanted: Taken) -> Result<Place, v1::Error> {
        let mut state = lock(&self.state);
        state.check(&wanted)?;
        state.taken.push(wanted.clone());
        Ok(Place { state: Arc::clone(&self.state), taken: wanted })
    }
}

impl State {
    fn check(&self, wanted: &Taken) -> Result<(), v1::Error> {
        if self.is_closed {
            let stopping = ErrorCode::Busy.error("the agent of this node is stopping");
            return Err(stopping.next("try again when it is back"));
        }
        let Taken { issuer, subject, .. } = wanted;
        let own = self.taken.iter().filter(|at| at.issuer == *issuer && at.subject == *subject);
        if own.count() >= SHARE {
            return Err(busy(&format!(
                "{SHARE} commands of {subject} run on this node already, which is one principal's share"
            )));
        }
        if self.taken.len() >= PLACES {
            return Err(busy(&format!("{PLACES} commands run on this node already")));
        }
        let open = PLACES - RESERVE;
        let others = self.taken.iter().filter(|at| !at.is_preferred).count();
        if !wanted.is_preferred && others >= open {
            return Err(busy(&format!(
                "{open} commands run on this node already; {RESERVE} more places are for platform admins and emergencies"
            )));
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let Some(at) = state.taken.iter().position(|taken| *taken == self.taken) {
            state.taken.swap_remove(at);
        }
    }
}

/// Every change under the lock is one step, so that what a panicking holder leaves is whole.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn busy(message: &str) -> v1::Error {
    ErrorCode::Busy.error(message).next("try again when one of them has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(subject: &str, is_preferred: bool) -> Taken {
        let issuer = "https://idp.example".to_owned();
        Taken { issuer, subject: subject.to_owned(), is_preferred }
    }

    fn refusal(places: &Places, wanted: Taken) -> String {
        let error = places.take_for(wanted).unwrap_err();
        assert_eq!(error.known_code(), ErrorCode::Busy);
        error.message
    }

    #[test]
    fn nobody_has_more_than_a_share_and_the_reserve_is_kept() {
        let places = Places::default();
        let take = |subject: &str, is_preferred, count| -> Vec<Place> {
            (0..count).map(|_| places.take_for(of(subject, is_preferred)).unwrap()).collect()
        };
        let mut alice = take("alice", false, SHARE);
        assert!(refusal(&places, of("alice", false)).contains("commands of alice"));
        assert!(refusal(&places, of("alice", true)).contains("share"), "in an emergency too");
        let bob = take("bob", false, PLACES - RESERVE - SHARE);
        assert!(refusal(&places, of("bob", false)).contains("platform admins"));
        let _admin = take("admin", true, RESERVE);
        assert_eq!(
            refusal(&places, of("admin", true)),
            format!("{PLACES} commands run on this node already")
        );
        // What ends makes room for whoever comes first, and the reserve stays one.
        alice.pop();
        let _carol = take("carol", false, 1);
        assert!(refusal(&places, of("alice", false)).contains("run on this node already"));
        drop(bob);
        let _again = take("carol", false, PLACES - RESERVE - SHARE);
    }

    #[test]
    fn admins_do_not_use_up_what_is_open_to_all_before_they_must() {
        let places = Places::default();
        let _admin: Vec<_> =
            (0..RESERVE).map(|_| places.take_for(of("admin", true)).unwrap()).collect();
        let _alice: Vec<_> =
            (0..SHARE).map(|_| places.take_for(of("alice", false)).unwrap()).collect();
        let open = PLACES - RESERVE - SHARE;
        let _bob: Vec<_> = (0..open).map(|_| places.take_for(of("bob", false)).unwrap()).collect();
    }

    #[test]
    fn no_place_is_given_when_the_agent_stops() {
        let places = Places::default();
        let _running = places.take_for(of("alice", false)).unwrap();
        places.close();
        assert!(refusal(&places, of("admin", true)).contains("stopping"));
    }
}

//! Which commands ran when: drift that came while exactly one was running is told with that command.
//!
//! A hint for people, never a proof: what a command left running, or somebody did beside it, looks alike.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pact_runtime::Clock;
use pact_schemas::Seq;
use tokio::sync::Notify;

/// Ended commands that are remembered: changes are looked at a moment after they happen.
const KEPT: usize = 64;

/// The commands of this agent; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    clock: Clock,
    known: Arc<Mutex<VecDeque<Session>>>,
    ended: Arc<Notify>,
}

#[derive(Debug)]
struct Session {
    seq: Seq,
    began: Duration,
    /// CLOCK_BOOTTIME; `None`: it runs.
    ended: Option<Duration>,
}

/// One running command; ends when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    sessions: Sessions,
    seq: Seq,
}

impl Sessions {
    /// No command yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, known: Arc::default(), ended: Arc::default() }
    }

    /// A command begins.
    pub(crate) fn begin(&self, seq: Seq) -> Running {
        let began = self.clock.boot_time();
        let mut known = self.lock();
        if known.len() >= KEPT {
            let oldest = known.iter().position(|session| session.ended.is_some());
            oldest.and_then(|at| known.remove(at));
        }
        known.push_back(Session { seq, began, ended: None });
        Running { sessions: self.clone(), seq }
    }

    /// The only command that ran at any time since `from` (CLOCK_BOOTTIME).
    pub(crate) fn only_since(&self, from: Duration) -> Option<Seq> {
        let known = self.lock();
        let mut ran = known.iter().filter(|session| session.ended.is_none_or(|end| end >= from));
        let first = ran.next()?;
        ran.next().is_none().then_some(first.seq)
    }

    /// Waits until a command has ended: a good moment to look. Cancel-safe.
    pub(crate) async fn one_ended(&self) {
        self.ended.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Session>> {
        // Nothing under this lock can panic half-way through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let now = self.sessions.clock.boot_time();
        let mut known = self.sessions.lock();
        let own = known.iter_mut().rev().find(|session| session.seq == self.seq);
        if let Some(session) = own {
            session.ended = Some(now.max(session.began));
        }
        drop(known);
        self.sessions.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use pact_runtime::Timestamp;

    use super::*;

    #[test]
    fn only_a_command_that_ran_alone_is_named() {
        let (clock, hand) = Clock::manual(Timestamp::from_unix_nanos(0));
        let sessions = Sessions::new(clock.clone());
        let seq = |number| Seq::new(number).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(sessions.only_since(Duration::ZERO), None);
        let first = sessions.begin(seq(1));
        assert_eq!(sessions.only_since(clock.boot_time()), Some(seq(1)));
        hand.advance(second);
        let other = sessions.begin(seq(2));
        assert_eq!(sessions.only_since(clock.boot_time()), None);
        hand.advance(second);
        drop(first);
        hand.advance(second);
        assert_eq!(sessions.only_since(clock.boot_time()), Some(seq(2)));
        assert_eq!(sessions.only_since(2 * second), None, "the first ran then too");
        drop(other);
        for number in 3..200 {
            hand.advance(second);
            drop(sessions.begin(seq(number)));
        }
        assert_eq!(sessions.only_since(clock.boot_time()), Some(seq(199)));
        assert!(sessions.lock().len() <= KEPT);
    }
}

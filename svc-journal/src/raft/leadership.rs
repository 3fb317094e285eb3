//! Who leads, in every member's log: each change of leader and of term, once.

use pact_runtime::CancellationToken;

use super::member::Member;

impl Member {
    /// Logs who leads, and each change of it, until `stop`.
    pub(super) async fn tell_leadership(self, stop: CancellationToken) {
        let mut metrics = self.inner.raft.metrics();
        let mut told = None;
        loop {
            let now = {
                let metrics = metrics.borrow_and_update();
                (metrics.current_term, metrics.current_leader)
            };
            if told.replace(now) != Some(now) {
                let (term, leader) = now;
                match leader {
                    Some(leader) if leader == self.id() => {
                        tracing::info!(term, leader, "this member leads");
                    }
                    Some(leader) => tracing::info!(term, leader, "another member leads"),
                    None => tracing::info!(term, "nobody leads"),
                }
            }
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe: a token
                changed = metrics.changed() => if changed.is_err() { return }, // cancel-safe: a watch
            }
        }
    }
}

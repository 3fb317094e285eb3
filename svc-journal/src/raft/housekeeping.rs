//! What a member does beside its calls: snapshots, metrics, and what only the leader proposes.

use std::time::Duration;

use openraft::ServerState;
use pact_journal_core::apply::COMMAND_VERSION;
use pact_runtime::CancellationToken;
use pact_schemas::v1::{
    self, Action, AnnounceMembers, Command, MemberAddress, MemberChangeEnd, Principal, Tick, action,
};

use super::member::Member;
use crate::store::{declared, query};

/// How often it is looked whether there is something to do.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Request ids are looked after this often.
const TICK_INTERVAL: Duration = Duration::from_secs(10);
/// Commands that forget 20,000 request ids each, before other housekeeping has its turn: more than come in a second.
const TICKS_AT_ONCE: usize = 5;
/// Snapshots are at least this far apart.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(60);
/// A log of this size is cut by a snapshot, however few its entries are.
const MAX_LOG_BYTES: u64 = 256 * 1024 * 1024;

impl Member {
    /// Looks after the member until `stop`.
    pub(super) async fn housekeeping(self, stop: CancellationToken) {
        let clock = &self.inner.clock;
        let start = clock.monotonic();
        let (mut snapshot_at, mut tick_at) = (start, start);
        loop {
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe
                () = clock.sleep(HOUSEKEEPING) => {} // cancel-safe
            }
            let now = clock.monotonic();
            self.record_metrics();
            if now.saturating_sub(snapshot_at) >= SNAPSHOT_PAUSE && self.needs_snapshot() {
                snapshot_at = now;
                // Fails only when Raft has ended, which the guard sees.
                drop(self.inner.raft.trigger().snapshot().await);
            }
            if self.is_leader() {
                let is_due = now.saturating_sub(tick_at) >= TICK_INTERVAL;
                self.announce().await;
                if declared::is_due(&self.inner.cell.load(), clock.now()) {
                    self.propose_own(action::Action::Tick(Tick {})).await;
                }
                if is_due && self.forget_requests().await {
                    tick_at = now;
                }
            }
        }
    }

    fn needs_snapshot(&self) -> bool {
        let metrics = self.inner.raft.metrics().borrow().clone();
        let applied = metrics.last_applied.map_or(0, |id| id.index);
        let covered = metrics.snapshot.map_or(0, |id| id.index);
        applied.saturating_sub(covered) >= self.inner.config.snapshot_interval
            || (applied > covered && self.inner.log.size_bytes() > MAX_LOG_BYTES)
    }

    /// Who the members are, and which of them have ever had a log: on what a member that lost its own is refused.
    async fn announce(&self) {
        let metrics = self.inner.raft.metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        // What is not committed may come otherwise, and what is half-way is announced when it is done.
        if !self.is_committed() || membership.get_joint_config().len() != 1 {
            return;
        }
        let announced = self.membership().members;
        if announced != self.members_now(&announced) {
            self.announce_end(None).await;
        }
    }

    /// The members as they are, and the end of a change with them.
    pub(super) async fn announce_end(&self, ended: Option<MemberChangeEnd>) {
        // A new leader may not have applied yet what the last one announced.
        if self.linearizable().await.is_err() {
            return;
        }
        let members = self.members_now(&self.membership().members);
        let announce = action::Action::AnnounceMembers(AnnounceMembers { members, ended });
        self.propose_own(announce).await;
    }

    fn members_now(&self, announced: &[MemberAddress]) -> Vec<MemberAddress> {
        let metrics = self.inner.raft.metrics().borrow().clone();
        let has_log = |id: u64| {
            let matched = metrics.replication.as_ref().and_then(|r| r.get(&id).copied().flatten());
            id == self.id() || matched.is_some_and(|matched| matched.index > 0)
        };
        let joined = |id: u64| announced.iter().any(|m| m.id == id && m.joined) || has_log(id);
        let membership = metrics.membership_config.membership();
        let is_voter = |id: u64| membership.voter_ids().any(|voter| voter == id);
        let nodes = membership.nodes().map(|(id, node)| MemberAddress {
            id: *id,
            address: node.addr.clone(),
            joined: joined(*id),
            learner: !is_voter(*id),
        });
        nodes.collect()
    }

    /// Forgets old request ids, a bounded number with each command, until none is left or it has taken its share of the log.
    /// `true` when none is left.
    async fn forget_requests(&self) -> bool {
        for _ in 0..TICKS_AT_ONCE {
            if !self.has_old_requests() {
                return true;
            }
            if !self.propose_own(action::Action::Tick(Tick {})).await {
                return false;
            }
        }
        false
    }

    async fn propose_own(&self, action: action::Action) -> bool {
        let proposed = self.inner.batcher.propose(vec![self.own_command(action)]).await;
        if let Err(error) = &proposed {
            tracing::debug!(%error, "housekeeping was not committed; it is tried again");
        }
        proposed.is_ok()
    }

    fn has_old_requests(&self) -> bool {
        let state = self.inner.cell.load();
        let now = self.inner.clock.now().unix_nanos() / 1_000_000;
        query::requests_to_forget(&state, u64::try_from(now).unwrap_or(0))
    }

    fn own_command(&self, action: action::Action) -> Command {
        Command {
            version: COMMAND_VERSION,
            time: None,
            author: Some(self.principal()),
            acting_role: String::new(),
            request_id: None,
            policy_ref: String::new(),
            action: Some(Action::from(action)),
        }
    }

    fn principal(&self) -> Principal {
        Principal {
            subject: format!("service:journal/{}", self.inner.config.members.own()),
            issuer: format!("pact://{}", self.inner.config.site),
            kind: v1::PrincipalKind::Service.into(),
            roles: Vec::new(),
        }
    }

    fn record_metrics(&self) {
        let raft = self.inner.raft.metrics().borrow().clone();
        let is_leader = u32::from(raft.state == ServerState::Leader);
        metrics::gauge!("pact_journal_is_leader").set(f64::from(is_leader));
        metrics::gauge!("pact_journal_term").set(to_f64(raft.current_term));
        metrics::gauge!("pact_journal_applied_index")
            .set(to_f64(raft.last_applied.map_or(0, |id| id.index)));
        metrics::gauge!("pact_journal_head_seq").set(to_f64(*self.inner.cell.head_seq().borrow()));
        metrics::gauge!("pact_journal_log_bytes").set(to_f64(self.inner.log.size_bytes()));
    }
}

#[allow(clippy::cast_precision_loss, reason = "a gauge")]
fn to_f64(value: u64) -> f64 {
    value as f64
}

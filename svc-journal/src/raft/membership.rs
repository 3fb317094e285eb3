//! How a member comes to the journal, follows its membership, and leaves it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use openraft::{BasicNode, Membership};
use pact_runtime::CancellationToken;

use super::admission::{JoinedBefore, Newcomer, Part};
use super::member::{Member, Metrics, StartError};

/// How long a new member waits before it says that it waits: one of a new journal is named at once.
const FIRST_REMINDER: Duration = Duration::from_secs(3);
/// Between two such reminders.
const REMINDER: Duration = Duration::from_secs(30);
/// How often it is looked whether this member was removed.
const REMOVAL_LOOK: Duration = Duration::from_secs(1);

/// That this member was removed from the journal: for good, whoever it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "member {own} was removed from the journal by entry {seq}, says {}: its number is never used again; wipe its data folder, and to \
     bring this host back give it a new number: `pact-enroll bootstrap --add-member`, then `pact cluster add`",
    told_by.map_or_else(|| "its own log".to_owned(), |by| format!("member {by}"))
)]
pub struct Removed {
    /// This member.
    pub own: u64,
    /// The entry that says so.
    pub seq: u64,
    /// Who has told; `None`: it is in this member's own log.
    pub told_by: Option<u64>,
}

/// Why a member without a log does not take part.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinError {
    #[error(transparent)]
    JoinedBefore(#[from] JoinedBefore),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Member {
    /// Takes part once the others have said that nothing depends on what this member does not have.
    pub(super) async fn join(self, stop: CancellationToken) -> Result<(), JoinError> {
        let inner = &self.inner;
        let newcomer = Newcomer {
            own: self.id(),
            members: inner.config.members.iter().count(),
            data_dir: inner.config.data_dir.clone(),
            peers: inner.peers.clone(),
            clock: inner.clock.clone(),
        };
        match newcomer.ask(stop.clone()).await? {
            Some(Part::Founder) if inner.config.members.may_found() => self.found().await?,
            Some(Part::Founder) => {
                let count = inner.config.members.iter().count();
                return Err(StartError::Founders { count }.into());
            }
            Some(Part::Newcomer) => {
                inner.admission.admit();
                self.wait_to_be_added(stop).await;
            }
            None => {}
        }
        Ok(())
    }

    pub(super) async fn found(&self) -> Result<(), StartError> {
        self.inner.admission.admit();
        self.initialize().await
    }

    /// Says now and then that somebody has to add this member, until somebody has.
    async fn wait_to_be_added(&self, stop: CancellationToken) {
        let (own, clock) = (self.id(), &self.inner.clock);
        let mut pause = FIRST_REMINDER;
        loop {
            let added = self.inner.raft.wait(None);
            let is_named =
                |metrics: &Metrics| metrics.membership_config.membership().get_node(&own).is_some();
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe
                _is_named = added.metrics(is_named, "a membership names this member") => return, // only reads
                () = clock.sleep(pause) => {} // cancel-safe
            }
            pause = REMINDER;
            let address = self.inner.config.members.iter().find(|(id, _)| *id == own);
            let address = address.map_or("<host>:<port>", |(_, address)| address);
            tracing::warn!(
                "this member has no log and waits for `pact cluster add {own} {address}`"
            );
        }
    }

    /// Takes note of the membership that is on disk.
    pub(super) fn begin_with(&self, membership: &Membership<u64, BasicNode>) {
        self.follow(membership);
        self.compare_configured(membership);
    }

    /// Calls whoever Raft's membership names, where it says. Nobody is dropped before it is committed: a leader that removes
    /// itself has to be heard until then.
    pub(super) fn follow_membership(&self) {
        if self.is_committed() {
            self.follow(&self.raft_membership());
        }
    }

    /// The configured members stay as long as the membership names nobody.
    fn follow(&self, membership: &Membership<u64, BasicNode>) {
        let nodes: BTreeMap<u64, String> =
            membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect();
        if !nodes.is_empty() {
            self.inner.peers.follow(&nodes);
        }
    }

    /// The configured list is for new journals and new members; here it is only worth a warning.
    fn compare_configured(&self, membership: &Membership<u64, BasicNode>) {
        let shown = |id: u64, address: &str| format!("{id}:{address}");
        let now: BTreeSet<String> =
            membership.nodes().map(|(id, node)| shown(*id, &node.addr)).collect();
        let listed: BTreeSet<String> =
            self.inner.config.members.iter().map(|(id, address)| shown(id, address)).collect();
        if !now.is_empty() && now != listed {
            let only = |these: &BTreeSet<String>, those| {
                these.difference(those).map(String::as_str).collect::<Vec<_>>().join(", ")
            };
            tracing::warn!(
                only_configured = only(&listed, &now),
                only_in_the_journal = only(&now, &listed),
                "journal.raft.members is not what the journal says of its members, and the journal counts: correct the list"
            );
        }
    }

    /// Follows the membership until `stop`.
    pub(super) async fn follow_memberships(self, stop: CancellationToken) {
        let mut metrics = self.inner.raft.metrics();
        let mut followed = None;
        loop {
            let decided = *metrics.borrow_and_update().membership_config.log_id();
            if decided != followed && self.is_committed() {
                self.follow_membership();
                followed = decided;
            }
            tokio::select! {
                () = stop.cancelled() => return, // cancel-safe
                changed = metrics.changed() => if changed.is_err() { return }, // cancel-safe; Raft's end is seen where it is guarded
            }
        }
    }

    /// Ends with an error when this member is removed: by its own log, or as another member tells.
    pub(super) async fn watch_removal(self, stop: CancellationToken) -> Result<(), Removed> {
        let own = self.id();
        let mut told = self.inner.peers.told();
        loop {
            if let Some(told) = *told.borrow_and_update() {
                return Err(Removed { own, seq: told.seq, told_by: Some(told.by) });
            }
            let is_member = self.raft_membership().get_node(&own).is_some();
            let removed = if is_member { Vec::new() } else { self.membership().removed };
            if let Some(removed) = removed.iter().find(|member| member.id == own) {
                return Err(Removed { own, seq: removed.seq, told_by: None });
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()), // cancel-safe
                _told = told.changed() => {} // cancel-safe; this member holds the sender
                () = self.inner.clock.sleep(REMOVAL_LOOK) => {} // cancel-safe
            }
        }
    }

    /// Returns once this member votes: only then may others rely on its answers.
    pub(crate) async fn votes(&self) {
        let own = self.id();
        let votes = |metrics: &Metrics| metrics.membership_config.voter_ids().any(|id| id == own);
        if self.inner.raft.wait(None).metrics(votes, "this member votes").await.is_err() {
            // Raft has ended, which is seen where it is guarded.
            std::future::pending::<()>().await;
        }
    }

    /// Every founder does this with the same list, and openraft takes it once: whoever wins the first election leads.
    async fn initialize(&self) -> Result<(), StartError> {
        let inner = &self.inner;
        if inner.raft.is_initialized().await? {
            return Ok(());
        }
        match inner.raft.initialize(inner.config.members.to_raft()).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(StartError::Initialize(error)),
        }
    }
}

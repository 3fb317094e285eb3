//! `commit`: the drift of nodes becomes their declared state, one entry for each node.
//!
//! ```text
//! summary → the digest that the caller saw → capture (contents are in the journal) → CommitDelta → settle
//! ```
//!
//! What drifts after the summary stays drift: the node captures what has the digest, or says that it is gone.

use std::time::Duration;

use pact_identity::Principal;
use pact_schemas::convert::{self, Scope, WireError};
use pact_schemas::v1::{
    self, CaptureReply, CaptureRequest, CommitDelta, NodeCommit, NodeRecord, NodeSettled,
    action::Action as Act,
};
use pact_schemas::{Digest, ErrorCode, Message, NodeId, RequestId, Ttl, VclusterId};

use super::nodes::request_id;
use crate::access::attest;
use crate::ask::{Until, parted};
use crate::authorise::{Asked, Permit, operation};
use crate::changes::shown;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_request};
use crate::fanout;
use crate::request::{entry_of, for_node, is_by};

/// How long a node may take to capture: it reads files and hands their contents to the journal.
const CAPTURE: Duration = Duration::from_secs(15);

/// A whole and bounded request.
struct Wanted {
    id: RequestId,
    targets: String,
    vcluster: Option<VclusterId>,
    message: Message,
    ttl: Option<Ttl>,
    expect: Option<Digest>,
}

impl Wanted {
    fn read(request: &v1::CommitRequest) -> Answer<Self> {
        let invalid = |what: &str| ErrorCode::InvalidArgument.error(what.to_owned());
        let message = Message::new(&request.message).map_err(|error| match error {
            WireError::Missing { .. } => {
                invalid("a commit needs a message").next("pact commit -m \"why\"")
            }
            _ => invalid("the message has to be one line of at most 1,024 bytes"),
        })?;
        let ttl = request.ttl_seconds.map(Ttl::try_from).transpose();
        let ttl = ttl.map_err(|_| invalid("the time to live has to be 900 to 864,000 seconds"))?;
        let vcluster = request.vcluster.as_deref();
        let vcluster = vcluster.map(|name| convert::id(name, "CommitRequest.vcluster"));
        let expect = match request.expect_digest.as_slice() {
            [] => None,
            digest => Some(
                Digest::from_wire(digest, "CommitRequest.expect_digest").map_err(bad_request)?,
            ),
        };
        Ok(Self {
            id: request_id(&request.request_id)?,
            targets: request.targets.clone(),
            vcluster: vcluster.transpose().map_err(bad_request)?,
            message,
            ttl,
            expect,
        })
    }

    /// Whether an entry is what this request made.
    fn made(&self, entry: &v1::Entry, by: &Principal) -> bool {
        let Some(v1::entry::Payload::DeltaCommitted(delta)) = &entry.payload else { return false };
        let same_drift = self.expect.is_none_or(|d| d.as_bytes() == delta.drift_digest.as_slice());
        let same_vcluster = self.vcluster.as_ref().is_none_or(|v| v.as_str() == delta.vcluster);
        let same_words = entry.message == self.message.to_string();
        let same_ttl = entry.ttl_seconds == self.ttl.map(Ttl::seconds);
        same_drift && same_vcluster && same_words && same_ttl && is_by(entry, by)
    }

    /// The vCluster of a node that is committed to: what the caller means, where it means one.
    fn check_vcluster(&self, node: &NodeId, record: &NodeRecord) -> Answer<()> {
        let conflict = |what: String| ErrorCode::Conflict.error(what).on(node);
        match (&record.vcluster, &self.vcluster) {
            (None, _) => Err(conflict(format!("{node} belongs to no vCluster"))
                .because("a node's deltas are declared in its vCluster")
                .next("assign it with `pact node assign`")),
            (Some(is), Some(meant)) if is != meant.as_str() => {
                Err(conflict(format!("{node} belongs to {is}, not to {meant}"))
                    .because("--vcluster, PACT_VCLUSTER or the configuration file names another")
                    .next(format!("use --vcluster {is}, or name another node")))
            }
            (Some(_), _) => Ok(()),
        }
    }
}

impl Gateway {
    pub(super) async fn commit(
        &self,
        caller: Caller,
        request: v1::CommitRequest,
    ) -> Answer<v1::CommitReply> {
        let wanted = Wanted::read(&request)?;
        let targets = self.resolve(&request.targets, &request.exclude).await?;
        if wanted.expect.is_some() && targets.set.len() > 1 {
            return Err(ErrorCode::InvalidArgument
                .error("a digest is of one node's drift")
                .next("commit node by node, or without --expect"));
        }
        let asked = Asked::of(operation("commit")?).on(&targets);
        let permit = self.authorise(&caller, asked).await?;
        // Before anything starts.
        targets.nodes().try_for_each(|(node, record)| wanted.check_vcluster(node, record))?;
        let until = Until::new(&self.clock);
        let work = targets.nodes().map(|node| self.commit_node(&permit, &wanted, node, &until));
        let (nodes, mut errors) = parted(fanout::all(work.collect()).await);
        let (nodes, unknown): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
        errors.extend(unknown.into_iter().flatten());
        Ok(v1::CommitReply { nodes, errors })
    }

    /// What was committed, and what of it could not be found out.
    async fn commit_node(
        &self,
        permit: &Permit,
        wanted: &Wanted,
        target: (&NodeId, &NodeRecord),
        until: &Until,
    ) -> Answer<(NodeCommit, Vec<v1::Error>)> {
        let (node, _) = target;
        let id = for_node(wanted.id, &wanted.targets, node)?;
        let scope = Scope::Node(node.clone());
        let made = |entry: &v1::Entry| wanted.made(entry, &permit.principal);
        let before = entry_of(&self.journal, &scope, id, made).await.map_err(|e| e.on(node))?;
        if let Some(entry) = before {
            return Ok(self.committed_before(entry, target, until).await);
        }
        let drift = self.drift_summary(target, until).await?;
        if let Some(expected) = wanted.expect
            && drift.digest.as_slice() != expected.as_bytes()
        {
            return Err(other_drift(node));
        }
        if drift.total == 0 {
            let window = drift.window;
            let settled = NodeSettled {
                node: node.to_string(),
                config_seq: drift.config_seq,
                window,
                ..NodeSettled::default()
            };
            let nothing = NodeCommit {
                node: node.to_string(),
                drift_digest: drift.digest,
                settled: Some(settled),
                ..NodeCommit::default()
            };
            return Ok((nothing, Vec::new()));
        }
        let request = CaptureRequest { expect_digest: drift.digest };
        let captured: CaptureReply =
            self.ask_node(target, "capture", &request, (until, CAPTURE)).await?;
        let done = self.commit_captured(permit, wanted, id, captured, target, until).await?;
        Ok((done, Vec::new()))
    }

    async fn commit_captured(
        &self,
        permit: &Permit,
        wanted: &Wanted,
        id: RequestId,
        captured: CaptureReply,
        target: (&NodeId, &NodeRecord),
        until: &Until,
    ) -> Answer<NodeCommit> {
        let (node, record) = target;
        let delta = CommitDelta {
            node: node.to_string(),
            vcluster: record.vcluster.clone().unwrap_or_default(),
            changes: captured.changes.clone(),
            drift_digest: captured.digest.clone(),
            base_seq: captured.config_seq,
            ttl_seconds: wanted.ttl.map(Ttl::seconds),
            message: wanted.message.to_string(),
        };
        let action = v1::Action { action: Some(Act::CommitDelta(delta)) };
        let proposal = attest(&self.signer, &self.clock, permit, id, &action)?;
        let (done, _) = self.journal.propose_one(proposal).await.map_err(|e| e.on(node))?;
        // It is committed, whatever becomes of showing it.
        let changes = self.changes(captured.changes.unwrap_or_default()).await.unwrap_or_default();
        let (changes, omitted_changes) = shown(changes);
        Ok(NodeCommit {
            node: node.to_string(),
            seq: done.first_seq,
            changes,
            omitted_changes,
            not_restorable: captured.not_restorable,
            drift_digest: captured.digest,
            settled: self.settle(target, done.first_seq, until).await.ok(),
        })
    }

    /// What a retry is told: the entry of the first attempt, and how the node is now; and why it is not told the one or the other.
    async fn committed_before(
        &self,
        entry: v1::Entry,
        target: (&NodeId, &NodeRecord),
        until: &Until,
    ) -> (NodeCommit, Vec<v1::Error>) {
        let recorded = |error: v1::Error| {
            let so = format!("it is committed, as entry {}", entry.seq);
            let cause = if error.cause.is_empty() { so } else { format!("{}; {so}", error.cause) };
            error.because(cause).on(target.0)
        };
        let settled = self.settle(target, entry.seq, until).await.map_err(recorded);
        let set =
            v1::ChangeSet { changes: entry.changes.clone(), chunks: entry.change_chunks.clone() };
        let changes = self.changes(set).await.map_err(recorded);
        let errors = [settled.as_ref().err(), changes.as_ref().err()];
        let errors = errors.into_iter().flatten().cloned().collect();
        let (changes, omitted_changes) = shown(changes.unwrap_or_default());
        let (drift_digest, not_restorable) = match entry.payload {
            Some(v1::entry::Payload::DeltaCommitted(delta)) => {
                (delta.drift_digest, delta.not_restorable)
            }
            _ => Default::default(),
        };
        let done = NodeCommit {
            node: target.0.to_string(),
            seq: entry.seq,
            changes,
            omitted_changes,
            not_restorable,
            drift_digest,
            settled: settled.ok(),
        };
        (done, errors)
    }
}

fn other_drift(node: &NodeId) -> v1::Error {
    ErrorCode::Conflict
        .error(format!("the drift of {node} is not what you saw"))
        .because("something changed on the node, or in what is declared for it, since then")
        .next(format!("look again with `pact diff {node}`, and commit with the digest it prints"))
        .on(node)
}

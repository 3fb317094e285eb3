//! `diff`: what nodes are against what they should be; with `--committed`, what they declare beyond their vCluster.

use std::time::Duration;

use pact_schemas::convert::Scope;
use pact_schemas::v1::{
    self, DeclaredKey, DeclaredReply, DeclaredRequest, DiffReply, DiffRequest, NodeDiff, NodeRecord,
};
use pact_schemas::{ErrorCode, NodeId};
use prost::Message as _;

use crate::ask::{Until, parted};
use crate::authorise::{Asked, operation};
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_reply};
use crate::fanout;

/// One page of a node: the agent answers from a snapshot in its memory.
pub(crate) const PAGE: Duration = Duration::from_secs(5);

/// Items and deltas in one answer: beyond it gRPC clients refuse the message.
const MAX_REPLY_BYTES: usize = 3 * 1024 * 1024;

/// A node that says something else each time is given up.
const MAX_SNAPSHOTS: u32 = 3;

impl Gateway {
    pub(super) async fn diff(
        &self,
        caller: Caller,
        request: v1::DiffNodesRequest,
    ) -> Answer<v1::DiffNodesReply> {
        if request.at_seq.is_some() && !request.committed {
            return Err(ErrorCode::Unimplemented
                .error("`pact diff --at` compares committed deltas only so far")
                .next("use `pact diff --committed --at SEQ`"));
        }
        let targets = self.resolve(&request.targets, &request.exclude).await?;
        self.authorise(&caller, Asked::of(operation("diff")?).on(&targets)).await?;
        // Each node has an equal share, so that no answer depends on the order in which nodes answer.
        let room = MAX_REPLY_BYTES / targets.set.len().max(1);
        let until = Until::new(&self.clock);
        let diffs = if request.committed {
            let asked = targets.nodes().map(|(n, r)| self.deltas(n, r, request.at_seq, room));
            fanout::all(asked.collect()).await
        } else {
            let asked = targets.nodes().map(|node| self.drift(node, &until, room));
            fanout::all(asked.collect()).await
        };
        let (nodes, errors) = parted(diffs);
        Ok(v1::DiffNodesReply { nodes, errors })
    }

    /// All pages of a node's drift, as far as they fit. A snapshot that is gone meanwhile is taken anew.
    pub(super) async fn drift(
        &self,
        target: (&NodeId, &NodeRecord),
        until: &Until,
        room: usize,
    ) -> Answer<NodeDiff> {
        let mut taken = 1;
        loop {
            match self.snapshot(target, until, room).await {
                Err(error)
                    if error.known_code() == ErrorCode::Conflict && taken < MAX_SNAPSHOTS =>
                {
                    taken += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn snapshot(
        &self,
        target: (&NodeId, &NodeRecord),
        until: &Until,
        room: usize,
    ) -> Answer<NodeDiff> {
        let mut request = DiffRequest::default();
        let first: DiffReply = self.ask_node(target, "diff", &request, (until, PAGE)).await?;
        let mut diff = whole(target.0, &first);
        let mut page = first;
        let mut bytes = 0;
        loop {
            for item in page.items {
                let size = item.encoded_len();
                if bytes + size > room {
                    diff.omitted_items =
                        diff.total.saturating_sub(u32::try_from(diff.items.len()).unwrap_or(0));
                    return Ok(diff);
                }
                bytes += size;
                diff.items.push(item);
            }
            if page.next_offset == 0 {
                return Ok(diff);
            }
            // Pages ascend, so the loop ends.
            if page.next_offset <= request.offset {
                return Err(bad_reply("pact-agent", "pages of a diff do not ascend").on(target.0));
            }
            request = DiffRequest {
                offset: page.next_offset,
                digest: diff.digest.clone(),
                summary: false,
            };
            page = self.ask_node(target, "diff", &request, (until, PAGE)).await?;
            if page.digest != diff.digest {
                return Err(ErrorCode::Conflict
                    .error("the drift changes while it is read")
                    .next("try again when the node is quiet")
                    .on(target.0));
            }
        }
    }

    /// What a node declares for itself, in its present vCluster.
    async fn deltas(
        &self,
        node: &NodeId,
        record: &NodeRecord,
        at_seq: Option<u64>,
        room: usize,
    ) -> Answer<NodeDiff> {
        let declared =
            self.declared(&Scope::Node(node.clone()), at_seq).await.map_err(|e| e.on(node))?;
        let total = u32::try_from(declared.len()).unwrap_or(u32::MAX);
        let mut bytes = 0;
        let fits = |key: &DeclaredKey| {
            bytes += key.encoded_len();
            bytes <= room
        };
        let deltas: Vec<DeclaredKey> = declared.into_iter().take_while(fits).collect();
        Ok(NodeDiff {
            node: node.to_string(),
            vcluster: record.vcluster.clone(),
            total,
            omitted_items: total.saturating_sub(u32::try_from(deltas.len()).unwrap_or(u32::MAX)),
            deltas,
            ..NodeDiff::default()
        })
    }

    /// Every declared key of a scope; the scope is bounded by the journal.
    pub(super) async fn declared(
        &self,
        scope: &Scope,
        at_seq: Option<u64>,
    ) -> Answer<Vec<DeclaredKey>> {
        let mut request = DeclaredRequest {
            scope: Some(v1::Scope::from(scope)),
            at_seq,
            ..DeclaredRequest::default()
        };
        let mut keys = Vec::new();
        loop {
            let reply: DeclaredReply = self.journal.read("declared", &request).await?;
            let last = reply.keys.last().map(|key| key.key.clone());
            keys.extend(reply.keys);
            match last {
                // Pages ascend, so the loop ends.
                Some(last) if reply.more && last > request.after => request.after = last,
                _ => return Ok(keys),
            }
        }
    }

    /// Totals, digest and window of a node.
    pub(super) async fn drift_summary(
        &self,
        target: (&NodeId, &NodeRecord),
        until: &Until,
    ) -> Answer<DiffReply> {
        let request = DiffRequest { summary: true, ..DiffRequest::default() };
        let reply: DiffReply = self.ask_node(target, "diff", &request, (until, PAGE)).await?;
        was_looked_at(target.0, reply.scanning, &reply.digest)?;
        Ok(reply)
    }
}

/// Nothing is decided on the word of a node that has not looked yet: no drift found is not no drift.
pub(super) fn was_looked_at(node: &NodeId, scanning: bool, digest: &[u8]) -> Answer<()> {
    if !scanning || !digest.is_empty() {
        return Ok(());
    }
    Err(ErrorCode::Busy
        .error(format!("{node} has not looked at everything yet"))
        .because("its first scan is not over")
        .next("try again in a few seconds")
        .on(node))
}

fn whole(node: &NodeId, reply: &DiffReply) -> NodeDiff {
    NodeDiff {
        node: node.to_string(),
        vcluster: reply.vcluster.clone(),
        digest: reply.digest.clone(),
        config_seq: reply.config_seq,
        items: Vec::new(),
        omitted_items: 0,
        total: reply.total,
        report_only_total: reply.report_only_total,
        window: reply.window.clone(),
        enforcement_mode: reply.enforcement_mode.clone(),
        scanning: reply.scanning,
        taken: reply.taken,
        silent: reply.silent.clone(),
        deltas: Vec::new(),
    }
}

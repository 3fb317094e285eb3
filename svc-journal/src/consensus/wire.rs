//! How Raft's own messages are encoded, in rows and between members: protobuf, private to the journal, format 1.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, CommittedLeaderId, Membership};
use prost::Message;

use super::types::{
    CommandBatch, Entry, EntryPayload, LogId, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};

/// `RaftMessage.format`.
pub(crate) const FORMAT: u32 = 1;

/// Bytes that are none of these messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} does not decode")]
pub(crate) struct WireFault {
    /// Which message.
    pub(crate) what: &'static str,
}

fn fault(what: &'static str) -> WireFault {
    WireFault { what }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PbLogId {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    leader: u64,
    #[prost(uint64, tag = "3")]
    index: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PbVote {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    candidate: u64,
    #[prost(bool, tag = "3")]
    committed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PbNode {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    address: String,
}

#[derive(Clone, PartialEq, Message)]
struct PbVoters {
    #[prost(uint64, repeated, tag = "1")]
    ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct PbMembership {
    #[prost(message, repeated, tag = "1")]
    configs: Vec<PbVoters>,
    #[prost(message, repeated, tag = "2")]
    nodes: Vec<PbNode>,
}

#[derive(Clone, PartialEq, Message)]
struct PbStoredMembership {
    #[prost(message, optional, tag = "1")]
    log_id: Option<PbLogId>,
    #[prost(message, optional, tag = "2")]
    membership: Option<PbMembership>,
}

/// A log entry: neither commands nor membership is Raft's blank entry.
#[derive(Clone, PartialEq, Message)]
struct PbEntry {
    #[prost(message, optional, tag = "1")]
    log_id: Option<PbLogId>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    commands: Option<Bytes>,
    #[prost(message, optional, tag = "3")]
    membership: Option<PbMembership>,
}

#[derive(Clone, PartialEq, Message)]
struct PbAppend {
    #[prost(message, optional, tag = "1")]
    vote: Option<PbVote>,
    #[prost(message, optional, tag = "2")]
    previous: Option<PbLogId>,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<PbEntry>,
    #[prost(message, optional, tag = "4")]
    committed: Option<PbLogId>,
}

/// 1 success, 2 partial success, 3 conflict, 4 higher vote.
#[derive(Clone, PartialEq, Message)]
struct PbAppendReply {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(message, optional, tag = "2")]
    matching: Option<PbLogId>,
    #[prost(message, optional, tag = "3")]
    vote: Option<PbVote>,
}

#[derive(Clone, PartialEq, Message)]
struct PbVoteRequest {
    #[prost(message, optional, tag = "1")]
    vote: Option<PbVote>,
    #[prost(message, optional, tag = "2")]
    last: Option<PbLogId>,
}

#[derive(Clone, PartialEq, Message)]
struct PbVoteReply {
    #[prost(message, optional, tag = "1")]
    vote: Option<PbVote>,
    #[prost(bool, tag = "2")]
    granted: bool,
    #[prost(message, optional, tag = "3")]
    last: Option<PbLogId>,
}

#[derive(Clone, PartialEq, Message)]
struct PbSnapshotMeta {
    #[prost(message, optional, tag = "1")]
    last: Option<PbLogId>,
    #[prost(message, optional, tag = "2")]
    membership: Option<PbStoredMembership>,
    #[prost(string, tag = "3")]
    id: String,
    /// Only in a snapshot call: the leader's vote.
    #[prost(message, optional, tag = "4")]
    vote: Option<PbVote>,
}

fn pb_log_id(id: &LogId) -> PbLogId {
    PbLogId { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

fn log_id(pb: &PbLogId) -> LogId {
    LogId::new(CommittedLeaderId::new(pb.term, pb.leader), pb.index)
}

fn pb_vote(vote: &Vote) -> PbVote {
    let leader = vote.leader_id();
    PbVote { term: leader.term, candidate: leader.node_id, committed: vote.is_committed() }
}

fn vote(pb: &PbVote) -> Vote {
    if pb.committed {
        Vote::new_committed(pb.term, pb.candidate)
    } else {
        Vote::new(pb.term, pb.candidate)
    }
}

fn pb_membership(membership: &Membership<u64, BasicNode>) -> PbMembership {
    let configs = membership.get_joint_config().iter();
    let nodes = membership.nodes();
    PbMembership {
        configs: configs.map(|ids| PbVoters { ids: ids.iter().copied().collect() }).collect(),
        nodes: nodes.map(|(id, node)| PbNode { id: *id, address: node.addr.clone() }).collect(),
    }
}

fn membership(pb: PbMembership) -> Membership<u64, BasicNode> {
    let configs =
        pb.configs.into_iter().map(|c| c.ids.into_iter().collect::<BTreeSet<u64>>()).collect();
    let nodes: BTreeMap<u64, BasicNode> =
        pb.nodes.into_iter().map(|n| (n.id, BasicNode::new(n.address))).collect();
    Membership::new(configs, nodes)
}

fn pb_stored(stored: &StoredMembership) -> PbStoredMembership {
    PbStoredMembership {
        log_id: stored.log_id().as_ref().map(pb_log_id),
        membership: Some(pb_membership(stored.membership())),
    }
}

fn stored(pb: PbStoredMembership) -> StoredMembership {
    let at = pb.log_id.as_ref().map(log_id);
    StoredMembership::new(at, membership(pb.membership.unwrap_or_default()))
}

fn pb_entry(entry: &Entry) -> PbEntry {
    let (commands, membership) = match &entry.payload {
        EntryPayload::Blank => (None, None),
        EntryPayload::Normal(batch) => (Some(batch.bytes().clone()), None),
        EntryPayload::Membership(membership) => (None, Some(pb_membership(membership))),
    };
    PbEntry { log_id: Some(pb_log_id(&entry.log_id)), commands, membership }
}

fn entry(pb: PbEntry) -> Result<Entry, WireFault> {
    let at = pb.log_id.as_ref().map(log_id).ok_or(fault("log entry"))?;
    let payload = match (pb.commands, pb.membership) {
        (None, None) => EntryPayload::Blank,
        (Some(bytes), None) => EntryPayload::Normal(CommandBatch::from_bytes(bytes)),
        (None, Some(pb)) => EntryPayload::Membership(membership(pb)),
        (Some(_), Some(_)) => return Err(fault("log entry")),
    };
    Ok(Entry { log_id: at, payload })
}

/// A log entry, for its row.
pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    pb_entry(entry).encode_to_vec()
}

/// The log entry of a row.
pub(crate) fn decode_entry(bytes: Bytes) -> Result<Entry, WireFault> {
    entry(PbEntry::decode(bytes).map_err(|_| fault("log entry"))?)
}

/// A vote, for its row.
pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    pb_vote(vote).encode_to_vec()
}

/// The vote of a row.
pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, WireFault> {
    PbVote::decode(bytes).map(|pb| vote(&pb)).map_err(|_| fault("vote"))
}

/// A log id, for its row.
pub(crate) fn encode_log_id(id: &LogId) -> Vec<u8> {
    pb_log_id(id).encode_to_vec()
}

/// The log id of a row.
pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<LogId, WireFault> {
    PbLogId::decode(bytes).map(|pb| log_id(&pb)).map_err(|_| fault("log id"))
}

/// A membership and where it was decided, for its row.
pub(crate) fn encode_membership(membership: &StoredMembership) -> Vec<u8> {
    pb_stored(membership).encode_to_vec()
}

/// The membership of a row.
pub(crate) fn decode_membership(bytes: &[u8]) -> Result<StoredMembership, WireFault> {
    PbStoredMembership::decode(bytes).map(stored).map_err(|_| fault("membership"))
}

/// A snapshot's description, with the leader's vote when it is sent.
pub(crate) fn encode_snapshot_meta(meta: &SnapshotMeta, leader: Option<&Vote>) -> Vec<u8> {
    let pb = PbSnapshotMeta {
        last: meta.last_log_id.as_ref().map(pb_log_id),
        membership: Some(pb_stored(&meta.last_membership)),
        id: meta.snapshot_id.clone(),
        vote: leader.map(pb_vote),
    };
    pb.encode_to_vec()
}

/// A snapshot's description and the leader's vote, if it was sent.
pub(crate) fn decode_snapshot_meta(
    bytes: &[u8],
) -> Result<(SnapshotMeta, Option<Vote>), WireFault> {
    let pb = PbSnapshotMeta::decode(bytes).map_err(|_| fault("snapshot description"))?;
    let meta = SnapshotMeta {
        last_log_id: pb.last.as_ref().map(log_id),
        last_membership: stored(pb.membership.ok_or(fault("snapshot description"))?),
        snapshot_id: pb.id,
    };
    Ok((meta, pb.vote.as_ref().map(vote)))
}

/// The answer to a snapshot.
pub(crate) fn encode_snapshot_reply(reply: &SnapshotResponse<u64>) -> Vec<u8> {
    encode_vote(&reply.vote)
}

/// The answer to a snapshot.
pub(crate) fn decode_snapshot_reply(bytes: &[u8]) -> Result<SnapshotResponse<u64>, WireFault> {
    decode_vote(bytes).map(SnapshotResponse::new)
}

/// A replication call.
pub(crate) fn encode_append(request: &AppendEntriesRequest<TypeConfig>) -> Vec<u8> {
    let pb = PbAppend {
        vote: Some(pb_vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(pb_log_id),
        entries: request.entries.iter().map(pb_entry).collect(),
        committed: request.leader_commit.as_ref().map(pb_log_id),
    };
    pb.encode_to_vec()
}

/// A replication call.
pub(crate) fn decode_append(bytes: Bytes) -> Result<AppendEntriesRequest<TypeConfig>, WireFault> {
    let pb = PbAppend::decode(bytes).map_err(|_| fault("append request"))?;
    Ok(AppendEntriesRequest {
        vote: pb.vote.as_ref().map(vote).ok_or(fault("append request"))?,
        prev_log_id: pb.previous.as_ref().map(log_id),
        entries: pb.entries.into_iter().map(entry).collect::<Result<_, _>>()?,
        leader_commit: pb.committed.as_ref().map(log_id),
    })
}

/// The answer to a replication call.
pub(crate) fn encode_append_reply(reply: &AppendEntriesResponse<u64>) -> Vec<u8> {
    let (kind, matching, vote) = match reply {
        AppendEntriesResponse::Success => (1, None, None),
        AppendEntriesResponse::PartialSuccess(matching) => {
            (2, matching.as_ref().map(pb_log_id), None)
        }
        AppendEntriesResponse::Conflict => (3, None, None),
        AppendEntriesResponse::HigherVote(vote) => (4, None, Some(pb_vote(vote))),
    };
    PbAppendReply { kind, matching, vote }.encode_to_vec()
}

/// The answer to a replication call.
pub(crate) fn decode_append_reply(bytes: &[u8]) -> Result<AppendEntriesResponse<u64>, WireFault> {
    let pb = PbAppendReply::decode(bytes).map_err(|_| fault("append reply"))?;
    match (pb.kind, pb.vote) {
        (1, _) => Ok(AppendEntriesResponse::Success),
        (2, _) => Ok(AppendEntriesResponse::PartialSuccess(pb.matching.as_ref().map(log_id))),
        (3, _) => Ok(AppendEntriesResponse::Conflict),
        (4, Some(higher)) => Ok(AppendEntriesResponse::HigherVote(vote(&higher))),
        _ => Err(fault("append reply")),
    }
}

/// A candidate's call.
pub(crate) fn encode_vote_request(request: &VoteRequest<u64>) -> Vec<u8> {
    PbVoteRequest {
        vote: Some(pb_vote(&request.vote)),
        last: request.last_log_id.as_ref().map(pb_log_id),
    }
    .encode_to_vec()
}

/// A candidate's call.
pub(crate) fn decode_vote_request(bytes: &[u8]) -> Result<VoteRequest<u64>, WireFault> {
    let pb = PbVoteRequest::decode(bytes).map_err(|_| fault("vote request"))?;
    let candidate = pb.vote.as_ref().map(vote).ok_or(fault("vote request"))?;
    Ok(VoteRequest::new(candidate, pb.last.as_ref().map(log_id)))
}

/// The answer to a candidate.
pub(crate) fn encode_vote_reply(reply: &VoteResponse<u64>) -> Vec<u8> {
    PbVoteReply {
        vote: Some(pb_vote(&reply.vote)),
        granted: reply.vote_granted,
        last: reply.last_log_id.as_ref().map(pb_log_id),
    }
    .encode_to_vec()
}

/// The answer to a candidate.
pub(crate) fn decode_vote_reply(bytes: &[u8]) -> Result<VoteResponse<u64>, WireFault> {
    let pb = PbVoteReply::decode(bytes).map_err(|_| fault("vote reply"))?;
    let current = pb.vote.as_ref().map(vote).ok_or(fault("vote reply"))?;
    Ok(VoteResponse::new(current, pb.last.as_ref().map(log_id), pb.granted))
}

#[cfg(test)]
mod tests {
    use openraft::entry::FromAppData as _;

    use super::*;

    #[test]
    fn raft_messages_go_both_ways() {
        let at = |term, index| LogId::new(CommittedLeaderId::new(term, 2), index);
        let nodes: BTreeMap<u64, BasicNode> =
            (1..=3).map(|i| (i, BasicNode::new(format!("h{i}:9444")))).collect();
        let members =
            Membership::new(vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([1, 2])], nodes);
        let mut commands =
            Entry::from_app_data(CommandBatch::from_bytes(Bytes::from_static(b"abc")));
        commands.log_id = at(3, 8);
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(3, 2),
            prev_log_id: Some(at(2, 6)),
            entries: vec![
                Entry { log_id: at(3, 7), payload: EntryPayload::Membership(members.clone()) },
                commands,
                Entry { log_id: at(3, 9), payload: EntryPayload::Blank },
            ],
            leader_commit: None,
        };
        let back = decode_append(encode_append(&request).into()).unwrap();
        assert_eq!(
            (back.vote, back.prev_log_id, back.leader_commit),
            (request.vote, request.prev_log_id, None)
        );
        assert_eq!(back.entries, request.entries);

        for reply in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(at(3, 8))),
            AppendEntriesResponse::PartialSuccess(None),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(Vote::new(9, 1)),
        ] {
            assert_eq!(decode_append_reply(&encode_append_reply(&reply)).unwrap(), reply);
        }
        let vote = VoteRequest::new(Vote::new(4, 1), Some(at(3, 9)));
        assert_eq!(decode_vote_request(&encode_vote_request(&vote)).unwrap(), vote);
        let meta = SnapshotMeta {
            last_log_id: Some(at(3, 9)),
            last_membership: StoredMembership::new(Some(at(3, 7)), members),
            snapshot_id: "3-9-1".to_owned(),
        };
        let leader = Vote::new_committed(3, 2);
        let back = decode_snapshot_meta(&encode_snapshot_meta(&meta, Some(&leader))).unwrap();
        assert_eq!(back, (meta, Some(leader)));
        assert!(decode_append_reply(&[]).is_err() && decode_entry(Bytes::new()).is_err());
    }
}

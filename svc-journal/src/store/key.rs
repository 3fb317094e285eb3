//! Keys and rows of what is applied.

use pact_journal_core::record::{Posting, Uploader};
use pact_schemas::{NodeId, SpoolId};
use prost::Message;

use super::fatal::OrFatal;

pub(crate) fn node(node: &str) -> Vec<u8> {
    [b"r", node.as_bytes()].concat()
}

pub(crate) fn hardware(id: &str) -> Vec<u8> {
    [b"h", id.as_bytes()].concat()
}

pub(crate) fn spool(node: &NodeId, spool: &SpoolId) -> Vec<u8> {
    [b"s", node.as_str().as_bytes(), &[0], spool.as_str().as_bytes()].concat()
}

pub(crate) fn unnamed(node: &NodeId) -> Vec<u8> {
    [b"u", node.as_str().as_bytes()].concat()
}

/// Everything before the sequence.
pub(crate) fn posting(posting: &Posting) -> Vec<u8> {
    match posting {
        Posting::Node(node) => [b"n", node.as_str().as_bytes(), &[0]].concat(),
        Posting::Vcluster(vcluster) => [b"v", vcluster.as_str().as_bytes(), &[0]].concat(),
        Posting::Global => b"g".to_vec(),
    }
}

/// Everything before the sequence.
pub(crate) fn outcomes(parent: u64) -> Vec<u8> {
    [b"o".as_slice(), &parent.to_be_bytes()].concat()
}

pub(crate) fn outcome_of(parent: u64, node: &NodeId) -> Vec<u8> {
    [b"f".as_slice(), &parent.to_be_bytes(), node.as_str().as_bytes()].concat()
}

/// Longer than the chunk's own key, which it begins with.
pub(crate) fn upload(sha256: &[u8], by: &Uploader) -> Vec<u8> {
    match by {
        Uploader::Node(node) => [sha256, b"n", node.as_str().as_bytes()].concat(),
        Uploader::Gateways => [sha256, b"g"].concat(),
    }
}

pub(crate) fn tile(level: u8, index: u64) -> Vec<u8> {
    [[level].as_slice(), &index.to_be_bytes()].concat()
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HeadRow {
    #[prost(uint64, tag = "1")]
    pub(crate) seq: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) hash: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(crate) time_nanos: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HorizonRow {
    #[prost(uint64, tag = "1")]
    pub(crate) unix_milliseconds: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) remembered: u64,
}

/// A stored message; the process ends when it does not decode.
pub(crate) fn decoded<M: Message + Default>(row: &[u8], what: &str) -> M {
    M::decode(row).or_fatal(what)
}

//! A chunk is stored: of a node's recordings, or of what a specification declares.

use pact_schemas::NodeId;
use pact_schemas::convert::bytes;
use pact_schemas::v1::{self, Command, PrincipalKind, PutBlob};

use super::{Asked, Origin, Rules, Terms};
use crate::record::{Blob, MAX_CHUNK_BYTES, Unnamed, Uploader, sha256};
use crate::refusal::Refusal;
use crate::working::Working;

/// Bytes of a node's chunks, compressed, that no event has named: twice what an agent keeps for the
/// journal at most.
const MAX_UNNAMED_BYTES: u64 = 512 * 1024 * 1024;
/// What a chunk costs that is stored already: the row that says who else has sent it.
const UPLOAD_BYTES: u64 = 128;
/// For so long they count. An agent that lost its spool never names what it had sent, and must not
/// be shut out for ever.
const UNNAMED_COUNTS_NANOS: i64 = 24 * 3_600 * 1_000_000_000;

impl Rules for PutBlob {
    /// Contents and long changes of a specification are stored before it is proposed, or planned
    /// for a promotion.
    fn origin(&self) -> Origin {
        Origin::Gateway(&["apply", "promote"])
    }

    fn apply(&self, work: &mut Working<'_>, asked: &Asked<'_>) -> Result<Terms, Refusal> {
        put(work, asked.command, self, asked.time_nanos)?;
        Ok(Terms::NONE)
    }
}

/// Stores a chunk under its hash, with who sent it; what is so already makes nothing.
fn put(
    work: &mut Working<'_>,
    command: &Command,
    blob: &PutBlob,
    time_nanos: i64,
) -> Result<(), Refusal> {
    let hash = hash_of(blob)?;
    let is_stored = work.has_blob(&hash);
    let by = node_of(command).map_or(Uploader::Gateways, Uploader::Node);
    if is_stored && work.has_uploaded(&hash, &by) {
        return Ok(());
    }
    if let Uploader::Node(node) = &by {
        let bytes = if is_stored { UPLOAD_BYTES } else { blob.compressed.len() as u64 };
        count_unnamed(work, node.clone(), bytes, time_nanos)?;
    }
    if !is_stored {
        let stored = Blob { compressed: blob.compressed.clone(), size_bytes: blob.size_bytes };
        work.staged.blobs.insert(hash, stored);
    }
    work.staged.uploads.insert((hash, by));
    Ok(())
}

/// The node that a command comes from, if it is from one.
fn node_of(command: &Command) -> Option<NodeId> {
    let author = command.author.as_ref()?;
    let is_node = author.kind == i32::from(PrincipalKind::Node);
    author.subject.strip_prefix("node:").filter(|_| is_node)?.parse().ok()
}

/// A node sends the chunks of an event before the event. What it sends without ever naming it
/// belongs to nothing, and is bounded.
fn count_unnamed(
    work: &mut Working<'_>,
    node: NodeId,
    bytes: u64,
    time_nanos: i64,
) -> Result<(), Refusal> {
    work.live(&node)?;
    let counts = |unnamed: &Unnamed| {
        unnamed.bytes > 0 && time_nanos.saturating_sub(unnamed.since_nanos) < UNNAMED_COUNTS_NANOS
    };
    let before = work.unnamed(&node).filter(counts);
    let before = before.unwrap_or(Unnamed { bytes: 0, since_nanos: time_nanos });
    let bytes = before.bytes.saturating_add(bytes);
    if bytes > MAX_UNNAMED_BYTES {
        return Err(Refusal::TooMuchUnnamed { node });
    }
    work.staged.unnamed.insert(node, Unnamed { bytes, ..before });
    Ok(())
}

/// Whether the bytes of a chunk have its hash. The proposer asks too, so that nothing false is
/// replicated.
///
/// # Errors
/// Says what is wrong with the chunk.
pub fn check_blob(blob: &PutBlob) -> Result<(), v1::Error> {
    hash_of(blob).map(drop).map_err(v1::Error::from)
}

/// The hash of a chunk whose bytes have it.
fn hash_of(blob: &PutBlob) -> Result<[u8; 32], Refusal> {
    let claimed: [u8; 32] = bytes(&blob.sha256, "PutBlob.sha256")?;
    if blob.size_bytes > MAX_CHUNK_BYTES {
        return Err(Refusal::Argument {
            field: "PutBlob.size_bytes",
            rule: "must be at most 262144",
        });
    }
    let room = usize::try_from(blob.size_bytes).unwrap_or(0);
    let plain =
        zstd::bulk::decompress(&blob.compressed, room).map_err(|_| Refusal::BlobMismatch)?;
    if plain.len() != room || sha256(&[&plain]) != claimed {
        return Err(Refusal::BlobMismatch);
    }
    Ok(claimed)
}

//! What several actions ask before they change anything.

use pact_schemas::convert::{WireError, required};
use pact_schemas::resource::{Change, ResourceKey, Value, change_set};
use pact_schemas::v1;
use pact_schemas::{NodeId, VclusterId};
use prost::Message as _;

use super::{Held, MAX_VALUE_BYTES};
use crate::nodes::state_of;
use crate::records::Uploader;
use crate::refusal::Refusal;
use crate::working::{Working, vcluster_of};

/// Longest message of a person.
const MAX_MESSAGE_BYTES: usize = 1_024;
/// Keys that a payload names beside the changes; the changes have all of them.
const MAX_NAMED_KEYS: usize = 1_024;
/// Bytes of such names.
const MAX_NAMED_BYTES: usize = 64 * 1024;
/// Keys that the text of a refusal names.
pub(super) const SHOWN_KEYS: usize = 8;
/// Characters of one of them.
const SHOWN_CHARACTERS: usize = 120;

/// A node that may be acted on, and the vCluster that it is in.
pub(super) fn node_in_vcluster(
    work: &Working<'_>,
    node: &NodeId,
) -> Result<(v1::NodeRecord, VclusterId), Refusal> {
    let record = work.node(node).ok_or_else(|| Refusal::UnknownNode { node: node.clone() })?;
    if state_of(&record) == v1::NodeState::Revoked {
        return Err(Refusal::Revoked { node: node.clone() });
    }
    let vcluster =
        vcluster_of(&record).ok_or_else(|| Refusal::NotAssigned { node: node.clone() })?;
    Ok((record, vcluster))
}

/// Refuses what needs a second person, for as long as nobody can be asked.
pub(crate) fn one_person_suffices(
    work: &Working<'_>,
    vcluster: &VclusterId,
) -> Result<(), Refusal> {
    let policy = work.vcluster(vcluster).and_then(|record| record.policy).unwrap_or_default();
    if policy.regulated == Some(true) || policy.two_person_approval == Some(true) {
        return Err(Refusal::NeedsApproval { vcluster: vcluster.clone() });
    }
    Ok(())
}

/// The changes of a set, from the state where they are chunks, which whoever names them has sent.
pub(super) fn read_changes(
    work: &Working<'_>,
    by: &Uploader,
    set: Option<&v1::ChangeSet>,
    field: &'static str,
) -> Result<Vec<Change>, Refusal> {
    let own = |chunk: &v1::BlobRef| {
        let sha256 = chunk.sha256.as_slice().try_into().ok()?;
        // What another has sent is as if it were not there: a digest is no secret, and says nothing here.
        work.has_uploaded(&sha256, by).then(|| work.chunk(chunk))?
    };
    Ok(change_set::unpack(required(set, field)?, own)?)
}

/// Whether a value may be declared: of bounded size, and with contents that whoever declares it has sent, if they are said to
/// be kept.
pub(super) fn declarable(
    work: &Working<'_>,
    by: &Uploader,
    key: &ResourceKey,
    value: &Value,
) -> Result<(), Refusal> {
    if v1::Value::from(value).encoded_len() > MAX_VALUE_BYTES {
        return Err(Refusal::Wire(WireError::Bounds {
            field: "Change.new",
            rule: "has more than 128 KiB",
        }));
    }
    let kept = value.as_file().filter(|file| file.content_kept).and_then(|file| file.sha256);
    match kept {
        Some(sha256) if !work.has_uploaded(&sha256, by) => {
            Err(Refusal::ContentMissing { key: shown(key), sha256 })
        }
        _ => Ok(()),
    }
}

/// The line of a person, or what is said in its place. Control characters could forge another line.
pub(super) fn message(text: &str, otherwise: String) -> Result<String, Refusal> {
    if text.len() > MAX_MESSAGE_BYTES {
        return Err(Refusal::Argument { field: "message", rule: "may have 1,024 bytes" });
    }
    if text.trim().is_empty() {
        return Ok(otherwise);
    }
    Ok(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// As many names as a payload takes.
pub(super) fn named<'a>(keys: impl Iterator<Item = &'a ResourceKey>) -> Vec<String> {
    let mut bytes = 0;
    let mut names = Vec::new();
    for key in keys.take(MAX_NAMED_KEYS) {
        bytes += key.as_str().len();
        if bytes > MAX_NAMED_BYTES {
            break;
        }
        names.push(key.as_str().to_owned());
    }
    names
}

/// A key as the text of a refusal shows it.
pub(super) fn shown(key: &ResourceKey) -> String {
    key.as_str().chars().take(SHOWN_CHARACTERS).collect()
}

/// The value of a live key.
pub(super) fn value_of(held: Option<Held>) -> Option<Value> {
    held.map(|held| held.value)
}

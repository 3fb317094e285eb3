//! What several actions ask before they change anything.

use pact_schemas::Message;
use pact_schemas::convert::{Scope, WireError, id, required, text};
use pact_schemas::resource::{Change, ResourceKey, Value, change_set};
use pact_schemas::v1;
use prost::Message as _;

use crate::declared::{Held, MAX_VALUE_BYTES};
use crate::record::Uploader;
use crate::refusal::Refusal;
use crate::working::{Draft, Working};

/// Longest text of a policy, and of what is recorded of a refusal.
pub(crate) const MAX_TEXT_BYTES: usize = 1_024;
/// Keys that a payload names beside the changes; the changes have all of them.
const MAX_NAMED_KEYS: usize = 1_024;
/// Bytes of such names.
const MAX_NAMED_BYTES: usize = 64 * 1024;
/// Keys that the text of a refusal names.
pub(crate) const SHOWN_KEYS: usize = 8;
/// Characters of one of them.
const SHOWN_CHARACTERS: usize = 120;

/// The changes of a set, from the state where they are chunks, which whoever names them has sent.
pub(crate) fn read_changes(
    work: &Working<'_>,
    by: &Uploader,
    set: Option<&v1::ChangeSet>,
    field: &'static str,
) -> Result<Vec<Change>, Refusal> {
    let own = |chunk: &v1::BlobRef| {
        let sha256 = chunk.sha256.as_slice().try_into().ok()?;
        // What another has sent is as if it were not there: a digest is no secret, and says nothing
        // here.
        work.has_uploaded(&sha256, by).then(|| work.chunk(chunk))?
    };
    Ok(change_set::unpack(required(set, field)?, own)?)
}

/// Whether a value may be declared: of bounded size, and with contents that whoever declares it has
/// sent, if they are said to be kept.
pub(crate) fn declarable(
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

/// The line of a person, or what is said in its place.
pub(crate) fn message(text: &str, otherwise: String) -> Result<String, Refusal> {
    let said = Message::flattened(text).map_err(Refusal::argument)?;
    Ok(said.map_or(otherwise, String::from))
}

/// As many names as a payload takes.
pub(crate) fn named<'a>(keys: impl Iterator<Item = &'a ResourceKey>) -> Vec<String> {
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
pub(crate) fn shown(key: &ResourceKey) -> String {
    key.as_str().chars().take(SHOWN_CHARACTERS).collect()
}

/// The value of a live key.
pub(crate) fn value_of(held: Option<Held>) -> Option<Value> {
    held.map(|held| held.value)
}

/// Whether a text is there, and short.
pub(crate) fn short(value: &str, field: &'static str) -> Result<(), Refusal> {
    text(value, field)?;
    if value.len() > MAX_TEXT_BYTES {
        return Err(Refusal::Argument { field, rule: "may have 1,024 bytes" });
    }
    Ok(())
}

/// A record of the gateway, seen by those whom it concerned when it was judged. What names nothing
/// is about the site.
pub(crate) fn about(draft: Draft, vclusters: &[String], target: &str) -> Result<Draft, Refusal> {
    if vclusters.len() > MAX_NAMED_KEYS {
        return Err(Refusal::Argument { field: "vclusters", rule: "may name 1,024" });
    }
    let vclusters = vclusters.iter().map(|name| id(name, "vclusters"));
    let is_closed = match &draft.scope {
        Scope::Node(_) => true,
        Scope::Vcluster(_) => false,
        Scope::Global => !target.is_empty(),
    };
    Ok(Draft { vclusters: vclusters.collect::<Result<_, _>>()?, is_closed, ..draft })
}

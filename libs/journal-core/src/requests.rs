//! Exactly once: which request ids are taken, and how long they are remembered (decisions §6).

use std::time::Duration;

use pact_schemas::v1::{self, Command};
use pact_schemas::{RequestId, convert};
use prost::Message as _;

use crate::record::{RequestHorizon, RequestMemory, sha256};
use crate::refusal::Refusal;
use crate::view::StateView;
use crate::working::Working;

/// Ids are remembered this long, unless there are more than [`MAX_REMEMBERED`].
pub(crate) const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);
/// Ids that are remembered; about 400 MB of rows.
const MAX_REMEMBERED: u64 = 4_000_000;
/// However many there are, the horizon never comes nearer than this: a client's retries must meet
/// their id.
const NEAREST_HORIZON: Duration = Duration::from_secs(60);
/// An id may be this far ahead of leader time; more means that the client's clock is wrong.
pub(crate) const MAX_AHEAD: Duration = Duration::from_secs(300);
/// Ids that one tick forgets, so that a tick is no longer than a full batch.
const FORGET_PER_TICK: usize = 20_000;

/// What becomes of a command with a request id.
pub(crate) enum Admission {
    /// Not seen before.
    New { id: RequestId, digest: [u8; 32] },
    /// Seen: this was the outcome.
    Repeated(v1::Committed),
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn now_milliseconds(time_nanos: i64) -> u64 {
    u64::try_from(time_nanos / 1_000_000).unwrap_or(0)
}

/// Checks the id of a command, of which `digest` says who asks for what.
pub(crate) fn admit(
    work: &Working<'_>,
    id: &str,
    digest: [u8; 32],
    time_nanos: i64,
) -> Result<Admission, Refusal> {
    let id: RequestId = convert::id(id, "Command.request_id")?;
    if let Some(memory) = work.request(&id) {
        if memory.digest != digest {
            return Err(Refusal::RequestIdReused { id });
        }
        return Ok(Admission::Repeated(v1::Committed {
            first_seq: memory.first_seq,
            last_seq: memory.last_seq,
            time: Some(convert::timestamp(memory.time_nanos)),
            repeated_request: true,
        }));
    }
    let now = now_milliseconds(time_nanos);
    not_forgotten(work.horizon(), id, now)?;
    let made = id.unix_milliseconds();
    if made > now.saturating_add(milliseconds(MAX_AHEAD)) {
        return Err(Refusal::RequestIdAhead { id, ahead_seconds: made.saturating_sub(now) / 1000 });
    }
    Ok(Admission::New { id, digest })
}

/// What is remembered of a request; `None`: nothing was committed under this id.
///
/// # Errors
/// For an id that may have been forgotten.
pub fn recall(view: &dyn StateView, id: RequestId) -> Result<Option<RequestMemory>, v1::Error> {
    let memory = view.request(&id);
    if memory.is_none() {
        not_forgotten(view.horizon(), id, now_milliseconds(view.head().time_nanos))?;
    }
    Ok(memory)
}

/// Whether an id that is not remembered was never committed: an older one may be forgotten.
fn not_forgotten(horizon: RequestHorizon, id: RequestId, now: u64) -> Result<(), Refusal> {
    let oldest = now.saturating_sub(milliseconds(REMEMBERED_FOR));
    let made = id.unix_milliseconds();
    if made < horizon.unix_milliseconds.max(oldest) {
        return Err(Refusal::RequestIdOld { id, behind_seconds: now.saturating_sub(made) / 1000 });
    }
    Ok(())
}

/// Who asks for what, without the time at which it arrived. `asked` is the command's action without
/// where the right to ask was judged, if that was.
pub(crate) fn digest(command: &Command, asked: Option<v1::Action>) -> [u8; 32] {
    let author = command.author.as_ref();
    let subject = author.map_or("", |a| a.subject.as_str());
    let issuer = author.map_or("", |a| a.issuer.as_str());
    let kind = author.map_or(0, |a| a.kind).to_be_bytes();
    // Lengths keep neighbours apart, whatever characters a name has.
    let length = |text: &str| (text.len() as u64).to_be_bytes();
    let asked = asked.as_ref().or(command.action.as_ref());
    let action = asked.map(v1::Action::encode_to_vec).unwrap_or_default();
    sha256(&[
        &length(issuer),
        issuer.as_bytes(),
        &length(subject),
        subject.as_bytes(),
        &kind,
        &action,
    ])
}

/// Remembers the outcome of an accepted command.
pub(crate) fn remember(work: &mut Working<'_>, id: RequestId, memory: RequestMemory) {
    let horizon = work.horizon();
    work.staged.horizon = Some(RequestHorizon { remembered: horizon.remembered + 1, ..horizon });
    work.staged.requests.insert(id, Some(memory));
}

/// Whether the oldest of this many remembered ids is to be forgotten.
pub fn forgets(oldest: &RequestId, remembered: u64, now_milliseconds: u64) -> bool {
    let age = now_milliseconds.saturating_sub(oldest.unix_milliseconds());
    let is_surplus = remembered > MAX_REMEMBERED && age > milliseconds(NEAREST_HORIZON);
    is_surplus || age > milliseconds(REMEMBERED_FOR)
}

/// Forgets what is too old or too much, a bounded number at a time; the horizon follows what was
/// forgotten.
pub(crate) fn forget(work: &mut Working<'_>, time_nanos: i64) {
    let now = now_milliseconds(time_nanos);
    let horizon = work.horizon();
    let mut forgotten = 0_u64;
    let mut edge = horizon.unix_milliseconds;
    for id in work.oldest_requests(FORGET_PER_TICK) {
        if !forgets(&id, horizon.remembered - forgotten, now) {
            break;
        }
        forgotten += 1;
        edge = edge.max(id.unix_milliseconds().saturating_add(1));
        work.staged.requests.insert(id, None);
    }
    if forgotten > 0 {
        // Ids of the same millisecond that are still remembered are found before the horizon is
        // looked at.
        work.staged.horizon = Some(RequestHorizon {
            unix_milliseconds: edge,
            remembered: horizon.remembered - forgotten,
        });
    }
}

//! Grants: made of what is committed, so that signing again gives the same one.

use pact_identity::grant::MAX_LIFETIME;
use pact_journal_core::action::{self, Granted};
use pact_runtime::Timestamp;
use pact_schemas::v1::{self, Command, Entry, GrantPayload, SignedGrant};
use pact_schemas::{ErrorCode, RequestId, convert};
use prost::Message as _;

use crate::context::Context;
use crate::store::query;

/// Version of the payload.
const GRANT_VERSION: u32 = 1;

/// Signs the grant of a committed action. The entry is applied here: the caller has its outcome from this member.
///
/// # Errors
/// `PACT_GRANT_EXPIRED` when the entry is older than a grant lives; `PACT_CLOCK_UNKNOWN` while this member's clock is not to be
/// believed.
pub(super) fn sign(
    context: &Context,
    command: &Command,
    seq: u64,
) -> Result<SignedGrant, v1::Error> {
    let state = context.member().state();
    let lost = || ErrorCode::Internal.error(format!("entry {seq} cannot be granted"));
    let stored = query::entry(&state, seq).ok_or_else(lost)?;
    let entry = Entry::decode(stored.entry).map_err(|_| lost())?;
    let id: RequestId =
        convert::id(command.request_id.as_deref().unwrap_or(""), "Command.request_id")?;
    let memory = query::request(&state, &id).ok_or_else(lost)?;
    // A retry brings the same command, or it would have been refused.
    let asked = command.action.as_ref().and_then(|action| action.action.as_ref());
    let (asked, done) = asked.zip(entry.payload.clone()).ok_or_else(lost)?;
    let granted = action::granted(asked, done, memory).ok_or_else(lost)?;
    let payload = payload(context, entry, granted).ok_or_else(lost)?;
    let expires = convert::unix_nanos(payload.expires.as_ref(), "GrantPayload.expires")?;
    if context.signing_time()? >= Timestamp::from_unix_nanos(expires) {
        return Err(ErrorCode::GrantExpired
            .error(format!("the request was committed as entry {seq}, and its grant has expired"))
            .because("it was answered more than 60 s ago; nothing is started by this retry")
            .next(format!(
                "see `pact log show {seq}` for its outcome, or ask with a new request id"
            )));
    }
    context.inner.issuer.sign(&payload).map_err(|error| {
        tracing::error!(seq, %error, cause = pact_runtime::causes(&error), "what is committed cannot be granted");
        lost().because(error.to_string())
    })
}

fn payload(context: &Context, entry: Entry, granted: Granted) -> Option<GrantPayload> {
    let issued = convert::unix_nanos(entry.time.as_ref(), "Entry.time").ok()?;
    let expires = Timestamp::from_unix_nanos(issued).checked_add(MAX_LIFETIME)?;
    Some(GrantPayload {
        version: GRANT_VERSION,
        site: context.inner.site.to_string(),
        seq: entry.seq,
        request_id: entry.request_id?,
        principal: entry.author,
        acting_role: entry.acting_role,
        operation: granted.operation.to_owned(),
        targets: granted.targets,
        policy_ref: entry.policy_ref,
        approval: entry.approval,
        emergency: entry.emergency,
        issued: entry.time,
        expires: Some(convert::timestamp(expires.unix_nanos())),
        degraded: false,
        action: Some(granted.action),
    })
}

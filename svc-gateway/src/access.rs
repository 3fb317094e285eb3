//! Records of reading and of refusals.
//!
//! Reading is counted by principal, operation, target and minute, and proposed when the minute is over: nobody waits
//! for it. A refusal is proposed at once, and its caller waits a moment for it, so that it stands in the log when the
//! refusal is seen. One task owns all of it.
//!
//! When the journal is away, records are kept (bounded) and proposed when it is back. What does not fit, or is not
//! proposed when the process ends, is counted and logged, not silently gone. A record that the journal does not accept
//! never holds up the others: requests are cut by their size, halved when they fail, and what fails alone is told apart
//! from what failed for another's sake (`batch`).

mod batch;
mod kept;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pact_identity::{Attestation, Signer, Statement, attestation};
use pact_journal_client::{Journal, committed};
use pact_runtime::{CancellationToken, Clock, Timestamp};
use pact_schemas::convert::{Scope, timestamp};
use pact_schemas::v1::{self, action::Action as Act};
use pact_schemas::{ErrorCode, RequestId};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use crate::authorise::{Note, Permit};
use crate::error::Answer;
use batch::{Failed, MAX_REQUEST_BYTES, Most};
use kept::Kept;

/// Notes that wait for the task: some seconds of a busy gateway.
const QUEUE: usize = 4_096;

/// Different (principal, operation, target) of a minute; beyond it they are proposed early.
const MAX_COUNTED: usize = 4_096;

/// How long a caller waits for the record of its refusal; the refusal itself stands in any case.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);

/// How often finished minutes are looked for, and kept records tried again.
const TICK: Duration = Duration::from_secs(5);

/// Notes that are taken from the queue at once.
const TAKEN_AT_ONCE: usize = 128;

/// Longest target that is recorded (the journal's bound): more nodes are named by their beginning.
const MAX_TARGET: usize = 4 * 1_024;

/// Longest reason (the journal's bound is 1 KiB).
const MAX_REASON: usize = 1_000;

const NANOS_PER_MINUTE: i64 = 60_000_000_000;

/// Hands notes to the task. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    notes: mpsc::Sender<Message>,
    clock: Clock,
}

#[derive(Debug)]
enum Message {
    Accessed { note: Note, at: Timestamp },
    Denied { note: Note, code: String, reason: String, done: oneshot::Sender<()> },
}

/// Everything that makes one count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    minute: i64,
    issuer: String,
    subject: String,
    operation: &'static str,
    scope: Scope,
    target: String,
    vclusters: Vec<String>,
}

#[derive(Debug)]
struct Record {
    permit: Permit,
    action: v1::Action,
    /// The same for each attempt: an attempt whose answer was lost is not recorded twice.
    id: RequestId,
    /// The id was refused once, and is another now.
    is_renewed: bool,
    /// What it takes of the memory for records.
    bytes: usize,
    done: Option<oneshot::Sender<()>>,
}

impl Records {
    /// A handle, and the receiving end for the task.
    pub(crate) fn new(clock: Clock) -> (Self, Inbox) {
        let (notes, inbox) = mpsc::channel(QUEUE);
        (Self { notes, clock }, Inbox(inbox))
    }

    /// Counts a reading. Never waits.
    pub(crate) fn accessed(&self, note: Note, at: Timestamp) {
        if self.notes.try_send(Message::Accessed { note, at }).is_err() {
            lost("accessed", 1);
        }
    }

    /// Records a refusal, and waits a moment for it to be committed.
    pub(crate) async fn denied(&self, note: Note, refusal: &v1::Error) {
        metrics::counter!("pact_gateway_denied_total", "code" => refusal.code.clone()).increment(1);
        let (done, recorded) = oneshot::channel();
        let reason = if refusal.cause.is_empty() { &refusal.message } else { &refusal.cause };
        let reason = cut(reason, MAX_REASON);
        let message = Message::Denied { note, code: refusal.code.clone(), reason, done };
        let recording = async {
            if self.notes.send(message).await.is_err() {
                lost("denied", 1);
            }
            recorded.await.is_ok()
        };
        if !matches!(self.clock.timeout(REFUSAL_WAIT, recording).await, Ok(true)) {
            tracing::warn!(code = refusal.code, "a refusal is not in the journal yet");
        }
    }
}

/// The receiving end; see [`Inbox::run`].
pub(crate) struct Inbox(mpsc::Receiver<Message>);

impl Inbox {
    /// Counts and proposes until `stop`, then once more. Never fails: what the journal does not take is kept.
    pub(crate) async fn run(
        mut self,
        journal: Journal,
        signer: Arc<Signer>,
        clock: Clock,
        stop: CancellationToken,
    ) {
        let mut task = Task {
            journal,
            signer,
            clock: clock.clone(),
            counted: BTreeMap::new(),
            kept: Kept::new(),
        };
        let mut messages = Vec::with_capacity(TAKEN_AT_ONCE);
        let mut is_stopping = false;
        while !is_stopping {
            tokio::select! {
                taken = self.0.recv_many(&mut messages, TAKEN_AT_ONCE) => is_stopping = taken == 0, // cancel-safe: documented
                () = clock.sleep(TICK) => {} // cancel-safe: a timer
                () = stop.cancelled() => is_stopping = true, // cancel-safe: a token
            }
            messages.drain(..).for_each(|message| task.take(message));
            while is_stopping && let Ok(message) = self.0.try_recv() {
                task.take(message);
            }
            task.close_minutes(is_stopping);
            task.propose().await;
        }
        lost("at the end", task.kept.len());
    }
}

struct Task {
    journal: Journal,
    signer: Arc<Signer>,
    clock: Clock,
    counted: BTreeMap<Key, (Permit, u32)>,
    kept: Kept<Record>,
}

impl Task {
    fn take(&mut self, message: Message) {
        match message {
            Message::Accessed { note, at } => {
                let key = Key {
                    minute: at.unix_nanos().div_euclid(NANOS_PER_MINUTE),
                    issuer: note.permit.principal.issuer().to_owned(),
                    subject: note.permit.principal.subject().to_owned(),
                    operation: note.permit.operation.name,
                    scope: note.scope,
                    target: cut(&note.target, MAX_TARGET),
                    vclusters: note.vclusters,
                };
                let counted = self.counted.entry(key).or_insert((note.permit, 0));
                counted.1 = counted.1.saturating_add(1);
            }
            Message::Denied { note, code, reason, done } => {
                let denied = v1::Denied {
                    operation: note.permit.operation.name.to_owned(),
                    target: cut(&note.target, MAX_TARGET),
                    code,
                    reason,
                };
                let scope = Some((&note.scope).into());
                let (denied, vclusters) = (Some(denied), note.vclusters);
                let act = Act::RecordDenied(v1::RecordDenied { scope, denied, vclusters });
                self.keep(note.permit, act, Some(done));
            }
        }
    }

    /// Turns counts into records: of minutes that are over, or all of them.
    fn close_minutes(&mut self, all: bool) {
        let now = self.clock.now().unix_nanos().div_euclid(NANOS_PER_MINUTE);
        let all = all || self.counted.len() >= MAX_COUNTED;
        // Keys begin with the minute, so what is over comes first.
        while let Some(first) = self.counted.first_entry() {
            if first.key().minute >= now && !all {
                break;
            }
            let (key, (permit, count)) = first.remove_entry();
            let accessed = v1::Accessed {
                operation: key.operation.to_owned(),
                target: key.target,
                count,
                minute: Some(timestamp(key.minute.saturating_mul(NANOS_PER_MINUTE))),
            };
            let scope = Some((&key.scope).into());
            let (accessed, vclusters) = (Some(accessed), key.vclusters);
            let act = Act::RecordAccess(v1::RecordAccess { scope, accessed, vclusters });
            self.keep(permit, act, None);
        }
    }

    fn keep(&mut self, permit: Permit, act: Act, done: Option<oneshot::Sender<()>>) {
        let Ok(id) = own_request_id(&self.clock) else { return lost("unattested", 1) };
        let action = v1::Action { action: Some(act) };
        let bytes = action.encoded_len() + permit.principal.to_wire().encoded_len();
        let record = Record { permit, action, id, is_renewed: false, bytes, done };
        lost("oldest", self.kept.add(record, bytes));
    }

    /// Proposes what is kept, until nothing is or the journal does not take it.
    async fn propose(&mut self) {
        let mut most = Most::ALL;
        loop {
            let (batch, proposals) = self.next_batch(most);
            if batch.is_empty() {
                return;
            }
            let error = match self.journal.propose(proposals).await {
                Ok(results) => {
                    self.settle(batch, results);
                    most = Most::ALL;
                    continue;
                }
                Err(error) => error,
            };
            let (sent, failed) = (batch.len(), Failed::of(&error));
            match failed {
                Failed::Content | Failed::Unclear if sent > 1 => {
                    self.put_back(batch);
                    most = Most::fewer(sent);
                }
                Failed::Content => {
                    tracing::error!(%error, "the journal does not accept a record");
                    lost("refused", sent);
                    most = Most::ALL;
                }
                Failed::Unclear => {
                    tracing::error!(%error, "the journal does not take a record; it is tried again after the others");
                    for record in batch {
                        let bytes = record.bytes;
                        self.kept.last(record, bytes);
                    }
                    return;
                }
                Failed::Away => {
                    self.put_back(batch);
                    let kept = self.kept.len();
                    tracing::warn!(%error, kept, "records are kept until the journal answers");
                    return;
                }
            }
        }
    }

    fn put_back(&mut self, batch: Vec<Record>) {
        for record in batch.into_iter().rev() {
            let bytes = record.bytes;
            self.kept.first(record, bytes);
        }
    }

    /// The oldest records, as many as one request may hold, each with its proposal.
    fn next_batch(&mut self, most: Most) -> (Vec<Record>, Vec<v1::Proposal>) {
        let (mut batch, mut proposals, mut bytes) = (Vec::new(), Vec::new(), 0);
        while batch.len() < most.count()
            && let Some((mut record, kept_bytes)) = self.kept.next()
        {
            let proposal = match self.proposal(&mut record) {
                Ok(proposal) => proposal,
                Err(error) => {
                    // Without an attestation it can never be proposed.
                    tracing::error!(%error, "a record cannot be proposed");
                    lost("unattested", 1);
                    continue;
                }
            };
            bytes += batch::size(&proposal);
            if bytes > MAX_REQUEST_BYTES && !batch.is_empty() {
                self.kept.first(record, kept_bytes);
                break;
            }
            batch.push(record);
            proposals.push(proposal);
        }
        (batch, proposals)
    }

    /// The proposal of one record, which is shortened if it alone would be too large.
    fn proposal(&self, record: &mut Record) -> Answer<v1::Proposal> {
        loop {
            let (permit, action) = (&record.permit, &record.action);
            let proposal = attest(&self.signer, &self.clock, permit, record.id, action)?;
            let excess = batch::size(&proposal).saturating_sub(MAX_REQUEST_BYTES);
            if excess == 0 {
                return Ok(proposal);
            }
            // Ends: each round takes at least one byte of the target.
            if !batch::shorten(&mut record.action, excess) {
                return Err(ErrorCode::TooLarge.error("a record is too large without its target"));
            }
        }
    }

    fn settle(&mut self, batch: Vec<Record>, results: Vec<v1::ProposalResult>) {
        for (mut record, result) in batch.into_iter().zip(results) {
            let error = match committed(result) {
                Ok(_) => {
                    if let Some(done) = record.done {
                        let _gave_up = done.send(());
                    }
                    continue;
                }
                Err(error) => error,
            };
            // Kept for longer than ids are remembered: rather twice than never. Once, since a wrong clock gets no better.
            let is_forgotten = error.known_code() == ErrorCode::RequestIdRefused;
            match own_request_id(&self.clock) {
                Ok(id) if is_forgotten && !record.is_renewed => {
                    (record.id, record.is_renewed) = (id, true);
                    let bytes = record.bytes;
                    self.kept.last(record, bytes);
                }
                _ => {
                    tracing::error!(%error, "the journal refuses a record");
                    lost("refused", 1);
                }
            }
        }
    }
}

/// A proposal for `action`, in the name of the permit's principal.
pub(crate) fn attest(
    signer: &Signer,
    clock: &Clock,
    permit: &Permit,
    request_id: RequestId,
    action: &v1::Action,
) -> Answer<v1::Proposal> {
    let action = action.encode_to_vec();
    let statement = Statement {
        principal: &permit.principal,
        acting_role: permit.acting_role.as_ref(),
        operation: permit.operation,
        request_id,
        action: &action,
        policy_ref: &permit.policy_ref,
    };
    let attestation = Attestation::sign(signer, &statement, clock.now(), attestation::MAX_LIFETIME)
        .map_err(|error| {
            ErrorCode::Internal.error("the request cannot be attested").because(error.to_string())
        })?;
    Ok(v1::Proposal { attestation: Some(attestation), action })
}

/// A request id of the gateway's own.
fn own_request_id(clock: &Clock) -> Answer<RequestId> {
    RequestId::new(clock.new_uuid_v7())
        .map_err(|error| ErrorCode::Internal.error(error.to_string()))
}

/// At most `max` bytes, at a character's edge, without control characters.
fn cut(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}

fn lost(which: &'static str, count: usize) {
    if count > 0 {
        metrics::counter!("pact_gateway_records_lost_total", "which" => which)
            .increment(count as u64);
        tracing::error!(which, count, "records of access or refusals are lost");
    }
}

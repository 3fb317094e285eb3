//! Records of reading and of refusals.
//!
//! Reading is counted by principal, operation, target and minute, and proposed when the minute is over: nobody waits
//! for it. A refusal is proposed at once, and its caller waits a moment for it, so that it stands in the log when the
//! refusal is seen. One task owns all of it.
//!
//! When the journal is away, records are kept (bounded) and proposed when it is back. What does not fit, or is not
//! proposed when the process ends, is counted and logged, not silently gone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pact_identity::{Attestation, Signer, Statement, attestation};
use pact_runtime::{CancellationToken, Clock, Timestamp};
use pact_schemas::convert::{Scope, timestamp};
use pact_schemas::v1::{self, action::Action as Act};
use pact_schemas::{ErrorCode, RequestId};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use crate::authorise::{Note, Permit};
use crate::error::Answer;
use crate::journal::{Journal, MAX_PROPOSALS, committed};

/// Notes that wait for the task: some seconds of a busy gateway.
const QUEUE: usize = 4_096;

/// Different (principal, operation, target) of a minute; beyond it they are proposed early.
const MAX_COUNTED: usize = 4_096;

/// Records kept while the journal is away; each is a few hundred bytes.
const MAX_KEPT: usize = 16_384;

/// How long a caller waits for the record of its refusal; the refusal itself stands in any case.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);

/// How often finished minutes are looked for, and kept records tried again.
const TICK: Duration = Duration::from_secs(5);

/// Records in one proposal. With targets of at most 1 KiB they stay under the journal's 512 KiB.
const BATCH: usize = MAX_PROPOSALS / 2;

/// Longest target that is recorded: many nodes are named by their beginning.
const MAX_TARGET: usize = 1_024;

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
}

struct Record {
    permit: Permit,
    action: v1::Action,
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
            kept: VecDeque::new(),
        };
        let mut messages = Vec::with_capacity(BATCH);
        let mut is_stopping = false;
        while !is_stopping {
            tokio::select! {
                taken = self.0.recv_many(&mut messages, BATCH) => is_stopping = taken == 0, // cancel-safe: documented
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
    kept: VecDeque<Record>,
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
                let act = Act::RecordDenied(v1::RecordDenied { scope, denied: Some(denied) });
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
            let act = Act::RecordAccess(v1::RecordAccess { scope, accessed: Some(accessed) });
            self.keep(permit, act, None);
        }
    }

    fn keep(&mut self, permit: Permit, act: Act, done: Option<oneshot::Sender<()>>) {
        if self.kept.len() >= MAX_KEPT {
            self.kept.pop_front();
            lost("oldest", 1);
        }
        self.kept.push_back(Record { permit, action: v1::Action { action: Some(act) }, done });
    }

    async fn propose(&mut self) {
        while !self.kept.is_empty() {
            let batch: Vec<Record> = self.kept.drain(..self.kept.len().min(BATCH)).collect();
            let proposals: Answer<Vec<v1::Proposal>> = batch
                .iter()
                .map(|r| {
                    attest(
                        &self.signer,
                        &self.clock,
                        &r.permit,
                        own_request_id(&self.clock)?,
                        &r.action,
                    )
                })
                .collect();
            let results = match proposals {
                Ok(proposals) => self.journal.propose(proposals).await,
                Err(error) => {
                    // Without an attestation none of them can ever be proposed.
                    tracing::error!(%error, "records cannot be attested");
                    lost("unattested", batch.len());
                    continue;
                }
            };
            match results {
                Ok(results) => settle(batch, results),
                Err(error) => {
                    let kept = self.kept.len() + batch.len();
                    tracing::warn!(%error, kept, "records are kept until the journal answers");
                    batch.into_iter().rev().for_each(|record| self.kept.push_front(record));
                    return;
                }
            }
        }
    }
}

fn settle(batch: Vec<Record>, results: Vec<v1::ProposalResult>) {
    for (record, result) in batch.into_iter().zip(results) {
        match committed(result) {
            Ok(_) => {
                if let Some(done) = record.done {
                    let _gave_up = done.send(());
                }
            }
            Err(error) => {
                tracing::error!(%error, "the journal refuses a record");
                lost("refused", 1);
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

//! What the engine answers to those who look and decide.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pact_runtime::causes;
use pact_schemas::convert::{self, WireError};
use pact_schemas::resource::{Change, ResourceKey, Value};
use pact_schemas::{ErrorCode, Minutes, Seq, VclusterId, v1};
use prost::Message;

use super::act::{Problem, plan_sha256};
use super::core::set::Item;
use super::core::snapshots::Snapshot;
use super::engine::Engine;
use super::store::Why;
use crate::provider::{ProviderError, abilities_of};

/// Items of one page.
const PAGE_ITEMS: usize = 1_000;

/// Bytes of one page: half of what a message may have.
const PAGE_BYTES: usize = 512 * 1024;

/// How long a checked plan keeps the node from changing by itself (contracts §4).
const RESERVED_FOR: Duration = Duration::from_secs(10);

/// Problems that one answer names.
pub(super) const MAX_PROBLEMS: usize = 256;

/// Keys with what they are to become, and keys that a plan was not made for.
type Wishes = (Vec<(ResourceKey, Value)>, Vec<Problem>);

/// Drift that is about to be committed.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) vcluster: VclusterId,
    pub(super) config_seq: Seq,
    /// Keys whose value the node can never bring back.
    pub(super) unkept: BTreeSet<ResourceKey>,
    /// Keys that are not what was seen any more, or of which that cannot be told: they stay drift.
    pub(super) left: Vec<Problem>,
}

impl Engine {
    /// One page of the drift.
    pub(super) fn diff(&mut self, request: &v1::DiffRequest) -> Result<v1::DiffReply, v1::Error> {
        let snapshot = if request.offset == 0 || request.summary {
            self.look_anew();
            self.finish();
            self.snapshots.take(&self.set, self.declared.head(), self.plane.best())
        } else {
            self.shown(&request.digest)?
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let report_only = snapshot.items.iter().filter(|item| item.is_report_only()).count();
        let mut reply = v1::DiffReply {
            digest: snapshot.digest.to_vec(),
            config_seq: snapshot.config_seq.map_or(0, Seq::get),
            vcluster: self.declared.vcluster().map(ToString::to_string),
            items: Vec::new(),
            total: count(snapshot.items.len()),
            report_only_total: count(report_only),
            next_offset: 0,
            window: Some(self.window.status()),
            enforcement_mode: self.settings.mode.as_str().to_owned(),
            scanning: self.set.is_truncated(),
            taken: Some(convert::timestamp(snapshot.taken.unix_nanos())),
            silent: self.silent(),
        };
        if request.summary {
            return Ok(reply);
        }
        let from = usize::try_from(request.offset).unwrap_or(usize::MAX);
        let mut bytes = 0;
        for (number, item) in snapshot.items.iter().enumerate().skip(from) {
            let item = self.told_item(item);
            bytes += item.encoded_len();
            if !reply.items.is_empty() && (bytes > PAGE_BYTES || reply.items.len() == PAGE_ITEMS) {
                reply.next_offset = count(number);
                break;
            }
            reply.items.push(item);
        }
        Ok(reply)
    }

    fn told_item(&self, item: &Item) -> v1::DriftItem {
        let conflict = self.conflicts.get(&item.key);
        v1::DriftItem {
            change: Some((&item.change()).into()),
            since: Some(convert::timestamp(item.since.unix_nanos())),
            session_seq: item.session.map(Seq::get),
            report_only: item.is_report_only(),
            conflict: conflict.is_some(),
            journal_value: conflict.map(|conflict| (&conflict.journal).into()),
            not_restorable: never_made(item).or_else(|| self.delayed(&item.key)),
        }
    }

    fn shown(&self, digest: &[u8]) -> Result<Arc<Snapshot>, v1::Error> {
        self.snapshots.get(digest).ok_or_else(|| {
            ErrorCode::Conflict
                .error("the node does not know drift of this digest any more")
                .because("it changed, and was looked at several times since")
                .next("look again with `pact diff`")
        })
    }

    /// The drift that somebody saw, to be committed.
    pub(super) fn capture(&mut self, digest: &[u8]) -> Result<Captured, v1::Error> {
        let snapshot = self.shown(digest)?;
        let Some(vcluster) = self.declared.vcluster().cloned() else {
            return Err(ErrorCode::Conflict
                .error("the node is in no vCluster: it has no declared state of its own")
                .next("assign it with `pact node assign`"));
        };
        let Some(config_seq) = snapshot.config_seq else {
            return Err(ErrorCode::Conflict
                .error("the node has never received its configuration")
                .next("check that the journal is healthy and reachable from the node"));
        };
        let (mut items, mut left) = (Vec::new(), Vec::new());
        for item in &snapshot.items {
            match self.is_still(item) {
                Ok(()) => items.push(Arc::clone(item)),
                Err(problem) => left.push(problem),
            }
        }
        self.finish();
        if let (true, Some(first)) = (items.is_empty(), left.first()) {
            return Err(first
                .code
                .error("nothing of the drift can be committed as it was seen")
                .because(format!("{}: {}", first.key, first.reason))
                .next("look again with `pact diff`"));
        }
        let snapshot = Arc::new(Snapshot { items, ..(*snapshot).clone() });
        let unkept = self.keep_captured(&snapshot);
        Ok(Captured { snapshot, vcluster, config_seq, unkept, left })
    }

    /// Reads a key anew: it still is what was seen, or it is left as it is, as drift.
    fn is_still(&mut self, item: &Item) -> Result<(), Problem> {
        let key = &item.key;
        let actual = self.providers.read(key).map_err(|error| Problem::new(key, &error))?;
        if item.is(&actual) {
            return Ok(());
        }
        self.compare(key, Some(actual));
        Err(Problem::new(key, &ProviderError::Changed { key: key.clone() }))
    }

    /// Keeps what a later rollback must find on this node; answers which keys it will not find.
    fn keep_captured(&mut self, snapshot: &Snapshot) -> BTreeSet<ResourceKey> {
        // Contents of the others go to the journal.
        let is_withheld = |item: &&Arc<Item>| item.is_withheld();
        let withheld: Vec<_> = snapshot.items.iter().filter(is_withheld).collect();
        let mut unkept = BTreeSet::new();
        for item in &withheld {
            let kept = self.providers.keep(&item.key, &item.actual()).unwrap_or_else(|error| {
                tracing::warn!(key = %item.key, cause = causes(&error), "not kept for a rollback: {error}");
                false
            });
            if !kept {
                unkept.insert(item.key.clone());
            }
        }
        if let Err(error) = self.providers.sync_kept() {
            tracing::error!(cause = causes(&error), "nothing is kept for a rollback: {error}");
            unkept.extend(withheld.iter().map(|item| item.key.clone()));
        }
        unkept
    }

    /// Contents of a file as it was captured; `None`: they may not leave the node, are too large, or changed since.
    pub(super) fn captured_contents(
        &mut self,
        key: &ResourceKey,
        sha256: &[u8; 32],
    ) -> Option<Vec<u8>> {
        self.providers.contents(key, sha256).unwrap_or_else(|error| {
            tracing::warn!(%key, cause = causes(&error), "contents are not captured: {error}");
            None
        })
    }

    /// How far the node is, once its configuration has reached what was asked for.
    pub(super) fn settled(&mut self) -> v1::SettleReply {
        self.look_around();
        self.finish();
        let problems = self.problems.values().chain(&self.orphaned).map(Problem::to_wire);
        let problems = problems.chain(self.unanswered().map(|problem| problem.to_wire()));
        let problems = problems.take(MAX_PROBLEMS);
        v1::SettleReply {
            config_seq: self.declared.head().map_or(0, Seq::get),
            problems: problems.collect(),
            drift_keys: u32::try_from(self.set.counted()).unwrap_or(u32::MAX),
            window: Some(self.window.status()),
        }
    }

    /// More time.
    pub(super) fn extend(&mut self, minutes: Minutes) -> Result<v1::ExtendReply, v1::Error> {
        let (now, by) = (self.now(), Duration::from(minutes));
        if self.window.extend(now, by, self.settings.limits).is_err() {
            return Err(ErrorCode::NotFound
                .error("there is no commit window to extend")
                .because("the node is as it should be"));
        }
        self.finish();
        Ok(v1::ExtendReply { window: Some(self.window.status()) })
    }

    /// Who would be hurt by a plan; without any, the plan is reserved.
    pub(super) fn rollback_check(
        &mut self,
        plan: &v1::RollbackPlan,
    ) -> Result<v1::RollbackCheckReply, v1::Error> {
        let sha256 = plan_sha256(plan);
        if self.is_reserved() && self.reserved.is_some_and(|(other, _)| other != sha256) {
            return Err(ErrorCode::Busy
                .error("another rollback of this node is being decided")
                .next("try again in ten seconds"));
        }
        self.look_around();
        let (wishes, mut problems) = self.wishes(plan)?;
        let mut reply =
            v1::RollbackCheckReply { plan_sha256: sha256.to_vec(), ..Default::default() };
        let mut differing = BTreeSet::new();
        for (key, want) in &wishes {
            match self.compared(key, want) {
                Ok((_, true)) => {}
                Ok(_) => drop(differing.insert(key.clone())),
                Err(error) => problems.push(Problem::new(key, &error)),
            }
        }
        reply.keys = u32::try_from(differing.len()).unwrap_or(u32::MAX);
        let (holders, unknown) = self.would_hurt(&differing);
        reply.holders = holders;
        problems.extend(unknown);
        reply.problems = problems.iter().take(MAX_PROBLEMS).map(Problem::to_wire).collect();
        if reply.holders.is_empty() {
            self.reserved = Some((sha256, self.now().boot.later(RESERVED_FOR)));
        }
        self.finish();
        Ok(reply)
    }

    /// Carries out a plan whose grant was taken.
    pub(super) fn rollback(
        &mut self,
        seq: Seq,
        plan: &v1::RollbackPlan,
    ) -> Result<v1::RollbackReply, v1::Error> {
        self.reserved = None;
        self.look_around();
        let (wishes, mut problems) = self.wishes(plan)?;
        let outcome = self.carry_out(Why::Rollback { seq: seq.get() }, wishes);
        let (is_held, left) = (outcome.is_held(), outcome.left());
        problems.extend(outcome.problems);
        let restored = outcome.done.len() + outcome.already;
        let reply = v1::RollbackReply {
            restored_keys: u32::try_from(restored).unwrap_or(u32::MAX),
            holders: outcome.held.clone(),
            problems: problems.iter().take(MAX_PROBLEMS).map(Problem::to_wire).collect(),
        };
        if is_held {
            self.put_off(outcome.held, left);
        }
        self.finish();
        Ok(reply)
    }

    /// What a plan wants of this node, and which of its keys are not what it was made for.
    fn wishes(&mut self, plan: &v1::RollbackPlan) -> Result<Wishes, v1::Error> {
        let (mut wishes, mut problems) = (Vec::new(), Vec::new());
        if plan.discard_drift {
            if plan.changes.as_ref().is_some_and(|set| !set.changes.is_empty()) {
                let rule = "has changes, and discards drift";
                return Err(WireError::Bounds { field: "RollbackPlan.changes", rule }.into());
            }
            let digest = self.set.digest();
            if plan.expect_digest != digest {
                return Err(ErrorCode::Conflict
                    .error("the node's drift is not the one that was looked at")
                    .next("look again with `pact diff`"));
            }
            let items: Vec<_> = self.set.items().cloned().collect();
            for item in items.iter().filter(|item| !item.is_report_only()) {
                match self.is_still(item) {
                    Err(problem) if self.providers.silence(&item.key).is_none() => {
                        problems.push(problem);
                    }
                    // What does not answer is put off with what is held.
                    _ => wishes.push((item.key.clone(), item.wanted())),
                }
            }
            return Ok((wishes, problems));
        }
        for change in changes_of(plan)? {
            let key = change.key.clone();
            match self.wish(change) {
                Ok(Some(want)) => wishes.push((key, want)),
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        Ok((wishes, problems))
    }

    fn wish(&mut self, change: Change) -> Result<Option<Value>, Problem> {
        let key = change.key;
        let fault = |error| Problem::new(&key, &error);
        let want = match (change.new, self.base_of(&key)) {
            (Some(new), _) => Some(new),
            // Declared no more: what it was before anybody declared it.
            (None, Some(base)) => Some(base),
            (None, None) => self.providers.baseline(&key).map_err(fault)?,
        };
        let Some(want) = want else { return Ok(None) };
        let (actual, is_there) = self.compared(&key, &want).map_err(fault)?;
        let is_expected = is_there
            || match change.old {
                Some(old) => self.providers.satisfies(&key, &old, &actual).map_err(fault)?,
                None => true,
            };
        if is_expected {
            return Ok(Some(want));
        }
        Err(Problem {
            key,
            code: ErrorCode::Conflict,
            reason: "it drifted: it is not what was declared; commit or discard that first"
                .to_owned(),
            is_deferred: false,
        })
    }
}

/// Why what should be can be brought about on no node.
fn never_made(item: &Item) -> Option<String> {
    let abilities = abilities_of(item.key.kind())?;
    (abilities.refusal)(&item.wanted()).map(str::to_owned)
}

/// The changes of a plan, in key order.
fn changes_of(plan: &v1::RollbackPlan) -> Result<Vec<Change>, v1::Error> {
    let field = "RollbackPlan.changes";
    let set = convert::required(plan.changes.as_ref(), field)?;
    if !set.chunks.is_empty() {
        return Err(ErrorCode::TooLarge
            .error("the plan is too large for one message")
            .next("roll back the vCluster in enforce mode, or in smaller steps"));
    }
    let mut changes: Vec<Change> = Vec::with_capacity(set.changes.len());
    for wire in &set.changes {
        let change = Change::try_from(wire.clone())?;
        if changes.last().is_some_and(|last| last.key >= change.key) {
            return Err(WireError::Bounds { field, rule: "are not in key order" }.into());
        }
        changes.push(change);
    }
    Ok(changes)
}

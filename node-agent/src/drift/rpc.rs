//! `diff`, `capture`, `settle`, `rollback_chunk`, `rollback_check`, `rollback` and `extend` on `pact.v1.node.<node>.rpc.*`.
//!
//! What only looks needs no grant: the bus lets nobody but the gateway ask. What changes the node, or its window, is carried
//! out on a verified grant alone, once.

mod chunks;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pact_bus::{CallError, MethodLimits, Responder};
use pact_identity::GrantedAction;
use pact_runtime::Clock;
use pact_schemas::convert::{self, WireError};
use pact_schemas::resource::{Change, FileKind, MAX_CONTENT_BYTES, ResourceKey, Value, change_set};
use pact_schemas::rpc::{node as rpc, up};
use pact_schemas::{ErrorCode, Mode, NodeId, Seq, v1};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::chunks::Chunks;
use super::act::{Problem, plan_sha256};
use super::answers::{Captured, MAX_PROBLEMS};
use super::engine::Engine;
use super::settings::FileSettings;
use crate::declared::Watching;
use crate::exec;
use crate::memory;
use crate::owner::{Owner, OwnerGone};
use crate::uplink::Uplink;

/// Requests at work for each method: several admins and a fleet command; the engine works one by one.
const WORKERS: usize = 16;

/// Looking, deciding, and a rollback of thousands of files.
const LONGEST: Duration = Duration::from_secs(110);

/// A look that waits longer than this for a scan says so instead.
const SCAN_PATIENCE: Duration = Duration::from_secs(3);

/// `rollback` waits this long for the declarations that its entry changed, so that the node does not take them for drift.
const CONFIG_PATIENCE: Duration = Duration::from_secs(3);

/// Contents that one commit may bring.
const MAX_CAPTURE_BYTES: usize = 64 * 1024 * 1024;

/// Blobs that are uploaded at once.
const UPLOADS_AT_ONCE: usize = 16;

/// A journal that has no leader is asked again this often; an election takes about a second.
const UPLOADS_AGAIN: u32 = 10;

/// Between two of these.
const UPLOAD_PAUSE: Duration = Duration::from_millis(300);

/// Uploading one blob.
const UPLOAD_LIMIT: Duration = Duration::from_secs(15);

/// The node's drift, for those who ask; cheap to clone.
#[derive(Clone)]
pub(crate) struct Drift {
    node: NodeId,
    engine: Owner<Engine>,
    watching: Watching,
    clock: Clock,
    /// Of plans that are larger than a message.
    chunks: Chunks,
    /// The engine did something: its next moment may be another.
    pub(super) poked: Arc<Notify>,
    /// The enforcement mode that is in force.
    pub(super) mode: Arc<watch::Sender<Mode>>,
}

impl Drift {
    /// A handle.
    pub(crate) fn new(
        node: NodeId,
        engine: Owner<Engine>,
        watching: Watching,
        clock: Clock,
        mode: Mode,
    ) -> Self {
        let mode = Arc::new(watch::Sender::new(mode));
        let (chunks, poked) = (Chunks::default(), Arc::default());
        Self { node, engine, watching, clock, chunks, poked, mode }
    }

    /// The enforcement mode that is in force, now and later.
    pub(crate) fn mode(&self) -> watch::Receiver<Mode> {
        self.mode.subscribe()
    }

    pub(super) fn engine(&self) -> &Owner<Engine> {
        &self.engine
    }

    pub(super) fn watching(&self) -> Watching {
        self.watching.clone()
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Another file of the agent.
    pub(crate) async fn reload(&self, file: FileSettings) {
        // A thread that has ended stops the agent elsewhere.
        let _gone = self.call(|engine| engine.reload(file)).await;
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine) -> T + Send + 'static,
    ) -> Result<T, v1::Error> {
        let done = self.engine.call(work).await;
        self.poked.notify_one();
        done.map_err(|OwnerGone| gone())
    }

    async fn diff(&self, request: v1::DiffRequest) -> Result<v1::DiffReply, v1::Error> {
        let looked = self.call(move |engine| engine.diff(&request));
        match self.clock.timeout(SCAN_PATIENCE, looked).await {
            Ok(reply) => reply?,
            // The thread is scanning; what it was asked it answers to nobody.
            Err(_late) => Ok(v1::DiffReply { scanning: true, ..v1::DiffReply::default() }),
        }
    }

    async fn capture(
        &self,
        uplink: &Uplink,
        request: v1::CaptureRequest,
    ) -> Result<v1::CaptureReply, v1::Error> {
        let digest = request.expect_digest;
        let captured = self.call(move |engine| engine.capture(&digest)).await??;
        let Captured { snapshot, vcluster, config_seq, unkept, left } = captured;
        let mut changes: Vec<Change> = snapshot.items.iter().map(|item| item.change()).collect();
        let mut not_restorable: Vec<String> = unkept.iter().map(ToString::to_string).collect();
        let (mut sent, mut sent_bytes) = (BTreeSet::new(), 0);
        let mut uploads = Uploads::new(uplink, &self.clock);
        for change in &mut changes {
            let Some(Value::File(file)) = &mut change.new else { continue };
            let (FileKind::Regular, Some(sha256)) = (file.kind, file.sha256) else { continue };
            if !sent.contains(&sha256) {
                file.content_kept = false;
                let Some(bytes) = self.contents(&change.key, sha256, file.size_bytes).await? else {
                    not_restorable.push(change.key.to_string());
                    continue;
                };
                sent_bytes += bytes.len();
                if sent_bytes > MAX_CAPTURE_BYTES {
                    return Err(too_much());
                }
                uploads.begin(bytes).await?;
                sent.insert(sha256);
            }
            file.content_kept = true;
        }
        change_set::check(&changes).map_err(|error| {
            ErrorCode::TooLarge
                .error("the drift is too large to be committed at once")
                .because(error.to_string())
                .next("commit or discard parts of it with a narrower blacklist or roots")
        })?;
        let (changes, chunks) = change_set::pack(&changes);
        for chunk in chunks {
            uploads.begin(chunk).await?;
        }
        uploads.finish().await?;
        // Nobody waits for it.
        tokio::task::spawn_blocking(memory::give_back);
        Ok(v1::CaptureReply {
            digest: snapshot.digest.to_vec(),
            config_seq: config_seq.get(),
            vcluster: vcluster.to_string(),
            changes: Some(changes),
            not_restorable,
            left: left.iter().take(MAX_PROBLEMS).map(Problem::to_wire).collect(),
        })
    }

    async fn contents(
        &self,
        key: &ResourceKey,
        sha256: [u8; 32],
        size_bytes: u64,
    ) -> Result<Option<Vec<u8>>, v1::Error> {
        if size_bytes > MAX_CONTENT_BYTES {
            return Ok(None);
        }
        let key = key.clone();
        // Nothing changes by it: the engine's next moment stays what it is.
        let read = self.engine.call(move |engine| engine.captured_contents(&key, &sha256)).await;
        read.map_err(|OwnerGone| gone())
    }

    async fn settle(&self, request: v1::SettleRequest) -> Result<v1::SettleReply, v1::Error> {
        let field = "SettleRequest.seq";
        let seq = Seq::new(request.seq).map_err(|source| WireError::Id { field, source })?;
        self.reached(seq).await;
        self.call(Engine::settled).await
    }

    /// Waits until the engine has the configuration of this entry. The caller's deadline ends it.
    async fn reached(&self, seq: Seq) {
        self.watching.reached(seq, &self.clock).await;
        let known = self.watching.now();
        // The task does the same; whoever comes first does it.
        let _gone = self.call(move |engine| engine.adopt(&known)).await;
    }

    fn rollback_chunk(
        &self,
        request: v1::RollbackChunk,
    ) -> Result<v1::RollbackChunkAck, v1::Error> {
        self.chunks.keep(request.data, self.clock.monotonic())?;
        Ok(v1::RollbackChunkAck {})
    }

    async fn rollback_check(
        &self,
        request: v1::RollbackCheckRequest,
    ) -> Result<v1::RollbackCheckReply, v1::Error> {
        let plan = convert::required(request.plan, "RollbackCheckRequest.plan")?;
        self.is_ours(&plan)?;
        let sha256 = plan_sha256(&plan).to_vec();
        let plan = self.chunks.whole(plan, self.clock.monotonic())?;
        let reply = self.call(move |engine| engine.rollback_check(&plan)).await??;
        // Of the plan as it came: that is what the grant will name.
        Ok(v1::RollbackCheckReply { plan_sha256: sha256, ..reply })
    }

    async fn rollback(
        &self,
        commands: &exec::Engine,
        request: v1::RollbackStart,
    ) -> Result<v1::RollbackReply, v1::Error> {
        let plan = convert::required(request.plan, "RollbackStart.plan")?;
        let signed = convert::required(request.grant, "RollbackStart.grant")?;
        self.is_ours(&plan)?;
        let sha256 = plan_sha256(&plan);
        // Before the grant is taken: it is good for one attempt.
        let plan = self.chunks.whole(plan, self.clock.monotonic())?;
        let grant = commands
            .take_grant(&signed, |action| match action {
                GrantedAction::Plan { sha256: granted } if *granted == sha256.into() => Ok(()),
                GrantedAction::Plan { .. } => Err(ErrorCode::BadSignature
                    .error("the plan is not the one that was granted")
                    .next("ask for the rollback again")),
                _ => Err(WireError::Missing { field: "GrantPayload.plan" }.into()),
            })
            .await?;
        let seq = grant.seq();
        tracing::info!(%seq, principal = grant.principal().subject(), "rollback");
        if !plan.discard_drift {
            let _late = self.clock.timeout(CONFIG_PATIENCE, self.reached(seq)).await;
        }
        self.call(move |engine| engine.rollback(seq, &plan)).await?
    }

    async fn extend(
        &self,
        commands: &exec::Engine,
        request: v1::ExtendStart,
    ) -> Result<v1::ExtendReply, v1::Error> {
        let signed = convert::required(request.grant, "ExtendStart.grant")?;
        let grant = commands
            .take_grant(&signed, |action| match action {
                GrantedAction::Extend { .. } => Ok(()),
                _ => Err(WireError::Missing { field: "GrantPayload.extend" }.into()),
            })
            .await?;
        let GrantedAction::Extend { minutes } = grant.action() else {
            return Err(WireError::Missing { field: "GrantPayload.extend" }.into());
        };
        let (seq, minutes) = (grant.seq(), *minutes);
        tracing::info!(%seq, principal = grant.principal().subject(), %minutes, "extend");
        self.call(move |engine| engine.extend(minutes)).await?
    }

    fn is_ours(&self, plan: &v1::RollbackPlan) -> Result<(), v1::Error> {
        let node = &self.node;
        if plan.node == node.as_str() {
            return Ok(());
        }
        Err(ErrorCode::GrantForOther
            .error(format!("the plan is for {:?}, not for {node}", plan.node)))
    }
}

/// Bytes on their way into the journal, some at once: it commits many nearly as fast as one.
struct Uploads {
    uplink: Uplink,
    clock: Clock,
    under_way: JoinSet<Result<(), v1::Error>>,
}

impl Uploads {
    fn new(uplink: &Uplink, clock: &Clock) -> Self {
        Self { uplink: uplink.clone(), clock: clock.clone(), under_way: JoinSet::new() }
    }

    /// Returns when there is room for another one.
    async fn begin(&mut self, bytes: Vec<u8>) -> Result<(), v1::Error> {
        if self.under_way.len() >= UPLOADS_AT_ONCE {
            self.one().await?;
        }
        let (uplink, clock) = (self.uplink.clone(), self.clock.clone());
        self.under_way.spawn(async move { upload(&uplink, bytes, &clock).await });
        Ok(())
    }

    /// Returns when the journal has all of them.
    async fn finish(mut self) -> Result<(), v1::Error> {
        while !self.under_way.is_empty() {
            self.one().await?;
        }
        Ok(())
    }

    async fn one(&mut self) -> Result<(), v1::Error> {
        match self.under_way.join_next().await {
            Some(Ok(uploaded)) => uploaded,
            Some(Err(_)) => Err(ErrorCode::Internal.error("an upload was interrupted")),
            None => Ok(()),
        }
    }
}

/// Puts bytes into the journal; they are there when this returns.
async fn upload(uplink: &Uplink, bytes: Vec<u8>, clock: &Clock) -> Result<(), v1::Error> {
    let internal = |what: String| ErrorCode::Internal.error(what);
    let packed = tokio::task::spawn_blocking(move || {
        let sha256 = ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref().to_vec();
        let size_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        zstd::bulk::compress(&bytes, 3).map(|compressed| v1::PutBlob {
            sha256,
            compressed,
            size_bytes,
        })
    });
    let blob = packed
        .await
        .map_err(|_| internal("the contents could not be packed".to_owned()))?
        .map_err(|error| internal(format!("the contents could not be packed: {error}")))?;
    let mut again = UPLOADS_AGAIN;
    loop {
        let taken = uplink.call_any::<up::Recording>(&blob, UPLOAD_LIMIT).await;
        let error = match taken {
            Ok(v1::RecordingAck {}) => return Ok(()),
            Err(error) => error,
        };
        if again == 0 || !is_between_leaders(&error) {
            return Err(not_taken(&error));
        }
        again -= 1;
        clock.sleep(UPLOAD_PAUSE).await;
    }
}

/// Whether another member, or the same one a moment later, takes it: an election, or a member that has just come back.
fn is_between_leaders(error: &CallError) -> bool {
    let CallError::Service(error) = error else { return false };
    matches!(error.known_code(), ErrorCode::NoLeader | ErrorCode::NotLeader | ErrorCode::Busy)
}

fn not_taken(error: &CallError) -> v1::Error {
    ErrorCode::Unreachable
        .error("the journal did not take the contents of the drift")
        .because(format!("{error}: {}", pact_runtime::causes(error)))
        .next("check that the journal is healthy, then commit again")
}

fn gone() -> v1::Error {
    ErrorCode::Internal.error("the agent's drift thread has ended")
}

fn too_much() -> v1::Error {
    ErrorCode::TooLarge
        .error(format!(
            "the contents of the drift are over {} MiB",
            MAX_CAPTURE_BYTES / 1024 / 1024
        ))
        .next("declare large files with `pact apply`, or roll them back, then commit the rest")
}

/// Adds the methods to what the node answers.
pub(crate) fn methods<S: Clone + Send + Sync + 'static>(
    responder: Responder<S>,
    drift: &Drift,
    commands: &exec::Engine,
    uplink: &Uplink,
) -> Responder<Parts> {
    let parts = Parts { drift: drift.clone(), commands: commands.clone(), uplink: uplink.clone() };
    responder
        .limits(MethodLimits { workers: WORKERS, longest: LONGEST })
        .with(parts)
        .on(rpc::Diff, |p, _, asked| async move { p.said(p.drift.diff(asked).await) })
        .on(
            rpc::Capture,
            |p, _, asked| async move { p.said(p.drift.capture(&p.uplink, asked).await) },
        )
        .on(rpc::Settle, |p, _, asked| async move { p.said(p.drift.settle(asked).await) })
        .on(rpc::RollbackChunk, |p, _, asked| async move { p.said(p.drift.rollback_chunk(asked)) })
        .on(
            rpc::RollbackCheck,
            |p, _, asked| async move { p.said(p.drift.rollback_check(asked).await) },
        )
        .on(rpc::Rollback, |p, _, asked| async move {
            p.said(p.drift.rollback(&p.commands, asked).await)
        })
        .on(
            rpc::Extend,
            |p, _, asked| async move { p.said(p.drift.extend(&p.commands, asked).await) },
        )
}

/// What the methods need.
#[derive(Clone)]
pub(crate) struct Parts {
    drift: Drift,
    commands: exec::Engine,
    uplink: Uplink,
}

impl Parts {
    /// The answer, with the node's name in an error.
    fn said<T>(&self, answer: Result<T, v1::Error>) -> Result<T, v1::Error> {
        answer.map_err(|error| error.on(&self.drift.node))
    }
}

//! A node in these tests: what its agent answers about drift.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use pact_bus::{Bus, Responder};
use pact_schemas::resource::change_set::unpack_wire;
use pact_schemas::v1::{self, Change, ChangeSet, DriftItem, WindowState, WindowStatus};
use pact_schemas::{ErrorCode, NodeId};
use prost::Message as _;
use ring::digest::{SHA256, digest};

use crate::declared::text;
use crate::world::World;

/// Items of one page, so that few items make several pages.
const PAGE: usize = 2;

#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) drift: Vec<DriftItem>,
    pub(crate) vcluster: String,
    pub(crate) window: WindowState,
    /// Found by a check.
    pub(crate) holders: Vec<v1::Holder>,
    /// Found later, when it is too late to refuse.
    pub(crate) late_holders: Vec<v1::Holder>,
    /// What is declared does not get here.
    pub(crate) is_stuck: bool,
    /// Drifts between the summary and the capture.
    pub(crate) drifts_on: bool,
    pub(crate) config_seq: u64,
    pub(crate) mode: &'static str,
    /// The next rollback does not get here.
    pub(crate) is_cut_off: bool,
    /// Takes the next grant, and ends before it does anything.
    pub(crate) dies: bool,
    /// Of plans, by digest.
    chunks: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys of the plan that was checked last.
    pub(crate) checked: Vec<String>,
    captured: bool,
    grants: BTreeSet<Vec<u8>>,
    pub(crate) calls: Vec<&'static str>,
}

/// Ends with the value: the connection is its life.
#[derive(Clone)]
pub(crate) struct Node {
    machine: Arc<Mutex<Machine>>,
    _bus: Bus,
}

pub(crate) fn item(key: &str, old: &str, new: &str) -> DriftItem {
    let (old, new) = (Some(text(old)), Some(text(new)));
    let change = Some(Change { key: key.into(), old, new });
    DriftItem { change, ..DriftItem::default() }
}

pub(crate) fn holder() -> v1::Holder {
    v1::Holder {
        key: "file//etc/motd".into(),
        pid: 4242,
        command: "java".into(),
        how: "open for writing".into(),
    }
}

impl Machine {
    fn digest(&self) -> Vec<u8> {
        let all: Vec<u8> =
            self.drift.iter().flat_map(DriftItem::encode_length_delimited_to_vec).collect();
        digest(&SHA256, &all).as_ref().to_vec()
    }

    fn status(&self) -> WindowStatus {
        WindowStatus { state: self.window.into(), ..WindowStatus::default() }
    }

    fn diff(&mut self, request: &v1::DiffRequest) -> Result<v1::DiffReply, v1::Error> {
        self.calls.push("diff");
        if request.offset > 0 && request.digest != self.digest() {
            return Err(ErrorCode::Conflict.error("another snapshot"));
        }
        let from = request.offset as usize;
        let items: Vec<DriftItem> = if request.summary {
            Vec::new()
        } else {
            self.drift.iter().skip(from).take(PAGE).cloned().collect()
        };
        let next = from + items.len();
        let is_last = request.summary || next >= self.drift.len();
        let reported = self.drift.iter().filter(|i| i.report_only).count();
        let reply = v1::DiffReply {
            digest: self.digest(),
            config_seq: self.config_seq,
            vcluster: Some(self.vcluster.clone()),
            items,
            total: u32::try_from(self.drift.len()).unwrap(),
            report_only_total: u32::try_from(reported).unwrap(),
            next_offset: if is_last { 0 } else { u32::try_from(next).unwrap() },
            window: Some(self.status()),
            enforcement_mode: self.mode.into(),
            ..v1::DiffReply::default()
        };
        if self.drifts_on {
            self.drift.push(item("sysctl/vm.later", "0", "1"));
        }
        Ok(reply)
    }

    fn capture(&mut self, request: &v1::CaptureRequest) -> Result<v1::CaptureReply, v1::Error> {
        self.calls.push("capture");
        if request.expect_digest != self.digest() {
            return Err(ErrorCode::Conflict.error("the drift is another"));
        }
        self.captured = true;
        let changes = self.drift.iter().filter_map(|item| item.change.clone()).collect();
        Ok(v1::CaptureReply {
            digest: self.digest(),
            config_seq: self.config_seq,
            vcluster: self.vcluster.clone(),
            changes: Some(ChangeSet { changes, chunks: Vec::new() }),
            not_restorable: Vec::new(),
            left: Vec::new(),
        })
    }

    fn settle(&mut self, request: &v1::SettleRequest) -> v1::SettleReply {
        self.calls.push("settle");
        if !self.is_stuck {
            self.config_seq = self.config_seq.max(request.seq);
            if std::mem::take(&mut self.captured) {
                self.drift.clear();
                self.window = WindowState::Idle;
            }
        }
        v1::SettleReply {
            config_seq: self.config_seq,
            problems: Vec::new(),
            drift_keys: u32::try_from(self.drift.len()).unwrap(),
            window: Some(self.status()),
        }
    }

    fn chunk(&mut self, request: v1::RollbackChunk) -> v1::RollbackChunkAck {
        self.calls.push("rollback_chunk");
        self.chunks.insert(digest(&SHA256, &request.data).as_ref().to_vec(), request.data);
        v1::RollbackChunkAck {}
    }

    fn keys(&self, plan: &v1::RollbackPlan) -> Vec<String> {
        let whole = unpack_wire(plan.changes.clone().unwrap(), |chunk| {
            self.chunks.get(&chunk.sha256).cloned()
        });
        whole.unwrap().changes.into_iter().map(|change| change.key).collect()
    }

    fn check(&mut self, request: &v1::RollbackCheckRequest) -> v1::RollbackCheckReply {
        self.calls.push("rollback_check");
        let plan = request.plan.as_ref().unwrap();
        self.checked = self.keys(plan);
        v1::RollbackCheckReply {
            holders: self.holders.clone(),
            plan_sha256: digest(&SHA256, &plan.encode_to_vec()).as_ref().to_vec(),
            ..v1::RollbackCheckReply::default()
        }
    }

    fn roll_back(&mut self, request: &v1::RollbackStart) -> Result<v1::RollbackReply, v1::Error> {
        if std::mem::take(&mut self.is_cut_off) {
            return Err(ErrorCode::Unreachable.error("cut off"));
        }
        self.calls.push("rollback");
        if !self.grants.insert(request.grant.as_ref().unwrap().payload.clone()) {
            return Err(ErrorCode::GrantReplayed.error("again"));
        }
        if std::mem::take(&mut self.dies) {
            return Err(ErrorCode::Unreachable.error("gone"));
        }
        let plan = request.plan.as_ref().unwrap();
        // The journal of these tests grants the digest itself.
        let granted = &request.grant.as_ref().unwrap().payload;
        assert_eq!(digest(&SHA256, &plan.encode_to_vec()).as_ref(), granted.as_slice());
        let keys = if plan.discard_drift {
            assert_eq!(plan.expect_digest, self.digest());
            self.drift.drain(..).count()
        } else {
            self.keys(plan).len()
        };
        Ok(v1::RollbackReply {
            restored_keys: u32::try_from(keys).unwrap(),
            holders: self.late_holders.clone(),
            problems: Vec::new(),
        })
    }

    fn extend(&mut self, request: &v1::ExtendStart) -> Result<v1::ExtendReply, v1::Error> {
        self.calls.push("extend");
        if !self.grants.insert(request.grant.as_ref().unwrap().payload.clone()) {
            return Err(ErrorCode::GrantReplayed.error("again"));
        }
        self.window = WindowState::Open;
        Ok(v1::ExtendReply { window: Some(self.status()) })
    }
}

impl Node {
    /// On the bus, in the vCluster `ml`, with this drift.
    pub(crate) async fn start(world: &World, name: &str, drift: Vec<DriftItem>) -> Self {
        let bus = world.agent(name).await;
        let window = if drift.is_empty() { WindowState::Idle } else { WindowState::Open };
        let vcluster = "ml".to_owned();
        let mode = "observe";
        let machine = Machine { drift, vcluster, window, mode, ..Machine::default() };
        let machine = Arc::new(Mutex::new(machine));
        macro_rules! answer {
            ($request:ty, |$machine:ident, $asked:ident| $answer:expr) => {{
                let machine = Arc::clone(&machine);
                move |_, $asked: $request| {
                    let $machine = &mut *machine.lock().unwrap();
                    let answer = $answer;
                    async move { answer }
                }
            }};
        }
        let responder = Responder::node(&NodeId::new(name).unwrap())
            .method("diff", answer!(v1::DiffRequest, |m, r| m.diff(&r)))
            .method("capture", answer!(v1::CaptureRequest, |m, r| m.capture(&r)))
            .method("settle", answer!(v1::SettleRequest, |m, r| Ok(m.settle(&r))))
            .method("rollback_check", answer!(v1::RollbackCheckRequest, |m, r| Ok(m.check(&r))))
            .method("rollback_chunk", answer!(v1::RollbackChunk, |m, r| Ok(m.chunk(r))))
            .method("rollback", answer!(v1::RollbackStart, |m, r| m.roll_back(&r)))
            .method("extend", answer!(v1::ExtendStart, |m, r| m.extend(&r)));
        bus.respond(responder).await.unwrap();
        Self { machine, _bus: bus }
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> T {
        work(&mut self.machine.lock().unwrap())
    }
}

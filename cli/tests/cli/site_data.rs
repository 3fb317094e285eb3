//! Hand-made answers of a small site.

use pact_schemas::v1;
use pact_schemas::v1::entry::Payload;
use prost::Message as _;
use ring::digest::{Context, SHA256};

use crate::site_drift;

/// 2026-03-04T05:06:07Z
pub const NOON: i64 = 1_772_600_767;

pub fn time(offset: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: NOON + offset, nanos: 89_000_000 })
}

/// A record whose hash fits.
pub fn record(entry: &v1::Entry) -> v1::EntryRecord {
    let bytes = entry.encode_to_vec();
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(&bytes);
    v1::EntryRecord { entry: bytes, hash: context.finish().as_ref().to_vec() }
}

fn scope(scope: v1::scope::Scope) -> Option<v1::Scope> {
    Some(v1::Scope { scope: Some(scope) })
}

fn entry(seq: u64, kind: v1::EntryKind, message: &str, payload: Payload) -> v1::Entry {
    v1::Entry {
        version: 1,
        seq,
        time: time(i64::try_from(seq).unwrap()),
        kind: kind.into(),
        scope: scope(v1::scope::Scope::Node("node-042".into())),
        author: Some(v1::Principal {
            subject: "alice@example.com".into(),
            issuer: "https://idp.example.com".into(),
            kind: v1::PrincipalKind::Human.into(),
            roles: vec!["pact-ops-ml-training".into()],
        }),
        acting_role: "pact-ops-ml-training".into(),
        request_id: Some("01890a5d-ac96-774b-bcce-b302099a8057".into()),
        policy_ref: "default@1".into(),
        message: message.into(),
        payload: Some(payload),
        previous_hash: vec![0; 32],
        ..Default::default()
    }
}

/// A request, its outcome, a refusal, a policy, and what is declared.
pub fn entries() -> Vec<v1::Entry> {
    let requested = entry(
        40,
        v1::EntryKind::ExecRequested,
        "exec uname -a",
        Payload::ExecRequested(v1::ExecRequested {
            targets: "node-042".into(),
            argv: vec!["uname".into(), "-a".into()],
            stdin: false,
            timeout_seconds: 300,
            output_limit_bytes: 10_485_760,
        }),
    );
    let mut finished = entry(
        41,
        v1::EntryKind::ExecFinished,
        "exited with 3 \u{1b}[31m",
        Payload::ExecFinished(v1::ExecFinished {
            outcome: v1::ExecOutcome::Exited.into(),
            exit_status: Some(3),
            output_bytes: 17,
            started: time(40),
            finished: time(41),
            ..Default::default()
        }),
    );
    finished.parent = Some(40);
    finished.request_id = None;
    finished.author = Some(v1::Principal {
        subject: "node:node-042".into(),
        issuer: "pact://site".into(),
        kind: v1::PrincipalKind::Node.into(),
        roles: Vec::new(),
    });
    finished.acting_role = String::new();
    let denied = entry(
        42,
        v1::EntryKind::Denied,
        "exec refused",
        Payload::Denied(v1::Denied {
            operation: "exec".into(),
            target: "node-042".into(),
            code: "PACT_NOT_AUTHORISED".into(),
            reason: "viewer may not exec".into(),
        }),
    );
    let mut policy = entry(
        43,
        v1::EntryKind::PolicyUpdate,
        "policy of ml-training",
        Payload::PolicyUpdate(v1::PolicyUpdate {
            vcluster: "ml-training".into(),
            policy: Some(v1::VclusterPolicy { regulated: Some(true), ..Default::default() }),
        }),
    );
    policy.scope = scope(v1::scope::Scope::Vcluster("ml-training".into()));
    policy.changes = vec![v1::Change {
        key: "sysctl/vm.swappiness".into(),
        old: None,
        new: Some(v1::Value { value: Some(v1::value::Value::Text("10".into())) }),
    }];
    [vec![requested, finished, denied, policy], declared()].concat()
}

/// Entries about declared state and drift: 44 to 48. The last has its changes in a chunk.
fn declared() -> Vec<v1::Entry> {
    let window = |state| Some(site_drift::window(state));
    let mut commit = entry(
        44,
        v1::EntryKind::Commit,
        "tuned",
        Payload::DeltaCommitted(v1::DeltaCommitted {
            node: "node-042".into(),
            vcluster: "ml-training".into(),
            drift_digest: vec![0x3f; 32],
            not_restorable: vec!["file//var/big".into()],
        }),
    );
    commit.changes = site_drift::changes();
    commit.ttl_seconds = Some(900);
    let mut drift = entry(
        45,
        v1::EntryKind::DriftDetected,
        "2 keys differ",
        Payload::DriftReport(v1::DriftReport {
            node: "node-042".into(),
            drift: Some(v1::NodeDrift {
                keys: 302,
                digest: vec![0x3f; 32],
                window: window(v1::WindowState::Open),
                reported: time(45),
                ..Default::default()
            }),
            omitted_changes: 300,
        }),
    );
    drift.changes = site_drift::changes();
    drift.request_id = None;
    let rollback = entry(
        46,
        v1::EntryKind::Rollback,
        "rollback to entry 42",
        Payload::RollbackDone(v1::RollbackDone {
            to_seq: Some(42),
            drift_digest: Vec::new(),
            targets: "node-042".into(),
            expired_keys: vec!["sysctl/vm.old".into()],
        }),
    );
    let deferred = entry(
        47,
        v1::EntryKind::RollbackDeferred,
        "rollback is held up",
        Payload::RollbackDeferred(v1::RollbackDeferred {
            node: "node-042".into(),
            rollback_seq: Some(46),
            holders: vec![site_drift::holder()],
            not_restorable: Vec::new(),
        }),
    );
    let mut overlay = entry(
        48,
        v1::EntryKind::OverlayApplied,
        "specification applied",
        Payload::OverlayApplied(v1::OverlayApplied {
            vcluster: "ml-training".into(),
            replaced: vec!["sysctl".into()],
            absorbed: "node-042".into(),
            overwritten: String::new(),
            keys: 2,
        }),
    );
    overlay.scope = scope(v1::scope::Scope::Vcluster("ml-training".into()));
    overlay.change_chunks = chunks(48).iter().map(|chunk| blob(chunk)).collect();
    vec![commit, drift, rollback, deferred, overlay]
}

fn blob(chunk: &[u8]) -> v1::BlobRef {
    let mut context = Context::new(&SHA256);
    context.update(chunk);
    let size_bytes = u32::try_from(chunk.len()).unwrap();
    v1::BlobRef { sha256: context.finish().as_ref().to_vec(), size_bytes }
}

/// What belongs to the chunks of an entry.
pub fn chunks(seq: u64) -> Vec<Vec<u8>> {
    let set = v1::ChangeSet { changes: site_drift::changes(), chunks: Vec::new() };
    if seq == 48 { vec![set.encode_to_vec()] } else { Vec::new() }
}

pub fn node(name: &str, state: v1::NodeState) -> v1::NodeRecord {
    v1::NodeRecord {
        node: name.into(),
        state: state.into(),
        vcluster: (state == v1::NodeState::Active).then(|| "ml-training".into()),
        identity: Some(v1::HardwareIdentity {
            macs: vec!["aa:bb:cc:dd:ee:01".into()],
            bmc_serial: Some("SN12345".into()),
            hardware_ids: vec![],
        }),
        certificate_serial: Some("0a1b".into()),
        certificate_not_after: time(259_200),
        registered: time(0),
        state_since: time(60),
        registered_seq: 3,
        state_seq: 5,
        agent_version: "0.1.0".into(),
        drift: (state == v1::NodeState::Active).then(|| v1::NodeDrift {
            keys: 2,
            report_only_keys: 1,
            digest: vec![0x3f; 32],
            window: Some(site_drift::window(v1::WindowState::Open)),
            reported: time(90),
            conflicts: 0,
        }),
        delta_seq: 44,
        ..Default::default()
    }
}

pub fn status(name: &str, state: v1::NodeState) -> v1::NodeStatus {
    let is_active = state == v1::NodeState::Active;
    v1::NodeStatus {
        record: Some(node(name, state)),
        last_hello: if is_active { time(100) } else { None },
        whitelist_mode: is_active.then(|| "strict".into()),
        enforcement_mode: is_active.then(|| "observe".into()),
        last_seq: Some(43),
        silent_seconds: None,
    }
}

pub fn group() -> v1::VclusterRecord {
    v1::VclusterRecord {
        vcluster: "ml-training".into(),
        policy: Some(v1::VclusterPolicy {
            regulated: Some(true),
            enforcement_mode: Some("observe".into()),
            exec_whitelist: vec!["nvidia-smi".into()],
            ..Default::default()
        }),
        created_seq: 2,
        policy_seq: 43,
        node_count: 3,
        ..Default::default()
    }
}

pub fn cluster() -> v1::ClusterReply {
    let member = |id: u64, matched: Option<u64>| v1::MemberStatus {
        id,
        address: format!("10.0.0.{id}:9444"),
        matched_index: matched,
        last_contact_milliseconds: Some(if id == 3 { 62_000 } else { 12 }),
        voter: true,
    };
    v1::ClusterReply {
        answering_member: 1,
        leader: Some(2),
        term: 4,
        committed_index: Some(1001),
        applied_index: Some(1001),
        head_seq: 43,
        head_hash: vec![0xab; 32],
        members: vec![member(1, Some(1001)), member(2, None), member(3, Some(1000))],
        change: None,
        ended: Some(v1::MemberChangeEnd { seq: 56, failure: String::new() }),
    }
}

pub fn health() -> Vec<v1::HealthItem> {
    let item = |name: &str, state: v1::HealthState, detail: &str| v1::HealthItem {
        name: name.into(),
        state: state.into(),
        detail: detail.into(),
    };
    vec![
        item("pact-journal", v1::HealthState::Healthy, "3 of 3 members, leader 2"),
        item("pact-agent", v1::HealthState::Degraded, "2 of 3 nodes active"),
        item("lattice scheduler", v1::HealthState::NotConfigured, ""),
        item("telemetry", v1::HealthState::Unimplemented, ""),
    ]
}

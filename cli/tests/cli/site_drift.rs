//! What the test gateway answers about drift and declared state. Nodes behave by name.

use pact_schemas::error_code::ErrorCode;
use pact_schemas::v1::value::Value as Wire;
use pact_schemas::v1::{self, Change, WindowState};

use crate::site_data as data;

fn text(text: &str) -> Option<v1::Value> {
    Some(v1::Value { value: Some(Wire::Text(text.into())) })
}

fn file(size: u64, digest: u8, mode: u32) -> Option<v1::Value> {
    let file = v1::FileValue {
        sha256: vec![digest; 32],
        size_bytes: size,
        mode,
        owner: "root".into(),
        group: "root".into(),
        link_target: None,
        kind: v1::FileKind::Regular.into(),
        content_kept: true,
    };
    Some(v1::Value { value: Some(Wire::File(file)) })
}

pub fn changes() -> Vec<Change> {
    vec![
        Change {
            key: "file//etc/motd".into(),
            old: file(12, 0xab, 0o644),
            new: file(40, 0xcd, 0o600),
        },
        Change { key: "sysctl/vm.swappiness".into(), old: text("60"), new: text("10\u{1b}[2J") },
    ]
}

pub fn window(state: WindowState) -> v1::WindowStatus {
    v1::WindowStatus {
        state: state.into(),
        opened: data::time(0),
        deadline: (state != WindowState::Idle).then(|| data::time(692)).flatten(),
        magnitude: 0.15,
        holders: Vec::new(),
    }
}

pub fn holder() -> v1::Holder {
    v1::Holder {
        key: "file//etc/motd".into(),
        pid: 4242,
        command: "java".into(),
        how: "open for writing".into(),
    }
}

/// The nodes of `node-[1-2]`: the second is dead.
fn split(targets: &str) -> (Vec<String>, Vec<v1::Error>) {
    if targets == "node-[1-2]" {
        let mut error = ErrorCode::Unreachable.error("the node does not answer");
        error.node = "node-2".into();
        return (vec!["node-1".into()], vec![error]);
    }
    (vec![targets.into()], Vec::new())
}

pub fn diff(request: &v1::DiffNodesRequest) -> v1::DiffNodesReply {
    let (nodes, errors) = split(&request.targets);
    let one = |node: String| {
        let is_quiet = node == "quiet";
        let mut items: Vec<v1::DriftItem> = if is_quiet || request.committed {
            Vec::new()
        } else {
            let item = |change| v1::DriftItem {
                change: Some(change),
                since: data::time(0),
                ..v1::DriftItem::default()
            };
            changes().into_iter().map(item).collect()
        };
        if let [first, second] = items.as_mut_slice() {
            first.session_seq = Some(40);
            second.not_restorable = Some("the kernel has no such parameter now".into());
        }
        let delta = v1::DeclaredKey {
            key: "sysctl/vm.swappiness".into(),
            value: text("10"),
            seq: 44,
            expires: data::time(900),
        };
        let total = u32::try_from(items.len()).unwrap();
        v1::NodeDiff {
            node,
            vcluster: Some("ml-training".into()),
            digest: if request.committed { Vec::new() } else { vec![0x3f; 32] },
            config_seq: 44,
            items,
            omitted_items: if is_quiet { 0 } else { 1 },
            total: if request.committed { 2 } else { total + u32::from(!is_quiet) },
            report_only_total: u32::from(!is_quiet && !request.committed),
            window: (!request.committed)
                .then(|| window(if is_quiet { WindowState::Idle } else { WindowState::Open })),
            enforcement_mode: "observe".into(),
            scanning: false,
            taken: data::time(1),
            silent: Vec::new(),
            deltas: if request.committed { vec![delta] } else { Vec::new() },
        }
    };
    v1::DiffNodesReply { nodes: nodes.into_iter().map(one).collect(), errors }
}

fn settled(node: &str) -> v1::NodeSettled {
    v1::NodeSettled {
        node: node.into(),
        config_seq: 50,
        problems: Vec::new(),
        drift_keys: 0,
        window: Some(window(WindowState::Idle)),
    }
}

pub fn commit(request: &v1::CommitRequest) -> v1::CommitReply {
    let (nodes, errors) = split(&request.targets);
    let one = |node: String| match node.as_str() {
        "quiet" => v1::NodeCommit { settled: Some(settled(&node)), node, ..Default::default() },
        _ => v1::NodeCommit {
            seq: 50,
            changes: changes(),
            omitted_changes: 3,
            not_restorable: vec!["file//var/big".into()],
            left: Vec::new(),
            drift_digest: vec![0x3f; 32],
            settled: Some(settled(&node)),
            node,
        },
    };
    v1::CommitReply { nodes: nodes.into_iter().map(one).collect(), errors }
}

/// To 42: one node, well. To 13: held. To 14: of a vCluster. To 15: nothing to do.
pub fn rollback(request: &v1::RollbackScopeRequest) -> v1::RollbackScopeReply {
    let scope = match request.to_seq {
        Some(14) => v1::scope::Scope::Vcluster("ml-training".into()),
        _ => v1::scope::Scope::Node("node-042".into()),
    };
    let is_held = request.to_seq == Some(13);
    let is_done = !request.plan_only && !is_held && request.to_seq != Some(15);
    let plan = v1::PlannedRollback {
        scope: Some(v1::Scope { scope: Some(scope) }),
        changes: if request.to_seq == Some(15) { Vec::new() } else { changes() },
        omitted_changes: 0,
        base_seq: 44,
        drift_digest: if request.to_seq.is_none() { vec![0x3f; 32] } else { Vec::new() },
        seq: if is_done { 51 } else { 0 },
    };
    let mut reply = v1::RollbackScopeReply {
        plans: vec![plan],
        plan_digest: vec![9; 32],
        ..Default::default()
    };
    if request.plan_only {
        return reply;
    }
    let node = |name: &str| v1::NodeRollback { node: name.into(), ..Default::default() };
    match request.to_seq {
        Some(13) => {
            let mut error = ErrorCode::RollbackFailed
                .error("active consumers hold the state; nothing was changed")
                .because("pid 4242 (java) holds file//etc/motd: open for writing");
            error.node = "node-042".into();
            reply.errors.push(error);
            reply.nodes.push(v1::NodeRollback { holders: vec![holder()], ..node("node-042") });
        }
        Some(14) => {
            let settled = Some(settled("node-042"));
            reply.nodes.push(v1::NodeRollback { settled, ..node("node-042") });
            reply.nodes.push(v1::NodeRollback { when_back: true, ..node("node-043") });
        }
        _ => reply.nodes.push(v1::NodeRollback { restored_keys: 2, ..node("node-042") }),
    }
    reply
}

pub fn extend(request: &v1::ExtendWindowRequest) -> v1::ExtendWindowReply {
    if request.targets == "quiet" {
        let mut error = ErrorCode::NotFound.error("quiet has no commit window");
        error.node = "quiet".into();
        return v1::ExtendWindowReply { errors: vec![error], ..Default::default() };
    }
    let window = Some(window(WindowState::Open));
    let nodes = vec![v1::NodeWindow { node: request.targets.clone(), window }];
    v1::ExtendWindowReply { first_seq: 52, last_seq: 52, nodes, errors: Vec::new() }
}

/// `torn`: another node has a value of its own.
pub fn promote(request: &v1::PromoteRequest) -> v1::PromoteReply {
    let is_torn = request.node == "torn";
    let conflict = v1::DeltaConflict {
        node: "node-043".into(),
        key: "sysctl/vm.swappiness".into(),
        node_value: text("20"),
        overlay_value: text("10"),
    };
    let is_decided = request.on_conflict.is_some() || !request.decisions.is_empty();
    let delta = v1::DeclaredKey {
        key: "sysctl/vm.swappiness".into(),
        value: text("10"),
        seq: 44,
        expires: None,
    };
    let toml = "[vcluster.ml-training.sysctl]\n\"vm.swappiness\" = \"10\"\n";
    v1::PromoteReply {
        vcluster: "ml-training".into(),
        deltas: vec![delta],
        conflicts: if is_torn { vec![conflict] } else { Vec::new() },
        toml: if is_torn && !is_decided { String::new() } else { toml.into() },
    }
}

/// A specification with `sysctl` in it: an overlay, of which a key goes and with which a node differs.
pub fn applied(request: &v1::ApplyRequest) -> v1::ApplyReply {
    let mut changes = changes();
    changes.push(Change { key: "sysctl/vm.old".into(), old: text("1"), new: None });
    let conflict = v1::DeltaConflict {
        node: "node-043".into(),
        key: "sysctl/vm.swappiness".into(),
        node_value: text("20"),
        overlay_value: text("10"),
    };
    let is_conflict = request.on_conflict.is_none();
    let overlay = v1::AppliedOverlay {
        vcluster: "ml-training".into(),
        changes,
        omitted_changes: 0,
        removed_keys: 1,
        conflicts: if is_conflict { vec![conflict.clone()] } else { Vec::new() },
        absorbed: vec![v1::DeltaConflict { node: "node-042".into(), ..conflict }],
        blacklist: None,
    };
    let mut reply = v1::ApplyReply { overlays: vec![overlay], ..Default::default() };
    if request.dry_run {
        if is_conflict {
            reply.errors.push(ErrorCode::Conflict.error("1 delta differs: node-043"));
        }
        return reply;
    }
    (reply.first_seq, reply.last_seq) = (47, 48);
    reply.nodes = vec![settled("node-042")];
    reply.away = "node-[044-045]".into();
    reply
}

pub fn blacklist(request: &v1::BlacklistListRequest) -> v1::BlacklistListReply {
    let scope = request.scope.clone().and_then(|s| s.scope);
    let is_node = matches!(scope, Some(v1::scope::Scope::Node(_)));
    v1::BlacklistListReply {
        patterns: vec!["/var/cache/**".into()],
        vcluster_patterns: if is_node { vec!["/opt/scratch/**".into()] } else { Vec::new() },
        vcluster: Some("ml-training".into()),
    }
}

//! Commands and states for tests of the rules.

use pact_schemas::convert::Scope;
use pact_schemas::resource::{Change, FileKind, FileValue, ResourceKey, Value, change_set};
use pact_schemas::v1::{self, Command, OnConflict, Outcome, action::Action};
use pact_schemas::{NodeId, VclusterId};

use crate::action::rules;
use crate::declared::{DeclaredScope, HeldKeys};
use crate::memory::Memory;
use crate::record::sha256;
use crate::working::Working;

/// Commands as the proposer makes them, at a leader time that moves by a millisecond.
pub struct Commands {
    pub now_nanos: i64,
    next_id: u64,
}

pub const START_NANOS: i64 = 1_800_000_000_000_000_000;

impl Commands {
    #[allow(clippy::new_without_default, reason = "a beginning, not a default")]
    pub fn new() -> Self {
        Self { now_nanos: START_NANOS, next_id: 0 }
    }

    pub fn id(&mut self) -> String {
        self.next_id += 1;
        let millis = u64::try_from(self.now_nanos / 1_000_000).unwrap();
        format!("{:08x}-{:04x}-7000-8000-{:012x}", millis >> 16, millis & 0xffff, self.next_id)
    }

    pub fn make(&mut self, action: Action) -> Command {
        let id = self.id();
        Command { request_id: Some(id), ..self.bare(action) }
    }

    /// A chunk as a node sends it.
    pub fn put_by(&mut self, node: &str, plain: &[u8]) -> Command {
        let mut command = self.bare(put(plain));
        let author = command.author.as_mut().unwrap();
        author.subject = format!("node:{node}");
        author.kind = v1::PrincipalKind::Node.into();
        command
    }

    pub fn bare(&mut self, action: Action) -> Command {
        self.now_nanos += 1_000_000;
        Command {
            version: 1,
            time: Some(pact_schemas::convert::timestamp(self.now_nanos)),
            author: Some(v1::Principal {
                subject: "alice".to_owned(),
                issuer: "https://idp.example".to_owned(),
                kind: v1::PrincipalKind::Human.into(),
                roles: vec!["pact-platform-admin".to_owned()],
            }),
            acting_role: "pact-platform-admin".to_owned(),
            request_id: None,
            policy_ref: "default@1".to_owned(),
            action: Some(v1::Action { action: Some(action) }),
        }
    }
}

pub fn register(node: &str, mac: u8) -> Action {
    Action::RegisterNode(v1::RegisterNode {
        node: node.to_owned(),
        identity: Some(v1::HardwareIdentity {
            macs: vec![format!("0c:42:a1:00:00:{mac:02x}")],
            bmc_serial: None,
            hardware_ids: Vec::new(),
        }),
        replace: false,
        // Where nodes are that did not exist.
        judged: vec![v1::JudgedScope { vcluster: None, targets: node.to_owned() }],
    })
}

pub fn exec(targets: &str, argv: &[&str]) -> Action {
    Action::ExecRequest(v1::ExecRequest {
        targets: targets.to_owned(),
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        stdin: false,
        timeout_seconds: 60,
        output_limit_bytes: 10 << 20,
        judged: Vec::new(),
    })
}

pub fn put(plain: &[u8]) -> Action {
    Action::PutBlob(v1::PutBlob {
        sha256: sha256(&[plain]).to_vec(),
        compressed: zstd::bulk::compress(plain, 1).unwrap(),
        size_bytes: u32::try_from(plain.len()).unwrap(),
    })
}

pub fn policy(vcluster: &str, policy: v1::VclusterPolicy) -> Action {
    Action::SetPolicy(v1::SetPolicy {
        updates: vec![v1::PolicyUpdate { vcluster: vcluster.to_owned(), policy: Some(policy) }],
    })
}

pub fn assign(targets: &str, vcluster: Option<&str>, mode: v1::AssignMode) -> Action {
    Action::AssignNode(v1::AssignNode {
        targets: targets.to_owned(),
        vcluster: vcluster.map(str::to_owned),
        mode: mode.into(),
        judged: Vec::new(),
    })
}

/// The action, judged where these nodes were.
pub fn judged(action: Action, scopes: &[(Option<&str>, &str)]) -> Action {
    let scopes = scopes.iter().map(|(vcluster, targets)| v1::JudgedScope {
        vcluster: vcluster.map(str::to_owned),
        targets: (*targets).to_owned(),
    });
    rules(&action).judged_in(scopes.collect()).unwrap()
}

pub fn ended(node: &str, spool: char, number: u64, grant_seq: u64) -> Action {
    Action::NodeEvent(v1::NodeEvent {
        node: node.to_owned(),
        spool_id: spool.to_string().repeat(32),
        number,
        recorded: Some(pact_schemas::convert::timestamp(START_NANOS)),
        body: Some(v1::node_event::Body::ExecEnded(v1::ExecEnded {
            grant_seq,
            finished: Some(v1::ExecFinished {
                outcome: v1::ExecOutcome::Exited.into(),
                exit_status: Some(0),
                ..v1::ExecFinished::default()
            }),
        })),
    })
}

/// First and last sequence and whether it was a retry; panics when it was refused.
pub fn committed(outcome: &Outcome) -> (u64, u64, bool) {
    match outcome.outcome.as_ref().unwrap() {
        v1::outcome::Outcome::Committed(c) => (c.first_seq, c.last_seq, c.repeated_request),
        v1::outcome::Outcome::Rejected(error) => panic!("refused: {error}"),
    }
}

pub fn refused(outcome: &Outcome) -> &v1::Error {
    match outcome.outcome.as_ref().unwrap() {
        v1::outcome::Outcome::Committed(c) => panic!("committed as {}", c.first_seq),
        v1::outcome::Outcome::Rejected(error) => error,
    }
}

pub fn key(text: &str) -> ResourceKey {
    text.parse().unwrap()
}

pub fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

pub fn change(of: &str, old: Option<Value>, new: Option<Value>) -> Change {
    Change { key: key(of), old, new }
}

/// Keys and texts, in key order; an empty text takes the key out.
fn wanted(keys: &[(&str, &str)]) -> Vec<Change> {
    let mut changes: Vec<Change> = keys
        .iter()
        .map(|(of, value)| change(of, None, (!value.is_empty()).then(|| text(value))))
        .collect();
    changes.sort();
    changes
}

pub fn packed(changes: &[Change]) -> v1::ChangeSet {
    change_set::pack(changes).0
}

pub fn update(vcluster: &str, keys: &[(&str, &str)]) -> v1::OverlayUpdate {
    v1::OverlayUpdate {
        vcluster: vcluster.to_owned(),
        changes: Some(packed(&wanted(keys))),
        ..v1::OverlayUpdate::default()
    }
}

pub fn spec(update: v1::OverlayUpdate, on_conflict: OnConflict) -> v1::ApplySpec {
    v1::ApplySpec { overlays: vec![update], policies: Vec::new(), on_conflict: on_conflict.into() }
}

pub fn apply(vcluster: &str, keys: &[(&str, &str)]) -> Action {
    Action::ApplySpec(spec(update(vcluster, keys), OnConflict::Refuse))
}

pub fn delta(node: &str, vcluster: &str, keys: &[(&str, &str)], base_seq: u64) -> v1::CommitDelta {
    v1::CommitDelta {
        node: node.to_owned(),
        vcluster: vcluster.to_owned(),
        changes: Some(packed(&wanted(keys))),
        drift_digest: vec![7; 32],
        base_seq,
        ttl_seconds: None,
        message: "tuned".to_owned(),
    }
}

/// A commit that saw everything.
pub fn commit(node: &str, vcluster: &str, keys: &[(&str, &str)]) -> Action {
    Action::CommitDelta(delta(node, vcluster, keys, u64::MAX))
}

pub fn rollback_of(scope: &Scope, to_seq: u64, base_seq: u64) -> v1::Rollback {
    let plan = if matches!(scope, Scope::Node(_)) { vec![9; 32] } else { Vec::new() };
    v1::Rollback {
        scope: Some(scope.into()),
        to_seq: Some(to_seq),
        base_seq,
        plan_sha256: plan,
        ..v1::Rollback::default()
    }
}

pub fn file(sha256: [u8; 32], content_kept: bool) -> Value {
    Value::File(FileValue {
        kind: FileKind::Regular,
        sha256: Some(sha256),
        size_bytes: 4,
        mode: 0o644,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        link_target: None,
        content_kept,
    })
}

pub fn overlay(vcluster: &str) -> DeclaredScope {
    DeclaredScope::Overlay(VclusterId::new(vcluster).unwrap())
}

pub fn delta_of(vcluster: &str, node: &str) -> DeclaredScope {
    DeclaredScope::Delta(VclusterId::new(vcluster).unwrap(), NodeId::new(node).unwrap())
}

/// What a scope declares now.
pub fn held(state: &Memory, scope: &DeclaredScope) -> HeldKeys {
    Working::new(state).held_at(scope, u64::MAX)
}

/// The texts that a scope declares, as `key=text`.
pub fn shown(state: &Memory, scope: &DeclaredScope) -> Vec<String> {
    let held = held(state, scope);
    held.iter().map(|(key, held)| format!("{key}={}", held.value.as_text().unwrap())).collect()
}

/// Nodes a and b in ml, c in hpc, d in none.
pub fn site() -> (Memory, Commands) {
    let (mut state, mut commands) = (Memory::default(), Commands::new());
    let mut actions: Vec<Action> =
        (1..).zip(["a", "b", "c", "d"]).map(|(mac, name)| register(name, mac)).collect();
    actions.push(policy("ml", v1::VclusterPolicy::default()));
    actions.push(policy("hpc", v1::VclusterPolicy::default()));
    actions.push(assign("a,b", Some("ml"), v1::AssignMode::Assign));
    actions.push(assign("c", Some("hpc"), v1::AssignMode::Assign));
    for action in actions {
        let command = state.judging(commands.make(action));
        committed(&state.apply(&[command])[0]);
    }
    (state, commands)
}

//! Declared state of the journal in these tests: small, but it refuses and plans as the real one does.

use std::collections::BTreeMap;

use pact_schemas::ErrorCode;
use pact_schemas::v1::scope::Scope;
use pact_schemas::v1::{
    self, Change, DeltaConflict, EntryKind, OnConflict, action, entry::Payload,
};
use prost::Message as _;
use ring::digest::{SHA256, digest};

use crate::journal::State;

pub(crate) type Keys = BTreeMap<String, v1::Value>;

/// Every scope as it was after each entry that changed it.
#[derive(Default)]
pub(crate) struct Declared {
    history: BTreeMap<String, BTreeMap<u64, Keys>>,
    pub(crate) blobs: BTreeMap<Vec<u8>, v1::PutBlob>,
    /// Those that nodes have sent: a gateway reads them, and names only what it has sent itself.
    pub(crate) of_nodes: BTreeMap<Vec<u8>, v1::PutBlob>,
}

fn name(scope: &v1::Scope) -> String {
    match scope.scope.as_ref().unwrap() {
        Scope::Node(node) => format!("node:{node}"),
        Scope::Vcluster(name) => format!("vc:{name}"),
        Scope::Global(_) => "global".into(),
    }
}

pub(crate) fn node_scope(node: &str) -> v1::Scope {
    v1::Scope { scope: Some(Scope::Node(node.into())) }
}

pub(crate) fn vc_scope(name: &str) -> v1::Scope {
    v1::Scope { scope: Some(Scope::Vcluster(name.into())) }
}

impl Declared {
    pub(crate) fn newest(&self, scope: &v1::Scope) -> u64 {
        let all = self.history.get(&name(scope));
        all.and_then(|h| h.last_key_value()).map_or(0, |(seq, _)| *seq)
    }

    pub(crate) fn at(&self, scope: &v1::Scope, seq: u64) -> Keys {
        let all = self.history.get(&name(scope));
        all.and_then(|h| h.range(..=seq).next_back()).map(|(_, k)| k.clone()).unwrap_or_default()
    }

    pub(crate) fn set(&mut self, scope: &v1::Scope, seq: u64, keys: Keys) {
        self.history.entry(name(scope)).or_default().insert(seq, keys);
    }
}

/// What an action would do, or why not.
struct Planned {
    scope: v1::Scope,
    changes: Vec<Change>,
    keys: Keys,
    conflicts: Vec<DeltaConflict>,
    absorbed: Vec<DeltaConflict>,
}

fn difference(old: &Keys, new: &Keys) -> Vec<Change> {
    let mut all: Vec<&String> = old.keys().chain(new.keys()).collect();
    all.sort();
    all.dedup();
    all.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| Change {
            key: key.clone(),
            old: old.get(key).cloned(),
            new: new.get(key).cloned(),
        })
        .collect()
}

fn changed(keys: &Keys, changes: &[Change]) -> Keys {
    let mut keys = keys.clone();
    for change in changes {
        match &change.new {
            Some(value) => keys.insert(change.key.clone(), value.clone()),
            None => keys.remove(&change.key),
        };
    }
    keys
}

fn planned(state: &State, act: &action::Action) -> Result<Vec<Planned>, v1::Error> {
    let declared = &state.declared;
    let plain = |scope: v1::Scope, old: Keys, keys: Keys| Planned {
        changes: difference(&old, &keys),
        scope,
        keys,
        conflicts: Vec::new(),
        absorbed: Vec::new(),
    };
    match act {
        action::Action::CommitDelta(commit) => {
            let scope = node_scope(&commit.node);
            if state.nodes[&commit.node].vcluster.as_deref() != Some(commit.vcluster.as_str()) {
                return Err(ErrorCode::Conflict.error("another vCluster"));
            }
            if declared.newest(&scope) > commit.base_seq {
                return Err(ErrorCode::Conflict.error("keys were declared since"));
            }
            let old = declared.at(&scope, u64::MAX);
            let given = commit.changes.clone().unwrap().changes;
            let keys = changed(&old, &given);
            Ok(vec![Planned { changes: given, ..plain(scope, old, keys) }])
        }
        action::Action::Rollback(rollback) => {
            let scope = rollback.scope.clone().unwrap();
            let is_node = matches!(scope.scope, Some(Scope::Node(_)));
            assert_eq!(rollback.plan_sha256.len(), if is_node { 32 } else { 0 });
            let old = declared.at(&scope, u64::MAX);
            let Some(to_seq) = rollback.to_seq else {
                assert!(rollback.discard_drift && rollback.drift_digest.len() == 32);
                return Ok(vec![plain(scope, old.clone(), old)]);
            };
            if declared.newest(&scope) != rollback.base_seq {
                return Err(ErrorCode::Conflict.error("the scope changed"));
            }
            let keys = declared.at(&scope, to_seq);
            Ok(vec![plain(scope, old, keys)])
        }
        action::Action::ApplySpec(spec) => {
            spec.overlays.iter().map(|update| plan_overlay(state, spec, update)).collect()
        }
        _ => Ok(Vec::new()),
    }
}

fn plan_overlay(
    state: &State,
    spec: &v1::ApplySpec,
    update: &v1::OverlayUpdate,
) -> Result<Planned, v1::Error> {
    let scope = vc_scope(&update.vcluster);
    let old = state.declared.at(&scope, u64::MAX);
    let given = &update.changes.as_ref().unwrap().changes;
    for change in given {
        if let Some(v1::value::Value::File(file)) =
            change.new.as_ref().and_then(|v| v.value.as_ref())
        {
            assert!(state.declared.blobs.contains_key(&file.sha256), "the contents come first");
        }
    }
    let mut keys = changed(&old, given);
    keys.retain(|key, _| {
        let kind = key.split('/').next().unwrap();
        !update.replace.iter().any(|r| r == kind) || given.iter().any(|c| c.key == *key)
    });
    let (mut conflicts, mut absorbed) = (Vec::new(), Vec::new());
    for record in state.nodes.values().filter(|r| r.vcluster.as_ref() == Some(&update.vcluster)) {
        for (key, value) in state.declared.at(&node_scope(&record.node), u64::MAX) {
            let Some(overlay) = given.iter().find(|c| c.key == key).and_then(|c| c.new.as_ref())
            else {
                continue;
            };
            let met = DeltaConflict {
                node: record.node.clone(),
                key: key.clone(),
                node_value: Some(value.clone()),
                overlay_value: Some(overlay.clone()),
            };
            if value == *overlay { absorbed.push(met) } else { conflicts.push(met) }
        }
    }
    let is_open =
        |c: &&DeltaConflict| !update.overwrite.contains(&c.key) && !update.keep.contains(&c.key);
    let refuses = spec.on_conflict() == OnConflict::Refuse;
    if let Some(first) = conflicts.iter().find(is_open).filter(|_| refuses) {
        return Err(ErrorCode::Conflict.error(format!("{} on {}", first.key, first.node)));
    }
    Ok(Planned { changes: difference(&old, &keys), scope, keys, conflicts, absorbed })
}

/// As the journal's replies.
pub(crate) const PAGE_BYTES: usize = 512 * 1024;

/// What the read `plan` answers. Conflicts are shown also where they are refused.
pub(crate) fn plan(state: &State, act: &action::Action, after: &str) -> v1::PlanReply {
    let mut reply = whole_plan(state, act);
    for planned in &mut reply.scopes {
        let changes = &mut planned.changes.as_mut().unwrap().changes;
        changes.retain(|change| change.key.as_str() > after);
        let mut bytes = 0;
        let fits = |change: &&Change| {
            bytes += change.encoded_len();
            bytes <= PAGE_BYTES
        };
        let fitting = changes.iter().take_while(fits).count();
        planned.omitted_changes = u32::try_from(changes.len() - fitting).unwrap();
        changes.truncate(fitting);
    }
    reply
}

fn whole_plan(state: &State, act: &action::Action) -> v1::PlanReply {
    let shown = |planned: Vec<Planned>| {
        planned
            .into_iter()
            .map(|p| v1::PlannedScope {
                scope: Some(p.scope),
                changes: Some(v1::ChangeSet { changes: p.changes, chunks: Vec::new() }),
                conflicts: p.conflicts,
                absorbed: p.absorbed,
                ..v1::PlannedScope::default()
            })
            .collect()
    };
    match planned(state, act) {
        Ok(scopes) => v1::PlanReply { scopes: shown(scopes), refused: None },
        Err(refused) => {
            let mut lenient = act.clone();
            if let action::Action::ApplySpec(spec) = &mut lenient {
                spec.on_conflict = OnConflict::Keep.into();
            }
            let scopes = planned(state, &lenient).map(shown).unwrap_or_default();
            v1::PlanReply { scopes, refused: Some(refused) }
        }
    }
}

/// Carries an action out; the first and the last sequence, 0 where it makes no entry. `None`: not about declared state.
pub(crate) fn apply(
    state: &mut State,
    id: &str,
    act: &action::Action,
) -> Option<Result<(u64, u64), v1::Error>> {
    let first = state.entries.len() as u64 + 1;
    match act {
        action::Action::PutBlob(put) => {
            let bytes = zstd::bulk::decompress(&put.compressed, 256 * 1024).unwrap();
            assert_eq!(digest(&SHA256, &bytes).as_ref(), put.sha256);
            state.declared.blobs.insert(put.sha256.clone(), put.clone());
            return Some(Ok((0, 0)));
        }
        action::Action::ExtendWindow(extend) => {
            let payload = Payload::WindowExtended(v1::WindowExtended {
                targets: extend.targets.clone(),
                minutes: extend.minutes,
            });
            entry(state, id, EntryKind::WindowExtended, vc_scope("ml"), Vec::new(), payload);
        }
        action::Action::ChangeBlacklist(change) => {
            let Some(Scope::Node(node)) = change.scope.as_ref().unwrap().scope.clone() else {
                panic!("{change:?}");
            };
            let list = &mut state.nodes.get_mut(&node).unwrap().blacklist;
            let before = list.clone();
            list.retain(|p| !change.remove.contains(p));
            list.extend(change.add.iter().filter(|p| !before.contains(p)).cloned());
            if *list == before {
                return Some(Ok((0, 0)));
            }
            let payload = Payload::BlacklistChanged(v1::BlacklistChanged {
                added: change.add.clone(),
                removed: change.remove.clone(),
            });
            entry(state, id, EntryKind::BlacklistChanged, node_scope(&node), Vec::new(), payload);
        }
        action::Action::CommitDelta(_)
        | action::Action::Rollback(_)
        | action::Action::ApplySpec(_) => match planned(state, act) {
            Err(error) => return Some(Err(error)),
            Ok(planned) => carry_out(state, id, act, planned),
        },
        _ => return None,
    }
    Some(Ok((first, state.entries.len() as u64)))
}

fn carry_out(state: &mut State, id: &str, act: &action::Action, planned: Vec<Planned>) {
    if let action::Action::ApplySpec(spec) = act {
        for update in &spec.policies {
            state.policies.insert(update.vcluster.clone(), update.policy.clone().unwrap());
            let payload = Payload::PolicyUpdate(update.clone());
            let scope = vc_scope(&update.vcluster);
            entry(state, id, EntryKind::PolicyUpdate, scope, Vec::new(), payload);
        }
    }
    for plan in planned {
        let (kind, payload) = match act {
            action::Action::CommitDelta(commit) => {
                let delta = v1::DeltaCommitted {
                    drift_digest: commit.drift_digest.clone(),
                    ..v1::DeltaCommitted::default()
                };
                (EntryKind::Commit, Payload::DeltaCommitted(delta))
            }
            action::Action::Rollback(rollback) => {
                let (to_seq, drift_digest) = (rollback.to_seq, rollback.drift_digest.clone());
                let done = v1::RollbackDone { to_seq, drift_digest, ..Default::default() };
                (EntryKind::Rollback, Payload::RollbackDone(done))
            }
            _ => (EntryKind::OverlayApplied, Payload::OverlayApplied(Default::default())),
        };
        let seq = state.entries.len() as u64 + 1;
        let ended: Vec<&DeltaConflict> = match act {
            action::Action::ApplySpec(spec) if spec.on_conflict() == OnConflict::Overwrite => {
                plan.absorbed.iter().chain(&plan.conflicts).collect()
            }
            _ => plan.absorbed.iter().collect(),
        };
        for delta in ended {
            let scope = node_scope(&delta.node);
            let mut keys = state.declared.at(&scope, u64::MAX);
            keys.remove(&delta.key);
            state.declared.set(&scope, seq, keys);
        }
        state.declared.set(&plan.scope, seq, plan.keys);
        entry(state, id, kind, plan.scope, plan.changes, payload);
    }
}

pub(crate) fn entry(
    state: &mut State,
    id: &str,
    kind: EntryKind,
    scope: v1::Scope,
    changes: Vec<Change>,
    payload: Payload,
) {
    let seq = state.entries.len() as u64 + 1;
    // Longer ones are in chunks, which these tests do not look at.
    let bytes: usize = changes.iter().map(Change::encoded_len).sum();
    let changes = if bytes > 64 * 1024 { Vec::new() } else { changes };
    state.entries.push(v1::Entry {
        version: 1,
        seq,
        kind: kind.into(),
        scope: Some(scope),
        request_id: Some(id.into()),
        changes,
        payload: Some(payload),
        ..v1::Entry::default()
    });
}

pub(crate) fn text(value: &str) -> v1::Value {
    v1::Value { value: Some(v1::value::Value::Text(value.into())) }
}

//! `promote`: a node's committed deltas as an overlay of its vCluster.
//!
//! What would be written is read back and planned as `apply` would plan it: so the conflicts with other nodes are those
//! that `apply` would meet. Nothing is declared here.

use std::collections::{BTreeMap, BTreeSet};

use pact_journal_client::Journal;
use pact_schemas::convert::{self, Scope};
use pact_schemas::resource::change_set::MAX_ENCODED_BYTES;
use pact_schemas::resource::{ResourceKey, State, Value};
use pact_schemas::spec::{ConflictChoice, MAX_SPEC_BYTES, Spec, render_overlay};
use pact_schemas::v1::{
    self, BlobRef, DeclaredKey, DeltaConflict, OnConflict, PromoteReply, PromoteRequest,
    action::Action as Act,
};
use pact_schemas::{ErrorCode, NodeId, VclusterId};

use super::apply::draft::Draft;
use super::apply::{contents, is_platform_admin};
use crate::ask::fanout;
use crate::ask::nodes::Until;
use crate::ask::read;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_reply, bad_request};
use crate::rights::authorise::{Asked, operation};
use crate::rights::permit::Permit;
use crate::rights::targets;

/// What errors in the exported specification are named after; they would be defects.
const FILE: &str = "promoted";

pub(super) async fn promote(
    gateway: &Gateway,
    caller: Caller,
    request: PromoteRequest,
) -> Answer<PromoteReply> {
    let decisions = Decisions::read(&request)?;
    let targets = targets::one_node(&gateway.journal, &request.node).await?;
    let permit =
        gateway.rights.authorise(&caller, Asked::of(operation("promote")?).on(&targets)).await?;
    let Some((node, record)) = targets.nodes().next() else {
        return Err(bad_reply("pact-journal", "a node has no record"));
    };
    let vcluster = record.vcluster.as_deref().ok_or_else(|| {
        ErrorCode::Conflict
            .error(format!("{node} belongs to no vCluster"))
            .because("its deltas are promoted to the overlay of its vCluster")
            .next("assign it with `pact node assign`")
            .on(node)
    })?;
    let vcluster = VclusterId::new(vcluster).map_err(|e| bad_reply("pact-journal", e))?;
    // The deltas as they come, as they are read, and as they are written.
    let _room = gateway.plans.room(MAX_ENCODED_BYTES, &Until::new(&gateway.clock)).await?;
    let deltas = read::declared(&gateway.journal, &Scope::Node(node.clone()), None).await?;
    let state = deltas.iter().map(decoded).collect::<Answer<State>>()?;
    fits(&state).map_err(|e| e.on(node))?;
    let contents = contents(&gateway.journal, &state).await?;
    let find = |sha256: &[u8; 32]| contents.get(sha256).cloned();
    let draft = render_overlay(&vcluster, &state, &find, &BTreeMap::new());
    let conflicts = conflicts(gateway, &permit, node, &draft).await?;
    let toml = match decisions.of(&conflicts)? {
        Some(decided) => render_overlay(&vcluster, &state, &find, &decided),
        None => String::new(),
    };
    Ok(PromoteReply { vcluster: vcluster.to_string(), deltas, conflicts, toml })
}

/// Contents of the files that have them.
async fn contents(journal: &Journal, state: &State) -> Answer<BTreeMap<[u8; 32], Vec<u8>>> {
    let wanted: BTreeSet<([u8; 32], u64)> = state.values().filter_map(kept).collect();
    let fetch = |(sha256, size): ([u8; 32], u64)| async move {
        let size_bytes = u32::try_from(size).unwrap_or(u32::MAX);
        let blob = BlobRef { sha256: sha256.to_vec(), size_bytes };
        Ok((sha256, read::chunk(journal, &blob).await?))
    };
    fanout::all(wanted.into_iter().map(fetch).collect()).await.into_iter().collect()
}

/// Other nodes' values that differ from what would be written.
async fn conflicts(
    gateway: &Gateway,
    permit: &Permit,
    node: &NodeId,
    draft: &str,
) -> Answer<Vec<DeltaConflict>> {
    if draft.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
        return Ok(Vec::new()); // nothing of it can be written
    }
    let spec = Spec::parse(FILE, draft)?;
    let request = v1::ApplyRequest {
        on_conflict: Some(OnConflict::Keep.into()),
        ..v1::ApplyRequest::default()
    };
    let draft = Draft::of(&spec, &request)?;
    // Also what the node has sent: the journal plans with what a gateway has, as `apply` will.
    if !draft.blobs.is_empty() {
        let id = gateway.proposals.own_id()?;
        contents::store(&gateway.proposals, permit, id, &draft.blobs).await?;
    }
    let action = v1::Action::from(Act::ApplySpec(draft.spec));
    let plan = read::accepted(
        read::plan(&gateway.journal, &action, is_platform_admin(&permit.principal), "").await?,
    )?;
    let mut conflicts = Vec::new();
    for planned in plan.scopes {
        if planned.omitted_deltas > 0 {
            return Err(too_many(planned.conflicts.len(), planned.omitted_deltas));
        }
        let others = planned.conflicts.into_iter().filter(|c| c.node != node.as_str());
        conflicts.extend(others);
    }
    Ok(conflicts)
}

/// Contents that are kept, with their sizes.
fn kept(value: &Value) -> Option<([u8; 32], u64)> {
    let file = value.as_file().filter(|file| file.content_kept)?;
    Some((file.sha256?, file.size_bytes))
}

/// Whether what the files hold can be in one specification, where each has its contents in full.
fn fits(state: &State) -> Answer<()> {
    let bytes: u64 = state.values().filter_map(kept).map(|(_, bytes)| bytes).sum();
    if bytes <= MAX_SPEC_BYTES as u64 {
        return Ok(());
    }
    Err(ErrorCode::TooLarge
        .error(format!(
            "the files that the node declares hold {bytes} bytes; a specification holds 1 MiB"
        ))
        .because("`apply` takes what `promote` writes in one piece")
        .next("write the overlay of the large files by hand, apply it, then promote the rest"))
}

/// What the caller decided.
struct Decisions {
    otherwise: Option<ConflictChoice>,
    each: BTreeMap<ResourceKey, ConflictChoice>,
}

impl Decisions {
    fn read(request: &PromoteRequest) -> Answer<Self> {
        let otherwise = request.on_conflict.map(choice).transpose()?;
        let each = request.decisions.iter().map(|decided| {
            let key = decided.key.parse::<ResourceKey>();
            let key = key.map_err(|e| ErrorCode::InvalidArgument.error(e.to_string()))?;
            Ok((key, choice(decided.choice)?))
        });
        Ok(Self { otherwise, each: each.collect::<Answer<_>>()? })
    }

    /// A decision for each key that needs one; `None`: one is missing.
    fn of(
        &self,
        conflicts: &[DeltaConflict],
    ) -> Answer<Option<BTreeMap<ResourceKey, ConflictChoice>>> {
        let mut decided = BTreeMap::new();
        for conflict in conflicts {
            let key: ResourceKey =
                conflict.key.parse().map_err(|e| bad_reply("pact-journal", e))?;
            match self.each.get(&key).copied().or(self.otherwise) {
                Some(choice) => decided.insert(key, choice),
                None => return Ok(None),
            };
        }
        Ok(Some(decided))
    }
}

fn choice(wire: i32) -> Answer<ConflictChoice> {
    match convert::enumeration(wire, "PromoteRequest.choice").map_err(bad_request)? {
        v1::ConflictChoice::Overwrite => Ok(ConflictChoice::Overwrite),
        v1::ConflictChoice::KeepLocal => Ok(ConflictChoice::KeepLocal),
        v1::ConflictChoice::Unspecified => {
            Err(ErrorCode::InvalidArgument
                .error("a conflict is decided by overwrite or keep-local"))
        }
    }
}

fn decoded(delta: &DeclaredKey) -> Answer<(ResourceKey, Value)> {
    let key = delta.key.parse::<ResourceKey>().map_err(|e| bad_reply("pact-journal", e))?;
    let value = convert::required(delta.value.clone(), "DeclaredKey.value");
    let value = value.and_then(Value::try_from).map_err(|e| bad_reply("pact-journal", e))?;
    Ok((key, value))
}

fn too_many(listed: usize, omitted: u32) -> v1::Error {
    ErrorCode::TooLarge
        .error(format!("over {listed} values of other nodes differ, {omitted} of them not listed"))
        .next("roll back or commit the other nodes first, or write the overlay by hand")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict(key: &str) -> DeltaConflict {
        DeltaConflict { node: "n2".into(), key: key.into(), ..DeltaConflict::default() }
    }

    #[test]
    fn contents_that_no_specification_holds_are_not_fetched() {
        let file = |size_bytes: u64| {
            let file = v1::FileValue {
                sha256: vec![1; 32],
                size_bytes,
                kind: v1::FileKind::Regular.into(),
                mode: 0o644,
                owner: "root".into(),
                group: "root".into(),
                content_kept: true,
                ..v1::FileValue::default()
            };
            Value::try_from(v1::Value { value: Some(v1::value::Value::File(file)) }).unwrap()
        };
        let state = |count: usize| -> State {
            let key = |i| format!("file//etc/f{i}").parse().unwrap();
            (0..count).map(|i| (key(i), file(256 * 1024))).collect()
        };
        assert!(fits(&state(4)).is_ok());
        // The same contents twice are written twice.
        assert_eq!(fits(&state(5)).unwrap_err().known_code(), ErrorCode::TooLarge);
    }

    #[test]
    fn every_conflict_needs_a_decision() {
        let conflicts = [conflict("sysctl/vm.a"), conflict("sysctl/vm.b")];
        let of = |on_conflict: Option<v1::ConflictChoice>, keys: &[&str]| {
            let decided = |key: &&str| v1::ConflictDecided {
                key: (*key).to_owned(),
                choice: v1::ConflictChoice::KeepLocal.into(),
            };
            let request = PromoteRequest {
                on_conflict: on_conflict.map(Into::into),
                decisions: keys.iter().map(decided).collect(),
                ..PromoteRequest::default()
            };
            Decisions::read(&request).unwrap().of(&conflicts).unwrap()
        };
        assert_eq!(of(None, &[]), None);
        assert_eq!(of(None, &["sysctl/vm.a"]), None);
        let both = of(Some(v1::ConflictChoice::Overwrite), &["sysctl/vm.b"]).unwrap();
        let choices: Vec<ConflictChoice> = both.into_values().collect();
        assert_eq!(choices, [ConflictChoice::Overwrite, ConflictChoice::KeepLocal]);
        let unknown = PromoteRequest { on_conflict: Some(0), ..PromoteRequest::default() };
        assert!(Decisions::read(&unknown).is_err());
    }
}

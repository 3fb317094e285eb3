//! `apply`: a specification becomes the declared state of its vClusters, all or nothing.
//!
//! ```text
//! parse → rights → contents and chunks are stored → plan (the journal's own) → ApplySpec → the nodes have it
//! ```
//!
//! Contents are stored by their digest, also for a dry run: nothing refers to them until something is declared.

pub(super) mod contents;
pub(super) mod draft;

use pact_identity::{Principal, Role};
use pact_journal_client::Journal;
use pact_schemas::convert::{self, Scope};
use pact_schemas::spec::Spec;
use pact_schemas::v1::{
    self, AppliedOverlay, ApplyReply, EntryKind, PlannedScope, action::Action as Act,
    entry::Payload,
};
use pact_schemas::{ErrorCode, NodeSet, VclusterId};

use self::draft::Draft;
use super::settle::{by_presence, settle_all};
use crate::ask::changes::{self, shown};
use crate::ask::nodes::{Until, parted};
use crate::ask::read;
use crate::ask::request::{RequestKey, entries_of};
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_reply};
use crate::rights::authorise::{Asked, Rights, operation};
use crate::rights::permit::Permit;
use crate::rights::targets::{self, Condition, targets_of};

/// Longest file name that is shown in errors.
const MAX_NAME_CHARS: usize = 255;

pub(super) async fn apply(
    gateway: &Gateway,
    caller: Caller,
    request: v1::ApplyRequest,
) -> Answer<ApplyReply> {
    let key = RequestKey::of("apply", &request.request_id, &request)?;
    refuse_unbuilt(&request)?;
    let spec = Spec::parse(&file_name(&request.file_name), &request.spec)?;
    let permit = authorise_spec(&gateway.rights, &caller, &spec).await?;
    let until = Until::new(&gateway.clock);
    if !request.dry_run
        && let Some(mut reply) = applied_before(&gateway.journal, &permit, key).await?
    {
        settle_overlays(gateway, &mut reply, request.no_wait, &until).await?;
        return Ok(reply);
    }
    let draft = Draft::of(&spec, &request)?;
    contents::store(&gateway.proposals, &permit, key.id, &draft.blobs).await?;
    let act = Act::ApplySpec(draft.spec.clone());
    let action = v1::Action::from(act.clone());
    let plan =
        read::plan(&gateway.journal, &action, is_platform_admin(&caller.principal), "").await?;
    let mut reply = ApplyReply {
        policies: draft.spec.policies.clone(),
        overlays: overlays(&gateway.journal, plan.scopes, &draft).await?,
        ..ApplyReply::default()
    };
    match plan.refused {
        Some(refused) if request.dry_run => reply.errors.push(refused),
        Some(refused) => return Err(refused),
        None => {}
    }
    if request.dry_run || is_nothing(&gateway.journal, &reply).await? {
        return Ok(reply);
    }
    let (done, _) = gateway.proposals.commit(&permit, key, act).await?;
    (reply.first_seq, reply.last_seq) = (done.first_seq, done.last_seq);
    if done.repeated_request {
        // Another attempt of the same request came first.
        reply = applied_before(&gateway.journal, &permit, key).await?.unwrap_or(reply);
    }
    settle_overlays(gateway, &mut reply, request.no_wait, &until).await?;
    Ok(reply)
}

/// The right to apply, and for policy tables the right to set policies: both, before anything is done. A vCluster that
/// does not exist is made by platform admins alone; for others its name is a typo.
async fn authorise_spec(rights: &Rights, caller: &Caller, spec: &Spec) -> Answer<Permit> {
    let apply = operation("apply")?;
    let asked = |operation, vclusters: Vec<VclusterId>| {
        let mut asked = Asked::of(operation).within(vclusters);
        asked.may_create = is_platform_admin(&caller.principal);
        asked
    };
    let all: Vec<VclusterId> = spec.vclusters.keys().cloned().collect();
    let with_policy: Vec<VclusterId> = spec
        .vclusters
        .iter()
        .filter(|(_, vcluster)| vcluster.policy.is_some())
        .map(|(name, _)| name.clone())
        .collect();
    if with_policy.is_empty() {
        return rights.authorise(caller, asked(apply, all)).await;
    }
    let mut set = asked(operation("group.set-policy")?, with_policy);
    set.is_part = true;
    let permit = rights.authorise(caller, set).await?;
    rights.authorise(caller, asked(apply, all)).await?;
    Ok(Permit { operation: apply, ..permit })
}

/// What the journal would do, as it is shown.
async fn overlays(
    journal: &Journal,
    scopes: Vec<PlannedScope>,
    draft: &Draft,
) -> Answer<Vec<AppliedOverlay>> {
    let mut overlays = Vec::new();
    for planned in scopes {
        let Some(v1::scope::Scope::Vcluster(vcluster)) = planned.scope.and_then(|s| s.scope) else {
            continue;
        };
        let all = changes::all(journal, planned.changes.unwrap_or_default()).await?;
        let removed = all.iter().filter(|change| change.new.is_none()).count();
        let (changes, omitted) = shown(all);
        overlays.push(AppliedOverlay {
            blacklist: draft.blacklist_of(&vcluster),
            vcluster,
            changes,
            omitted_changes: omitted.saturating_add(planned.omitted_changes),
            removed_keys: u32::try_from(removed).unwrap_or(u32::MAX),
            conflicts: planned.conflicts,
            absorbed: planned.absorbed,
        });
    }
    Ok(overlays)
}

/// Whether everything is so already.
async fn is_nothing(journal: &Journal, reply: &ApplyReply) -> Answer<bool> {
    let says_something = |overlay: &AppliedOverlay| {
        !overlay.changes.is_empty()
            || !overlay.conflicts.is_empty()
            || !overlay.absorbed.is_empty()
            || overlay.blacklist.is_some()
    };
    if !reply.policies.is_empty() || reply.overlays.iter().any(says_something) {
        return Ok(false);
    }
    for overlay in &reply.overlays {
        let name = VclusterId::new(&overlay.vcluster)
            .map_err(|e| ErrorCode::Internal.error(e.to_string()))?;
        match read::vcluster(journal, &name).await {
            Ok(_) => {}
            // It comes into being by being named.
            Err(error) if error.known_code() == ErrorCode::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Waits for the active nodes of each vCluster; the others are named.
async fn settle_overlays(
    gateway: &Gateway,
    reply: &mut ApplyReply,
    no_wait: bool,
    until: &Until,
) -> Answer<()> {
    let mut away = Vec::new();
    for overlay in &reply.overlays {
        if no_wait || overlay.changes.is_empty() {
            continue;
        }
        // Without a name the condition would hold for every node.
        let vcluster: VclusterId = convert::id(&overlay.vcluster, "AppliedOverlay.vcluster")
            .map_err(|e| bad_reply("pact-journal", e))?;
        let condition = Condition { vcluster: Some(vcluster), state: None };
        let Ok(members) = targets_of(targets::nodes_where(&gateway.journal, &condition).await?)
        else {
            continue; // it has no nodes
        };
        let (active, gone) = by_presence(&members);
        away.extend(gone.iter().flat_map(|gone| gone.set.iter().cloned()));
        if let Some(active) = active {
            let settled = settle_all(&gateway.agents, &active, reply.last_seq, until).await;
            let (nodes, errors) = parted(settled);
            reply.nodes.extend(nodes);
            reply.errors.extend(errors);
        }
    }
    reply.away = NodeSet::new(away).map(|set| set.fold()).unwrap_or_default();
    Ok(())
}

/// What a retry is told: the entries of the first attempt, which was all or nothing.
async fn applied_before(
    journal: &Journal,
    permit: &Permit,
    key: RequestKey,
) -> Answer<Option<ApplyReply>> {
    let mut reply = ApplyReply::default();
    for entry in entries_of(journal, permit, key).await? {
        let scope = entry.scope.as_ref().map(Scope::try_from).transpose();
        let scope = scope.map_err(|error| bad_reply("pact-journal", error))?;
        let Some(Scope::Vcluster(vcluster)) = scope else { continue };
        reply.last_seq = entry.seq;
        reply.first_seq = if reply.first_seq == 0 { entry.seq } else { reply.first_seq };
        match (entry.kind(), entry.payload) {
            (EntryKind::PolicyUpdate, Some(Payload::PolicyUpdate(update))) => {
                reply.policies.push(update);
            }
            _ => {
                let set = v1::ChangeSet { changes: entry.changes, chunks: entry.change_chunks };
                let all = changes::all(journal, set).await?;
                let removed = all.iter().filter(|change| change.new.is_none()).count();
                let (changes, omitted_changes) = shown(all);
                reply.overlays.push(AppliedOverlay {
                    vcluster: vcluster.to_string(),
                    changes,
                    omitted_changes,
                    removed_keys: u32::try_from(removed).unwrap_or(u32::MAX),
                    ..AppliedOverlay::default()
                });
            }
        }
    }
    Ok((reply.first_seq > 0).then_some(reply))
}

/// An option that would be ignored is refused instead.
fn refuse_unbuilt(request: &v1::ApplyRequest) -> Answer<()> {
    let unbuilt =
        [(request.canary.is_some(), "apply --canary"), (request.batch.is_some(), "apply --batch")];
    match unbuilt.into_iter().find(|(is_set, _)| *is_set) {
        None => Ok(()),
        Some((_, option)) => Err(ErrorCode::Unimplemented
            .error(format!("{option} is not built yet"))
            .because("this version of pact gives a specification to all nodes at once")
            .next("apply it to a vCluster with few nodes first")),
    }
}

pub(super) fn is_platform_admin(principal: &Principal) -> bool {
    principal.roles().iter().any(|role| matches!(role, Role::PlatformAdmin))
}

/// A file's name as errors show it.
pub(super) fn file_name(given: &str) -> String {
    let plain: String =
        given.chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_NAME_CHARS).collect();
    if plain.is_empty() { "spec".to_owned() } else { plain }
}

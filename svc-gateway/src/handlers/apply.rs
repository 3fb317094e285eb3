//! `apply`: a specification becomes the declared state of its vClusters, all or nothing.
//!
//! ```text
//! parse → rights → contents and chunks are stored → plan (the journal's own) → ApplySpec → the nodes have it
//! ```
//!
//! Contents are stored by their digest, also for a dry run: nothing refers to them until something is declared.

mod contents;
pub(super) mod draft;

use pact_identity::{Principal, Role};
use pact_schemas::convert::{self, Scope};
use pact_schemas::spec::Spec;
use pact_schemas::v1::{
    self, AppliedOverlay, ApplyReply, EntryKind, PlanReply, PlanRequest, PlannedScope,
    action::Action as Act, entry::Payload,
};
use pact_schemas::{ErrorCode, NodeSet, RequestId, VclusterId};
use prost::Message as _;

use super::nodes::request_id;
use super::settle::by_presence;
use crate::access::attest;
use crate::ask::{Until, parted};
use crate::authorise::{Asked, Permit, no_vcluster, operation};
use crate::changes::shown;
use crate::context::Gateway;
use crate::door::tokens::Caller;
use crate::error::{Answer, bad_reply};
use crate::request::entries_of;
use crate::targets::{Condition, targets_of};
use draft::Draft;

/// Longest file name that is shown in errors.
const MAX_NAME_CHARS: usize = 255;

impl Gateway {
    pub(super) async fn apply(
        &self,
        caller: Caller,
        request: v1::ApplyRequest,
    ) -> Answer<ApplyReply> {
        let id = request_id(&request.request_id)?;
        refuse_unbuilt(&request)?;
        let spec = Spec::parse(&file_name(&request.file_name), &request.spec)?;
        let permit = self.authorise_spec(&caller, &spec, request.create).await?;
        let created = self.created(&caller, &spec, &request).await?;
        spec.vclusters.values().filter_map(|v| v.policy.as_ref()).try_for_each(one_person)?;
        let until = Until::new(&self.clock);
        let draft = Draft::of(&spec, &request)?;
        let action = v1::Action { action: Some(Act::ApplySpec(draft.spec.clone())) };
        if !request.dry_run
            && let Some(mut reply) = self.applied_before(&spec, id).await?
        {
            // The journal compares the whole request with what it remembers, and does nothing again.
            let proposal = attest(&self.signer, &self.clock, &permit, id, &action)?;
            self.journal.propose_one(proposal).await?;
            self.settle_overlays(&mut reply, request.no_wait, &until).await?;
            return Ok(reply);
        }
        self.store(&permit, id, &draft.blobs).await?;
        let plan = PlanRequest { action: action.encode_to_vec(), ..PlanRequest::default() };
        let plan: PlanReply = self.journal.read("plan", &plan).await?;
        let mut reply = ApplyReply {
            policies: draft.spec.policies.clone(),
            overlays: self.overlays(plan.scopes, &draft).await?,
            created,
            ..ApplyReply::default()
        };
        match plan.refused {
            Some(refused) if request.dry_run => reply.errors.push(refused),
            Some(refused) => return Err(refused),
            None => {}
        }
        if request.dry_run || self.is_nothing(&reply).await? {
            return Ok(reply);
        }
        let proposal = attest(&self.signer, &self.clock, &permit, id, &action)?;
        let (done, _) = self.journal.propose_one(proposal).await?;
        (reply.first_seq, reply.last_seq) = (done.first_seq, done.last_seq);
        self.settle_overlays(&mut reply, request.no_wait, &until).await?;
        Ok(reply)
    }

    /// The vClusters that the specification makes: of a platform admin who says so. Without that word its name is a typo.
    async fn created(
        &self,
        caller: &Caller,
        spec: &Spec,
        request: &v1::ApplyRequest,
    ) -> Answer<Vec<String>> {
        let names: Vec<String> = spec.vclusters.keys().map(ToString::to_string).collect();
        if names.is_empty() {
            return Ok(names); // an empty list would ask for all of them
        }
        let known = self.vclusters(names).await?;
        let is_new = |name: &&VclusterId| known.iter().all(|k| k.vcluster != name.as_str());
        let new: Vec<VclusterId> = spec.vclusters.keys().filter(is_new).cloned().collect();
        match new.first() {
            None => {}
            Some(_) if request.create => {
                let mut asked = Asked::of(operation("group.set-policy")?).within(new.clone());
                (asked.may_create, asked.is_part) = (true, true);
                self.authorise(caller, asked).await?;
            }
            Some(_) if request.dry_run => {}
            Some(first) => {
                return Err(no_vcluster(first).next(
                    "look at its name; if it is meant to come into being, `pact apply --create`",
                ));
            }
        }
        Ok(new.iter().map(ToString::to_string).collect())
    }

    /// The right to apply, and for policy tables the right to set policies: both, before anything is done. A vCluster that
    /// does not exist is made by platform admins alone; for others its name is a typo.
    async fn authorise_spec(&self, caller: &Caller, spec: &Spec, create: bool) -> Answer<Permit> {
        let apply = operation("apply")?;
        let asked = |operation, vclusters: Vec<VclusterId>| {
            let mut asked = Asked::of(operation).within(vclusters);
            asked.may_create = create || is_platform_admin(&caller.principal);
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
            return self.authorise(caller, asked(apply, all)).await;
        }
        let mut set = asked(operation("group.set-policy")?, with_policy);
        set.is_part = true;
        let permit = self.authorise(caller, set).await?;
        self.authorise(caller, asked(apply, all)).await?;
        Ok(Permit { operation: apply, ..permit })
    }

    /// What the journal would do, as it is shown.
    async fn overlays(
        &self,
        scopes: Vec<PlannedScope>,
        draft: &Draft,
    ) -> Answer<Vec<AppliedOverlay>> {
        let mut overlays = Vec::new();
        for planned in scopes {
            let Some(v1::scope::Scope::Vcluster(vcluster)) = planned.scope.and_then(|s| s.scope)
            else {
                continue;
            };
            let all = self.changes(planned.changes.unwrap_or_default()).await?;
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
    async fn is_nothing(&self, reply: &ApplyReply) -> Answer<bool> {
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
            match self.vcluster(&name).await {
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
        &self,
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
            let Ok(members) = targets_of(self.nodes_where(&condition).await?) else {
                continue; // it has no nodes
            };
            let (active, gone) = by_presence(&members);
            away.extend(gone.iter().flat_map(|gone| gone.set.iter().cloned()));
            if let Some(active) = active {
                let settled = self.settle_all(&active, reply.last_seq, until).await;
                let (nodes, errors) = parted(settled);
                reply.nodes.extend(nodes);
                reply.errors.extend(errors);
            }
        }
        reply.away = NodeSet::new(away).map(|set| set.fold()).unwrap_or_default();
        Ok(())
    }

    /// What a retry is told: the entries of the first attempt, which was all or nothing.
    async fn applied_before(&self, spec: &Spec, id: RequestId) -> Answer<Option<ApplyReply>> {
        let mut reply = ApplyReply::default();
        for entry in entries_of(&self.journal, id).await? {
            let scope = entry.scope.as_ref().map(Scope::try_from).transpose();
            let scope = scope.map_err(|error| bad_reply("pact-journal", error))?;
            let Some(Scope::Vcluster(vcluster)) = scope else { continue };
            if !spec.vclusters.contains_key(&vcluster) {
                continue; // of another request, whatever its id
            }
            reply.last_seq = entry.seq;
            reply.first_seq = if reply.first_seq == 0 { entry.seq } else { reply.first_seq };
            match (entry.kind(), entry.payload) {
                (EntryKind::PolicyUpdate, Some(Payload::PolicyUpdate(update))) => {
                    reply.policies.push(update);
                }
                _ => {
                    let set = v1::ChangeSet { changes: entry.changes, chunks: entry.change_chunks };
                    let all = self.changes(set).await?;
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
}

/// Refuses a policy under which nothing could be changed any more: approvals are not built yet.
pub(super) fn one_person(policy: &v1::VclusterPolicy) -> Answer<()> {
    let keys =
        [(policy.regulated, "regulated"), (policy.two_person_approval, "two_person_approval")];
    match keys.into_iter().find(|(value, _)| *value == Some(true)) {
        None => Ok(()),
        Some((_, key)) => Err(ErrorCode::Unimplemented
            .error(format!("{key} = true is not possible yet"))
            .because("it asks for a second person, and approvals are not built yet: nobody could change the vCluster again")
            .next("leave the key out; see \"What is not built yet\" in the README")),
    }
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

fn is_platform_admin(principal: &Principal) -> bool {
    principal.roles().iter().any(|role| matches!(role, Role::PlatformAdmin))
}

/// A file's name as errors show it.
pub(super) fn file_name(given: &str) -> String {
    let plain: String =
        given.chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_NAME_CHARS).collect();
    if plain.is_empty() { "spec".to_owned() } else { plain }
}

//! From a specification to what is proposed.

use pact_schemas::convert;
use pact_schemas::resource::{Kind, change_set};
use pact_schemas::spec::{ConflictChoice, Spec, VclusterSpec};
use pact_schemas::v1::{self, ApplySpec, Blacklist, OnConflict, OverlayUpdate, PolicyUpdate};
use pact_schemas::{ErrorCode, VclusterId};

use crate::error::{Answer, bad_request};

/// A specification as it is proposed, and the blobs that it refers to.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Draft {
    pub(in crate::commands) spec: ApplySpec,
    /// Contents of files, and chunks of large change sets.
    pub(in crate::commands) blobs: Vec<Vec<u8>>,
}

impl Draft {
    pub(in crate::commands) fn of(spec: &Spec, request: &v1::ApplyRequest) -> Answer<Self> {
        let on_conflict = match request.on_conflict {
            None => OnConflict::Refuse,
            Some(wire) => {
                convert::enumeration(wire, "ApplyRequest.on_conflict").map_err(bad_request)?
            }
        };
        let mut draft = Self {
            spec: ApplySpec { on_conflict: on_conflict.into(), ..ApplySpec::default() },
            blobs: Vec::new(),
        };
        for (vcluster, says) in &spec.vclusters {
            draft.add(vcluster, says, request.replace)?;
        }
        Ok(draft)
    }

    fn add(&mut self, vcluster: &VclusterId, says: &VclusterSpec, replace: bool) -> Answer<()> {
        let name = vcluster.to_string();
        if let Some(policy) = &says.policy {
            let update = PolicyUpdate { vcluster: name.clone(), policy: Some(policy.clone()) };
            self.spec.policies.push(update);
        }
        if !says.has_resources() && says.blacklist.is_none() {
            return Ok(());
        }
        let changes = says.changes();
        change_set::check(&changes)
            .map_err(|error| ErrorCode::TooLarge.error(error.to_string()))?;
        let (changes, chunks) = change_set::pack(&changes);
        self.blobs.extend(chunks);
        self.blobs.extend(says.declared.values().filter_map(|declared| declared.content.clone()));
        let decided = |choice: ConflictChoice| -> Vec<String> {
            let those = says.conflicts.iter().filter(|(_, c)| **c == choice);
            those.map(|(key, _)| key.to_string()).collect()
        };
        let replaced: Vec<String> = says.sections.iter().map(|k: &Kind| k.to_string()).collect();
        self.spec.overlays.push(OverlayUpdate {
            vcluster: name,
            changes: Some(changes),
            replace: if replace { replaced } else { Vec::new() },
            blacklist: says.blacklist.clone().map(|patterns| Blacklist { patterns }),
            overwrite: decided(ConflictChoice::Overwrite),
            keep: decided(ConflictChoice::KeepLocal),
        });
        Ok(())
    }

    /// The patterns that replace those of a vCluster.
    pub(super) fn blacklist_of(&self, vcluster: &str) -> Option<Blacklist> {
        let overlay = self.spec.overlays.iter().find(|overlay| overlay.vcluster == vcluster);
        overlay.and_then(|overlay| overlay.blacklist.clone())
    }
}

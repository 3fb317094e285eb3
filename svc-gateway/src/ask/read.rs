//! What the journal is asked for by several commands.

use pact_journal_client::Journal;
use pact_schemas::convert::Scope;
use pact_schemas::v1::{
    self, BlobRef, BlobRequest, DeclaredKey, DeclaredRequest, PlanReply, PlanRequest,
    VclusterRecord, VclustersRequest,
};
use pact_schemas::{Digest, ErrorCode, VclusterId, rpc};
use prost::Message as _;

use crate::error::{Answer, bad_reply};

/// Largest chunk, uncompressed (docs/formats.md §1).
const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// What the journal knows of a vCluster.
pub(crate) async fn vcluster(journal: &Journal, vcluster: &VclusterId) -> Answer<VclusterRecord> {
    let group = vclusters(journal, vec![vcluster.to_string()]).await?.into_iter().next();
    group.ok_or_else(|| ErrorCode::NotFound.error(format!("no vCluster {vcluster}")))
}

/// The vClusters of these names, or all of them, in the order of their names. Unknown ones are left out.
pub(crate) async fn vclusters(
    journal: &Journal,
    vclusters: Vec<String>,
) -> Answer<Vec<VclusterRecord>> {
    let mut request = VclustersRequest { vclusters, ..VclustersRequest::default() };
    let mut records = Vec::new();
    loop {
        let reply = journal.read::<rpc::journal::Vclusters>(&request).await?;
        let last = reply.vclusters.last().map(|record| record.vcluster.clone());
        records.extend(reply.vclusters);
        match last {
            // Pages ascend, so each begins after the last: the loop ends.
            Some(last) if reply.more && last > request.after => request.after = last,
            _ => return Ok(records),
        }
    }
}

/// Every declared key of a scope; the scope is bounded by the journal.
pub(crate) async fn declared(
    journal: &Journal,
    scope: &Scope,
    at_seq: Option<u64>,
) -> Answer<Vec<DeclaredKey>> {
    let mut request = DeclaredRequest {
        scope: Some(v1::Scope::from(scope)),
        at_seq,
        ..DeclaredRequest::default()
    };
    let mut keys = Vec::new();
    loop {
        let reply = journal.read::<rpc::journal::Declared>(&request).await?;
        let last = reply.keys.last().map(|key| key.key.clone());
        keys.extend(reply.keys);
        match last {
            // Pages ascend, so the loop ends.
            Some(last) if reply.more && last > request.after => request.after = last,
            _ => return Ok(keys),
        }
    }
}

/// What the journal would do with an action: the changes after a key, and what it would refuse it with.
pub(crate) async fn plan(
    journal: &Journal,
    action: &v1::Action,
    by_platform_admin: bool,
    after: &str,
) -> Answer<PlanReply> {
    let (action, after) = (action.encode_to_vec(), after.to_owned());
    let request = PlanRequest { action, after, by_platform_admin };
    journal.read::<rpc::journal::Plan>(&request).await
}

/// The plan of an action that the journal would take; else its refusal.
pub(crate) fn accepted(plan: PlanReply) -> Answer<PlanReply> {
    match plan.refused {
        Some(refused) if refused.code.is_empty() => {
            Err(bad_reply("pact-journal", "a refusal has no code"))
        }
        Some(refused) => Err(refused),
        None => Ok(plan),
    }
}

/// One chunk, decompressed and compared with its hash.
pub(crate) async fn chunk(journal: &Journal, blob: &BlobRef) -> Answer<Vec<u8>> {
    let request = BlobRequest { sha256: blob.sha256.clone() };
    let reply = journal.read::<rpc::journal::Blob>(&request).await?;
    let data = zstd::bulk::decompress(&reply.compressed, MAX_CHUNK_BYTES)
        .map_err(|_| bad_reply("pact-journal", "a chunk does not decompress"))?;
    if Digest::of(&data).as_bytes() != blob.sha256.as_slice() {
        return Err(bad_reply("pact-journal", "a chunk is not what its hash says"));
    }
    Ok(data)
}

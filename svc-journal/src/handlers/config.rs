//! `up.config`: what a node is to be. A signed head names documents by their digests; they follow in pages.
//!
//! Answered by any member from what it has applied: a hundred thousand nodes ask, and none goes back behind a head that it has
//! seen. A node gets the documents and contents of its own scopes only, whatever it asks for.

pub(crate) mod documents;

use std::sync::Arc;

use pact_identity::config_head::{self, ConfigDocument};
use pact_identity::sign_config;
use pact_journal_core::declared::DeclaredScope;
use pact_schemas::convert::{self, Scope, WireError, required, vcluster_of};
use pact_schemas::resource::ResourceKey;
use pact_schemas::v1::{
    self, ConfigContent, ConfigPage, ConfigReply, ConfigRequest, config_reply, config_request,
};
use pact_schemas::{Digest, ErrorCode, NodeId, NodeState, Seq};

use self::documents::{Document, NodeConfig, Source, declared_contents, sources};
use super::{MAX_REPLY_BYTES, reading};
use crate::context::Context;
use crate::store::state::StateDb;

/// Answers a node: the head of its configuration, a page of a document, or the contents of a file.
///
/// # Errors
/// `PACT_CONFLICT` when the document or the contents are not what is declared now: the node asks for the head again.
/// `PACT_NOT_FOUND` for contents that the journal does not have, and for nodes that it does not know. `PACT_CLOCK_UNKNOWN` for a
/// head while this member's clock is wrong.
pub async fn config(
    context: &Context,
    node: &NodeId,
    request: ConfigRequest,
) -> Result<ConfigReply, v1::Error> {
    let request = required(request.request, "ConfigRequest.request")?;
    let _turn = context.inner.documents.turn().await;
    let (asked, node) = (context.clone(), node.clone());
    let reply = reading(move || {
        let state = asked.member().state();
        match request {
            config_request::Request::Head(_) => {
                head(&asked, &state, &node).map(config_reply::Reply::Head)
            }
            config_request::Request::Page(page) => {
                self::page(&asked, &state, &node, &page).map(config_reply::Reply::Page)
            }
            config_request::Request::Content(content) => {
                contents(&state, &node, &content).map(config_reply::Reply::Content)
            }
        }
    });
    Ok(ConfigReply { reply: Some(reply.await??) })
}

fn of(state: &StateDb, node: &NodeId) -> Result<(v1::NodeRecord, NodeConfig), v1::Error> {
    let (record, config) = sources(state, node)?.ok_or_else(|| {
        ErrorCode::NotFound.error(format!("node {node} is not registered")).on(node)
    })?;
    if NodeState::of(&record)? == NodeState::Revoked {
        return Err(ErrorCode::NodeRevoked.error(format!("node {node} is revoked")).on(node));
    }
    Ok((record, config))
}

fn head(context: &Context, state: &StateDb, node: &NodeId) -> Result<v1::SignedConfig, v1::Error> {
    let (_, config) = of(state, node)?;
    let documents = config.sources.iter().map(|source| {
        let document = context.inner.documents.get(state, source)?;
        Ok(named(source, &document))
    });
    let documents = documents.collect::<Result<Vec<_>, v1::Error>>()?;
    let internal = |what: String| {
        ErrorCode::Internal.error(format!("the configuration of {node} cannot be signed: {what}"))
    };
    let head_seq = Seq::new(config.head_seq).map_err(|error| internal(error.to_string()))?;
    let signer = context.inner.issuer.signer();
    // For each answer anew: documents are kept, heads never are.
    let now = context.issue_time()?;
    let payload = config_head::payload(signer, node, head_seq, &documents, now);
    sign_config(signer, &payload).map_err(|error| internal(error.to_string()))
}

fn named(source: &Source, document: &Document) -> ConfigDocument {
    ConfigDocument {
        scope: source.scope.clone(),
        seq: Seq::new(source.seq).ok(),
        sha256: document.sha256,
        size_bytes: document.size_bytes,
        compressed_bytes: document.compressed.len() as u64,
    }
}

/// The document was another when the node had its head, or this member is behind the one that signed it.
fn moved_on(what: &str) -> v1::Error {
    ErrorCode::Conflict
        .error(format!("{what} is not what is declared here now"))
        .because("it was declared anew, or this member is behind")
        .next("ask for the head again")
}

fn page(
    context: &Context,
    state: &StateDb,
    node: &NodeId,
    page: &ConfigPage,
) -> Result<Vec<u8>, v1::Error> {
    let wanted = Digest::from_wire(&page.sha256, "ConfigPage.sha256")?;
    let scope = Scope::try_from(required(page.scope.as_ref(), "ConfigPage.scope")?)?;
    let (_, config) = of(state, node)?;
    let source = config.sources.iter().find(|source| source.scope == scope);
    let source = source.ok_or_else(|| moved_on("the scope"))?;
    let document: Arc<Document> = context.inner.documents.get(state, source)?;
    if document.sha256 != wanted {
        return Err(moved_on("the document"));
    }
    let offset = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let rest = document.compressed.get(offset..).filter(|rest| !rest.is_empty());
    let rest = rest.ok_or(WireError::Bounds {
        field: "ConfigPage.offset",
        rule: "is behind the end of the document",
    })?;
    Ok(rest.get(..MAX_REPLY_BYTES).unwrap_or(rest).to_vec())
}

fn contents(state: &StateDb, node: &NodeId, asked: &ConfigContent) -> Result<Vec<u8>, v1::Error> {
    let sha256: [u8; 32] = convert::bytes(&asked.sha256, "ConfigContent.sha256")?;
    let scope = Scope::try_from(required(asked.scope.as_ref(), "ConfigContent.scope")?)?;
    let key: ResourceKey = asked.key.parse().map_err(|_| WireError::Bounds {
        field: "ConfigContent.key",
        rule: "is no resource key in its one spelling",
    })?;
    let (record, _) = of(state, node)?;
    let own = match (scope, vcluster_of(&record)?) {
        (Scope::Vcluster(named), Some(vcluster)) if named == vcluster => {
            DeclaredScope::Overlay(vcluster)
        }
        (Scope::Node(named), Some(vcluster)) if named == *node => {
            DeclaredScope::Delta(vcluster, named)
        }
        _ => return Err(moved_on("the scope")),
    };
    let found =
        declared_contents(state, &own, &key, &sha256).ok_or_else(|| moved_on(&asked.key))?;
    found.ok_or_else(|| {
        ErrorCode::NotFound.error(format!("the contents of {key} are not in the journal"))
    })
}

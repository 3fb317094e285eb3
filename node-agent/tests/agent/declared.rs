//! What the journal declares for the node, answered with real signatures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pact_identity::config_head::{self, ConfigDocument};
use pact_identity::sign_config;
use pact_identity::signing::Signer;
use pact_runtime::Timestamp;
use pact_schemas::convert::Scope;
use pact_schemas::resource::{FileKind, FileValue, ResourceKey, Value};
use pact_schemas::v1::{config_reply::Reply, config_request::Request};
use pact_schemas::{ErrorCode, NodeId, Seq, VclusterId, v1};
use prost::Message;

/// Bytes of a page at the least: small, so that there are several.
const PAGE_BYTES: usize = 64;

/// Pages of a document: few enough for large ones.
const MAX_PAGES: usize = 50;

type Documents = Vec<(ConfigDocument, Vec<u8>)>;

pub(crate) const VCLUSTER: &str = "ml";

/// The journal's side of one node's configuration.
#[derive(Default)]
pub(crate) struct Site {
    pub(crate) head: u64,
    pub(crate) policy: v1::VclusterPolicy,
    pub(crate) blacklist: Vec<String>,
    pub(crate) overlay: BTreeMap<ResourceKey, Value>,
    pub(crate) deltas: BTreeMap<ResourceKey, Value>,
    pub(crate) contents: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The documents of a head.
    made: Option<(u64, Arc<Documents>)>,
    /// Questions for the head, pages and contents.
    pub(crate) asked: [usize; 3],
    /// How long ago heads were made when they are answered.
    pub(crate) issued_ago: Duration,
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

impl Site {
    /// A file of this text, root's and 0644; its contents can be fetched.
    pub(crate) fn file(&mut self, text: &str) -> Value {
        let sha256 = sha256(text.as_bytes());
        self.contents.insert(sha256.to_vec(), text.as_bytes().to_vec());
        Value::File(FileValue {
            kind: FileKind::Regular,
            sha256: Some(sha256),
            size_bytes: text.len() as u64,
            mode: 0o644,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            link_target: None,
            content_kept: true,
        })
    }

    fn document(&self, scope: &Scope) -> v1::DeclaredDocument {
        let is_vcluster = matches!(scope, Scope::Vcluster(_));
        let rows = if is_vcluster { &self.overlay } else { &self.deltas };
        let keys = rows.iter().map(|(key, value)| v1::DeclaredKey {
            key: key.to_string(),
            value: Some(value.into()),
            seq: self.head,
            expires: None,
        });
        v1::DeclaredDocument {
            version: 1,
            scope: Some(scope.into()),
            seq: self.head,
            policy: is_vcluster.then(|| self.policy.clone()),
            blacklist: if is_vcluster { self.blacklist.clone() } else { Vec::new() },
            keys: keys.collect(),
        }
    }

    /// The documents of this head; they are made once.
    fn documents(&mut self, node: &NodeId) -> Arc<Documents> {
        let made = self.made.take().filter(|(head, _)| *head == self.head);
        let (head, documents) = made.unwrap_or_else(|| (self.head, self.make(node).into()));
        self.made = Some((head, Arc::clone(&documents)));
        documents
    }

    fn make(&self, node: &NodeId) -> Documents {
        let scopes =
            [Scope::Vcluster(VclusterId::new(VCLUSTER).unwrap()), Scope::Node(node.clone())];
        let of = |scope: Scope| {
            let bytes = self.document(&scope).encode_to_vec();
            let compressed = zstd::bulk::compress(&bytes, 3).unwrap();
            let document = ConfigDocument {
                scope,
                seq: Seq::new(self.head).ok(),
                sha256: sha256(&bytes).into(),
                size_bytes: bytes.len() as u64,
                compressed_bytes: compressed.len() as u64,
            };
            (document, compressed)
        };
        scopes.into_iter().map(of).collect()
    }

    pub(crate) fn answer(
        &mut self,
        signer: &Signer,
        node: &NodeId,
        request: v1::ConfigRequest,
        now: Timestamp,
    ) -> Result<v1::ConfigReply, v1::Error> {
        let Ok(head) = Seq::new(self.head) else {
            return Err(ErrorCode::NoLeader.error("nothing is declared yet"));
        };
        let documents = self.documents(node);
        let reply = match request.request.unwrap() {
            Request::Head(_) => {
                self.asked[0] += 1;
                let named: Vec<_> =
                    documents.iter().map(|(document, _)| document.clone()).collect();
                let issued = now.checked_sub(self.issued_ago).unwrap();
                let payload = config_head::payload(signer, node, head, &named, issued);
                Reply::Head(sign_config(signer, &payload).unwrap())
            }
            Request::Page(page) => {
                self.asked[1] += 1;
                let (_, compressed) = documents
                    .iter()
                    .find(|(document, _)| document.sha256.as_bytes().as_slice() == page.sha256)
                    .ok_or_else(|| ErrorCode::NotFound.error("no such document"))?;
                let from = usize::try_from(page.offset).unwrap();
                let page_bytes = PAGE_BYTES.max(compressed.len() / MAX_PAGES);
                let to = (from + page_bytes).min(compressed.len());
                Reply::Page(compressed[from..to].to_vec())
            }
            Request::Content(content) => {
                self.asked[2] += 1;
                let bytes = self.contents.get(&content.sha256);
                let bytes = bytes.ok_or_else(|| ErrorCode::NotFound.error("no such contents"))?;
                Reply::Content(zstd::bulk::compress(bytes, 3).unwrap())
            }
        };
        Ok(v1::ConfigReply { reply: Some(reply) })
    }
}

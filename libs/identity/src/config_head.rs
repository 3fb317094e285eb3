//! Configuration heads: what a node is to be, as the journal says it (`SignedConfig`).
//!
//! The head names documents by digest; the documents themselves travel unsigned, in pages, and are worth what their digest says.
//! A [`ConfigHead`] exists only after [`ConfigHead::verify`] or [`ConfigHead::verify_kept`]: signed by a journal member under the
//! site root, for this node. What it cannot see is whether the node has seen a later one: the caller keeps
//! [`ConfigHead::head_seq`] on disk and never goes back.
//!
//! Absences: no unsigned field is read by anyone, no missing field becomes a default, nothing here reads a clock.

use std::time::Duration;

use pact_runtime::Timestamp;
use pact_schemas::convert::{self, Scope, WireError};
use pact_schemas::{Digest, NodeId, Seq, VclusterId, v1};
use prost::Message;

use crate::signing::{SignatureError, Signer, Verifier, domain};
use crate::uri::{SignerName, SignerRole};

/// The version of the payload that this build reads and writes.
const VERSION: u32 = 1;

/// Largest encoded document (contracts: an overlay has at most 10 MB).
pub const MAX_DOCUMENT_BYTES: u64 = 10_000_000;

/// Largest document as it travels: zstd adds under one percent to what it cannot compress.
pub const MAX_COMPRESSED_BYTES: u64 = MAX_DOCUMENT_BYTES + MAX_DOCUMENT_BYTES / 100;

/// Tolerance between plane time on the node and the time in the head.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// Why a head is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not signed by a journal member.
    #[error("the configuration's signature is refused")]
    Signature(#[from] SignatureError),
    /// The payload is not whole.
    #[error("the configuration is malformed")]
    Malformed(#[from] WireError),
    /// Another version of the payload.
    #[error("the configuration has version {found}; this build reads {VERSION}")]
    Version {
        /// As found.
        found: u32,
    },
    /// Signed for another site.
    #[error("the configuration is for the site {found:?}")]
    Site {
        /// As found, cut.
        found: String,
    },
    /// Signed for another node.
    #[error("the configuration is for {found}, not for {node}")]
    OtherNode {
        /// This node.
        node: NodeId,
        /// As found.
        found: NodeId,
    },
    /// From the future: one of the clocks is wrong.
    #[error("the configuration is issued {issued}, it is only {now}")]
    NotYet {
        /// Its time.
        issued: Timestamp,
        /// Plane time.
        now: Timestamp,
    },
    /// Older than anything that this node can have been given.
    #[error("the configuration is issued {issued}, before {floor}")]
    TooOld {
        /// Its time.
        issued: Timestamp,
        /// The least that it can be.
        floor: Timestamp,
    },
}

/// Why a payload is not signed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigIssueError {
    /// The certificate is for other statements.
    #[error("{found} signs no configurations")]
    Role {
        /// Whom the certificate names.
        found: SignerName,
    },
    /// No node would accept it.
    #[error("no node would accept this configuration")]
    Refused(#[from] ConfigError),
}

/// One document of a head: what is declared for one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDocument {
    /// The vCluster, or the node itself.
    pub scope: Scope,
    /// Newest entry that is in it; `None`: nothing was ever declared.
    pub seq: Option<Seq>,
    /// SHA-256 of the encoded `DeclaredDocument`.
    pub sha256: Digest,
    /// Its size, at most [`MAX_DOCUMENT_BYTES`].
    pub size_bytes: u64,
    /// Its size as it travels, at most [`MAX_COMPRESSED_BYTES`].
    pub compressed_bytes: u64,
}

/// What this node is to be at one point of the journal, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigHead {
    content: Content,
    signer: SignerName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    site: String,
    node: NodeId,
    head_seq: Seq,
    documents: Vec<ConfigDocument>,
    issued: Timestamp,
}

impl ConfigHead {
    /// Checks a head that was just received, at plane time `now`.
    ///
    /// # Errors
    /// [`ConfigError`] saying what is wrong.
    pub fn verify(
        signed: &v1::SignedConfig,
        verifier: &Verifier,
        node: &NodeId,
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        let head = Self::verify_at(signed, verifier, node, |_| now)?;
        let issued = head.content.issued;
        if issued.duration_since(now).is_some_and(|ahead| ahead > LEEWAY) {
            return Err(ConfigError::NotYet { issued, now });
        }
        Ok(head)
    }

    /// Checks a head that the node has kept on its own disk, when there may be no time and no journal yet.
    ///
    /// The signer's certificate is checked at the time that the head claims, since it may have ended meanwhile; `floor` (the
    /// build's date) keeps an old, stolen certificate from claiming its own past.
    ///
    /// # Errors
    /// [`ConfigError`] saying what is wrong.
    pub fn verify_kept(
        signed: &v1::SignedConfig,
        verifier: &Verifier,
        node: &NodeId,
        floor: Timestamp,
    ) -> Result<Self, ConfigError> {
        let head = Self::verify_at(signed, verifier, node, |issued| issued)?;
        let issued = head.content.issued;
        if issued < floor {
            return Err(ConfigError::TooOld { issued, floor });
        }
        Ok(head)
    }

    fn verify_at(
        signed: &v1::SignedConfig,
        verifier: &Verifier,
        node: &NodeId,
        certificate_time: impl Fn(Timestamp) -> Timestamp,
    ) -> Result<Self, ConfigError> {
        let payload = v1::ConfigPayload::decode(signed.payload.as_slice())
            .map_err(|_| WireError::Decode { what: "ConfigPayload" })?;
        let issued = issued(&payload)?;
        let signer = verifier.verify(
            &[SignerRole::Grant],
            domain::CONFIG,
            &signed.payload,
            &signed.signature,
            &signed.certificate,
            certificate_time(issued),
        )?;
        let content = Content::try_from(payload)?;
        if content.site != verifier.site().as_str() {
            return Err(ConfigError::Site { found: content.site });
        }
        if content.node != *node {
            return Err(ConfigError::OtherNode { node: node.clone(), found: content.node });
        }
        Ok(Self { content, signer })
    }

    /// Applied head of the journal when this was made. A node never goes back.
    #[must_use]
    pub fn head_seq(&self) -> Seq {
        self.content.head_seq
    }

    /// The vCluster's document, then the node's own, as far as there are any.
    #[must_use]
    pub fn documents(&self) -> &[ConfigDocument] {
        &self.content.documents
    }

    /// The vCluster that the node is in; `None`: unassigned.
    #[must_use]
    pub fn vcluster(&self) -> Option<&VclusterId> {
        self.content.documents.iter().find_map(|document| match &document.scope {
            Scope::Vcluster(vcluster) => Some(vcluster),
            Scope::Node(_) | Scope::Global => None,
        })
    }

    /// When it was made, by the member's clock.
    #[must_use]
    pub fn issued(&self) -> Timestamp {
        self.content.issued
    }

    /// Who signed.
    #[must_use]
    pub fn signer(&self) -> &SignerName {
        &self.signer
    }
}

/// Signs heads: a journal member, for what it has applied.
#[derive(Debug)]
pub struct ConfigIssuer {
    signer: Signer,
}

impl ConfigIssuer {
    /// An issuer with a member's grant certificate.
    ///
    /// # Errors
    /// [`ConfigIssueError::Role`] for another service's certificate.
    pub fn new(signer: Signer) -> Result<Self, ConfigIssueError> {
        match signer.name().role() {
            SignerRole::Grant => Ok(Self { signer }),
            _ => Err(ConfigIssueError::Role { found: signer.name().clone() }),
        }
    }

    /// Signs.
    ///
    /// # Errors
    /// As [`sign_config`].
    pub fn sign(&self, payload: &v1::ConfigPayload) -> Result<v1::SignedConfig, ConfigIssueError> {
        sign_config(&self.signer, payload)
    }
}

/// Signs a head with a member's grant certificate. [`payload`] makes one.
///
/// # Errors
/// [`ConfigIssueError`] for another service's certificate, a payload that is not whole, and one for another site.
pub fn sign_config(
    signer: &Signer,
    payload: &v1::ConfigPayload,
) -> Result<v1::SignedConfig, ConfigIssueError> {
    if signer.name().role() != SignerRole::Grant {
        return Err(ConfigIssueError::Role { found: signer.name().clone() });
    }
    let content = Content::try_from(payload.clone())?;
    if content.site != signer.site().as_str() {
        return Err(ConfigError::Site { found: content.site }.into());
    }
    let blob = signer.sign(domain::CONFIG, &payload.encode_to_vec());
    Ok(v1::SignedConfig {
        payload: blob.payload,
        signature: blob.signature,
        certificate: blob.certificate,
    })
}

/// The payload of a head of this version for a node of the signer's site.
#[must_use]
pub fn payload(
    signer: &Signer,
    node: &NodeId,
    head_seq: Seq,
    documents: &[ConfigDocument],
    now: Timestamp,
) -> v1::ConfigPayload {
    v1::ConfigPayload {
        version: VERSION,
        site: signer.site().to_string(),
        node: node.to_string(),
        head_seq: head_seq.get(),
        documents: documents.iter().map(Into::into).collect(),
        issued: Some(convert::timestamp(now.unix_nanos())),
    }
}

impl From<&ConfigDocument> for v1::ConfigDocument {
    fn from(document: &ConfigDocument) -> Self {
        Self {
            scope: Some((&document.scope).into()),
            seq: document.seq.map_or(0, Seq::get),
            sha256: document.sha256.to_vec(),
            size_bytes: document.size_bytes,
            compressed_bytes: document.compressed_bytes,
        }
    }
}

fn issued(payload: &v1::ConfigPayload) -> Result<Timestamp, WireError> {
    convert::unix_nanos(payload.issued.as_ref(), "ConfigPayload.issued")
        .map(Timestamp::from_unix_nanos)
}

impl TryFrom<v1::ConfigPayload> for Content {
    type Error = ConfigError;

    fn try_from(wire: v1::ConfigPayload) -> Result<Self, ConfigError> {
        if wire.version != VERSION {
            return Err(ConfigError::Version { found: wire.version });
        }
        let issued = issued(&wire)?;
        let node: NodeId = convert::id(&wire.node, "ConfigPayload.node")?;
        let head_seq = Seq::new(wire.head_seq)
            .map_err(|source| WireError::Id { field: "ConfigPayload.head_seq", source })?;
        let documents = wire
            .documents
            .iter()
            .map(|document| read_document(document, &node, head_seq))
            .collect::<Result<Vec<_>, _>>()?;
        let ranks: Vec<u8> = documents.iter().map(|d| rank(&d.scope)).collect();
        if !matches!(ranks.as_slice(), [] | [_] | [0, 1]) {
            let rule = "are not the vCluster's and then the node's own";
            return Err(WireError::Bounds { field: "ConfigPayload.documents", rule }.into());
        }
        Ok(Self { site: cut(wire.site), node, head_seq, documents, issued })
    }
}

/// Site names have at most 63 bytes: what is longer is none, and is shown cut.
fn cut(site: String) -> String {
    if site.len() <= 64 { site } else { site.chars().take(64).collect() }
}

fn rank(scope: &Scope) -> u8 {
    match scope {
        Scope::Vcluster(_) => 0,
        Scope::Node(_) | Scope::Global => 1,
    }
}

fn read_document(
    wire: &v1::ConfigDocument,
    node: &NodeId,
    head_seq: Seq,
) -> Result<ConfigDocument, WireError> {
    let bounds = |field, rule| Err(WireError::Bounds { field, rule });
    let scope = Scope::try_from(convert::required(wire.scope.as_ref(), "ConfigDocument.scope")?)?;
    match &scope {
        Scope::Vcluster(_) => {}
        Scope::Node(named) if named == node => {}
        Scope::Node(_) | Scope::Global => {
            return bounds("ConfigDocument.scope", "is neither a vCluster nor this node");
        }
    }
    if wire.seq > head_seq.get() {
        return bounds("ConfigDocument.seq", "is after the head");
    }
    if wire.size_bytes > MAX_DOCUMENT_BYTES {
        return bounds("ConfigDocument.size_bytes", "is more than 10 MB");
    }
    if wire.compressed_bytes > MAX_COMPRESSED_BYTES {
        return bounds("ConfigDocument.compressed_bytes", "is more than 10.1 MB");
    }
    Ok(ConfigDocument {
        scope,
        seq: Seq::new(wire.seq).ok(),
        sha256: Digest::from_wire(&wire.sha256, "ConfigDocument.sha256")?,
        size_bytes: wire.size_bytes,
        compressed_bytes: wire.compressed_bytes,
    })
}

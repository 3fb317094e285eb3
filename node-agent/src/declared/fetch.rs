//! From `up.config` to documents that are proved: the signed head, then each document in pages, then contents of files.
//!
//! Each step is bounded before it begins, and each result is checked against the digest that the head (or a document) names.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use pact_bus::CallError;
use pact_identity::config_head::{ConfigDocument, ConfigError, ConfigHead};
use pact_identity::{SignerName, Verifier};
use pact_runtime::Timestamp;
use pact_schemas::convert::WireError;
use pact_schemas::resource::MAX_CONTENT_BYTES;
use pact_schemas::rpc::up;
use pact_schemas::{Digest, NodeId, Seq, v1};

use super::cache::{Cache, CacheError, Kept};
use super::model::{Declared, Document, DocumentError, Needed};
use crate::time::PlaneClock;
use crate::uplink::Uplink;

/// Contents that one node's declarations may need in all.
const MAX_ALL_CONTENTS_BYTES: u64 = 512 * 1024 * 1024;

/// Contents that are fetched and written at once: syncs beside each other cost little more than one. At most 4 MiB in memory.
const CONTENTS_AT_ONCE: usize = 16;

/// A member answers from what it has applied.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// A head is signed when it is answered, so that one which is older than this was not made for this question: somebody plays an
/// old one again, or its signer's clock is wrong. Room for the answer's way (10 s), for two clocks that are 2 s off each, and for a
/// crystal's day without a fix; as long as a grant lives.
const MAX_HEAD_AGE: Duration = Duration::from_secs(60);

/// 2025-01-01, before this program existed: no head can be older.
const FLOOR: Timestamp = Timestamp::from_unix_nanos(1_735_689_600_000_000_000);

/// Why there is no new configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The journal did not answer, or refused.
    #[error("the journal does not give the configuration")]
    Call(#[from] CallError),
    /// An answer to another question.
    #[error("the journal's answer is not what was asked for")]
    Answer(#[from] WireError),
    /// The head.
    #[error("the configuration's head is refused")]
    Head(#[from] ConfigError),
    /// The node cannot tell an old configuration from a new one.
    #[error(
        "no configuration is taken before the plane's time is known; what the node has stays in force"
    )]
    NoTime,
    /// It was not made for this question.
    #[error(
        "the configuration's head was issued {issued}, over {} s before {now}: an old one is played again, or the clock of {signer} \
         is wrong; it is not taken", MAX_HEAD_AGE.as_secs()
    )]
    Stale {
        /// When it was made.
        issued: Timestamp,
        /// Plane time.
        now: Timestamp,
        /// Who made it.
        signer: SignerName,
    },
    /// A member that is behind answered.
    #[error("the journal answered with head {found}, the node has {known}")]
    WentBack {
        /// As answered.
        found: Seq,
        /// As known.
        known: Seq,
    },
    /// What came is not what was named.
    #[error("{what} is not what its digest says")]
    Digest {
        /// What.
        what: String,
    },
    /// A document that is not understood.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It cannot be kept.
    #[error("the configuration cannot be kept")]
    Cache(#[from] CacheError),
    /// The agent is ending.
    #[error("the fetch was interrupted")]
    Interrupted,
}

/// Checks a head that has just come, at plane time `now`.
fn fresh(
    signed: &v1::SignedConfig,
    verifier: &Verifier,
    node: &NodeId,
    now: Timestamp,
) -> Result<ConfigHead, FetchError> {
    let head = ConfigHead::verify(signed, verifier, node, now)?;
    let issued = head.issued();
    if now.duration_since(issued).is_some_and(|age| age > MAX_HEAD_AGE) {
        return Err(FetchError::Stale { issued, now, signer: head.signer().clone() });
    }
    Ok(head)
}

/// Checks a head that this node has kept, by its own time: it was fresh when it was fetched.
pub(crate) fn kept(
    signed: &v1::SignedConfig,
    verifier: &Verifier,
    node: &NodeId,
) -> Result<ConfigHead, ConfigError> {
    ConfigHead::verify_kept(signed, verifier, node, FLOOR)
}

/// The document that a head names, from bytes that have its digest.
pub(crate) fn decoded(reference: &ConfigDocument, bytes: &[u8]) -> Result<Document, DocumentError> {
    let seq = reference.seq.map_or(0, Seq::get);
    Document::decode(bytes, &(&reference.scope).into(), seq)
}

/// Whether two heads name the same documents.
fn same_documents(one: &ConfigHead, other: &ConfigHead) -> bool {
    let digests = |head: &ConfigHead| head.documents().iter().map(|d| d.sha256).collect::<Vec<_>>();
    digests(one) == digests(other)
}

/// Where to ask and what to check with.
pub(crate) struct Source<'a> {
    pub(crate) uplink: &'a Uplink,
    pub(crate) verifier: &'a Verifier,
    pub(crate) cache: &'a std::sync::Arc<Cache>,
    pub(crate) plane: &'a PlaneClock,
}

impl Source<'_> {
    /// What the journal declares now; `None`: nothing but the head's number is new, which `known` then has.
    pub(crate) async fn fetch(
        &self,
        known: &mut Option<ConfigHead>,
    ) -> Result<Option<Kept>, FetchError> {
        let signed = self.head().await?;
        let node = self.uplink.node();
        let now = self.plane.now().ok_or(FetchError::NoTime)?.now;
        let head = fresh(&signed, self.verifier, node, now)?;
        let newest = known.as_ref().map(ConfigHead::head_seq);
        if let Some(known) = newest.filter(|newest| head.head_seq() < *newest) {
            return Err(FetchError::WentBack { found: head.head_seq(), known });
        }
        if known.as_ref().is_some_and(|known| same_documents(known, &head)) {
            self.on_disk(move |cache| cache.note_head(&signed)).await?;
            *known = Some(head);
            return Ok(None);
        }
        let mut documents = Vec::new();
        for reference in head.documents() {
            let bytes = self.document(reference).await?;
            documents.push((reference.scope.clone(), decoded(reference, &bytes)?));
        }
        let declared = Declared::new(node, head.head_seq(), documents)?;
        let needed = declared.contents(node);
        self.contents(&needed).await?;
        let (kept, named) = (head.clone(), needed.into_keys().collect());
        self.on_disk(move |cache| cache.keep_head(&signed, &kept, &named)).await?;
        *known = Some(head.clone());
        Ok(Some(Kept { head, declared }))
    }

    async fn ask(
        &self,
        request: v1::config_request::Request,
    ) -> Result<v1::config_reply::Reply, FetchError> {
        let request = v1::ConfigRequest { request: Some(request) };
        let reply = self.uplink.call_any::<up::Config>(&request, CALL_LIMIT).await?;
        Ok(reply.reply.ok_or(WireError::Missing { field: "ConfigReply.reply" })?)
    }

    async fn head(&self) -> Result<v1::SignedConfig, FetchError> {
        match self.ask(v1::config_request::Request::Head(v1::ConfigHead {})).await? {
            v1::config_reply::Reply::Head(head) => Ok(head),
            _ => Err(WireError::Missing { field: "ConfigReply.head" }.into()),
        }
    }

    /// A document: from the cache, else page by page.
    async fn document(&self, reference: &ConfigDocument) -> Result<Vec<u8>, FetchError> {
        let sha256 = reference.sha256;
        if let Some(kept) = self.on_disk(move |cache| cache.document(&sha256)).await? {
            return Ok(kept);
        }
        let mut compressed = Vec::new();
        while (compressed.len() as u64) < reference.compressed_bytes {
            let page = v1::ConfigPage {
                sha256: sha256.to_vec(),
                scope: Some((&reference.scope).into()),
                offset: compressed.len() as u64,
            };
            match self.ask(v1::config_request::Request::Page(page)).await? {
                v1::config_reply::Reply::Page(page) if !page.is_empty() => compressed.extend(page),
                _ => return Err(WireError::Missing { field: "ConfigReply.page" }.into()),
            }
        }
        let what = || "a declared document".to_owned();
        let size = usize::try_from(reference.size_bytes).unwrap_or(usize::MAX);
        let bytes = unpacked(&compressed, size, &sha256, what)?;
        let kept = bytes.clone();
        self.on_disk(move |cache| cache.keep_document(&sha256, &kept)).await?;
        Ok(bytes)
    }

    /// Fetches the contents that are not here yet, some at once. What was fetched stays, whatever happens to the rest.
    async fn contents(&self, needed: &BTreeMap<Digest, Needed>) -> Result<(), FetchError> {
        let folder = self.cache.contents();
        let bytes = needed.values().map(|needed| needed.size_bytes).fold(0, u64::saturating_add);
        if bytes > MAX_ALL_CONTENTS_BYTES {
            let limit = MAX_ALL_CONTENTS_BYTES;
            return Err(DocumentError::TooLarge { bytes, limit }.into());
        }
        let (mut under_way, mut fetched) = (FuturesUnordered::new(), Ok(()));
        let is_missing =
            |(sha256, needed): &(&Digest, &Needed)| !folder.has(sha256, needed.size_bytes);
        for (sha256, needed) in needed.iter().filter(is_missing) {
            if under_way.len() >= CONTENTS_AT_ONCE
                && let Some(kept) = under_way.next().await
            {
                fetched = fetched.and(kept);
            }
            if fetched.is_err() {
                break;
            }
            under_way.push(self.content(sha256, needed));
        }
        // To the end, after a failure too: the next attempt must not write beside this one.
        while let Some(kept) = under_way.next().await {
            fetched = fetched.and(kept);
        }
        fetched
    }

    /// Fetches and keeps one file's contents. What the journal does not have is left out: only that file cannot be made.
    async fn content(&self, sha256: &Digest, needed: &Needed) -> Result<(), FetchError> {
        let Needed { scope, key, .. } = needed;
        let request = v1::ConfigContent {
            scope: Some(scope.into()),
            key: key.as_str().to_owned(),
            sha256: sha256.to_vec(),
        };
        let compressed = match self.ask(v1::config_request::Request::Content(request)).await {
            Ok(v1::config_reply::Reply::Content(compressed)) => compressed,
            Ok(_) => return Err(WireError::Missing { field: "ConfigReply.content" }.into()),
            Err(FetchError::Call(CallError::Service(error)))
                if error.known_code() == pact_schemas::ErrorCode::NotFound =>
            {
                tracing::error!(%key, "the journal has no contents for this file: {}", error.message);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let most = usize::try_from(MAX_CONTENT_BYTES).unwrap_or(usize::MAX);
        let bytes = unpacked(&compressed, most, sha256, || key.to_string())?;
        let (folder, sha256) = (self.cache.contents(), *sha256);
        self.on_disk(move |_| folder.keep(&sha256, &bytes)).await
    }

    /// Disk work, away from the asynchronous threads.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> Result<T, CacheError> + Send + 'static,
    ) -> Result<T, FetchError> {
        let cache = std::sync::Arc::clone(self.cache);
        let done = tokio::task::spawn_blocking(move || work(&cache)).await;
        Ok(done.map_err(|_| FetchError::Interrupted)??)
    }
}

/// The bytes that were compressed, if they are at most `size` and have the digest.
fn unpacked(
    compressed: &[u8],
    size: usize,
    sha256: &Digest,
    what: impl FnOnce() -> String,
) -> Result<Vec<u8>, FetchError> {
    match zstd::bulk::decompress(compressed, size) {
        Ok(bytes) if Digest::of(&bytes) == *sha256 => Ok(bytes),
        _ => Err(FetchError::Digest { what: what() }),
    }
}

#[cfg(test)]
mod tests {
    use pact_identity::sign_config;
    use pact_identity::signing::Signer;
    use pact_identity::uri::SigningRole;
    use pact_identity::x509::SiteRoot;
    use pact_runtime::Clock;
    use pact_schemas::{MemberId, SiteName};

    use super::*;

    #[test]
    fn a_head_that_was_not_made_just_now_is_not_taken() {
        pact_runtime::install_crypto_provider();
        let now = Clock::system().now();
        let root = SiteRoot::generate(&SiteName::new("test").unwrap(), &Clock::system()).unwrap();
        let member = SigningRole::Grant(MemberId::new(1).unwrap());
        let signer = Signer::from_issued(&root.issue_signing(&member).unwrap()).unwrap();
        let verifier = Verifier::from_pem(root.certificate_pem()).unwrap();
        let (node, head) = (NodeId::new("n1").unwrap(), Seq::new(7).unwrap());
        let payload = pact_identity::config_head::payload(&signer, &node, head, &[], now);
        let signed = sign_config(&signer, &payload).unwrap();
        let judge = |now| fresh(&signed, &verifier, &node, now);
        let later = now.checked_add(MAX_HEAD_AGE).unwrap();
        assert_eq!(judge(now).unwrap().head_seq(), head);
        assert_eq!(judge(later).unwrap().head_seq(), head);
        let too_late = later.checked_add(Duration::from_nanos(1)).unwrap();
        let stale = judge(too_late).unwrap_err();
        assert!(matches!(stale, FetchError::Stale { .. }), "{stale:?}");
        assert!(stale.to_string().contains("over 60 s"), "{stale}");
        let early = now.checked_sub(Duration::from_secs(6)).unwrap();
        let not_yet = judge(early).unwrap_err();
        assert!(matches!(not_yet, FetchError::Head(ConfigError::NotYet { .. })), "{not_yet:?}");
        // The node's own cache holds however old it is.
        assert_eq!(kept(&signed, &verifier, &node).unwrap().head_seq(), head);
    }

    #[test]
    fn compressed_bytes_are_bounded_and_proved() {
        let bytes = vec![7; 100_000];
        let compressed = zstd::bulk::compress(&bytes, 3).unwrap();
        let what = || "x".to_owned();
        assert_eq!(unpacked(&compressed, 100_000, &Digest::of(&bytes), what).unwrap(), bytes);
        assert!(unpacked(&compressed, 99_999, &Digest::of(&bytes), what).is_err());
        assert!(unpacked(&compressed, 100_000, &Digest::from([0; 32]), what).is_err());
        assert!(unpacked(b"no zstd", 100_000, &Digest::of(&bytes), what).is_err());
    }
}

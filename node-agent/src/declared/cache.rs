//! Declared state on disk, so that a start needs no journal.
//!
//! ```text
//! declared/head                  SignedConfig, as it was fetched; names the documents
//! declared/<sha256>.doc          encoded DeclaredDocument
//! declared/contents/<sha256>     bytes of a declared file
//! ```
//!
//! Everything is 0600. A new head is written last and in one step, so that what it names is there; what no head names any more
//! is removed after that. What was fetched is verified before it comes here, and again when it is read.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pact_identity::Verifier;
use pact_identity::config_head::{ConfigError, ConfigHead, MAX_DOCUMENT_BYTES};
use pact_schemas::convert::WireError;
use pact_schemas::resource::MAX_CONTENT_BYTES;
use pact_schemas::{Digest, NodeId, v1};
use prost::Message;

use super::fetch::{decoded, kept};
use super::model::{Declared, DocumentError};
use crate::durable::{self, PRIVATE};
use crate::provider::Contents;

const HEAD_FILE: &str = "head";
const DOCUMENT_SUFFIX: &str = "doc";
const CONTENTS_FOLDER: &str = "contents";

/// A head is a few hundred bytes.
const MAX_HEAD_BYTES: u64 = 64 * 1024;

/// Why declared state cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The system refuses.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Why what is on disk is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("a file of it cannot be read")]
    Cache(#[from] CacheError),
    #[error("its head does not decode")]
    Decode(#[from] WireError),
    #[error("its head is refused")]
    Head(#[from] ConfigError),
    #[error("a document of it is refused")]
    Document(#[from] DocumentError),
    #[error("the document {sha256} is missing or not what the head says")]
    Digest { sha256: Digest },
}

/// The folder of declared state.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    contents: ContentsFolder,
}

/// What the cache held, or what was fetched: a verified head and its documents.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) head: ConfigHead,
    pub(crate) declared: Declared,
}

impl Cache {
    /// Opens or makes the folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, CacheError> {
        let contents = folder.join(CONTENTS_FOLDER);
        durable::private_folder(&contents).map_err(io_of(&contents))?;
        let contents = ContentsFolder { folder: contents.into() };
        Ok(Self { folder: folder.to_owned(), contents })
    }

    /// Where the contents of declared files are.
    pub(crate) fn contents(&self) -> ContentsFolder {
        self.contents.clone()
    }

    /// What was kept. Damage costs a fetch, and is said; it never stops the agent.
    pub(crate) fn load(&self, verifier: &Verifier, node: &NodeId) -> Option<Kept> {
        match self.read(verifier, node) {
            Ok(kept) => kept,
            Err(error) => {
                let cause = pact_runtime::causes(&error);
                tracing::error!(cause, "the declared state on disk is not used: {error}");
                None
            }
        }
    }

    fn read(&self, verifier: &Verifier, node: &NodeId) -> Result<Option<Kept>, Unusable> {
        let path = self.folder.join(HEAD_FILE);
        let Some(bytes) = durable::read_bounded(&path, MAX_HEAD_BYTES).map_err(io_of(&path))?
        else {
            return Ok(None);
        };
        let signed = v1::SignedConfig::decode(bytes.as_slice())
            .map_err(|_| WireError::Decode { what: "SignedConfig" })?;
        // It was verified by plane time when it was fetched; the certificate may have ended since.
        let head = kept(&signed, verifier, node)?;
        let mut documents = Vec::new();
        for reference in head.documents() {
            let sha256 = reference.sha256;
            let bytes = self.document(&reference.sha256)?.ok_or(Unusable::Digest { sha256 })?;
            documents.push((reference.scope.clone(), decoded(reference, &bytes)?));
        }
        let declared = Declared::new(node, head.head_seq(), documents)?;
        Ok(Some(Kept { head, declared }))
    }

    /// The document with this digest, if it is here and whole.
    pub(crate) fn document(&self, sha256: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.document_path(sha256);
        let found = durable::read_bounded(&path, MAX_DOCUMENT_BYTES).map_err(io_of(&path))?;
        Ok(found.filter(|bytes| Digest::of(bytes) == *sha256))
    }

    /// Keeps a document that no head names yet.
    pub(crate) fn keep_document(&self, sha256: &Digest, bytes: &[u8]) -> Result<(), CacheError> {
        let path = self.document_path(sha256);
        durable::replace(&path, bytes, PRIVATE).map_err(io_of(&path))
    }

    /// Keeps a later head of the same documents: what is older than it is not taken after a restart either.
    pub(crate) fn note_head(&self, signed: &v1::SignedConfig) -> Result<(), CacheError> {
        let path = self.folder.join(HEAD_FILE);
        durable::replace(&path, &signed.encode_to_vec(), PRIVATE).map_err(io_of(&path))
    }

    /// Makes this the state that the next start finds, and removes what it does not need.
    pub(crate) fn keep_head(
        &self,
        signed: &v1::SignedConfig,
        head: &ConfigHead,
        contents: &BTreeSet<Digest>,
    ) -> Result<(), CacheError> {
        self.note_head(signed)?;
        let mut kept: BTreeSet<PathBuf> =
            head.documents().iter().map(|document| self.document_path(&document.sha256)).collect();
        kept.extend([self.folder.join(HEAD_FILE), self.contents.folder.to_path_buf()]);
        remove_others(&self.folder, &kept)?;
        let kept = contents.iter().map(|sha256| self.contents.path(sha256)).collect();
        remove_others(&self.contents.folder, &kept)
    }

    fn document_path(&self, sha256: &Digest) -> PathBuf {
        self.folder.join(format!("{sha256}.{DOCUMENT_SUFFIX}"))
    }
}

fn remove_others(folder: &Path, kept: &BTreeSet<PathBuf>) -> Result<(), CacheError> {
    for entry in std::fs::read_dir(folder).map_err(io_of(folder))? {
        let path = entry.map_err(io_of(folder))?.path();
        if !kept.contains(&path) {
            std::fs::remove_file(&path).map_err(io_of(&path))?;
        }
    }
    Ok(())
}

fn io_of(path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::Io { path, source }
}

/// The contents of declared files; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ContentsFolder {
    folder: Arc<Path>,
}

impl ContentsFolder {
    /// Whether contents of this size are here. What is here was checked when it was written, and is again when it is read.
    pub(crate) fn has(&self, sha256: &Digest, size_bytes: u64) -> bool {
        std::fs::metadata(self.path(sha256)).is_ok_and(|found| found.len() == size_bytes)
    }

    /// Keeps verified contents.
    pub(crate) fn keep(&self, sha256: &Digest, bytes: &[u8]) -> Result<(), CacheError> {
        let path = self.path(sha256);
        durable::replace(&path, bytes, PRIVATE).map_err(io_of(&path))
    }

    fn path(&self, sha256: &Digest) -> PathBuf {
        self.folder.join(sha256.to_string())
    }

    /// For tests of others: any folder.
    #[cfg(test)]
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.into() }
    }
}

impl Contents for ContentsFolder {
    fn get(&self, sha256: &[u8; 32]) -> Option<Vec<u8>> {
        let sha256 = Digest::from(*sha256);
        let bytes = durable::read_bounded(&self.path(&sha256), MAX_CONTENT_BYTES).ok()??;
        (Digest::of(&bytes) == sha256).then_some(bytes)
    }
}

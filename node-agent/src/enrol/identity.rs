//! The node's keys and credentials on disk: `<state_dir>/identity/`, folder 0700, files 0600.
//!
//! ```text
//! node.key  node.crt  bus.seed  bus.jwt  bus.urls  enrolment.json {"node", "site", "enrolled", "not_after"}
//! ```
//!
//! A set is written into a folder of its own and put in place by one exchange of names: there is never a key of one
//! enrolment beside a certificate of another. No secret appears in `Debug`, in an error or in the log.

use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nkeys::KeyPair;
use pact_bus::Credentials;
use pact_identity::x509::{PrivateKey, SecretPem, X509Error, make_csr};
use pact_runtime::Timestamp;
use pact_schemas::convert::{self, WireError};
use pact_schemas::{NodeId, SiteName, v1};

use crate::durable::{self, PRIVATE, PUBLIC};

const KEY_FILE: &str = "node.key";
const CERTIFICATE_FILE: &str = "node.crt";
const SEED_FILE: &str = "bus.seed";
const JWT_FILE: &str = "bus.jwt";
const URLS_FILE: &str = "bus.urls";
const ENROLMENT_FILE: &str = "enrolment.json";

/// Suffix of the folder that a new set is written to.
const ASIDE: &str = "new";

/// Far above what any of the files holds.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why an identity cannot be made, kept or used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The system refuses.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be. Its contents are not shown.
    #[error("{} is not {expected}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// The node's key cannot be made or used.
    #[error("the node's key cannot be used")]
    Key(#[from] X509Error),
    /// The bus key cannot be made or used.
    #[error("the node's bus key cannot be used")]
    BusKey,
    /// The reply is not whole.
    #[error("the reply to the enrolment is malformed")]
    Reply(#[from] WireError),
    /// The reply comes from another site than the trust anchors.
    #[error("the reply comes from the site {found:?}, the trust anchors are of {expected}")]
    Site {
        /// As answered.
        found: String,
        /// Of the anchors.
        expected: SiteName,
    },
}

/// The keys of a node, made on it.
#[derive(Clone)]
pub(crate) struct Keys {
    node: SecretPem,
    bus: Arc<KeyPair>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(elided)")
    }
}

impl Keys {
    /// New keys.
    pub(crate) fn generate() -> Result<Self, IdentityError> {
        let node = PrivateKey::generate_p256()?.to_pem();
        Ok(Self { node, bus: Arc::new(KeyPair::new_user()) })
    }

    /// A certificate request.
    pub(crate) fn csr(&self) -> Result<Vec<u8>, IdentityError> {
        Ok(make_csr(&PrivateKey::from_pem(&self.node)?)?)
    }

    /// The public user nkey.
    pub(crate) fn bus_user(&self) -> String {
        self.bus.public_key()
    }
}

/// A whole set: keys and what was issued for them.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    keys: Keys,
    certificate_chain: String,
    bus_jwt: String,
    bus_urls: Vec<String>,
    enrolment: Enrolled,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Enrolled {
    node: NodeId,
    site: SiteName,
    /// Unix nanoseconds, the node's best time.
    enrolled: i64,
    /// Unix nanoseconds.
    not_after: i64,
}

impl Identity {
    /// From the reply to an enrolment or renewal.
    pub(crate) fn new(
        keys: &Keys,
        reply: v1::EnrollReply,
        node: &NodeId,
        site: &SiteName,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        convert::text(&reply.certificate_chain, "EnrollReply.certificate_chain")?;
        convert::text(&reply.bus_jwt, "EnrollReply.bus_jwt")?;
        if reply.bus_urls.is_empty() {
            return Err(WireError::Missing { field: "EnrollReply.bus_urls" }.into());
        }
        if reply.site != site.as_str() {
            return Err(IdentityError::Site { found: reply.site, expected: site.clone() });
        }
        let not_after = convert::unix_nanos(reply.not_after.as_ref(), "EnrollReply.not_after")?;
        let enrolment = Enrolled {
            node: node.clone(),
            site: site.clone(),
            enrolled: now.unix_nanos(),
            not_after,
        };
        Ok(Self {
            keys: keys.clone(),
            certificate_chain: reply.certificate_chain,
            bus_jwt: reply.bus_jwt,
            bus_urls: reply.bus_urls,
            enrolment,
        })
    }

    /// The set in a folder; `None` when there is none, or one of another node or site.
    pub(crate) fn load(
        folder: &Path,
        node: &NodeId,
        site: &SiteName,
    ) -> Result<Option<Self>, IdentityError> {
        if !folder.join(ENROLMENT_FILE).exists() {
            return Ok(None);
        }
        let text = read(folder, ENROLMENT_FILE)?;
        let enrolment: Enrolled = serde_json::from_str(&text)
            .map_err(|_| foreign(folder, ENROLMENT_FILE, "a record of an enrolment"))?;
        if enrolment.node != *node || enrolment.site != *site {
            return Ok(None);
        }
        let node_key = SecretPem::new(read(folder, KEY_FILE)?);
        PrivateKey::from_pem(&node_key)?;
        let bus = KeyPair::from_seed(read(folder, SEED_FILE)?.trim())
            .map_err(|_| foreign(folder, SEED_FILE, "a user seed"))?;
        let bus_urls = read(folder, URLS_FILE)?.lines().map(str::to_owned).collect();
        Ok(Some(Self {
            keys: Keys { node: node_key, bus: Arc::new(bus) },
            certificate_chain: read(folder, CERTIFICATE_FILE)?,
            bus_jwt: read(folder, JWT_FILE)?.trim().to_owned(),
            bus_urls,
            enrolment,
        }))
    }

    /// Puts the set in place of the one before, and the certificate where others read it.
    pub(crate) fn save(&self, folder: &Path, certificate: &Path) -> Result<(), IdentityError> {
        let aside = folder.with_extension(ASIDE);
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| IdentityError::Io { path, source }
        };
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(io(&aside))?;
        }
        std::fs::DirBuilder::new().mode(0o700).create(&aside).map_err(io(&aside))?;
        let seed = self.keys.bus.seed().map_err(|_| IdentityError::BusKey)?;
        let enrolment = serde_json::to_string(&self.enrolment)
            .map_err(|error| IdentityError::Io { path: aside.clone(), source: error.into() })?;
        for (name, text) in [
            (KEY_FILE, self.keys.node.expose()),
            (CERTIFICATE_FILE, &self.certificate_chain),
            (SEED_FILE, &seed),
            (JWT_FILE, &self.bus_jwt),
            (URLS_FILE, &self.bus_urls.join("\n")),
            (ENROLMENT_FILE, &enrolment),
        ] {
            let path = aside.join(name);
            durable::replace(&path, text.as_bytes(), PRIVATE).map_err(io(&path))?;
        }
        durable::exchange_folders(&aside, folder).map_err(io(folder))?;
        if let Err(source) =
            durable::replace(certificate, self.certificate_chain.as_bytes(), PUBLIC)
        {
            // Others read it, the agent does not.
            tracing::warn!(path = %certificate.display(), %source, "the certificate is not shown");
        }
        Ok(())
    }

    /// The keys, for a repair.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// As whom the agent comes to the bus.
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::jwt(self.bus_jwt.clone(), Arc::clone(&self.keys.bus))
    }

    /// Addresses of the bus, as told.
    pub(crate) fn bus_urls(&self) -> &[String] {
        &self.bus_urls
    }

    /// End of certificate and bus user.
    pub(crate) fn not_after(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.enrolment.not_after)
    }

    /// When two thirds of the lifetime are over.
    pub(crate) fn renew_at(&self) -> Timestamp {
        let enrolled = Timestamp::from_unix_nanos(self.enrolment.enrolled);
        let lifetime = self.not_after().duration_since(enrolled).unwrap_or(Duration::ZERO);
        enrolled.checked_add(lifetime * 2 / 3).unwrap_or(enrolled)
    }
}

fn read(folder: &Path, name: &str) -> Result<String, IdentityError> {
    let path = folder.join(name);
    let bytes = durable::read_bounded(&path, MAX_FILE_BYTES)
        .map_err(|source| IdentityError::Io { path: path.clone(), source })?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| foreign(folder, name, "a text that is there"))
}

fn foreign(folder: &Path, name: &str, expected: &'static str) -> IdentityError {
    IdentityError::Foreign { path: folder.join(name), expected }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);

    fn reply() -> v1::EnrollReply {
        v1::EnrollReply {
            certificate_chain: "chain".to_owned(),
            bus_jwt: "a.b.c".to_owned(),
            bus_urls: vec!["tls://one:4222".to_owned(), "tls://two:4222".to_owned()],
            not_after: Some(convert::timestamp(NOW.unix_nanos() + 3_000_000_000)),
            site: "site".to_owned(),
        }
    }

    #[test]
    fn a_set_is_replaced_as_a_whole_and_is_nobody_elses_to_read() {
        let state = tempfile::tempdir().unwrap();
        let (folder, shown) = (state.path().join("identity"), state.path().join("agent.crt"));
        let (node, site) = (NodeId::new("n1").unwrap(), SiteName::new("site").unwrap());
        assert!(Identity::load(&folder, &node, &site).unwrap().is_none());
        let mut users = Vec::new();
        for _ in 0..2 {
            let keys = Keys::generate().unwrap();
            let identity = Identity::new(&keys, reply(), &node, &site, NOW).unwrap();
            identity.save(&folder, &shown).unwrap();
            let loaded = Identity::load(&folder, &node, &site).unwrap().unwrap();
            assert_eq!(loaded.keys.bus_user(), keys.bus_user());
            assert_eq!(loaded.bus_urls(), reply().bus_urls);
            assert_eq!(loaded.renew_at(), NOW.checked_add(Duration::from_secs(2)).unwrap());
            users.push(keys.bus_user());
        }
        assert_ne!(users[0], users[1]);
        for entry in std::fs::read_dir(&folder).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_to_string(&shown).unwrap(), "chain");
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 2);
        let other = NodeId::new("n2").unwrap();
        assert!(Identity::load(&folder, &other, &site).unwrap().is_none());
    }

    #[test]
    fn a_reply_of_another_site_or_without_credentials_is_refused() {
        let (node, site) = (NodeId::new("n1").unwrap(), SiteName::new("other").unwrap());
        let keys = Keys::generate().unwrap();
        let refused = Identity::new(&keys, reply(), &node, &site, NOW);
        assert!(matches!(refused, Err(IdentityError::Site { .. })));
        let site = SiteName::new("site").unwrap();
        let reply = v1::EnrollReply { bus_jwt: String::new(), ..reply() };
        assert!(Identity::new(&keys, reply, &node, &site, NOW).is_err());
    }
}

//! Digests of what users of the node cannot read: keyed with a secret that never leaves the node, so that nobody can
//! guess contents by hashing candidates.

use std::io;
use std::path::Path;

use pact_runtime::Clock;
use ring::hmac;

use super::ProviderError;
use crate::durable;

/// Length of the secret: that of the digest.
const KEY_BYTES: usize = 32;

/// The node's secret.
#[derive(Debug, Clone)]
pub(super) struct NodeKey {
    key: hmac::Key,
}

impl NodeKey {
    /// Reads the secret, or makes one.
    pub(super) fn open(path: &Path, clock: &Clock) -> Result<Self, ProviderError> {
        let failed = |what| {
            let path = path.to_owned();
            move |source| ProviderError::io(what, path, source)
        };
        let bytes = match durable::read_bounded(path, KEY_BYTES as u64) {
            Ok(Some(bytes)) if bytes.len() == KEY_BYTES => bytes,
            Ok(Some(_)) => return Err(ProviderError::Damaged { path: path.to_owned() }),
            Ok(None) => {
                let bytes: [u8; KEY_BYTES] = clock.random_bytes();
                durable::replace(path, &bytes, durable::PRIVATE).map_err(failed("write"))?;
                bytes.to_vec()
            }
            Err(source) if source.kind() == io::ErrorKind::FileTooLarge => {
                return Err(ProviderError::Damaged { path: path.to_owned() });
            }
            Err(source) => return Err(failed("read")(source)),
        };
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// The keyed digest of the parts, in this domain. The parts must be unambiguous when joined.
    pub(super) fn digest(&self, domain: &'static [u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(domain);
        for part in parts {
            context.update(part);
        }
        let mut digest = [0; 32];
        // An HMAC-SHA256 tag has exactly this length.
        digest.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_secret_stays_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let clock = Clock::system();
        let digest = NodeKey::open(&path, &clock).unwrap().digest(b"x\0", &[b"a", b"b"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = NodeKey::open(&path, &clock).unwrap();
        assert_eq!(again.digest(b"x\0", &[b"ab"]), digest);
        assert_ne!(again.digest(b"y\0", &[b"ab"]), digest, "domains keep digests apart");
        let other = NodeKey::open(&folder.path().join("other"), &clock).unwrap();
        assert_ne!(other.digest(b"x\0", &[b"ab"]), digest, "every node has its own");
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(NodeKey::open(&path, &clock), Err(ProviderError::Damaged { .. })));
    }
}

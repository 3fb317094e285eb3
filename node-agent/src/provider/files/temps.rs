//! Names of files that are being written: recognisable by this node's agent and by nobody else, so that a leftover of a
//! crash can be removed, and nobody can hide a file behind such a name.

use std::ffi::CString;

use pact_runtime::Clock;

use super::order;
use crate::durable::hex;
use crate::provider::secret::NodeKey;

/// What people see of it.
const PREFIX: &[u8] = b".pact-tmp-";
/// Random bytes in a name, and bytes of the keyed digest over them and the folder.
const PART_BYTES: usize = 8;
/// Domain of the digest, with its NUL.
const DOMAIN: &[u8] = b"pact.v1.temporary\0";

/// Makes and recognises such names.
#[derive(Debug)]
pub(super) struct Temps {
    key: NodeKey,
    clock: Clock,
}

impl Temps {
    pub(super) const fn new(key: NodeKey, clock: Clock) -> Self {
        Self { key, clock }
    }

    /// A new name in this folder.
    pub(super) fn name(&self, folder: &[u8]) -> CString {
        let random = hex(&self.clock.random_bytes::<PART_BYTES>()).into_bytes();
        let name = [PREFIX, &random, &self.mark(folder, &random)].concat();
        // Hex has no zero bytes.
        CString::new(name).unwrap_or_default()
    }

    /// A new name beside this path.
    pub(super) fn beside(&self, path: &[u8]) -> CString {
        self.name(order::split(path).map_or(b"/", |(folder, _)| folder))
    }

    /// Whether this agent once made the name, in this folder.
    pub(super) fn is_ours(&self, folder: &[u8], name: &[u8]) -> bool {
        let parts =
            name.strip_prefix(PREFIX).and_then(|rest| rest.split_at_checked(2 * PART_BYTES));
        parts.is_some_and(|(random, mark)| mark == self.mark(folder, random))
    }

    fn mark(&self, folder: &[u8], random: &[u8]) -> Vec<u8> {
        let digest = self.key.digest(DOMAIN, &[random, b"\0", folder]);
        hex(digest.get(..PART_BYTES).unwrap_or_default()).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_names_in_their_folder_are_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let key = |name| NodeKey::open(&folder.path().join(name), &clock).unwrap();
        let temps = Temps::new(key("one"), clock.clone());
        let name = temps.name(b"/etc").into_bytes();
        assert!(name.starts_with(b".pact-tmp-"));
        assert!(temps.is_ours(b"/etc", &name));
        assert!(!temps.is_ours(b"/usr", &name));
        assert!(!Temps::new(key("two"), clock.clone()).is_ours(b"/etc", &name));
        for forged in [&b".pact-tmp-"[..], b".pact-tmp-0123456789abcdef0123456789abcdef", b"motd"] {
            assert!(!temps.is_ours(b"/etc", forged));
        }
    }
}

//! SHA-256 digests: of contents, of plans, of drift.

use std::fmt;
use std::str::FromStr;

use ring::digest::{Context, SHA256, digest};

use crate::convert::{self, WireError};

/// A SHA-256 digest; written as 64 hex digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::taken(digest(&SHA256, bytes))
    }

    /// The digest of these parts, one after the other.
    #[must_use]
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        parts.into_iter().for_each(|part| context.update(part));
        Self::taken(context.finish())
    }

    fn taken(computed: ring::digest::Digest) -> Self {
        // SHA-256 has 32 bytes: nothing is cut and nothing stays zero.
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(computed.as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// The digest in a field of a message.
    ///
    /// # Errors
    /// [`WireError::Bounds`] unless it has 32 bytes.
    pub fn from_wire(bytes: &[u8], field: &'static str) -> Result<Self, WireError> {
        convert::bytes(bytes, field).map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes as a message carries them.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hex digits")]
pub struct NoDigest;

impl FromStr for Digest {
    type Err = NoDigest;

    /// Takes digits of either case, as people copy them.
    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        bytes.ok().and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(NoDigest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_64_hex_digits_and_32_bytes() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.to_uppercase().parse(), Ok(Digest::of(b"")));
        assert_eq!(Digest::of_parts([b"a".as_slice(), b"bc"]), Digest::of(b"abc"));
        for bad in ["", "ab", &"a".repeat(63), &"ab".repeat(33), &"zz".repeat(32)] {
            assert_eq!(bad.parse::<Digest>(), Err(NoDigest), "{bad:?}");
        }
        assert_eq!(Digest::from_wire(&[1; 32], "x"), Ok(Digest::from([1; 32])));
        for bad in [[].as_slice(), &[1; 31], &[1; 33]] {
            let error = Digest::from_wire(bad, "BlobRequest.sha256").unwrap_err();
            assert_eq!(error.to_string(), "BlobRequest.sha256 has the wrong length");
        }
    }
}

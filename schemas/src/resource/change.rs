//! Differences of one key, and the digest of many.

use std::borrow::Borrow;

use prost::Message as _;
use ring::digest::{Context, SHA256};

use super::key::ResourceKey;
use super::value::Value;
use crate::convert::{self, WireError};
use crate::v1;

/// What the drift digest begins with.
const DIGEST_DOMAIN: &[u8] = b"pact.v1.drift\0";

/// One key with its value before and after.
///
/// Of a node: the value it should have and the one it has. Of declared state: the
/// value declared before and after, `None` where the key is not declared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Change {
    /// The key.
    pub key: ResourceKey,
    /// Before; `None`: there was no value.
    pub old: Option<Value>,
    /// After; `None`: there is no value any more.
    pub new: Option<Value>,
}

impl TryFrom<v1::Change> for Change {
    type Error = WireError;

    fn try_from(wire: v1::Change) -> Result<Self, WireError> {
        let rule = "is no resource key in its one spelling";
        let key = convert::text(&wire.key, "Change.key")?
            .parse()
            .map_err(|_| WireError::Bounds { field: "Change.key", rule })?;
        Ok(Self {
            key,
            old: wire.old.map(Value::try_from).transpose()?,
            new: wire.new.map(Value::try_from).transpose()?,
        })
    }
}

impl From<&Change> for v1::Change {
    fn from(change: &Change) -> Self {
        Self {
            key: change.key.as_str().to_owned(),
            old: change.old.as_ref().map(Into::into),
            new: change.new.as_ref().map(Into::into),
        }
    }
}

/// The digest under which a user sees drift and commits exactly that:
/// `SHA-256("pact.v1.drift\0" || for each change, in key order: u32 length || encoded v1::Change)`.
#[must_use]
pub fn drift_digest(changes: &[Change]) -> [u8; 32] {
    let mut in_order: Vec<&Change> = changes.iter().collect();
    in_order.sort_by(|a, b| a.key.cmp(&b.key));
    drift_digest_in_order(in_order)
}

/// The same digest, of changes that come one by one, in key order.
#[must_use]
pub fn drift_digest_in_order<C: Borrow<Change>>(changes: impl IntoIterator<Item = C>) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    digest.update(DIGEST_DOMAIN);
    for change in changes {
        let bytes = v1::Change::from(change.borrow()).encode_to_vec();
        // A change is far under 4 GiB: two values of bounded size.
        digest.update(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(&bytes);
    }
    let mut out = [0; 32];
    out.copy_from_slice(digest.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;
    use crate::resource::{FileKind, FileValue};

    fn change(key: &str, old: Option<Value>, new: Option<Value>) -> Change {
        Change { key: key.parse().unwrap(), old, new }
    }

    fn sample() -> Vec<Change> {
        vec![
            change(
                "file//etc/motd",
                Some(Value::Absent),
                Some(Value::File(FileValue {
                    kind: FileKind::Regular,
                    sha256: Some([0xab; 32]),
                    size_bytes: 5,
                    mode: 0o644,
                    owner: "root".into(),
                    group: "root".into(),
                    link_target: None,
                    content_kept: true,
                })),
            ),
            change(
                "sysctl/vm.swappiness",
                Some(Value::Text("60".into())),
                Some(Value::Text("10".into())),
            ),
        ]
    }

    #[test]
    fn the_digest_is_a_contract() {
        // Computed once; a change of it is a change of what every client shows and sends.
        assert_eq!(
            HEXLOWER.encode(&drift_digest(&[])),
            "1277cd7221b6019bfc6bebcf05ac9e277101c51d69d5ea5ea64ac04f34738b36"
        );
        assert_eq!(
            HEXLOWER.encode(&drift_digest(&sample())),
            "c9ce22e6d3dd632731dea2f6e80184b8cbdeb9ca73b0b345842a0bd7c95e9031"
        );
    }

    #[test]
    fn the_digest_depends_on_every_value_and_not_on_the_order() {
        let digest = drift_digest(&sample());
        let mut turned = sample();
        turned.reverse();
        assert_eq!(drift_digest(&turned), digest);
        let mut other = sample();
        other[1].new = Some(Value::Integer(10));
        assert_ne!(drift_digest(&other), digest);
        assert_ne!(drift_digest(&sample()[..1]), digest);
    }

    #[test]
    fn changes_survive_the_wire_and_bad_keys_do_not() {
        for change in sample() {
            let wire = v1::Change::from(&change);
            assert_eq!(Change::try_from(wire.clone()).unwrap(), change);
            for bad in ["", "motd", "file//etc/../motd"] {
                assert!(Change::try_from(v1::Change { key: bad.into(), ..wire.clone() }).is_err());
            }
        }
        let empty =
            v1::Change { key: "gpu/0".into(), old: Some(v1::Value { value: None }), new: None };
        assert!(Change::try_from(empty).is_err());
    }
}

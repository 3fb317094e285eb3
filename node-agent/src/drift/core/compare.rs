//! When a key is as it should be.

use pact_schemas::resource::{FileKind, FileValue, Value};

/// Whether `actual` is what is wanted. What a declaration cannot say (sizes, where contents are kept) is not compared; of
/// attributes only those that are declared.
pub(crate) fn matches(wanted: &Value, actual: &Value) -> bool {
    match (wanted, actual) {
        (Value::File(wanted), Value::File(actual)) => files_match(wanted, actual),
        (Value::Attributes(wanted), Value::Attributes(actual)) => wanted
            .iter()
            .all(|(name, value)| actual.get(name).is_some_and(|actual| matches(value, actual))),
        (wanted, actual) => wanted == actual,
    }
}

fn files_match(wanted: &FileValue, actual: &FileValue) -> bool {
    let is_owned_alike = wanted.owner == actual.owner && wanted.group == actual.group;
    let is_same_kind = wanted.kind == actual.kind;
    is_same_kind
        && is_owned_alike
        && match wanted.kind {
            // A digest says the size; files too large to be read are told apart by it.
            FileKind::Regular => {
                wanted.mode == actual.mode
                    && wanted.sha256 == actual.sha256
                    && (wanted.sha256.is_some() || wanted.size_bytes == actual.size_bytes)
            }
            FileKind::Directory => wanted.mode == actual.mode,
            // The mode of a link means nothing.
            FileKind::Symlink => wanted.link_target == actual.link_target,
            FileKind::Special => wanted.mode == actual.mode,
        }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn file() -> FileValue {
        FileValue {
            kind: FileKind::Regular,
            sha256: Some([1; 32]),
            size_bytes: 3,
            mode: 0o644,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            link_target: None,
            content_kept: true,
        }
    }

    #[test]
    fn a_file_is_its_kind_contents_mode_and_owner() {
        let same = FileValue { content_kept: false, size_bytes: 0, ..file() };
        assert!(matches(&Value::File(file()), &Value::File(same)));
        for other in [
            FileValue { sha256: Some([2; 32]), ..file() },
            FileValue { mode: 0o600, ..file() },
            FileValue { owner: "bin".to_owned(), ..file() },
            FileValue { group: "bin".to_owned(), ..file() },
            FileValue { kind: FileKind::Directory, ..file() },
        ] {
            assert!(!matches(&Value::File(file()), &Value::File(other.clone())), "{other:?}");
        }
        assert!(!matches(&Value::Absent, &Value::File(file())));
        let directory = FileValue { kind: FileKind::Directory, sha256: None, ..file() };
        let larger = FileValue { size_bytes: 4096, ..directory.clone() };
        assert!(matches(&Value::File(directory), &Value::File(larger)));
        let link = |target: &str, mode| {
            let link_target = Some(target.to_owned());
            Value::File(FileValue {
                kind: FileKind::Symlink,
                link_target,
                mode,
                sha256: None,
                ..file()
            })
        };
        assert!(matches(&link("a", 0o777), &link("a", 0)));
        assert!(!matches(&link("a", 0o777), &link("b", 0o777)));
    }

    #[test]
    fn only_declared_attributes_count() {
        let attributes = |pairs: &[(&str, i64)]| {
            let pairs =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::Integer(*value)));
            Value::Attributes(pairs.collect::<BTreeMap<_, _>>())
        };
        let actual = attributes(&[("mtu", 9000), ("up", 1)]);
        assert!(matches(&attributes(&[("mtu", 9000)]), &actual));
        assert!(!matches(&attributes(&[("mtu", 1500)]), &actual));
        assert!(!matches(&attributes(&[("speed", 1)]), &actual));
    }
}

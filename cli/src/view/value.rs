//! Values of the resource model.

use pact_schemas::v1;
use pact_schemas::v1::value::Value as Wire;
use serde_json::{Map, Value, json};

use crate::output::{code_of, counted};

/// A value as JSON; absent keys are `null`.
pub(crate) fn as_json(value: Option<&v1::Value>) -> Value {
    match value.and_then(|v| v.value.as_ref()) {
        None => Value::Null,
        Some(Wire::Text(text)) => Value::from(text.as_str()),
        Some(Wire::Integer(number)) => Value::from(*number),
        Some(Wire::Boolean(flag)) => Value::from(*flag),
        Some(Wire::Binary(bytes)) => json!({"base64": data_encoding::BASE64.encode(bytes)}),
        Some(Wire::File(file)) => json!({
            "sha256": data_encoding::HEXLOWER.encode(&file.sha256),
            "size_bytes": file.size_bytes,
            "mode": format!("{:04o}", file.mode),
            "owner": file.owner,
            "group": file.group,
            "link_target": file.link_target,
            "kind": file_kind(file),
            "content_kept": file.content_kept,
        }),
        Some(Wire::Absent(_)) => json!({"absent": true}),
        Some(Wire::Withheld(withheld)) => {
            json!({"withheld": data_encoding::HEXLOWER.encode(&withheld.keyed_digest)})
        }
        Some(Wire::Attributes(attributes)) => {
            let pairs = attributes.attributes.iter();
            let object: Map<String, Value> =
                pairs.map(|a| (a.name.clone(), as_json(a.value.as_ref()))).collect();
            Value::Object(object)
        }
    }
}

/// A value for people.
pub(crate) fn as_text(value: Option<&v1::Value>) -> String {
    match value.and_then(|v| v.value.as_ref()) {
        None => "(unset)".to_owned(),
        Some(Wire::Text(text)) => text.clone(),
        Some(Wire::Absent(_)) => "(absent)".to_owned(),
        Some(Wire::Withheld(_)) => "content withheld".to_owned(),
        Some(Wire::File(file)) => file_text(file),
        Some(Wire::Attributes(attributes)) => {
            let pairs = attributes.attributes.iter();
            let words: Vec<String> =
                pairs.map(|a| format!("{}={}", a.name, as_text(a.value.as_ref()))).collect();
            words.join(" ")
        }
        Some(_) => as_json(value).to_string(),
    }
}

/// `regular`, `directory`, `symlink` or `special`.
fn file_kind(file: &v1::FileValue) -> String {
    code_of(file.kind().as_str_name(), "FILE_KIND_")
}

/// What is known of a file; its contents are never shown.
fn file_text(file: &v1::FileValue) -> String {
    /// Hex digits that tell two contents apart for people.
    const DIGITS: usize = 12;
    let mut words = Vec::new();
    match file.kind() {
        v1::FileKind::Symlink => {
            words.push(format!("link to {}", file.link_target.as_deref().unwrap_or("?")));
        }
        v1::FileKind::Regular => {
            let digest = data_encoding::HEXLOWER.encode(&file.sha256);
            let digest: String = digest.chars().take(DIGITS).collect();
            words.push(counted(file.size_bytes, "byte"));
            words.push(format!("sha256 {digest}"));
        }
        v1::FileKind::Directory | v1::FileKind::Special | v1::FileKind::Unspecified => {
            words.push(file_kind(file));
        }
    }
    words.push(format!("{:04o} {}:{}", file.mode, file.owner, file.group));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(wire: Wire) -> v1::Value {
        v1::Value { value: Some(wire) }
    }

    #[test]
    fn every_kind_of_value_has_its_form() {
        let attributes = v1::Attributes {
            attributes: vec![v1::Attribute {
                name: "mtu".to_owned(),
                value: Some(value(Wire::Integer(9000))),
            }],
        };
        let file = v1::FileValue {
            sha256: vec![0xab; 2],
            size_bytes: 3,
            mode: 0o644,
            owner: "root".into(),
            group: "root".into(),
            link_target: None,
            kind: v1::FileKind::Regular.into(),
            content_kept: true,
        };
        for (wire, text) in [
            (Wire::Text("1024".into()), "\"1024\""),
            (Wire::Boolean(true), "true"),
            (Wire::Binary(vec![0xff]), "{\"base64\":\"/w==\"}"),
            (Wire::Absent(v1::Absent {}), "{\"absent\":true}"),
            (Wire::Withheld(v1::Withheld { keyed_digest: vec![1] }), "{\"withheld\":\"01\"}"),
            (Wire::Attributes(attributes), "{\"mtu\":9000}"),
            (
                Wire::File(file),
                "{\"content_kept\":true,\"group\":\"root\",\"kind\":\"regular\",\"link_target\":null,\"mode\":\"0644\",\"owner\":\"root\",\"sha256\":\"abab\",\"size_bytes\":3}",
            ),
        ] {
            assert_eq!(as_json(Some(&value(wire))).to_string(), text);
        }
        assert_eq!(as_json(None), Value::Null);
    }

    #[test]
    fn a_file_is_told_by_size_digest_mode_and_owner() {
        let mut file = v1::FileValue {
            sha256: vec![0xab; 32],
            size_bytes: 3,
            mode: 0o4755,
            owner: "root".into(),
            group: "wheel".into(),
            link_target: None,
            kind: v1::FileKind::Regular.into(),
            content_kept: false,
        };
        let text = |file: &v1::FileValue| as_text(Some(&value(Wire::File(file.clone()))));
        assert_eq!(text(&file), "3 bytes, sha256 abababababab, 4755 root:wheel");
        file.kind = v1::FileKind::Symlink.into();
        file.link_target = Some("/etc/other".into());
        assert_eq!(text(&file), "link to /etc/other, 4755 root:wheel");
        file.kind = v1::FileKind::Directory.into();
        assert_eq!(text(&file), "directory, 4755 root:wheel");
    }
}

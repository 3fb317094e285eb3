//! Values of the resource model.

use pact_schemas::v1;
use pact_schemas::v1::value::Value as Wire;
use serde_json::{Map, Value, json};

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
        Some(_) => as_json(value).to_string(),
    }
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
                "{\"group\":\"root\",\"link_target\":null,\"mode\":\"0644\",\"owner\":\"root\",\"sha256\":\"abab\",\"size_bytes\":3}",
            ),
        ] {
            assert_eq!(as_json(Some(&value(wire))).to_string(), text);
        }
        assert_eq!(as_json(None), Value::Null);
    }
}

//! The JSON Schema of the configuration, for editors and for checks outside the module.

use std::fs;

use anyhow::{Context, Result};
use request_id_configuration::{Key, Setting, Settings};
use request_id_rules::header_name::RESERVED;
use request_id_rules::policy::MaxLength;
use serde_json::{Map, Value, json};

use crate::root;

/// The path of the schema in the repository.
pub const PATH: &str = "envoy/config.schema.json";

/// Writes the schema to [`PATH`].
///
/// # Errors
/// Returns an error if the file cannot be written.
pub fn write() -> Result<()> {
    fs::write(root().join(PATH), text()).context(PATH)?;
    println!("{PATH}");
    Ok(())
}

/// Returns the text of the schema file.
#[must_use]
pub fn text() -> String {
    format!("{:#}\n", schema())
}

/// Returns the schema of a whole configuration, in draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let mut root = object(
        "The configuration of request-id-filter. Every key is optional, and an empty configuration is the recommended one.",
    );
    for key in Settings::default().keys() {
        let mut properties = &mut root["properties"];
        if !key.object.is_empty() {
            let nested = &mut properties[key.object];
            if nested.is_null() {
                *nested = object(description(key.object));
            }
            properties = &mut nested["properties"];
        }
        properties[key.name] = property(&key);
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "request-id-filter",
    });
    if let (Some(schema), Value::Object(root)) = (schema.as_object_mut(), root) {
        schema.extend(root);
    }
    schema["$defs"] = json!({
        "header_name": header_name(),
        "address_range": address_range(),
    });
    schema
}

/// What the keys of an object have in common.
fn description(parent: &str) -> &'static str {
    match parent {
        "incoming" => "What happens to the id of a request.",
        "adopt" => "Where an id is taken from if the client sent none.",
        _ => "What is set on a response.",
    }
}

fn object(description: &str) -> Value {
    json!({
        "description": description,
        "type": "object",
        "properties": Map::new(),
        "patternProperties": {"^_": {"description": "Ignored."}},
        "additionalProperties": false,
    })
}

fn property(key: &Key<'_>) -> Value {
    let header_name = json!({"$ref": "#/$defs/header_name"});
    let mut schema = match &key.setting {
        Setting::Word(words, _) => json!({"enum": words}),
        Setting::Boolean(_) => json!({"type": "boolean"}),
        Setting::Length(_) => json!({
            "type": "integer",
            "minimum": MaxLength::RANGE.start(),
            "maximum": MaxLength::RANGE.end(),
        }),
        Setting::HeaderName(_) => header_name,
        Setting::HeaderNameOrNull(_) => json!({"anyOf": [{"type": "null"}, header_name]}),
        Setting::Sources(_) => json!({"type": "array", "items": header_name}),
        Setting::Trust(_) => json!({"anyOf": [
            {"enum": ["all", "none"]},
            {"type": "array", "items": {"$ref": "#/$defs/address_range"}},
        ]}),
    };
    schema["description"] = key.description.into();
    schema["default"] = serde_json::from_str(&key.setting.to_json()).unwrap_or_default();
    schema
}

/// Returns the schema of what [`request_id_rules::header_name::HeaderName::new`] accepts. A test
/// compares the two.
fn header_name() -> Value {
    // Regular expressions of JSON Schema cannot ignore case.
    let in_any_case = |name: &str| -> String {
        name.chars()
            .map(|char| match char.to_ascii_uppercase() {
                upper if upper == char => char.to_string(),
                upper => format!("[{char}{upper}]"),
            })
            .collect()
    };
    let reserved: Vec<_> = RESERVED.iter().map(|name| in_any_case(name)).collect();
    json!({
        "type": "string",
        "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
        "not": {"pattern": format!("^({})$", reserved.join("|"))},
    })
}

/// Returns the schema of what [`request_id_rules::trust::Cidr::parse`] accepts. A test compares the
/// two.
fn address_range() -> Value {
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    let v4 = format!("({byte}\\.){{3}}{byte}");
    // RFC 3986, 3.2.2, alternative by alternative.
    let group = "[0-9A-Fa-f]{1,4}";
    let last_two = format!("({group}:{group}|{v4})");
    let before = |most: u8| format!("(({group}:){{0,{most}}}{group})?");
    let mut v6 = vec![
        format!("({group}:){{6}}{last_two}"),
        format!("::({group}:){{5}}{last_two}"),
    ];
    for (most, after) in (0..5).zip([4, 3, 2, 1, 0]) {
        v6.push(format!("{}::({group}:){{{after}}}{last_two}", before(most)));
    }
    v6.push(format!("{}::{group}", before(5)));
    v6.push(format!("{}::", before(6)));
    let v6 = format!("({})", v6.join("|"));
    let range_v4 = format!("{v4}(/(3[0-2]|[12]?[0-9]))?");
    let range_v6 = format!("{v6}(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?");
    json!({"type": "string", "pattern": format!("^({range_v4}|{range_v6})$")})
}

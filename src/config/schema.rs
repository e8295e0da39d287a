//! The JSON Schema of the configuration, put together from the types that read it. For editors and
//! checks outside the module, which does not hold it.

// Not in the module. serde_json's index adds a missing key of an object.
#![allow(clippy::indexing_slicing)]

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::Config;
use super::setting::Setting;
use crate::header_name::OF_HTTP;

/// A JSON Schema, draft 2020-12.
pub type Schema = Value;

/// The schema of a whole configuration.
#[must_use]
pub fn schema() -> Schema {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "request-id-filter",
    });
    if let (Some(schema), Value::Object(config)) = (schema.as_object_mut(), Config::schema()) {
        schema.extend(config);
    }
    schema["$defs"] = json!({
        "header_name": header_name_definition(),
        "address_range": address_range_definition(),
    });
    schema
}

pub(super) fn object<const N: usize>(description: &str, keys: [(&str, &str, Schema); N]) -> Schema {
    let mut properties = serde_json::Map::new();
    for (key, description, mut schema) in keys {
        schema["description"] = description.into();
        properties.insert(key.into(), schema);
    }
    json!({
        "description": description,
        "type": "object",
        "properties": properties,
        "patternProperties": {"^_": {"description": "Not read."}},
        "additionalProperties": false,
    })
}

/// The schema of a setting, with the value that holds without it. Objects hold their keys' own.
pub(super) fn with_default<T: Setting>(default: &T) -> Schema {
    let mut schema = T::schema();
    if schema["type"] != "object" {
        let mut json = String::new();
        default.show(&mut json);
        schema["default"] = serde_json::from_str(&json).unwrap_or_default();
    }
    schema
}

pub(super) fn boolean() -> Schema {
    json!({"type": "boolean"})
}

pub(super) fn null() -> Schema {
    json!({"type": "null"})
}

pub(super) fn one_of(words: &[&str]) -> Schema {
    json!({"enum": words})
}

pub(super) fn any_of<const N: usize>(schemas: [Schema; N]) -> Schema {
    json!({"anyOf": schemas.to_vec()})
}

pub(super) fn list_of(item: Schema) -> Schema {
    json!({"type": "array", "items": item})
}

pub(super) fn whole_number(range: RangeInclusive<u16>) -> Schema {
    json!({"type": "integer", "minimum": range.start(), "maximum": range.end()})
}

pub(super) fn header_name() -> Schema {
    json!({"$ref": "#/$defs/header_name"})
}

pub(super) fn address_range() -> Schema {
    json!({"$ref": "#/$defs/address_range"})
}

/// As [`crate::header_name::HeaderName::new`] has it. A test compares the two.
fn header_name_definition() -> Schema {
    // Regular expressions of JSON Schema have no flag for case.
    let in_any_case = |name: &str| -> String {
        name.chars()
            .map(|char| match char.to_ascii_uppercase() {
                upper if upper == char => char.to_string(),
                upper => format!("[{char}{upper}]"),
            })
            .collect()
    };
    let of_http: Vec<_> = OF_HTTP.iter().map(|name| in_any_case(name)).collect();
    json!({
        "type": "string",
        "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
        "not": {"pattern": format!("^({})$", of_http.join("|"))},
    })
}

/// As [`crate::trust::Cidr::parse`] has it. A test compares the two.
fn address_range_definition() -> Schema {
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

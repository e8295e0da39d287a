//! Finds the filter in what people keep in files: bare JSON, an Envoy configuration, manifests of
//! Kubernetes, and either of these as text in a ConfigMap.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// What [`Contents::read`] looks for, for the message if there is none of it.
const LOOKED_FOR: &str = r#"looked for:
  a WasmPlugin of Istio or Higress
  a TrafficExtension of Istio with spec.wasm
  an EnvoyExtensionPolicy of Envoy Gateway with spec.wasm
  Envoy's Wasm filter, {"@type": …extensions.filters.http.wasm.v3.Wasm} or a TypedStruct with that type_url, in an Envoy configuration or an EnvoyFilter
  any of these in a List or in the data of a ConfigMap
  the filter's configuration itself, as JSON"#;

/// What is in a file.
pub struct Contents {
    /// The configurations of the filter; at least one.
    pub filters: Vec<FilterConfiguration>,
    /// All documents, also those in lists and in the texts of ConfigMaps; none if the file is a bare
    /// configuration.
    pub documents: Vec<Document>,
    /// The texts that could not be read, and why.
    pub skipped: Vec<String>,
}

/// A configuration of a Wasm filter.
pub struct FilterConfiguration {
    /// The name of the filter, after the place of its document; `None` if the file is the bare
    /// configuration.
    pub name: Option<String>,
    /// Whether this seems to be our filter: its name, image or file contains `request-id`.
    is_ours: bool,
    /// The text that the filter would get, or why it would get none.
    pub text: Result<String, String>,
    /// Whether the manifest also has rules of Higress's, which do not reach the filter.
    pub has_match_rules: bool,
}

/// A document of YAML or JSON.
pub struct Document {
    /// Where a ConfigMap has it, such as `data.envoy.yaml`; `None` if it is in the file itself.
    place: Option<String>,
    pub value: Value,
}

impl Contents {
    /// Reads a file.
    ///
    /// # Errors
    /// Returns an error if the file is not text, is neither JSON nor YAML, or does not contain the filter;
    /// then it says what was looked for.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let text = decode(bytes)?;
        let looks_like_json = text.trim_start().starts_with(['{', '[']);
        let values = match serde_saphyr::from_multiple(&text) {
            Ok(values) => values,
            // JSON is YAML, so this is invalid JSON, and the module's reader says best where.
            Err(_) if looks_like_json => return Ok(Self::bare(text)),
            Err(error) => bail!("neither JSON nor YAML: {error}"),
        };
        let is_manifest = |document: &Value| {
            ["kind", "static_resources", "resources", "@type"]
                .iter()
                .any(|key| document.get(key).is_some())
        };
        let is_bare = looks_like_json || text.trim().is_empty();
        if is_bare && !values.iter().any(is_manifest) {
            return Ok(Self::bare(text));
        }
        let mut contents = Self {
            filters: Vec::new(),
            documents: Vec::new(),
            skipped: Vec::new(),
        };
        for value in values {
            contents.add(None, value);
        }
        contents.find_filters()?;
        Ok(contents)
    }

    /// A file that is the configuration itself.
    fn bare(text: String) -> Self {
        Self {
            filters: vec![FilterConfiguration {
                name: None,
                is_ours: true,
                text: Ok(text),
                has_match_rules: false,
            }],
            documents: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Adds a document, and the documents in it: the items of a list, the texts of a ConfigMap.
    fn add(&mut self, place: Option<&str>, value: Value) {
        let kind = value["kind"].as_str().unwrap_or_default();
        if let (true, Value::Array(items)) = (kind.ends_with("List"), &value["items"]) {
            for item in items {
                self.add(place, item.clone());
            }
            return;
        }
        let data = (kind == "ConfigMap").then(|| value["data"].as_object());
        for (key, text) in data.flatten().into_iter().flatten() {
            let place = format!(
                "{}data.{key}",
                place.map(|place| format!("{place}: ")).unwrap_or_default()
            );
            match serde_saphyr::from_multiple(text.as_str().unwrap_or_default()) {
                Ok(values) => values
                    .into_iter()
                    .for_each(|value| self.add(Some(&place), value)),
                // Not everything in a ConfigMap has to be YAML.
                Err(error)
                    if [".yaml", ".yml", ".json"]
                        .iter()
                        .any(|end| key.ends_with(end)) =>
                {
                    self.skipped.push(format!(
                        "{place}: not checked: neither JSON nor YAML: {error}"
                    ));
                }
                Err(_) => {}
            }
        }
        self.documents.push(Document {
            place: place.map(str::to_owned),
            value,
        });
    }

    /// Finds the configurations of the filter in the documents.
    fn find_filters(&mut self) -> Result<()> {
        for Document { place, value } in &self.documents {
            let mut found = in_document(value);
            if let Some(place) = place {
                for name in found.iter_mut().filter_map(|filter| filter.name.as_mut()) {
                    name.insert_str(0, &format!("{place}: "));
                }
            }
            self.filters.append(&mut found);
        }
        let names: Vec<_> = self
            .filters
            .iter()
            .filter_map(|filter| filter.name.clone())
            .collect();
        // If there are several, others may be of other filters.
        if self.filters.len() > 1 {
            self.filters.retain(|filter| filter.is_ours);
        }
        if !self.filters.is_empty() {
            return Ok(());
        }
        let mut message = "no configuration of this filter in it".to_owned();
        if !names.is_empty() {
            write!(
                message,
                ", only of {}, whose names, images and files do not contain \"request-id\"",
                names.join(", ")
            )?;
        }
        for skipped in &self.skipped {
            write!(message, "\n{skipped}")?;
        }
        bail!("{message}\n{LOOKED_FOR}");
    }
}

impl FilterConfiguration {
    /// A configuration in a manifest. `identity` is where the manifest says which filter it configures:
    /// never in the configuration, since that of another filter may well mention request ids.
    fn new(name: &Value, identity: &[&Value], text: Result<String, String>) -> Self {
        let name = name.as_str().unwrap_or("a filter without a name");
        Self {
            name: Some(name.into()),
            is_ours: identity
                .iter()
                .any(|value| value.to_string().contains("request-id")),
            text,
            has_match_rules: false,
        }
    }
}

/// Returns the text of a file without its byte-order mark, which some editors put there; Windows PowerShell
/// writes UTF-16.
fn decode(bytes: &[u8]) -> Result<String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks();
        let units: Vec<u16> = pairs.iter().copied().map(unit).collect();
        let text = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
        text.context("begins with the byte-order mark of UTF-16, but is not UTF-16")
    };
    match bytes {
        [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, text @ ..] | text => {
            String::from_utf8(text.to_vec()).context("not text in UTF-8")
        }
    }
}

/// Finds the configurations of Wasm filters in a document, at any depth.
fn in_document(value: &Value) -> Vec<FilterConfiguration> {
    match value["kind"].as_str() {
        Some("WasmPlugin") => return in_wasm_plugin(value),
        Some("TrafficExtension") => return in_traffic_extension(value),
        Some("EnvoyExtensionPolicy") => return in_envoy_extension_policy(value),
        _ => {}
    }
    if let Some(wasm) = envoy_wasm(value) {
        return vec![in_envoy_wasm(wasm)];
    }
    match value {
        Value::Object(members) => members.values().flat_map(in_document).collect(),
        Value::Array(items) => items.iter().flat_map(in_document).collect(),
        _ => Vec::new(),
    }
}

/// Reads a `WasmPlugin`: of Istio, or of Higress, whose `matchRules` the filter ignores, because Higress
/// passes them on in the key `_rules_`.
fn in_wasm_plugin(plugin: &Value) -> Vec<FilterConfiguration> {
    let spec = &plugin["spec"];
    let json = match &spec["pluginConfig"] {
        Value::Null => &spec["defaultConfig"],
        json => json,
    };
    vec![FilterConfiguration {
        has_match_rules: !spec["matchRules"].is_null(),
        ..in_istio(plugin, spec, json)
    }]
}

/// Reads a `TrafficExtension` of Istio, unless its filter is of another kind.
fn in_traffic_extension(extension: &Value) -> Vec<FilterConfiguration> {
    let wasm = &extension["spec"]["wasm"];
    match wasm {
        Value::Null => Vec::new(),
        _ => vec![in_istio(extension, wasm, &wasm["pluginConfig"])],
    }
}

/// Reads a configuration of a resource of Istio, of which a part has the URL of the module.
fn in_istio(resource: &Value, wasm: &Value, json: &Value) -> FilterConfiguration {
    let name = &resource["metadata"]["name"];
    let identity = [name, &wasm["pluginName"], &wasm["url"]];
    FilterConfiguration::new(name, &identity, Ok(json_text(json)))
}

/// Reads an `EnvoyExtensionPolicy` of Envoy Gateway.
fn in_envoy_extension_policy(policy: &Value) -> Vec<FilterConfiguration> {
    let filters = policy["spec"]["wasm"].as_array();
    filters
        .into_iter()
        .flatten()
        .map(|wasm| {
            let identity = [&wasm["name"], &wasm["rootID"], &wasm["code"]];
            FilterConfiguration::new(&wasm["name"], &identity, Ok(json_text(&wasm["config"])))
        })
        .collect()
}

/// Returns the message that configures Envoy's Wasm filter, if the object is that, or a `TypedStruct` with
/// that: `xds.type.v3` and, as many EnvoyFilters have it, `udpa.type.v1`.
fn envoy_wasm(value: &Value) -> Option<&Value> {
    let ends = |name: &Value, end| name.as_str().is_some_and(|name| name.ends_with(end));
    let is_wasm = |name| ends(name, ".wasm.v3.Wasm");
    let kind = &value["@type"];
    let in_struct = || {
        ["type_url", "typeUrl"]
            .iter()
            .any(|key| is_wasm(&value[key]))
    };
    match kind {
        _ if is_wasm(kind) => Some(value),
        _ if ends(kind, ".TypedStruct") && in_struct() => Some(&value["value"]),
        _ => None,
    }
}

/// Reads the configuration of Envoy's Wasm filter.
fn in_envoy_wasm(wasm: &Value) -> FilterConfiguration {
    let plugin = &wasm["config"];
    // Envoy prints the first spelling, and tools written in Go, such as istioctl, the second.
    let identity = ["name", "root_id", "rootId", "vm_config", "vmConfig"].map(|key| &plugin[key]);
    FilterConfiguration::new(
        &plugin["name"],
        &identity,
        plugin_configuration(&plugin["configuration"]),
    )
}

/// Returns what Envoy passes to the filter from a `configuration`: the text of a `StringValue`. Of most
/// other messages it passes the bytes of protobuf, which the filter cannot read.
fn plugin_configuration(any: &Value) -> Result<String, String> {
    const STRING: &str = "type.googleapis.com/google.protobuf.StringValue";
    let allowed = format!(r#"{{"@type": "{STRING}", "value": the JSON as text, in quotes}}"#);
    let problem =
        |path: &str, found: &Value| Err(format!("{path}: found {found}; allowed: {allowed}"));
    match (&any["@type"], &any["value"]) {
        _ if any.is_null() => Ok(String::new()),
        (Value::String(kind), Value::Null) if kind == STRING => Ok(String::new()),
        (Value::String(kind), Value::String(text)) if kind == STRING => Ok(text.clone()),
        (Value::String(kind), value) if kind == STRING => problem("configuration.value", value),
        (kind @ Value::String(_), _) => problem("configuration.@type", kind),
        _ => problem("configuration", any),
    }
}

/// Returns a configuration that a manifest has as JSON, as the text that the filter gets.
fn json_text(json: &Value) -> String {
    match json {
        Value::Null => String::new(),
        json => json.to_string(),
    }
}

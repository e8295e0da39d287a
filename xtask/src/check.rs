//! `make check-config`: checks a configuration with the module's own reader before it is deployed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use request_id_configuration as configuration;
use request_id_rules::policy::{Accept, Echo, Policy};
use request_id_rules::trust::Trust;
use serde_json::Value;

/// Checks each configuration of the filter in a file. For each valid one, prints `ok`, the effective
/// configuration and the warnings.
///
/// # Errors
/// Returns an error if the file contains no configuration of the filter, or an invalid one; then it has a
/// line for each problem of all of them.
pub fn check(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let found = find(&text).with_context(|| file.display().to_string())?;
    let added = headers_added_to_responses(&text);
    let mut problems = Vec::new();
    for FilterConfiguration { name, text, .. } in found {
        let prefix = name.map(|name| format!("{name}: ")).unwrap_or_default();
        let parsed = text.map_err(|problem| vec![problem]).and_then(|text| {
            configuration::read(text.as_bytes())
                .map_err(|problems| problems.iter().map(ToString::to_string).collect())
        });
        match parsed {
            Ok(parsed) => {
                let effective: Value = serde_json::from_str(&parsed.effective)?;
                println!("{prefix}ok\n{effective:#}");
                let warnings = configuration::warnings(&parsed.policy);
                for warning in warnings
                    .into_iter()
                    .chain(contradictions(&parsed.policy, &added))
                {
                    println!("warning: {warning}");
                }
            }
            Err(more) => problems.extend(more.iter().map(|problem| format!("{prefix}{problem}"))),
        }
    }
    if !problems.is_empty() {
        bail!("{}: refused\n{}", file.display(), problems.join("\n"));
    }
    Ok(())
}

/// Returns what contradicts the filter's configuration in what Envoy adds to responses by itself.
fn contradictions(policy: &Policy, added: &[AddedHeader]) -> Vec<String> {
    let id = policy.headers.id().as_str();
    let mut adds_id = added
        .iter()
        .filter(|added| added.name.eq_ignore_ascii_case(id));
    let mut found = Vec::new();
    if policy.echo != Echo::Overwrite && adds_id.clone().next().is_some() {
        found.push(format!(
            "response.echo: Envoy adds {id} to responses by itself, before the filter sees them; remove \
             that from `local_reply_config` or `lateResponseHeaders` (in Istio by the component \
             no-ids-in-local-replies)"
        ));
    } else if (policy.trust != Trust::All || policy.accept == Accept::Uuid)
        && adds_id.any(|added| added.value.to_ascii_uppercase().contains("%REQ("))
    {
        found.push(format!(
            "incoming: Envoy repeats the {id} of any client in responses that it sends before the filter \
             runs; remove the mapper with %REQ(…)% from `local_reply_config` (in Istio by the component \
             new-ids-in-local-replies)"
        ));
    }
    found
}

/// A header that Envoy adds to responses.
struct AddedHeader {
    name: String,
    value: String,
}

/// Finds, at any depth, the headers that a `local_reply_config` or `lateResponseHeaders` adds.
fn headers_added_to_responses(text: &str) -> Vec<AddedHeader> {
    fn collect(value: &Value, is_response: bool, found: &mut Vec<AddedHeader>) {
        match value {
            Value::Object(members) => {
                let name = [&value["header"]["key"], &value["name"]];
                let text = [&value["header"]["value"], &value["value"]];
                let [name, text] =
                    [name, text].map(|places| places.iter().find_map(|it| it.as_str()));
                if let (true, Some(name), Some(text)) = (is_response, name, text) {
                    found.push(AddedHeader {
                        name: name.into(),
                        value: text.into(),
                    });
                }
                for (key, member) in members {
                    let is_response = is_response
                        || ["local_reply_config", "lateResponseHeaders"].contains(&key.as_str());
                    collect(member, is_response, found);
                }
            }
            Value::Array(items) => items
                .iter()
                .for_each(|item| collect(item, is_response, found)),
            _ => {}
        }
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_default();
    let mut found = Vec::new();
    documents
        .iter()
        .for_each(|document| collect(document, false, &mut found));
    found
}

/// A configuration of a Wasm filter, found in a file.
struct FilterConfiguration {
    /// The name of the filter; `None` if the file is the bare configuration.
    name: Option<String>,
    /// Whether this seems to be our filter: its name, image or file contains `request-id`.
    is_ours: bool,
    /// The text that the filter would get, or why it would get none.
    text: Result<String, String>,
}

impl FilterConfiguration {
    /// The configuration that a file consists of.
    fn bare(text: &str) -> Self {
        Self {
            name: None,
            is_ours: true,
            text: Ok(text.into()),
        }
    }

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
        }
    }
}

/// Finds the configurations of the filter in the text of a file.
fn find(text: &str) -> Result<Vec<FilterConfiguration>> {
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    let documents: Vec<Value> = match serde_saphyr::from_multiple(text) {
        Ok(documents) => documents,
        // JSON is YAML, so this is invalid JSON, and the module's reader says best where.
        Err(_) if looks_like_json => return Ok(vec![FilterConfiguration::bare(text)]),
        Err(error) => bail!("neither JSON nor YAML: {error}"),
    };
    let is_manifest = |document: &Value| {
        ["kind", "static_resources", "resources", "@type"]
            .iter()
            .any(|key| document.get(key).is_some())
    };
    let is_bare = looks_like_json || text.trim().is_empty();
    if is_bare && !documents.iter().any(is_manifest) {
        return Ok(vec![FilterConfiguration::bare(text)]);
    }
    let mut found: Vec<_> = documents.iter().flat_map(in_document).collect();
    let names: Vec<_> = found
        .iter()
        .filter_map(|filter| filter.name.clone())
        .collect();
    // If there are several, others may be of other filters.
    if found.len() > 1 {
        found.retain(|filter| filter.is_ours);
    }
    ensure!(
        !found.is_empty(),
        "no configuration of this filter in it{}; allowed: its bare JSON, an Envoy configuration with \
         the filter, an Istio or Higress WasmPlugin, a TrafficExtension, an EnvoyExtensionPolicy",
        match names.is_empty() {
            true => String::new(),
            false => format!(", only of {}", names.join(", ")),
        }
    );
    Ok(found)
}

/// Finds the configurations of Wasm filters in a document, at any depth.
fn in_document(value: &Value) -> Vec<FilterConfiguration> {
    match value["kind"].as_str() {
        Some("WasmPlugin") => return in_wasm_plugin(value),
        Some("TrafficExtension") => return in_traffic_extension(value),
        Some("EnvoyExtensionPolicy") => return in_envoy_extension_policy(value),
        _ => {}
    }
    match value {
        Value::Object(_) if is_envoy_wasm(value) => vec![in_envoy_wasm(value)],
        Value::Object(members) => members.values().flat_map(in_document).collect(),
        Value::Array(items) => items.iter().flat_map(in_document).collect(),
        _ => Vec::new(),
    }
}

/// Reads a `WasmPlugin`: of Istio, or of Higress with its defaults and rules.
fn in_wasm_plugin(plugin: &Value) -> Vec<FilterConfiguration> {
    let spec = &plugin["spec"];
    let rules = spec["matchRules"].as_array().into_iter().flatten();
    let mut configurations: Vec<_> = [&spec["pluginConfig"], &spec["defaultConfig"]]
        .into_iter()
        .chain(rules.map(|rule| &rule["config"]))
        .filter(|json| !json.is_null())
        .collect();
    // Without any, the filter gets an empty one.
    if configurations.is_empty() {
        configurations.push(&Value::Null);
    }
    let metadata = &plugin["metadata"];
    let identity = [metadata, &spec["url"]];
    configurations
        .into_iter()
        .map(|json| FilterConfiguration::new(&metadata["name"], &identity, Ok(json_text(json))))
        .collect()
}

/// Reads a `TrafficExtension` of Istio, which may have no Wasm filter.
fn in_traffic_extension(extension: &Value) -> Vec<FilterConfiguration> {
    let (metadata, wasm) = (&extension["metadata"], &extension["spec"]["wasm"]);
    let identity = [metadata, &wasm["url"]];
    let text = json_text(&wasm["pluginConfig"]);
    let found = FilterConfiguration::new(&metadata["name"], &identity, Ok(text));
    if wasm.is_null() { vec![] } else { vec![found] }
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

/// Tells whether an object is the configuration of Envoy's Wasm filter.
fn is_envoy_wasm(value: &Value) -> bool {
    value["@type"]
        .as_str()
        .is_some_and(|name| name.ends_with(".wasm.v3.Wasm"))
}

/// Reads the configuration of Envoy's Wasm filter.
fn in_envoy_wasm(wasm: &Value) -> FilterConfiguration {
    let plugin = &wasm["config"];
    let identity = [&plugin["name"], &plugin["root_id"], &plugin["vm_config"]];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    fn contradictions_of(configuration: &str, file: &str) -> Vec<String> {
        let text = fs::read_to_string(root().join(file)).expect(file);
        let read = configuration::read(configuration.as_bytes()).expect(configuration);
        contradictions(&read.policy, &headers_added_to_responses(&text))
    }

    #[test]
    fn what_envoy_adds_to_responses_can_contradict_the_configuration() {
        let files = ["envoy/envoy.yaml", "envoy/istio/gateway/envoyfilter.yaml"];
        for (configuration, expected) in [
            ("{}", None),
            (
                r#"{"header": "x-other", "response": {"echo": "never"}}"#,
                None,
            ),
            (
                r#"{"response": {"echo": "never"}}"#,
                Some("response.echo: Envoy adds x-request-id"),
            ),
            (
                r#"{"response": {"echo": "if_absent"}}"#,
                Some("response.echo: "),
            ),
            (
                r#"{"incoming": {"trust": "none"}}"#,
                Some("incoming: Envoy repeats the x-request-id"),
            ),
            (r#"{"incoming": {"accept": "uuid"}}"#, Some("incoming: ")),
            (r#"{"incoming": {"accept": "visible"}}"#, None),
        ] {
            for file in files {
                let found = contradictions_of(configuration, file);
                let is_expected = match (&found[..], expected) {
                    ([], None) => true,
                    ([one], Some(start)) => one.starts_with(start),
                    _ => false,
                };
                assert!(is_expected, "{file} with {configuration}: {found:?}");
            }
        }
        // A new id for a request without a route, which `never` contradicts and `trust` does not.
        let policy = "envoy/gateway/clienttrafficpolicy.yaml";
        assert_eq!(
            contradictions_of(r#"{"response": {"echo": "never"}}"#, policy).len(),
            1
        );
        assert_eq!(
            contradictions_of(r#"{"incoming": {"trust": "none"}}"#, policy).len(),
            0
        );
    }

    #[test]
    fn a_traffic_extension_has_a_configuration() {
        let manifest = "{kind: TrafficExtension, metadata: {name: request-id}, \
                        spec: {wasm: {url: 'oci://x/request-id-filter', pluginConfig: {generate: hex32}}}}";
        let found = find(manifest).expect("a configuration");
        assert_eq!(found[0].text.as_deref(), Ok(r#"{"generate":"hex32"}"#));
        assert!(find("{kind: TrafficExtension, spec: {lua: {}}}").is_err());
    }
}

//! `make check-config`: the module's own reader of configurations, on a file and before a deployment.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use request_id_rules::configuration::{self, Problem};
use serde_json::Value;

/// Prints `ok` and the configuration in force, for each configuration of the filter in a file.
///
/// # Errors
/// All problems of all of them, a line each; or why there is none.
pub fn check(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let found = find(&text).with_context(|| file.display().to_string())?;
    let mut problems = Vec::new();
    for Found {
        place,
        configuration,
    } in found
    {
        let accepted = configuration
            .map_err(|problem| vec![problem])
            .and_then(|text| {
                let refused = |all: Vec<Problem>| all.iter().map(ToString::to_string).collect();
                configuration::read(text.as_bytes()).map_err(refused)
            });
        match accepted {
            Ok(accepted) => {
                let effective: Value = serde_json::from_str(&accepted.effective)?;
                println!("{place}ok\n{effective:#}");
                for warning in accepted.policy.warnings() {
                    println!("warning: {warning}");
                }
            }
            Err(all) => problems.extend(all.into_iter().map(|problem| format!("{place}{problem}"))),
        }
    }
    if !problems.is_empty() {
        bail!("{}: refused\n{}", file.display(), problems.join("\n"));
    }
    Ok(())
}

/// A configuration of a Wasm filter.
struct Found {
    /// Where in its file it stands, with a colon; empty if it is the file.
    place: String,
    /// Its text, or why it has none.
    configuration: Result<String, String>,
}

/// The configurations of the filter in a text.
fn find(text: &str) -> Result<Vec<Found>> {
    let documents: Vec<Value> = match serde_saphyr::from_multiple(text) {
        Ok(documents) => documents,
        // What is no YAML is no JSON either, and the module says best where.
        Err(_) if text.trim_start().starts_with(['{', '[']) => return Ok(vec![bare(text)]),
        Err(error) => bail!("neither JSON nor YAML: {error}"),
    };
    let is_manifest = |document: &Value| {
        ["kind", "static_resources", "resources", "@type"]
            .iter()
            .any(|key| document.get(key).is_some())
    };
    let is_bare = text.trim_start().starts_with(['{', '[']) || text.trim().is_empty();
    if is_bare && !documents.iter().any(is_manifest) {
        return Ok(vec![bare(text)]);
    }
    let mut filters = Vec::new();
    for document in &documents {
        collect(document, &mut filters);
    }
    let names: Vec<_> = filters.iter().map(|filter| filter.name.clone()).collect();
    // Other Wasm filters have configurations of their own.
    if filters.len() > 1 {
        filters.retain(|filter| filter.is_ours);
    }
    ensure!(
        !filters.is_empty(),
        "no configuration of this filter in it{}; allowed: its bare JSON, an Envoy configuration with \
         the filter, an Istio or Higress WasmPlugin, an EnvoyExtensionPolicy",
        match names.is_empty() {
            true => String::new(),
            false => format!(", only of {}", names.join(", ")),
        }
    );
    Ok(filters
        .into_iter()
        .map(|filter| Found {
            place: format!("{}: ", filter.name),
            configuration: filter.configuration,
        })
        .collect())
}

fn bare(text: &str) -> Found {
    Found {
        place: String::new(),
        configuration: Ok(text.into()),
    }
}

/// A Wasm filter in a manifest.
struct Filter {
    name: String,
    /// Whether something in it says request-id: its name, its image, its file.
    is_ours: bool,
    configuration: Result<String, String>,
}

/// Collects the Wasm filters of a document, at whatever depth they stand.
fn collect(value: &Value, filters: &mut Vec<Filter>) {
    let kind = value["kind"].as_str().unwrap_or_default();
    let spec = &value["spec"];
    match kind {
        "WasmPlugin" => {
            let configurations = [&spec["pluginConfig"], &spec["defaultConfig"]];
            let rules = spec["matchRules"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|rule| &rule["config"]);
            let given: Vec<_> = configurations
                .into_iter()
                .chain(rules)
                .filter(|json| !json.is_null())
                .collect();
            // A WasmPlugin without any gives the filter an empty one.
            for json in if given.is_empty() {
                vec![&Value::Null]
            } else {
                given
            } {
                filters.push(filter(
                    &value["metadata"]["name"],
                    &[&value["metadata"], &spec["url"]],
                    json,
                ));
            }
        }
        "EnvoyExtensionPolicy" => {
            for wasm in spec["wasm"].as_array().into_iter().flatten() {
                filters.push(filter(
                    &wasm["name"],
                    &[&wasm["name"], &wasm["rootID"], &wasm["code"]],
                    &wasm["config"],
                ));
            }
        }
        _ => match value {
            Value::Object(members) => {
                let is_wasm = value["@type"]
                    .as_str()
                    .is_some_and(|name| name.ends_with(".wasm.v3.Wasm"));
                if is_wasm {
                    let plugin = &value["config"];
                    filters.push(Filter {
                        configuration: envoy_configuration(&plugin["configuration"]),
                        ..filter(
                            &plugin["name"],
                            &[&plugin["name"], &plugin["root_id"], &plugin["vm_config"]],
                            &Value::Null,
                        )
                    });
                } else {
                    members.values().for_each(|member| collect(member, filters));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, filters)),
            _ => {}
        },
    }
}

/// A filter whose configuration is `json`. `identity` is what says which filter it is: never its
/// configuration, as others may well have to do with request ids.
fn filter(name: &Value, identity: &[&Value], json: &Value) -> Filter {
    let configuration = if json.is_null() {
        String::new()
    } else {
        json.to_string()
    };
    Filter {
        name: name.as_str().unwrap_or("a filter without a name").into(),
        is_ours: identity
            .iter()
            .any(|value| value.to_string().contains("request-id")),
        configuration: Ok(configuration),
    }
}

/// What Envoy makes of a `configuration`: of any message but a few, bytes of protobuf.
fn envoy_configuration(any: &Value) -> Result<String, String> {
    const STRING: &str = "type.googleapis.com/google.protobuf.StringValue";
    let wanted = format!(r#"{{"@type": "{STRING}", "value": the JSON as text, in quotes}}"#);
    let refused =
        |path: &str, found: &Value| Err(format!("{path}: found {found}; allowed: {wanted}"));
    match (&any["@type"], &any["value"]) {
        _ if any.is_null() => Ok(String::new()),
        (Value::String(kind), Value::Null) if kind == STRING => Ok(String::new()),
        (Value::String(kind), Value::String(text)) if kind == STRING => Ok(text.clone()),
        (Value::String(kind), value) if kind == STRING => refused("configuration.value", value),
        (kind @ Value::String(_), _) => refused("configuration.@type", kind),
        _ => refused("configuration", any),
    }
}

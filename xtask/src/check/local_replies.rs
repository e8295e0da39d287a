//! What a manifest adds to the responses that Envoy sends itself, before the filter runs, and what of it
//! contradicts the filter's policy.

use request_id_rules::policy::{Accept, Echo, Policy};
use request_id_rules::trust::Trust;
use serde_json::Value;

use super::manifest::Document;

/// Returns a warning for each setting that does not hold for the responses that Envoy sends itself.
pub fn warnings(policy: &Policy, documents: &[Document]) -> Vec<String> {
    let header = policy.headers.id().as_str();
    let added: Vec<_> = documents
        .iter()
        .flat_map(|document| added_headers(&document.value))
        .filter(|(name, _)| name.eq_ignore_ascii_case(header))
        .map(|(_, value)| value.to_ascii_lowercase())
        .collect();
    let repeats_the_clients = added
        .iter()
        .any(|value| value.contains(&format!("%req({header})")));
    let mut warnings = Vec::new();
    if policy.echo != Echo::Overwrite && !added.is_empty() {
        warnings.push(format!(
            "response.echo: this file also gives {header} to all responses that Envoy sends itself, \
             before the filter sees them; remove it from local_reply_config (lateResponseHeaders in \
             Envoy Gateway; in Istio, use the component no-ids-in-local-replies)"
        ));
    }
    for (key, contradicts) in [
        ("incoming.trust", policy.trust != Trust::All),
        ("incoming.accept", policy.accept == Accept::Uuid),
    ] {
        if contradicts && repeats_the_clients {
            warnings.push(format!(
                "{key}: local_reply_config in this file repeats the client's {header} whatever {key} \
                 says, in responses that Envoy sends before the filter runs; remove the mapper that \
                 uses %REQ({header})% (in Istio, use the component new-ids-in-local-replies)"
            ));
        }
    }
    warnings
}

/// Returns the names and values of the headers that Envoy is to add to its own responses: in Envoy's
/// `local_reply_config`, or in `lateResponseHeaders` of an Envoy Gateway's ClientTrafficPolicy.
fn added_headers(value: &Value) -> Vec<(&str, &str)> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| match key.as_str() {
                "local_reply_config" | "localReplyConfig" => pairs(value, "key"),
                "lateResponseHeaders" => pairs(value, "name"),
                _ => added_headers(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(added_headers).collect(),
        _ => Vec::new(),
    }
}

/// Returns the texts of all objects that have `name` and `value`, at any depth.
fn pairs<'a>(value: &'a Value, name: &str) -> Vec<(&'a str, &'a str)> {
    if let (Some(name), Some(text)) = (value[name].as_str(), value["value"].as_str()) {
        return vec![(name, text)];
    }
    match value {
        Value::Object(members) => members
            .values()
            .flat_map(|value| pairs(value, name))
            .collect(),
        Value::Array(items) => items.iter().flat_map(|value| pairs(value, name)).collect(),
        _ => Vec::new(),
    }
}

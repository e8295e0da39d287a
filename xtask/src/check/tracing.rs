//! Whether a manifest gives requests a provisional id, which Envoy needs for its tracing decision if it adds
//! no ids of its own.

use request_id_rules::header_name::HeaderName;
use serde_json::Value;

use super::manifest::Document;

/// What `docs/tracing.md` is about.
const SEE: &str = "see docs/tracing.md";

/// Returns a warning for each thing in a file that spoils tracing: a proxy that adds no ids and no provisional
/// ones either, and provisional ids that the filter does not know as such, because its id is in one of `headers`
/// instead of `x-request-id`.
pub fn warnings(documents: &[Document], headers: &[String]) -> Vec<String> {
    let mut proxies = Vec::new();
    for document in documents {
        collect(&document.value, false, &mut proxies);
    }
    let mut warnings = Vec::new();
    let has_mutation = proxies.iter().any(|proxy| proxy.has_mutation);
    let others = headers
        .iter()
        .filter(|header| *header != HeaderName::DEFAULT);
    for header in others.clone().filter(|_| has_mutation) {
        warnings.push(format!(
            "header: found \"{header}\", but the early header mutation sets x-request-id, and upstreams would \
             receive ids that end with -provisional; remove the mutation, {SEE}"
        ));
    }
    if others.count() == 0 {
        let lacking = proxies
            .iter()
            .filter(|proxy| proxy.may_trace && !proxy.has_mutation);
        warnings.extend(lacking.map(|proxy| {
            format!(
                "{}: Envoy adds no ids, and no early header mutation adds provisional ones; if you trace with \
                 OpenTelemetry, Envoy 1.39 and later lose the traces of requests without an id; add {}, {SEE}",
                proxy.setting, proxy.remedy
            )
        }));
    }
    warnings
}

/// A place in a manifest that keeps Envoy from adding ids, or adds provisional ones.
struct Proxy {
    /// The setting that keeps Envoy from adding ids.
    setting: &'static str,
    /// Where the mutation belongs.
    remedy: &'static str,
    /// Whether requests may be traced and need an id for it.
    may_trace: bool,
    has_mutation: bool,
}

/// Finds such places in a value, at any depth.
fn collect(value: &Value, is_patch: bool, found: &mut Vec<Proxy>) {
    // A patch is merged into listeners whose tracing other resources of Istio set up.
    let is_patch = is_patch || value["kind"] == "EnvoyFilter";
    if value["kind"] == "ClientTrafficPolicy" {
        let headers = &value["spec"]["headers"];
        let ids = headers["requestID"].as_str();
        found.push(Proxy {
            setting: "headers.requestID",
            remedy: "headers.earlyRequestHeaders.addIfAbsent",
            // An EnvoyProxy, which is another resource, sets up tracing.
            may_trace: matches!(ids, Some("Preserve" | "Disable")),
            has_mutation: is_provisional(&headers["earlyRequestHeaders"]),
        });
    }
    let is_manager = value["@type"]
        .as_str()
        .is_some_and(|name| name.ends_with(".HttpConnectionManager"));
    if is_manager {
        let field = |snake: &str, camel: &str| value.get(snake).or_else(|| value.get(camel));
        let generates = field("generate_request_id", "generateRequestId");
        let mutations = field(
            "early_header_mutation_extensions",
            "earlyHeaderMutationExtensions",
        );
        found.push(Proxy {
            setting: "generate_request_id",
            remedy: "early_header_mutation_extensions",
            may_trace: generates == Some(&Value::Bool(false))
                && (is_patch || value.get("tracing").is_some()),
            has_mutation: mutations.is_some_and(is_provisional),
        });
    }
    match value {
        Value::Object(members) => members
            .values()
            .for_each(|member| collect(member, is_patch, found)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_patch, found)),
        _ => {}
    }
}

/// Tells whether a mutation adds provisional ids: their marker is in none of its names.
fn is_provisional(mutation: &Value) -> bool {
    let text = mutation.to_string();
    text.contains(HeaderName::DEFAULT) && text.contains("-provisional\"")
}

//! The configurations of the two Envoys: a proxy with one listener per variant, and its upstream.

use serde_json::{Value, json};

use crate::variants::Variant;

/// The name of the upstream's listener.
pub const UPSTREAM: &str = "upstream";

/// The path at which the upstream returns the request's id in the header `seen`, and an AWS id.
pub const CHECK_PATH: &str = "/check";
pub const UPSTREAM_AWS_ID: &str = "4B4NGF0EAWN0GE63";

/// Returns the configuration of the upstream, which answers every request.
pub fn upstream() -> Value {
    let answer = json!({ "status": 200, "body": { "inline_string": "hello" } });
    let routes = json!([
        {
            "match": { "path": CHECK_PATH },
            "direct_response": &answer,
            "response_headers_to_add": [
                { "header": { "key": "seen", "value": "%REQ(X-REQUEST-ID)%" } },
                { "header": { "key": "x-amz-request-id", "value": UPSTREAM_AWS_ID } },
            ],
        },
        { "match": { "prefix": "/" }, "direct_response": &answer },
    ]);
    json!({
        "admin": { "address": address(0) },
        "static_resources": { "listeners": [listener(&Variant::new(UPSTREAM), &routes)] },
    })
}

/// Returns the configuration of a proxy with a listener for each of the variants, which has its name.
pub fn proxy<'a>(variants: impl IntoIterator<Item = &'a Variant>, upstream_port: u16) -> Value {
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": UPSTREAM } }]);
    let listeners: Vec<_> = variants
        .into_iter()
        .map(|variant| listener(variant, &routes))
        .collect();
    let endpoint = json!({ "endpoint": { "address": address(upstream_port) } });
    json!({
        "admin": { "address": address(0) },
        // Work on a timer would be counted for whichever request is running then.
        "stats_flush_interval": "299s",
        "static_resources": {
            "listeners": listeners,
            "clusters": [{
                "name": UPSTREAM,
                "load_assignment": {
                    "cluster_name": UPSTREAM,
                    "endpoints": [{ "lb_endpoints": [endpoint] }],
                },
            }],
        },
    })
}

/// Returns the listener of a variant, on a free port.
fn listener(variant: &Variant, routes: &Value) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    let filters: Vec<_> = variant.filter.iter().chain([&router]).collect();
    let mutation = json!({
        "name": "provisional-ids",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [{ "append": {
                "header": { "key": "x-request-id", "value": "%UNIQUE_ID%-provisional" },
                "append_action": "ADD_IF_ABSENT",
            } }],
        },
    });
    let early_mutations: Vec<_> = variant
        .has_provisional_ids
        .then_some(mutation)
        .into_iter()
        .collect();
    json!({
        "name": variant.name,
        "address": address(0),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": variant.name,
                "generate_request_id": variant.envoy_generates,
                "preserve_external_request_id": variant.envoy_generates,
                "always_set_request_id_in_response": variant.envoy_generates,
                "early_header_mutation_extensions": early_mutations,
                "http_filters": filters,
                "route_config": { "virtual_hosts": [
                    { "name": "all", "domains": ["*"], "routes": routes },
                ] },
            },
        }] }],
    })
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

//! What is compared: listeners of one Envoy that differ in who cares for the id.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::load::KEPT;
use crate::module;

/// One way to give requests an id.
pub struct Variant {
    /// The name of its row and of its listener.
    pub name: &'static str,
    /// The filter that does it.
    filter: Option<Value>,
    does: Does,
}

/// What can be seen of a variant from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Does {
    /// Upstream and client get the request's id, or a new one.
    ids: bool,
    /// An AWS id is taken where no other came.
    adopts: bool,
    /// The AWS id of a response gets its one name.
    normalizes: bool,
}

/// Envoy makes ids by itself in the listener of this variant.
const NATIVE: &str = "Envoy's own request id";
pub const DEFAULT: &str = "this filter, default";
pub const NO_FILTER: &str = "no filter";

/// All, in the order of the rows. The first is what the others are compared with.
pub fn all(textbook: &Path) -> Vec<Variant> {
    let plain = Does {
        ids: true,
        ..Does::default()
    };
    let adopts = Does {
        adopts: true,
        ..plain
    };
    let ours = |configuration| {
        Some(wasm(
            "request-id-filter",
            Path::new(module::PATH),
            configuration,
        ))
    };
    vec![
        Variant {
            name: NO_FILTER,
            filter: None,
            does: Does::default(),
        },
        Variant {
            name: NATIVE,
            filter: None,
            does: plain,
        },
        Variant {
            name: "this filter, AWS off",
            filter: ours(r#"{"adopt": {"from": []}, "response": {"normalize_aws": false}}"#),
            does: plain,
        },
        Variant {
            name: "this filter, AWS in requests",
            filter: ours(r#"{"response": {"normalize_aws": false}}"#),
            does: adopts,
        },
        Variant {
            name: DEFAULT,
            filter: ours(""),
            does: Does {
                normalizes: true,
                ..adopts
            },
        },
        Variant {
            name: "textbook filter, Rust SDK",
            filter: Some(wasm("textbook", textbook, "")),
            does: plain,
        },
        Variant {
            name: "textbook filter, Lua",
            filter: Some(json!({
                "name": "lua",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                    "default_source_code": { "inline_string": LUA },
                },
            })),
            does: plain,
        },
    ]
}

const LUA: &str = include_str!("../../../tests/textbook/filter.lua");

/// A module as a filter; all filters of a module share its VM.
fn wasm(name: &str, module: &Path, configuration: &str) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "root_id": name,
                "failure_policy": "FAIL_RELOAD",
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module } },
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration,
                },
            },
        },
    })
}

/// A path of the upstream that shows which id reached it, and answers with an AWS id.
const CHECK: &str = "/check";
const AWS_ID: &str = "4B4NGF0EAWN0GE63";
const ADOPTED: &str = "c2b5e1d4-5f0a-4c39-9d1e-7a3b8f6c2d10";

/// An Envoy that answers every request.
pub fn upstream() -> Value {
    let answer = json!({ "status": 200, "body": { "inline_string": "hello" } });
    let routes = json!([
        {
            "match": { "path": CHECK },
            "direct_response": &answer,
            "response_headers_to_add": [
                { "header": { "key": "seen", "value": "%REQ(X-REQUEST-ID)%" } },
                { "header": { "key": "x-amz-request-id", "value": AWS_ID } },
            ],
        },
        { "match": { "prefix": "/" }, "direct_response": &answer },
    ]);
    json!({
        "admin": admin(),
        "static_resources": { "listeners": [listener("upstream", &routes, None)] },
    })
}

/// An Envoy with a listener for each of the variants.
pub fn bootstrap<'a>(variants: impl IntoIterator<Item = &'a Variant>, upstream: u16) -> Value {
    let routes = json!([{ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } }]);
    let listeners = variants
        .into_iter()
        .map(|variant| {
            let mut listener = listener(variant.name, &routes, variant.filter.as_ref());
            if variant.name == NATIVE {
                let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
                for setting in [
                    "generate_request_id",
                    "preserve_external_request_id",
                    "always_set_request_id_in_response",
                ] {
                    manager[setting] = true.into();
                }
            }
            listener
        })
        .collect::<Vec<_>>();
    json!({
        "admin": admin(),
        // Work that goes by the clock would count for whichever request it meets.
        "stats_flush_interval": "299s",
        "static_resources": {
            "listeners": listeners,
            "clusters": [{
                "name": "upstream",
                "load_assignment": {
                    "cluster_name": "upstream",
                    "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(upstream) } }] }],
                },
            }],
        },
    })
}

fn listener(name: &str, routes: &Value, filter: Option<&Value>) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    let filters: Vec<_> = filter.into_iter().chain([&router]).collect();
    json!({
        "name": name,
        "address": address(0),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "generate_request_id": false,
                "http_filters": filters,
                "route_config": { "virtual_hosts": [
                    { "name": "all", "domains": ["*"], "routes": routes },
                ] },
            },
        }] }],
    })
}

fn admin() -> Value {
    json!({ "address": address(0) })
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

impl Variant {
    /// Whether it does at this port what is measured under its name.
    ///
    /// # Errors
    /// What it does instead.
    pub fn check(&self, port: u16) -> Result<()> {
        let url = format!("http://127.0.0.1:{port}{CHECK}");
        let ask = |name: &str, value: &str| {
            let response = ureq::get(&url).header(name, value).call()?;
            let header = |name| {
                let value = response.headers().get(name)?.to_str().ok()?;
                Some(value.to_owned())
            };
            let ids = (header("seen"), header("x-request-id"));
            anyhow::Ok((ids, header("x-amzn-requestid")))
        };
        let (kept, aws_id) = ask("x-request-id", KEPT)?;
        let (adopted, _) = ask("x-amzn-requestid", ADOPTED)?;
        let (generated, _) = ask("other", "value")?;
        let both = |id: &str| (Some(id.to_owned()), Some(id.to_owned()));
        let is_new = match &generated {
            (Some(seen), returned) => seen.len() == KEPT.len() && returned.as_ref() == Some(seen),
            _ => false,
        };
        let does = Does {
            ids: kept == both(KEPT) && is_new,
            adopts: adopted == both(ADOPTED),
            normalizes: aws_id.as_deref() == Some(AWS_ID),
        };
        ensure!(
            does == self.does,
            "{:?} is not what is measured: expected {:?}, found {does:?}, with {kept:?}, {adopted:?}, \
             {generated:?}",
            self.name,
            self.does
        );
        Ok(())
    }
}

/// The variant of a name.
pub fn named<'a>(variants: &'a [Variant], name: &str) -> Result<&'a Variant> {
    variants
        .iter()
        .find(|variant| variant.name == name)
        .with_context(|| format!("no variant {name}"))
}

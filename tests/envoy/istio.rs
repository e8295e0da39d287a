//! What Istio makes of the manifests under `envoy/istio`, in a real Envoy: listeners with Istio's
//! filters in Istio's order, the filter's configuration under Istio's names, both from files.
//!
//! Istio's own filters (metadata exchange, ALPN, statistics) are not in the Envoy of tests; the others
//! are. Every field of a manifest is read, and one that is not known here is refused.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use request_id_rules::policy::IdFormat;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::envoy::{self, Output, Process};
use xtask::module;

use crate::counters::counters;
use crate::testbed::{
    MANAGER, Test, Testbed, cluster, eventually, get, is_new, is_new_of, string_value, tracing,
};
use crate::updates::{file, publish};
use test_support::cases::Line;
use test_support::client::{Connection, Response, all};
use test_support::kustomize::{self, Base, IMAGE};
use test_support::upstream::{Reply, Upstream};

pub const TESTS: &[Test] = &[
    (
        "istio: what a gateway does to ids without the filter",
        gateway_without,
    ),
    ("istio: the filter on a gateway", gateway),
    (
        "istio: what a gateway answers by itself has an id",
        gateway_replies,
    ),
    (
        "istio: an updated WasmPlugin takes effect, a bad one does not",
        gateway_updates,
    ),
    (
        "istio: the base for one workload is for no other",
        workload_alone,
    ),
    (
        "istio: one id through gateway and sidecars of the mesh",
        mesh,
    ),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WasmPlugin {
    selector: Option<MatchLabels>,
    url: String,
    phase: Phase,
    priority: i32,
    fail_strategy: FailStrategy,
    plugin_name: String,
    plugin_config: Value,
}

/// Any other would come later in the chain than this test has it.
#[derive(Deserialize)]
enum Phase {
    #[serde(rename = "AUTHN")]
    BeforeAuthentication,
}

/// Istio gives Envoy what it has read, by the same names.
#[derive(Deserialize)]
enum FailStrategy {
    #[serde(rename = "FAIL_RELOAD")]
    Reload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MatchLabels {
    match_labels: Labels,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnvoyFilter {
    workload_selector: Option<WorkloadSelector>,
    config_patches: Vec<ConfigPatch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadSelector {
    labels: Labels,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfigPatch {
    apply_to: String,
    r#match: Value,
    patch: Patch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    operation: String,
    value: PatchValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchValue {
    typed_config: Value,
}

type Labels = BTreeMap<String, String>;

fn spec<T: DeserializeOwned>(resource: &Value) -> T {
    serde_json::from_value(resource["spec"].clone())
        .unwrap_or_else(|error| panic!("{}: {error}", resource["kind"]))
}

/// A proxy of the mesh.
struct Proxy {
    namespace: &'static str,
    label: (&'static str, &'static str),
    is_gateway: bool,
}

const GATEWAY: Proxy = Proxy {
    namespace: "istio-system",
    label: ("istio", "ingressgateway"),
    is_gateway: true,
};

const HTTPBIN: Proxy = Proxy {
    namespace: "default",
    label: ("app", "httpbin"),
    is_gateway: false,
};

const CART: Proxy = Proxy {
    namespace: "default",
    label: ("app", "cart"),
    is_gateway: false,
};

const ROOT_NAMESPACE: &str = "istio-system";

impl Proxy {
    /// Whether a resource is for this proxy: one of the root namespace is for all, if its selector
    /// does not say otherwise.
    fn is_meant(&self, resource: &Value, selector: Option<&Labels>) -> bool {
        let namespace = resource["metadata"]["namespace"].as_str();
        (namespace == Some(ROOT_NAMESPACE) || namespace == Some(self.namespace))
            && selector.is_none_or(|labels| {
                let own = |(key, value): (&String, &String)| (&**key, &**value) == self.label;
                labels.iter().all(own)
            })
    }

    /// The connection manager as it is with these resources.
    fn manager(&self, cluster: &str, base: Option<&Base>, ecds: &TempDir) -> Value {
        let shipped = envoy::shipped(0, 0).expect("a configuration");
        let access_log = shipped.pointer(&format!(
            "/static_resources/listeners/0{MANAGER}/access_log"
        ));
        let deny = |path: &str| {
            json!({
                "name": "envoy.filters.http.rbac",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                    "rules": {"action": "DENY", "policies": {"ns[foo]-policy[deny]-rule[0]": {
                        "principals": [{"any": true}],
                        "permissions": [{"url_path": {"path": {"prefix": path}}}],
                    }}},
                },
            })
        };
        let plain = |name: &str, kind: &str| {
            let kind = format!("type.googleapis.com/envoy.extensions.filters.http.{kind}");
            json!({"name": name, "typed_config": {"@type": kind}})
        };
        // In the place of a provider of CUSTOM authorization, before all phases of plugins.
        let mut filters = vec![deny("/custom")];
        if let Some((plugin, resource)) = self.plugin(base) {
            assert_eq!(plugin.priority, i32::MAX, "not the first of all plugins");
            filters.push(json!({
                "name": extension_name(resource),
                "config_discovery": {
                    "config_source": {
                        "path_config_source": {"path": file(ecds.path())},
                        "initial_fetch_timeout": "0s",
                        "resource_api_version": "V3",
                    },
                    "type_urls": [
                        "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                        "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                    ],
                },
            }));
        }
        filters.extend([
            deny("/denied"),
            plain(
                "envoy.filters.http.grpc_stats",
                "grpc_stats.v3.FilterConfig",
            ),
            plain("envoy.filters.http.fault", "fault.v3.HTTPFault"),
            plain("envoy.filters.http.cors", "cors.v3.Cors"),
            plain("envoy.filters.http.router", "router.v3.Router"),
        ]);
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": self.label.1,
            "use_remote_address": self.is_gateway,
            "normalize_path": true,
            "tracing": tracing(100),
            "request_id_extension": {"typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "use_request_id_for_trace_sampling": true,
            }},
            "http_filters": filters,
            "access_log": access_log.expect("an access log"),
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["test"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": cluster}},
            ]}]},
        });
        for resource in base.iter().flat_map(|base| &base.resources) {
            if resource["kind"] != "EnvoyFilter" {
                continue;
            }
            let filter: EnvoyFilter = spec(resource);
            let selector = filter.workload_selector.map(|selector| selector.labels);
            if !self.is_meant(resource, selector.as_ref()) {
                continue;
            }
            for patch in filter.config_patches {
                assert_eq!(patch.apply_to, "NETWORK_FILTER");
                assert_eq!(
                    patch.r#match,
                    json!({"context": "ANY", "listener": {"filterChain": {"filter": {
                        "name": "envoy.filters.network.http_connection_manager",
                    }}}})
                );
                assert_eq!(patch.patch.operation, "MERGE");
                merge(&mut manager, patch.patch.value.typed_config);
            }
        }
        manager
    }

    /// The plugin that runs in this proxy.
    fn plugin<'a>(&self, base: Option<&'a Base>) -> Option<(WasmPlugin, &'a Value)> {
        let resource = base?.resource("WasmPlugin");
        let plugin: WasmPlugin = spec(resource);
        let selector = plugin.selector.as_ref();
        self.is_meant(resource, selector.map(|selector| &selector.match_labels))
            .then_some((plugin, resource))
    }
}

/// Merges as protobuf does: what is a message is merged, what is repeated grows. An `Any` inside is
/// bytes to it and gives way as a whole.
fn merge(into: &mut Value, from: Value) {
    let Value::Object(from) = from else {
        *into = from;
        return;
    };
    for (key, value) in from {
        match (&mut into[&key], value) {
            (Value::Array(old), Value::Array(new)) => old.extend(new),
            (old @ Value::Object(_), new @ Value::Object(_)) if new["@type"].is_null() => {
                merge(old, new);
            }
            (old, new) => *old = new,
        }
    }
}

fn extension_name(resource: &Value) -> String {
    format!("extensions.istio.io/wasmplugin/{}", full_name(resource))
}

fn full_name(resource: &Value) -> String {
    let part = |key: &str| {
        resource["metadata"][key]
            .as_str()
            .expect("a name")
            .to_owned()
    };
    format!("{}.{}", part("namespace"), part("name"))
}

/// The resource in which Envoy gets a plugin, once the agent beside Envoy has fetched its image.
fn extension(resource: &Value) -> Value {
    let plugin: WasmPlugin = spec(resource);
    assert_eq!(plugin.url, format!("oci://{IMAGE}"));
    let failure_policy = match plugin.fail_strategy {
        FailStrategy::Reload => "FAIL_RELOAD",
    };
    let Phase::BeforeAuthentication = plugin.phase;
    let configuration = match plugin.plugin_config.as_object().expect("an object") {
        empty if empty.is_empty() => json!({}), // an `Any` of nothing
        _ => string_value(&plugin.plugin_config.to_string()),
    };
    json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": extension_name(resource),
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": full_name(resource),
                "root_id": plugin.plugin_name,
                "failure_policy": failure_policy,
                "configuration": configuration,
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module::PATH}},
                    "environment_variables": {"key_values": {
                        "ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION": "1",
                    }},
                },
            },
        },
    })
}

/// Proxies in a row, in one Envoy: each routes to the next, the last to the upstream.
struct Mesh {
    envoy: Process,
    upstream: Upstream,
    _collector: Upstream,
    /// Where each proxy listens.
    ports: Vec<u16>,
    ecds: TempDir,
    _lds: TempDir,
}

impl Mesh {
    fn start(proxies: &[&Proxy], base: Option<&Base>) -> Self {
        module::build().expect("a module");
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let folder = || tempfile::tempdir().expect("a folder");
        let (ecds, lds) = (folder(), folder());
        if let Some(base) = base {
            publish(ecds.path(), &[extension(base.resource("WasmPlugin"))]);
        }
        let ports: Vec<_> = proxies.iter().map(|_| free_port()).collect();
        let targets = ports[1..].iter().chain([&upstream.port]);
        let mut clusters = vec![cluster("collector", collector.port)];
        let mut listeners = Vec::new();
        for ((proxy, &port), &target) in proxies.iter().zip(&ports).zip(targets) {
            let name = format!("to {target}");
            clusters.push(cluster(&name, target));
            listeners.push(json!({
                "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
                "name": format!("127.0.0.1_{port}"),
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": proxy.manager(&name, base, &ecds),
                }]}],
            }));
        }
        publish(lds.path(), &listeners);
        let shipped = envoy::shipped(0, 0).expect("a configuration");
        let config = json!({
            "node": {"id": "test", "cluster": "test"},
            "admin": shipped["admin"],
            "dynamic_resources": {
                "lds_config": {"path_config_source": {"path": file(lds.path())}},
            },
            "static_resources": {"clusters": clusters},
        });
        let arguments = ["--concurrency", "1", "--log-level", "error"];
        let envoy = Process::start(&config, &Output::Kept, &arguments).expect("an Envoy");
        Self {
            envoy,
            upstream,
            _collector: collector,
            ports,
            ecds,
            _lds: lds,
        }
    }

    /// Sends a request to a proxy.
    fn send(&self, proxy: usize, path: &str, lines: &[Line]) -> Response {
        let mut connection = Connection::open(self.ports[proxy]);
        connection.send(&get("test", path, lines));
        connection.receive()
    }

    /// The values of a header of the only request for `path` that reached the upstream.
    #[track_caller]
    fn seen(&self, path: &str, header: &str) -> Vec<String> {
        let seen = self.upstream.seen(path);
        assert_eq!(seen.len(), 1, "{path}");
        let values = all(&seen[0].headers, header).into_iter();
        values
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    /// The id that client, upstream and access log have, and where the log says it is from.
    #[track_caller]
    fn id(&self, path: &str, lines: &[Line]) -> (String, Value) {
        let id = self.send(0, path, lines).id();
        assert_eq!(self.seen(path, "x-request-id"), std::slice::from_ref(&id));
        let log = self.access_log(path);
        assert_eq!(log["request_id"], id.as_str(), "{log}");
        assert_eq!(log["response_request_id"], id.as_str(), "{log}");
        (id, log["origin"].clone())
    }

    /// The first line of the access log for `path`.
    fn access_log(&self, path: &str) -> Value {
        let path = format!("\"path\":\"{path}\"");
        let lines = self
            .envoy
            .lines_until(0, |line| line.starts_with('{') && line.contains(&path))
            .expect("a line of the access log");
        serde_json::from_str(&lines[lines.len() - 1]).expect("JSON")
    }
}

fn free_port() -> u16 {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    probe.local_addr().expect("an address").port()
}

fn with_gateway_base() -> (Mesh, Base) {
    let base = kustomize::read("envoy/istio/gateway");
    (Mesh::start(&[&GATEWAY], Some(&base)), base)
}

fn mine() -> [Line; 1] {
    [(
        "x-request-id",
        b"11111111-2222-4333-8444-555555555555".to_vec(),
    )]
}

fn aws() -> Line {
    ("x-amz-request-id", b"4B4NGF0EAWN0GE63".to_vec())
}

/// What the filter makes of that.
const DERIVED: &str = "37be84ba-5e55-5531-9cda-bc301b676303";

/// Why the base is what it is: by itself a gateway replaces each id and returns none, and where it
/// does trace, the id says so.
fn gateway_without(_: &Testbed) {
    let mesh = Mesh::start(&[&GATEWAY], None);
    let response = mesh.send(0, "/", &mine());
    assert!(response.all("x-request-id").is_empty(), "{response:?}");
    let id = mesh.seen("/", "x-request-id").remove(0);
    assert!(!id.starts_with("11111111-"), "{id}");
    assert_eq!(&id[14..15], "9", "{id}");
}

/// All requests are traced, and no id shows it.
fn gateway(_: &Testbed) {
    let (mesh, _) = with_gateway_base();
    let (generated, origin) = mesh.id("/generated", &[]);
    assert!(is_new(&generated));
    assert_eq!(origin, "generated");
    assert_eq!(mesh.seen("/generated", "x-b3-sampled"), ["1"]);

    let (kept, origin) = mesh.id("/kept", &mine());
    assert_eq!(kept.as_bytes(), mine()[0].1);
    assert_eq!(origin, "kept");

    let (adopted, origin) = mesh.id("/adopted", &[aws()]);
    assert_eq!(adopted, DERIVED);
    assert_eq!(origin, "adopted:x-amz-request-id");

    let (replaced, origin) = mesh.id("/replaced", &[("x-request-id", b"a b".to_vec())]);
    assert!(is_new(&replaced));
    assert_eq!(origin, "replaced:bad_byte");

    let stats = mesh.envoy.get("/stats").expect("stats");
    assert!(
        stats.contains("wasm.istio-system.request-id.vm_reload_success: 0"),
        "no statistics of the reloads that FAIL_RELOAD brings: {stats}"
    );
}

fn gateway_replies(_: &Testbed) {
    let (mesh, _) = with_gateway_base();
    // By Istio's authorization, behind the filter: only the filter derives an id from AWS's.
    let response = mesh.send(0, "/denied", &mine());
    assert_eq!(response.status, 403);
    assert_eq!(response.id().as_bytes(), mine()[0].1);
    let response = mesh.send(0, "/denied", &[aws()]);
    assert_eq!(response.status, 403);
    assert_eq!(response.id(), DERIVED);
    // By another filter before it.
    let response = mesh.send(0, "/custom", &mine());
    assert_eq!(response.status, 403);
    assert_eq!(response.id().as_bytes(), mine()[0].1);
    let response = mesh.send(0, "/custom", &[aws()]);
    assert_eq!(response.status, 403);
    assert!(is_new(&response.id()));
    let mut connection = Connection::open(mesh.ports[0]);
    connection.send(&get("nowhere", "/", &[]));
    let response = connection.receive();
    assert_eq!(response.status, 404);
    assert!(is_new(&response.id()));
    // Before any filter runs.
    for (line, id) in [("", None), ("x-request-id: mine\r\n", Some("mine"))] {
        let mut connection = Connection::open(mesh.ports[0]);
        connection.send(format!("GET / HTTP/1.1\r\n{line}\r\n").as_bytes());
        let response = connection.receive();
        assert_eq!(response.status, 400);
        match id {
            Some(id) => assert_eq!(response.id(), id),
            None => assert!(is_new(&response.id())),
        }
    }
}

fn gateway_updates(_: &Testbed) {
    let (mesh, base) = with_gateway_base();
    let mut plugin = base.resource("WasmPlugin").clone();
    let update = |plugin: &Value| publish(mesh.ecds.path(), &[extension(plugin)]);
    plugin["spec"]["pluginConfig"] = json!({"generate": "hex32"});
    update(&plugin);
    eventually(Duration::from_secs(20), || {
        let id = mesh.send(0, "/", &[]).id();
        (is_new_of(IdFormat::Hex32, &id), id)
    });
    let mark = mesh.envoy.mark();
    plugin["spec"]["pluginConfig"] = json!({"generat": "uuid7"});
    update(&plugin);
    mesh.envoy
        .lines_until(mark, |line| line.contains("did you mean generate?"))
        .expect("a reason");
    let id = mesh.send(0, "/", &[]).id();
    assert!(is_new_of(IdFormat::Hex32, &id), "{id}");
    // A WasmPlugin without pluginConfig.
    plugin["spec"]["pluginConfig"] = json!({});
    update(&plugin);
    eventually(Duration::from_secs(20), || {
        let id = mesh.send(0, "/", &[]).id();
        (is_new(&id), id)
    });
}

fn workload_alone(_: &Testbed) {
    let base = kustomize::read("envoy/istio/workload");
    for (proxy, has_filter) in [(&HTTPBIN, true), (&CART, false), (&GATEWAY, false)] {
        let mesh = Mesh::start(&[proxy], Some(&base));
        let response = mesh.send(0, "/", &[]);
        let ids = mesh.seen("/", "x-request-id");
        assert_eq!(ids.len(), 1);
        if has_filter {
            assert_eq!(response.id(), ids[0]);
            assert!(is_new(&ids[0]), "{ids:?}");
        } else {
            // Envoy's own, of which the client learns nothing.
            assert!(response.all("x-request-id").is_empty());
            assert_eq!(&ids[0][14..15], "9", "{ids:?}");
        }
    }
    let gateway = kustomize::read("envoy/istio/gateway");
    let manager = HTTPBIN.manager("x", Some(&gateway), &tempfile::tempdir().expect("a folder"));
    assert_eq!(manager["generate_request_id"], Value::Null);
}

/// As from a gateway to a workload, and from there to another: out at its sidecar, in at the other's.
fn mesh(_: &Testbed) {
    let base = kustomize::read("envoy/istio/mesh");
    let mesh = Mesh::start(&[&GATEWAY, &HTTPBIN, &HTTPBIN, &CART], Some(&base));
    let (generated, _) = mesh.id("/generated", &[]);
    assert!(is_new(&generated));
    let (kept, _) = mesh.id("/kept", &mine());
    assert_eq!(kept.as_bytes(), mine()[0].1);
    eventually(Duration::from_secs(5), || {
        let mut counted = counters(&mesh.envoy);
        counted.retain(|_, count| *count > 0);
        let expected = [("generated".into(), 1), ("kept".into(), 7)];
        (counted == expected.into(), format!("{counted:?}"))
    });
    // A workload calls by itself.
    let id = mesh.send(2, "/called", &[]).id();
    assert!(is_new(&id));
    assert_eq!(mesh.seen("/called", "x-request-id"), [id]);
    mesh.upstream.expect(
        "/own",
        Reply::ok(&[("x-request-id", b"upstream's".to_vec())]),
    );
    assert_eq!(mesh.send(0, "/own", &mine()).id().as_bytes(), mine()[0].1);
}

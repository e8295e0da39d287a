//! The manifests for Istio, in a mesh of one gateway, one workload with a sidecar, and one waypoint.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::root;

use crate::cluster::{CREDENTIALS, Cluster, Pod};
use crate::http::{self, ID, Response, is_uuid};
use crate::load::Load;
use crate::{Test, World, admission, commands, components};

pub const TESTS: &[Test] = &[
    (
        "istio: each command of docs/deploy/istio.md succeeds",
        deployment_commands,
    ),
    (
        "istio: the gateway's base, with ids in all responses and one id in all logs",
        gateway,
    ),
    ("istio: the same as a TrafficExtension", traffic_extension),
    ("istio: the workload's base", workload),
    (
        "istio: the mesh's base, beside another plugin on the gateway",
        mesh,
    ),
    (
        "istio: one base leaves the others alone",
        bases_are_separate,
    ),
    ("istio: the waypoint's base", waypoint),
    (
        "istio: local replies without the caller's id, and without any",
        local_replies,
    ),
    (
        "istio: a Telemetry with OpenTelemetry keeps a caller's trace",
        telemetry,
    ),
    (
        "istio: changed configurations lose no request",
        live_changes,
    ),
    ("istio: a refused configuration, applied live", refused_live),
    (
        "istio: a refused configuration, and a proxy that starts with it",
        refused_at_start,
    ),
    (
        "istio: an image that cannot be fetched, and recovery",
        missing_image,
    ),
    ("istio: a private registry", private_registry),
];

const APP: &str = include_str!("istio-app.yaml");
const SYSTEM: &str = "istio-system";

/// The name of the gateway's plugin, and how to reach it by kubectl.
const PLUGIN: [&str; 4] = ["-n", SYSTEM, "wasmplugin", "request-id-gateway"];

pub struct Istio;

impl Istio {
    pub fn install(cluster: &Cluster) -> Result<Self> {
        admission::crds(cluster)?; // of the Gateway API, for the waypoint
        cluster.run(
            "istioctl",
            &[
                "install",
                "--skip-confirmation",
                "--readiness-timeout",
                "90s",
                "-f",
                "tests/kubernetes/istio-install.yaml",
            ],
        )?;
        cluster.kubectl(&[
            "label",
            "namespace",
            "default",
            "istio-injection=enabled",
            "--overwrite",
        ])?;
        cluster.apply(APP)?;
        let workload = httpbin(cluster)?;
        let proxies = cluster.container_log("default", &workload.name, "istio-init")?;
        ensure!(
            proxies.contains("iptables"),
            "no traffic is redirected: {proxies}"
        );
        let gateway = Gateway::of(cluster)?;
        cluster.until("an answer of the workload", || {
            let response = gateway.get("/", &[])?;
            ensure!(response.status == 200, "{response:?}");
            Ok(())
        })?;
        Ok(Self)
    }
}

fn httpbin(cluster: &Cluster) -> Result<Pod> {
    cluster.pod("default", "app=httpbin")
}

/// The ingress gateway.
#[derive(Clone)]
pub struct Gateway(Pod);

impl Gateway {
    fn of(cluster: &Cluster) -> Result<Self> {
        Ok(Self(cluster.pod(SYSTEM, "istio=ingressgateway")?))
    }

    pub fn address(&self) -> &str {
        &self.0.address
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let named = headers.iter().any(|(name, _)| *name == "host");
        let host: &[_] = if named {
            &[]
        } else {
            &[("host", "www.example.com")]
        };
        let url = format!("http://{}:8080{path}", self.0.address);
        http::get(&url, &[host, headers].concat())
    }

    /// The line of the access log with this id in the response.
    fn logged(&self, cluster: &Cluster, id: &str) -> Result<Value> {
        logged(cluster, SYSTEM, &self.0.name, id)
    }
}

/// The last line of an access log in which a field has this value.
fn line_of(log: &str, field: &str, value: &str) -> Option<Value> {
    let lines = log.lines().rev();
    let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find(|line| line[field] == value)
}

fn logged(cluster: &Cluster, namespace: &str, pod: &str, id: &str) -> Result<Value> {
    cluster.until(&format!("{id} in the access log of {pod}"), || {
        let log = cluster.container_log(namespace, pod, "istio-proxy")?;
        line_of(&log, "response_request_id", id).context("not there")
    })
}

/// An id as AWS sends it, and what is derived from it.
const AWS: (&str, &str) = ("x-amzn-requestid", "4B4NGF0EAWN0GE63");
const DERIVED: &str = "37be84ba-5e55-5531-9cda-bc301b676303";

/// Sets the image in all manifests, as documented, and applies one base.
fn apply(cluster: &Cluster, base: &str) -> Result<()> {
    let set = "perl -pi -e 's|oci://.*|oci://$ENV{IMAGE}|' envoy/istio/*/wasmplugin.yaml";
    cluster.run("bash", &["-c", set])?;
    cluster.kubectl(&["apply", "-k", base]).map(drop)
}

fn delete(cluster: &Cluster, base: &str) -> Result<()> {
    cluster
        .kubectl(&["delete", "--ignore-not-found", "-k", base])
        .map(drop)
}

/// Puts the filter on the gateway as it is shipped, and waits until it runs there.
pub fn deploy(cluster: &Cluster) -> Result<Gateway> {
    apply(cluster, "envoy/istio/gateway")?;
    let gateway = Gateway::of(cluster)?;
    adopts(cluster, &gateway)?;
    Ok(gateway)
}

fn adopts(cluster: &Cluster, gateway: &Gateway) -> Result<()> {
    cluster.until("an adopted id", || {
        let response = gateway.get("/", &[AWS])?;
        ensure!(response.same_id()? == DERIVED, "{response:?}");
        Ok(())
    })
}

fn undeploy(cluster: &Cluster, base: &str) -> Result<()> {
    delete(cluster, base)?;
    let gateway = Gateway::of(cluster)?;
    cluster.until("an id by Envoy itself", || {
        let response = gateway.get("/", &[AWS])?;
        let upstream = response.upstream["X-Request-Id"][0].as_str();
        ensure!(
            response.id.is_none() && upstream.is_some_and(|id| id != DERIVED),
            "{response:?}"
        );
        Ok(())
    })
}

fn deployment_commands(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    commands::run(
        cluster,
        "docs/deploy/istio.md",
        &[("PASSWORD", CREDENTIALS.1)],
    )
}

/// Makes the gateway refuse a configuration.
pub fn refuse(cluster: &Cluster) -> Result<()> {
    configure(cluster, &json!({"generate": "uuid9"}))?;
    refusals(cluster, &Gateway::of(cluster)?.0)
}

/// Mends that configuration.
pub fn mend(cluster: &Cluster) -> Result<()> {
    configure(cluster, &json!({"log_origin": true}))?;
    adopts(cluster, &Gateway::of(cluster)?)
}

/// Makes the filter refuse a configuration and lack its image at the gateway, and mends both. Returns
/// the name of the gateway's Pod.
pub fn in_trouble(cluster: &Cluster) -> Result<String> {
    let gateway = deploy(cluster)?;
    refuse(cluster)?;
    mend(cluster)?;
    image(cluster, &missing())?;
    fetch_fails(cluster, &gateway.0)?;
    image(cluster, &cluster.image())?;
    adopts(cluster, &gateway)?;
    Ok(gateway.0.name)
}

/// All ways in which a request can end at the gateway.
fn check_gateway(cluster: &Cluster, gateway: &Gateway) -> Result<()> {
    let generated = gateway.get("/", &[])?;
    ensure!(is_uuid(generated.same_id()?, '4'), "{generated:?}");
    let replaced = gateway.get("/", &[(ID, "not valid")])?;
    ensure!(is_uuid(replaced.same_id()?, '4'), "{replaced:?}");
    let kept = gateway.get("/", &[(ID, "kept-1")])?;
    ensure!(kept.same_id()? == "kept-1", "{kept:?}");
    let adopted = gateway.get("/", &[AWS])?;
    ensure!(adopted.same_id()? == DERIVED, "{adopted:?}");
    for (response, origin) in [
        (&generated, "generated"),
        (&replaced, "replaced:bad_byte"),
        (&kept, "kept"),
    ] {
        let line = gateway.logged(cluster, response.same_id()?)?;
        ensure!(
            line["request_id"] == line["response_request_id"] && line["origin"] == origin,
            "{line}"
        );
    }
    // Refused by later filters, the router, and the routes.
    let other = ("host", "other.example.com");
    let token = ("authorization", "Bearer not-a-token");
    for (path, header, status) in [
        ("/", other, 404),
        ("/gone", ("x", "y"), 503),
        ("/forbidden", ("x", "y"), 403),
        ("/", token, 401),
    ] {
        let refused = gateway.get(path, &[header, (ID, "refused-1")])?;
        ensure!(
            refused.status == status && refused.id.as_deref() == Some("refused-1"),
            "{refused:?}"
        );
        let refused = gateway.get(path, &[header, AWS])?;
        ensure!(
            refused.status == status && refused.id.as_deref() == Some(DERIVED),
            "{refused:?}"
        );
        let refused = gateway.get(path, &[header])?;
        let id = refused.id.as_deref().unwrap_or_default();
        ensure!(refused.status == status && is_uuid(id, '4'), "{refused:?}");
    }
    Ok(())
}

fn gateway(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    check_gateway(cluster, &gateway)?;
    // One id in all logs, over mutual TLS.
    let response = gateway.get("/", &[])?;
    let id = response.same_id()?;
    let peer = response.upstream["X-Forwarded-Client-Cert"][0]
        .as_str()
        .unwrap_or_default();
    ensure!(
        peer.contains("URI=spiffe://cluster.local/ns/istio-system/"),
        "{response:?}"
    );
    gateway.logged(cluster, id)?;
    let workload = httpbin(cluster)?;
    let line = cluster.until("the id in the sidecar's log", || {
        let log = cluster.container_log("default", &workload.name, "istio-proxy")?;
        line_of(&log, "request_id", id).context("not there")
    })?;
    ensure!(line["status"] == 200, "{line}");
    undeploy(cluster, "envoy/istio/gateway")
}

fn traffic_extension(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    let page = fs::read_to_string(root().join("docs/deploy/istio.md"))?;
    let (_, block) = page
        .split_once("```yaml\napiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\n")
        .context("no TrafficExtension in docs/deploy/istio.md")?;
    let (rest, _) = block.split_once("```").context("an open block")?;
    let manifest =
        format!("apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\n{rest}");
    let lines = manifest.lines().map(|line| match line.split_once("url: ") {
        Some((indent, _)) => format!("{indent}url: oci://{}", cluster.image()),
        None => line.into(),
    });
    let manifest = lines.collect::<Vec<_>>().join("\n");
    cluster.kubectl(&["delete", PLUGIN[2], PLUGIN[3], PLUGIN[0], PLUGIN[1]])?;
    cluster.apply(&manifest)?;
    cluster.until("the filter as a TrafficExtension alone", || {
        adopts(cluster, &gateway)?;
        let filters = filters(cluster, SYSTEM, &gateway.0.name)?;
        ensure!(
            filters
                .first()
                .is_some_and(|name| name.contains("trafficextension/")),
            "{filters:?}"
        );
        ensure!(
            !filters
                .iter()
                .any(|name| name.contains("translated-wasmplugin")),
            "{filters:?}"
        );
        Ok(())
    })?;
    check_gateway(cluster, &gateway)?;
    cluster.delete(&manifest)?;
    undeploy(cluster, "envoy/istio/gateway")
}

/// The HTTP filters of a proxy's inbound listener, or of a gateway's, in order.
fn filters(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Vec<String>> {
    let mut all = managers(cluster, namespace, pod)?;
    Ok(all
        .drain(..)
        .next()
        .context("no connection manager")?
        .filters)
}

#[derive(Debug)]
struct Manager {
    listener: String,
    filters: Vec<String>,
    settings: Value,
}

/// The connection managers of a proxy, as it has them.
fn managers(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Vec<Manager>> {
    let listeners = cluster.run(
        "istioctl",
        &[
            "proxy-config",
            "listeners",
            "-n",
            namespace,
            pod,
            "-o",
            "json",
        ],
    )?;
    let listeners: Value = serde_json::from_str(&listeners)?;
    let mut managers = Vec::new();
    for listener in listeners.as_array().context("no listeners")? {
        collect(
            listener,
            &listener["name"],
            ["httpFilters", "name"],
            &mut managers,
        );
    }
    // What the agent and Prometheus ask is not configured by istiod.
    managers.retain(|manager| {
        !["_15021", "_15090"]
            .iter()
            .any(|port| manager.listener.ends_with(port))
    });
    ensure!(!managers.is_empty(), "no connection manager in {pod}");
    Ok(managers)
}

fn collect(value: &Value, listener: &Value, keys: [&str; 2], managers: &mut Vec<Manager>) {
    if let Some(filters) = value[keys[0]].as_array() {
        managers.push(Manager {
            listener: listener.as_str().unwrap_or_default().into(),
            filters: filters
                .iter()
                .filter_map(|filter| filter[keys[1]].as_str())
                .map(Into::into)
                .collect(),
            settings: value.clone(),
        });
        return;
    }
    match value {
        Value::Object(members) => members
            .values()
            .for_each(|member| collect(member, listener, keys, managers)),
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect(item, listener, keys, managers)),
        _ => {}
    }
}

/// Waits until the filter is the first in each connection manager of a proxy.
fn everywhere(cluster: &Cluster, namespace: &str, pod: &str, plugin: &str) -> Result<()> {
    cluster.until(&format!("{plugin} in {pod}"), || {
        for manager in managers(cluster, namespace, pod)? {
            ensure!(manager.filters[0].contains(plugin), "{manager:#?}");
            ensure!(
                manager.settings["generateRequestId"] == false,
                "{manager:#?}"
            );
        }
        Ok(())
    })
}

fn workload(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    apply(cluster, "envoy/istio/workload")?;
    let (gateway, pod) = (Gateway::of(cluster)?, httpbin(cluster)?);
    everywhere(cluster, "default", &pod.name, "request-id-workload")?;
    ensure!(
        !filters(cluster, SYSTEM, &gateway.0.name)?[0].contains("request-id"),
        "the gateway has the filter, too"
    );
    // The gateway replaces ids of callers, and the sidecar keeps what the gateway sends.
    cluster.until("an id of the gateway's", || {
        let response = gateway.get("/", &[AWS])?;
        let id = response.same_id()?;
        ensure!(id != DERIVED && is_uuid(id, '4'), "{response:?}");
        Ok(())
    })?;
    delete(cluster, "envoy/istio/workload")
}

/// A plugin for the gateway alone, as docs/deploy/istio.md describes it.
const PUBLIC: &str = "
- op: replace
  path: /spec/pluginConfig
  value: { incoming: { trust: none }, log_origin: true }
";

fn mesh(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    apply(cluster, "envoy/istio/mesh")?;
    let (gateway, pod) = (Gateway::of(cluster)?, httpbin(cluster)?);
    everywhere(cluster, SYSTEM, &gateway.0.name, "request-id-mesh")?;
    everywhere(cluster, "default", &pod.name, "request-id-mesh")?;
    adopts(cluster, &gateway)?;
    // The mesh's plugin after the gateway's.
    cluster.kubectl(&[
        "-n",
        SYSTEM,
        "patch",
        "wasmplugin",
        "request-id-mesh",
        "--type=merge",
        r#"--patch={"spec": {"priority": 2147483646, "pluginConfig": {"log_origin": true}}}"#,
    ])?;
    apply(cluster, "envoy/istio/gateway")?;
    cluster.kubectl(
        &[
            &["patch"],
            &PLUGIN[..],
            &["--type=json", &format!("--patch={PUBLIC}")],
        ]
        .concat(),
    )?;
    let replaced = cluster.until("an untrusted id that is replaced", || {
        let response = gateway.get("/", &[(ID, "stranger")])?;
        ensure!(is_uuid(response.same_id()?, '4'), "{response:?}");
        Ok(response)
    })?;
    let filters = filters(cluster, SYSTEM, &gateway.0.name)?;
    ensure!(
        filters[0].contains("request-id-gateway") && filters[1].contains("request-id-mesh"),
        "{filters:?}"
    );
    let line = gateway.logged(cluster, replaced.same_id()?)?;
    ensure!(line["origin"] == "replaced:untrusted", "{line}");
    delete(cluster, "envoy/istio/gateway")?;
    undeploy(cluster, "envoy/istio/mesh")
}

fn bases_are_separate(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let bases = [
        "envoy/istio/gateway",
        "envoy/istio/workload",
        "envoy/istio/mesh",
        "envoy/istio/waypoint",
    ];
    for base in bases {
        apply(cluster, base)?;
    }
    let names = |kind: &str| -> Result<usize> {
        let all = cluster.get(&["-A", kind])?;
        Ok(all["items"].as_array().context("no list")?.len())
    };
    for left in (0..bases.len()).rev() {
        delete(cluster, bases[left])?;
        for kind in ["wasmplugin", "envoyfilter"] {
            ensure!(
                names(kind)? == left,
                "{} was deleted, {kind}: {}",
                bases[left],
                names(kind)?
            );
        }
    }
    Ok(())
}

/// The first object with that name, at any depth.
fn named<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(_) if value["name"] == name => Some(value),
        Value::Object(members) => members.values().find_map(|member| named(member, name)),
        Value::Array(items) => items.iter().find_map(|item| named(item, name)),
        _ => None,
    }
}

/// Envoy's own build has not all that a waypoint of Istio needs: what istiod generates for it.
fn waypoint(world: &World) -> Result<()> {
    const WAYPOINT: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: default, labels: { istio.io/waypoint-for: service } }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
";
    let cluster = world.with_istio()?;
    cluster.apply(WAYPOINT)?;
    cluster.kubectl(&[
        "label",
        "service",
        "httpbin",
        "istio.io/use-waypoint=waypoint",
        "--overwrite",
    ])?;
    apply(cluster, "envoy/istio/waypoint")?;
    let istiod = cluster.pod(SYSTEM, "app=istiod")?;
    cluster.until("the waypoint's configuration", || {
        let pods = cluster.get(&[
            "pods",
            "-l",
            "gateway.networking.k8s.io/gateway-name=waypoint",
        ])?;
        let name = pods["items"][0]["metadata"]["name"]
            .as_str()
            .context("no waypoint")?;
        let dump = cluster.kubectl(&[
            "-n",
            SYSTEM,
            "exec",
            &istiod.name,
            "--",
            "pilot-discovery",
            "request",
            "GET",
            &format!("/debug/config_dump?proxyID={name}.default"),
        ])?;
        let dump: Value = serde_json::from_str(&dump).with_context(|| dump.clone())?;
        let mut managers = Vec::new();
        let configs = dump["configs"].as_array().context("no configurations")?;
        let is_of_listeners =
            |config: &&Value| config["@type"].to_string().contains(".ListenersConfigDump");
        let listeners = configs
            .iter()
            .find(is_of_listeners)
            .context("no listeners")?;
        let listener = named(listeners, "main_internal").context("no listener main_internal")?;
        for keys in [["http_filters", "name"], ["httpFilters", "name"]] {
            collect(listener, &listener["name"], keys, &mut managers);
        }
        ensure!(!managers.is_empty(), "no connection manager");
        for manager in managers {
            ensure!(
                manager.filters[0].contains("request-id-waypoint"),
                "{manager:#?}"
            );
            let generates = &manager.settings["generate_request_id"];
            ensure!(
                generates == false || manager.settings["generateRequestId"] == false,
                "{manager:#?}"
            );
        }
        Ok(())
    })?;
    delete(cluster, "envoy/istio/waypoint")?;
    cluster.kubectl(&["label", "service", "httpbin", "istio.io/use-waypoint-"])?;
    cluster.delete(WAYPOINT)
}

fn local_replies(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    // Envoy answers this before any filter runs.
    let early = || {
        gateway.get(
            "/",
            &[
                ("connection", "upgrade"),
                ("upgrade", "other"),
                (ID, "early-1"),
            ],
        )
    };
    let refused = early()?;
    ensure!(
        refused.status == 403 && refused.id.as_deref() == Some("early-1"),
        "{refused:?}"
    );
    for (component, is_new) in [
        ("new-ids-in-local-replies", true),
        ("no-ids-in-local-replies", false),
    ] {
        let kustomization = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
             resources: [../gateway]\ncomponents: [../{component}]\n"
        );
        let file = cluster.path("envoy/istio/adapted/kustomization.yaml");
        components::write(&file, kustomization.as_bytes())?;
        cluster.kubectl(&["apply", "-k", "envoy/istio/adapted"])?;
        cluster.until(component, || {
            let refused = early()?;
            let id = refused.id.as_deref();
            ensure!(
                id.is_some_and(|id| is_uuid(id, '4')) == is_new && id.is_none() != is_new,
                "{refused:?}"
            );
            Ok(())
        })?;
    }
    fs::remove_dir_all(cluster.path("envoy/istio/adapted"))?;
    deploy(cluster).map(drop)
}

fn telemetry(world: &World) -> Result<()> {
    const TELEMETRY: &str = "
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: tracing, namespace: istio-system }
spec:
  tracing:
  - providers: [{ name: collector }]
    randomSamplingPercentage: 100
";
    let cluster = world.with_istio()?;
    // In the whole mesh, as a sidecar without the filter would write its decision into the id.
    undeploy(cluster, "envoy/istio/gateway")?;
    apply(cluster, "envoy/istio/mesh")?;
    let gateway = Gateway::of(cluster)?;
    everywhere(
        cluster,
        "default",
        &httpbin(cluster)?.name,
        "request-id-mesh",
    )?;
    adopts(cluster, &gateway)?;
    cluster.apply(TELEMETRY)?;
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    cluster.until("a caller's sampled trace", || {
        let response = gateway.get(
            "/",
            &[
                ("traceparent", &parent),
                (ID, "0af7651916cd43dd8448eb211c80319c"),
            ],
        )?;
        ensure!(
            response.same_id()? == "0af7651916cd43dd8448eb211c80319c",
            "{response:?}"
        );
        let sent = response.upstream["Traceparent"][0]
            .as_str()
            .unwrap_or_default();
        let is_next_span =
            sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-01") && sent != parent;
        ensure!(is_next_span, "{response:?}");
        Ok(())
    })?;
    let generated = gateway.get("/", &[("traceparent", &parent)])?;
    ensure!(is_uuid(generated.same_id()?, '4'), "{generated:?}");
    cluster.delete(TELEMETRY)?;
    cluster.until("the end of tracing", || {
        let response = gateway.get("/", &[("traceparent", &parent)])?;
        ensure!(
            response.upstream["Traceparent"][0] == parent,
            "{response:?}"
        );
        Ok(())
    })?;
    undeploy(cluster, "envoy/istio/mesh")
}

fn patch(cluster: &Cluster, patch: &Value) -> Result<()> {
    let patch = format!("--patch={}", json!([patch]));
    cluster
        .kubectl(&[&["patch"], &PLUGIN[..], &["--type=json", &patch]].concat())
        .map(drop)
}

fn configure(cluster: &Cluster, configuration: &Value) -> Result<()> {
    patch(
        cluster,
        &json!({"op": "replace", "path": "/spec/pluginConfig", "value": configuration}),
    )
}

fn image(cluster: &Cluster, image: &str) -> Result<()> {
    patch(
        cluster,
        &json!({"op": "replace", "path": "/spec/url", "value": format!("oci://{image}")}),
    )
}

/// An image that is not in the registry.
fn missing() -> String {
    format!(
        "registry.example.com/you/request-id-filter@sha256:{}",
        "0".repeat(64)
    )
}

fn live_changes(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    let load = Load::start({
        let gateway = gateway.clone();
        move || gateway.get("/", &[])
    });
    for (form, length) in [("hex32", 32), ("uuid7", 36), ("hex32", 32), ("uuid4", 36)] {
        configure(cluster, &json!({"generate": form, "log_origin": true}))?;
        cluster.until(form, || {
            let response = gateway.get("/", &[])?;
            ensure!(response.same_id()?.len() == length, "{response:?}");
            Ok(())
        })?;
    }
    load.stop()
}

/// Waits until a proxy has refused its configuration, and returns how often istiod has seen that.
fn refusals(cluster: &Cluster, proxy: &Pod) -> Result<()> {
    cluster.until("the refusal in the proxy's log", || {
        let log = cluster.container_log(SYSTEM, &proxy.name, "istio-proxy")?;
        ensure!(
            log.contains("configuration refused: generate: found \"uuid9\""),
            "no refusal"
        );
        Ok(())
    })?;
    let istiod = cluster.pod(SYSTEM, "app=istiod")?;
    cluster.until("the refusal in istiod's metrics", || {
        let metrics = http::get(&format!("http://{}:15014/metrics", istiod.address), &[])?.body;
        ensure!(
            metrics.contains("pilot_total_xds_rejects{type=\"ecds\"}"),
            "not there"
        );
        Ok(())
    })
}

/// An AuthorizationPolicy, as an example of another change of the listener.
const DENY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: later, namespace: istio-system }
spec:
  selector: { matchLabels: { istio: ingressgateway } }
  action: DENY
  rules: [{ to: [{ operation: { paths: [/later] } }] }]
";

fn refused_live(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    configure(cluster, &json!({"generate": "uuid9"}))?;
    refusals(cluster, &gateway.0)?;
    adopts(cluster, &gateway)?;
    // Another change of the listener is refused, too.
    let log = || cluster.container_log(SYSTEM, "istiod", "discovery");
    let before = log()?.matches("ADS:LDS: ACK ERROR").count();
    cluster.apply(DENY)?;
    cluster.until("the refusal of the listener", || {
        ensure!(
            log()?.matches("ADS:LDS: ACK ERROR").count() > before,
            "not refused"
        );
        Ok(())
    })?;
    ensure!(
        gateway.get("/later", &[])?.status == 200,
        "the policy is in force"
    );
    // Mended in place and then touched, as documented, the policy comes into force.
    configure(cluster, &json!({"generate": "hex32"}))?;
    cluster.until("the mended configuration", || {
        let response = gateway.get("/", &[])?;
        ensure!(response.same_id()?.len() == 32, "{response:?}");
        Ok(())
    })?;
    let touch = [
        "-n",
        SYSTEM,
        "annotate",
        "envoyfilter",
        "request-id-gateway",
        "istio.io/touched=1",
        "--overwrite",
    ];
    cluster.kubectl(&touch)?;
    cluster.until("the policy", || {
        let denied = gateway.get("/later", &[])?;
        ensure!(denied.status == 403 && denied.id.is_some(), "{denied:?}");
        Ok(())
    })?;
    configure(cluster, &json!({"log_origin": true}))?;
    cluster.delete(DENY)
}

/// Starts the gateway anew.
fn restart(cluster: &Cluster) -> Result<Gateway> {
    let gateway = Gateway::of(cluster)?;
    cluster.kubectl(&[
        "-n",
        SYSTEM,
        "delete",
        "pod",
        &gateway.0.name,
        "--grace-period=1",
    ])?;
    Gateway::of(cluster)
}

fn refused_at_start(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    deploy(cluster)?;
    configure(cluster, &json!({"generate": "uuid9"}))?;
    refusals(cluster, &Gateway::of(cluster)?.0)?;
    // `restart` waits until it is ready, and it is.
    let gateway = restart(cluster)?;
    for _ in 0..3 {
        let response = gateway.get("/", &[])?;
        ensure!(response.status == 500, "{response:?}");
    }
    configure(cluster, &json!({"log_origin": true}))?;
    adopts(cluster, &gateway)
}

/// Waits until a proxy has tried to fetch an image that is not there.
fn fetch_fails(cluster: &Cluster, proxy: &Pod) -> Result<()> {
    cluster.until("the cause in the proxy's log", || {
        let log = cluster.container_log(SYSTEM, &proxy.name, "istio-proxy")?;
        ensure!(log.contains("cannot fetch Wasm module"), "no cause");
        Ok(())
    })
}

fn refuses_all(cluster: &Cluster, gateway: &Gateway) -> Result<()> {
    cluster.until("403 for every request", || {
        let response = gateway.get("/", &[])?;
        ensure!(
            response.status == 403 && response.id.is_some(),
            "{response:?}"
        );
        Ok(())
    })
}

fn missing_image(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    image(cluster, &missing())?;
    refuses_all(cluster, &gateway)?;
    fetch_fails(cluster, &gateway.0)?;
    let gateway = restart(cluster)?;
    refuses_all(cluster, &gateway)?;
    image(cluster, &cluster.image())?;
    adopts(cluster, &gateway)?;
    // The image is there, but it is another one than `sha256` says.
    let wrong = json!({"op": "add", "path": "/spec/sha256", "value": "1".repeat(64)});
    patch(cluster, &wrong)?;
    image(cluster, "registry.example.com/you/request-id-filter:0.1.0")?;
    refuses_all(cluster, &gateway)?;
    cluster.until("the wrong digest in the proxy's log", || {
        let log = cluster.container_log(SYSTEM, &gateway.0.name, "istio-proxy")?;
        ensure!(log.contains("which does not match"), "not there");
        Ok(())
    })?;
    patch(cluster, &json!({"op": "remove", "path": "/spec/sha256"}))?;
    image(cluster, &cluster.image())?;
    adopts(cluster, &gateway)
}

fn private_registry(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    let private = format!(
        "private.example.com:8443/you/request-id-filter@{}",
        cluster.digest
    );
    image(cluster, &private)?;
    refuses_all(cluster, &gateway)?;
    let (user, password) = CREDENTIALS;
    cluster.kubectl(&[
        "-n",
        SYSTEM,
        "create",
        "secret",
        "docker-registry",
        "private",
        "--docker-server=private.example.com:8443",
        &format!("--docker-username={user}"),
        &format!("--docker-password={password}"),
    ])?;
    patch(
        cluster,
        &json!({"op": "add", "path": "/spec/imagePullSecret", "value": "private"}),
    )?;
    adopts(cluster, &gateway)?;
    patch(
        cluster,
        &json!({"op": "remove", "path": "/spec/imagePullSecret"}),
    )?;
    image(cluster, &cluster.image())?;
    undeploy(cluster, "envoy/istio/gateway")
}

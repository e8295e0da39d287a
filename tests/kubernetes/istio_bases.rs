//! Each base for Istio, with a `WasmPlugin` and with a `TrafficExtension`.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, Pod};
use crate::http::{AWS, DERIVED, ID, is_uuid};
use crate::istio::{
    self, Gateway, SYSTEM, adopts, apply, apply_with, delete, deploy, line_of, undeploy,
    workload as httpbin,
};
use crate::istio_changes::{PLUGIN, patch};
use crate::load::Load;
use crate::proxy_config::{managers, managers_of, named, runs_everywhere};
use crate::{World, tests};

tests![
    the_gateways_base_puts_ids_into_all_responses_and_one_id_into_all_logs,
    a_traffic_extension_takes_the_place_of_a_wasm_plugin_without_a_lost_request,
    the_workloads_base_works_in_both_forms,
    the_meshs_base_works_in_both_forms,
    the_meshs_base_works_beside_another_plugin_on_the_gateway,
    one_base_leaves_the_others_alone,
    the_waypoints_base_works_in_both_forms,
    local_replies_have_new_ids_or_none_with_the_components_for_that,
    a_telemetry_with_opentelemetry_keeps_a_callers_trace,
];

/// The component that turns a base's `WasmPlugin` into a `TrafficExtension`.
const TRAFFIC_EXTENSION: &str = "traffic-extension";

/// The end of the name that istiod gives to the filter of a base's `WasmPlugin`.
fn of_wasm_plugin(base: &str) -> String {
    format!(".request-id-{base}~istio-translated-wasmplugin")
}

/// Applies a base in both forms, one after the other, and calls `check` with the end of the
/// filter's name in the configuration of a proxy. The base has gone when it returns.
fn in_both_forms(cluster: &Cluster, base: &str, check: impl Fn(&str) -> Result<()>) -> Result<()> {
    apply(cluster, base)?;
    check(&of_wasm_plugin(base))?;
    delete(cluster, base)?;
    apply_with(cluster, base, TRAFFIC_EXTENSION)?;
    let extensions = cluster.run_line("kubectl get -A -o name wasmplugin,trafficextension")?;
    ensure!(
        extensions.trim() == format!("trafficextension.extensions.istio.io/request-id-{base}"),
        "{extensions}"
    );
    check(&format!(".request-id-{base}"))?;
    istio::delete_adapted(cluster)
}

/// Sends requests that end at the gateway in all possible ways.
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
    // Later filters, the router and the routes refuse these requests.
    let other = ("host", "other.example.com");
    let token = ("authorization", "Bearer not-a-token");
    for (path, header, status) in [
        ("/", other, 404),
        ("/gone", ("x", "y"), 503),
        ("/forbidden", ("x", "y"), 403),
        ("/", token, 401),
    ] {
        let refused = gateway.get(path, &[header, (ID, "refused-1")])?;
        refused.require(status, "refused-1")?;
        let refused = gateway.get(path, &[header, AWS])?;
        refused.require(status, DERIVED)?;
        let refused = gateway.get(path, &[header])?;
        let id = refused.id.as_deref().unwrap_or_default();
        ensure!(refused.status == status && is_uuid(id, '4'), "{refused:?}");
    }
    Ok(())
}

fn the_gateways_base_puts_ids_into_all_responses_and_one_id_into_all_logs(
    world: &World,
) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    check_gateway(cluster, &gateway)?;
    // Over mutual TLS, the id is the same in the log of the sidecar.
    let response = gateway.get("/", &[])?;
    let id = response.same_id()?;
    let peer = &response.upstream["X-Forwarded-Client-Cert"][0];
    ensure!(
        peer.to_string()
            .contains("URI=spiffe://cluster.local/ns/istio-system/"),
        "{response:?}"
    );
    gateway.logged(cluster, id)?;
    let line = sidecar_logged(cluster, &httpbin(cluster)?, id)?;
    ensure!(line["status"] == 200, "{line}");
    undeploy(cluster, "gateway")
}

/// Returns the line of a sidecar's access log with this id in the request.
fn sidecar_logged(cluster: &Cluster, pod: &Pod, id: &str) -> Result<Value> {
    cluster.until(&format!("{id} in the sidecar's log"), || {
        let log = cluster.container_log("default", &pod.name, "istio-proxy")?;
        line_of(&log, "request_id", id).context("no such line")
    })
}

/// As docs/deploy/istio.md says: first the `TrafficExtension`, then away with the `WasmPlugin`.
fn a_traffic_extension_takes_the_place_of_a_wasm_plugin_without_a_lost_request(
    world: &World,
) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    let load = Load::start({
        let gateway = gateway.clone();
        move || gateway.get("/", &[])
    });
    apply_with(cluster, "gateway", TRAFFIC_EXTENSION)?;
    let filters = || -> Result<Vec<String>> {
        let mut managers = managers(cluster, SYSTEM, gateway.name())?;
        Ok(managers.swap_remove(0).filters)
    };
    cluster.until("both plugins", || {
        let filters = filters()?;
        let ours = filters
            .iter()
            .filter(|name| name.contains(".request-id-gateway"));
        ensure!(ours.count() == 2, "{filters:?}");
        Ok(())
    })?;
    cluster.kubectl(&[&["delete"], &PLUGIN[..]].concat())?;
    cluster.until("the TrafficExtension alone", || {
        let filters = filters()?;
        ensure!(
            filters[0].ends_with("trafficextension/istio-system.request-id-gateway")
                && !filters[1].contains("request-id"),
            "{filters:?}"
        );
        Ok(())
    })?;
    load.stop()?;
    adopts(cluster, &gateway)?;
    check_gateway(cluster, &gateway)?;
    istio::delete_adapted(cluster)?;
    undeploy(cluster, "gateway")
}

fn the_workloads_base_works_in_both_forms(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let (gateway, pod) = (Gateway::of(cluster)?, httpbin(cluster)?);
    in_both_forms(cluster, "workload", |plugin| {
        runs_everywhere(cluster, "default", &pod.name, plugin)?;
        for manager in managers(cluster, SYSTEM, gateway.name())? {
            ensure!(!manager.filters[0].contains("request-id"), "{manager:#?}");
        }
        // Envoy at the gateway replaces ids of clients; the sidecar keeps the id that the gateway sends,
        // and adds it to the response.
        let response = cluster.until("an id from the gateway", || {
            let response = gateway.get("/", &[AWS])?;
            let id = response.same_id()?;
            ensure!(id != DERIVED && is_uuid(id, '4'), "{response:?}");
            Ok(response)
        })?;
        let id = response.same_id()?;
        let line = sidecar_logged(cluster, &pod, id)?;
        ensure!(
            line["response_request_id"] == id && line["origin"] == "kept",
            "{line}"
        );
        check_outbound(cluster, &pod, plugin)
    })
}

/// Sends a request from the workload through its own sidecar, which adopts the AWS id.
fn check_outbound(cluster: &Cluster, pod: &Pod, plugin: &str) -> Result<()> {
    let path = format!("/outbound/{plugin}"); // which the log has once
    let head = cluster.run_line(&format!(
        "kubectl exec {} -c httpbin -- /usr/bin/curl -s -o /dev/null -D - -H {}:{} \
         http://istio-ingressgateway.istio-system.svc.cluster.local{path}",
        pod.name, AWS.0, AWS.1
    ))?;
    ensure!(
        head.contains(&format!("x-request-id: {DERIVED}\r\n")),
        "{head}"
    );
    let line = cluster.until("the request in the sidecar's log", || {
        let log = cluster.container_log("default", &pod.name, "istio-proxy")?;
        line_of(&log, "path", &path).context("no such line")
    })?;
    ensure!(
        line["request_id"] == DERIVED
            && line["response_request_id"] == DERIVED
            && line["origin"] == format!("adopted:{}", AWS.0),
        "{line}"
    );
    Ok(())
}

/// A patch for the gateway's plugin alone, as docs/deploy/istio.md describes it.
const PUBLIC: &str = r#"{
    "op": "replace",
    "path": "/spec/pluginConfig",
    "value": {"incoming": {"trust": "none"}, "log_origin": true}
}"#;

fn the_meshs_base_works_in_both_forms(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let (gateway, pod) = (Gateway::of(cluster)?, httpbin(cluster)?);
    in_both_forms(cluster, "mesh", |plugin| {
        runs_everywhere(cluster, SYSTEM, gateway.name(), plugin)?;
        runs_everywhere(cluster, "default", &pod.name, plugin)?;
        adopts(cluster, &gateway)?;
        check_gateway(cluster, &gateway)?;
        let response = gateway.get("/", &[])?;
        let line = sidecar_logged(cluster, &pod, response.same_id()?)?;
        ensure!(line["response_request_id"] == line["request_id"], "{line}");
        ensure!(line["origin"] == "kept", "{line}");
        check_outbound(cluster, &pod, plugin)
    })
}

fn the_meshs_base_works_beside_another_plugin_on_the_gateway(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    apply(cluster, "mesh")?;
    cluster.run_line(&format!(
        "kubectl -n {SYSTEM} patch wasmplugin request-id-mesh --type=merge --patch={}",
        r#"{"spec":{"priority":2147483646,"pluginConfig":{"log_origin":true}}}"#
    ))?;
    patch(cluster, &serde_json::from_str(PUBLIC)?)?;
    let replaced = cluster.until("an untrusted id that is replaced", || {
        let response = gateway.get("/", &[(ID, "stranger")])?;
        ensure!(is_uuid(response.same_id()?, '4'), "{response:?}");
        let filters = &managers(cluster, SYSTEM, gateway.name())?[0].filters;
        ensure!(
            filters[0].contains("request-id-gateway") && filters[1].contains("request-id-mesh"),
            "{filters:?}"
        );
        Ok(response)
    })?;
    let line = gateway.logged(cluster, replaced.same_id()?)?;
    ensure!(line["origin"] == "replaced:untrusted", "{line}");
    delete(cluster, "gateway")?;
    undeploy(cluster, "mesh")
}

fn one_base_leaves_the_others_alone(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let bases = ["gateway", "workload", "mesh", "waypoint"];
    for base in bases {
        apply(cluster, base)?;
    }
    for left in (0..bases.len()).rev() {
        delete(cluster, bases[left])?;
        for kind in ["wasmplugin", "envoyfilter"] {
            let all = cluster.get(&["-A", kind])?;
            let count = all["items"].as_array().context("no list")?.len();
            ensure!(
                count == left,
                "{} was deleted, {kind}: {count}",
                bases[left]
            );
        }
    }
    Ok(())
}

const WAYPOINT: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: default, labels: { istio.io/waypoint-for: service } }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
";

/// Envoy's own build lacks some of what a waypoint of Istio needs, so this checks the configuration that
/// istiod generates for it.
fn the_waypoints_base_works_in_both_forms(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    cluster.apply(WAYPOINT)?;
    cluster.run_line("kubectl label service httpbin istio.io/use-waypoint=waypoint --overwrite")?;
    in_both_forms(cluster, "waypoint", |plugin| {
        cluster.until("the waypoint's configuration", || {
            let listener = waypoint_listener(cluster)?;
            let managers = managers_of(&listener);
            ensure!(!managers.is_empty(), "no connection manager");
            managers
                .iter()
                .try_for_each(|manager| manager.check(plugin))
        })
    })?;
    cluster.run_line("kubectl label service httpbin istio.io/use-waypoint-")?;
    cluster.delete(WAYPOINT)
}

/// Asks istiod for the listener of the waypoint that serves its services.
fn waypoint_listener(cluster: &Cluster) -> Result<Value> {
    let labels = "gateway.networking.k8s.io/gateway-name=waypoint";
    let pods = cluster.get(&["pods", "-l", labels])?;
    let name = &pods["items"][0]["metadata"]["name"];
    let name = name.as_str().context("no waypoint")?;
    let istiod = cluster.pod(SYSTEM, "app=istiod")?;
    let dump = cluster.run_line(&format!(
        "kubectl -n {SYSTEM} exec {} -- pilot-discovery request GET /debug/config_dump?proxyID={name}.default",
        istiod.name
    ))?;
    let dump: Value = serde_json::from_str(&dump).with_context(|| dump.clone())?;
    let mut configs = dump["configs"]
        .as_array()
        .context("no configurations")?
        .iter();
    let listeners = configs
        .find(|config| config["@type"].to_string().contains(".ListenersConfigDump"))
        .context("no listeners")?;
    let listener = named(listeners, "main_internal").context("no listener main_internal")?;
    Ok(listener.clone())
}

fn local_replies_have_new_ids_or_none_with_the_components_for_that(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    // Envoy answers this request before any filter runs.
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "other"),
        (ID, "early-1"),
    ];
    gateway.get("/", &upgrade)?.require(403, "early-1")?;
    for (component, is_new) in [
        ("new-ids-in-local-replies", true),
        ("no-ids-in-local-replies", false),
    ] {
        apply_with(cluster, "gateway", component)?;
        cluster.until(component, || {
            let refused = gateway.get("/", &upgrade)?;
            let id = refused.id.as_deref();
            ensure!(
                id.is_some_and(|id| is_uuid(id, '4')) == is_new && id.is_none() != is_new,
                "{refused:?}"
            );
            Ok(())
        })?;
    }
    fs::remove_dir_all(cluster.path(istio::ADAPTED))?;
    deploy(cluster).map(drop)
}

const TELEMETRY: &str = "
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: tracing, namespace: istio-system }
spec:
  tracing:
  - providers: [{ name: collector }]
    randomSamplingPercentage: 100
";

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn a_telemetry_with_opentelemetry_keeps_a_callers_trace(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    // The base for the whole mesh: a sidecar without its settings would write Envoy's tracing decision
    // into the id.
    undeploy(cluster, "gateway")?;
    apply(cluster, "mesh")?;
    let gateway = Gateway::of(cluster)?;
    let workload = httpbin(cluster)?.name;
    runs_everywhere(cluster, "default", &workload, &of_wasm_plugin("mesh"))?;
    adopts(cluster, &gateway)?;
    cluster.apply(TELEMETRY)?;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let id = "0af7651916cd43dd8448eb211c80319c";
    cluster.until("a caller's sampled trace", || {
        let response = gateway.get("/", &[("traceparent", &parent), (ID, id)])?;
        ensure!(response.same_id()? == id, "{response:?}");
        let sent = &response.upstream["Traceparent"][0];
        let sent = sent.as_str().unwrap_or_default();
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
    undeploy(cluster, "mesh")
}

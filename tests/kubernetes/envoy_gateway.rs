//! The manifests for Envoy Gateway, with one Gateway and one route.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{CREDENTIALS, Cluster, Pod, Running};
use crate::components;
use crate::http::{self, AWS, DERIVED, ID, Response, is_uuid};
use crate::load::Load;
use crate::{World, admission, commands, tests};

tests![
    each_command_of_its_page_succeeds,
    every_request_has_one_id_and_all_policies_are_accepted,
    a_changed_configuration_loses_no_request,
    a_refused_configuration_leaves_the_running_one_in_force,
    an_image_that_cannot_be_fetched_removes_the_filter_and_shows_in_the_status,
    an_image_comes_from_a_private_registry_with_a_pull_secret_and_a_ca,
    the_component_reload_sets_fail_reload,
];

const NAMESPACE: &str = "envoy-gateway-system";
const PROXY: &str = "gateway.envoyproxy.io/owning-gateway-name=eg";
pub const APP: &str = include_str!("envoy-gateway-app.yaml");
const POLICY: [&str; 2] = ["envoyextensionpolicy", "request-id"];
const NAME_PROXY: &str = r#"--patch={"spec": {"infrastructure": {"parametersRef": {
    "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "request-id"}}}}"#;

pub struct EnvoyGateway;

impl EnvoyGateway {
    pub fn install(cluster: &Cluster) -> Result<Self> {
        let chart = components::folder().join("gateway-helm");
        let values = fs::read_to_string(chart.join("values.tmpl.yaml"))?
            .replace("${GatewayImage}", "docker.io/envoyproxy/gateway:v1.9.1")
            .replace("${GatewayImagePullPolicy}", "IfNotPresent");
        components::write(&chart.join("values.yaml"), values.as_bytes())?;
        admission::crds(cluster)?;
        let chart = chart.display().to_string();
        let options = format!(
            "--namespace {NAMESPACE} --create-namespace --skip-crds --wait --timeout 90s \
             --set config.envoyGateway.extensionApis.enableEnvoyPatchPolicy=true \
             --set config.envoyGateway.extensionApis.enableLua=true"
        );
        let options: Vec<_> = options.split(' ').collect();
        cluster.run("helm", &[&["install", "eg", &chart], &options[..]].concat())?;
        cluster.apply(APP)?;
        cluster.pod(NAMESPACE, PROXY)?;
        Ok(Self)
    }

    /// The proxy of the Gateway, once there is one alone.
    fn proxy(&self, cluster: &Cluster) -> Result<Pod> {
        cluster.pod(NAMESPACE, PROXY)
    }
}

pub fn send(proxy: &Pod, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let url = format!("http://{}:10080{path}", proxy.address);
    http::send_to_route(method, &url, headers)
}

fn get(proxy: &Pod, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    send(proxy, "GET", path, headers)
}

/// Puts the filter on the Gateway as it is shipped, and waits until it runs in the proxy.
pub fn deploy(cluster: &Cluster, gateway: &EnvoyGateway) -> Result<Pod> {
    let set = "perl -pi -e 's|oci://.*|oci://$ENV{IMAGE}|' envoy/gateway/*.yaml";
    cluster.run("bash", &["-c", set])?;
    cluster.run_line("kubectl apply -k envoy/gateway")?;
    cluster.kubectl(&["patch", "gateway", "eg", "--type=merge", NAME_PROXY])?;
    accepted(cluster)?;
    let proxy = gateway.proxy(cluster)?;
    adopts(cluster, &proxy)?;
    Ok(proxy)
}

fn adopts(cluster: &Cluster, proxy: &Pod) -> Result<()> {
    cluster.until("an adopted id", || {
        let response = get(proxy, "/", &[AWS])?;
        ensure!(response.same_id()? == DERIVED, "{response:?}");
        Ok(())
    })
}

/// Returns a condition of a policy.
pub fn condition(cluster: &Cluster, kind: &str, name: &str, condition: &str) -> Result<Value> {
    let policy = cluster.get(&[kind, name])?;
    let conditions = policy["status"]["ancestors"][0]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|known| known["type"] == condition);
    Ok(found
        .with_context(|| format!("{kind} {name} is not yet {condition}"))?
        .clone())
}

/// Waits until the policies are accepted.
fn accepted(cluster: &Cluster) -> Result<()> {
    for kind in ["envoyextensionpolicy", "clienttrafficpolicy"] {
        cluster.until(kind, || {
            let accepted = condition(cluster, kind, "request-id", "Accepted")?;
            ensure!(accepted["status"] == "True", "{accepted:#}");
            Ok(())
        })?;
    }
    Ok(())
}

fn each_command_of_its_page_succeeds(world: &World) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    // The load balancer of a cloud, which gives the Gateway an address.
    let services = cluster.get(&["-n", NAMESPACE, "services", "-l", PROXY])?;
    let service = services["items"][0]["metadata"]["name"]
        .as_str()
        .context("no Service")?;
    let ingress = r#"--patch={"status":{"loadBalancer":{"ingress":[{"ip":"10.244.0.1"}]}}}"#;
    cluster.run_line(&format!(
        "kubectl -n {NAMESPACE} patch service {service} --subresource=status --type=merge {ingress}"
    ))?;
    gateway.proxy(cluster)?;
    let _balancer = cluster.start_program(
        "load-balancer",
        "kubectl",
        &[
            "-n",
            NAMESPACE,
            "port-forward",
            "--address=10.244.0.1",
            &format!("service/{service}"),
            "80:80",
        ],
    )?;
    commands::run(cluster, "docs/deploy/envoy-gateway.md", &[])
}

fn every_request_has_one_id_and_all_policies_are_accepted(world: &World) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    let proxy = deploy(cluster, gateway)?;
    let generated = get(&proxy, "/", &[])?;
    ensure!(is_uuid(generated.same_id()?, '4'), "{generated:?}");
    let kept = get(&proxy, "/", &[(ID, "kept-1")])?;
    ensure!(kept.same_id()? == "kept-1", "{kept:?}");
    let replaced = get(&proxy, "/", &[(ID, "not valid")])?;
    ensure!(is_uuid(replaced.same_id()?, '4'), "{replaced:?}");
    let unavailable = get(&proxy, "/gone", &[(ID, "gone-1")])?;
    ensure!(
        unavailable.status >= 500 && unavailable.id.as_deref() == Some("gone-1"),
        "{unavailable:?}"
    );
    for (host, path) in [("other.example.com", "/"), ("other.example.com", "/any")] {
        let missing = get(&proxy, path, &[("host", host)])?;
        let id = missing.id.as_deref().unwrap_or_default();
        ensure!(missing.status == 404 && is_uuid(id, '4'), "{missing:?}");
    }
    Ok(())
}

/// The admin interface of a proxy.
pub struct Admin {
    _forward: Running,
}

impl Admin {
    pub fn start(cluster: &Cluster, proxy: &Pod) -> Result<Self> {
        let forward = cluster.start_program(
            "admin",
            "kubectl",
            &[
                "-n",
                NAMESPACE,
                "port-forward",
                &format!("pod/{}", proxy.name),
                "19900:19000",
            ],
        )?;
        let admin = Self { _forward: forward };
        cluster.until("the admin interface", || admin.get("/ready"))?;
        Ok(admin)
    }

    fn get(&self, path: &str) -> Result<String> {
        let answer = http::get(&format!("http://127.0.0.1:19900{path}"), &[])?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.body)
    }

    /// The HTTP filters of the listener in force, in order.
    pub fn filters(&self) -> Result<Vec<String>> {
        let dump: Value =
            serde_json::from_str(&self.get("/config_dump?resource=dynamic_listeners")?)?;
        let listeners = dump["configs"].as_array().context("no listeners")?;
        let listener = listeners
            .iter()
            .find(|listener| listener["name"] == "default/eg/http");
        let listener = &listener.context("no listener")?["active_state"]["listener"];
        let chain = if listener["filter_chains"].is_null() {
            &listener["default_filter_chain"]
        } else {
            &listener["filter_chains"][0]
        };
        let filters = chain["filters"].as_array().context("no filters")?;
        let manager = filters
            .iter()
            .find(|filter| !filter["typed_config"]["http_filters"].is_null());
        let filters = &manager.context("no connection manager")?["typed_config"]["http_filters"];
        let names = filters.as_array().context("no HTTP filters")?.iter();
        Ok(names
            .filter_map(|filter| filter["name"].as_str().map(Into::into))
            .collect())
    }
}

fn configure(cluster: &Cluster, configuration: &Value) -> Result<()> {
    patch(cluster, "config", configuration)
}

/// Replaces a value of our entry in the policy.
fn patch(cluster: &Cluster, path: &str, value: &Value) -> Result<()> {
    let patch = json!([{"op": "replace", "path": format!("/spec/wasm/0/{path}"), "value": value}]);
    let patch = format!("--patch={patch}");
    cluster
        .kubectl(&[&["patch"], &POLICY[..], &["--type=json", &patch]].concat())
        .map(drop)
}

fn a_changed_configuration_loses_no_request(world: &World) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    let proxy = deploy(cluster, gateway)?;
    let load = Load::start({
        let proxy = proxy.clone();
        move || get(&proxy, "/", &[])
    });
    configure(cluster, &json!({"generate": "hex32"}))?;
    cluster.until("an id of the new form", || {
        let response = get(&proxy, "/", &[])?;
        ensure!(response.same_id()?.len() == 32, "{response:?}");
        Ok(())
    })?;
    load.stop()?;
    configure(cluster, &json!({"log_origin": true}))
}

fn a_refused_configuration_leaves_the_running_one_in_force(world: &World) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    let proxy = deploy(cluster, gateway)?;
    configure(cluster, &json!({"generate": "uuid9"}))?;
    let refusal = "configuration refused: generate: found \"uuid9\"";
    cluster.wait_for_log(NAMESPACE, &proxy.name, "envoy", refusal)?;
    adopts(cluster, &proxy)?;
    let accepted = condition(cluster, POLICY[0], POLICY[1], "Accepted")?;
    ensure!(
        accepted["status"] == "True",
        "a refusal shows in the status now: {accepted:#}"
    );
    // A proxy that starts with it serves without the filter.
    cluster.run_line(&format!(
        "kubectl -n {NAMESPACE} delete pod {} --grace-period=1",
        proxy.name
    ))?;
    let started = gateway.proxy(cluster)?;
    let response = cluster.until("an answer of the new proxy", || {
        let response = get(&started, "/", &[(ID, "not valid")])?;
        ensure!(response.status == 200, "{response:?}");
        Ok(response)
    })?;
    ensure!(
        response.upstream["X-Request-Id"][0] == "not valid",
        "{response:?}"
    );
    configure(cluster, &json!({"log_origin": true}))?;
    adopts(cluster, &started)
}

fn an_image_that_cannot_be_fetched_removes_the_filter_and_shows_in_the_status(
    world: &World,
) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    let proxy = deploy(cluster, gateway)?;
    let missing = format!(
        "oci://registry.example.com/you/request-id-filter@sha256:{}",
        "0".repeat(64)
    );
    patch(cluster, "code/image/url", &missing.into())?;
    cluster.until("the cause in the policy's status", || {
        let accepted = condition(cluster, POLICY[0], POLICY[1], "Accepted")?;
        ensure!(
            accepted["status"] == "False" && accepted["reason"] == "Invalid",
            "{accepted:#}"
        );
        let message = accepted["message"].as_str().unwrap_or_default();
        ensure!(message.contains("MANIFEST_UNKNOWN"), "{accepted:#}");
        Ok(())
    })?;
    // The running proxy loses the filter.
    cluster.until("a request without the filter", || {
        let response = get(&proxy, "/", &[(ID, "not valid")])?;
        ensure!(
            response.upstream["X-Request-Id"][0] == "not valid",
            "{response:?}"
        );
        Ok(())
    })?;
    patch(
        cluster,
        "code/image/url",
        &format!("oci://{}", cluster.image()).into(),
    )?;
    accepted(cluster)?;
    adopts(cluster, &proxy)
}

fn an_image_comes_from_a_private_registry_with_a_pull_secret_and_a_ca(world: &World) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    let proxy = deploy(cluster, gateway)?;
    let registry = "private.example.com:8443";
    let url = format!("oci://{registry}/you/request-id-filter@{}", cluster.digest);
    let ca = json!({"group": "", "kind": "ConfigMap", "name": "registry-ca"});
    let certificate = cluster.path("registry.crt").display().to_string();
    let from_file = format!("--from-file=ca.crt={certificate}");
    cluster.kubectl(&["create", "configmap", "registry-ca", &from_file])?;
    let mut image = json!({"url": url, "tls": {"caCertificateRef": ca}});
    patch(cluster, "code/image", &image)?;
    cluster.until("the refusal without a pull secret", || {
        let accepted = condition(cluster, POLICY[0], POLICY[1], "Accepted")?;
        let message = accepted["message"].as_str().unwrap_or_default();
        ensure!(
            accepted["status"] == "False" && message.contains("UNAUTHORIZED"),
            "{accepted:#}"
        );
        Ok(())
    })?;
    let (user, password) = CREDENTIALS;
    cluster.run_line(&format!(
        "kubectl create secret docker-registry registry --docker-server={registry} \
         --docker-username={user} --docker-password={password}"
    ))?;
    image["pullSecretRef"] = json!({"name": "registry"});
    patch(cluster, "code/image", &image)?;
    accepted(cluster)?;
    adopts(cluster, &proxy)?;
    let public = json!({"url": format!("oci://{}", cluster.image())});
    patch(cluster, "code/image", &public)?;
    cluster.run_line("kubectl delete secret/registry configmap/registry-ca")?;
    accepted(cluster)?;
    adopts(cluster, &proxy)
}

fn the_component_reload_sets_fail_reload(world: &World) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    let proxy = deploy(cluster, gateway)?;
    let kustomization = "
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: default
resources: [../gateway]
components: [../gateway/reload]
";
    components::write(
        &cluster.path("envoy/with-reload/kustomization.yaml"),
        kustomization.as_bytes(),
    )?;
    cluster.kubectl(&["apply", "-k", "envoy/with-reload"])?;
    cluster.until("the patch", || {
        let programmed = condition(cluster, "envoypatchpolicy", "request-id", "Programmed")?;
        ensure!(programmed["status"] == "True", "{programmed:#}");
        Ok(())
    })?;
    let admin = Admin::start(cluster, &proxy)?;
    cluster.until("FAIL_RELOAD", || {
        let dump = admin.get("/config_dump?resource=dynamic_listeners")?;
        ensure!(
            dump.contains("\"failure_policy\": \"FAIL_RELOAD\""),
            "not in the listener"
        );
        Ok(())
    })?;
    adopts(cluster, &proxy)?;
    cluster.kubectl(&["delete", "envoypatchpolicy", "request-id"])?;
    cluster.kubectl(&["apply", "-k", "envoy/gateway"])?;
    cluster.until("the end of FAIL_RELOAD", || {
        let dump = admin.get("/config_dump?resource=dynamic_listeners")?;
        ensure!(!dump.contains("FAIL_RELOAD"), "still in the listener");
        Ok(())
    })
}

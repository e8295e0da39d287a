//! The manifests for Envoy Gateway, with one Gateway and one route.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Pod, Running};
use crate::components;
use crate::http::{self, ID, Response, is_uuid};
use crate::load::Load;
use crate::{Test, World, admission, commands};

pub const TESTS: &[Test] = &[
    (
        "envoy gateway: each command of docs/deploy/envoy-gateway.md succeeds",
        deployment_commands,
    ),
    (
        "envoy gateway: every request has one id, all policies are accepted",
        ids,
    ),
    (
        "envoy gateway: the filter is first, whichever policy stands beside it",
        first,
    ),
    (
        "envoy gateway: a changed configuration loses no request",
        live_change,
    ),
    (
        "envoy gateway: a refused configuration leaves the running one in force",
        refused,
    ),
    (
        "envoy gateway: an image that cannot be fetched",
        missing_image,
    ),
    (
        "envoy gateway: FAIL_RELOAD by the component `reload`",
        reload,
    ),
];

const NAMESPACE: &str = "envoy-gateway-system";
const PROXY: &str = "gateway.envoyproxy.io/owning-gateway-name=eg";
const APP: &str = include_str!("envoy-gateway-app.yaml");
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
        cluster.run(
            "helm",
            &[
                "install",
                "eg",
                &chart.display().to_string(),
                "--namespace",
                NAMESPACE,
                "--create-namespace",
                "--skip-crds",
                "--wait",
                "--timeout",
                "90s",
                "--set",
                "config.envoyGateway.extensionApis.enableEnvoyPatchPolicy=true",
            ],
        )?;
        cluster.apply(APP)?;
        cluster.pod(NAMESPACE, PROXY)?;
        Ok(Self)
    }

    /// The proxy of the Gateway, once there is one alone.
    fn proxy(&self, cluster: &Cluster) -> Result<Pod> {
        cluster.pod(NAMESPACE, PROXY)
    }
}

/// Sends a request to the proxy.
fn send(proxy: &Pod, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let named = headers.iter().any(|(name, _)| *name == "host");
    let host: &[_] = if named {
        &[]
    } else {
        &[("host", "www.example.com")]
    };
    let url = format!("http://{}:10080{path}", proxy.address);
    http::send(method, &url, &[host, headers].concat())
}

fn get(proxy: &Pod, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    send(proxy, "GET", path, headers)
}

/// An id as AWS sends it, and what is derived from it.
const AWS: (&str, &str) = ("x-amzn-requestid", "4B4NGF0EAWN0GE63");
const DERIVED: &str = "37be84ba-5e55-5531-9cda-bc301b676303";

/// Puts the filter on the Gateway as it is shipped, and waits until it runs in the proxy.
pub fn deploy(cluster: &Cluster, gateway: &EnvoyGateway) -> Result<Pod> {
    cluster.run(
        "bash",
        &[
            "-c",
            "perl -pi -e 's|oci://.*|oci://$ENV{IMAGE}|' envoy/gateway/*.yaml",
        ],
    )?;
    cluster.kubectl(&["apply", "-k", "envoy/gateway"])?;
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

/// The condition of a policy.
fn condition(cluster: &Cluster, kind: &str, name: &str, condition: &str) -> Result<Value> {
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

fn deployment_commands(world: &World) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    // The load balancer of a cloud, which gives the Gateway an address.
    let services = cluster.get(&["-n", NAMESPACE, "services", "-l", PROXY])?;
    let service = services["items"][0]["metadata"]["name"]
        .as_str()
        .context("no Service")?;
    let ingress = r#"--patch={"status": {"loadBalancer": {"ingress": [{"ip": "10.244.0.1"}]}}}"#;
    cluster.kubectl(&[
        "-n",
        NAMESPACE,
        "patch",
        "service",
        service,
        "--subresource=status",
        "--type=merge",
        ingress,
    ])?;
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

fn ids(world: &World) -> Result<()> {
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

/// Another policy for the Gateway.
struct Other {
    kind: &'static str,
    spec: &'static str,
    /// The name that its filter has in Envoy's configuration.
    filter: &'static str,
    denied: Option<Denied>,
}

/// A request that a policy denies: its method, its headers, and the status of the response.
type Denied = (&'static str, &'static [(&'static str, &'static str)], u16);

const OTHERS: [Other; 12] = [
    other(
        "SecurityPolicy",
        "csrf: {additionalOrigins: ['https://trusted.example.com']}",
        "csrf",
        Some(("POST", &[("origin", "https://evil.example.com")], 403)),
    ),
    other(
        "SecurityPolicy",
        "cors: {allowOrigins: ['https://app.example.com'], allowMethods: [GET]}",
        "cors",
        Some((
            "OPTIONS",
            &[
                ("origin", "https://app.example.com"),
                ("access-control-request-method", "GET"),
            ],
            200,
        )),
    ),
    other(
        "SecurityPolicy",
        "basicAuth: {users: {name: users}}",
        "basic_auth",
        Some(("GET", &[], 401)),
    ),
    other(
        "SecurityPolicy",
        "apiKeyAuth: {credentialRefs: [{name: keys}], extractFrom: [{headers: [x-api-key]}]}",
        "api_key_auth",
        Some(("GET", &[], 401)),
    ),
    other(
        "SecurityPolicy",
        "jwt: {providers: [{name: example, issuer: https://issuer.example.com, \
         localJWKS: {type: Inline, inline: '{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\", \"y\": \"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}]}'}}]}",
        "jwt_authn",
        Some(("GET", &[("authorization", "Bearer not-a-token")], 401)),
    ),
    other(
        "SecurityPolicy",
        "extAuth: {http: {backendRefs: [{name: backend, port: 8000}]}}",
        "ext_authz",
        None,
    ),
    other(
        "SecurityPolicy",
        "oidc: {clientID: you, clientSecret: {name: oidc}, redirectURL: https://www.example.com/back, \
         provider: {issuer: https://issuer.example.com, authorizationEndpoint: https://issuer.example.com/auth, \
         tokenEndpoint: https://issuer.example.com/token}}",
        "oauth2",
        Some(("GET", &[], 302)),
    ),
    other(
        "SecurityPolicy",
        "authorization: {defaultAction: Deny}",
        "rbac",
        Some(("GET", &[], 403)),
    ),
    other(
        "BackendTrafficPolicy",
        "faultInjection: {abort: {httpStatus: 418, percentage: 100}}",
        "fault",
        Some(("GET", &[], 418)),
    ),
    other(
        "BackendTrafficPolicy",
        "rateLimit: {type: Local, local: {rules: [{limit: {requests: 1, unit: Hour}}]}}",
        "local_ratelimit",
        None,
    ),
    other(
        "BackendTrafficPolicy",
        "requestBuffer: {limit: 1Ki}",
        "buffer",
        None,
    ),
    other(
        "BackendTrafficPolicy",
        "responseOverride: [{match: {statusCodes: [{type: Value, value: 503}]}, \
         response: {body: {type: Inline, inline: gone}}}]",
        "custom_response",
        None,
    ),
];

const fn other(
    kind: &'static str,
    spec: &'static str,
    filter: &'static str,
    denied: Option<Denied>,
) -> Other {
    Other {
        kind,
        spec,
        filter,
        denied,
    }
}

/// Whether a filter of that kind is in a chain.
fn has(chain: &[String], filter: &str) -> bool {
    let kind = format!("envoy.filters.http.{filter}");
    chain
        .iter()
        .any(|name| name.split('/').next() == Some(&kind))
}

fn first(world: &World) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    let proxy = deploy(cluster, gateway)?;
    let admin = Admin::start(cluster, &proxy)?;
    for other in OTHERS {
        let policy = format!(
            "{{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: {}, metadata: {{name: other, namespace: default}}, \
             spec: {{targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: eg}}], {}}}}}",
            other.kind, other.spec
        );
        cluster.apply(&policy)?;
        let chain = cluster.until(other.filter, || {
            let chain = admin.filters()?;
            let is_there = has(&chain, other.filter);
            let status = condition(cluster, other.kind, "other", "Accepted");
            ensure!(is_there, "{chain:?}, {status:#?}");
            Ok(chain)
        })?;
        ensure!(
            chain[0].starts_with("envoy.filters.http.wasm/"),
            "{chain:?}"
        );
        if let Some((method, headers, status)) = other.denied {
            cluster.until(&format!("the denial by {}", other.filter), || {
                let denied = send(
                    &proxy,
                    method,
                    "/",
                    &[headers, &[(ID, "denied-1")]].concat(),
                )?;
                ensure!(denied.status == status, "{denied:?}");
                ensure!(denied.id.as_deref() == Some("denied-1"), "{denied:?}");
                Ok(())
            })?;
        }
        cluster.delete(&policy)?;
        cluster.until("the end of the policy", || {
            let chain = admin.filters()?;
            ensure!(!has(&chain, other.filter), "{chain:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// The admin interface of a proxy.
struct Admin {
    _forward: Running,
}

impl Admin {
    fn start(cluster: &Cluster, proxy: &Pod) -> Result<Self> {
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
    fn filters(&self) -> Result<Vec<String>> {
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

fn live_change(world: &World) -> Result<()> {
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

fn refused(world: &World) -> Result<()> {
    let (cluster, gateway) = (world.cluster()?, world.envoy_gateway()?);
    let proxy = deploy(cluster, gateway)?;
    configure(cluster, &json!({"generate": "uuid9"}))?;
    cluster.until("the refusal in the proxy's log", || {
        let log = cluster.container_log(NAMESPACE, &proxy.name, "envoy")?;
        ensure!(
            log.contains("configuration refused: generate: found \"uuid9\""),
            "no refusal"
        );
        Ok(())
    })?;
    adopts(cluster, &proxy)?;
    let accepted = condition(cluster, POLICY[0], POLICY[1], "Accepted")?;
    ensure!(
        accepted["status"] == "True",
        "a refusal shows in the status now: {accepted:#}"
    );
    // A proxy that starts with it serves without the filter.
    cluster.kubectl(&[
        "-n",
        NAMESPACE,
        "delete",
        "pod",
        &proxy.name,
        "--grace-period=1",
    ])?;
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

fn missing_image(world: &World) -> Result<()> {
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

fn reload(world: &World) -> Result<()> {
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

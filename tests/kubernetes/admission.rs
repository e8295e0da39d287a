//! The policy in `envoy/kubernetes/`: the real API server accepts a configuration in a manifest exactly
//! if the filter accepts it.

use std::collections::BTreeSet;
use std::thread;

use anyhow::{Context, Result, ensure};
use request_id_configuration as configuration;
use serde_json::{Value, json};
use test_support::kustomize::{self, IMAGE};
use test_support::{cases, configuration_pool};
use ureq::Agent;

use crate::cluster::{Cluster, Running};
use crate::components;
use crate::{World, tests};

tests![
    the_policy_decides_about_each_configuration_as_the_filter_does,
    a_message_says_where_what_was_found_and_what_is_allowed,
    other_plugins_may_have_any_configuration,
    a_resource_from_before_the_policy_can_be_labelled_and_deleted,
    each_base_is_what_its_files_say_and_is_accepted,
];

const POLICY: &str = "envoy/kubernetes/policy.yaml";

/// A resource that has a configuration of the filter.
#[derive(Clone, Copy, Debug)]
enum Kind {
    WasmPlugin,
    TrafficExtension,
    EnvoyExtensionPolicy,
}

const KINDS: [Kind; 3] = [
    Kind::WasmPlugin,
    Kind::TrafficExtension,
    Kind::EnvoyExtensionPolicy,
];

impl Kind {
    /// The path of such resources in the API.
    fn path(self) -> &'static str {
        match self {
            Self::WasmPlugin => "extensions.istio.io/v1alpha1/namespaces/default/wasmplugins",
            Self::TrafficExtension => {
                "extensions.istio.io/v1alpha1/namespaces/default/trafficextensions"
            }
            Self::EnvoyExtensionPolicy => {
                "gateway.envoyproxy.io/v1alpha1/namespaces/default/envoyextensionpolicies"
            }
        }
    }

    /// The field that holds the configuration.
    fn place(self) -> &'static str {
        match self {
            Self::WasmPlugin => "spec.pluginConfig",
            Self::TrafficExtension => "spec.wasm.pluginConfig",
            Self::EnvoyExtensionPolicy => "spec.wasm[0].config",
        }
    }

    fn resource(self, image: &str, configuration: &Value) -> Value {
        let (group, spec) = match self {
            Self::WasmPlugin => (
                "extensions.istio.io",
                json!({"url": format!("oci://{image}"), "pluginConfig": configuration}),
            ),
            Self::TrafficExtension => (
                "extensions.istio.io",
                json!({"wasm": {"url": format!("oci://{image}"), "pluginConfig": configuration}}),
            ),
            Self::EnvoyExtensionPolicy => (
                "gateway.envoyproxy.io",
                json!({
                    "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "eg"}],
                    "wasm": [{
                        "name": "request-id",
                        "code": {"type": "Image", "image": {"url": image}},
                        "config": configuration,
                    }],
                }),
            ),
        };
        json!({
            "apiVersion": format!("{group}/v1alpha1"),
            "kind": format!("{self:?}"),
            "metadata": {"name": "request-id", "namespace": "default"},
            "spec": spec,
        })
    }
}

/// The API server without TLS, through `kubectl proxy`.
struct Api {
    _proxy: Running,
    agent: Agent,
}

impl Api {
    fn start(cluster: &Cluster) -> Result<Self> {
        let proxy = cluster.start_program("kubectl-proxy", "kubectl", &["proxy", "--port=8001"])?;
        let config = Agent::config_builder().http_status_as_error(false).build();
        let api = Self {
            _proxy: proxy,
            agent: Agent::new_with_config(config),
        };
        cluster.until("kubectl proxy", || {
            let mut response = api.agent.get("http://127.0.0.1:8001/readyz").call()?;
            ensure!(response.body_mut().read_to_string()? == "ok");
            Ok(())
        })?;
        Ok(api)
    }

    /// Returns the reason why a resource would be refused, or nothing. Creates nothing (a dry run).
    fn refusal(&self, kind: Kind, resource: &Value) -> Result<Option<String>> {
        let url = format!(
            "http://127.0.0.1:8001/apis/{}?dryRun=All&fieldValidation=Strict",
            kind.path()
        );
        let request = self
            .agent
            .post(&url)
            .header("content-type", "application/json");
        let mut response = request.send(resource.to_string())?;
        let status = response.status().as_u16();
        let answer = response.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
        match status {
            201 => Ok(None),
            _ => Ok(Some(
                answer["message"].as_str().context("no message")?.into(),
            )),
        }
    }
}

/// Applies the policy, and waits until it is in force.
fn enforce(cluster: &Cluster) -> Result<Api> {
    crds(cluster)?;
    cluster.kubectl(&["apply", "-f", POLICY])?;
    until_it_refuses(cluster, true)
}

/// Deletes the policy, and waits until it is no longer in force.
fn lift(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["delete", "--ignore-not-found", "-f", POLICY])?;
    until_it_refuses(cluster, false).map(drop)
}

/// Waits until the API server refuses an invalid configuration of each kind, or until it refuses none.
fn until_it_refuses(cluster: &Cluster, is_refused: bool) -> Result<Api> {
    let api = Api::start(cluster)?;
    let invalid = json!({"generate": "uuid9"});
    cluster.until("the policy, or its end", || {
        for kind in KINDS {
            let refusal = api.refusal(kind, &kind.resource(IMAGE, &invalid))?;
            ensure!(refusal.is_some() == is_refused, "{kind:?}: {refusal:?}");
        }
        Ok(())
    })?;
    Ok(api)
}

/// Installs the definitions of all resources in the manifests.
pub fn crds(cluster: &Cluster) -> Result<()> {
    let folder = components::folder();
    let charts = folder.join("gateway-helm/charts/crds/crds");
    let files = [
        folder.join("istio-crds.yaml"),
        charts.join("gatewayapi-crds.yaml"),
        charts.join("generated"),
    ];
    for file in files {
        let file = file.display().to_string();
        cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file])?;
    }
    let wait = "kubectl wait --for=condition=Established crd --all --timeout=60s";
    cluster.run_line(wait).map(drop)
}

/// Returns the configurations of the table of cases and of the schema's test that a manifest can hold:
/// objects without duplicate keys.
fn configurations() -> Result<Vec<Value>> {
    let texts: BTreeSet<_> = cases::all().iter().map(|case| case.config).collect();
    let mut all = configuration_pool::configurations();
    for text in texts.into_iter().filter(|text| !text.trim().is_empty()) {
        let configuration: Value = serde_json::from_str(text).with_context(|| text.to_owned())?;
        ensure!(configuration.is_object(), "{text}");
        all.push(configuration);
    }
    all.extend(
        CONTRADICTIONS
            .iter()
            .filter_map(|text| serde_json::from_str(text).ok()),
    );
    Ok(all)
}

/// Settings that contradict each other, and others that nearly do.
const CONTRADICTIONS: [&str; 22] = [
    r#"{"header": "X-Id", "incoming": {"original": "x-iD"}}"#,
    r#"{"header": "x-id", "adopt": {"from": ["aws", "X-ID"]}}"#,
    r#"{"header": "x-id", "adopt": {"from": ["X-Request-Id"]}}"#,
    r#"{"incoming": {"original": "x-amzn-requestid"}}"#,
    r#"{"incoming": {"original": "X-Amzn-Remapped-X-Amz-Request-Id"}}"#,
    r#"{"incoming": {"original": "x-amzn-requestid"}, "adopt": {"from": []}}"#,
    r#"{"incoming": {"original": "x-amzn-trace-id"}}"#,
    r#"{"incoming": {"original": "x-b"}, "adopt": {"from": ["x-a", "x-b"]}}"#,
    r#"{"header": "x-amzn-requestid", "incoming": {"original": "x-amzn-requestid"}}"#,
    r#"{"incoming": {"on_invalid": "reject", "max_length": 35}}"#,
    r#"{"incoming": {"on_invalid": "reject", "max_length": 36}}"#,
    r#"{"incoming": {"on_invalid": "reject", "max_length": 32}, "generate": "hex32"}"#,
    r#"{"incoming": {"on_invalid": "reject", "max_length": 32}, "generate": "hex32", "adopt": {"from": []}}"#,
    r#"{"incoming": {"on_invalid": "reject", "max_length": 31}, "generate": "hex32", "adopt": {"from": []}}"#,
    r#"{"incoming": {"on_invalid": "reject", "accept": "uuid"}, "generate": "hex32"}"#,
    r#"{"incoming": {"on_invalid": "replace", "accept": "uuid"}, "generate": "hex32"}"#,
    r#"{"incoming": {"on_invalid": "reject", "accept": "uuid"}, "adopt": {"non_uuid": "verbatim"}}"#,
    r#"{"incoming": {"on_invalid": "reject", "accept": "uuid"}, "adopt": {"non_uuid": "verbatim", "from": []}}"#,
    r#"{"incoming": {"on_invalid": "reject", "accept": "uuid"}, "adopt": {"non_uuid": "verbatim", "from": ["x-amzn-trace-id"]}}"#,
    r#"{"incoming": {"on_invalid": "reject", "accept": "uuid"}, "adopt": {"from": ["Traceparent"]}}"#,
    r#"{"incoming": {"on_invalid": "reject"}, "adopt": {"from": ["traceparent"]}}"#,
    r#"{"incoming": {"on_invalid": "reject", "accept": "uuid"}}"#,
];

fn the_policy_decides_about_each_configuration_as_the_filter_does(world: &World) -> Result<()> {
    let api = enforce(world.cluster()?)?;
    let configurations = configurations()?;
    for kind in KINDS {
        let part = configurations.len().div_ceil(4);
        let judged: Result<Vec<_>> = thread::scope(|scope| {
            let threads: Vec<_> = configurations
                .chunks(part)
                .map(|part| scope.spawn(|| judge(&api, kind, part)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no thread panics"))
                .collect()
        });
        let (accepted, refused) = judged?
            .into_iter()
            .fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        println!("{kind:?}: {accepted} accepted, {refused} refused");
        ensure!(accepted > 300 && refused > 2000, "{accepted} {refused}");
    }
    Ok(())
}

/// Returns how many configurations both the filter and the policy accept, and how many both refuse.
fn judge(api: &Api, kind: Kind, configurations: &[Value]) -> Result<(usize, usize)> {
    let (mut accepted, mut refused) = (0, 0);
    for configuration in configurations {
        let refusal = api.refusal(kind, &kind.resource(IMAGE, configuration))?;
        match (
            configuration::read(configuration.to_string().as_bytes()),
            refusal,
        ) {
            (Ok(_), None) => accepted += 1,
            (Err(problems), Some(message)) => {
                ensure!(
                    message.contains("ValidatingAdmissionPolicy 'request-id-filter'"),
                    "{message}"
                );
                let problem = problems[0].to_string();
                let path = problem
                    .split_once(": ")
                    .context("the problem has no path")?
                    .0;
                // The policy shows a key unchanged, except for characters that a terminal would act on.
                if path.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains('\\') {
                    let place = format!("{}.{path}: ", kind.place());
                    ensure!(message.contains(&place), "no {place} in: {message}");
                }
                refused += 1;
            }
            (filter, policy) => {
                let filter = filter.map(|accepted| accepted.effective);
                ensure!(
                    false,
                    "{kind:?} with {configuration}\n the filter: {filter:?}\n the API server: {policy:?}"
                );
            }
        }
    }
    Ok((accepted, refused))
}

fn a_message_says_where_what_was_found_and_what_is_allowed(world: &World) -> Result<()> {
    let cluster = world.cluster()?;
    enforce(cluster)?;
    let configuration = json!({
        "incoming": {"max_lenght": 64, "trust": ["10.0.0.0/8", "10.0.0.300"]},
        "log_origin": "yes \u{1b}[31mplease\n",
    });
    let resource = Kind::WasmPlugin.resource(IMAGE, &configuration);
    let output = cluster.try_feed(&["apply", "-f", "-"], &resource.to_string())?;
    ensure!(!output.status.success(), "the API server accepts it");
    let message = String::from_utf8_lossy(&output.stderr);
    for part in [
        "The wasmplugins \"request-id\" is invalid",
        "spec.pluginConfig.incoming.max_lenght: unknown key, with 64; allowed: trust, accept, ",
        "spec.pluginConfig.incoming.trust[1]: found \"10.0.0.300\"; allowed: an IPv4 or IPv6 address, ",
        "spec.pluginConfig.log_origin: found \"yes ?[31mplease\\n\"; allowed: true or false",
    ] {
        ensure!(message.contains(part), "no {part:?} in {message:?}");
    }
    Ok(())
}

fn other_plugins_may_have_any_configuration(world: &World) -> Result<()> {
    let api = enforce(world.cluster()?)?;
    let refused = json!({"generate": "uuid9"});
    for (image, is_ours) in [
        ("registry.example.com/request-id-filter-ui:1.0", false),
        ("registry.example.com/http-request-id-filter:1.0", false),
        ("registry.example.com/basic-auth:1.0", false),
        ("request-id-filter:latest", true),
        ("registry.example.com:5000/you/request-id-filter", true),
        ("registry.example.com/request-id-filter-v1.2.3:tag", true),
    ] {
        for kind in KINDS {
            let refusal = api.refusal(kind, &kind.resource(image, &refused))?;
            ensure!(refusal.is_some() == is_ours, "{image}: {refusal:?}");
        }
    }
    // The other plugin of one resource has a configuration of its own.
    let kind = Kind::EnvoyExtensionPolicy;
    let mut resource = kind.resource("registry.example.com/basic-auth:1.0", &refused);
    let mut ours = kind.resource(IMAGE, &json!({}))["spec"]["wasm"][0].take();
    ours["name"] = "second".into();
    resource["spec"]["wasm"]
        .as_array_mut()
        .context("no list")?
        .push(ours);
    ensure!(api.refusal(kind, &resource)?.is_none());
    resource["spec"]["wasm"][1]["config"] = refused;
    let refusal = api
        .refusal(kind, &resource)?
        .context("the API server accepts it")?;
    ensure!(
        refusal.contains("spec.wasm[1].config.generate: found \"uuid9\""),
        "{refusal}"
    );
    Ok(())
}

fn a_resource_from_before_the_policy_can_be_labelled_and_deleted(world: &World) -> Result<()> {
    let cluster = world.cluster()?;
    crds(cluster)?;
    lift(cluster)?;
    let resource = Kind::WasmPlugin.resource(IMAGE, &json!({"generate": "uuid9"}));
    cluster.feed(&["create", "-f", "-"], &resource.to_string())?;
    enforce(cluster)?;
    let name = ["wasmplugin", "request-id"];
    cluster.kubectl(&[&["label"], &name[..], &["team=edge"]].concat())?;
    let patch = [r#"--patch={"spec": {"phase": "AUTHN"}}"#, "--type=merge"];
    let patched = cluster.kubectl(&[&["patch"], &name[..], &patch].concat());
    ensure!(patched.is_err(), "a changed spec is accepted");
    cluster
        .kubectl(&[&["delete"], &name[..]].concat())
        .map(drop)
}

/// kubectl makes of each base what is in its files, and the API server accepts it with the policy in force.
fn each_base_is_what_its_files_say_and_is_accepted(world: &World) -> Result<()> {
    let cluster = world.cluster()?;
    enforce(cluster)?;
    for namespace in ["istio-system", "higress-system"] {
        let _ = cluster.kubectl(&["create", "namespace", namespace]);
    }
    for base in kustomize::all() {
        let mut made: Vec<Value> =
            serde_saphyr::from_multiple(&cluster.kubectl(&["kustomize", &base.path])?)?;
        let mut expected = base.resources;
        for resources in [&mut made, &mut expected] {
            resources.sort_by_key(|resource| resource["kind"].to_string());
        }
        ensure!(made == expected, "{}: {made:#?}", base.path);
        for resource in made {
            let resource = as_istio(resource).to_string();
            cluster.feed(&["apply", "--dry-run=server", "-f", "-"], &resource)?;
        }
    }
    for broken in BROKEN {
        let output = cluster.try_feed(&["apply", "--dry-run=server", "-f", "-"], broken)?;
        ensure!(
            !output.status.success(),
            "the API server accepts:\n{broken}"
        );
    }
    lift(cluster)
}

/// The definitions of Higress are in no Go module. They are Istio's with more, of which we use one key.
fn as_istio(mut resource: Value) -> Value {
    if resource["apiVersion"] == "extensions.higress.io/v1alpha1" {
        resource["apiVersion"] = "extensions.istio.io/v1alpha1".into();
        if let Some(spec) = resource["spec"].as_object_mut()
            && let Some(configuration) = spec.remove("defaultConfig")
        {
            spec.insert("pluginConfig".into(), configuration);
        }
    }
    resource
}

/// Manifests with typing errors, which show that the API server does refuse some.
const BROKEN: [&str; 4] = [
    "{apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {name: x}, \
     spec: {url: 'oci://x', failStrategy: FAIL_RELAOD}}",
    "{apiVersion: extensions.istio.io/v1alpha1, kind: WasmPlugin, metadata: {name: x}, \
     spec: {url: 'oci://x', phaze: AUTHN}}",
    "{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: ClientTrafficPolicy, metadata: {name: x}, \
     spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: eg}], headers: {requestID: Keep}}}",
    "{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: EnvoyProxy, metadata: {name: x}, \
     spec: {filterOrder: [{name: envoy.filters.http.wasm, before: envoy.filters.http.first}]}}",
];

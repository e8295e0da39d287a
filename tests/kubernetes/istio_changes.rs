//! What happens at the gateway when a configuration or an image changes, and when they are wrong.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{CREDENTIALS, Cluster, Pod};
use crate::http;
use crate::istio::{Gateway, SYSTEM, adopts, deploy, undeploy};
use crate::load::Load;
use crate::{World, tests};

tests![
    changed_configurations_lose_no_request,
    a_refused_configuration_keeps_the_listener_as_it_is_until_it_is_repaired,
    a_proxy_that_starts_with_a_refused_configuration_answers_500,
    an_image_that_cannot_be_fetched_closes_the_gateway_until_another_can,
    an_image_comes_from_a_private_registry,
];

/// The arguments that name the gateway's plugin to kubectl.
pub const PLUGIN: [&str; 4] = ["-n", SYSTEM, "wasmplugin", "request-id-gateway"];

fn changed_configurations_lose_no_request(world: &World) -> Result<()> {
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

/// Waits until a proxy has refused its configuration and istiod has counted that.
fn refusals(cluster: &Cluster, proxy: &Pod) -> Result<()> {
    let refusal = "configuration refused: generate: found \"uuid9\"";
    cluster.wait_for_log(SYSTEM, &proxy.name, "istio-proxy", refusal)?;
    let istiod = cluster.pod(SYSTEM, "app=istiod")?;
    cluster.until("the refusal in istiod's metrics", || {
        let metrics = http::get(&format!("http://{}:15014/metrics", istiod.address), &[])?.body;
        ensure!(
            metrics.contains("pilot_total_xds_rejects{type=\"ecds\"}"),
            "it is not there"
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

fn a_refused_configuration_keeps_the_listener_as_it_is_until_it_is_repaired(
    world: &World,
) -> Result<()> {
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
            "istiod logs no refusal"
        );
        Ok(())
    })?;
    ensure!(
        gateway.get("/later", &[])?.status == 200,
        "the policy is in force"
    );
    // Mended in place and then touched, as documented, the policy comes into force.
    configure(cluster, &json!({"generate": "hex32"}))?;
    cluster.until("the repaired configuration", || {
        let response = gateway.get("/", &[])?;
        ensure!(response.same_id()?.len() == 32, "{response:?}");
        Ok(())
    })?;
    cluster.run_line(&format!(
        "kubectl -n {SYSTEM} annotate envoyfilter request-id-gateway istio.io/touched=1 --overwrite"
    ))?;
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
    cluster.run_line(&format!(
        "kubectl -n {SYSTEM} delete pod {} --grace-period=1",
        gateway.name()
    ))?;
    Gateway::of(cluster)
}

fn a_proxy_that_starts_with_a_refused_configuration_answers_500(world: &World) -> Result<()> {
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

/// An image that is not in the registry.
fn missing() -> String {
    format!(
        "registry.example.com/you/request-id-filter@sha256:{}",
        "0".repeat(64)
    )
}

/// Waits until a proxy has tried to fetch an image that is not there.
fn fetch_fails(cluster: &Cluster, proxy: &Pod) -> Result<()> {
    cluster.wait_for_log(
        SYSTEM,
        &proxy.name,
        "istio-proxy",
        "cannot fetch Wasm module",
    )
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

fn an_image_that_cannot_be_fetched_closes_the_gateway_until_another_can(
    world: &World,
) -> Result<()> {
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
    cluster.wait_for_log(
        SYSTEM,
        gateway.name(),
        "istio-proxy",
        "which does not match",
    )?;
    patch(cluster, &json!({"op": "remove", "path": "/spec/sha256"}))?;
    image(cluster, &cluster.image())?;
    adopts(cluster, &gateway)
}

fn an_image_comes_from_a_private_registry(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = deploy(cluster)?;
    let private = format!(
        "private.example.com:8443/you/request-id-filter@{}",
        cluster.digest
    );
    image(cluster, &private)?;
    refuses_all(cluster, &gateway)?;
    let (user, password) = CREDENTIALS;
    cluster.run_line(&format!(
        "kubectl -n {SYSTEM} create secret docker-registry private --docker-server=private.example.com:8443 \
         --docker-username={user} --docker-password={password}"
    ))?;
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
    undeploy(cluster, "gateway")
}

/// Makes the gateway refuse a configuration.
pub fn refuse(cluster: &Cluster) -> Result<()> {
    configure(cluster, &json!({"generate": "uuid9"}))?;
    refusals(cluster, &Gateway::of(cluster)?.0)
}

/// Mends that configuration.
pub fn repair(cluster: &Cluster) -> Result<()> {
    configure(cluster, &json!({"log_origin": true}))?;
    adopts(cluster, &Gateway::of(cluster)?)
}

/// Makes the filter refuse a configuration and lack its image at the gateway, and repairs both. Returns
/// the name of the gateway's Pod.
pub fn in_trouble(cluster: &Cluster) -> Result<String> {
    let gateway = deploy(cluster)?;
    refuse(cluster)?;
    repair(cluster)?;
    image(cluster, &missing())?;
    fetch_fails(cluster, &gateway.0)?;
    image(cluster, &cluster.image())?;
    adopts(cluster, &gateway)?;
    Ok(gateway.name().into())
}

pub fn patch(cluster: &Cluster, patch: &Value) -> Result<()> {
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

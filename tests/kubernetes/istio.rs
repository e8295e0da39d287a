//! Istio as its users install it, in a mesh of one gateway, one workload with a sidecar, and one waypoint.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::{CREDENTIALS, Cluster, Pod};
use crate::http::{self, AWS, DERIVED, Response};
use crate::{World, admission, commands, components, tests};

tests![each_command_of_its_page_succeeds];

const APP: &str = include_str!("istio-app.yaml");
pub const SYSTEM: &str = "istio-system";

pub struct Istio;

impl Istio {
    pub fn install(cluster: &Cluster) -> Result<Self> {
        admission::crds(cluster)?; // of the Gateway API, for the waypoint
        cluster.run_line(
            "istioctl install --skip-confirmation --readiness-timeout 90s \
             -f tests/kubernetes/istio-install.yaml",
        )?;
        cluster.run_line("kubectl label namespace default istio-injection=enabled --overwrite")?;
        cluster.apply(APP)?;
        let workload = workload(cluster)?;
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

/// The Pod of the workload.
pub fn workload(cluster: &Cluster) -> Result<Pod> {
    cluster.pod("default", "app=httpbin")
}

/// The ingress gateway.
#[derive(Clone)]
pub struct Gateway(pub Pod);

impl Gateway {
    pub fn of(cluster: &Cluster) -> Result<Self> {
        Ok(Self(cluster.pod(SYSTEM, "istio=ingressgateway")?))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn address(&self) -> &str {
        &self.0.address
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let url = format!("http://{}:8080{path}", self.0.address);
        http::send_to_route("GET", &url, headers)
    }

    /// Returns the line of the access log with this id in the response.
    pub fn logged(&self, cluster: &Cluster, id: &str) -> Result<Value> {
        cluster.until(&format!("{id} in the gateway's log"), || {
            let log = cluster.container_log(SYSTEM, self.name(), "istio-proxy")?;
            line_of(&log, "response_request_id", id).context("no such line")
        })
    }
}

/// Returns the last line of an access log in which a field has this value.
pub fn line_of(log: &str, field: &str, value: &str) -> Option<Value> {
    let lines = log.lines().rev();
    let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find(|line| line[field] == value)
}

/// Sets the image in all manifests, as documented, and applies one base.
pub fn apply(cluster: &Cluster, base: &str) -> Result<()> {
    let set = "perl -pi -e 's|oci://.*|oci://$ENV{IMAGE}|' envoy/istio/*/wasmplugin.yaml";
    cluster.run("bash", &["-c", set])?;
    cluster.run_line(&format!("kubectl apply -k envoy/istio/{base}"))?;
    Ok(())
}

/// Where a kustomization of the test's own stands: a base with a component.
pub const ADAPTED: &str = "envoy/istio/adapted";

/// Applies a base with a component. The image has been set by `apply`.
pub fn apply_with(cluster: &Cluster, base: &str, component: &str) -> Result<()> {
    let kustomization = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
         resources: [../{base}]\ncomponents: [../{component}]\n"
    );
    let file = cluster.path(ADAPTED).join("kustomization.yaml");
    components::write(&file, kustomization.as_bytes())?;
    cluster.run_line(&format!("kubectl apply -k {ADAPTED}"))?;
    Ok(())
}

/// Deletes what `apply_with` applied last.
pub fn delete_adapted(cluster: &Cluster) -> Result<()> {
    delete(cluster, "adapted")?;
    fs::remove_dir_all(cluster.path(ADAPTED))?;
    Ok(())
}

pub fn delete(cluster: &Cluster, base: &str) -> Result<()> {
    cluster.run_line(&format!(
        "kubectl delete --ignore-not-found -k envoy/istio/{base}"
    ))?;
    Ok(())
}

/// Puts the filter on the gateway as it is shipped, and waits until it runs there.
pub fn deploy(cluster: &Cluster) -> Result<Gateway> {
    apply(cluster, "gateway")?;
    let gateway = Gateway::of(cluster)?;
    adopts(cluster, &gateway)?;
    Ok(gateway)
}

/// Waits until the gateway derives an id from one of AWS.
pub fn adopts(cluster: &Cluster, gateway: &Gateway) -> Result<()> {
    cluster.until("an adopted id", || {
        let response = gateway.get("/", &[AWS])?;
        ensure!(response.same_id()? == DERIVED, "{response:?}");
        Ok(())
    })
}

/// Deletes a base, and waits until the gateway has its own ids of Envoy again.
pub fn undeploy(cluster: &Cluster, base: &str) -> Result<()> {
    delete(cluster, base)?;
    let gateway = Gateway::of(cluster)?;
    cluster.until("an id that Envoy generates", || {
        let response = gateway.get("/", &[AWS])?;
        let upstream = response.upstream["X-Request-Id"][0].as_str();
        ensure!(
            response.id.is_none() && upstream.is_some_and(|id| id != DERIVED),
            "{response:?}"
        );
        Ok(())
    })
}

fn each_command_of_its_page_succeeds(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    commands::run(
        cluster,
        "docs/deploy/istio.md",
        &[("PASSWORD", CREDENTIALS.1)],
    )
}

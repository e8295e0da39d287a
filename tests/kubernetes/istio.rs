//! The manifests for Istio, in a mesh of one gateway and one workload with a sidecar.

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::http::{self, ID, Response, is_uuid};
use crate::{Test, World, pages};

pub const TESTS: &[Test] = &[
    (
        "istio: the gateway's base gives every request one id",
        gateway,
    ),
    (
        "istio: each command of docs/deploy/istio.md succeeds",
        |world| {
            world.istio()?;
            pages::run(
                world.cluster()?,
                "docs/deploy/istio.md",
                &[("PASSWORD", "secret")],
            )
        },
    ),
];

/// Where the mesh is.
pub struct Istio {
    /// The gateway, with a port.
    pub gateway: String,
}

/// A workload behind the gateway, and what else requests may meet.
const APP: &str = include_str!("istio-app.yaml");

impl Istio {
    pub fn install(cluster: &Cluster) -> Result<Self> {
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
        let gateway = cluster.pod("istio-system", "istio=ingressgateway")?;
        cluster.pod("default", "app=httpbin")?;
        let istio = Self {
            gateway: format!("{}:8080", gateway.address),
        };
        cluster.until("an answer of the workload", || {
            let response = istio.get("/", &[])?;
            ensure!(response.status == 200, "{response:?}");
            Ok(())
        })?;
        Ok(istio)
    }

    /// Sends a request to the gateway.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let headers = [&[("host", "www.example.com")], headers].concat();
        http::get(&format!("http://{}{path}", self.gateway), &headers)
    }
}

fn apply_base(cluster: &Cluster, base: &str) -> Result<()> {
    cluster.run(
        "bash",
        &[
            "-c",
            "perl -pi -e 's|oci://.*|oci://$ENV{IMAGE}|' envoy/istio/*/wasmplugin.yaml",
        ],
    )?;
    cluster.kubectl(&["apply", "-k", base]).map(drop)
}

/// An id as AWS sends it, and what is derived from it.
const AWS: [(&str, &str); 1] = [("x-amzn-requestid", "4B4NGF0EAWN0GE63")];
const DERIVED: &str = "37be84ba-5e55-5531-9cda-bc301b676303";

fn gateway(world: &World) -> Result<()> {
    let (cluster, istio) = (world.cluster()?, world.istio()?);
    apply_base(cluster, "envoy/istio/gateway")?;
    cluster.until("an adopted id", || {
        let response = istio.get("/", &AWS)?;
        ensure!(response.same_id()? == DERIVED, "{response:?}");
        Ok(())
    })?;
    let generated = istio.get("/", &[])?;
    ensure!(is_uuid(generated.same_id()?, '4'), "{generated:?}");
    let kept = istio.get("/", &[(ID, "kept-1")])?;
    ensure!(kept.same_id()? == "kept-1", "{kept:?}");
    let replaced = istio.get("/", &[(ID, "not valid")])?;
    ensure!(is_uuid(replaced.same_id()?, '4'), "{replaced:?}");
    replaced.id.context("an id").map(drop)
}

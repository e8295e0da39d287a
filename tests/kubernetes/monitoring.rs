//! The alerts and the dashboard, in a real Prometheus that scrapes the proxies of Istio and Envoy Gateway.

use anyhow::{Context, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use test_support::shipped;
use xtask::root;

use crate::cluster::{Cluster, Running};
use crate::components::write;
use crate::{World, envoy_gateway, http, istio, istio_changes, tests};

tests![every_query_of_the_alerts_and_the_dashboard_has_a_result];

/// A Prometheus that scrapes these addresses under these paths.
struct Prometheus {
    _process: Running,
}

impl Prometheus {
    fn start(cluster: &Cluster, targets: &[(String, &str)]) -> Result<Self> {
        let scrape_configs: Vec<_> = targets
            .iter()
            .enumerate()
            .map(|(number, (address, path))| {
                json!({
                    "job_name": format!("job {number}"),
                    "metrics_path": path,
                    "static_configs": [{"targets": [address]}],
                })
            })
            .collect();
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [root().join("envoy/prometheus-rules.yaml")],
            "scrape_configs": scrape_configs,
        });
        let file = cluster.path("prometheus.yaml");
        write(&file, config.to_string().as_bytes())?;
        let process = cluster
            .start_program(
                "prometheus",
                "prometheus",
                &[
                    &format!("--config.file={}", file.display()),
                    &format!(
                        "--storage.tsdb.path={}",
                        cluster.path("prometheus").display()
                    ),
                    "--web.listen-address=127.0.0.1:9090",
                ],
            )
            .context("prometheus is missing (Debian: apt-get install prometheus)")?;
        Ok(Self { _process: process })
    }

    /// The series of the result of a query.
    fn query(&self, query: &str) -> Result<Vec<Value>> {
        let encoded = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let url = format!("http://127.0.0.1:9090/api/v1/query?query={encoded}");
        let answer: Value = serde_json::from_str(&http::get(&url, &[])?.body)?;
        let result = answer["data"]["result"].as_array();
        Ok(result
            .with_context(|| format!("{query}: {answer}"))?
            .clone())
    }
}

fn every_query_of_the_alerts_and_the_dashboard_has_a_result(world: &World) -> Result<()> {
    let cluster = world.with_istio()?;
    let gateway = istio::deploy(cluster)?;
    let proxy = envoy_gateway::deploy(cluster, world.envoy_gateway()?)?;
    let istiod = cluster.pod("istio-system", "app=istiod")?;
    let prometheus = Prometheus::start(
        cluster,
        &[
            (format!("{}:15020", gateway.address()), "/stats/prometheus"),
            (format!("{}:19001", proxy.address), "/stats/prometheus"),
            (format!("{}:15014", istiod.address), "/metrics"),
        ],
    )?;
    // Of each of the two proxies the counters have their names, without any label of their own.
    cluster.until("the counters of both proxies", || {
        let kept = prometheus.query("request_id_filter_kept")?;
        ensure!(kept.len() == 2, "{kept:?}");
        Ok(())
    })?;
    let expressions = shipped::expressions();
    ensure!(expressions.len() > 12, "{expressions:?}");
    for expression in expressions {
        // Without what compares: whether there is anything to compare.
        let query = expression
            .replace("$__rate_interval", "10s")
            .replace("[1d]", "[10s]");
        let query = query
            .replace("[10m]", "[10s]")
            .replace("[10m:]", "[10s:1s]");
        let query = match query.split_once(" > 0") {
            _ if query.contains("pilot_total_xds_rejects") => continue,
            Some((sides, _)) => sides.to_owned(),
            None => query,
        };
        cluster.until(&query, || {
            gateway.get("/", &[])?;
            ensure!(!prometheus.query(&query)?.is_empty(), "no result");
            Ok(())
        })?;
    }
    // A configuration that the gateway refuses fires the alert.
    istio_changes::refuse(cluster)?;
    cluster.until("the alert", || {
        let alert = prometheus.query(r#"ALERTS{alertname="IstioProxyRefusesExtension"}"#)?;
        ensure!(!alert.is_empty(), "no alert");
        Ok(())
    })?;
    istio_changes::repair(cluster)
}

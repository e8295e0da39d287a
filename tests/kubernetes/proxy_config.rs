//! The configuration that a proxy of Istio has, as `istioctl proxy-config` shows it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;

/// An HTTP connection manager.
#[derive(Debug)]
pub struct Manager {
    listener: String,
    /// The names of its HTTP filters, in order.
    pub filters: Vec<String>,
    /// The whole configuration of the connection manager.
    pub settings: Value,
}

/// The connection managers of a proxy, as it has them.
pub fn managers(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Vec<Manager>> {
    let command = format!("istioctl proxy-config listeners -n {namespace} {pod} -o json");
    let listeners = cluster.run_line(&command)?;
    let listeners: Value = serde_json::from_str(&listeners)?;
    let mut managers = Vec::new();
    for listener in listeners.as_array().context("no listeners")? {
        managers.extend(managers_of(listener));
    }
    // The ports for readiness and for Prometheus are not configured by istiod.
    let has_port = |manager: &Manager, port| manager.listener.ends_with(port);
    managers.retain(|manager| !has_port(manager, "_15021") && !has_port(manager, "_15090"));
    ensure!(!managers.is_empty(), "no connection manager in {pod}");
    Ok(managers)
}

/// The connection managers of a listener. istioctl and istiod spell their fields differently.
pub fn managers_of(listener: &Value) -> Vec<Manager> {
    let mut found = Vec::new();
    collect(listener, &mut |settings, filters| {
        let names = filters.iter().filter_map(|filter| filter["name"].as_str());
        found.push(Manager {
            listener: listener["name"].as_str().unwrap_or_default().into(),
            filters: names.map(Into::into).collect(),
            settings: settings.clone(),
        });
    });
    found
}

fn collect(value: &Value, add: &mut impl FnMut(&Value, &[Value])) {
    for key in ["httpFilters", "http_filters"] {
        if let Some(filters) = value[key].as_array() {
            return add(value, filters);
        }
    }
    match value {
        Value::Object(members) => members.values().for_each(|member| collect(member, add)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, add)),
        _ => {}
    }
}

impl Manager {
    /// Checks that a plugin runs first here, whose name ends so, and that Envoy generates no ids.
    pub fn check(&self, plugin: &str) -> Result<()> {
        ensure!(self.filters[0].ends_with(plugin), "{self:#?}");
        let generates = ["generateRequestId", "generate_request_id"].map(|key| &self.settings[key]);
        ensure!(generates.contains(&&Value::Bool(false)), "{self:#?}");
        Ok(())
    }
}

/// Waits until a plugin runs first in each connection manager of a proxy.
pub fn runs_everywhere(cluster: &Cluster, namespace: &str, pod: &str, plugin: &str) -> Result<()> {
    cluster.until(&format!("{plugin} in {pod}"), || {
        let mut managers = managers(cluster, namespace, pod)?.into_iter();
        managers.try_for_each(|manager| manager.check(plugin))
    })
}

/// Finds an object by its name, at any depth.
pub fn named<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(_) if value["name"] == name => Some(value),
        Value::Object(members) => members.values().find_map(|member| named(member, name)),
        Value::Array(items) => items.iter().find_map(|item| named(item, name)),
        _ => None,
    }
}

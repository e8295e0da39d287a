//! The configuration of Envoy that the project ships, with another upstream, and what its alerts and dashboard ask for.

use serde_json::{Value, json};
use xtask::envoy::{self, Output, Process};
use xtask::{module, root};

/// The place of the connection manager in a listener.
pub const MANAGER: &str = "/filter_chains/0/filters/0/typed_config";
/// The place of the filter in a listener.
pub const FILTER: &str = "/filter_chains/0/filters/0/typed_config/http_filters/0";
/// The place of the filter's plugin in a listener.
pub const PLUGIN: &str =
    "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";

/// Returns the shipped configuration on free ports. Its requests go to this port of 127.0.0.1.
#[must_use]
pub fn with_upstream(port: u16) -> Value {
    let mut config = envoy::shipped(0, 0).expect("the configuration can be read");
    config["static_resources"]["clusters"][0] = cluster("demo", port);
    config
}

/// Returns the same, and the filter has this configuration.
#[must_use]
pub fn with_configuration(port: u16, configuration: &str) -> Value {
    let mut config = with_upstream(port);
    let listener = &mut config["static_resources"]["listeners"][0];
    let plugin = listener
        .pointer_mut(PLUGIN)
        .expect("the configuration has the filter");
    plugin["configuration"]["value"] = configuration.into();
    config
}

/// Returns a cluster of one server on this port of 127.0.0.1.
#[must_use]
pub fn cluster(name: &str, port: u16) -> Value {
    json!({"name": name, "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    ]}]}})
}

/// Builds the module, and starts an Envoy of one worker with this configuration.
#[must_use]
pub fn start(config: &Value) -> Process {
    module::build().expect("the module can be built");
    let started = Process::start(config, &Output::Kept, &["--concurrency", "1"]);
    started.unwrap_or_else(|error| panic!("{error:#}"))
}

/// Returns every expression of the alert rules and of the dashboard.
#[must_use]
pub fn expressions() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("expr").and_then(Value::as_str).map(Into::into));
                members.values().for_each(|member| collect(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for file in [
        "envoy/prometheus-rules.yaml",
        "envoy/grafana-dashboard.json",
    ] {
        let file = envoy::read_config(&root().join(file)).expect("the file can be read");
        collect(&file, &mut found);
    }
    found
}

//! Tracing goes on as it does with Envoy's own ids, for each tracer, and every span has the id that the client, the
//! upstream and the access log have.

mod collector;
pub mod decisions;
pub mod one_id;
pub mod proportions;
pub mod provisional_id;
pub mod tracers;

use serde_json::{Value, json};
use xtask::envoy::{self, Process};

use crate::testbed::{
    self, MANAGER, PLUGIN, at, filters, listeners, routes, string_value, with_protocol,
};
use collector::Collector;
use test_support::cases::Line;
use test_support::client::{Connection, Request, Response};
use test_support::shipped::cluster;
use test_support::upstream::Upstream;
use tracers::Tracer;

/// Who gives requests their ids in a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ids {
    /// Envoy itself, which keeps the client's.
    Envoy,
    /// Envoy itself, at an edge: it replaces the client's.
    EnvoyAtEdge,
    /// The filter, as shipped.
    Filter,
    /// The filter, without the mutation that adds provisional ids.
    FilterWithoutMutation,
    /// The filter, which trusts nobody.
    FilterWithoutTrust,
    /// Nobody: the filter is not there, but everything else that is shipped.
    Nobody,
}

/// Returns the shipped listener, changed to give requests their ids in this way.
fn listener(name: &str, ids: Ids) -> Value {
    let mut config = envoy::shipped(0, 0).expect("the configuration can be read");
    let mut listener = listeners(&mut config)[0].take();
    listener["name"] = name.into();
    if ids == Ids::FilterWithoutTrust {
        at(&mut listener, PLUGIN)["configuration"] =
            string_value(r#"{"incoming": {"trust": "none"}}"#);
    }
    if matches!(ids, Ids::Envoy | Ids::EnvoyAtEdge | Ids::Nobody) {
        filters(&mut listener).remove(0);
    }
    let manager = at(&mut listener, MANAGER);
    manager["route_config"] = routes();
    if ids == Ids::FilterWithoutMutation {
        manager["early_header_mutation_extensions"].take();
    }
    if matches!(ids, Ids::Envoy | Ids::EnvoyAtEdge) {
        manager["generate_request_id"] = true.into();
        manager["early_header_mutation_extensions"].take();
        manager["request_id_extension"].take();
        manager["local_reply_config"].take();
    }
    if ids == Ids::EnvoyAtEdge {
        manager["use_remote_address"] = true.into();
        // The tests' own address is one from outside.
        manager["internal_address_config"] =
            json!({"cidr_ranges": [{"address_prefix": "192.0.2.0", "prefix_len": 32}]});
    }
    listener
}

const ARGUMENTS: &str = "--concurrency 1 --log-level error";

/// Returns the same, with this percentage of the requests traced.
fn traced_listener(
    name: &str,
    ids: Ids,
    tracer: Tracer,
    percentage: u32,
    collector: &Collector,
) -> Value {
    let mut listener = listener(name, ids);
    at(&mut listener, MANAGER)["tracing"] = tracer.tracing(percentage, collector.udp);
    listener
}

/// An Envoy with tracing between a client and an upstream.
struct TracingTestbed {
    envoy: Process,
    upstream: Upstream,
    collector: Collector,
}

impl TracingTestbed {
    /// Starts an Envoy with these listeners.
    fn start(listeners: impl FnOnce(&Collector) -> Vec<Value>) -> Self {
        xtask::module::build().expect("the module can be built");
        let (upstream, collector) = (Upstream::start(), Collector::start());
        let mut config = envoy::shipped(0, 0).expect("the configuration can be read");
        config["static_resources"] = json!({
            "listeners": listeners(&collector),
            "clusters": [
                cluster("demo", upstream.port),
                with_protocol(cluster("collector", collector.http2), "http2_protocol_options"),
            ],
        });
        // Tracers send each span at once instead of five together.
        config["layered_runtime"] = json!({"layers": [{"name": "spans", "static_layer": {
            "tracing.opentelemetry.min_flush_spans": 1,
            "tracing.zipkin.min_flush_spans": 1,
        }}]});
        Self {
            envoy: testbed::start(&config, ARGUMENTS),
            upstream,
            collector,
        }
    }

    /// Connects to a listener.
    fn connect(&self, listener: &str) -> Connection {
        Connection::open(testbed::port(&self.envoy, listener))
    }

    /// Sends a request and returns what reached the upstream, too.
    fn send(
        &self,
        connection: &mut Connection,
        path: &str,
        lines: &[Line],
    ) -> (Response, Vec<Request>) {
        (connection.get(path, lines), self.upstream.received(path))
    }

    /// Returns the minor version of Envoy, such as 40 of 1.40.0.
    fn minor_version(&self) -> u32 {
        let info = self.envoy.get("/server_info").expect("Envoy answers");
        let info: Value = serde_json::from_str(&info).expect("Envoy describes itself in JSON");
        // The commit, a slash, and the number.
        let version = info["version"].as_str().expect("Envoy has a version");
        let minor = version.split(['/', '.']).nth(2);
        minor.and_then(|minor| minor.parse().ok()).expect(version)
    }
}

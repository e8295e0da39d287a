//! The client, the upstream, the access log and the span have the same id.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use xtask::envoy;

use super::collector::Collector;
use super::tracers::Tracer;
use super::{ARGUMENTS, Ids, TracingTestbed, traced_listener};
use crate::testbed::{
    self, MANAGER, Testbed, at, eventually, listeners, port, tests, with_protocol,
};
use test_support::cases::Line;
use test_support::client::Connection;
use test_support::shipped::cluster;
use test_support::upstream::{Reply, redirect_to};

tests![client_upstream_log_and_span_have_one_id_over_each_protocol];

const PERCENTAGES: [u32; 3] = [0, 50, 100];

/// The protocols over which requests reach the filter, from an Envoy in front of it, as Envoy names their options.
const PROTOCOLS: [&str; 3] = ["http", "http2", HTTP3];
const HTTP3: &str = "http3";

const ROUNDS: usize = 4;

/// How many bytes may be between the name of an attribute and its value: quotes, types and lengths.
const FRAMING: usize = 8;

/// A certificate for QUIC, which the client does not verify.
const CERTIFICATE: &str = include_str!("certificate.pem");
const KEY: &str = include_str!("key.pem");

/// A listener of the Envoy with the filter.
struct Target {
    name: String,
    tracer: Tracer,
    percentage: u32,
    protocol: &'static str,
}

impl Target {
    fn all() -> Vec<Self> {
        let mut targets = Vec::new();
        for tracer in Tracer::ALL {
            for percentage in PERCENTAGES {
                targets.extend(PROTOCOLS.map(|protocol| Self {
                    name: format!("{tracer:?}-{percentage}-{protocol}"),
                    tracer,
                    percentage,
                    protocol,
                }));
            }
        }
        targets
    }

    fn listener(&self, collector: &Collector) -> Value {
        let (tracer, percentage) = (self.tracer, self.percentage);
        let listener = traced_listener(&self.name, Ids::Filter, tracer, percentage, collector);
        match self.protocol {
            HTTP3 => over_quic(listener),
            _ => listener,
        }
    }

    fn cluster(&self, testbed: &TracingTestbed) -> Value {
        let cluster = cluster(&self.name, port(&testbed.envoy, &self.name));
        let cluster = with_protocol(cluster, &format!("{}_protocol_options", self.protocol));
        match self.protocol {
            HTTP3 => to_quic(cluster),
            _ => cluster,
        }
    }
}

fn client_upstream_log_and_span_have_one_id_over_each_protocol(_: &Testbed) {
    let targets = Target::all();
    let testbed = TracingTestbed::start(|collector| {
        let listeners = targets.iter().map(|target| target.listener(collector));
        listeners.collect()
    });
    let clusters = targets.iter().map(|target| target.cluster(&testbed));
    let front = testbed::start(&front(clusters.collect()), ARGUMENTS);
    let mut connection = Connection::open(port(&front, "front"));

    // The ids by the requests' paths, and those of requests that are sampled.
    let mut ids = HashMap::new();
    let mut sampled = HashSet::new();
    for target in &targets {
        let mut sampled_here = 0;
        let mut sent = 0;
        for round in 0..ROUNDS {
            let unique = format!("{}-{round}", target.name);
            for (kind, lines) in requests(&unique) {
                let is_redirected = round % 2 == 0;
                let path = format!("/moved/{kind}-{unique}");
                let connection = &mut connection;
                let (id, is_sampled) =
                    send(&testbed, connection, target, &path, lines, is_redirected);
                if is_sampled {
                    sampled.insert(id.clone());
                    sampled_here += 1;
                }
                sent += 1;
                ids.insert(path, id);
            }
        }
        match target.percentage {
            0 => assert_eq!(sampled_here, 0, "{}", target.name),
            // Envoy cannot sample an id that does not begin with digits, as one of each round does not.
            100 => assert!(
                sampled_here + ROUNDS >= sent,
                "{}: {sampled_here} of {sent}",
                target.name
            ),
            _ => {}
        }
    }
    for protocol in ["http1", "http2", "http3"] {
        let statistic = format!("http.main.downstream_rq_{protocol}_total");
        assert!(
            testbed::statistic(&testbed.envoy, &statistic) > 0,
            "{protocol}"
        );
    }

    check_log(&testbed, &ids);
    check_spans(&testbed, &ids.into_values().collect(), &sampled);
}

/// Sends a request to a target by way of the front. Returns the id, which the client and the upstream have, and
/// whether the request is sampled.
fn send(
    testbed: &TracingTestbed,
    connection: &mut Connection,
    target: &Target,
    path: &str,
    mut lines: Vec<Line>,
    is_redirected: bool,
) -> (String, bool) {
    let new_path = path.trim_start_matches("/moved");
    if is_redirected {
        testbed
            .upstream
            .expect(path, Reply::Bytes(redirect_to(new_path)));
    }
    lines.push(("target", target.name.clone().into()));
    let response = connection.get(path, &lines);
    assert_eq!(response.status, 200, "{path}: {response:?}");
    let id = response.id();
    assert!(!id.contains("provisional"), "{id}");
    let received = [path, new_path]
        .map(|path| testbed.upstream.received(path))
        .concat();
    assert_eq!(received.len(), 1 + usize::from(is_redirected), "{path}");
    let mut is_sampled = false;
    for received in &received {
        assert_eq!(received.all("x-request-id"), [id.as_bytes()], "{path}");
        // 2 is Datadog's "keep".
        let (decision, _) = target.tracer.propagated_decision(&received.headers);
        is_sampled |= decision == "1" || decision == "2";
    }
    (id, is_sampled)
}

/// Checks that each request has a line in the access log, with its id.
fn check_log(testbed: &TracingTestbed, ids: &HashMap<String, String>) {
    let logged = || {
        let log = testbed.envoy.log();
        let mut logged = HashSet::new();
        for line in log.lines().filter(|line| line.starts_with('{')) {
            let line: Value = serde_json::from_str(line).expect("the access log consists of JSON");
            let path = line["path"].as_str().expect("every line has a path");
            // A redirected request has its new path here.
            let path = format!("/moved{}", path.trim_start_matches("/moved"));
            assert_eq!(line["request_id"], ids[&path], "{line}");
            // The line of the redirect has no response, since the client receives none.
            if line["details"] != "internal_redirect" {
                assert_eq!(line["response_request_id"], ids[&path], "{line}");
                logged.insert(path);
            }
        }
        logged.len()
    };
    eventually(Duration::from_secs(20), logged, |count| *count == ids.len());
}

/// Checks that each span has an id of a request, and each sampled request a span.
fn check_spans(testbed: &TracingTestbed, ids: &HashSet<String>, sampled: &HashSet<String>) {
    let id_of = |span: &String| {
        let is_id = |id: &&String| span.find(id.as_str()).is_some_and(|at| at < FRAMING);
        ids.iter().find(is_id)
    };
    // The end of what was received so far can be in the middle of a span.
    let wrong_or_missing = || {
        let spans = testbed.collector.request_ids(FRAMING + 64);
        let without_id = spans.iter().filter(|span| id_of(span).is_none());
        let collected: HashSet<_> = spans.iter().filter_map(id_of).collect();
        let without_span = sampled.iter().filter(|id| !collected.contains(id));
        without_id.chain(without_span).cloned().collect::<Vec<_>>()
    };
    eventually(Duration::from_secs(20), wrong_or_missing, Vec::is_empty);
    assert!(!testbed.collector.text().contains("-provisional"));
}

/// Returns requests of each kind, with ids that no other request has.
fn requests(unique: &str) -> [(&'static str, Vec<Line>); 5] {
    let line = |name, value: String| vec![(name, value.into_bytes())];
    [
        ("new", Vec::new()),
        ("kept", line("x-request-id", format!("0f8fad5b-{unique}"))),
        ("aws", line("x-amz-request-id", format!("4B4NGF-{unique}"))),
        (
            "invalid",
            line("x-request-id", format!("0f8fad5b {unique}")),
        ),
        ("word", line("x-request-id", format!("req-{unique}"))),
    ]
}

/// Turns a listener into one for HTTP/3.
fn over_quic(mut listener: Value) -> Value {
    listener["address"]["socket_address"]["protocol"] = "UDP".into();
    listener["udp_listener_config"] = json!({"quic_options": {}});
    at(&mut listener, "/filter_chains/0")["transport_socket"] = json!({
        "name": "envoy.transport_sockets.quic",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport",
            "downstream_tls_context": {"common_tls_context": {"tls_certificates": [{
                "certificate_chain": {"inline_string": CERTIFICATE},
                "private_key": {"inline_string": KEY},
            }]}},
        },
    });
    at(&mut listener, MANAGER)["codec_type"] = "HTTP3".into();
    listener
}

/// Makes a cluster that speaks HTTP/3 connect by QUIC.
fn to_quic(mut cluster: Value) -> Value {
    cluster["transport_socket"] = json!({
        "name": "envoy.transport_sockets.quic",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.quic.v3.QuicUpstreamTransport",
            "upstream_tls_context": {"sni": "test"},
        },
    });
    cluster
}

/// Returns the configuration of an Envoy that passes each request on to the cluster in its header `target`.
fn front(clusters: Vec<Value>) -> Value {
    let mut config = envoy::shipped(0, 0).expect("the configuration can be read");
    let listener = &mut listeners(&mut config)[0];
    listener["name"] = "front".into();
    let manager = at(listener, MANAGER);
    manager["early_header_mutation_extensions"].take();
    manager["local_reply_config"].take();
    manager["access_log"].take();
    manager["route_config"] = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster_header": "target"}},
    ]}]});
    testbed::filters(listener).remove(0);
    let listener = listener.take();
    config["static_resources"] = json!({"listeners": [listener], "clusters": clusters});
    config
}

//! The client, the upstream, the access log and the span have the same id.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use xtask::envoy;

use super::tracers::Tracer;
use super::{Ids, Stage, listener, start, with_protocol};
use crate::client::{Connection, all};
use crate::stage::{MANAGER, at, cluster, eventually, get, listeners};
use crate::upstream::Reply;
use test_support::cases::Line;

const PERCENTAGES: [u32; 3] = [0, 50, 100];

/// The protocols over which requests reach the filter. An Envoy in front of it speaks them.
const PROTOCOLS: [(&str, &str); 3] = [
    ("http1", "http_protocol_options"),
    ("http2", "http2_protocol_options"),
    ("http3", "http3_protocol_options"),
];
const HTTP3: &str = "http3";

const ROUNDS: usize = 4;

/// How many bytes may stand between the name of an attribute and its value: quotes, types and lengths.
const FRAMING: usize = 8;

/// A certificate of QUIC, which nobody checks.
const CERTIFICATE: &str = include_str!("certificate.pem");
const KEY: &str = include_str!("key.pem");

pub fn everywhere() {
    let mut targets = Vec::new();
    for tracer in Tracer::ALL {
        for percentage in PERCENTAGES {
            for (protocol, options) in PROTOCOLS {
                targets.push((
                    format!("{tracer:?}-{percentage}-{protocol}"),
                    tracer,
                    percentage,
                    protocol,
                    options,
                ));
            }
        }
    }
    let stage = Stage::start(|collector| {
        let listener =
            |(name, tracer, percentage, protocol, _): &(String, Tracer, u32, &str, &str)| {
                let mut listener = listener(name, Ids::Filter);
                at(&mut listener, MANAGER)["tracing"] = tracer.tracing(*percentage, collector);
                if *protocol == HTTP3 {
                    over_quic(listener)
                } else {
                    listener
                }
            };
        targets.iter().map(listener).collect()
    });
    let clusters = targets.iter().map(|(name, _, _, protocol, options)| {
        let cluster = cluster(name, stage.envoy.port(name).expect("a listener"));
        let cluster = with_protocol(cluster, options);
        if *protocol == HTTP3 {
            to_quic(cluster)
        } else {
            cluster
        }
    });
    let front = start(&front(clusters.collect()));
    let mut connection = Connection::open(front.port("front").expect("a listener"));

    let mut sampled = HashSet::new();
    let mut id_of = HashMap::new();
    for (name, tracer, percentage, _, _) in &targets {
        let mut sampled_here = 0;
        let mut sent = 0;
        for round in 0..ROUNDS {
            for (kind, lines) in requests(&format!("{name}-{round}")) {
                let path = format!("/moved/{kind}-{name}-{round}");
                let target = format!("/{kind}-{name}-{round}");
                let moved = format!(
                    "HTTP/1.1 302 Found\r\nlocation: http://test{target}\r\ncontent-length: 0\r\n\r\n"
                );
                // Every other request is redirected inside Envoy.
                if round % 2 == 0 {
                    stage.upstream.expect(&path, Reply::Bytes(moved.into()));
                }
                let mut lines = lines;
                lines.push(("target", name.clone().into()));
                connection.send(&get("test", &path, &lines));
                let response = connection.receive();
                assert_eq!(response.status, 200, "{path}: {response:?}");
                let id = response.id();
                assert!(!id.contains("provisional"), "{id}");
                let seen: Vec<_> = [&path, &target]
                    .iter()
                    .flat_map(|path| stage.upstream.seen(path))
                    .collect();
                assert_eq!(seen.len(), 2 - round % 2, "{path}");
                for seen in &seen {
                    assert_eq!(
                        all(&seen.headers, "x-request-id"),
                        [id.as_bytes()],
                        "{path}"
                    );
                }
                let told = |seen: &crate::upstream::Seen| tracer.told(&seen.headers).0;
                if seen.iter().any(|seen| ["1", "2"].contains(&&*told(seen))) {
                    sampled.insert(id.clone());
                    sampled_here += 1;
                }
                sent += 1;
                id_of.insert(path, id);
            }
        }
        match percentage {
            0 => assert_eq!(sampled_here, 0, "{name}"),
            50 => assert!((1..sent).contains(&sampled_here), "{name}: {sampled_here}"),
            // Envoy cannot sample an id that does not begin with digits.
            _ => assert!(
                sampled_here + ROUNDS >= sent,
                "{name}: {sampled_here} of {sent}"
            ),
        }
    }

    // Each request has a line in the access log, with one id.
    let mut logged = 0;
    eventually(Duration::from_secs(20), || {
        let log = stage.envoy.log();
        let lines = log.lines().filter(|line| line.starts_with('{'));
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        logged = lines.len();
        for line in lines {
            let path = line["path"].as_str().expect("a path");
            // Once it is redirected, a request has the new path.
            let path = if path.starts_with("/moved") {
                path.to_owned()
            } else {
                format!("/moved{path}")
            };
            for name in ["request_id", "response_request_id"] {
                assert!(
                    line[name].is_null() && name == "response_request_id"
                        || line[name] == *id_of[&path],
                    "{line}"
                );
            }
        }
        (
            logged >= id_of.len(),
            format!("{logged} lines in the log, of {}", id_of.len()),
        )
    });
    // Each span has one of these ids.
    let ids: HashSet<_> = id_of.into_values().collect();
    let ids_of_spans = || {
        let id_of = |span: String| {
            let id = ids
                .iter()
                .find(|id| span.find(id.as_str()).is_some_and(|at| at < FRAMING));
            id.unwrap_or_else(|| panic!("a span has none of the ids, but {span}"))
        };
        stage
            .collector
            .request_ids(FRAMING + 64)
            .into_iter()
            .map(id_of)
            .collect()
    };
    eventually(Duration::from_secs(20), || {
        let collected: HashSet<_> = ids_of_spans();
        let missing = sampled.iter().filter(|id| !collected.contains(id)).count();
        (
            missing == 0,
            format!("{missing} of {} ids are in no span", sampled.len()),
        )
    });
    assert!(!stage.collector.text().contains("-provisional"));
}

/// Requests of each kind, with ids that no other request has.
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

/// Has a cluster, which speaks HTTP/3, connect by QUIC.
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

/// The configuration of an Envoy that passes each request on to the cluster in its header `target`.
fn front(clusters: Vec<Value>) -> Value {
    let mut config = envoy::shipped(0, 0).expect("a configuration");
    let listener = &mut listeners(&mut config)[0];
    listener["name"] = "front".into();
    let manager = at(listener, MANAGER);
    for setting in [
        "early_header_mutation_extensions",
        "local_reply_config",
        "access_log",
    ] {
        manager[setting].take();
    }
    manager["http_filters"]
        .as_array_mut()
        .expect("a list")
        .remove(0);
    manager["route_config"] = json!({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster_header": "target"}},
    ]}]});
    let listener = listener.take();
    config["static_resources"] = json!({"listeners": [listener], "clusters": clusters});
    config
}

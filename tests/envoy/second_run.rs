//! The filter runs more than once for a request: after redirects inside Envoy, and as two plugins.
//! However often it runs, the upstreams, the client and the access log have one id.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_support::cases::{Line, ORIGINAL};
use test_support::message::{as_envoy, owned, source_address, values};
use test_support::reference::Config;
use xtask::envoy::Process;

use crate::counters::counters;
use crate::testbed::{
    self, FILTER, Testbed, at, eventually, filters, is_new, lines_until, listener_name, listeners,
    port, string_value, tests,
};
use test_support::client::{Connection, Request, Response, get};
use test_support::upstream::{Reply, Upstream, redirect_to};

tests![
    a_request_has_one_id_and_one_origin_after_redirects_and_with_two_plugins,
    two_plugins_with_different_policies_agree_on_the_id,
    a_client_cannot_claim_the_id_of_an_earlier_request,
    a_filter_in_between_that_changes_the_id_is_respected,
    a_host_that_does_not_remember_ids_is_named_in_one_warning,
    no_way_for_a_stream_to_pass_two_contexts_of_one_plugin_traps,
];

/// Returns policies that differ in who is trusted, in what happens to invalid ids, and in whether they
/// would accept the ids that they generate.
fn policies() -> Vec<String> {
    let mut policies = Vec::new();
    for trust in [r#""all""#, r#""none""#, r#"["10.0.0.0/8"]"#] {
        for on_invalid in ["replace", "reject", "keep"] {
            policies.push(format!(
                r#"{{"incoming": {{"trust": {trust}, "on_invalid": "{on_invalid}", "original": "{ORIGINAL}"}}, "log_origin": true}}"#
            ));
        }
    }
    // The name of the property in which Envoy remembers the id is longer than 127 bytes.
    let long_header = format!(
        r#""header": "x-{}id", "incoming": {{"trust": "none"}}"#,
        "long-".repeat(30)
    );
    for more in [
        &long_header,
        r#""incoming": {"accept": "uuid"}, "generate": "hex32""#,
        r#""incoming": {"accept": "uuid", "on_invalid": "keep"}, "adopt": {"from": ["traceparent"]}"#,
        r#""incoming": {"max_length": 20}"#,
    ] {
        policies.push(format!(r#"{{{more}, "log_origin": true}}"#));
    }
    policies
}

/// Returns what clients send as the header of the id, and other headers.
fn requests(header: &'static str) -> Vec<Vec<Line>> {
    let peer = ("x-forwarded-for", b"10.9.1.1".to_vec());
    let theirs = (ORIGINAL, b"from-the-client".to_vec());
    let id = |value: &[u8]| (header, value.to_vec());
    vec![
        vec![],
        vec![id(b"0f8fad5b-d9cb-469f-a165-70867728950e")],
        vec![id(b"mine"), peer.clone()],
        vec![id(b"a b"), theirs.clone()],
        vec![id(b"a b"), peer.clone(), theirs.clone()],
        vec![id(b"mine"), id(b"mine"), peer.clone()],
        vec![("x-amz-request-id", b"4B4NGF0EAWN0GE63".to_vec()), theirs],
        vec![id(b"0123456789abcdef0123456789abcdef"), peer.clone()],
        vec![
            id(b"0f8fad5b-d9cb-469f-a165-70867728950e-provisional"),
            peer,
        ],
    ]
}

/// The paths that a request can take through Envoy. Each of them ends at the upstream's `/last`: after an
/// internal redirect, and after one of `custom_response`.
const PATHS: [&str; 3] = ["/last", "/moved", "/failing"];

/// An Envoy with a listener for each chain of plugins.
struct Proxy {
    envoy: Process,
    upstream: Upstream,
}

impl Proxy {
    fn start(chains: &[Vec<&str>], change: impl Fn(&mut Value)) -> Self {
        let upstream = Upstream::start();
        upstream.expect("/moved", Reply::Bytes(redirect_to("/last")));
        let unavailable = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec();
        upstream.expect("/failing", Reply::Bytes(unavailable));
        let first: Vec<_> = chains.iter().map(|chain| chain[0]).collect();
        let mut config = testbed::config(upstream.port, &first);
        for (index, chain) in chains.iter().enumerate() {
            // The first listener is another one, `edge`.
            let listener = &mut listeners(&mut config)[1 + index];
            let plugin = at(listener, FILTER).clone();
            let filters = filters(listener);
            for (index, configuration) in chain.iter().enumerate().skip(1) {
                let name: Value = format!("plugin {index}").into();
                let mut next = plugin.clone();
                let config = &mut next["typed_config"]["config"];
                config["name"] = name.clone();
                config["configuration"] = string_value(configuration);
                next["name"] = name;
                filters.insert(index, next);
            }
            filters.insert(chain.len(), error_page());
            change(listener);
        }
        let arguments = "--concurrency 1 --log-level error --component-log-level wasm:warning";
        let envoy = testbed::start(&config, arguments);
        Self { envoy, upstream }
    }

    fn open(&self, chain: usize) -> Connection {
        Connection::open(port(&self.envoy, &listener_name(chain)))
    }

    fn send(&self, chain: usize, path: &str, lines: &[Line]) -> RoundTrip {
        let mark = self.envoy.mark();
        let count = |path| self.upstream.received(path).len();
        let before = PATHS.map(count);
        let response = self.open(chain).get(path, lines);
        let last_details = if response.status == 400 {
            "request_id_rejected"
        } else {
            "via_upstream"
        };
        let is_access_log = |line: &str| line.starts_with('{');
        let is_last = |line: &str| is_access_log(line) && line.contains(last_details);
        let mut logged = lines_until(&self.envoy, mark, is_last);
        logged.retain(|line| is_access_log(line));
        let parse =
            |line: &String| serde_json::from_str(line).expect("the access log consists of JSON");
        let received = |(path, before)| self.upstream.received(path).split_off(before);
        RoundTrip {
            response,
            received: PATHS.into_iter().zip(before).flat_map(received).collect(),
            logged: logged.iter().map(parse).collect(),
        }
    }
}

/// What became of a request.
#[derive(Debug)]
struct RoundTrip {
    response: Response,
    /// What the upstream received, with every attempt.
    received: Vec<Request>,
    /// The lines of the access log: one for each run.
    logged: Vec<Value>,
}

impl RoundTrip {
    /// Returns the only id that the request has anywhere.
    #[track_caller]
    fn id(&self, header: &str) -> Vec<u8> {
        let ids = self.response.all(header);
        assert_eq!(ids.len(), 1, "{self:#?}");
        for received in &self.received {
            // A dry run leaves repeated lines as they are.
            assert_eq!(received.all(header).join(&b','), ids[0], "{self:#?}");
        }
        if header == "x-request-id" {
            let id = String::from_utf8_lossy(ids[0]);
            for line in &self.logged {
                assert_eq!(line["request_id"], *id, "{self:#?}");
            }
            let last = self.logged.last().expect("the access log has a line");
            assert_eq!(last["response_request_id"], *id, "{self:#?}");
        }
        ids[0].to_vec()
    }
}

/// Returns the filter that makes Envoy fetch its answer for a 503 from `/last`.
fn error_page() -> Value {
    json!({
        "name": "envoy.filters.http.custom_response",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.custom_response.v3.CustomResponse",
            "custom_response_matcher": {"matcher_list": {"matchers": [{
                "predicate": {"single_predicate": {
                    "input": {
                        "name": "status",
                        "typed_config": {"@type": "type.googleapis.com/envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput"},
                    },
                    "value_match": {"exact": "503"},
                }},
                "on_match": {"action": {
                    "name": "error page",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy",
                        "uri": "http://test/last",
                    },
                }},
            }]}},
        },
    })
}

fn a_request_has_one_id_and_one_origin_after_redirects_and_with_two_plugins(_: &Testbed) {
    let policies = policies();
    let once = policies.iter().map(|policy| vec![policy.as_str()]);
    let twice = policies.iter().map(|policy| vec![policy.as_str(); 2]);
    let chains: Vec<_> = once.chain(twice).collect();
    let proxy = Proxy::start(&chains, |_| {});
    for (index, chain) in chains.iter().enumerate() {
        let config = Config::read(chain[0].as_bytes()).expect("the configuration is valid");
        let header: &'static str = config.header.clone().leak();
        for lines in requests(header) {
            let sent = as_envoy(&owned(&lines));
            let verdict = config.request(&source_address(&sent), &sent, None);
            for path in PATHS {
                let round_trip = proxy.send(index, path, &lines);
                let shown = || format!("{chain:?} {path} {lines:?}\n{verdict:?}\n{round_trip:#?}");
                let id = round_trip.id(header);
                assert!(verdict.id.matches(&id), "{}", shown());
                for line in &round_trip.logged {
                    assert_eq!(line["origin"], verdict.origin, "{}", shown());
                }
                let runs = match path {
                    _ if verdict.is_rejected() => 0,
                    "/last" => 1,
                    _ => 2,
                };
                assert_eq!(round_trip.received.len(), runs, "{}", shown());
                for received in &round_trip.received {
                    // As the first run left it.
                    if config.original().is_some() {
                        let originals = verdict.originals(&values(&sent, ORIGINAL));
                        assert_eq!(received.all(ORIGINAL), originals, "{}", shown());
                    }
                }
            }
        }
    }
}

/// In Istio, for example, a gateway can have a plugin of its own besides that of the whole mesh.
fn two_plugins_with_different_policies_agree_on_the_id(_: &Testbed) {
    let policies = [
        "{}",
        r#"{"incoming": {"trust": "none"}}"#,
        r#"{"incoming": {"trust": ["10.0.0.0/8"]}}"#,
        r#"{"incoming": {"on_invalid": "keep"}}"#,
        r#"{"incoming": {"on_invalid": "reject"}}"#,
        r#"{"incoming": {"accept": "uuid"}, "generate": "hex32", "log_origin": true}"#,
    ];
    let chains: Vec<_> = policies
        .iter()
        .flat_map(|outer| policies.iter().map(move |inner| vec![*outer, *inner]))
        .collect();
    let proxy = Proxy::start(&chains, |_| {});
    for (index, chain) in chains.iter().enumerate() {
        for lines in requests("x-request-id") {
            for path in PATHS {
                let round_trip = proxy.send(index, path, &lines);
                let shown = format!("{chain:?} {path} {lines:?}");
                assert!(!round_trip.id("x-request-id").is_empty(), "{shown}");
            }
        }
    }
}

/// A connection that is kept alive has nothing in common with the next request on it but the client.
fn a_client_cannot_claim_the_id_of_an_earlier_request(_: &Testbed) {
    let untrusting = r#"{"incoming": {"trust": "none"}}"#;
    let proxy = Proxy::start(&[vec![untrusting]], |_| {});
    let mut connection = proxy.open(0);
    let first = connection.get("/last", &[]).id();
    let names = [
        "x-request-id",
        "request_id.given.x-request-id",
        "wasm.request_id.given.x-request-id",
    ];
    let claims = names.map(|name| (name, first.clone().into_bytes()));
    let second = connection.get("/last", &claims).id();
    assert_ne!(second, first);
    assert!(is_new(&second));
}

fn a_filter_in_between_that_changes_the_id_is_respected(_: &Testbed) {
    let untrusting = r#"{"incoming": {"trust": "none"}}"#;
    let lua = r#"function envoy_on_request(handle) handle:headers():replace("x-request-id", "by-lua") end"#;
    let proxy = Proxy::start(&[vec![untrusting; 2]], |listener| {
        let lua = json!({
            "name": "lua",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": {"inline_string": lua},
            },
        });
        filters(listener).insert(1, lua);
    });
    let round_trip = proxy.send(0, "/last", &[]);
    let id = String::from_utf8(round_trip.id("x-request-id")).expect("the id is ASCII");
    assert!(is_new(&id), "{id}");
}

/// Without `declare_property` the second run takes the first one's id for the client's.
fn a_host_that_does_not_remember_ids_is_named_in_one_warning(_: &Testbed) {
    let untrusting = r#"{"incoming": {"trust": "none"}}"#;
    let proxy = Proxy::start(&[vec![untrusting], vec!["{}"]], |listener| {
        testbed::restrict(listener, "proxy_call_foreign_function");
    });
    let round_trip = proxy.send(0, "/moved", &[]);
    assert_eq!(round_trip.response.status, 200);
    assert_eq!(round_trip.received.len(), 2);
    let log = proxy.envoy.log();
    let warning = "this host does not remember ids across internal redirects";
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(warning)).collect();
    // Envoy creates the plugin in three VMs: to check the code, in the main thread, and in the worker.
    assert_eq!(warnings.len(), 3, "{log}");
}

/// The SDK's dispatcher keeps a context for each stream and filter, and traps if it does not know one. Both
/// filters here are one plugin in one VM, so one root context makes both contexts. A filter between them pauses
/// the stream, or answers before the second context has received request headers.
fn no_way_for_a_stream_to_pass_two_contexts_of_one_plugin_traps(_: &Testbed) {
    let proxy = Proxy::start(&[vec!["{}"]], |listener| {
        let plugin = at(listener, FILTER).clone();
        let on_demand = json!({
            "name": "on demand",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand",
                "odcds": {"timeout": "0.1s", "source": {"resource_api_version": "V3", "api_config_source": {
                    "api_type": "DELTA_GRPC", "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "refused"}}],
                }}},
            },
        });
        let fault = json!({
            "name": "fault",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                "abort": {"header_abort": {}, "percentage": {"numerator": 100}},
            },
        });
        filters(listener).splice(1..1, [fault, on_demand, plugin]);
    });
    let abort = ("x-envoy-fault-abort-request", b"418".to_vec());
    for (status, path, lines) in [
        (200, "/last", vec![]),
        (200, "/moved", vec![]),
        (418, "/last", vec![abort]),
        (503, "/unknown", vec![]),
    ] {
        let started = Instant::now();
        let response = proxy.open(0).get(path, &lines);
        if path == "/unknown" {
            // Less than the time-out above, because Envoy's timers are not exact.
            let is_paused = started.elapsed() >= Duration::from_millis(50);
            assert!(is_paused, "`on_demand` does not wait for the cluster");
        }
        assert_eq!(response.status, status, "{path}: {response:?}");
        assert!(is_new(&response.id()), "{path}: {response:?}");
        // The client leaves before the upstream answers.
        proxy.open(0).send(&get("test", path, &lines));
    }
    // The second context keeps the id that the first one gave.
    let kept = || counters(&proxy.envoy)["kept"];
    eventually(Duration::from_secs(5), kept, |kept| *kept >= 4);
    testbed::assert_no_errors(&proxy.envoy);
}

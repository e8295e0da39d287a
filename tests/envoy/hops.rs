//! Two Envoys in a row, the filter in both: an edge, and a proxy inside that it routes to.

use serde_json::Value;
use xtask::envoy::Process;

use crate::counters::wait_for_counters;
use crate::testbed::{self, Setup, Testbed, get, is_new, listener_name, tests};
use test_support::cases::Line;
use test_support::client::Connection;
use test_support::upstream::{Reply, Upstream};

tests![
    one_id_all_the_way_is_kept_by_the_second_proxy,
    one_id_all_the_way_with_all_requests_traced,
    an_edge_that_trusts_nobody_gives_new_ids,
    with_use_remote_address_a_client_does_not_choose_its_address,
];

fn one_id_all_the_way_is_kept_by_the_second_proxy(_: &Testbed) {
    one_id(None);
}

fn one_id_all_the_way_with_all_requests_traced(_: &Testbed) {
    one_id(Some(100));
}

const CONFIGURATION: &str = r#"{"log_origin": true}"#;

/// Starts an Envoy with the filter and this configuration. Returns it and its port.
fn start(
    upstream: u16,
    configuration: &str,
    sampling: Option<u32>,
    collector: u16,
) -> (Process, u16) {
    let mut config = testbed::config(upstream, &[configuration]);
    let setup = Setup {
        sampling,
        ..Setup::default()
    };
    setup.apply(&mut config, collector);
    let envoy = testbed::start(&config, "--concurrency 1 --log-level error");
    let port = envoy.port(&listener_name(0)).expect("Envoy listens");
    (envoy, port)
}

struct Hops {
    edge: Process,
    port: u16,
    inner: Process,
    upstream: Upstream,
    _collector: Upstream,
}

/// What became of a request, with the only id that it has anywhere.
struct RoundTrip {
    id: String,
    /// The origins of the id in the access logs of the edge and of the inner proxy.
    origins: [Value; 2],
    /// Whether it was traced.
    is_sampled: bool,
}

impl Hops {
    fn start(edge: &str, inner: &str, sampling: Option<u32>) -> Self {
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let (inner, between) = start(upstream.port, inner, sampling, collector.port);
        let (edge, port) = start(between, edge, sampling, collector.port);
        Self {
            edge,
            port,
            inner,
            upstream,
            _collector: collector,
        }
    }

    fn send(&self, path: &str, lines: &[Line]) -> RoundTrip {
        let mut connection = Connection::open(self.port);
        connection.send(&get("test", path, lines));
        let id = connection.receive().id();
        let received = self.upstream.received(path);
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].all("x-request-id"), [id.as_bytes()]);
        let origins = [&self.edge, &self.inner].map(|envoy| {
            let lines = envoy
                .lines_until(0, |line| line.starts_with('{') && line.contains(path))
                .expect("there is a line of the access log");
            let line: Value =
                serde_json::from_str(&lines[lines.len() - 1]).expect("the text is valid JSON");
            assert_eq!(line["request_id"], id.as_str(), "{line}");
            assert_eq!(line["response_request_id"], id.as_str(), "{line}");
            line["origin"].clone()
        });
        RoundTrip {
            id,
            origins,
            is_sampled: received[0].all("x-b3-sampled") == [b"1"],
        }
    }

    /// Waits until the edge and the inner proxy have counted so, and nothing else.
    fn assert_counted(&self, edge: &[(&str, u64)], inner: &[(&str, u64)]) {
        for (envoy, expected) in [(&self.edge, edge), (&self.inner, inner)] {
            let expected = expected
                .iter()
                .map(|(name, count)| ((*name).into(), *count));
            wait_for_counters(envoy, &expected.collect());
        }
    }
}

fn one_id(sampling: Option<u32>) {
    let hops = Hops::start(CONFIGURATION, CONFIGURATION, sampling);

    let from_s3 = "37be84ba-5e55-5531-9cda-bc301b676303";
    for (path, line, expected, origin) in [
        ("/generated", None, None, "generated"),
        (
            "/adopted",
            Some(("x-amz-request-id", "4B4NGF0EAWN0GE63")),
            Some(from_s3),
            "adopted:x-amz-request-id",
        ),
        (
            "/kept",
            Some(("x-request-id", "0a1b2c3d-mine")),
            Some("0a1b2c3d-mine"),
            "kept",
        ),
        (
            "/replaced",
            Some(("x-request-id", "a b")),
            None,
            "replaced:bad_byte",
        ),
    ] {
        let lines: Vec<Line> = line
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        let round_trip = hops.send(path, &lines);
        assert!(
            expected.map_or(is_new(&round_trip.id), |id| id == round_trip.id),
            "{}",
            round_trip.id
        );
        assert_eq!(round_trip.origins, [origin, "kept"]);
        assert_eq!(round_trip.is_sampled, sampling.is_some(), "{path}");
    }
    hops.assert_counted(
        &[
            ("generated", 1),
            ("adopted", 1),
            ("kept", 1),
            ("replaced", 1),
            ("invalid.bad_byte", 1),
        ],
        &[("kept", 4)],
    );
}

fn an_edge_that_trusts_nobody_gives_new_ids(_: &Testbed) {
    let edge = r#"{"incoming": {"trust": "none"}, "log_origin": true}"#;
    let hops = Hops::start(edge, CONFIGURATION, None);
    let claimed = hops.send("/claimed", &[("x-request-id", b"mine".to_vec())]);
    assert!(is_new(&claimed.id));
    assert_eq!(claimed.origins, ["replaced:untrusted", "kept"]);
    let line = ("x-amzn-requestid", b"4B4NGF0EAWN0GE63".to_vec());
    let missing = hops.send("/missing", &[line]);
    assert!(is_new(&missing.id));
    assert_eq!(missing.origins, ["generated", "kept"]);
    hops.assert_counted(
        &[("replaced", 1), ("generated", 1), ("untrusted", 2)],
        &[("kept", 2)],
    );
}

/// Without it, the address is that of `x-forwarded-for`, as the cases of `incoming.trust` show.
fn with_use_remote_address_a_client_does_not_choose_its_address(testbed: &Testbed) {
    let lines = [
        ("x-forwarded-for", b"10.0.0.1".to_vec()),
        ("x-request-id", b"mine".to_vec()),
    ];
    let exchange = testbed.exchange_with(testbed.edge, "test", "/", &lines, Reply::ok(&[]));
    assert!(is_new(&exchange.response.id()));
}

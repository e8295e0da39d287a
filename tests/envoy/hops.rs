//! Two Envoys in a row, the filter in both: an edge, and a proxy inside that it routes to.

use serde_json::Value;
use xtask::envoy::Process;

use crate::counters::wait_for_counters;
use crate::testbed::{self, Setup, Testbed, access_log, is_new, listener_name, port, tests};
use test_support::cases::Line;
use test_support::client::Connection;
use test_support::upstream::{Reply, Upstream};

tests![
    one_id_all_the_way_is_kept_by_the_second_proxy,
    an_edge_that_trusts_nobody_gives_new_ids,
    with_use_remote_address_a_client_does_not_choose_its_address,
];

const CONFIGURATION: &str = r#"{"log_origin": true}"#;

struct Hops {
    edge: Process,
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
    /// Starts both, the edge with this configuration. They trace this percentage of the requests, if any.
    fn start(edge: &str, sampling: Option<u32>) -> Self {
        let (upstream, collector) = (Upstream::start(), Upstream::start());
        let start = |upstream, configuration| {
            let mut config = testbed::config(upstream, &[configuration]);
            let setup = Setup {
                sampling,
                ..Setup::default()
            };
            setup.apply(&mut config, collector.port);
            testbed::start(&config, "--concurrency 1 --log-level error")
        };
        let inner = start(upstream.port, CONFIGURATION);
        Self {
            edge: start(port(&inner, &listener_name(0)), edge),
            inner,
            upstream,
            _collector: collector,
        }
    }

    fn send(&self, path: &str, lines: &[Line]) -> RoundTrip {
        let mut connection = Connection::open(port(&self.edge, &listener_name(0)));
        let id = connection.get(path, lines).id();
        let received = self.upstream.received(path);
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].all("x-request-id"), [id.as_bytes()]);
        let origins = [&self.edge, &self.inner].map(|envoy| {
            let line = access_log(envoy, 0, path);
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

/// With all requests traced: then Envoy would write its decision into an id if it were allowed to.
fn one_id_all_the_way_is_kept_by_the_second_proxy(_: &Testbed) {
    let hops = Hops::start(CONFIGURATION, Some(100));
    let aws_id = ("x-amz-request-id", b"4B4NGF0EAWN0GE63".to_vec());
    let from_aws_id = Some("37be84ba-5e55-5531-9cda-bc301b676303");
    let valid = ("x-request-id", b"0a1b2c3d-mine".to_vec());
    let invalid = ("x-request-id", b"a b".to_vec());
    for (path, lines, expected, origin) in [
        ("/generated", vec![], None, "generated"),
        (
            "/adopted",
            vec![aws_id],
            from_aws_id,
            "adopted:x-amz-request-id",
        ),
        ("/kept", vec![valid], Some("0a1b2c3d-mine"), "kept"),
        ("/replaced", vec![invalid], None, "replaced:bad_byte"),
    ] {
        let RoundTrip {
            id,
            origins,
            is_sampled,
        } = hops.send(path, &lines);
        assert!(
            expected.map_or(is_new(&id), |expected| id == expected),
            "{path}: {id}"
        );
        assert_eq!(origins, [origin, "kept"]);
        assert!(is_sampled, "{path}");
    }
    let outcomes = [
        "generated",
        "adopted",
        "kept",
        "replaced",
        "invalid.bad_byte",
    ];
    hops.assert_counted(&outcomes.map(|name| (name, 1)), &[("kept", 4)]);
}

fn an_edge_that_trusts_nobody_gives_new_ids(_: &Testbed) {
    let hops = Hops::start(
        r#"{"incoming": {"trust": "none"}, "log_origin": true}"#,
        None,
    );
    let claimed = hops.send("/claimed", &[("x-request-id", b"mine".to_vec())]);
    assert!(is_new(&claimed.id));
    assert_eq!(claimed.origins, ["replaced:untrusted", "kept"]);
    let missing = hops.send(
        "/missing",
        &[("x-amzn-requestid", b"4B4NGF0EAWN0GE63".to_vec())],
    );
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

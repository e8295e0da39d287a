//! Who receives the provisional id that Envoy gives a request without an id.

use serde_json::{Value, json};

use super::{Ids, TracingTestbed, listener};
use crate::testbed::{Testbed, access_log, filters, is_new, tests};
use test_support::cases::Line;
use test_support::client::{Response, get};

tests![
    nobody_receives_it_if_the_filter_runs,
    a_client_whom_another_filter_answers_receives_its_uuid,
    the_upstream_receives_it_without_the_filter,
];

const UUID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const PROVISIONAL: &str = "0f8fad5b-d9cb-469f-a165-70867728950e-provisional";

/// Sends a request to a listener. Returns the response, the ids that reached the upstream, and the log's line.
fn exchange(
    testbed: &TracingTestbed,
    listener: &str,
    host: &str,
    path: &str,
    lines: &[Line],
) -> (Response, Vec<String>, Value) {
    let mark = testbed.envoy.mark();
    let mut connection = testbed.connect(listener);
    connection.send(&get(host, path, lines));
    let response = connection.receive();
    let mut ids = Vec::new();
    for received in testbed.upstream.received(path) {
        let values = received.all("x-request-id").into_iter();
        ids.extend(values.map(|id| String::from_utf8_lossy(id).into_owned()));
    }
    (response, ids, access_log(&testbed.envoy, mark, path))
}

fn nobody_receives_it_if_the_filter_runs(_: &Testbed) {
    let testbed = TracingTestbed::start(|_| {
        let all = [Ids::Filter, Ids::FilterWithoutTrust];
        all.map(|ids| listener(&format!("{ids:?}"), ids)).into()
    });
    let mut number = 0;
    let mut id_of = |ids: Ids, status: u16, host: &str, path: &str, lines: &[Line]| {
        number += 1;
        let path = format!("{path}?{number}");
        let (response, received, log) = exchange(&testbed, &format!("{ids:?}"), host, &path, lines);
        assert_eq!(response.status, status, "{response:?}");
        let id = response.id();
        assert_eq!(log["request_id"], *id, "{log}");
        assert_eq!(log["response_request_id"], *id, "{log}");
        assert!(
            received.iter().all(|received| *received == id),
            "{received:?}"
        );
        assert_eq!(received.len(), usize::from(status == 200));
        id
    };
    let marked = || ("x-request-id", PROVISIONAL.into());
    let aws = || ("x-amz-request-id", b"4B4NGF0EAWN0GE63".to_vec());
    for (status, host, path) in [
        (200, "test", "/"),
        (404, "nowhere", "/"),
        (503, "test", "/unknown"),
        (301, "test", "/redirect"),
    ] {
        // Whether Envoy or the client sent it.
        assert!(is_new(&id_of(Ids::Filter, status, host, path, &[])));
        assert_eq!(id_of(Ids::Filter, status, host, path, &[marked()]), UUID);
        for lines in [vec![aws()], vec![aws(), marked()]] {
            let id = id_of(Ids::Filter, status, host, path, &lines);
            assert_eq!(id, "37be84ba-5e55-5531-9cda-bc301b676303");
        }
        for lines in [vec![], vec![marked()], vec![aws()], vec![aws(), marked()]] {
            let id = id_of(Ids::FilterWithoutTrust, status, host, path, &lines);
            assert!(is_new(&id) && id != UUID, "{id}");
        }
    }
}

fn a_client_whom_another_filter_answers_receives_its_uuid(_: &Testbed) {
    let testbed = TracingTestbed::start(|_| {
        let mut listener = listener("listener", Ids::Filter);
        let filters = filters(&mut listener);
        let denies = json!({
            "name": "rbac",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                "rules": {"action": "ALLOW"},
            },
        });
        filters.insert(0, denies);
        vec![listener]
    });
    let (response, received, log) = exchange(&testbed, "listener", "test", "/new", &[]);
    assert_eq!((response.status, received.len()), (403, 0));
    let id = response.id();
    assert!(is_new(&id), "{id}");
    // The marker shows that the filter did not run.
    assert_eq!(log["request_id"], format!("{id}-provisional"));
    assert_eq!(log["response_request_id"], *id);

    let lines = [("x-request-id", b"mine".to_vec())];
    let (response, _, log) = exchange(&testbed, "listener", "test", "/kept", &lines);
    assert_eq!(response.id(), "mine");
    assert_eq!(log["request_id"], "mine");
}

fn the_upstream_receives_it_without_the_filter(_: &Testbed) {
    let testbed = TracingTestbed::start(|_| vec![listener("listener", Ids::Nobody)]);
    let (response, received, log) = exchange(&testbed, "listener", "test", "/new", &[]);
    assert!(response.all("x-request-id").is_empty());
    let [id] = &received[..] else {
        panic!("{received:?}")
    };
    assert!(id.strip_suffix("-provisional").is_some_and(is_new), "{id}");
    assert_eq!(log["request_id"], **id);

    // What Envoy answers carries the UUID.
    let (response, _, log) = exchange(&testbed, "listener", "nowhere", "/no-route", &[]);
    let id = response.id();
    assert!(is_new(&id), "{id}");
    assert_eq!(log["request_id"], format!("{id}-provisional"));
}

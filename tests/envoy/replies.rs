//! What Envoy answers by itself, and upstreams that fail.

use request_id_rules::id;

use crate::testbed::{Testbed, access_log, is_new, tests};
use test_support::client::{Connection, get};
use test_support::upstream::Reply;

tests![
    replies_of_envoy_carry_the_id,
    a_response_cut_short_has_the_id_in_its_headers,
    a_retry_has_the_same_id,
    what_envoy_refuses_before_the_filter_gets_an_id,
    the_access_log_has_the_id_of_what_envoy_refuses,
    a_rejected_grpc_request_gets_a_status_of_grpc,
];

/// Whether the client sent an id or not.
fn replies_of_envoy_carry_the_id(testbed: &Testbed) {
    let nonsense = Reply::Bytes(b"nonsense\r\n\r\n".to_vec());
    for (status, host, path, upstream) in [
        (404, "nowhere", "/", Reply::Close),     // no route
        (503, "test", "/refused", Reply::Close), // a connection that is refused
        (503, "test", "/unknown", Reply::Close), // a cluster that does not exist
        (301, "test", "/redirect", Reply::Close),
        (418, "test", "/direct", Reply::Close),
        (504, "test", "/slow", Reply::Silence),
        (503, "test", "/", Reply::Close),
        (502, "test", "/", nonsense),
    ] {
        for lines in [&[("x-request-id", b"mine".to_vec())][..], &[]] {
            let exchange = testbed.exchange_with(testbed.port, host, path, lines, upstream.clone());
            let id = exchange.response.id();
            assert_eq!(exchange.response.status, status, "{exchange:?}");
            let is_expected = if lines.is_empty() {
                is_new(&id)
            } else {
                id == "mine"
            };
            assert!(is_expected, "{id}");
            assert_eq!(exchange.access_log["request_id"], id.as_str());
        }
    }
}

fn a_response_cut_short_has_the_id_in_its_headers(testbed: &Testbed) {
    let path = testbed.unique("/");
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\ncut".to_vec();
    testbed.upstream.expect(&path, Reply::Bytes(reply));
    let mut connection = Connection::open(testbed.port);
    connection.send(&get("test", &path, &[("x-request-id", b"mine".to_vec())]));
    assert_eq!(connection.receive_head().id(), "mine");
}

fn a_retry_has_the_same_id(testbed: &Testbed) {
    let reply = Reply::Bytes(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let exchange = testbed.exchange("/retry", &[], reply);
    let id = exchange.response.id();
    assert_eq!(exchange.received.len(), 2, "{exchange:#?}");
    for attempt in &exchange.received {
        assert_eq!(attempt.all("x-request-id"), [id.as_bytes()]);
    }
}

/// Envoy refuses these before any filter runs: `local_reply_config` gives the response an id, which is the
/// client's if that has one without an invalid byte.
fn what_envoy_refuses_before_the_filter_gets_an_id(testbed: &Testbed) {
    let upgrade = "host: test\r\nconnection: upgrade\r\nupgrade: foo\r\n";
    let valid: String = (0..=127_u8)
        .filter(|byte| id::is_safe(*byte))
        .map(char::from)
        .collect();
    let upgrade = format!("{upgrade}x-request-id: {valid}\r\n");
    let too_large = format!("host: test\r\nx-request-id: {}\r\n", "a".repeat(70_000));
    for (lines, status, is_kept) in [
        ("", 400, false), // no host
        ("x-request-id: a b\r\n", 400, false),
        ("host: test\r\nx-request-id: a\0b\r\n", 400, false),
        ("host: test\r\nx-request-id: a\x7fb\r\n", 400, false),
        (&too_large, 431, false),
        (&upgrade, 403, true), // to a protocol that the listener does not offer
    ] {
        let mut connection = Connection::open(testbed.port);
        connection.send(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes());
        let response = connection.receive();
        let id = response.id();
        assert_eq!(response.status, status, "{response:?}");
        let is_expected = if is_kept { id == valid } else { is_new(&id) };
        assert!(is_expected, "{response:?}");
    }
}

fn the_access_log_has_the_id_of_what_envoy_refuses(testbed: &Testbed) {
    let mark = testbed.envoy.mark();
    let mut connection = Connection::open(testbed.port);
    connection.send(b"GET /no-host HTTP/1.1\r\nx-request-id: mine\r\n\r\n");
    assert_eq!(connection.receive().id(), "mine");
    let log = access_log(&testbed.envoy, mark, "/no-host");
    assert_eq!(log["request_id"], "mine");
    assert_eq!(log["response_request_id"], "mine");
}

fn a_rejected_grpc_request_gets_a_status_of_grpc(testbed: &Testbed) {
    let port = testbed.port_with(r#"{"incoming": {"on_invalid": "reject"}}"#);
    let lines = [
        ("content-type", b"application/grpc".to_vec()),
        ("x-request-id", b"a b".to_vec()),
    ];
    let exchange = testbed.exchange_with(port, "test", "/", &lines, Reply::Close);
    assert_eq!(exchange.response.all("grpc-status"), [b"3"]);
    assert!(exchange.received.is_empty() && is_new(&exchange.response.id()));
}

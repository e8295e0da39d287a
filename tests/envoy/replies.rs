//! What Envoy answers by itself, and upstreams that fail.

use crate::testbed::{Exchange, Test, Testbed, is_new};
use test_support::client::Connection;
use test_support::upstream::Reply;

pub const TESTS: &[Test] = &[
    ("reply: 404 without a route", no_route),
    ("reply: 503 of a refused connection", refused),
    ("reply: 503 of an unknown cluster", unknown_cluster),
    ("reply: redirect", redirect),
    ("reply: direct response", direct_response),
    ("reply: 504 of an upstream that is silent", silent),
    ("reply: 503 of an upstream that closes", closes),
    ("reply: 502 of an upstream that talks nonsense", nonsense),
    (
        "reply: a response cut short has the id in its headers",
        cut_short,
    ),
    ("reply: a retry has the same id", retry),
    ("reply: 400 without a host, before the filter", no_host),
    ("reply: 403 of an upgrade, before the filter", upgrade),
    (
        "reply: a rejected request's id where the upstream's would stay",
        rejected_if_absent,
    ),
    ("reply: a rejected gRPC request", rejected_grpc),
    (
        "reply: 400 of a byte no header may have, before the filter",
        forbidden_byte,
    ),
    (
        "reply: 431 of too large headers, before the filter",
        too_large,
    ),
];

/// Both a request with an id and one without get theirs in a reply with this status.
fn answered_by_envoy(
    testbed: &Testbed,
    status: u16,
    host: &str,
    path: &str,
    reply: &Reply,
) -> Exchange {
    let kept = testbed.exchange_with(
        testbed.port,
        host,
        path,
        &[("x-request-id", b"mine".to_vec())],
        reply.clone(),
    );
    assert_eq!(
        (kept.response.status, &*kept.response.id()),
        (status, "mine")
    );
    assert_eq!(kept.access_log["request_id"], "mine");
    let new = testbed.exchange_with(testbed.port, host, path, &[], reply.clone());
    let id = new.response.id();
    assert_eq!(new.response.status, status);
    assert!(is_new(&id));
    assert_eq!(new.access_log["request_id"], id.as_str());
    new
}

fn no_route(testbed: &Testbed) {
    answered_by_envoy(testbed, 404, "nowhere", "/", &Reply::Close);
}

fn refused(testbed: &Testbed) {
    answered_by_envoy(testbed, 503, "test", "/refused", &Reply::Close);
}

fn unknown_cluster(testbed: &Testbed) {
    answered_by_envoy(testbed, 503, "test", "/unknown", &Reply::Close);
}

fn redirect(testbed: &Testbed) {
    let exchange = answered_by_envoy(testbed, 301, "test", "/redirect", &Reply::Close);
    assert_eq!(exchange.response.all("location").len(), 1);
}

fn direct_response(testbed: &Testbed) {
    let exchange = answered_by_envoy(testbed, 418, "test", "/direct", &Reply::Close);
    assert_eq!(exchange.response.body, b"tea");
}

fn silent(testbed: &Testbed) {
    answered_by_envoy(testbed, 504, "test", "/slow", &Reply::Silence);
}

fn closes(testbed: &Testbed) {
    answered_by_envoy(testbed, 503, "test", "/", &Reply::Close);
}

fn nonsense(testbed: &Testbed) {
    answered_by_envoy(
        testbed,
        502,
        "test",
        "/",
        &Reply::Bytes(b"nonsense\r\n\r\n".to_vec()),
    );
}

fn cut_short(testbed: &Testbed) {
    let path = testbed.unique("/");
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\ncut".to_vec();
    testbed.upstream.expect(&path, Reply::Bytes(reply));
    let mut connection = Connection::open(testbed.port);
    connection.send(
        format!("GET {path} HTTP/1.1\r\nhost: test\r\nx-request-id: mine\r\n\r\n").as_bytes(),
    );
    assert_eq!(connection.receive_head().id(), "mine");
}

fn retry(testbed: &Testbed) {
    let reply = Reply::Bytes(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let exchange = testbed.exchange("/retry", &[], reply);
    let id = exchange.response.id();
    assert_eq!(exchange.upstream.len(), 2, "{exchange:#?}");
    for attempt in &exchange.upstream {
        assert_eq!(
            test_support::client::all(&attempt.headers, "x-request-id"),
            [id.as_bytes()]
        );
    }
}

/// What Envoy refuses before any filter runs: `local_reply_config` gives the response an id.
fn refused_early(testbed: &Testbed, request: &str, status: u16) -> String {
    let mut connection = Connection::open(testbed.port);
    connection.send(request.as_bytes());
    let response = connection.receive();
    assert_eq!(response.status, status, "{response:?}");
    response.id()
}

fn no_host(testbed: &Testbed) {
    assert!(is_new(&refused_early(
        testbed,
        "GET / HTTP/1.1\r\n\r\n",
        400
    )));
    assert!(is_new(&refused_early(
        testbed,
        "GET / HTTP/1.1\r\nx-request-id: a b\r\n\r\n",
        400
    )));
    let mark = testbed.envoy.mark();
    let request = "GET /no-host HTTP/1.1\r\nx-request-id: mine\r\n\r\n";
    assert_eq!(refused_early(testbed, request, 400), "mine");
    let log = testbed.access_log(mark, "/no-host");
    assert_eq!(
        (&log["request_id"], &log["response_request_id"]),
        (&"mine".into(), &"mine".into())
    );
}

/// Envoy does not let a protocol through that the listener does not offer.
fn upgrade(testbed: &Testbed) {
    let request = "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: foo\r\nx-request-id: mine\r\n\r\n";
    assert_eq!(refused_early(testbed, request, 403), "mine");
}

/// The filter's own 400, where the response's id may be another's.
fn rejected_if_absent(testbed: &Testbed) {
    let port = testbed
        .port_with(r#"{"incoming": {"on_invalid": "reject"}, "response": {"echo": "if_absent"}}"#);
    let lines = [("x-request-id", b"a b".to_vec())];
    let exchange = testbed.exchange_with(port, "test", "/", &lines, Reply::Close);
    let body: serde_json::Value = serde_json::from_slice(&exchange.response.body).expect("JSON");
    assert_eq!(body["request_id"], exchange.response.id());
    assert_eq!(exchange.access_log["request_id"], exchange.response.id());
}

/// gRPC clients get their own kind of answer.
fn rejected_grpc(testbed: &Testbed) {
    let port = testbed.port_with(r#"{"incoming": {"on_invalid": "reject"}}"#);
    let lines = [
        ("content-type", b"application/grpc".to_vec()),
        ("x-request-id", b"a b".to_vec()),
    ];
    let exchange = testbed.exchange_with(port, "test", "/", &lines, Reply::Close);
    assert_eq!(exchange.response.all("grpc-status"), [b"3"]);
    assert!(exchange.upstream.is_empty() && is_new(&exchange.response.id()));
}

fn forbidden_byte(testbed: &Testbed) {
    assert!(is_new(&refused_early(
        testbed,
        "GET / HTTP/1.1\r\nhost: test\r\nx-request-id: a\0b\r\n\r\n",
        400,
    )));
    assert!(is_new(&refused_early(
        testbed,
        "GET / HTTP/1.1\r\nhost: test\r\nx-request-id: a\x7fb\r\n\r\n",
        400,
    )));
}

fn too_large(testbed: &Testbed) {
    let id = "a".repeat(70_000);
    assert!(is_new(&refused_early(
        testbed,
        &format!("GET / HTTP/1.1\r\nhost: test\r\nx-request-id: {id}\r\n\r\n"),
        431,
    )));
}

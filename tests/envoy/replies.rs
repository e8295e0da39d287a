//! What Envoy answers by itself, and upstreams that fail.

use crate::client::Connection;
use crate::stage::{Exchange, Stage, Test, is_new};
use crate::upstream::Reply;

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
    stage: &Stage,
    status: u16,
    host: &str,
    path: &str,
    reply: &Reply,
) -> Exchange {
    let kept = stage.exchange_with(
        stage.port,
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
    let new = stage.exchange_with(stage.port, host, path, &[], reply.clone());
    let id = new.response.id();
    assert_eq!(new.response.status, status);
    assert!(is_new(&id));
    assert_eq!(new.access_log["request_id"], id.as_str());
    new
}

fn no_route(stage: &Stage) {
    answered_by_envoy(stage, 404, "nowhere", "/", &Reply::Close);
}

fn refused(stage: &Stage) {
    answered_by_envoy(stage, 503, "test", "/refused", &Reply::Close);
}

fn unknown_cluster(stage: &Stage) {
    answered_by_envoy(stage, 503, "test", "/unknown", &Reply::Close);
}

fn redirect(stage: &Stage) {
    let exchange = answered_by_envoy(stage, 301, "test", "/redirect", &Reply::Close);
    assert_eq!(exchange.response.all("location").len(), 1);
}

fn direct_response(stage: &Stage) {
    let exchange = answered_by_envoy(stage, 418, "test", "/direct", &Reply::Close);
    assert_eq!(exchange.response.body, b"tea");
}

fn silent(stage: &Stage) {
    answered_by_envoy(stage, 504, "test", "/slow", &Reply::Silence);
}

fn closes(stage: &Stage) {
    answered_by_envoy(stage, 503, "test", "/", &Reply::Close);
}

fn nonsense(stage: &Stage) {
    answered_by_envoy(
        stage,
        502,
        "test",
        "/",
        &Reply::Bytes(b"nonsense\r\n\r\n".to_vec()),
    );
}

fn cut_short(stage: &Stage) {
    let path = stage.unique("/");
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\ncut".to_vec();
    stage.upstream.expect(&path, Reply::Bytes(reply));
    let mut connection = Connection::open(stage.port);
    connection.send(
        format!("GET {path} HTTP/1.1\r\nhost: test\r\nx-request-id: mine\r\n\r\n").as_bytes(),
    );
    assert_eq!(connection.receive_head().id(), "mine");
}

fn retry(stage: &Stage) {
    let reply = Reply::Bytes(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let exchange = stage.exchange("/retry", &[], reply);
    let id = exchange.response.id();
    assert_eq!(exchange.upstream.len(), 2, "{exchange:#?}");
    for attempt in &exchange.upstream {
        assert_eq!(
            crate::client::all(&attempt.headers, "x-request-id"),
            [id.as_bytes()]
        );
    }
}

/// What Envoy refuses before any filter runs: `local_reply_config` gives the response an id.
fn refused_early(stage: &Stage, request: &str, status: u16) {
    let mut connection = Connection::open(stage.port);
    connection.send(request.as_bytes());
    let response = connection.receive();
    assert_eq!(response.status, status, "{response:?}");
    assert!(is_new(&response.id()), "{response:?}");
}

fn no_host(stage: &Stage) {
    refused_early(stage, "GET / HTTP/1.1\r\nx-request-id: a b\r\n\r\n", 400);
}

fn forbidden_byte(stage: &Stage) {
    refused_early(
        stage,
        "GET / HTTP/1.1\r\nhost: test\r\nx-request-id: a\0b\r\n\r\n",
        400,
    );
    refused_early(
        stage,
        "GET / HTTP/1.1\r\nhost: test\r\nx-request-id: a\x7fb\r\n\r\n",
        400,
    );
}

fn too_large(stage: &Stage) {
    let id = "a".repeat(70_000);
    refused_early(
        stage,
        &format!("GET / HTTP/1.1\r\nhost: test\r\nx-request-id: {id}\r\n\r\n"),
        431,
    );
}

//! Each protocol that carries a request through Envoy.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::mpsc::channel;
use std::thread;

use http::{HeaderMap, HeaderValue, Request, Response};
use request_id_rules::policy::IdFormat;
use tokio::net::TcpListener;
use tokio::runtime;

use crate::client::{Connection, TIMEOUT};
use crate::stage::{Stage, Test, is_new, is_new_of};
use crate::upstream::Reply;

pub const TESTS: &[Test] = &[
    (
        "HTTP/1.1: requests on one connection have ids of their own",
        keep_alive,
    ),
    (
        "HTTP/1.1: pipelined requests have ids of their own",
        pipelining,
    ),
    (
        "HTTP/1.1: version 7 ids of one worker sort by time",
        sortable,
    ),
    ("HTTP/1.1: HEAD carries the id", head),
    ("HTTP/1.1: a request with a body carries the id", body),
    (
        "HTTP/1.1: a body of 1 MiB each way costs no call into the module",
        body_calls,
    ),
    (
        "HTTP/1.1: the final response after 100 carries the id",
        expect_continue,
    ),
    (
        "HTTP/2: streams of one connection have ids of their own",
        http2_streams,
    ),
    (
        "HTTP/2: bytes and repetitions are judged as in HTTP/1.1",
        http2_bytes,
    ),
    ("HTTP/2: blanks around an id", http2_blanks),
    ("HTTP/2 upstream: the id goes both ways", http2_upstream),
    (
        "gRPC: a trailers-only response carries the id",
        grpc_trailers_only,
    ),
    (
        "gRPC: Envoy's own trailers-only response carries the id",
        grpc_local_reply,
    ),
    (
        "WebSocket: the upgrade carries the id both ways",
        web_socket,
    ),
];

fn keep_alive(stage: &Stage) {
    let mut connection = Connection::open(stage.port);
    let mut ids = Vec::new();
    for given in [None, Some("mine"), None] {
        let path = stage.unique("/");
        let line = given.map_or(String::new(), |id| format!("x-request-id: {id}\r\n"));
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n{line}\r\n").as_bytes());
        let id = connection.receive().id();
        assert_eq!(
            crate::client::all(&stage.upstream.seen(&path)[0].headers, "x-request-id"),
            [id.as_bytes()]
        );
        ids.push(id);
    }
    assert!(
        is_new(&ids[0]) && is_new(&ids[2]) && ids[0] != ids[2],
        "{ids:?}"
    );
    assert_eq!(ids[1], "mine");
}

fn pipelining(stage: &Stage) {
    let mut connection = Connection::open(stage.port);
    let requests: String = ["mine", "", "yours"]
        .map(|id| {
            format!(
                "GET {} HTTP/1.1\r\nhost: test\r\nx-request-id: {id}\r\n\r\n",
                stage.unique("/")
            )
        })
        .concat();
    connection.send(requests.as_bytes());
    let ids = [(); 3].map(|()| connection.receive().id());
    assert_eq!((&*ids[0], &*ids[2]), ("mine", "yours"));
    assert!(is_new(&ids[1]));
}

fn sortable(stage: &Stage) {
    let mut connection = Connection::open(stage.port_with(r#"{"generate": "uuid7"}"#));
    let requests =
        [(); 200].map(|()| format!("GET {} HTTP/1.1\r\nhost: test\r\n\r\n", stage.unique("/")));
    connection.send(requests.concat().as_bytes());
    let ids = [(); 200].map(|()| connection.receive().id());
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:#?}");
    assert!(ids.iter().all(|id| is_new_of(IdFormat::Uuid7, id)));
}

fn head(stage: &Stage) {
    let mut connection = Connection::open(stage.port);
    let path = stage.unique("/");
    stage.upstream.expect(
        &path,
        Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n".to_vec()),
    );
    connection.send(
        format!("HEAD {path} HTTP/1.1\r\nhost: test\r\nx-request-id: mine\r\n\r\n").as_bytes(),
    );
    assert_eq!(connection.receive_head().id(), "mine");
}

fn body(stage: &Stage) {
    let mut connection = Connection::open(stage.port);
    let path = stage.unique("/");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    connection.send(request.as_bytes());
    let response = connection.receive();
    assert_eq!((response.status, &*response.body), (200, &b"ok"[..]));
    assert!(is_new(&response.id()));
}

fn body_calls(stage: &Stage) {
    let chunks = |count: usize| {
        let chunk = format!("4000\r\n{}\r\n", "x".repeat(16 * 1024));
        chunk.repeat(count) + "0\r\n\r\n"
    };
    let calls = |chunk_count: usize| {
        let path = stage.unique("/");
        let body = chunks(chunk_count);
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stage
            .upstream
            .expect(&path, Reply::Bytes(format!("{head}{body}").into()));
        let mark = stage.envoy.mark();
        let mut connection = Connection::open(stage.port);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        connection.send(format!("{head}{body}").as_bytes());
        let response = connection.receive();
        assert!(response.body.len() >= chunk_count * 16 * 1024);
        let exchange = stage.finish(mark, &path, response);
        assert!(exchange.seen().body.len() >= chunk_count * 16 * 1024);
        let calls = exchange.traced("[host->vm] ");
        let names = calls.iter().filter_map(|call| call.split_once('('));
        let names = names.map(|(name, _)| name.to_owned());
        names
            .filter(|name| name != "proxy_on_tick") // of another plugin
            .collect::<Vec<_>>()
    };
    let of_one_chunk = calls(1);
    assert_eq!(
        of_one_chunk,
        [
            "proxy_on_context_create",
            "proxy_on_request_headers",
            "proxy_on_memory_allocate", // for the provisional id
            "proxy_on_memory_allocate", // for the request's headers
            "proxy_on_response_headers",
            "proxy_on_memory_allocate", // for the response's
            "proxy_on_delete",
        ]
    );
    assert_eq!(calls(64), of_one_chunk);
}

fn expect_continue(stage: &Stage) {
    let mut connection = Connection::open(stage.port);
    let path = stage.unique("/");
    connection.send(
        format!("POST {path} HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\nx-request-id: mine\r\ncontent-length: 1\r\n\r\n")
            .as_bytes(),
    );
    assert_eq!(connection.receive().status, 100);
    connection.send(b"x");
    let response = connection.receive();
    assert_eq!((response.status, response.id()), (200, "mine".into()));
}

/// Sends all requests at once on one HTTP/2 connection.
fn http2(
    stage: &Stage,
    requests: Vec<(String, Vec<&'static [u8]>)>,
) -> Vec<Result<Response<()>, h2::Error>> {
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, stage.port))
            .await
            .expect("Envoy listens");
        let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let mut pending = Vec::new();
        for (path, ids) in requests {
            let mut request = Request::get(format!("http://test{path}"));
            for id in ids {
                request = request.header(
                    "x-request-id",
                    HeaderValue::from_bytes(id).expect("a value"),
                );
            }
            client = client.ready().await.expect("room for a stream");
            let (response, _) = client
                .send_request(request.body(()).expect("a request"), true)
                .expect("a stream");
            pending.push(response);
        }
        let mut responses = Vec::new();
        for response in pending {
            let response = tokio::time::timeout(TIMEOUT, response)
                .await
                .expect("an answer in time");
            responses.push(response.map(|response| response.map(drop)));
        }
        connection.abort();
        responses
    })
}

fn ids(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all("x-request-id")
        .iter()
        .map(|id| id.to_str().expect("ASCII"))
        .collect()
}

fn http2_streams(stage: &Stage) {
    let given: [&[&[u8]]; 4] = [&[], &[b"mine"], &[], &[b"yours"]];
    let requests = given.map(|ids| (stage.unique("/"), ids.to_vec())).to_vec();
    let paths: Vec<_> = requests.iter().map(|(path, _)| path.clone()).collect();
    let responses: Vec<_> = http2(stage, requests)
        .into_iter()
        .map(|response| response.expect("a response"))
        .collect();
    for (path, response) in paths.iter().zip(&responses) {
        let seen = stage.upstream.seen(path);
        assert_eq!(ids(response.headers()).len(), 1);
        assert_eq!(
            crate::client::all(&seen[0].headers, "x-request-id").concat(),
            ids(response.headers())[0].as_bytes()
        );
    }
    let ids: Vec<_> = responses
        .iter()
        .map(|response| ids(response.headers())[0])
        .collect();
    assert_eq!((ids[1], ids[3]), ("mine", "yours"));
    assert!(
        is_new(ids[0]) && is_new(ids[2]) && ids[0] != ids[2],
        "{ids:?}"
    );
}

fn http2_bytes(stage: &Stage) {
    let given: [&[&[u8]]; 5] = [
        &[b"caf\xe9\xff"],
        &[b"a", b"b"],
        &[b"a", b"a"],
        &[b""],
        &[b"a b"],
    ];
    let requests = given.map(|ids| (stage.unique("/"), ids.to_vec())).to_vec();
    let responses: Vec<_> = http2(stage, requests)
        .into_iter()
        .map(|response| response.expect("a response"))
        .collect();
    let ids: Vec<_> = responses
        .iter()
        .map(|response| ids(response.headers())[0])
        .collect();
    assert_eq!(ids[2], "a");
    for new in [0, 1, 3, 4] {
        assert!(is_new(ids[new]), "{ids:?}");
    }
}

/// A blank around a value is malformed in HTTP/2 (RFC 9113, 8.2.1). Whether Envoy refuses or trims
/// it, it is no part of an id.
fn http2_blanks(stage: &Stage) {
    let [response] = &http2(stage, vec![(stage.unique("/"), vec![b" mine ".as_slice()])])[..]
    else {
        panic!("one response");
    };
    if let Ok(response) = response {
        assert_eq!(ids(response.headers()), ["mine"]);
    }
}

fn http2_upstream(stage: &Stage) {
    let exchange = stage.exchange("/h2", &[("x-request-id", b"mine".to_vec())], Reply::Close);
    assert_eq!(exchange.response.id(), "mine");
    assert_eq!(exchange.response.all("x-seen-request-id"), [b"mine"]);
    assert_eq!(
        exchange.response.all("x-amzn-requestid"),
        [b"Mc7UVioPPHcEKPA="]
    );
}

fn grpc_trailers_only(stage: &Stage) {
    let exchange = stage.exchange(
        "/h2",
        &[("content-type", b"application/grpc".to_vec())],
        Reply::Close,
    );
    let id = exchange.response.id();
    assert!(is_new(&id));
    assert_eq!(exchange.response.all("x-seen-request-id"), [id.as_bytes()]);
    assert_eq!(exchange.response.all("grpc-status"), [b"7"]);
    assert!(
        exchange
            .trace
            .iter()
            .any(|line| line.contains("proxy_on_response_headers(") && line.ends_with(", 1)"))
    );
}

fn grpc_local_reply(stage: &Stage) {
    let exchange = stage.exchange(
        "/refused",
        &[("content-type", b"application/grpc".to_vec())],
        Reply::Close,
    );
    assert_eq!(exchange.response.all("grpc-status"), [b"14"]);
    assert!(is_new(&exchange.response.id()));
}

fn web_socket(stage: &Stage) {
    let path = stage.unique("/web-socket");
    stage.upstream.expect(&path, Reply::WebSocket);
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, stage.port)).expect("Envoy listens");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let (mut socket, response) =
        tungstenite::client(format!("ws://test{path}"), stream).expect("an upgrade");
    let id = response.headers()["x-request-id"].to_str().expect("ASCII");
    assert!(is_new(id));
    assert_eq!(
        crate::client::all(&stage.upstream.seen(&path)[0].headers, "x-request-id"),
        [id.as_bytes()]
    );
    socket.send("hello".into()).expect("a message out");
    assert_eq!(socket.read().expect("a message back"), "hello".into());
    socket.close(None).expect("a close");
}

pub fn runtime() -> runtime::Runtime {
    runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// An upstream that speaks HTTP/2 only, says which id it saw, and refuses gRPC as gRPC does it:
/// with headers that end the stream.
pub fn start_http2_upstream() -> io::Result<u16> {
    let (port, started) = channel();
    thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .expect("a free port");
            port.send(listener.local_addr().expect("an address").port())
                .expect("a receiver");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        answer(&request, respond);
                    }
                });
            }
        });
    });
    started.recv().map_err(io::Error::other)
}

fn answer(request: &Request<h2::RecvStream>, mut respond: h2::server::SendResponse<bytes::Bytes>) {
    let mut response = Response::builder().header("apigw-requestid", "Mc7UVioPPHcEKPA=");
    for id in request.headers().get_all("x-request-id") {
        response = response.header("x-seen-request-id", id);
    }
    if request
        .headers()
        .get("content-type")
        .is_some_and(|kind| kind == "application/grpc")
    {
        response = response
            .header("content-type", "application/grpc")
            .header("grpc-status", "7");
    }
    respond
        .send_response(response.body(()).expect("a response"), true)
        .expect("Envoy takes the response");
}

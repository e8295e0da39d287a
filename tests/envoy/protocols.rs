//! What a protocol adds to a request: bodies, upgrades, trailers. `hostile` sends requests of every kind over
//! HTTP/1.1 and HTTP/2, to upstreams of both.

use std::net::{Ipv4Addr, TcpStream};

use request_id_rules::policy::IdFormat;

use crate::testbed::{Testbed, is_new, tests};
use test_support::cases::Line;
use test_support::client::{Connection, TIMEOUT, get};
use test_support::upstream::Reply;
use test_support::verdict;

tests![
    pipelined_requests_have_ids_of_their_own,
    version_7_ids_of_one_worker_sort_by_time,
    a_response_to_head_carries_the_id,
    a_body_of_1_mib_each_way_costs_no_call_into_the_module,
    the_final_response_after_100_carries_the_id,
    a_trailers_only_response_of_grpc_carries_the_id,
    a_trailers_only_response_of_envoy_carries_the_id,
    the_upgrade_to_a_web_socket_carries_the_id_both_ways,
];

fn pipelined_requests_have_ids_of_their_own(testbed: &Testbed) {
    let mut connection = Connection::open(testbed.port);
    for id in ["mine", "", "yours"] {
        let lines = [("x-request-id", id.into())];
        connection.send(&get("test", "/", &lines));
    }
    let ids = [(); 3].map(|()| connection.receive().id());
    assert_eq!((&*ids[0], &*ids[2]), ("mine", "yours"));
    assert!(is_new(&ids[1]));
}

fn version_7_ids_of_one_worker_sort_by_time(testbed: &Testbed) {
    let mut connection = Connection::open(testbed.port_with(r#"{"generate": "uuid7"}"#));
    let requests = [(); 200].map(|()| get("test", "/", &[]));
    connection.send(&requests.concat());
    let ids = [(); 200].map(|()| connection.receive().id());
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:#?}");
    assert!(ids.iter().all(|id| verdict::is_new(IdFormat::Uuid7, id)));
}

fn a_response_to_head_carries_the_id(testbed: &Testbed) {
    let path = testbed.unique("/");
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n".to_vec();
    testbed.upstream.expect(&path, Reply::Bytes(head));
    let mut connection = Connection::open(testbed.port);
    let request = format!("HEAD {path} HTTP/1.1\r\nhost: test\r\nx-request-id: mine\r\n\r\n");
    connection.send(request.as_bytes());
    assert_eq!(connection.receive_head().id(), "mine");
}

fn a_body_of_1_mib_each_way_costs_no_call_into_the_module(testbed: &Testbed) {
    let calls = |chunk_count: usize| {
        let path = testbed.unique("/");
        let chunk = format!("4000\r\n{}\r\n", "x".repeat(16 * 1024));
        let body = chunk.repeat(chunk_count) + "0\r\n\r\n";
        let response = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let reply = Reply::Bytes(response.into());
        testbed.upstream.expect(&path, reply);
        let mark = testbed.envoy.mark();
        let mut connection = Connection::open(testbed.port);
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{body}"
        );
        connection.send(request.as_bytes());
        let response = connection.receive();
        assert!(is_new(&response.id()));
        assert!(response.body.len() >= chunk_count * 16 * 1024);
        let exchange = testbed.finish(mark, &path, response);
        assert!(exchange.received().body.len() >= chunk_count * 16 * 1024);
        let calls = exchange.traced("[host->vm] ").into_iter();
        let names = calls.filter_map(|call| Some(call.split_once('(')?.0.to_owned()));
        let names = names.filter(|name| name != "proxy_on_tick"); // which other plugins get
        names.collect::<Vec<_>>()
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

fn the_final_response_after_100_carries_the_id(testbed: &Testbed) {
    let mut connection = Connection::open(testbed.port);
    let lines = [
        ("expect", b"100-continue".to_vec()),
        ("content-length", b"1".to_vec()),
    ];
    assert_eq!(connection.get("/", &lines).status, 100);
    connection.send(b"x");
    let response = connection.receive();
    assert_eq!(response.status, 200, "{response:?}");
    assert!(is_new(&response.id()), "{response:?}");
}

fn grpc() -> [Line; 1] {
    [("content-type", b"application/grpc".to_vec())]
}

fn a_trailers_only_response_of_grpc_carries_the_id(testbed: &Testbed) {
    let exchange = testbed.exchange("/h2", &grpc(), Reply::Close);
    assert!(is_new(&exchange.response.id()));
    assert_eq!(exchange.response.all("grpc-status"), [b"7"]);
    let calls = exchange.traced("[host->vm] proxy_on_response_headers(");
    let ends_the_stream = |arguments: &&str| arguments.ends_with(", 1)");
    assert!(calls.iter().any(ends_the_stream), "{exchange:?}");
}

fn a_trailers_only_response_of_envoy_carries_the_id(testbed: &Testbed) {
    let exchange = testbed.exchange("/refused", &grpc(), Reply::Close);
    assert_eq!(exchange.response.all("grpc-status"), [b"14"]);
    assert!(is_new(&exchange.response.id()));
}

fn the_upgrade_to_a_web_socket_carries_the_id_both_ways(testbed: &Testbed) {
    let path = testbed.unique("/web-socket");
    testbed.upstream.expect(&path, Reply::WebSocket);
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, testbed.port)).expect("Envoy listens");
    stream
        .set_read_timeout(Some(TIMEOUT))
        .expect("the socket accepts a timeout");
    let (mut socket, response) = tungstenite::client(format!("ws://test{path}"), stream)
        .expect("Envoy upgrades the connection");
    let id = response.headers()["x-request-id"].as_bytes();
    assert!(is_new(&String::from_utf8_lossy(id)));
    let received = testbed.upstream.received(&path);
    assert_eq!(received[0].all("x-request-id"), [id]);
    let sent = socket.send("hello".into());
    sent.expect("the server takes a message");
    let answer = socket.read().expect("the server sends the message back");
    assert_eq!(answer, "hello".into());
}

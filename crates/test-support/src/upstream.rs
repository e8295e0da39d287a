//! An HTTP/1.1 upstream that records the bytes it receives and answers with the bytes that a test sets.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tungstenite::WebSocket;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;

use crate::client::{Connection, Request, length};
use crate::message::to_bytes;

/// What the upstream does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with these bytes and keeps the connection.
    Bytes(Vec<u8>),
    /// Answers with these bytes after a while.
    Later(Duration, Vec<u8>),
    /// Answers with the first bytes at once, and with the others after a while.
    InTwo(Vec<u8>, Duration, Vec<u8>),
    /// Closes the connection without an answer.
    Close,
    /// Never answers.
    Silence,
    /// Accepts a WebSocket and sends each message back.
    WebSocket,
}

impl Reply {
    /// Returns the reply 200 with these header lines.
    #[must_use]
    pub fn ok(lines: &[(&str, Vec<u8>)]) -> Self {
        let end = b"content-length: 2\r\n\r\nok";
        Self::Bytes([b"HTTP/1.1 200 OK\r\n", &to_bytes(lines)[..], end].concat())
    }
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    received: HashMap<String, Vec<Request>>,
}

/// A server on a free port of 127.0.0.1. Its threads end with the program.
pub struct Upstream {
    /// The port.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Upstream {
    /// Starts an upstream.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let port = start(move |connection| serve(connection, &shared));
        Self { port, state }
    }

    /// Makes the upstream answer requests for `path` with `reply` instead of a plain 200.
    pub fn expect(&self, path: &str, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        state.replies.insert(path.into(), reply);
    }

    /// Returns the requests for `path` that arrived, oldest first.
    #[must_use]
    pub fn received(&self, path: &str) -> Vec<Request> {
        let state = self.state.lock().unwrap();
        state.received.get(path).cloned().unwrap_or_default()
    }
}

/// Listens on a free port of 127.0.0.1.
#[must_use]
pub fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("the socket has an address");
    (listener, address.port())
}

/// Returns different ports of 127.0.0.1 that are free.
#[must_use]
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| listen());
    listeners.map(|(_, port)| port)
}

/// Returns the bytes of a redirect to a path.
#[must_use]
pub fn redirect_to(path: &str) -> Vec<u8> {
    let location = format!("location: http://test{path}");
    format!("HTTP/1.1 302 Found\r\n{location}\r\ncontent-length: 0\r\n\r\n").into()
}

/// Starts a server of HTTP/1.1 that serves each connection in a thread of its own, and returns its port.
/// The threads end with the program.
#[must_use]
pub fn start(serve: impl Fn(Connection) -> Option<()> + Clone + Send + 'static) -> u16 {
    let (listener, port) = listen();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(Connection::new(stream)));
        }
    });
    port
}

/// Serves a connection until either side ends it.
fn serve(mut connection: Connection, state: &Mutex<State>) -> Option<()> {
    loop {
        let mut request = connection.receive_request_head()?;
        request.body = if request.all("transfer-encoding").is_empty() {
            connection.read(length(&request.headers).unwrap_or(0))?
        } else {
            connection.read_until(b"\r\n0\r\n\r\n")?
        };
        let reply = {
            let mut state = state.lock().unwrap();
            let of_path = state.received.entry(request.path.clone()).or_default();
            of_path.push(request.clone());
            let reply = state.replies.get(&request.path);
            reply.cloned().unwrap_or_else(|| Reply::ok(&[]))
        };
        let stream = &mut connection.stream;
        // Envoy may have given up on an answer that comes later.
        match reply {
            Reply::Later(wait, bytes) => {
                thread::sleep(wait);
                stream.write_all(&bytes).ok()?;
            }
            Reply::InTwo(first, wait, rest) => {
                stream
                    .write_all(&first)
                    .expect("Envoy accepts the response");
                thread::sleep(wait);
                stream.write_all(&rest).ok()?;
            }
            Reply::Bytes(bytes) => stream
                .write_all(&bytes)
                .expect("Envoy accepts the response"),
            Reply::Close => return None,
            Reply::Silence => {}
            Reply::WebSocket => return serve_web_socket(connection.stream, &request),
        }
    }
}

fn serve_web_socket(mut stream: TcpStream, request: &Request) -> Option<()> {
    let key = derive_accept_key(&request.all("sec-websocket-key").concat());
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket";
    write!(stream, "{head}\r\nsec-websocket-accept: {key}\r\n\r\n").ok()?;
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    loop {
        let message = socket.read().ok()?;
        socket.send(message).ok()?;
    }
}

//! An HTTP/1.1 upstream that records the bytes it receives and answers with the bytes that a test sets.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::client::{Connection, Headers, all, length, owned};

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
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        for (name, value) in lines {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"content-length: 2\r\n\r\nok");
        Self::Bytes(bytes)
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// The header lines.
    pub headers: Headers,
    /// The body; one that was sent in chunks includes their sizes.
    pub body: Vec<u8>,
}

impl ReceivedRequest {
    /// Returns the values of all lines of a header.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        all(&self.headers, name)
    }
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    received: HashMap<String, Vec<ReceivedRequest>>,
}

/// A server on a free port of 127.0.0.1. Its threads end with the program.
pub struct Upstream {
    /// The port.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Upstream {
    /// Starts an upstream.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start() -> Self {
        let (listener, port) = listen();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { port, state }
    }

    /// Makes the upstream answer requests for `path` with `reply` instead of a plain 200.
    ///
    /// # Panics
    /// If a thread of the upstream has panicked.
    pub fn expect(&self, path: &str, reply: Reply) {
        self.state
            .lock()
            .unwrap()
            .replies
            .insert(path.into(), reply);
    }

    /// Returns the requests for `path` that arrived, oldest first.
    ///
    /// # Panics
    /// If a thread of the upstream has panicked.
    #[must_use]
    pub fn received(&self, path: &str) -> Vec<ReceivedRequest> {
        self.state
            .lock()
            .unwrap()
            .received
            .get(path)
            .cloned()
            .unwrap_or_default()
    }
}

/// Listens on a free port of 127.0.0.1.
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("the socket has an address");
    (listener, address.port())
}

/// Returns different ports of 127.0.0.1 that are free.
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| listen());
    listeners.map(|(_, port)| port)
}

/// Serves a connection until either side ends it.
fn serve(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut connection = Connection::new(stream);
    loop {
        let head = connection.read_until(b"\r\n\r\n")?;
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut lines);
        if let Err(error) = parsed.parse(&head) {
            panic!("{error} in {}", head.escape_ascii());
        }
        let path = parsed.path.expect("a request has a path").to_owned();
        let headers = owned(parsed.headers);
        let body = if all(&headers, "transfer-encoding").is_empty() {
            connection.read(length(&headers).unwrap_or(0))?
        } else {
            connection.read_until(b"\r\n0\r\n\r\n")?
        };
        let request = ReceivedRequest { headers, body };
        let reply = {
            let mut state = state.lock().unwrap();
            let of_path = state.received.entry(path.clone()).or_default();
            of_path.push(request.clone());
            let reply = state.replies.get(&path);
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
            Reply::WebSocket => {
                serve_web_socket(connection.stream, &request);
                return None;
            }
        }
    }
}

fn serve_web_socket(mut stream: TcpStream, received: &ReceivedRequest) {
    let mut request = http::Request::builder();
    for (name, value) in &received.headers {
        request = request.header(name, value.as_slice());
    }
    let request = request.body(()).expect("the request is valid");
    let response = tungstenite::handshake::server::create_response(&request)
        .expect("the client asks for an upgrade");
    tungstenite::handshake::server::write_response(&mut stream, &response)
        .expect("the response is valid");
    let role = tungstenite::protocol::Role::Server;
    let mut socket = tungstenite::WebSocket::from_raw_socket(stream, role, None);
    while let Ok(message) = socket.read() {
        if socket.send(message).is_err() {
            return;
        }
    }
}

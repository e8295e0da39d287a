//! An HTTP/1.1 upstream that records the bytes it receives and answers with the bytes it is told.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::client::{Headers, all, owned};

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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
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

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut lines);
        let length = match request.parse(&received) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => match stream.read(&mut buffer) {
                Ok(read) if read > 0 => {
                    received.extend(&buffer[..read]);
                    continue;
                }
                _ => return,
            },
            Err(error) => panic!("{error} in {}", received.escape_ascii()),
        };
        let path = request.path.expect("a path").to_owned();
        let headers = owned(request.headers);
        received.drain(..length);
        let Some(body) = read_body(&mut stream, &mut received, &headers) else {
            return;
        };
        let request = ReceivedRequest { headers, body };
        let reply = {
            let mut state = state.lock().unwrap();
            state
                .received
                .entry(path.clone())
                .or_default()
                .push(request.clone());
            state
                .replies
                .get(&path)
                .cloned()
                .unwrap_or_else(|| Reply::ok(&[]))
        };
        match reply {
            // Envoy may have given up.
            Reply::Later(wait, bytes) => {
                thread::sleep(wait);
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Reply::InTwo(first, wait, rest) => {
                stream
                    .write_all(&first)
                    .expect("Envoy accepts the response");
                thread::sleep(wait);
                if stream.write_all(&rest).is_err() {
                    return;
                }
            }
            Reply::Bytes(bytes) => stream
                .write_all(&bytes)
                .expect("Envoy accepts the response"),
            Reply::Close => return,
            Reply::Silence => {}
            Reply::WebSocket => return serve_web_socket(stream, &request),
        }
    }
}

/// The body of a request; `None` if the connection ends before it does.
fn read_body(stream: &mut TcpStream, received: &mut Vec<u8>, headers: &Headers) -> Option<Vec<u8>> {
    const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";
    let length = all(headers, "content-length").first().map(|length| {
        let length = std::str::from_utf8(length).expect("a length");
        length.parse::<usize>().expect("a length")
    });
    let is_chunked = !all(headers, "transfer-encoding").is_empty();
    let mut buffer = [0; 16 * 1024];
    loop {
        let end = if is_chunked {
            let mut windows = received.windows(LAST_CHUNK.len());
            windows
                .position(|window| window == LAST_CHUNK)
                .map(|at| at + LAST_CHUNK.len())
        } else {
            Some(length.unwrap_or(0)).filter(|&length| length <= received.len())
        };
        if let Some(end) = end {
            return Some(received.drain(..end).collect());
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => received.extend(&buffer[..read]),
            _ => return None,
        }
    }
}

fn serve_web_socket(mut stream: TcpStream, received: &ReceivedRequest) {
    let mut request = http::Request::builder();
    for (name, value) in &received.headers {
        request = request.header(name, value.as_slice());
    }
    let request = request.body(()).expect("a request");
    let response = tungstenite::handshake::server::create_response(&request).expect("an upgrade");
    tungstenite::handshake::server::write_response(&mut stream, &response).expect("a response");
    let role = tungstenite::protocol::Role::Server;
    let mut socket = tungstenite::WebSocket::from_raw_socket(stream, role, None);
    while let Ok(message) = socket.read() {
        if socket.send(message).is_err() {
            return;
        }
    }
}

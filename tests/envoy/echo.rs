//! Messages in bulk. The body of a request contains the headers that the upstream answers with, and the body of the
//! response contains what the upstream received, so neither side has to remember anything.

use std::io::Write;
use std::net::Ipv4Addr;
use std::{fmt, thread};

use bytes::Bytes;
use h2::{Reason, RecvStream, client, server};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::runtime::{self, Runtime};

use test_support::client::{Connection, TIMEOUT};
use test_support::message::Line;
use test_support::upstream::listen;

/// A request and the header lines of the upstream's response to it.
#[derive(Clone, Debug)]
pub struct Message {
    pub path: Vec<u8>,
    pub request: Vec<Line>,
    pub response: Vec<Line>,
}

/// The path to which Envoy is redirected internally if a path begins with `/moved`.
pub const MOVED_TO: &str = "/echo";

impl Message {
    pub fn is_moved(&self) -> bool {
        self.path.starts_with(b"/moved")
    }
}

/// What became of a message. Without a response the status is 0.
#[derive(Default)]
pub struct Outcome {
    pub status: u16,
    pub headers: Vec<Line>,
    pub body: Vec<u8>,
}

/// Whether a value ends its line early, so that the rest of the message is undefined.
pub fn has_line_break(lines: &[Line]) -> bool {
    lines
        .iter()
        .any(|(_, value)| value.iter().any(|byte| b"\r\n".contains(byte)))
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (request, response) = (block(&self.request), block(&self.response));
        writeln!(f, "{} {}", self.path.escape_ascii(), request.escape_ascii())?;
        writeln!(f, "upstream: {}", response.escape_ascii())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.status, block(&self.headers).escape_ascii())?;
        writeln!(f, "{}", self.body.escape_ascii())
    }
}

impl Outcome {
    /// The path and the header lines that reached the upstream.
    pub fn received(&self) -> (Vec<u8>, Vec<Line>) {
        let (first, lines) = parse(&self.body).expect("the body repeats a request");
        let path = first.split(|&byte| byte == b' ').nth(1);
        (path.expect("the body repeats a request").to_vec(), lines)
    }
}

/// The first line and the header lines of a head; `None` if a line is no header.
pub fn parse(head: &[u8]) -> Option<(Vec<u8>, Vec<Line>)> {
    let mut first = None;
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let line = &rest[..end];
        rest = &rest[end + 2..];
        if first.is_none() {
            first = Some(line.to_vec());
        } else if let Some(colon) = line.iter().position(|&byte| byte == b':') {
            let value = line[colon + 1..].trim_ascii_start().to_vec();
            lines.push((line[..colon].to_ascii_lowercase(), value));
        } else if !line.is_empty() {
            return None;
        }
    }
    Some((first.unwrap_or_default(), lines))
}

/// Header lines as bytes.
fn block(lines: &[Line]) -> Vec<u8> {
    let line = |(name, value): &Line| [name, &b": "[..], value, b"\r\n"].concat();
    lines.iter().flat_map(line).collect()
}

/// Receives a message: its head, and a body if it has a length. Returns `None` if the connection ends.
fn receive(connection: &mut Connection) -> Option<(Vec<u8>, Vec<u8>)> {
    let head = connection.read_until(b"\r\n\r\n")?;
    let (_, lines) = parse(&head).expect("the head consists of headers");
    let length = lines.iter().find(|(name, _)| name == b"content-length");
    let length = length.map_or("0".into(), |(_, length)| String::from_utf8_lossy(length));
    let body = connection.read(length.parse().expect("a length is a number"))?;
    Some((head, body))
}

/// Sends the messages one after another.
pub fn over_http1(port: u16, messages: &[Message]) -> Vec<Outcome> {
    let mut connection = None;
    let exchange = |message: &Message| {
        let used = connection.get_or_insert_with(|| Connection::open(port));
        let body = block(&message.response);
        let length = body.len().to_string();
        let request = [
            b"POST ",
            &message.path[..],
            b" HTTP/1.1\r\nhost: test\r\ncontent-length: ",
            length.as_bytes(),
            b"\r\n",
            &block(&message.request),
            b"\r\n",
            &body,
        ];
        // Envoy may have answered and closed before it has read everything.
        let sent = used.stream.write_all(&request.concat());
        let Some((head, body)) = receive(used) else {
            connection = None;
            return Outcome::default();
        };
        let (first, headers) = parse(&head).expect("the request has headers");
        let closes = headers
            .iter()
            .any(|(name, value)| name == b"connection" && value == b"close");
        let is_broken = has_line_break(&message.request) || has_line_break(&message.response);
        if closes || sent.is_err() || is_broken {
            connection = None;
        }
        let status = std::str::from_utf8(&first[9..12]).expect("there is a status");
        Outcome {
            status: status.parse().expect("there is a status"),
            headers,
            body,
        }
    };
    messages.iter().map(exchange).collect()
}

/// The lines that the HTTP/2 library sends: it has no control bytes in values.
pub fn as_http2(lines: &[Line]) -> Vec<Line> {
    lines
        .iter()
        .map(|(name, value)| (name.clone(), value.trim_ascii().to_vec()))
        .filter(|(_, value)| HeaderValue::from_bytes(value).is_ok())
        .collect()
}

/// Sends the messages all at once. Those that took others down with them have no outcome.
pub fn over_http2(port: u16, messages: &[Message]) -> Vec<Outcome> {
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let stream = stream.await.expect("Envoy listens");
        let mut builder = client::Builder::new();
        let (mut client, connection) = builder
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 30)
            .handshake::<_, Bytes>(stream)
            .await
            .expect("the other side speaks HTTP/2");
        let connection = tokio::spawn(connection);
        let mut pending = Vec::new();
        for message in messages {
            let path = std::str::from_utf8(&message.path).expect("the value is a path");
            let mut request = Request::post(format!("http://test{path}"));
            let headers = request.headers_mut().expect("the request has headers");
            let body = block(&message.response);
            headers.insert("content-length", body.len().into());
            extend(headers, &message.request).expect("the lines are valid in HTTP/2");
            let request = request.body(()).expect("the request is valid");
            let response = match client.clone().ready().await {
                Ok(ready) => {
                    client = ready;
                    client.send_request(request, body.is_empty())
                }
                Err(error) => Err(error),
            };
            pending.push(response.and_then(|(response, mut stream)| {
                if !body.is_empty() {
                    stream.send_data(body.into(), true)?;
                }
                Ok(response)
            }));
        }
        let mut outcomes = Vec::new();
        for response in pending {
            let outcome = async {
                let (head, mut body) = response?.await?.into_parts();
                Ok::<_, h2::Error>(Outcome {
                    status: head.status.as_u16(),
                    headers: lines_of(&head.headers),
                    body: read(&mut body).await?,
                })
            };
            let outcome = tokio::time::timeout(TIMEOUT, outcome).await;
            outcomes.push(outcome.expect("Envoy answers in time").unwrap_or_default());
        }
        connection.abort();
        outcomes
    })
}

/// Sends a request with this id, of any bytes, in frames made by hand. What reached the upstream;
/// nothing if Envoy refuses.
pub fn over_raw_http2(port: u16, id: &[u8]) -> Vec<u8> {
    let fields: [(&[u8], &[u8]); 5] = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"test"),
        (b":path", b"/"),
        (b"x-request-id", id),
    ];
    let length = |text: &[u8]| u8::try_from(text.len()).expect("the text is short");
    // A literal field without indexing, with a new name (RFC 7541, 6.2.2).
    let field = |(name, value): &(&[u8], &[u8])| {
        [&[0, length(name)], *name, &[length(value)], *value].concat()
    };
    let block: Vec<u8> = fields.iter().flat_map(field).collect();
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const END_OF_STREAM_AND_HEADERS: u8 = 5;
    let frame = [
        0,
        0,
        length(&block),
        1,
        END_OF_STREAM_AND_HEADERS,
        0,
        0,
        0,
        1,
    ];
    let mut connection = Connection::open(port);
    connection.send(
        &[
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &SETTINGS[..],
            &frame,
            &block,
        ]
        .concat(),
    );
    while let Some(head) = connection.read(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = connection.read(length).expect("Envoy sends whole frames");
        match head[3] {
            0 => return payload,            // DATA
            1 if head[4] & 1 == 1 => break, // HEADERS that end the stream
            3 | 7 => break,                 // RST_STREAM, GOAWAY
            _ => {}
        }
    }
    Vec::new()
}

fn extend(headers: &mut HeaderMap, lines: &[Line]) -> http::Result<()> {
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name)?,
            HeaderValue::from_bytes(value)?,
        );
    }
    Ok(())
}

fn lines_of(headers: &HeaderMap) -> Vec<Line> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().into(), value.as_bytes().to_vec())
    };
    headers.iter().map(line).collect()
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut read = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        read.extend(part);
    }
    Ok(read)
}

/// Starts an upstream that speaks HTTP/1.1.
pub fn start_http1() -> u16 {
    let (listener, port) = listen();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut connection = Connection::new(stream);
                while let Some((head, body)) = receive(&mut connection) {
                    if head.starts_with(b"POST /moved") {
                        let moved = format!(
                            "HTTP/1.1 302 Found\r\nlocation: http://test{MOVED_TO}\r\ncontent-length: 0\r\n\r\n"
                        );
                        if connection.stream.write_all(moved.as_bytes()).is_err() {
                            return;
                        }
                        continue;
                    }
                    let length = head.len().to_string();
                    let response = [
                        b"HTTP/1.1 200 OK\r\ncontent-length: ",
                        length.as_bytes(),
                        b"\r\n",
                        &body,
                        b"\r\n",
                        &head,
                    ];
                    // Envoy closes on bytes that no header may have.
                    if connection.stream.write_all(&response.concat()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

pub fn runtime() -> Runtime {
    runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("tokio starts a thread")
}

/// Starts an upstream that speaks HTTP/2. It refuses gRPC as gRPC does it: with headers that end the stream.
pub fn start_http2() -> u16 {
    let (listener, port) = listen();
    listener.set_nonblocking(true).expect("the socket is open");
    thread::spawn(move || {
        runtime().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener);
            let listener = listener.expect("tokio takes the socket");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = server::handshake(stream).await?;
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond));
                    }
                    Ok::<_, h2::Error>(())
                });
            }
        });
    });
    port
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: server::SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let lines = parse(&[b"\r\n", &read(&mut body).await?[..]].concat());
    let mut response = Response::new(());
    let extended = lines.map(|(_, lines)| extend(response.headers_mut(), &lines));
    let Some(Ok(())) = extended else {
        // Of a request over HTTP/1.1 that a line break cut in two, the body is the rest of its head.
        respond.send_reset(Reason::CANCEL);
        return Ok(());
    };
    if head
        .headers
        .get("content-type")
        .is_some_and(|kind| kind == "application/grpc")
    {
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("7"));
        respond.send_response(response, true)?;
        return Ok(());
    }
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let echo = [
        b"POST ",
        path.as_bytes(),
        b" HTTP/2\r\n",
        &block(&lines_of(&head.headers)),
        b"\r\n",
    ];
    let echo = echo.concat();
    let headers = response.headers_mut();
    headers.insert("content-length", echo.len().into());
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(echo.into(), true)
}

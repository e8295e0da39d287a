//! Messages in bulk. The body of a request contains the headers that the upstream answers with, and the body of the
//! response contains what the upstream received, so neither side has to remember anything.

use std::error::Error;
use std::io::Write;
use std::{fmt, thread};

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use test_support::client::{Connection, TIMEOUT, length};
use test_support::message::{Line, to_bytes, values};
use test_support::upstream::{self, listen, redirect_to};

/// A request and the header lines of the upstream's response to it.
#[derive(Clone, Debug)]
pub struct Message {
    pub path: Vec<u8>,
    pub request: Vec<Line>,
    pub response: Vec<Line>,
}

/// The path to which the upstream redirects a request for `/moved`, and Envoy with it.
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

/// Returns whether a value ends its line early, so that the rest of the message is undefined.
pub fn has_line_break(lines: &[Line]) -> bool {
    lines
        .iter()
        .any(|(_, value)| value.iter().any(|byte| b"\r\n".contains(byte)))
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (request, response) = (to_bytes(&self.request), to_bytes(&self.response));
        writeln!(f, "{} {}", self.path.escape_ascii(), request.escape_ascii())?;
        writeln!(f, "upstream: {}", response.escape_ascii())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = to_bytes(&self.headers);
        writeln!(f, "{} {}", self.status, headers.escape_ascii())?;
        writeln!(f, "{}", self.body.escape_ascii())
    }
}

impl Outcome {
    /// Returns the path and the header lines that reached the upstream.
    pub fn received(&self) -> (Vec<u8>, Vec<Line>) {
        let (first, lines) = parse(&self.body).expect("the body repeats a request");
        let path = first.split(|&byte| byte == b' ').nth(1);
        (path.expect("the body repeats a request").to_vec(), lines)
    }
}

/// Returns the first line and the header lines of a head, or `None` if a line is not a header.
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

/// Receives a message: its head, and a body if it has a length. Returns `None` if the connection ends.
fn receive(connection: &mut Connection) -> Option<(Vec<u8>, Vec<u8>)> {
    let head = connection.read_until(b"\r\n\r\n")?;
    let (_, lines) = parse(&head).expect("the head consists of headers");
    let body = connection.read(length(&lines).unwrap_or(0))?;
    Some((head, body))
}

/// Sends the messages one after another.
pub fn over_http1(port: u16, messages: &[Message]) -> Vec<Outcome> {
    let mut connection = None;
    let exchange = |message: &Message| {
        let used = connection.get_or_insert_with(|| Connection::open(port));
        let body = to_bytes(&message.response);
        let first = [b"POST ", &message.path[..], b" HTTP/1.1\r\n"].concat();
        let length = format!("host: test\r\ncontent-length: {}\r\n", body.len());
        let lines = to_bytes(&message.request);
        let request = [&first, length.as_bytes(), &lines, b"\r\n", &body];
        // Envoy may have answered and closed before it has read everything.
        let sent = used.stream.write_all(&request.concat());
        let Some((head, body)) = receive(used) else {
            connection = None;
            return Outcome::default();
        };
        let (first, headers) = parse(&head).expect("the request has headers");
        let closes = values(&headers, "connection").contains(&&b"close"[..]);
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

/// Returns those lines that the HTTP/2 library can send: it refuses control bytes in values.
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
        let client = legacy::Client::builder(TokioExecutor::new())
            .http2_only(true)
            .http2_max_header_list_size(1 << 20)
            .build_http::<Full<Bytes>>();
        let send = |message: &Message| {
            let path = std::str::from_utf8(&message.path).expect("a path is ASCII");
            let mut request = Request::post(format!("http://127.0.0.1:{port}{path}"));
            let headers = request.headers_mut().expect("the path is valid");
            extend(headers, &message.request).expect("the lines are valid in HTTP/2");
            let body = Full::from(to_bytes(&message.response));
            let response = client.request(request.body(body).expect("the request is valid"));
            let outcome = async {
                let (head, body) = response.await?.into_parts();
                Ok::<_, Box<dyn Error + Send + Sync>>(Outcome {
                    status: head.status.as_u16(),
                    headers: lines_of(&head.headers),
                    body: body.collect().await?.to_bytes().into(),
                })
            };
            tokio::spawn(tokio::time::timeout(TIMEOUT, outcome))
        };
        let pending: Vec<_> = messages.iter().map(send).collect();
        let mut outcomes = Vec::new();
        for outcome in pending {
            let outcome = outcome.await.expect("no task panics");
            outcomes.push(outcome.expect("Envoy answers in time").unwrap_or_default());
        }
        outcomes
    })
}

/// Sends a request with this id, of any bytes, in frames made by hand. Returns what the upstream received, or nothing
/// if Envoy refuses the request.
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
    const END: u8 = 5; // of the stream and of the headers
    let frame = [0, 0, length(&block), 1, END, 0, 0, 0, 1];
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut connection = Connection::open(port);
    connection.send(&[&preface[..], &SETTINGS, &frame, &block].concat());
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
        let name = HeaderName::from_bytes(name)?;
        headers.append(name, HeaderValue::from_bytes(value)?);
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

/// Starts an upstream that speaks HTTP/1.1, and returns its port.
pub fn start_http1() -> u16 {
    upstream::start(|mut connection| {
        loop {
            let (head, body) = receive(&mut connection)?;
            let response = if head.starts_with(b"POST /moved") {
                redirect_to(MOVED_TO)
            } else {
                let first = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", head.len());
                [first.as_bytes(), &body, b"\r\n", &head].concat()
            };
            // Envoy closes the connection on bytes that no header may contain.
            connection.stream.write_all(&response).ok()?;
        }
    })
}

pub fn runtime() -> Runtime {
    Runtime::new().expect("tokio starts its threads")
}

/// Starts a server that speaks HTTP/2, and returns its port.
pub fn serve_http2<Answer>(
    answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> Answer + Clone + Send + 'static,
) -> u16
where
    Answer: Future<Output = Result<(), h2::Error>> + Send + 'static,
{
    let (listener, port) = listen();
    listener.set_nonblocking(true).expect("the socket is open");
    thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::from_std(listener).expect("tokio takes the socket");
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
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

/// Starts an upstream that speaks HTTP/2, and returns its port. It refuses gRPC as gRPC does it: with headers that
/// end the stream.
pub fn start_http2() -> u16 {
    serve_http2(answer)
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
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
    let grpc = HeaderValue::from_static("application/grpc");
    if head.headers.get("content-type") == Some(&grpc) {
        let headers = response.headers_mut();
        headers.insert("content-type", grpc);
        headers.insert("grpc-status", 7.into());
        respond.send_response(response, true)?;
        return Ok(());
    }
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let lines = to_bytes(&lines_of(&head.headers));
    let first = format!("POST {path} HTTP/2\r\n");
    let echo = [first.as_bytes(), &lines, b"\r\n"].concat();
    let headers = response.headers_mut();
    headers.insert("content-length", echo.len().into());
    let mut stream = respond.send_response(response, false)?;
    stream.send_data(echo.into(), true)
}

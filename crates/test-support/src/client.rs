//! An HTTP/1.1 client that sends any bytes, including those that no library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::cases::Line;
use crate::message::{to_bytes, values};

/// How long a client waits for a response.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Header lines in the order of the message, with names in lower case.
pub type Headers = Vec<(String, Vec<u8>)>;

/// A response to a client.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the values of all lines of a header.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        values(&self.headers, name)
    }

    /// Returns the only id.
    #[track_caller]
    pub fn id(&self) -> String {
        let ids = self.all("x-request-id");
        assert_eq!(
            ids.len(),
            1,
            "the response must have exactly one id: {self:?}"
        );
        String::from_utf8(ids[0].to_vec()).expect("the id is ASCII")
    }
}

/// A request as it arrived at a server.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path, with the query.
    pub path: String,
    /// The header lines.
    pub headers: Headers,
    /// The body; one that was sent in chunks includes their sizes.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the values of all lines of a header.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        values(&self.headers, name)
    }
}

/// A connection of HTTP/1.1, for one message after another. Both sides use it.
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    /// Opens a connection to a port of 127.0.0.1.
    #[must_use]
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a server listens");
        stream
            .set_read_timeout(Some(TIMEOUT))
            .expect("the socket accepts a timeout");
        Self::new(stream)
    }

    /// Returns a connection that has been accepted.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("the socket is open");
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("the server accepts the request");
    }

    /// Sends a GET with these header lines, and receives the response.
    pub fn get(&mut self, path: &str, lines: &[Line]) -> Response {
        self.send(&get("test", path, lines));
        self.receive()
    }

    /// Receives bytes up to and including these. Returns `None` if the connection ends before.
    pub fn read_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let mut searched = 0;
        loop {
            let mut windows = self.received[searched..].windows(end.len());
            if let Some(place) = windows.position(|window| window == end) {
                return self.read(searched + place + end.len());
            }
            searched = (self.received.len() + 1).saturating_sub(end.len());
            self.fill()?;
        }
    }

    /// Receives this number of bytes. Returns `None` if the connection ends before.
    pub fn read(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.received.len() < length {
            self.fill()?;
        }
        Some(self.received.drain(..length).collect())
    }

    /// Receives the next response. Its body ends by its length, or with the connection.
    pub fn receive(&mut self) -> Response {
        let mut response = self.receive_head();
        response.body = match length(&response.headers) {
            _ if response.status < 200 || response.status == 204 => Vec::new(),
            Some(length) => self.read(length).expect("the server sends the whole body"),
            None => self.rest(),
        };
        response
    }

    /// Receives the next response without its body: a response to HEAD has none, whatever its length
    /// says.
    pub fn receive_head(&mut self) -> Response {
        let head = self.read_until(b"\r\n\r\n");
        let head =
            head.unwrap_or_else(|| panic!("the server closes the connection: {:?}", self.received));
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut lines);
        response
            .parse(&head)
            .expect("the server sends a valid response");
        Response {
            status: response.code.expect("a response has a status"),
            headers: owned(response.headers),
            body: Vec::new(),
        }
    }

    /// Receives the next request without its body. Returns `None` if the connection ends before.
    pub fn receive_request_head(&mut self) -> Option<Request> {
        let head = self.read_until(b"\r\n\r\n")?;
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut lines);
        if let Err(error) = request.parse(&head) {
            panic!("{error} in {}", head.escape_ascii());
        }
        Some(Request {
            path: request.path.expect("a request has a path").to_owned(),
            headers: owned(request.headers),
            body: Vec::new(),
        })
    }

    /// Receives all bytes until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill().is_some() {}
        std::mem::take(&mut self.received)
    }

    fn fill(&mut self) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(read) => self.received.extend(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error} after {}", self.received.escape_ascii()),
        }
        Some(())
    }
}

/// Returns the bytes of a GET with these header lines.
#[must_use]
pub fn get(host: &str, path: &str, lines: &[Line]) -> Vec<u8> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n");
    [head.as_bytes(), &to_bytes(lines), b"\r\n"].concat()
}

/// Returns the `content-length` of a message.
#[must_use]
pub fn length(headers: &[(impl AsRef<[u8]>, Vec<u8>)]) -> Option<usize> {
    let lengths = values(headers, "content-length");
    let length = std::str::from_utf8(lengths.first()?).expect("a length is ASCII");
    Some(length.parse().expect("a length is a number"))
}

/// Returns header lines with names in lower case.
fn owned(lines: &[httparse::Header]) -> Headers {
    let line = |line: &httparse::Header| (line.name.to_lowercase(), line.value.to_vec());
    lines.iter().map(line).collect()
}

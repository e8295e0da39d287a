//! An HTTP/1.1 client that sends any bytes, also those that no library would send.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

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
        all(&self.headers, name)
    }

    /// Returns the only id.
    ///
    /// # Panics
    /// If there is none, or more than one, or it is not ASCII.
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

/// Returns the values of all lines of a header.
#[must_use]
pub fn all<'a>(headers: &'a Headers, name: &str) -> Vec<&'a [u8]> {
    headers
        .iter()
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value.as_slice())
        .collect()
}

/// A connection that can be used for one request after another.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    /// Opens a connection to a port of 127.0.0.1.
    ///
    /// # Panics
    /// If nobody listens there.
    #[must_use]
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a server listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// If the other side has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("the server accepts the request");
    }

    /// Receives the next response. Its body ends by its length, or with the connection.
    ///
    /// # Panics
    /// If no whole response arrives in time.
    pub fn receive(&mut self) -> Response {
        let Response {
            status, headers, ..
        } = self.receive_head();
        let length = all(&headers, "content-length")
            .first()
            .map(|length| std::str::from_utf8(length).unwrap().parse().unwrap());
        let length = if status < 200 || status == 204 {
            Some(0)
        } else {
            length
        };
        while length.is_none_or(|length| self.received.len() < length) && self.fill() > 0 {}
        let length = length.unwrap_or(self.received.len());
        let body = self.received.drain(..length).collect();
        Response {
            status,
            headers,
            body,
        }
    }

    /// Receives the next response without its body: a response to HEAD has none, whatever its length
    /// says.
    ///
    /// # Panics
    /// If no head arrives in time.
    pub fn receive_head(&mut self) -> Response {
        let (status, headers) = loop {
            if let Some(head) = self.head() {
                break head;
            }
            assert!(
                self.fill() > 0,
                "the connection ended within {:?}",
                self.received.escape_ascii()
            );
        };
        Response {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// Receives all bytes until the connection ends.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.received)
    }

    fn head(&mut self) -> Option<(u16, Headers)> {
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut lines);
        let parsed = head.parse(&self.received).expect("a response");
        let httparse::Status::Complete(length) = parsed else {
            return None;
        };
        let found = (head.code.expect("a status"), owned(head.headers));
        self.received.drain(..length);
        Some(found)
    }

    fn fill(&mut self) -> usize {
        let mut buffer = [0; 16 * 1024];
        let read = self
            .stream
            .read(&mut buffer)
            .expect("the server answers in time");
        self.received.extend(&buffer[..read]);
        read
    }
}

/// Returns header lines with names in lower case.
#[must_use]
pub fn owned(lines: &[httparse::Header]) -> Headers {
    lines
        .iter()
        .map(|line| (line.name.to_lowercase(), line.value.to_vec()))
        .collect()
}

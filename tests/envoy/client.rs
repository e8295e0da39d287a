//! An HTTP/1.1 client that sends bytes as they are: no library would send most of them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

pub const TIMEOUT: Duration = Duration::from_secs(10);

pub type Headers = Vec<(String, Vec<u8>)>;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Response {
    /// The values of all lines of a header.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        all(&self.headers, name)
    }

    /// The id, of which there has to be exactly one.
    #[track_caller]
    pub fn id(&self) -> String {
        let ids = self.all("x-request-id");
        assert_eq!(ids.len(), 1, "ids in the response: {self:?}");
        String::from_utf8(ids[0].to_vec()).expect("an id in ASCII")
    }
}

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
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("Envoy listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        Self {
            stream,
            received: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("Envoy takes the request");
    }

    /// The next response. Its body ends by its length, or with the connection.
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

    /// A response to HEAD has no body, whatever its length says.
    pub fn receive_head(&mut self) -> Response {
        let (status, headers) = loop {
            if let Some(head) = self.head() {
                break head;
            }
            assert!(
                self.fill() > 0,
                "closed within {:?}",
                self.received.escape_ascii()
            );
        };
        Response {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// What else comes until the connection ends.
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
            .expect("Envoy answers in time");
        self.received.extend(&buffer[..read]);
        read
    }
}

/// Header lines with names in lower case.
pub fn owned(lines: &[httparse::Header]) -> Headers {
    lines
        .iter()
        .map(|line| (line.name.to_lowercase(), line.value.to_vec()))
        .collect()
}

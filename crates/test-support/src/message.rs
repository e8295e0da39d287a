//! The headers of a message as Envoy shows them to the filter.

use std::cell::Cell;

use request_id_rules::generator::Generator;
use request_id_rules::header_name::HeaderName;
use request_id_rules::headers::{HeaderLine, joined_value, trim};
use request_id_rules::id::RequestId;
use request_id_rules::policy::IdFormat;
use request_id_rules::request::Request;
use request_id_rules::response::Response;

/// The name and the value of a header line.
pub type Line = (Vec<u8>, Vec<u8>);

/// A request or a response, and what its host supplies besides the headers.
#[derive(Clone, Debug)]
pub struct Message {
    /// The header lines, in order.
    pub lines: Vec<Line>,
    /// The `source.address` of the peer.
    pub source_address: Vec<u8>,
    /// The id that another run of the filter remembered.
    pub remembered_id: Option<Vec<u8>>,
    /// The random bytes of the host; `None` if it has none.
    pub random: Option<[u8; 16]>,
    /// How often all headers were read, which makes the host copy them.
    pub reads: Cell<u32>,
}

impl Message {
    /// Returns a message of these lines from this peer, from a host that has random bytes.
    #[must_use]
    pub fn new(source_address: Vec<u8>, lines: Vec<Line>) -> Self {
        Self {
            lines,
            source_address,
            remembered_id: None,
            random: Some([0x5a; 16]),
            reads: Cell::new(0),
        }
    }

    fn lines(&self) -> impl Iterator<Item = HeaderLine<'_>> {
        self.lines
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    fn read(&self) -> impl Iterator<Item = HeaderLine<'_>> {
        self.reads.set(self.reads.get() + 1);
        self.lines()
    }
}

impl Request for Message {
    fn id_value(&self, name: &HeaderName) -> Option<Vec<u8>> {
        joined_value(self.lines(), name)
    }

    fn contains(&self, name: &HeaderName) -> bool {
        self.lines().any(|(line_name, _)| name.matches(line_name))
    }

    fn headers(&self) -> impl Iterator<Item = HeaderLine<'_>> {
        self.read()
    }

    fn source_address(&self) -> Vec<u8> {
        self.source_address.clone()
    }

    fn id_of_earlier_run(&self) -> Option<Vec<u8>> {
        self.remembered_id.clone()
    }

    fn new_id(&self, format: IdFormat) -> Option<RequestId> {
        new_id(format, self.random?)
    }
}

impl Response for Message {
    fn headers(&self) -> impl Iterator<Item = HeaderLine<'_>> {
        self.read()
    }

    fn id_of_last_run(&self) -> Option<Vec<u8>> {
        self.remembered_id.clone()
    }
}

/// Returns the id that the generator makes of these random bytes, at one fixed time.
#[must_use]
pub fn new_id(format: IdFormat, random: [u8; 16]) -> Option<RequestId> {
    Generator::default().next(format, random, || Some(1_795_000_000_000))
}

/// Returns lines with owned names.
#[must_use]
pub fn owned(lines: &[crate::cases::Line]) -> Vec<Line> {
    let line = |(name, value): &crate::cases::Line| (name.as_bytes().to_vec(), value.clone());
    lines.iter().map(line).collect()
}

/// Returns the values of all lines of a header.
#[must_use]
pub fn values<'a>(lines: &'a [(impl AsRef<[u8]>, Vec<u8>)], header: &str) -> Vec<&'a [u8]> {
    let is_wanted = |name: &[u8]| name.eq_ignore_ascii_case(header.as_bytes());
    let wanted = lines.iter().filter(|(name, _)| is_wanted(name.as_ref()));
    wanted.map(|(_, value)| value.as_slice()).collect()
}

/// Returns header lines as HTTP/1.1 writes them.
#[must_use]
pub fn to_bytes(lines: &[(impl AsRef<[u8]>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in lines {
        bytes.extend([name.as_ref(), b": ", value, b"\r\n"].concat());
    }
    bytes
}

/// The headers in these tests that Envoy keeps inline.
const INLINE: &[&str] = &[
    "x-request-id",
    "authorization",
    "access-control-allow-origin",
    "access-control-expose-headers",
];

/// Returns the lines of a message as Envoy keeps them: its codec trims a value
/// (`ConnectionImpl::onHeaderValueImpl`), and it joins the lines of an inline header without empty
/// ones (`HeaderMapImpl::appendToHeader`).
#[must_use]
pub fn as_envoy(lines: &[Line]) -> Vec<Line> {
    let mut kept: Vec<Line> = Vec::new();
    for (name, value) in lines {
        let name = name.to_ascii_lowercase();
        let value = trim(value);
        let is_inline = INLINE.iter().any(|inline| name == inline.as_bytes());
        let first = kept
            .iter_mut()
            .find(|(known, _)| is_inline && *known == name);
        match first {
            None => kept.push((name, value.to_vec())),
            Some((_, joined)) if joined.is_empty() => *joined = value.to_vec(),
            Some(_) if value.is_empty() => {}
            Some((_, joined)) => {
                joined.push(b',');
                joined.extend(value);
            }
        }
    }
    kept
}

/// Returns the `source.address` of a request with these headers: Envoy takes it from
/// `x-forwarded-for`, with port 0.
#[must_use]
pub fn source_address(lines: &[Line]) -> Vec<u8> {
    let forwarded = lines
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-for"));
    match forwarded {
        None => b"127.0.0.1:4711".to_vec(),
        Some((_, peer)) if peer.contains(&b':') => [b"[", &peer[..], b"]:0"].concat(),
        Some((_, peer)) => [peer, &b":0"[..]].concat(),
    }
}

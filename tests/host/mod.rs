//! What Envoy is to the rules: how it keeps the headers of a message and hands them over.

use request_id_filter::decide::Request;
use request_id_filter::generate::Generator;
use request_id_filter::header_name::HeaderName;
use request_id_filter::headers::{HeaderMap, Headers, trim};
use request_id_filter::id::RequestId;
use request_id_filter::policy::Form;

/// The headers of a message, from a host that has randomness or none.
#[allow(dead_code)] // Not every test asks a host.
pub struct Message {
    pub serialized: Vec<u8>,
    peer: Vec<u8>,
    pub random: Option<[u8; 16]>,
    /// How often all headers were asked for, which costs the host a copy of them.
    pub read: u32,
}

#[allow(dead_code)]
impl Message {
    pub fn new<N: AsRef<[u8]>>(peer: Vec<u8>, lines: &[(N, Vec<u8>)]) -> Self {
        Self {
            serialized: serialized(lines),
            peer,
            random: Some([0x5a; 16]),
            read: 0,
        }
    }
}

impl HeaderMap for Message {
    fn joined(&mut self, name: &HeaderName) -> Option<Vec<u8>> {
        Headers::new(&self.serialized).joined(name)
    }

    fn has(&mut self, name: &HeaderName) -> bool {
        self.joined(name).is_some()
    }

    fn all(&mut self) -> Headers<'_> {
        self.read += 1;
        Headers::new(&self.serialized)
    }
}

impl Request for Message {
    fn peer(&mut self) -> Vec<u8> {
        self.peer.clone()
    }

    fn new_id(&mut self, form: Form) -> Option<RequestId> {
        new_id(form, self.random?)
    }
}

/// What becomes of this randomness, at one fixed time.
pub fn new_id(form: Form, random: [u8; 16]) -> Option<RequestId> {
    Generator::default().next(form, random, || Some(1_795_000_000_000))
}

/// A header map as the host serializes it.
pub fn serialized<N: AsRef<[u8]>>(lines: &[(N, Vec<u8>)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).expect("a short map").to_le_bytes();
    let mut map = number(lines.len()).to_vec();
    for (name, value) in lines {
        map.extend([number(name.as_ref().len()), number(value.len())].concat());
    }
    for (name, value) in lines {
        map.extend(
            [
                &name.as_ref().to_ascii_lowercase(),
                &b"\0"[..],
                value,
                b"\0",
            ]
            .concat(),
        );
    }
    map
}

/// Those of the headers we read that are inline ones in Envoy.
const INLINE: &[&str] = &[
    "x-request-id",
    "authorization",
    "access-control-allow-origin",
    "access-control-expose-headers",
];

/// The lines of a message as Envoy keeps them: its codec trims a value
/// (`ConnectionImpl::onHeaderValueImpl`), and it joins the lines of an inline header, leaving out
/// empty ones (`HeaderMapImpl::appendToHeader`).
#[allow(dead_code)] // Not every test has a message of Envoy's.
pub fn as_envoy<N: AsRef<[u8]> + Clone>(lines: &[(N, Vec<u8>)]) -> Vec<(N, Vec<u8>)> {
    let mut seen: Vec<(N, Vec<u8>)> = Vec::new();
    for (name, value) in lines {
        let value = trim(value);
        let is_inline = INLINE
            .iter()
            .any(|inline| name.as_ref().eq_ignore_ascii_case(inline.as_bytes()));
        match seen
            .iter_mut()
            .find(|(seen, _)| is_inline && seen.as_ref().eq_ignore_ascii_case(name.as_ref()))
        {
            None => seen.push((name.clone(), value.to_vec())),
            Some((_, joined)) if joined.is_empty() => *joined = value.to_vec(),
            Some(_) if value.is_empty() => {}
            Some((_, joined)) => {
                joined.push(b',');
                joined.extend(value);
            }
        }
    }
    seen
}

/// The peer's address of a request with these headers: Envoy takes it from `x-forwarded-for`, with
/// port 0.
#[allow(dead_code)]
pub fn peer<N: AsRef<[u8]>>(lines: &[(N, Vec<u8>)]) -> Vec<u8> {
    let forwarded = lines
        .iter()
        .find(|(name, _)| name.as_ref() == b"x-forwarded-for");
    match forwarded {
        None => b"127.0.0.1:4711".to_vec(),
        Some((_, peer)) if peer.contains(&b':') => [b"[", &peer[..], b"]:0"].concat(),
        Some((_, peer)) => [peer, &b":0"[..]].concat(),
    }
}

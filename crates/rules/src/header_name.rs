//! Which header names a configuration may use.

use std::fmt;
use std::sync::Arc;

/// A valid header name in lower case, as Envoy keeps names. Cloning it copies no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(Arc<str>);

/// Headers that HTTP itself needs to transfer a message: a request with an id in one of them could
/// not be forwarded. `host` is Envoy's `:authority`.
pub const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl HeaderName {
    /// The header that carries the id unless a configuration names another one.
    pub const DEFAULT: &str = "x-request-id";

    /// Returns `name` in lower case, or `None` if it is not a token (RFC 9110, 5.6.2), which excludes
    /// pseudo-headers such as `:path`, or if it is one of [`RESERVED`].
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let is_token = !name.is_empty() && name.bytes().all(is_token_byte);
        (is_token && !RESERVED.contains(&name.as_str())).then(|| Self(name.into()))
    }

    /// Returns the name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether `name`, in any case, is this name.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.0.as_bytes())
    }
}

/// Returns [`HeaderName::DEFAULT`].
impl Default for HeaderName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

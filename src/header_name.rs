//! The name of a header that a configuration may name.

use std::fmt;
use std::rc::Rc;

/// A header name in lower case, as Envoy keeps names. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(Rc<str>);

/// Headers that carry the message itself: with an id in one of them no proxy could pass it on.
/// `host` is Envoy's `:authority`.
pub(crate) const OF_HTTP: &[&str] = &[
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
    /// The one of the id, unless a configuration says otherwise.
    pub const DEFAULT: &str = "x-request-id";

    /// `name` in lower case, if it is a field name of HTTP (RFC 9110, 5.6.2: a token; so no
    /// pseudo-header such as `:path`), and none that HTTP itself needs.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let is_token = !name.is_empty() && name.bytes().all(is_token_byte);
        (is_token && !OF_HTTP.contains(&name.as_str())).then(|| Self(name.into()))
    }

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `name`, in any case, is this one.
    #[must_use]
    pub fn is(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.0.as_bytes())
    }
}

/// [`HeaderName::DEFAULT`]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_in_lower_case() {
        let name = HeaderName::new("X-Correlation-ID").unwrap();
        assert_eq!(name.as_str(), "x-correlation-id");
        assert!(name.is(b"X-CORRELATION-id") && !name.is(b"x-correlation"));
        assert!(HeaderName::new("!#$%&'*+-.^_`|~09az").is_some());
        for bad in [
            "",
            " ",
            "a b",
            ":path",
            "a:",
            "a\r\nb",
            "caf\u{e9}",
            "a,b",
            "(a)",
            "a\0",
        ] {
            assert_eq!(HeaderName::new(bad), None, "{bad:?}");
        }
        for bad in OF_HTTP {
            assert_eq!(HeaderName::new(&bad.to_uppercase()), None, "{bad:?}");
        }
    }
}

//! What a request id is, and which ids are valid.

use std::fmt;

use uuid::Uuid;

use crate::policy::{Accept, MaxLength};

/// A request id, as it goes into headers.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Vec<u8>);

impl RequestId {
    /// Returns the id that a header already holds, byte for byte.
    #[must_use]
    pub fn from_header(value: Vec<u8>) -> Self {
        Self(value)
    }

    /// Returns a UUID in its canonical form: hyphenated and in lower case.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        uuid.hyphenated().encode_lower(&mut text);
        Self(text.to_vec())
    }

    /// Returns 16 bytes as 32 hexadecimal digits in lower case.
    #[must_use]
    pub fn from_hex(bytes: [u8; 16]) -> Self {
        let mut text = [0; uuid::fmt::Simple::LENGTH];
        Uuid::from_bytes(bytes).simple().encode_lower(&mut text);
        Self(text.to_vec())
    }

    /// Returns the id as it goes into a header.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Shows visible ASCII as it is and escapes all other bytes, which a dry run can keep.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if self.0.iter().copied().all(is_visible) => f.write_str(text),
            _ => fmt::Display::fmt(&self.0.escape_ascii(), f),
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// The reason why a value is not a valid id. It holds nothing of the value, which may be hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The value is longer than `incoming.max_length`.
    TooLong,
    /// The header holds different values.
    Duplicate,
    /// The value has a byte that `incoming.accept` does not allow.
    BadByte,
    /// The value does not have the form that `incoming.accept: uuid` asks for.
    NotUuid,
}

impl Invalid {
    /// Returns the word for the reason in logs and counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Duplicate => "duplicate",
            Self::BadByte => "bad_byte",
            Self::NotUuid => "not_uuid",
        }
    }
}

/// Checks whether `value` is a valid id exactly as it is.
///
/// # Errors
/// Returns the first rule that `value` breaks. An empty value has no valid byte.
#[inline(never)]
pub fn check(accept: Accept, max_length: MaxLength, value: &[u8]) -> Result<(), Invalid> {
    if value.len() > max_length.get() {
        return Err(Invalid::TooLong);
    }
    let consists_of =
        |is_allowed: fn(u8) -> bool| !value.is_empty() && value.iter().copied().all(is_allowed);
    match accept {
        Accept::Safe if !consists_of(is_safe) => Err(Invalid::BadByte),
        Accept::Visible if !consists_of(is_visible) => Err(Invalid::BadByte),
        Accept::Uuid if !is_uuid_form(value) => Err(Invalid::NotUuid),
        _ => Ok(()),
    }
}

/// Returns whether `byte` is a letter, a digit or one of `-._~+/=:@#`.
///
/// That covers UUIDs, hexadecimal numbers, both alphabets of base64, ULIDs, the ids of AWS and Ceph,
/// `urn:uuid:` and Kong's `uuid#counter`. Left out is every byte that a quoted log field, a shell
/// word, HTML or a list of header values gives a meaning of its own.
#[must_use]
pub const fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b':' | b'@' | b'#'
        )
}

/// Returns whether `byte` is visible ASCII other than the comma, which separates values.
#[must_use]
pub const fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b','
}

/// Returns whether `value` consists of hexadecimal digits in the form 8-4-4-4-12, in any case.
#[must_use]
pub fn is_uuid_form(value: &[u8]) -> bool {
    parse_uuid_form(value).is_some()
}

/// Returns the UUID that `value` spells if it is one of RFC 9562: in the form 8-4-4-4-12, version 1
/// to 8, variant `8` to `b`.
///
/// The version matters because Kinesis sends ids of that shape with any digit in its place, and an
/// Envoy with `pack_trace_reason` on reads `9`, `a` and `b` there as a decision to trace.
#[must_use]
pub fn parse_rfc9562(value: &[u8]) -> Option<Uuid> {
    parse_uuid_form(value).filter(|uuid| {
        uuid.get_variant() == uuid::Variant::RFC4122 && (1..=8).contains(&uuid.get_version_num())
    })
}

/// Returns the UUID of a provisional id, which is a UUID followed by `-provisional`.
///
/// Envoy's early header mutation sets `x-request-id` to such a value if the client sent no id, so
/// that Envoy can make its tracing decision before any filter runs.
#[must_use]
pub fn parse_provisional(value: &[u8]) -> Option<Uuid> {
    parse_uuid_form(value.strip_suffix(b"-provisional")?)
}

/// Parses the form 8-4-4-4-12 only. The parser of `uuid` also accepts braces, `urn:` and digits
/// without hyphens, but none of those with a length of 36 bytes.
#[inline(never)]
fn parse_uuid_form(value: &[u8]) -> Option<Uuid> {
    let text: &[u8; 36] = value.try_into().ok()?;
    Uuid::try_parse_ascii(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_a_log_or_a_terminal_would_interpret_are_escaped() {
        for (id, shown) in [
            (&b"a<b>"[..], "a<b>"),
            (b"a b", "a b"),
            (b"a\nb", r"a\nb"),
            (b"\x1b[31m", r"\x1b[31m"),
            ("caf\u{e9}".as_bytes(), r"caf\xc3\xa9"),
            (b"\xff", r"\xff"),
            (b"\\", r"\"),
        ] {
            let id = RequestId::from_header(id.to_vec());
            assert_eq!(id.to_string(), shown);
            assert_eq!(format!("{id:?}"), format!("RequestId({shown})"));
        }
    }
}

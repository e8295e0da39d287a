//! What makes an id good, and the forms of a new one.

use std::fmt;

use uuid::{Builder, Uuid};

/// The longest id that is kept or adopted, in bytes.
pub const MAX_LENGTH: usize = 200;

/// A request id that is fit for a header and for a line of a log: 1 to [`MAX_LENGTH`] bytes, all
/// of them [safe](is_safe).
///
/// Owns its bytes, so that the response can use what the request decided: a received id in the
/// very buffer the host filled, any other in place.
#[derive(Clone)]
pub struct RequestId(Repr);

#[derive(Clone)]
enum Repr {
    Received(Vec<u8>),
    Uuid([u8; 36]),
}

impl RequestId {
    /// A received value, unchanged.
    ///
    /// # Errors
    /// [`Invalid::TooLong`] or [`Invalid::BadByte`]; an empty value has no good byte either.
    pub fn received(value: Vec<u8>) -> Result<Self, Invalid> {
        check(&value)?;
        Ok(Self(Repr::Received(value)))
    }

    /// A version 4 UUID, of which 122 bits are `random`.
    #[must_use]
    pub fn v4(random: [u8; 16]) -> Self {
        Self::uuid(Builder::from_random_bytes(random).into_uuid())
    }

    /// A UUID in its canonical form: hyphenated and in lower case.
    #[must_use]
    pub fn uuid(uuid: Uuid) -> Self {
        let mut text = [0; 36];
        uuid.hyphenated().encode_lower(&mut text);
        Self(Repr::Uuid(text))
    }

    /// The id as it goes into a header.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Received(value) => value,
            Repr::Uuid(text) => text,
        }
    }
}

/// Equal bytes, equal ids, whichever way they came.
impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RequestId {}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_bytes().escape_ascii(), f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// Why a value that came is not believed. Holds nothing of the value, which may be hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Longer than [`MAX_LENGTH`].
    TooLong,
    /// The header came more than once, with different values.
    Duplicate,
    /// A byte that is not [safe](is_safe).
    BadByte,
}

impl Invalid {
    /// The word for it in logs and counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Duplicate => "duplicate",
            Self::BadByte => "bad_byte",
        }
    }
}

/// Whether `value` may serve as an id as it stands.
///
/// # Errors
/// The first rule that `value` breaks.
pub fn check(value: &[u8]) -> Result<(), Invalid> {
    if value.len() > MAX_LENGTH {
        Err(Invalid::TooLong)
    } else if value.is_empty() || !value.iter().copied().all(is_safe) {
        Err(Invalid::BadByte)
    } else {
        Ok(())
    }
}

/// Letters, digits and `-._~+/=:@`: enough for UUIDs, hex, base64 of both alphabets, ULIDs, AWS's
/// and Ceph's ids and `urn:uuid:`; nothing that a log, a shell, a URL path, HTML or a header list
/// gives a meaning of its own.
#[must_use]
pub const fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b':' | b'@'
        )
}

/// The UUID that `value` spells, if it is one of RFC 9562: 8-4-4-4-12 hexadecimal digits in any
/// case, version 1 to 8, variant `8` to `b`.
///
/// Stricter than `uuid`'s own parser, which also takes braces, `urn:` and no hyphens. The version
/// matters: Envoy reads `9`, `a` and `b` in its place as a decision to trace (facts in `README.md`,
/// "Tracing"), and Kinesis sends ids of that shape with any digit there.
#[must_use]
pub fn rfc9562(value: &[u8]) -> Option<Uuid> {
    let text: &[u8; 36] = value.try_into().ok()?;
    let uuid = Uuid::try_parse_ascii(text).ok()?;
    let is_rfc9562 =
        uuid.get_variant() == uuid::Variant::RFC4122 && (1..=8).contains(&uuid.get_version_num());
    is_rfc9562.then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safe_set_is_exactly_this() {
        let safe: Vec<u8> = (0..=255).filter(|&byte| is_safe(byte)).collect();
        assert_eq!(
            safe,
            b"+-./0123456789:=@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
        );
    }

    #[test]
    fn the_length_is_checked_before_the_bytes() {
        assert_eq!(check(&[b'a'; 200]), Ok(()));
        assert_eq!(check(&[b'a'; 201]), Err(Invalid::TooLong));
        assert_eq!(check(&[0xff; 201]), Err(Invalid::TooLong));
        assert_eq!(check(&[0xff; 200]), Err(Invalid::BadByte));
        assert_eq!(check(b""), Err(Invalid::BadByte));
    }

    #[test]
    fn a_new_id_is_a_version_4_uuid() {
        assert_eq!(
            RequestId::v4([0; 16]).as_bytes(),
            b"00000000-0000-4000-8000-000000000000"
        );
        assert_eq!(
            RequestId::v4([0xff; 16]).as_bytes(),
            b"ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
    }

    #[test]
    fn rfc9562_is_the_hyphenated_form_of_versions_1_to_8() {
        for version in b"0123456789abcdef" {
            let mut text = *b"01234567-89ab-4def-8123-456789ABCDEF";
            text[14] = *version;
            assert_eq!(rfc9562(&text).is_some(), (b'1'..=b'8').contains(version));
        }
        for variant in b"0123456789abcdefAB" {
            let mut text = *b"01234567-89ab-4def-8123-456789ABCDEF";
            text[19] = *variant;
            assert_eq!(rfc9562(&text).is_some(), b"89abAB".contains(variant));
        }
        for other in [
            &b"0123456789ab4def8123456789abcdef"[..],
            b"{01234567-89ab-4def-8123-456789abcdef}",
            b"urn:uuid:01234567-89ab-4def-8123-456789abcdef",
            b"01234567-89ab-4def-8123-456789abcdeg",
            b"01234567-89ab-4def-8123-456789abcde",
            b"0123456-789ab-4def-8123-456789abcdef",
            b"",
        ] {
            assert_eq!(rfc9562(other), None, "{}", other.escape_ascii());
        }
    }
}

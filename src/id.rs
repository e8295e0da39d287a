//! What a request id is, and what makes one good.

use std::fmt;

use uuid::Uuid;

use crate::policy::{Accept, MaxLength};

/// A request id, as it goes into headers.
///
/// Owns its bytes, so that the response can use what the request decided: a received id in the
/// very buffer the host filled, any other in place.
#[derive(Clone)]
pub struct RequestId(Repr);

#[derive(Clone)]
enum Repr {
    Received(Vec<u8>),
    Uuid([u8; 36]),
    Hex([u8; 32]),
}

impl RequestId {
    /// A value that came with the request, as it is.
    #[must_use]
    pub fn received(value: Vec<u8>) -> Self {
        Self(Repr::Received(value))
    }

    /// A UUID in its canonical form: hyphenated and in lower case.
    #[must_use]
    pub fn uuid(uuid: Uuid) -> Self {
        let mut text = [0; 36];
        uuid.hyphenated().encode_lower(&mut text);
        Self(Repr::Uuid(text))
    }

    /// 16 bytes as 32 hexadecimal digits in lower case.
    #[must_use]
    pub fn hex(bytes: [u8; 16]) -> Self {
        let mut text = [0; 32];
        Uuid::from_bytes(bytes).simple().encode_lower(&mut text);
        Self(Repr::Hex(text))
    }

    /// The id as it goes into a header.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Received(value) => value,
            Repr::Uuid(text) => text,
            Repr::Hex(text) => text,
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

/// A good id as it is; the bytes of another one, which a dry run keeps, escaped.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.as_bytes();
        match std::str::from_utf8(bytes) {
            Ok(text) if bytes.iter().copied().all(is_visible) => f.write_str(text),
            _ => fmt::Display::fmt(&bytes.escape_ascii(), f),
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// Why a value that came is no good id. Holds nothing of the value, which may be hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Longer than `incoming.max_length`.
    TooLong,
    /// The header came more than once, with different values.
    Duplicate,
    /// A byte outside the set of `incoming.accept`.
    BadByte,
    /// Not of the form that `incoming.accept: uuid` asks for.
    NotUuid,
}

impl Invalid {
    /// The word for it in logs and counters.
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

/// Whether `value` may serve as an id as it stands.
///
/// # Errors
/// The first rule that `value` breaks; an empty one has no good byte either.
pub fn check(accept: Accept, longest: MaxLength, value: &[u8]) -> Result<(), Invalid> {
    if value.len() > longest.get() {
        return Err(Invalid::TooLong);
    }
    let all = |set: &[bool; 256]| {
        let is_good = |&byte: &u8| set.get(usize::from(byte)).is_some_and(|good| *good);
        // A branch for each four bytes, not for each.
        let (fours, rest) = value.as_chunks::<4>();
        let four_are_good =
            |four: &[u8; 4]| four.iter().fold(true, |all, byte| all & is_good(byte));
        !value.is_empty() && fours.iter().all(four_are_good) && rest.iter().all(is_good)
    };
    match accept {
        Accept::Safe if !all(&SAFE) => Err(Invalid::BadByte),
        Accept::Visible if !all(&VISIBLE) => Err(Invalid::BadByte),
        Accept::Uuid if !is_uuid_form(value) => Err(Invalid::NotUuid),
        _ => Ok(()),
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

/// What a function says of each byte.
macro_rules! table {
    ($of:ident) => {{
        let mut table = [false; 256];
        let mut byte = u8::MAX;
        loop {
            #[expect(clippy::indexing_slicing, reason = "the compiler runs it")]
            {
                table[byte as usize] = $of(byte);
            }
            match byte.checked_sub(1) {
                Some(next) => byte = next,
                None => break table,
            }
        }
    }};
}
// A look into a table takes half as long as the comparisons, and nearly every request takes 36.
const SAFE: [bool; 256] = table!(is_safe);
const VISIBLE: [bool; 256] = table!(is_visible);

/// Any visible ASCII but a comma, which separates values.
#[must_use]
pub const fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b','
}

/// Whether `value` has the form 8-4-4-4-12 of hexadecimal digits in any case.
#[must_use]
pub fn is_uuid_form(value: &[u8]) -> bool {
    parse_uuid_form(value).is_some()
}

/// The UUID that `value` spells, if it is one of RFC 9562: of the form 8-4-4-4-12, version 1 to 8,
/// variant `8` to `b`.
///
/// The version matters: Envoy reads `9`, `a` and `b` in its place as a decision to trace, and
/// Kinesis sends ids of that shape with any digit there.
#[must_use]
pub fn rfc9562(value: &[u8]) -> Option<Uuid> {
    parse_uuid_form(value).filter(|uuid| {
        uuid.get_variant() == uuid::Variant::RFC4122 && (1..=8).contains(&uuid.get_version_num())
    })
}

/// `uuid`'s own parser also takes braces, `urn:` and no hyphens, but none of them in 36 bytes.
fn parse_uuid_form(value: &[u8]) -> Option<Uuid> {
    let text: &[u8; 36] = value.try_into().ok()?;
    Uuid::try_parse_ascii(text).ok()
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
    fn visible_is_ascii_without_blanks_and_comma() {
        let visible: Vec<u8> = (0..=255).filter(|&byte| is_visible(byte)).collect();
        let expected: Vec<u8> = (0x21..=0x7e).filter(|&byte| byte != b',').collect();
        assert_eq!(visible, expected);
    }

    #[test]
    fn the_length_is_checked_before_the_bytes() {
        let ten = MaxLength::new(10).unwrap();
        for accept in [Accept::Safe, Accept::Visible] {
            assert_eq!(check(accept, ten, &[b'a'; 10]), Ok(()));
            assert_eq!(check(accept, ten, &[b'a'; 11]), Err(Invalid::TooLong));
            assert_eq!(check(accept, ten, &[0xff; 11]), Err(Invalid::TooLong));
            assert_eq!(check(accept, ten, &[0xff; 10]), Err(Invalid::BadByte));
            assert_eq!(check(accept, ten, b""), Err(Invalid::BadByte));
        }
        assert_eq!(check(Accept::Uuid, ten, &[b'a'; 11]), Err(Invalid::TooLong));
        assert_eq!(check(Accept::Uuid, ten, &[0xff; 10]), Err(Invalid::NotUuid));
        assert_eq!(check(Accept::Uuid, ten, b""), Err(Invalid::NotUuid));
    }

    #[test]
    fn hex_is_32_digits() {
        let bytes = std::array::from_fn(|at| u8::try_from(at * 17).unwrap());
        let id = RequestId::hex(bytes);
        assert_eq!(id.as_bytes(), b"00112233445566778899aabbccddeeff");
    }

    #[test]
    fn rfc9562_is_the_hyphenated_form_of_versions_1_to_8() {
        for version in b"0123456789abcdef" {
            let mut text = *b"01234567-89ab-4def-8123-456789ABCDEF";
            text[14] = *version;
            assert_eq!(rfc9562(&text).is_some(), (b'1'..=b'8').contains(version));
            assert!(is_uuid_form(&text));
        }
        for variant in b"0123456789abcdefAB" {
            let mut text = *b"01234567-89ab-4def-8123-456789ABCDEF";
            text[19] = *variant;
            assert_eq!(rfc9562(&text).is_some(), b"89abAB".contains(variant));
            assert!(is_uuid_form(&text));
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
            assert!(!is_uuid_form(other), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn ids_are_equal_by_their_bytes() {
        let uuid = RequestId::uuid(Uuid::nil());
        let same = RequestId::received(uuid.as_bytes().to_vec());
        assert!(uuid == same);
        assert!(uuid != RequestId::hex([0; 16]));
    }

    #[test]
    fn ids_are_shown_without_bytes_that_a_log_would_obey() {
        for (id, shown) in [
            (&b"a<b>"[..], "a<b>"),
            (b"a b", "a b"),
            (b"a\nb", r"a\nb"),
            (b"\x1b[31m", r"\x1b[31m"),
            ("caf\u{e9}".as_bytes(), r"caf\xc3\xa9"),
            (b"\xff", r"\xff"),
            (b"\\", r"\"),
        ] {
            let id = RequestId::received(id.to_vec());
            assert_eq!(id.to_string(), shown);
            assert_eq!(format!("{id:?}"), format!("RequestId({shown})"));
        }
    }
}

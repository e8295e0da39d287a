//! When a request must not be changed because its caller signed it for AWS.
//!
//! AWS Signature Version 4 covers the headers that the request lists as signed. Adding another
//! header is harmless; changing, adding or removing a listed one makes AWS refuse the request.

use std::iter;

/// Algorithms whose `Authorization` header has a `SignedHeaders` field.
const ALGORITHMS: &[&str] = &["AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"];

/// The field of the `Authorization` header, and of the query with this in front of it.
const SIGNED_HEADERS: &[u8] = b"SignedHeaders";
const QUERY_PREFIX: &[u8] = b"X-Amz-";

/// Whether `name: value`, a header of a request, says that the header `wanted` is signed: in
/// `authorization`, or in the query of `:path`.
#[must_use]
pub fn signs(name: &[u8], value: &[u8], wanted: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(b"authorization") {
        authorization_signs(value, wanted)
    } else if name == b":path" {
        path_signs(value, wanted)
    } else {
        false
    }
}

/// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=host;x-amz-date, Signature=…`
fn authorization_signs(value: &[u8], wanted: &[u8]) -> bool {
    let mut words = value
        .split(|byte| matches!(byte, b' ' | b'\t' | b','))
        .filter(|word| !word.is_empty());
    let is_sigv4 = words.next().is_some_and(|algorithm| {
        ALGORITHMS
            .iter()
            .any(|known| algorithm.eq_ignore_ascii_case(known.as_bytes()))
    });
    is_sigv4
        && words.filter_map(field).any(|(key, list)| {
            key.eq_ignore_ascii_case(SIGNED_HEADERS) && lists(list.iter().copied(), wanted)
        })
}

/// `/key?X-Amz-Algorithm=…&X-Amz-SignedHeaders=host%3Bx-amz-date&X-Amz-Signature=…`
fn path_signs(path: &[u8], wanted: &[u8]) -> bool {
    let mut parts = path.splitn(2, |&byte| byte == b'?');
    let query = parts.nth(1).unwrap_or_default();
    query
        .split(|&byte| byte == b'&')
        .filter_map(field)
        .any(|(key, list)| {
            key.split_at_checked(QUERY_PREFIX.len())
                .is_some_and(|(prefix, key)| {
                    prefix.eq_ignore_ascii_case(QUERY_PREFIX)
                        && key.eq_ignore_ascii_case(SIGNED_HEADERS)
                })
                && lists(percent_decoded(list), wanted)
        })
}

fn field(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = pair.iter().position(|&byte| byte == b'=')?;
    let (key, value) = pair.split_at_checked(equals)?;
    Some((key, value.split_first()?.1))
}

/// Whether a list of header names, separated by semicolons, has `wanted` in it.
fn lists(names: impl Iterator<Item = u8>, wanted: &[u8]) -> bool {
    // What is still to come of `wanted` in the name at hand; `None` once the name differs.
    let mut expected = Some(wanted);
    for byte in names.chain(iter::once(b';')) {
        expected = match (byte, expected) {
            (b';', Some([])) => return true,
            (b';', _) => Some(wanted),
            (_, Some([first, rest @ ..])) if first.eq_ignore_ascii_case(&byte) => Some(rest),
            _ => None,
        };
    }
    false
}

/// `%3B` as the byte it stands for. What is no escape stays as it is.
fn percent_decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        if byte == b'%'
            && let Some((&[high, low], after)) = after.split_first_chunk()
            && let (Some(high), Some(low)) = (hex_digit(high), hex_digit(low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        Some(byte)
    })
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| digit.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &[u8] = b"x-request-id";

    #[test]
    fn authorization_names_the_header() {
        for signed in [
            "AWS4-HMAC-SHA256 Credential=AKID/20261122/eu-west-1/s3/aws4_request, SignedHeaders=host;x-amz-date;x-request-id, Signature=0",
            "AWS4-HMAC-SHA256 Credential=A,SignedHeaders=x-request-id,Signature=0",
            "AWS4-ECDSA-P256-SHA256 SignedHeaders=host;X-Request-Id;x-z,\tSignature=0",
            "  AWS4-HMAC-SHA256   Signature=0,SignedHeaders=x-request-id;host",
        ] {
            assert!(signs(b"authorization", signed.as_bytes(), ID), "{signed}");
        }
        for unsigned in [
            "",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=A, SignedHeaders=host;x-amz-date, Signature=0",
            "AWS4-HMAC-SHA256 Credential=A, SignedHeaders=, Signature=x-request-id",
            "AWS4-HMAC-SHA256 SignedHeaders=x-request-id2;xx-request-id;x-request-i",
            "AWS4-HMAC-SHA256 SignedHeaders=y-request-id;x-session-id;x-request-ie",
            "AWS4-HMAC-SHA256 SignedHeaders",
            "AWS4-HMAC-SHA512 SignedHeaders=x-request-id",
            "Bearer SignedHeaders=x-request-id",
        ] {
            assert!(
                !signs(b"authorization", unsigned.as_bytes(), ID),
                "{unsigned}"
            );
        }
        let signed = b"AWS4-HMAC-SHA256 SignedHeaders=x-request-id";
        assert!(!signs(b"x-authorization", signed, ID));
    }

    #[test]
    fn query_names_the_header() {
        for signed in [
            "/?X-Amz-SignedHeaders=x-request-id",
            "/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host%3bx-request-id&X-Amz-Signature=0",
            "/a?X-Amz-SignedHeaders=host%3Bx-request-id%3Bz",
            "/a?X-Amz-SignedHeaders=host;x%2Drequest%2did",
            "/a?x-amz-signedheaders=x-request-id",
        ] {
            assert!(signs(b":path", signed.as_bytes(), ID), "{signed}");
        }
        for unsigned in [
            "",
            "/X-Amz-SignedHeaders=x-request-id",
            "/?X-Amz-SignedHeaders=host",
            "/?X-Amz-SignedHeaders=host%3Bx-request-id%",
            "/?X-Amz-SignedHeaders=host%3Bx-request-id%3",
            "/?X-Amz-SignedHeaders=host%3Bx-request-id%zz",
            "/?X-Amz-SignedHeaders",
            "/?SignedHeaders=x-request-id",
            "/?Y-Amz-SignedHeaders=x-request-id",
        ] {
            assert!(!signs(b":path", unsigned.as_bytes(), ID), "{unsigned}");
        }
    }
}

//! The serialized form in which the host passes headers.
//!
//! All numbers are little-endian `u32`: the number of headers; then for each header the length of its
//! name and of its value; then for each header its name, a zero byte, its value, a zero byte
//! (proxy-wasm/spec, "Serialized map").

use request_id_rules::headers::HeaderLine;

/// Reads the headers in place, in the order in which the host keeps them. The names are lower-case
/// in Envoy; a repeated header appears once per line unless Envoy joins its lines.
///
/// A truncated map ends early. That is not an error: a header that cannot be read is treated as
/// absent.
pub fn read(serialized: &[u8]) -> impl Iterator<Item = HeaderLine<'_>> {
    let (count, rest) = split_number(serialized).unwrap_or((0, &[]));
    let (lengths, mut data) = count
        .checked_mul(8)
        .and_then(|size| rest.split_at_checked(size))
        .unwrap_or((&[], &[]));
    lengths.chunks_exact(8).map_while(move |lengths| {
        let (name_length, rest) = split_number(lengths)?;
        let (value_length, _) = split_number(rest)?;
        let (name, after_name) = split_terminated(data, name_length)?;
        let (value, after_value) = split_terminated(after_name, value_length)?;
        data = after_value;
        Some((name, value))
    })
}

/// Returns headers in the serialized form.
pub fn write(headers: &[HeaderLine<'_>]) -> Vec<u8> {
    let mut serialized = Vec::new();
    let mut push_length = |length: usize| {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        serialized.extend_from_slice(&length.to_le_bytes());
    };
    push_length(headers.len());
    for (name, value) in headers {
        push_length(name.len());
        push_length(value.len());
    }
    for (name, value) in headers {
        for text in [name, value] {
            serialized.extend_from_slice(text);
            serialized.push(0);
        }
    }
    serialized
}

fn split_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn split_terminated(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    let (_zero, rest) = rest.split_first()?;
    Some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERIALIZED: &[u8] = b"\x02\0\0\0\
        \x01\0\0\0\x02\0\0\0\
        \x02\0\0\0\0\0\0\0\
        a\0\xff,\0\
        bc\0\0";
    const HEADERS: [HeaderLine<'static>; 2] = [(b"a", b"\xff,"), (b"bc", b"")];

    #[test]
    fn names_and_values_are_read_and_written_as_bytes() {
        assert_eq!(read(SERIALIZED).collect::<Vec<_>>(), HEADERS);
        assert_eq!(write(&HEADERS), SERIALIZED);
        assert_eq!(write(&[]), [0; 4]);
    }

    #[test]
    fn a_truncated_map_ends_early() {
        for length in 0..SERIALIZED.len() {
            let count = read(&SERIALIZED[..length]).count();
            assert!(count < 2, "{count} headers from {length} bytes");
        }
        let huge_count = [0xff; 64];
        assert_eq!(read(&huge_count).count(), 0);
    }
}

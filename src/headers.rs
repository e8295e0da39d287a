//! A header map as the host hands it over, read in place.

use crate::header_name::HeaderName;

/// The serialized header map of the Proxy-Wasm ABI, borrowed.
///
/// Layout, all numbers little-endian `u32`: the count of headers, then a name length and a value
/// length for each, then for each its name, a zero byte, its value, a zero byte
/// (proxy-wasm/spec, "Serialized map"). A truncated map ends early; it is never an error, because
/// a filter that cannot read a header can do nothing better than treat it as absent.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Wraps the bytes that `proxy_get_header_map_pairs` returned.
    #[must_use]
    pub fn new(serialized: &'a [u8]) -> Self {
        Self(serialized)
    }

    /// Name and value of each header in the order the host keeps them. Envoy's names are
    /// lower-case; a repeated header appears once per line unless Envoy joins it.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let (count, rest) = take_u32(self.0).unwrap_or((0, &[]));
        let (lengths, mut data) = count
            .checked_mul(8)
            .and_then(|size| rest.split_at_checked(size))
            .unwrap_or((&[], &[]));
        let (lengths, _) = lengths.as_chunks();
        lengths.iter().map_while(move |&[a, b, c, d, e, f, g, h]| {
            let name_length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
            let value_length = usize::try_from(u32::from_le_bytes([e, f, g, h])).ok()?;
            let (name, after_name) = take_terminated(data, name_length)?;
            let (value, after_value) = take_terminated(after_name, value_length)?;
            data = after_value;
            Some((name, value))
        })
    }

    /// The values of the lines of a header, in order.
    pub fn values(self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(|(known, _)| name.is(known))
            .map(|(_, value)| value)
    }

    /// The values of all lines of a header, joined by commas; empty lines say nothing and are left
    /// out, as Envoy does when it joins. `None` if there is no such header.
    #[must_use]
    pub fn joined(self, name: &HeaderName) -> Option<Vec<u8>> {
        let mut joined: Option<Vec<u8>> = None;
        for value in self.values(name) {
            let joined = joined.get_or_insert_default();
            if !joined.is_empty() && !value.is_empty() {
                joined.push(b',');
            }
            joined.extend_from_slice(value);
        }
        joined
    }
}

/// What rules may ask of the headers of a message.
pub trait HeaderMap {
    /// The value of a header; the values of its lines, joined by commas, if there are several.
    /// `None` if there is no such header.
    fn joined(&mut self, name: &HeaderName) -> Option<Vec<u8>>;
    /// Whether there is such a header.
    fn has(&mut self, name: &HeaderName) -> bool;
    /// All headers.
    fn all(&mut self) -> Headers<'_>;
}

fn take_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn take_terminated(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    let (_zero, rest) = rest.split_first()?;
    Some((taken, rest))
}

/// The elements of a comma-separated value, without the blanks around them and without empty
/// ones (RFC 9110, 5.6.1: a recipient ignores empty list elements).
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

/// Without the optional white space of HTTP (space and tab) at both ends.
#[must_use]
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"\x02\0\0\0\
        \x01\0\0\0\x02\0\0\0\
        \x02\0\0\0\0\0\0\0\
        a\0\xff,\0\
        bc\0\0";

    #[test]
    fn reads_names_and_values_as_bytes() {
        let pairs: Vec<_> = Headers::new(TWO).iter().collect();
        assert_eq!(pairs, [(&b"a"[..], &b"\xff,"[..]), (b"bc", b"")]);
    }

    #[test]
    fn a_truncated_map_ends_early() {
        for length in 0..TWO.len() {
            let read = Headers::new(&TWO[..length]).iter().count();
            assert!(read < 2, "{read} headers from {length} bytes");
        }
        let huge_count = [0xff; 64];
        assert_eq!(Headers::new(&huge_count).iter().count(), 0);
    }

    #[test]
    fn lines_of_a_header_are_joined() {
        let map = b"\x04\0\0\0\
            \x01\0\0\0\x01\0\0\0\
            \x01\0\0\0\0\0\0\0\
            \x01\0\0\0\x01\0\0\0\
            \x01\0\0\0\x02\0\0\0\
            a\x001\0a\0\0b\x002\0A\x003\xff\0";
        let joined = |name| Headers::new(map).joined(&HeaderName::new(name).unwrap());
        assert_eq!(joined("a").unwrap(), b"1,3\xff");
        assert_eq!(joined("b").unwrap(), b"2");
        assert_eq!(joined("c"), None);
    }

    #[test]
    fn elements_are_trimmed_and_not_empty() {
        let found: Vec<_> = elements(b" a b\t,, ,\tc").collect();
        assert_eq!(found, [&b"a b"[..], b"c"]);
        assert_eq!(elements(b" ,\t, ").count(), 0);
    }
}

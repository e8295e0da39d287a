//! How the rules read header values.

use crate::header_name::HeaderName;

/// The name and the value of one header line. Names may be in any case; Envoy's are lower-case.
pub type HeaderLine<'a> = (&'a [u8], &'a [u8]);

/// Returns the values of all lines of the header `name`, joined with commas, or `None` if there is
/// no such line.
///
/// Empty values are left out, as Envoy does when it joins lines (`HeaderMapImpl::appendToHeader`).
pub fn joined_value<'a>(
    headers: impl Iterator<Item = HeaderLine<'a>>,
    name: &HeaderName,
) -> Option<Vec<u8>> {
    let mut joined: Option<Vec<u8>> = None;
    for (_, value) in headers.filter(|(line_name, _)| name.matches(line_name)) {
        let joined = joined.get_or_insert_default();
        if !joined.is_empty() && !value.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(value);
    }
    joined
}

/// Returns the items of a comma-separated value, without the blanks around them and without empty
/// items (RFC 9110, 5.6.1: a recipient ignores empty list elements).
pub fn list_items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim)
        .filter(|item| !item.is_empty())
}

/// Returns `value` without the optional white space of HTTP (space and tab) at both ends.
#[must_use]
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

//! Which other header supplies the id if the client sent none, and what its value becomes.

use std::fmt;

use uuid::{Builder, Uuid};

use crate::aws::{self, AwsHeader};
use crate::header_name::HeaderName;
use crate::headers::{HeaderLine, list_items, trim};
use crate::id::{self, RequestId};
use crate::policy::{Accept, MaxLength, NonUuid, Policy, Source};
use crate::request::Request;
use crate::sha1::sha1;

/// The name space of derived ids: `uuid5(NAMESPACE_DNS, "amazonaws.com")`.
pub const NAMESPACE: Uuid = Uuid::from_u128(0xc808_314f_e68b_5445_857c_37f5_4156_fc48);

/// Values that software sends if it has no id: nil and max UUIDs (ElasticMQ sends the nil UUID),
/// words for nothing, what API Gateway's test console sends, and what API Gateway logs in place of an
/// id that it refused.
const PLACEHOLDERS: &[&str] = &[
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "-",
    "none",
    "null",
    "undefined",
    "unknown",
    "test-invoke-request",
    "UUID_REPLACED_INVALID_REQUEST_ID",
];

/// A header that can supply an id. Its name is never taken from bytes of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceHeader {
    /// One of [`aws::REQUEST_NAMES`], perhaps behind `x-amzn-remapped-`.
    Aws(AwsHeader),
    /// A header that the configuration names.
    Named(HeaderName),
    /// `x-amzn-trace-id` or `traceparent`.
    Trace(&'static str),
}

impl SourceHeader {
    /// Returns a header of `source`; `aws_header` says which one if the source stands for several.
    fn new(source: &Source, aws_header: AwsHeader) -> Self {
        match source {
            Source::Aws => Self::Aws(aws_header),
            Source::TraceRoot => Self::Trace(Source::TRACE_ROOT),
            Source::Traceparent => Self::Trace(Source::TRACEPARENT),
            Source::Header(name) => Self::Named(name.clone()),
        }
    }
}

/// Shows the name of the header, with one prefix if it has any.
impl fmt::Display for SourceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(header) => {
                if header.is_remapped() {
                    f.write_str(aws::REMAPPED)?;
                }
                f.write_str(header.plain_name(aws::REQUEST_NAMES))
            }
            Self::Named(name) => f.write_str(name.as_str()),
            Self::Trace(name) => f.write_str(name),
        }
    }
}

/// A header that is present but supplies no id, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableSource {
    /// The header.
    pub header: SourceHeader,
    /// The reason why no part of its value can be used.
    pub reason: Unusable,
}

impl fmt::Display for UnusableSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} not used: {}", self.header, self.reason.name())
    }
}

/// The reason why a value of a source cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The value is empty.
    Empty,
    /// The value is longer than `incoming.max_length`.
    TooLong,
    /// The value stands for a missing id.
    Placeholder,
    /// The value has a byte that is not visible ASCII, or that `incoming.accept` does not allow in a
    /// value that is used as it is.
    BadByte,
    /// The value is not a UUID, and the policy uses only those.
    NotUuid,
    /// The value does not have the format of the trace header.
    BadFormat,
}

impl Unusable {
    /// Returns the word for the reason in the debug log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::Placeholder => "placeholder",
            Self::BadByte => "bad_byte",
            Self::NotUuid => "not_uuid",
            Self::BadFormat => "bad_format",
        }
    }
}

/// Searches the headers of a request for an id, and adds the headers to `unusable` that the policy
/// prefers to the one that supplies it, but whose values are unusable.
#[inline(never)]
pub fn search(
    policy: &Policy,
    request: &impl Request,
    unusable: &mut Vec<UnusableSource>,
) -> Option<(RequestId, SourceHeader)> {
    policy
        .headers
        .sources()
        .iter()
        .find_map(|source| search_source(policy, source, request.headers(), unusable))
}

/// Searches the headers of one source. Of several lines of one header, the first usable one is taken.
fn search_source<'a>(
    policy: &Policy,
    source: &Source,
    headers: impl Iterator<Item = HeaderLine<'a>>,
    unusable: &mut Vec<UnusableSource>,
) -> Option<(RequestId, SourceHeader)> {
    let mut best: Option<(AwsHeader, RequestId)> = None;
    let mut candidates: Vec<(AwsHeader, Unusable)> = Vec::new();
    for (name, value) in headers {
        let Some(header) = find_in_source(source, name, policy.headers.id()) else {
            continue;
        };
        if best.as_ref().is_some_and(|(best, _)| *best <= header) {
            continue;
        }
        match id_from_value(policy, source, value) {
            Ok(id) => best = Some((header, id)),
            Err(reason) => candidates.push((header, reason)),
        }
    }
    for (header, reason) in candidates {
        if best.as_ref().is_none_or(|(best, _)| header < *best) {
            let header = SourceHeader::new(source, header);
            unusable.push(UnusableSource { header, reason });
        }
    }
    best.map(|(header, id)| (id, SourceHeader::new(source, header)))
}

/// Returns which of the headers of `source` the header `name` is, if it is one of them. The header
/// of the id is never a source, even if it has a name of AWS's.
fn find_in_source(source: &Source, name: &[u8], id: &HeaderName) -> Option<AwsHeader> {
    match source.header() {
        Some(header) => name
            .eq_ignore_ascii_case(header.as_bytes())
            .then_some(AwsHeader::MOST_PREFERRED),
        None => AwsHeader::find(name, aws::REQUEST_NAMES).filter(|_| !id.matches(name)),
    }
}

/// Returns the id that the value of a header supplies, or the reason why its last part is unusable.
#[inline(never)]
fn id_from_value(policy: &Policy, source: &Source, value: &[u8]) -> Result<RequestId, Unusable> {
    let fits = |length| match policy.max_length.get() {
        max_length if length <= max_length => Ok(()),
        _ => Err(Unusable::TooLong),
    };
    match source {
        Source::Aws | Source::Header(_) => {
            let mut result = Err(Unusable::Empty);
            for item in list_items(value) {
                result = id_from_item(policy, item);
                if result.is_ok() {
                    break;
                }
            }
            result
        }
        Source::TraceRoot => {
            let root = trace_root(value).ok_or(Unusable::BadFormat)?;
            fits(root.len())?;
            Ok(derive(&root))
        }
        Source::Traceparent => {
            let trace_id = trace_id(value).ok_or(Unusable::BadFormat)?;
            fits(trace_id.len())?;
            Ok(RequestId::from_header(trace_id.to_vec()))
        }
    }
}

/// Returns what one part of a value becomes. Which bytes it may have depends on what is done with
/// it: any visible ASCII can be hashed, but a value that is used as it is must be a valid id.
#[inline(never)]
fn id_from_item(policy: &Policy, item: &[u8]) -> Result<RequestId, Unusable> {
    let accept = match policy.non_uuid {
        NonUuid::Verbatim => policy.accept,
        NonUuid::Derive | NonUuid::Skip => Accept::Visible,
    };
    check_usable(accept, policy.max_length, item)?;
    match (id::parse_rfc9562(item), policy.non_uuid) {
        (Some(uuid), _) => Ok(RequestId::from_uuid(uuid)),
        (None, NonUuid::Derive) => Ok(derive(item)),
        // As the id of a request, it would count as a missing one wherever the filter runs next.
        (None, NonUuid::Verbatim) if id::parse_provisional(item).is_some() => {
            Err(Unusable::Placeholder)
        }
        (None, NonUuid::Verbatim) => Ok(RequestId::from_header(item.to_vec())),
        (None, NonUuid::Skip) => Err(Unusable::NotUuid),
    }
}

/// Checks whether a value can serve as an id: it is valid and not a placeholder.
///
/// # Errors
/// Returns the rule that the value breaks.
#[inline(never)]
pub fn check_usable(accept: Accept, max_length: MaxLength, value: &[u8]) -> Result<(), Unusable> {
    if PLACEHOLDERS
        .iter()
        .any(|placeholder| value.eq_ignore_ascii_case(placeholder.as_bytes()))
    {
        return Err(Unusable::Placeholder);
    }
    id::check(accept, max_length, value).map_err(|invalid| match invalid {
        id::Invalid::TooLong => Unusable::TooLong,
        id::Invalid::NotUuid => Unusable::NotUuid,
        id::Invalid::BadByte | id::Invalid::Duplicate => Unusable::BadByte,
    })
}

/// Returns the version 5 UUID of a value in [`NAMESPACE`], which anyone can recompute.
///
/// Envoy can sample traces by it. A value that is used as it is, such as `req-1`, is never sampled.
#[inline(never)]
fn derive(value: &[u8]) -> RequestId {
    let [hash @ .., _, _, _, _] = sha1(&[&NAMESPACE.as_bytes()[..], value].concat());
    RequestId::from_uuid(Builder::from_sha1_bytes(hash).into_uuid())
}

/// Returns the `Root` of an AWS trace header in lower case: `1-`, 8 hexadecimal digits, `-`, 24
/// hexadecimal digits.
///
/// Fields are accepted in any order and their keys in any case, with or without blanks, as AWS's own
/// gateways send them (`sampled=0;root=1-…`).
#[inline(never)]
fn trace_root(value: &[u8]) -> Option<[u8; 35]> {
    value
        .split(|byte| matches!(byte, b';' | b','))
        .filter_map(|field| {
            let equals = field.iter().position(|&byte| byte == b'=')?;
            let (key, root) = field.split_at_checked(equals)?;
            let root = trim(root.split_first()?.1);
            trim(key).eq_ignore_ascii_case(b"root").then_some(root)
        })
        .find_map(|root| {
            let mut root: [u8; 35] = root.try_into().ok()?;
            root.make_ascii_lowercase();
            has_form(&root, b"1-xxxxxxxx-xxxxxxxxxxxxxxxxxxxxxxxx").then_some(root)
        })
}

/// Returns the trace-id of a `traceparent` that is valid by W3C Trace Context, 3.2: lower-case
/// hexadecimal digits, a version other than `ff`, a trace-id and a parent-id that are not all zeros,
/// and nothing after the flags in version `00`.
#[inline(never)]
fn trace_id(value: &[u8]) -> Option<&[u8]> {
    const FORM: &[u8] = b"xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
    let (known, rest) = trim(value).split_at_checked(FORM.len())?;
    let (version, after_version) = known.split_at_checked(2)?;
    let (trace_id, after_trace_id) = after_version.get(1..)?.split_at_checked(32)?;
    let parent_id = after_trace_id.get(1..17)?;
    let is_zero = |id: &[u8]| id.iter().all(|&byte| byte == b'0');
    let is_valid = has_form(known, FORM)
        && version != b"ff"
        && !is_zero(trace_id)
        && !is_zero(parent_id)
        && (rest.is_empty() || (version != b"00" && rest.starts_with(b"-")));
    is_valid.then_some(trace_id)
}

/// Returns whether `text` has the form `form`, in which `x` stands for a lower-case hexadecimal digit
/// and every other byte for itself.
#[inline(never)]
fn has_form(text: &[u8], form: &[u8]) -> bool {
    text.len() == form.len()
        && text.iter().zip(form).all(|(byte, form)| match form {
            b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            _ => byte == form,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_space_is_derived_from_amazonaws_com() {
        assert_eq!(
            NAMESPACE,
            Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"amazonaws.com")
        );
    }
}

//! Where an id is taken from when none came, and what becomes of it.

use uuid::Uuid;

use crate::aws::{self, Rank};
use crate::header_name::HeaderName;
use crate::headers::{Headers, elements, trim};
use crate::id::{self, RequestId};
use crate::policy::{Accept, MaxLength, NonUuid, Policy, Source, TRACE_ROOT, TRACEPARENT};

/// The name space of derived ids: `uuid5(NAMESPACE_DNS, "amazonaws.com")`.
pub const NAMESPACE: Uuid = Uuid::from_u128(0xc808_314f_e68b_5445_857c_37f5_4156_fc48);

/// Values that stand where an id should, sent by software that had none: nil and max UUIDs
/// (ElasticMQ sends the first), words for nothing, what API Gateway's test console sends, and what
/// API Gateway logs in place of an id that it refused.
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

/// The header that an id was taken from, by its name: never by bytes that a caller chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// One of [`aws::REQUEST_NAMES`], behind `x-amzn-remapped-` or not.
    Aws {
        /// The name without prefixes.
        name: &'static str,
        /// Whether there were prefixes.
        remapped: bool,
    },
    /// One that the configuration names.
    Named(HeaderName),
    /// `x-amzn-trace-id` or `traceparent`.
    Trace(&'static str),
}

impl Origin {
    /// The name of the header, with one prefix where it had any.
    #[must_use]
    pub fn header(&self) -> String {
        match self {
            Self::Aws {
                name,
                remapped: true,
            } => format!("{}{name}", aws::REMAPPED),
            Self::Aws { name, .. } | Self::Trace(name) => (*name).into(),
            Self::Named(name) => name.as_str().into(),
        }
    }
}

/// The id to take from the headers of a request, and where it was found: the first usable value of
/// the best of the policy's sources that has one.
#[must_use]
pub fn adopt(policy: &Policy, headers: Headers<'_>) -> Option<(RequestId, Origin)> {
    let mut best: Option<(Key, RequestId)> = None;
    for (name, value) in headers.iter() {
        for (place, source) in policy.names.sources().iter().enumerate() {
            let Some(rank) = rank(source, name, policy.names.id()) else {
                continue;
            };
            let key = Key { place, rank };
            // Of a repeated header the first usable line wins: an equal key is no better one.
            if best.as_ref().is_some_and(|(found, _)| *found <= key) {
                continue;
            }
            if let Some(id) = take(policy, source, value) {
                best = Some((key, id));
            }
        }
    }
    let (key, id) = best?;
    let origin = match policy.names.sources().get(key.place)? {
        Source::Aws => Origin::Aws {
            name: key.rank.name(aws::REQUEST_NAMES),
            remapped: key.rank.is_remapped(),
        },
        Source::TraceRoot => Origin::Trace(TRACE_ROOT),
        Source::Traceparent => Origin::Trace(TRACEPARENT),
        Source::Header(name) => Origin::Named(name.clone()),
    };
    Some((id, origin))
}

/// Where a header stands among the sources; the smaller, the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    place: usize,
    rank: Rank,
}

/// How the header `name` stands among those that `source` reads, if it is one of them. What the
/// header of the id holds is judged elsewhere, even where it has a name of AWS's.
fn rank(source: &Source, name: &[u8], id: &HeaderName) -> Option<Rank> {
    match source.header() {
        Some(header) => name
            .eq_ignore_ascii_case(header.as_bytes())
            .then_some(Rank::BEST),
        None => Rank::of(name, aws::REQUEST_NAMES).filter(|_| !id.is(name)),
    }
}

/// The id that a header's value gives to this source.
fn take(policy: &Policy, source: &Source, value: &[u8]) -> Option<RequestId> {
    match source {
        Source::Aws | Source::Header(_) => {
            usable(policy.max_length, value).find_map(|element| adopted(policy.non_uuid, element))
        }
        Source::TraceRoot => trace_root(value)
            .filter(|root| root.len() <= policy.max_length.get())
            .map(|root| derived(&root)),
        Source::Traceparent => trace_id(value)
            .filter(|id| id.len() <= policy.max_length.get())
            .map(|id| RequestId::received(id.to_vec())),
    }
}

/// The elements of a comma-separated value that can serve as ids: of safe bytes, not too long, and
/// no placeholders.
pub fn usable(longest: MaxLength, value: &[u8]) -> impl Iterator<Item = &[u8]> {
    elements(value).filter(move |element| {
        id::check(Accept::Safe, longest, element).is_ok() && !is_placeholder(element)
    })
}

fn is_placeholder(value: &[u8]) -> bool {
    PLACEHOLDERS
        .iter()
        .any(|placeholder| value.eq_ignore_ascii_case(placeholder.as_bytes()))
}

/// What a usable value becomes: an RFC 9562 UUID itself, in lower case; anything else what the
/// policy says.
fn adopted(non_uuid: NonUuid, value: &[u8]) -> Option<RequestId> {
    match (id::rfc9562(value), non_uuid) {
        (Some(uuid), _) => Some(RequestId::uuid(uuid)),
        (None, NonUuid::Derive) => Some(derived(value)),
        (None, NonUuid::Verbatim) => Some(RequestId::received(value.to_vec())),
        (None, NonUuid::Skip) => None,
    }
}

/// The version 5 UUID of a value in [`NAMESPACE`], which anyone can recompute.
///
/// Envoy switches tracing off for an id that does not begin with eight hexadecimal digits, and
/// forces it for a UUID-shaped one whose version digit is `9`, `a` or `b`; this one does neither.
fn derived(value: &[u8]) -> RequestId {
    RequestId::uuid(Uuid::new_v5(&NAMESPACE, value))
}

/// The `Root` of an AWS trace header in lower case: `1-`, 8 hexadecimal digits, `-`, 24 of them.
///
/// Fields come in any order and their keys in any case, with or without blanks, as AWS's own
/// gateways send them (`sampled=0;root=1-…`).
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
            let mut parts = root.split(|&byte| byte == b'-');
            let is_root = parts.next() == Some(b"1")
                && parts.next().is_some_and(|time| is_hex(time, 8))
                && parts.next().is_some_and(|rest| is_hex(rest, 24))
                && parts.next().is_none();
            is_root.then_some(root)
        })
}

/// The trace-id of a W3C trace context: version, 32 hexadecimal digits that are not all zero,
/// parent and flags; a later version than `00` may have more.
fn trace_id(value: &[u8]) -> Option<&[u8]> {
    let mut parts = trim(value).split(|&byte| byte == b'-');
    let version = parts.next().filter(|part| is_hex(part, 2))?;
    let id = parts.next().filter(|part| is_hex(part, 32))?;
    let _parent = parts.next().filter(|part| is_hex(part, 16))?;
    let _flags = parts.next().filter(|part| is_hex(part, 2))?;
    let is_valid = !version.eq_ignore_ascii_case(b"ff")
        && (version != b"00" || parts.next().is_none())
        && id.iter().any(|&byte| byte != b'0');
    is_valid.then_some(id)
}

fn is_hex(text: &[u8], length: usize) -> bool {
    text.len() == length && text.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_usable(value: &[u8]) -> Option<&[u8]> {
        usable(MaxLength::default(), value).next()
    }

    #[test]
    fn the_name_space_is_derived_from_amazonaws_com() {
        assert_eq!(
            NAMESPACE,
            Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"amazonaws.com")
        );
    }

    #[test]
    fn placeholders_are_not_usable_in_any_case() {
        for placeholder in PLACEHOLDERS {
            assert_eq!(first_usable(placeholder.as_bytes()), None);
            assert_eq!(first_usable(placeholder.to_uppercase().as_bytes()), None);
        }
        assert_eq!(first_usable(b"null, - ,real"), Some(&b"real"[..]));
    }

    #[test]
    fn roots_are_read_as_aws_writes_them() {
        const ROOT: &[u8; 35] = b"1-67891233-abcdef012345678912345678";
        for header in [
            "Root=1-67891233-abcdef012345678912345678",
            "Root=1-67891233-ABCDEF012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1",
            "Self=1-67891234-12456789abcdef0123456789;Root=1-67891233-abcdef012345678912345678",
            "sampled=0;root=1-67891233-abcdef012345678912345678",
            " Sampled = 1 ; ROOT = 1-67891233-abcdef012345678912345678 ",
            "Root=;Root=1-67891233-abcdef012345678912345678",
            "x=1,Root=1-67891233-abcdef012345678912345678",
        ] {
            assert_eq!(
                trace_root(header.as_bytes()).as_ref(),
                Some(ROOT),
                "{header}"
            );
        }
        for header in [
            "",
            "Root",
            "Root=",
            "Root=;",
            "1-67891233-abcdef012345678912345678",
            "Self=1-67891233-abcdef012345678912345678",
            "Root=2-67891233-abcdef012345678912345678",
            "Root=1-6789123-abcdef0123456789123456789",
            "Root=1-67891233-abcdef01234567891234567",
            "Root=1-67891233-abcdef012345678912345678-",
            "Root=1-67891233-abcdef01234567891234567g",
            "Root=1-67891233-abcdef01234-678912345678",
            "0f8fad5b-d9cb-469f-a165-70867728950e",
        ] {
            assert_eq!(trace_root(header.as_bytes()), None, "{header}");
        }
        assert_eq!(trace_root(b"Root=\xff"), None);
    }

    #[test]
    fn trace_ids_are_read_as_w3c_writes_them() {
        const ID: &[u8] = b"0af7651916cd43dd8448eb211c80319c";
        for header in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\t",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-ever",
        ] {
            assert_eq!(trace_id(header.as_bytes()), Some(ID), "{header}");
        }
        for header in [
            "",
            "0af7651916cd43dd8448eb211c80319c",
            "00-0af7651916cd43dd8448eb211c80319c",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(trace_id(header.as_bytes()), None, "{header}");
        }
    }
}

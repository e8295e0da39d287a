//! Where an id is taken from when none came, and what becomes of it.

use uuid::Uuid;

use crate::aws::{self, Rank};
use crate::headers::{Headers, elements};
use crate::id::{self, RequestId};

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

/// A header that an id was taken from. Displays as its name, `remapped` before it where API
/// Gateway had renamed it; never as bytes that a caller chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name that AWS gave the header.
    pub name: &'static str,
    /// Whether it came behind `x-amzn-remapped-`.
    pub remapped: bool,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = if self.remapped { "remapped " } else { "" };
        write!(f, "{prefix}{}", self.name)
    }
}

/// The id to take from AWS's headers on a request, and where it was found: the first usable value
/// of the best-ranked header that has one.
#[must_use]
pub fn adopt(headers: Headers<'_>) -> Option<(RequestId, Source)> {
    let mut best: Option<(Rank, &[u8])> = None;
    for (name, value) in headers.iter() {
        let Some(rank) = Rank::of(name, aws::REQUEST_NAMES) else {
            continue;
        };
        // Of a repeated header the first usable line wins: an equal rank is no better one.
        if best.is_some_and(|(found, _)| found <= rank) {
            continue;
        }
        if let Some(value) = first_usable(value) {
            best = Some((rank, value));
        }
    }
    let (rank, value) = best?;
    let source = Source {
        name: rank.name(aws::REQUEST_NAMES),
        remapped: rank.is_remapped(),
    };
    Some((adopted(value), source))
}

/// The first element of a comma-separated value that can serve as an id: a good one that is no
/// placeholder.
#[must_use]
pub fn first_usable(value: &[u8]) -> Option<&[u8]> {
    elements(value).find(|element| id::check(element).is_ok() && !is_placeholder(element))
}

fn is_placeholder(value: &[u8]) -> bool {
    PLACEHOLDERS
        .iter()
        .any(|placeholder| value.eq_ignore_ascii_case(placeholder.as_bytes()))
}

/// What a usable value becomes: an RFC 9562 UUID itself, in lower case; anything else the version
/// 5 UUID of its bytes in [`NAMESPACE`], which anyone can recompute.
///
/// Derived because Envoy switches tracing off for an id that does not begin with eight hexadecimal
/// digits, and forces it for a UUID-shaped one whose version digit is `9`, `a` or `b`.
fn adopted(value: &[u8]) -> RequestId {
    RequestId::uuid(id::rfc9562(value).unwrap_or_else(|| Uuid::new_v5(&NAMESPACE, value)))
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

    #[test]
    fn placeholders_are_not_usable_in_any_case() {
        for placeholder in PLACEHOLDERS {
            assert_eq!(first_usable(placeholder.as_bytes()), None);
            assert_eq!(
                first_usable(placeholder.to_uppercase().as_bytes()),
                None,
                "{placeholder}"
            );
        }
        assert_eq!(first_usable(b"null, - ,real"), Some(&b"real"[..]));
    }

    #[test]
    fn derived_ids_are_those_of_python() {
        // python3 -c 'from uuid import *; print(uuid5(uuid5(NAMESPACE_DNS, "amazonaws.com"), "4B4NGF0EAWN0GE63"))'
        assert_eq!(
            adopted(b"4B4NGF0EAWN0GE63").as_bytes(),
            b"37be84ba-5e55-5531-9cda-bc301b676303"
        );
    }
}

//! What a response gets: the request's id, and one name for the id of an AWS service.

use crate::adopt::usable;
use crate::aws::{self, Rank};
use crate::header_name::HeaderName;
use crate::headers::{HeaderMap, Headers, elements, trim};
use crate::id::RequestId;
use crate::policy::{Echo, Policy};

/// What is set on a response. Nothing of it is ever removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// Whether the header of the id is set to the id.
    pub set_id: bool,
    /// The value to publish as [`aws::CANONICAL`].
    pub aws_id: Option<&'a [u8]>,
    /// The value to set as [`EXPOSE`].
    pub expose: Option<Vec<u8>>,
}

/// The header that names those which browser code of other origins may read.
pub const EXPOSE: &str = "access-control-expose-headers";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// Decides about the response to the request that got `id`.
#[must_use]
pub fn respond<'a>(
    policy: &Policy,
    id: &RequestId,
    response: &'a mut impl HeaderMap,
) -> Response<'a> {
    let header = policy.names.id();
    // Where the id itself has that name, it goes first.
    let normalize = policy.normalize_aws && header.as_str() != aws::CANONICAL;
    if !normalize && !policy.expose && policy.echo != Echo::IfAbsent {
        // Nothing to find out: reading the headers would cost more than a needless write.
        return Response {
            set_id: policy.echo == Echo::Overwrite,
            aws_id: None,
            expose: None,
        };
    }
    let headers = response.all();
    Response {
        set_id: match policy.echo {
            Echo::Overwrite => !headers.values(header).eq([id.as_bytes()]),
            Echo::IfAbsent => headers.values(header).all(|value| trim(value).is_empty()),
            Echo::Never => false,
        },
        aws_id: if normalize {
            aws_id(policy, headers)
        } else {
            None
        },
        expose: if policy.expose {
            expose(header, headers)
        } else {
            None
        },
    }
}

/// The id of an AWS service that is to be published under the one name.
fn aws_id<'a>(policy: &Policy, headers: Headers<'a>) -> Option<&'a [u8]> {
    let mut has_canonical = false;
    let mut has_s3_host_id = false;
    let mut best: Option<(Rank, &[u8])> = None;
    for (name, value) in headers.iter() {
        if name.eq_ignore_ascii_case(aws::S3_HOST_ID.as_bytes()) {
            has_s3_host_id = true;
        } else if let Some(rank) = Rank::of(name, aws::RESPONSE_NAMES) {
            has_canonical |= rank == Rank::BEST;
            if best.is_none_or(|(found, _)| rank < found)
                && let Some(value) = usable(policy.max_length, value).next()
            {
                best = Some((rank, value));
            }
        }
    }
    // botocore reads S3's host id only where there is no x-amzn-requestid.
    let would_hide_host_id = has_s3_host_id && !has_canonical;
    best.filter(|&(rank, _)| rank != Rank::BEST && !would_hide_host_id)
        .map(|(_, value)| value)
}

/// The names that browser code may read, with `header` among them. `None` where the response is for
/// no other origin, or says it already: by name, or by `*`.
fn expose(header: &HeaderName, headers: Headers<'_>) -> Option<Vec<u8>> {
    let named = |wanted: &[u8]| {
        headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    if !named(ALLOW_ORIGIN.as_bytes()) {
        return None;
    }
    let mut names = Vec::new();
    for (name, value) in headers.iter() {
        if name.eq_ignore_ascii_case(EXPOSE.as_bytes()) {
            for element in elements(value) {
                if element == b"*" || header.is(element) {
                    return None;
                }
                names.push(element);
            }
        }
    }
    names.push(header.as_str().as_bytes());
    Some(names.join(&b", "[..]))
}

//! What a response gets: the request's id, and one name for the id of an AWS service.

use crate::adopt::usable;
use crate::aws::{self, Rank};
use crate::header_name::HeaderName;
use crate::headers::{HeaderMap, Headers, elements, trim};
use crate::id::RequestId;
use crate::policy::{Echo, MaxLength, Policy};

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
    let mut lines: usize = 0;
    let mut is_id = false;
    let mut has_value = false;
    let mut aws = AwsIds::default();
    for (name, value) in headers.iter() {
        if header.is(name) {
            lines = lines.saturating_add(1);
            is_id = value == id.as_bytes();
            has_value |= !trim(value).is_empty();
        } else if normalize {
            aws.see(policy.max_length, name, value);
        }
    }
    Response {
        set_id: match policy.echo {
            Echo::Overwrite => lines != 1 || !is_id,
            Echo::IfAbsent => !has_value,
            Echo::Never => false,
        },
        aws_id: aws.to_publish(),
        expose: if policy.expose {
            expose(header, headers)
        } else {
            None
        },
    }
}

/// What a response has of AWS's ids.
#[derive(Default)]
struct AwsIds<'a> {
    best: Option<(Rank, &'a [u8])>,
    has_canonical: bool,
    has_s3_host_id: bool,
}

impl<'a> AwsIds<'a> {
    fn see(&mut self, longest: MaxLength, name: &[u8], value: &'a [u8]) {
        if let Some(rank) = Rank::of(name, aws::RESPONSE_NAMES) {
            self.has_canonical |= rank == Rank::BEST;
            if self.best.is_none_or(|(found, _)| rank < found)
                && let Some(value) = usable(longest, value).next()
            {
                self.best = Some((rank, value));
            }
        } else if name.eq_ignore_ascii_case(aws::S3_HOST_ID.as_bytes()) {
            self.has_s3_host_id = true;
        }
    }

    /// The id that is to be published under the one name.
    fn to_publish(&self) -> Option<&'a [u8]> {
        // botocore reads S3's host id only where there is no x-amzn-requestid.
        let would_hide_host_id = self.has_s3_host_id && !self.has_canonical;
        self.best
            .filter(|&(rank, _)| rank != Rank::BEST && !would_hide_host_id)
            .map(|(_, value)| value)
    }
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

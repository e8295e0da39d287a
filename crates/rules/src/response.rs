//! What is set on a response: the id of its request, and one name for the id of an AWS service.

use crate::aws::{self, AwsHeader};
use crate::header_name::HeaderName;
use crate::headers::{HeaderLine, list_items, trim};
use crate::id::RequestId;
use crate::policy::{Accept, Echo, MaxLength, Policy};
use crate::sources::check_usable;

/// A response as its host shows it. [`decide_on_response`] calls only what it needs.
pub trait Response {
    /// Returns all header lines.
    fn headers(&self) -> impl Iterator<Item = HeaderLine<'_>>;
    /// Returns the id that the last run of the filter for this request remembered.
    fn id_of_last_run(&self) -> Option<Vec<u8>>;
}

/// The changes to a response. No header is ever removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<'a> {
    /// Whether the header of the id is set to the id.
    pub sets_id: bool,
    /// The value to publish as [`aws::CANONICAL`].
    pub aws_id: Option<&'a [u8]>,
    /// The value to set as [`EXPOSE_HEADERS`].
    pub expose_headers: Option<Vec<u8>>,
}

/// The header that names the headers which browser code of other origins may read.
pub const EXPOSE_HEADERS: &str = "access-control-expose-headers";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// Decides what is set on the response to the request that got `id`.
#[inline(never)]
#[must_use]
pub fn decide_on_response<'a>(
    policy: &Policy,
    id: &RequestId,
    response: &'a impl Response,
) -> Changes<'a> {
    let header = policy.headers.id();
    // If the id itself is sent as x-amzn-requestid, it has precedence.
    let normalizes = policy.normalize_aws && header.as_str() != aws::CANONICAL;
    if !normalizes && !policy.expose && policy.echo != Echo::IfAbsent {
        // Reading the headers would cost more than a write that changes nothing.
        return Changes {
            sets_id: policy.echo == Echo::Overwrite,
            aws_id: None,
            expose_headers: None,
        };
    }
    let mut lines: usize = 0;
    let mut last_value: &[u8] = b"";
    let mut is_blank = true;
    let mut aws_ids = AwsIds::default();
    for (name, value) in response.headers() {
        if header.matches(name) {
            lines = lines.saturating_add(1);
            last_value = value;
            is_blank &= trim(value).is_empty();
        } else if normalizes {
            aws_ids.add(policy.max_length, name, value);
        }
    }
    Changes {
        sets_id: match policy.echo {
            Echo::Overwrite if lines != 1 || is_blank => true,
            // A plugin closer to the upstream may have given the request another id. The upstream
            // and the access log have that one, so it stays.
            Echo::Overwrite => {
                last_value != id.as_bytes()
                    && response.id_of_last_run().as_deref() != Some(last_value)
            }
            Echo::IfAbsent => is_blank,
            Echo::Never => false,
        },
        aws_id: aws_ids.to_publish(),
        expose_headers: if policy.expose {
            extended_expose_headers(header, response)
        } else {
            None
        },
    }
}

/// The AWS ids of a response.
#[derive(Default)]
struct AwsIds<'a> {
    preferred: Option<(AwsHeader, &'a [u8])>,
    has_canonical: bool,
    has_s3_host_id: bool,
}

impl<'a> AwsIds<'a> {
    fn add(&mut self, max_length: MaxLength, name: &[u8], value: &'a [u8]) {
        if let Some(header) = AwsHeader::find(name, aws::RESPONSE_NAMES) {
            self.has_canonical |= header == AwsHeader::MOST_PREFERRED;
            let is_preferred = self.preferred.is_none_or(|(found, _)| header < found);
            let is_usable = |item: &&[u8]| check_usable(Accept::Safe, max_length, item).is_ok();
            if is_preferred && let Some(item) = list_items(value).find(is_usable) {
                self.preferred = Some((header, item));
            }
        } else if name.eq_ignore_ascii_case(aws::S3_HOST_ID.as_bytes()) {
            self.has_s3_host_id = true;
        }
    }

    /// Returns the id to publish under the canonical name, if it is not there already.
    fn to_publish(&self) -> Option<&'a [u8]> {
        // botocore reads S3's host id only if there is no x-amzn-requestid.
        let would_hide_host_id = self.has_s3_host_id && !self.has_canonical;
        self.preferred
            .filter(|&(header, _)| header != AwsHeader::MOST_PREFERRED && !would_hide_host_id)
            .map(|(_, value)| value)
    }
}

/// Returns the names that browser code may read, with `header` among them. Returns `None` if the
/// response is not meant for another origin, or if it lists the header already, by name or by `*`.
#[inline(never)]
fn extended_expose_headers(header: &HeaderName, response: &impl Response) -> Option<Vec<u8>> {
    let mut is_cross_origin = false;
    let mut names = Vec::new();
    for (name, value) in response.headers() {
        is_cross_origin |= name.eq_ignore_ascii_case(ALLOW_ORIGIN.as_bytes());
        if name.eq_ignore_ascii_case(EXPOSE_HEADERS.as_bytes()) {
            for item in list_items(value) {
                if item == b"*" || header.matches(item) {
                    return None;
                }
                names.extend_from_slice(item);
                names.extend_from_slice(b", ");
            }
        }
    }
    names.extend_from_slice(header.as_str().as_bytes());
    is_cross_origin.then_some(names)
}

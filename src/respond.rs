//! What a response gets: the request's id, and one name for the id of an AWS service.

use crate::adopt::usable;
use crate::aws::{self, Rank};
use crate::headers::{HeaderMap, trim};
use crate::id::RequestId;
use crate::policy::{Echo, Policy};

/// What is set on a response. Nothing of it is ever removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// Whether the header of the id is set to the id.
    pub set_id: bool,
    /// The value to publish as [`aws::CANONICAL`].
    pub aws_id: Option<&'a [u8]>,
}

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
    if !normalize {
        let set_id = match policy.echo {
            Echo::Overwrite => true,
            Echo::Never => false,
            Echo::IfAbsent => response
                .joined(header)
                .is_none_or(|value| trim(&value).is_empty()),
        };
        return Response {
            set_id,
            aws_id: None,
        };
    }

    let (mut ids, mut equal_ids, mut blank_ids): (usize, usize, usize) = (0, 0, 0);
    let mut has_canonical = false;
    let mut has_s3_host_id = false;
    let mut best: Option<(Rank, &[u8])> = None;
    for (name, value) in response.all().iter() {
        if header.is(name) {
            ids = ids.saturating_add(1);
            equal_ids = equal_ids.saturating_add((value == id.as_bytes()).into());
            blank_ids = blank_ids.saturating_add(trim(value).is_empty().into());
        }
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
    let set_id = match policy.echo {
        // Not if the upstream sent just that.
        Echo::Overwrite => (ids, equal_ids) != (1, 1),
        Echo::IfAbsent => ids == blank_ids,
        Echo::Never => false,
    };
    // botocore reads S3's host id only where there is no x-amzn-requestid.
    let would_hide_host_id = has_s3_host_id && !has_canonical;
    let aws_id = best
        .filter(|&(rank, _)| rank != Rank::BEST && !would_hide_host_id)
        .map(|(_, value)| value);
    Response { set_id, aws_id }
}

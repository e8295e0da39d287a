//! What a response gets: the request's id, and one name for the id of an AWS service.

use crate::ID_HEADER;
use crate::adopt::first_usable;
use crate::aws::{self, Rank};
use crate::headers::Headers;
use crate::id::RequestId;

/// What is set on a response. Nothing of it is ever removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// Whether the id header is set, over whatever the upstream sent. Not if it sent just that.
    pub set_id: bool,
    /// The value to publish as [`aws::CANONICAL`].
    pub aws_id: Option<&'a [u8]>,
}

/// Decides about the response to the request that got `id`.
#[must_use]
pub fn respond<'a>(id: &RequestId, headers: Headers<'a>) -> Response<'a> {
    let (mut ids, mut equal_ids): (usize, usize) = (0, 0);
    let mut has_canonical = false;
    let mut has_s3_host_id = false;
    let mut best: Option<(Rank, &[u8])> = None;
    for (name, value) in headers.iter() {
        if name.eq_ignore_ascii_case(ID_HEADER.as_bytes()) {
            ids = ids.saturating_add(1);
            equal_ids = equal_ids.saturating_add((value == id.as_bytes()).into());
        } else if name.eq_ignore_ascii_case(aws::S3_HOST_ID.as_bytes()) {
            has_s3_host_id = true;
        } else if let Some(rank) = Rank::of(name, aws::RESPONSE_NAMES) {
            has_canonical |= rank == Rank::BEST;
            if best.is_none_or(|(found, _)| rank < found)
                && let Some(value) = first_usable(value)
            {
                best = Some((rank, value));
            }
        }
    }
    // botocore reads S3's host id only where there is no x-amzn-requestid.
    let would_hide_host_id = has_s3_host_id && !has_canonical;
    let aws_id = best
        .filter(|&(rank, _)| rank != Rank::BEST && !would_hide_host_id)
        .map(|(_, value)| value);
    Response {
        set_id: (ids, equal_ids) != (1, 1),
        aws_id,
    }
}

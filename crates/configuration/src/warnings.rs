//! What a user should know about a configuration that is accepted.

use request_id_rules::aws::{self, AwsHeader};
use request_id_rules::policy::{IdFormat, OnInvalid, Policy, RejectedOwnId};

/// Returns what a user of this policy should know, one line each.
#[inline(never)]
#[must_use]
pub fn warnings(policy: &Policy) -> Vec<String> {
    let mut warnings = Vec::new();
    let header = policy.headers.id().as_str();
    if header.starts_with("x-amz-")
        || AwsHeader::find(header.as_bytes(), aws::RESPONSE_NAMES).is_some()
    {
        warnings.push(format!(
            "header: AWS uses {header} itself; the filter overwrites the ids of AWS services in \
             responses, and presigned URLs that cover all x-amz- headers become invalid; use \
             another header"
        ));
    }
    if policy.generate == IdFormat::Uuid7 {
        // Envoy samples by the first eight digits, modulo 10000: in a UUIDv7 those change every 65.5
        // seconds.
        warnings.push(
            "generate: a uuid7 begins with the time, and Envoy samples traces by the beginning of \
             the id, so that for days it samples all requests or none; use uuid4 with proportional \
             sampling"
                .into(),
        );
    }
    for own_id in policy.rejected_own_ids() {
        let consequence = match policy.on_invalid {
            OnInvalid::Keep => "counts them as invalid",
            OnInvalid::Replace | OnInvalid::Reject => "replaces them",
        };
        warnings.push(format!(
            "{}: the filter supplies ids that {} does not allow; the next proxy with this \
             configuration {consequence}",
            key(own_id),
            limit(own_id, policy),
        ));
    }
    warnings
}

/// Returns the setting that supplies the ids.
pub fn key(own_id: RejectedOwnId) -> &'static str {
    match own_id {
        RejectedOwnId::MaxLength(32) | RejectedOwnId::Hex32 => "generate: hex32",
        RejectedOwnId::MaxLength(_) => "adopt and generate",
        RejectedOwnId::Verbatim => "adopt.non_uuid: verbatim",
        RejectedOwnId::Traceparent => "adopt.from: traceparent",
    }
}

/// Returns the setting of `policy` that does not allow the ids.
pub fn limit(own_id: RejectedOwnId, policy: &Policy) -> String {
    match own_id {
        RejectedOwnId::MaxLength(length) => format!(
            "incoming.max_length: {} (the ids have {length} bytes)",
            policy.max_length.get()
        ),
        RejectedOwnId::Hex32 | RejectedOwnId::Verbatim | RejectedOwnId::Traceparent => {
            "incoming.accept: uuid".into()
        }
    }
}

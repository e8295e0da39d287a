//! The answer 400 to a request whose id the policy rejects.

use crate::headers::HeaderLine;
use crate::id::{Invalid, RequestId};
use crate::policy::{Accept, Policy};

/// The HTTP status of the answer.
pub const STATUS: u32 = 400;

/// The gRPC status that a gRPC client receives instead: `INVALID_ARGUMENT`.
pub const GRPC_STATUS: i32 = 3;

/// What Envoy's access log shows as `%RESPONSE_CODE_DETAILS%`.
pub const DETAILS: &str = "request_id_rejected";

/// The headers of the answer. Its id is set in the response phase, as for every other response.
pub const HEADERS: [HeaderLine<'static>; 1] = [(b"content-type", b"application/problem+json")];

/// Returns the body of the answer, a problem document (RFC 9457). It says which header broke which
/// rule and does not contain the value. Header names and new ids need no escaping in JSON.
#[inline(never)]
#[must_use]
pub fn body(policy: &Policy, id: &RequestId, invalid: Invalid) -> String {
    let header = policy.headers.id();
    let max_length = policy.max_length.get();
    let detail = match (invalid, policy.accept) {
        (Invalid::TooLong, _) => format!("{header} is longer than {max_length} bytes"),
        (Invalid::Duplicate, _) => format!("{header} has several different values"),
        (Invalid::BadByte, Accept::Visible) => {
            format!("{header} contains a byte that is not visible ASCII")
        }
        (Invalid::BadByte, _) => {
            format!("{header} contains a byte other than letters, digits and -._~+/=:@#")
        }
        (Invalid::NotUuid, _) => format!("{header} is not a UUID in the form 8-4-4-4-12"),
    };
    format!(
        r#"{{"type":"about:blank","title":"Bad Request","status":400,"detail":"{detail}","request_id":"{id}"}}"#
    )
}
